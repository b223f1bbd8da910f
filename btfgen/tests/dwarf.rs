//! The conversion of DWARF, on C of our own, against pahole.

#[path = "../../btf/tests/judge/mod.rs"]
#[allow(dead_code)]
mod judge;

use std::path::{Path, PathBuf};
use std::process::Command;

use btf::{Btf, Kind, TypeId};
use btfgen::vmlinux::{self, Extracted, From};
use tempfile::TempDir;

/// A compiler with its flags for one target.
struct Compiler {
    program: &'static str,
    flags: &'static [&'static str],
}

const GCC: &[Compiler] =
    &[Compiler { program: "gcc", flags: &["-m64"] }, Compiler { program: "gcc", flags: &["-m32"] }];
const CLANG: &[Compiler] = &[
    Compiler { program: "clang", flags: &["--target=x86_64-linux-gnu"] },
    Compiler { program: "clang", flags: &["--target=i386-linux-gnu"] },
    Compiler { program: "clang", flags: &["--target=aarch64-linux-gnu"] },
    Compiler { program: "clang", flags: &["--target=armv7-linux-gnueabihf"] },
    Compiler { program: "clang", flags: &["--target=s390x-linux-gnu"] },
    Compiler { program: "clang", flags: &["--target=powerpc64-linux-gnu"] },
    Compiler { program: "clang", flags: &["--target=powerpc-linux-gnu"] },
];

/// What pahole and we must agree on, both ways.
const AGREED: [Kind; 7] =
    [Kind::Struct, Kind::Union, Kind::Enum, Kind::Enum64, Kind::Typedef, Kind::Int, Kind::Float];

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{}: {error}; ci/install-tools installs it", command.get_program().display())
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(name)
}

fn compile(dir: &Path, compiler: &Compiler, dwarf: &str, name: &str) -> PathBuf {
    let object = dir.join(name).with_extension("o");
    run(Command::new(compiler.program)
        .args(compiler.flags)
        .args(["-c", "-w", "-O1", "-ffreestanding", "-fno-eliminate-unused-debug-types", dwarf])
        .arg(source(name))
        .arg("-o")
        .arg(&object));
    object
}

fn convert(object: &Path) -> Extracted {
    let bytes = std::fs::read(object).unwrap();
    let extracted = vmlinux::extract(&bytes.as_slice(), From::Dwarf, 2).unwrap();
    assert_eq!(extracted.report.lost, []);
    extracted
}

fn pahole(object: &Path) -> Vec<u8> {
    let output = object.with_extension("pahole.btf");
    run(Command::new("pahole")
        .arg("--btf_gen_floats")
        .arg(format!("--btf_encode_detached={}", output.display()))
        .arg(object));
    std::fs::read(output).unwrap()
}

/// Compares with pahole's, kind by kind.
fn assert_agrees_with_pahole(object: &Path, kinds: &[Kind], what: &str) {
    let (ours, theirs) = (convert(object).btf, pahole(object));
    let (ours, theirs) = (Btf::parse(&ours).unwrap(), Btf::parse(&theirs).unwrap());
    let comparison = btf::compare(&ours, &theirs).unwrap();
    for kind in kinds {
        let counts = comparison.kinds.get(kind).copied().unwrap_or_default();
        assert!(counts.is_equal(), "{what}: {kind}\n{comparison}");
    }
}

fn every_version(compilers: &[Compiler], name: &str) {
    for compiler in compilers {
        for dwarf in ["-gdwarf-2", "-gdwarf-3", "-gdwarf-4", "-gdwarf-5"] {
            let dir = TempDir::new().unwrap();
            let object = compile(dir.path(), compiler, dwarf, name);
            // pahole takes an ENUM64's sign from the type that represents it, which clang leaves out in DWARF 2; we see the negative value.
            let no_type = (compiler.program, dwarf) == ("clang", "-gdwarf-2");
            let kinds: Vec<Kind> =
                AGREED.into_iter().filter(|&kind| !(no_type && kind == Kind::Enum64)).collect();
            let what = format!("{name}, {} {:?} {dwarf}", compiler.program, compiler.flags);
            assert_agrees_with_pahole(&object, &kinds, &what);
        }
    }
}

/// Check that gcc's types in DWARF 2 to 5, 64 and 32 bit, become the BTF that pahole makes of them.
#[test]
fn gcc_types() {
    every_version(GCC, "types.c");
    every_version(GCC, "union.c");
}

/// Check the same of clang's, for machines of both byte orders.
#[test]
fn clang_types() {
    every_version(CLANG, "types.c");
}

/// Check that compressed debug sections give the same BTF.
#[test]
fn compressed_sections() {
    let dir = TempDir::new().unwrap();
    let object = compile(dir.path(), &GCC[0], "-gdwarf-5", "types.c");
    let plain = convert(&object).btf;
    for form in ["zlib-gabi", "zlib-gnu"] {
        let compressed = dir.path().join(form);
        run(Command::new("objcopy")
            .arg(format!("--compress-debug-sections={form}"))
            .arg(&object)
            .arg(&compressed));
        assert!(std::fs::metadata(&compressed).unwrap().len() < std::fs::metadata(&object).unwrap().len());
        assert_eq!(convert(&compressed).btf, plain, "{form}");
    }
}

/// Links objects into one file whose relocations are done, as a vmlinux is.
fn link(dir: &Path, flags: &[&str], objects: &[PathBuf]) -> PathBuf {
    let linked = dir.join("linked");
    run(Command::new("ld").args(flags).args(["-e", "0", "--build-id"]).args(objects).arg("-o").arg(&linked));
    linked
}

fn same_name_kernel(dir: &Path, order: [&str; 3]) -> PathBuf {
    let objects = order.map(|name| compile(dir, &GCC[0], "-gdwarf-5", &format!("same_name_{name}.c")));
    link(dir, &[], &objects)
}

fn count(btf: &Btf<'_>, kind: Kind, name: &str) -> usize {
    btf.types().flatten().filter(|ty| ty.kind() == kind && btf.name(ty).unwrap() == name).count()
}

/// Check that units which define one name differently keep their own types and share all others, in every order of the units.
#[test]
fn same_name() {
    for order in [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"], ["c", "a", "b"]] {
        let dir = TempDir::new().unwrap();
        let kernel = same_name_kernel(dir.path(), order);
        let made = convert(&kernel);
        let btf = Btf::parse(&made.btf).unwrap();
        let expected = [
            (Kind::Struct, "shared", 1),
            (Kind::Struct, "opaque", 1),
            (Kind::Struct, "private", 2),
            // The unit that only declares `struct private` has no third form of its users.
            (Kind::Struct, "user", 2),
            (Kind::Struct, "only_pointer", 2),
            (Kind::Typedef, "private_t", 2),
            (Kind::Fwd, "opaque", 0),
            (Kind::Fwd, "shared", 0),
        ];
        for (kind, name, times) in expected {
            assert_eq!(count(&btf, kind, name), times, "{kind} {name}, order {order:?}");
        }
        assert_agrees_with_pahole(&kernel, &AGREED, &format!("order {order:?}"));
        assert!(made.build_id.is_some());
        // Each `user` points to the `private` of its own unit.
        let pointee = |id: TypeId| btf.ty(id).unwrap().target().unwrap();
        let private: Vec<TypeId> = btf
            .types()
            .flatten()
            .filter(|ty| ty.kind() == Kind::Struct && btf.name(ty).unwrap() == "user")
            .map(|user| pointee(user.members().next().unwrap().ty))
            .collect();
        assert_ne!(private[0], private[1]);
    }
}

/// Check that the number of threads changes nothing.
#[test]
fn threads_change_nothing() {
    let dir = TempDir::new().unwrap();
    let kernel = same_name_kernel(dir.path(), ["a", "b", "c"]);
    let bytes = std::fs::read(&kernel).unwrap();
    let made = |threads| vmlinux::extract(&bytes.as_slice(), From::Dwarf, threads).unwrap().btf;
    let one = made(1);
    for threads in [2, 3, 8] {
        assert_eq!(made(threads), one, "{threads} threads");
    }
}

/// Check that the kernel itself accepts what we make of 64-bit little-endian DWARF.
#[test]
fn kernel_accepts() {
    let dir = TempDir::new().unwrap();
    for name in ["types.c", "union.c"] {
        let made = convert(&compile(dir.path(), &GCC[0], "-gdwarf-5", name)).btf;
        let path = dir.path().join("made.btf");
        std::fs::write(&path, &made).unwrap();
        run(Command::new("bpftool").args(["btf", "dump", "file"]).arg(&path).args(["format", "c"]));
        assert_eq!(judge::kernel_says(&made), Ok(()), "{name}");
    }
}

/// Check that 64-bit DWARF gives the same BTF as 32-bit DWARF.
#[test]
fn dwarf64() {
    let dir = TempDir::new().unwrap();
    let [narrow, wide] = ["-gdwarf32", "-gdwarf64"].map(|format| {
        let object = dir.path().join(format!("{format}.o"));
        run(Command::new("gcc")
            .args(["-c", "-w", "-gdwarf-5", format, "-fno-eliminate-unused-debug-types"])
            .arg(source("types.c"))
            .arg("-o")
            .arg(&object));
        convert(&object).btf
    });
    assert_eq!(narrow, wide);
}

/// Compiles with flags of its own, and links.
fn linked_with(dir: &Path, flags: &[&str], names: &[&str]) -> PathBuf {
    let compiled = names.iter().map(|name| {
        let object = dir.join(name).with_extension("o");
        run(Command::new("gcc")
            .args(["-c", "-w", "-O1", "-ffreestanding"])
            .args(flags)
            .arg(source(name))
            .arg("-o")
            .arg(&object));
        object
    });
    link(dir, &[], &compiled.collect::<Vec<_>>())
}

const SAME_NAME: [&str; 3] = ["same_name_a.c", "same_name_b.c", "same_name_c.c"];

/// Check that types in type units (`.debug_types` of DWARF 4, `DW_UT_type` of DWARF 5) are the same as without, in object files too.
#[test]
fn type_units() {
    for dwarf in ["-gdwarf-4", "-gdwarf-5"] {
        let dir = TempDir::new().unwrap();
        // Not the two that define one name twice: signatures tell pointers to types of one name apart no more than C++ does.
        let names = ["types.c", "same_name_b.c"];
        let plain = convert(&linked_with(dir.path(), &[dwarf], &names)).btf;
        let linked = linked_with(dir.path(), &[dwarf, "-fdebug-types-section"], &names);
        let object = convert(&dir.path().join("same_name_b.o")).btf;
        let units = convert(&linked).btf;
        let (units, plain) = (Btf::parse(&units).unwrap(), Btf::parse(&plain).unwrap());
        let comparison = btf::compare(&units, &plain).unwrap();
        assert!(comparison.kinds.values().all(btf::KindCounts::is_equal), "{dwarf}\n{comparison}");
        let object = Btf::parse(&object).unwrap();
        assert_eq!(count(&object, Kind::Struct, "opaque"), 1, "{dwarf}");
    }
}

/// Check that units which refer to each other's types (link-time optimisation) agree with pahole, and with the same units alone.
#[test]
fn units_that_share() {
    let dir = TempDir::new().unwrap();
    let objects = SAME_NAME.map(|name| {
        let object = dir.path().join(name).with_extension("o");
        run(Command::new("gcc")
            .args(["-c", "-w", "-flto", "-g", "-ffreestanding"])
            .arg(source(name))
            .arg("-o")
            .arg(&object));
        object
    });
    let linked = dir.path().join("lto.o");
    run(Command::new("gcc")
        .args(["-w", "-flto", "-g", "-r", "-nostdlib", "-flinker-output=nolto-rel"])
        .args(&objects)
        .arg("-o")
        .arg(&linked));
    assert_agrees_with_pahole(&linked, &AGREED, "lto");
    // A function's prototype stands once, with its names, and nothing without a use beside it.
    let together = convert(&linked_with(dir.path(), &["-g"], &["types.c", "same_name_b.c"]));
    let alone = convert(&linked_with(dir.path(), &["-g"], &["types.c"]));
    let prototypes = |made: &Extracted| {
        let btf = Btf::parse(&made.btf).unwrap();
        btf.types().flatten().filter(|ty| ty.kind() == Kind::FuncProto).count()
    };
    assert_eq!(prototypes(&together), prototypes(&alone));
}

/// Check that what BTF cannot say is simplified and counted, and that the kernel takes all of it.
#[test]
fn unusual_types() {
    for dwarf in ["-gdwarf-2", "-gdwarf-5"] {
        let dir = TempDir::new().unwrap();
        let made = convert(&compile(dir.path(), &GCC[0], dwarf, "unusual.c"));
        assert!(made.report.degraded > 0);
        let btf = Btf::parse(&made.btf).unwrap();
        // Each of the two bytes of a letter outside of ASCII becomes an underscore.
        for (kind, name) in
            [(Kind::Struct, "gr____e"), (Kind::Typedef, "with_dollar"), (Kind::Struct, "complex")]
        {
            assert_eq!(count(&btf, kind, name), 1, "{name} {dwarf}");
        }
        assert_eq!(judge::kernel_says(&made.btf), Ok(()), "{dwarf}");
    }
}

/// Check that a file without C types says so, and that split DWARF is told apart from damage.
#[test]
fn nothing_to_convert() {
    let dir = TempDir::new().unwrap();
    let error = |flags: &[&str], name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let object = file.with_extension("o");
        run(Command::new("gcc").args(["-c", "-g"]).args(flags).arg(&file).arg("-o").arg(&object));
        let bytes = std::fs::read(&object).unwrap();
        vmlinux::extract(&bytes.as_slice(), From::Dwarf, 1).unwrap_err().to_string()
    };
    let said = error(&[], "only.S", ".globl f\nf: nop\n");
    assert!(said.contains("describes no types of C"), "{said}");
    let said = error(&["-gsplit-dwarf"], "split.c", "int a;");
    assert!(said.contains("split DWARF") && said.contains("offset 0x0 of .debug_info"), "{said}");
}

/// Check that a unit which cannot be read costs only itself, and is named.
#[test]
fn one_bad_unit() {
    let dir = TempDir::new().unwrap();
    let kernel = same_name_kernel(dir.path(), ["a", "b", "c"]);
    let mut bytes = std::fs::read(&kernel).unwrap();
    let whole = vmlinux::extract(&bytes.as_slice(), From::Dwarf, 1).unwrap();
    assert_eq!(whole.report.units, 3);
    let (start, second) = {
        let data = bytes.as_slice();
        let image = btfgen::elf::Image::parse(&data).unwrap();
        let section = image.section_named(".debug_info").unwrap();
        let info = image.data_of(section, 1 << 20).unwrap();
        let second = 4 + u32::from_le_bytes(info[..4].try_into().unwrap()) as usize;
        (section.offset as usize, second)
    };
    // The abbreviation code of the second unit's first child: none that its table has.
    bytes[start + second + 12] = 0x7f;
    let made = vmlinux::extract(&bytes.as_slice(), From::Dwarf, 2).unwrap();
    assert_eq!(made.report.units, 2);
    let [lost] = made.report.lost.as_slice() else { panic!("{:?}", made.report) };
    assert_eq!(
        (lost.offset, lost.reason.to_string().as_str()),
        (second as u64, "abbreviation code 127 is not in its table")
    );
    let btf = Btf::parse(&made.btf).unwrap();
    assert_eq!((count(&btf, Kind::Struct, "private"), count(&btf, Kind::Fwd, "opaque")), (1, 1));
}

/// Check that every truncation and thousands of corruptions end in a result or an error.
#[test]
fn damaged_files() {
    let dir = TempDir::new().unwrap();
    let objects = [
        compile(dir.path(), &GCC[0], "-gdwarf-5", "types.c"),
        compile(dir.path(), &CLANG[4], "-gdwarf-4", "types.c"),
    ];
    for object in objects {
        let bytes = std::fs::read(&object).unwrap();
        for len in (0..bytes.len()).step_by(bytes.len() / 300) {
            // The table of sections stands at the end, so nothing shorter is whole.
            assert!(vmlinux::extract(&&bytes[..len], From::Auto, 1).is_err(), "{len} bytes");
        }
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize % below
        };
        for _ in 0..3000 {
            let mut damaged = bytes.clone();
            for _ in 0..=next(4) {
                let at = next(damaged.len());
                damaged[at] = next(256) as u8;
            }
            // Whatever is made is valid BTF: `extract` has validated it, or it is an error that is not called our bug.
            if let Err(error) = vmlinux::extract(&damaged.as_slice(), From::Auto, 1) {
                assert!(!format!("{error:?}").is_empty());
            }
        }
    }
}

/// Check that the command says which file is damaged and where, exits with 1, and leaves no output.
#[test]
fn command_on_damaged_file() {
    let dir = TempDir::new().unwrap();
    let object = compile(dir.path(), &GCC[0], "-gdwarf-5", "types.c");
    let bytes = std::fs::read(&object).unwrap();
    let output = dir.path().join("out.btf");
    let command = |input: &Path| {
        let mut command = assert_cmd::Command::cargo_bin("btfgen").unwrap();
        command.arg("vmlinux").arg(input).arg("-o").arg(&output);
        command
    };
    std::fs::write(&object, &bytes[..bytes.len() / 2]).unwrap();
    let failed = command(&object).assert().code(1);
    let said = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(said.contains("types.o") && said.contains("at offset 0x"), "{said}");
    assert!(!output.exists());
    std::fs::write(&object, b"MZ not an ELF file").unwrap();
    command(&object).assert().code(1);
    command(&dir.path().join("missing")).assert().code(1);
    assert!(!output.exists());
    std::fs::write(&object, &bytes).unwrap();
    command(&object).args(["--from", "embedded"]).assert().code(1);
    assert!(!output.exists());
    command(&object).assert().success();
    assert_eq!(std::fs::read(&output).unwrap(), convert(&object).btf);
}
