//! Decl tags, type tags and kfunc tags.

mod compiled;
#[path = "../../btf/tests/judge/mod.rs"]
#[allow(dead_code)]
mod judge;

use std::path::Path;
use std::process::Command;

use btf::{Btf, Kind, Type};
use btfgen::vmlinux::{self, From};
use compiled::{convert, link, object, random, run};
use tempfile::TempDir;

const X86_64: &str = "--target=x86_64-linux-gnu";

/// The tags on declarations, each as its text, what it is on, and which part of that.
fn decl_tags(btf: &Btf<'_>) -> Vec<String> {
    let tags = btf.types().flatten().filter(|ty| ty.kind() == Kind::DeclTag);
    let mut tags: Vec<String> = tags
        .map(|tag| {
            let on = btf.ty(tag.target().unwrap()).unwrap();
            let component = tag.component_index().unwrap();
            format!("{} on {} {} {component}", btf.name(&tag).unwrap(), on.kind(), btf.name(&on).unwrap())
        })
        .collect();
    tags.sort();
    tags
}

fn find<'a>(btf: &Btf<'a>, kind: Kind, name: &str) -> Type<'a> {
    btf.types().flatten().find(|ty| ty.kind() == kind && btf.name(ty).unwrap() == name).unwrap()
}

/// What lies between a pointer and its target: texts of TYPE_TAGs, and `*`.
fn chain(btf: &Btf<'_>, ty: Type<'_>) -> String {
    let mut words = Vec::new();
    let mut next = Some(ty.id());
    while let Some(ty) = next.filter(|id| *id != btf::TypeId::VOID).map(|id| btf.ty(id).unwrap()) {
        match ty.kind() {
            Kind::Ptr => words.push("*".to_owned()),
            Kind::TypeTag => words.push(btf.name(&ty).unwrap().to_string()),
            _ => {
                words.push(btf.name(&ty).unwrap().to_string());
                return words.join(" ");
            }
        }
        next = ty.target();
    }
    words.join(" ")
}

fn member_chain(btf: &Btf<'_>, name: &str, member: usize) -> String {
    let ty = find(btf, Kind::Struct, name).members().nth(member).unwrap().ty;
    chain(btf, btf.ty(ty).unwrap())
}

/// Check that clang's tags in DWARF become what clang itself writes as BTF for BPF programs.
#[test]
fn clang_tags() {
    for dwarf in ["-gdwarf-4", "-gdwarf-5"] {
        let dir = TempDir::new().unwrap();
        let made = convert(&object(dir.path(), "clang", &[X86_64, dwarf, "-O1"], "tags.c")).btf;
        let bpf = object(dir.path(), "clang", &["--target=bpf", "-g", "-O1"], "tags.c");
        let bytes = std::fs::read(bpf).unwrap();
        let theirs = vmlinux::extract(&bytes.as_slice(), From::Embedded, 1).unwrap().btf;
        let (ours, theirs) = (Btf::parse(&made).unwrap(), Btf::parse(&theirs).unwrap());
        assert_eq!(decl_tags(&ours), decl_tags(&theirs), "{dwarf}");
        assert_eq!(decl_tags(&ours).len(), 11, "{dwarf}");
        let comparison = btf::compare(&ours, &theirs).unwrap();
        for kind in [Kind::Struct, Kind::Union, Kind::Typedef, Kind::DeclTag] {
            assert!(comparison.kinds[&kind].is_equal(), "{dwarf} {kind}\n{comparison}");
        }
        // The tag written nearest to the `*` comes first.
        assert_eq!(member_chain(&ours, "tagged", 1), "* rcu user int");
        assert_eq!(member_chain(&ours, "tagged", 2), "* outer * inner int");
        assert_eq!(member_chain(&ours, "tagged", 3), "* to_void");
        assert_eq!(judge::kernel_says(&made), Ok(()), "{dwarf}");
    }
}

/// Check that tags of one type in many units are there once, and that those of a function are on its FUNC, inlined or not.
#[test]
fn tags_of_several_units() {
    let dir = TempDir::new().unwrap();
    let one = object(dir.path(), "clang", &[X86_64, "-g", "-O2"], "tags_kernel.c");
    let two = dir.path().join("two.o");
    // The same unit once more, its symbols out of the way.
    run(Command::new("objcopy").args(["--prefix-symbols=second_"]).arg(&one).arg(&two));
    // Not a full link, which would put the per-CPU section among other data.
    let both = dir.path().join("both.o");
    run(Command::new("ld").arg("-r").args([&one, &two]).arg("-o").arg(&both));
    let made = convert(&both).btf;
    let btf = Btf::parse(&made).unwrap();
    let expected = [
        "on_function on FUNC inlined -1",
        "on_member on STRUCT shared 0",
        "on_parameter on FUNC inlined 0",
        "on_variable on VAR variable -1",
    ];
    assert_eq!(decl_tags(&btf), expected);
    assert_eq!(judge::kernel_says(&made), Ok(()));
}

/// Check gcc's way to write tags, which no gcc of Debian's has yet: what gcc 16 makes of a small source, in assembler.
#[test]
fn gcc_tags() {
    let dir = TempDir::new().unwrap();
    let made = convert(&object(dir.path(), "gcc", &["-m64"], "tags_gcc.S")).btf;
    let btf = Btf::parse(&made).unwrap();
    let expected = [
        "first on STRUCT s 0",
        "on_function on FUNC function -1",
        "on_parameter on FUNC function 0",
        "second on STRUCT s 0",
    ];
    assert_eq!(decl_tags(&btf), expected);
    assert_eq!(member_chain(&btf, "s", 1), "* rcu user int");
    assert_eq!(judge::kernel_says(&made), Ok(()));
}

/// Check that functions in sets of kfuncs are marked, in both byte orders and in linked files, and those of other sets are not.
#[test]
fn kfunc_tags() {
    let expected = [
        "bpf_fastcall on FUNC fast_kfunc -1",
        "bpf_kfunc on FUNC fast_kfunc -1",
        "bpf_kfunc on FUNC plain_kfunc -1",
        "bpf_kfunc on FUNC sometimes__fast -1",
    ];
    let check = |file: &Path, what: &str| {
        let made = convert(file).btf;
        assert_eq!(decl_tags(&Btf::parse(&made).unwrap()), expected, "{what}");
    };
    for target in [X86_64, "--target=s390x-linux-gnu", "--target=aarch64-linux-gnu"] {
        let dir = TempDir::new().unwrap();
        let object = object(dir.path(), "clang", &[target, "-g", "-O1"], "kfuncs.c");
        check(&object, target);
        if target == X86_64 {
            check(&link(dir.path(), &[object]), "linked");
        }
    }
}

/// Check that damage to tags, sets of kfuncs and location lists ends in a result or an error.
#[test]
fn damaged_tags() {
    let dir = TempDir::new().unwrap();
    let objects = [
        object(dir.path(), "clang", &[X86_64, "-g", "-O2"], "tags_kernel.c"),
        object(dir.path(), "gcc", &["-m64"], "tags_gcc.S"),
        object(dir.path(), "clang", &["--target=s390x-linux-gnu", "-g", "-O1"], "kfuncs.c"),
        object(dir.path(), "gcc", &["-m64", "-g", "-O2"], "functions_a.c"),
    ];
    let mut next = random(0x9e37_79b9_7f4a_7c15);
    for object in objects {
        let bytes = std::fs::read(&object).unwrap();
        for _ in 0..1500 {
            let mut damaged = bytes.clone();
            for _ in 0..=next(4) {
                let at = next(damaged.len());
                damaged[at] = next(256) as u8;
            }
            // Whatever is made has been validated.
            if let Err(error) = vmlinux::extract(&damaged.as_slice(), From::Dwarf, 1) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}
