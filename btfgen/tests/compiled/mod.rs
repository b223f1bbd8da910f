//! C and assembler sources compiled for a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use btf::{Btf, Kind};
use btfgen::vmlinux::{self, Extracted, From};

/// Runs a command that must succeed, and answers what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{}: {error}; ci/install-tools installs it", command.get_program().display())
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A file of `tests/c`.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(name)
}

/// Compiles a file of `tests/c` to an object.
pub(crate) fn object(dir: &Path, compiler: &str, flags: &[&str], name: &str) -> PathBuf {
    let object = dir.join(name).with_extension("o");
    run(Command::new(compiler)
        .args(flags)
        .args(["-c", "-w", "-ffreestanding"])
        .arg(source(name))
        .arg("-o")
        .arg(&object));
    object
}

/// Links objects into one file whose relocations are done, as a vmlinux is.
#[allow(dead_code)]
pub(crate) fn link(dir: &Path, objects: &[PathBuf]) -> PathBuf {
    link_with("ld", &[], objects, &dir.join("linked"))
}

/// Links objects into one file by a linker with flags.
#[allow(dead_code)]
pub(crate) fn link_with(linker: &str, flags: &[&str], objects: &[PathBuf], linked: &Path) -> PathBuf {
    run(Command::new(linker).args(["-e", "0", "--build-id"]).args(flags).args(objects).arg("-o").arg(linked));
    linked.into()
}

/// The BTF of a file's DWARF.
pub(crate) fn convert(file: &Path) -> Extracted {
    let bytes = std::fs::read(file).unwrap();
    let extracted = vmlinux::extract(&bytes.as_slice(), From::Dwarf, 2).unwrap();
    assert_eq!(extracted.report.lost, []);
    extracted
}

/// Checks that two conversions say the same.
#[allow(dead_code)]
pub(crate) fn assert_same(a: &[u8], b: &[u8], what: &str) {
    let (a, b) = (Btf::parse(a).unwrap(), Btf::parse(b).unwrap());
    let comparison = btf::compare(&a, &b).unwrap();
    assert!(comparison.kinds.values().all(btf::KindCounts::is_equal), "{what}\n{comparison}");
}

/// How many types of a kind have a name.
#[allow(dead_code)]
pub(crate) fn count(btf: &Btf<'_>, kind: Kind, name: &str) -> usize {
    btf.types().flatten().filter(|ty| ty.kind() == kind && btf.name(ty).unwrap() == name).count()
}

/// What pahole and we must agree on, both ways.
#[allow(dead_code)]
pub(crate) const AGREED: [Kind; 7] =
    [Kind::Struct, Kind::Union, Kind::Enum, Kind::Enum64, Kind::Typedef, Kind::Int, Kind::Float];

/// Compares with what pahole makes of a file, kind by kind.
#[allow(dead_code)]
pub(crate) fn assert_agrees_with_pahole(object: &Path, kinds: &[Kind], what: &str) {
    let theirs = object.with_extension("pahole.btf");
    run(Command::new("pahole")
        .arg("--btf_gen_floats")
        .arg(format!("--btf_encode_detached={}", theirs.display()))
        .arg(object));
    let (ours, theirs) = (convert(object).btf, std::fs::read(theirs).unwrap());
    let (ours, theirs) = (Btf::parse(&ours).unwrap(), Btf::parse(&theirs).unwrap());
    let comparison = btf::compare(&ours, &theirs).unwrap();
    for kind in kinds {
        let counts = comparison.kinds.get(kind).copied().unwrap_or_default();
        assert!(counts.is_equal(), "{what}: {kind}\n{comparison}");
    }
}

/// Numbers that look random and are the same each time.
#[allow(dead_code)]
pub(crate) fn random(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize % below
    }
}

/// The names of a kind's types, sorted.
#[allow(dead_code)]
pub(crate) fn names(btf: &Btf<'_>, kind: Kind) -> Vec<String> {
    let of_kind = btf.types().flatten().filter(|ty| ty.kind() == kind);
    let mut names: Vec<String> = of_kind.map(|ty| btf.name(&ty).unwrap().to_string()).collect();
    names.sort();
    names
}
