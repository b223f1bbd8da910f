//! The tools that judge: clang compiles the sample programs, bpftool minimises, libbpf relocates.

#![allow(dead_code)] // each test file uses its part

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The running kernel's own BTF.
pub(crate) const KERNEL: &str = "/sys/kernel/btf/vmlinux";

pub(crate) fn kernel_btf() -> Vec<u8> {
    fs::read(KERNEL).unwrap_or_else(|error| panic!("the tests need a kernel with BTF: {KERNEL}: {error}"))
}

/// Runs a tool. A tool that is missing is a failure, never a skipped test.
pub(crate) fn run(tool: &str, args: &[&dyn AsRef<OsStr>]) -> Output {
    let mut command = Command::new(tool);
    command.args(args.iter().copied().map(AsRef::as_ref));
    command.output().unwrap_or_else(|error| panic!("the tests need {tool}: {error}"))
}

/// Runs a tool that must succeed.
pub(crate) fn succeed(tool: &str, args: &[&dyn AsRef<OsStr>]) -> Output {
    let output = run(tool, args);
    assert!(output.status.success(), "{tool} failed: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Where the sample BPF programs lie.
pub(crate) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/bpf")
}

/// Compiles a sample program for `bpfel` or `bpfeb`.
pub(crate) fn compile(name: &str, target: &str, folder: &Path) -> PathBuf {
    let object = folder.join(format!("{name}.{target}.o"));
    let source = samples().join(format!("{name}.bpf.c"));
    succeed(
        "clang",
        &[&"-target", &target, &"-g", &"-O2", &"-Wall", &"-Werror", &"-c", &source, &"-o", &object],
    );
    object
}

/// The sample programs that have relocations.
pub(crate) const SAMPLES: [&str; 4] = ["task", "relocs_fields", "relocs_types", "relocs_enums"];

/// libbpf, as a program that tells what it makes of instructions.
pub(crate) struct Libbpf {
    folder: TempDir,
}

/// What libbpf makes of one program of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Relocated {
    /// `resolved`, `refused` or `unreached`.
    pub(crate) state: String,
    /// The instructions in hexadecimal.
    pub(crate) instructions: String,
}

impl Libbpf {
    pub(crate) fn new() -> Libbpf {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge/insns.c");
        succeed("cc", &[&"-O2", &"-Wall", &"-o", &folder.path().join("insns"), &source, &"-lbpf"]);
        Libbpf { folder }
    }

    /// Relocates objects against kernels: (all programs at once or each alone, BTF, object) → by program.
    pub(crate) fn relocate(&self, jobs: &[(bool, &Path, &Path)]) -> Vec<BTreeMap<String, Relocated>> {
        let list: String = jobs
            .iter()
            .map(|(alone, btf, object)| {
                let mode = if *alone { "alone" } else { "all" };
                format!("{mode} {} {}\n", btf.display(), object.display())
            })
            .collect();
        let mut child = Command::new(self.folder.path().join("insns"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(list.as_bytes()).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success(), "the libbpf judge failed: {:?}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        let answers: Vec<BTreeMap<_, _>> = text
            .split_terminator("\n\n")
            .map(|answer| {
                let programs = answer.lines().filter(|line| !line.is_empty()).map(|line| {
                    let [name, state, instructions] = line.split(' ').collect::<Vec<_>>()[..] else {
                        panic!("the libbpf judge says {line:?}")
                    };
                    let relocated = Relocated { state: state.into(), instructions: instructions.into() };
                    (name.to_string(), relocated)
                });
                programs.collect()
            })
            .collect();
        assert_eq!(answers.len(), jobs.len());
        answers
    }
}
