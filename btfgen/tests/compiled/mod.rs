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
    let linked = dir.join("linked");
    run(Command::new("ld").args(["-e", "0"]).args(objects).arg("-o").arg(&linked));
    linked
}

/// The BTF of a file's DWARF.
pub(crate) fn convert(file: &Path) -> Extracted {
    let bytes = std::fs::read(file).unwrap();
    let extracted = vmlinux::extract(&bytes.as_slice(), From::Dwarf, 2).unwrap();
    assert_eq!(extracted.report.lost, []);
    extracted
}

/// The names of a kind's types, sorted.
#[allow(dead_code)]
pub(crate) fn names(btf: &Btf<'_>, kind: Kind) -> Vec<String> {
    let of_kind = btf.types().flatten().filter(|ty| ty.kind() == kind);
    let mut names: Vec<String> = of_kind.map(|ty| btf.name(&ty).unwrap().to_string()).collect();
    names.sort();
    names
}
