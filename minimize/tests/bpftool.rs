//! bpftool as the judge: what this crate keeps is never more than what bpftool keeps.

mod judge;

use std::fs;

use btf::Btf;
use btf_minimize::{Kernel, Object, minimize};
use judge::{KERNEL, SAMPLES, compile, kernel_btf, run};

/// Check that the minimised BTF of each sample program is not larger than bpftool's, that it names no string twice or for nothing, and that the kernel's rules
/// hold for it.
#[test]
fn never_larger() {
    let folder = tempfile::tempdir().unwrap();
    let data = kernel_btf();
    let kernel = Kernel::open(&data).unwrap();
    let mut compared = 0;
    for sample in SAMPLES {
        let path = compile(sample, "bpfel", folder.path());
        let file = fs::read(&path).unwrap();
        let ours = minimize(&kernel, &[Object::parse(&file).unwrap()]).unwrap();
        assert_eq!(ours.problems, []);
        let small = Btf::parse(&ours.btf).unwrap();
        btf::validate(&small, &btf::ValidateOptions::default()).unwrap();
        assert_eq!(unreachable_strings(&small), Vec::<String>::new(), "{sample}");
        assert!(ours.types.is_sorted());

        let theirs = folder.path().join("theirs.btf");
        let output = run("bpftool", &[&"gen", &"min_core_btf", &KERNEL, &theirs, &path]);
        if output.status.success() {
            let theirs = fs::read(&theirs).unwrap();
            assert!(
                ours.btf.len() <= theirs.len(),
                "{sample}: {} bytes, bpftool {}",
                ours.btf.len(),
                theirs.len()
            );
            compared += 1;
        }
    }
    assert!(compared >= 3, "bpftool minimised only {compared} of the samples");
}

/// Strings that no type names.
fn unreachable_strings(btf: &Btf<'_>) -> Vec<String> {
    let mut named = Vec::new();
    for ty in btf.types() {
        let mut words: Vec<_> = ty.unwrap().words().collect();
        btf::visit_refs(&mut words, |what, word| {
            if what == btf::Ref::String {
                named.push(*word as usize);
            }
        });
    }
    let mut at = 1;
    let mut unreachable = Vec::new();
    for string in btf.string_section()[1..].split_inclusive(|&byte| byte == 0) {
        if !named.contains(&at) {
            unreachable.push(String::from_utf8_lossy(string).into_owned());
        }
        at += string.len();
    }
    unreachable
}
