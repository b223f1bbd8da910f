//! The BPF programs of Debian packages (the tools of bcc for libbpf, and xdp-tools), which carry their objects inside their executables: about a hundred
//! objects by other people.

mod judge;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf_minimize::{Kernel, Object, minimize, resolve};
use judge::{KERNEL, Libbpf, kernel_btf, run, succeed};

/// Downloads the packages (1.5 MB together) and gives the objects in them.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let download = Command::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=root", "download", "libbpf-tools", "xdp-tools"])
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("the tests need apt-get: {error}"));
    assert!(
        download.status.success(),
        "apt-get cannot download libbpf-tools and xdp-tools (try apt-get update): {}",
        String::from_utf8_lossy(&download.stderr)
    );
    let content = folder.join("content");
    for package in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if package.extension().is_some_and(|extension| extension == "deb") {
            succeed("dpkg-deb", &[&"-x", &package, &content]);
        }
    }
    let mut found = Vec::new();
    let mut folders = vec![content];
    while let Some(inside) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(inside).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let file = fs::read(&path).unwrap();
                for object in embedded(&file) {
                    let name = folder.join(format!("{}.o", found.len()));
                    fs::write(&name, object).unwrap();
                    found.push(name);
                }
            }
        }
    }
    found
}

/// The BPF objects in a file: from an ELF header for BPF to the end of its table of sections, which comes last.
fn embedded(file: &[u8]) -> Vec<&[u8]> {
    let number = |header: &[u8], at: usize, len: usize| {
        header[at..at + len].iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
    };
    let starts = (0..file.len().saturating_sub(64)).filter(|&at| file[at..].starts_with(b"\x7fELF\x02\x01"));
    let objects = starts.filter_map(|at| {
        let header = &file[at..];
        let len = number(header, 40, 8).checked_add(number(header, 58, 2) * number(header, 60, 2))?;
        if number(header, 18, 2) == 247 { header.get(..len) } else { None }
    });
    objects.collect()
}

/// Check that each object resolves alike on the whole and on the minimised BTF, by this crate and by libbpf, and that no minimised BTF is larger than
/// bpftool's.
#[test]
fn objects_of_debian() {
    let folder = tempfile::tempdir().unwrap();
    let paths = objects(folder.path());
    assert!(paths.len() >= 50, "only {} objects were found", paths.len());
    let data = kernel_btf();
    let kernel = Kernel::open(&data).unwrap();
    let mut relocations = 0;
    let mut small_paths = Vec::new();
    for path in &paths {
        let file = fs::read(path).unwrap();
        let object = Object::parse(&file).unwrap();
        let ours = minimize(&kernel, std::slice::from_ref(&object)).unwrap();
        relocations += object.relocations().len();
        assert_eq!(resolve(&Kernel::open(&ours.btf).unwrap(), &object), resolve(&kernel, &object));
        let theirs = path.with_extension("theirs");
        let output = run("bpftool", &[&"gen", &"min_core_btf", &KERNEL, &theirs, path]);
        if output.status.success() {
            let theirs = fs::metadata(&theirs).unwrap().len();
            assert!(
                ours.btf.len() as u64 <= theirs,
                "{}: {} bytes, bpftool {theirs}",
                path.display(),
                ours.btf.len()
            );
        }
        let small = path.with_extension("btf");
        fs::write(&small, ours.btf).unwrap();
        small_paths.push(small);
    }
    assert!(relocations > 300, "only {relocations} relocations were found");

    let whole = Path::new(KERNEL);
    let jobs: Vec<_> = paths
        .iter()
        .zip(&small_paths)
        .flat_map(|(object, small)| [(false, whole, &**object), (false, &**small, &**object)])
        .collect();
    let answers = Libbpf::new().relocate(&jobs);
    let mut resolved = 0;
    for (answers, path) in answers.chunks(2).zip(&paths) {
        assert_eq!(answers[0], answers[1], "{}", path.display());
        resolved += usize::from(answers[0].values().any(|answer| answer.state == "resolved"));
    }
    assert!(resolved >= 30, "libbpf came to the relocations of only {resolved} objects");
}
