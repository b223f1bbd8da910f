//! Which functions BTF has, and with which prototype: C of our own, compiled as kernels are. The rules are those of pahole 1.32, which is
//! not in Debian; what it says of these sources was looked at by hand (`docs/decisions/0005-function-rules.md`).

mod compiled;
#[path = "../../btf/tests/judge/mod.rs"]
#[allow(dead_code)]
mod judge;

use std::path::{Path, PathBuf};
use std::process::Command;

use btf::{Btf, Kind};
use compiled::{convert, link, names, object, run};
use tempfile::TempDir;

/// The kernel of `functions_*.c`; the weak definition comes first, and the code of inline functions before their use.
fn kernel(dir: &Path, dwarf: &str) -> PathBuf {
    let objects = ["functions_c.c", "functions_b.c", "functions_a.c"]
        .map(|name| object(dir, "gcc", &["-m64", "-O2", "-g", dwarf], name));
    link(dir, &objects)
}

/// Names of the parameters of a FUNC.
fn parameters(btf: &Btf<'_>, name: &str) -> Vec<String> {
    let func = btf.types().flatten().find(|ty| ty.kind() == Kind::Func && btf.name(ty).unwrap() == name);
    let prototype = btf.ty(func.unwrap().target().unwrap()).unwrap();
    prototype.params().map(|param| btf.string(param.name).unwrap().to_string()).collect()
}

/// Check that BTF has the functions that are called as their prototypes say, and no others.
#[test]
fn chosen_functions() {
    for dwarf in ["-gdwarf-4", "-gdwarf-5"] {
        let dir = TempDir::new().unwrap();
        let kernel = kernel(dir.path(), dwarf);
        // What the sources are for, as the compiler has done it.
        let symbols = run(Command::new("nm").arg(&kernel));
        for symbol in [
            "constant.constprop.0",
            "constant_split.constprop.0.cold",
            "shifted.constprop.0",
            "variadic.constprop.0",
            "parts.cold",
            "overridden.cold",
        ] {
            assert!(symbols.lines().any(|line| line.ends_with(symbol)), "{symbol}: {symbols}");
        }
        let made = convert(&kernel);
        let btf = Btf::parse(&made.btf).unwrap();
        let expected = [
            "fail",
            "folded",
            "functions_a",
            "functions_b",
            "header",
            "in_register",
            "on_stack_padded",
            "open_list",
            "overridden",
            "parts",
            "split",
            "use",
            "whole",
        ];
        assert_eq!(names(&btf, Kind::Func), expected, "{dwarf}");
        // The definition that the symbol stands for, whose code starts with the first of its ranges.
        assert_eq!(parameters(&btf, "overridden"), ["real_name"], "{dwarf}");
        // And the one without code of its own, rather than one whose code the symbol does not stand for.
        assert_eq!(parameters(&btf, "folded"), ["real_name"], "{dwarf}");
        assert_eq!(parameters(&btf, "open_list"), ["format", ""], "{dwarf}");
        assert_eq!(judge::kernel_says(&made.btf), Ok(()), "{dwarf}");
    }
}

/// Check that functions without any change are there whatever the machine, from both compilers.
#[test]
fn unchanged_everywhere() {
    let all = ["fail", "folded", "overridden", "use"];
    for flags in [
        &["gcc", "-m64"][..],
        &["gcc", "-m32"],
        &["clang", "--target=x86_64-linux-gnu"],
        &["clang", "--target=i386-linux-gnu"],
        &["clang", "--target=aarch64-linux-gnu"],
        &["clang", "--target=armv7-linux-gnueabihf"],
        &["clang", "--target=s390x-linux-gnu"],
        // pahole 1.32 leaves out all functions that clang compiled for these.
        &["clang", "--target=powerpc64-linux-gnu"],
        &["clang", "--target=riscv64-linux-gnu"],
    ] {
        for level in ["-O0", "-O2"] {
            let dir = TempDir::new().unwrap();
            let flags_here = [&flags[1..], &[level, "-g"]].concat();
            let made = convert(&object(dir.path(), flags[0], &flags_here, "functions_c.c"));
            let btf = Btf::parse(&made.btf).unwrap();
            assert_eq!(names(&btf, Kind::Func), all, "{flags:?} {level}");
        }
    }
}

/// Check that structs by value are told to be packed by their members, and that i386 does not align eight bytes.
#[test]
fn packed_structs() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("packed.c");
    std::fs::write(
        &file,
        "struct time { long long seconds; int nano; };
         struct __attribute__((packed)) packed { char tag; struct time time; };
         struct __attribute__((packed)) outer { struct packed packed; short tail; };
         struct array { char bytes[3]; };
         int time(struct time t) { return t.nano; }
         int packed(struct packed p) { return p.tag; }
         int outer(struct outer o) { return o.tail; }
         int array(struct array a) { return a.bytes[0]; }",
    )
    .unwrap();
    let object = dir.path().join("packed.o");
    run(Command::new("gcc").args(["-m32", "-O1", "-g", "-c"]).arg(&file).arg("-o").arg(&object));
    let made = convert(&object);
    assert_eq!(names(&Btf::parse(&made.btf).unwrap(), Kind::Func), ["array", "time"]);
}
