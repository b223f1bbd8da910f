//! Types: C of our own in DWARF 2 to 5, against pahole and the running kernel.

mod compiled;
#[path = "../../btf/tests/judge/mod.rs"]
#[allow(dead_code)]
mod judge;

use std::path::{Path, PathBuf};

use btf::{Btf, Kind};
use compiled::{AGREED, assert_agrees_with_pahole, convert, count, object, run, source};
use std::process::Command;
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

fn compile(dir: &Path, compiler: &Compiler, dwarf: &str, name: &str) -> PathBuf {
    let flags = [compiler.flags, &["-O1", "-fno-eliminate-unused-debug-types", dwarf]].concat();
    object(dir, compiler.program, &flags, name)
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
