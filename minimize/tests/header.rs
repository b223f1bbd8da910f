//! `btf-minimize header`: what is asked for, compiled by clang.

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

const KERNEL: &str = "/sys/kernel/btf/vmlinux";

fn header(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btf-minimize"));
    command.args(["header", "--btf", KERNEL]).args(arguments).output().unwrap()
}

/// Check that a few types come with what they need and no more, and that a program compiles with them.
#[test]
fn header_of_some_types() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("vmlinux.h");
    let output = header(&["-o", path.to_str().unwrap(), "struct task_struct", "pid_t", "enum pid_type"]);
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\nstruct task_struct {\n") && text.contains("\nenum pid_type {\n"));
    assert!(text.contains("\nstruct mm_struct;\n") && !text.contains("\nstruct mm_struct {\n"));
    let program = "#include \"vmlinux.h\"\nint read_pid(struct task_struct *task) { pid_t pid = task->pid; return pid; }\n";
    fs::write(folder.path().join("program.c"), program).unwrap();
    let clang = Command::new("clang")
        .args(["-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-c", "program.c", "-o", "program.o"])
        .current_dir(folder.path())
        .output()
        .expect("clang is needed");
    assert!(clang.status.success(), "{}", String::from_utf8_lossy(&clang.stderr));
    let relocs = Command::new(env!("CARGO_BIN_EXE_btf-minimize"))
        .args(["relocs", "--btf", KERNEL, "program.o"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let relocs = String::from_utf8(relocs.stdout).unwrap();
    assert!(relocs.contains("struct task_struct") && relocs.contains("pid"), "{relocs}");
}

/// Check that a type that is not there is named, with what may have been meant, and that nothing is written.
#[test]
fn header_of_a_missing_type() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("vmlinux.h");
    let output = header(&["-o", path.to_str().unwrap(), "task_struc"]);
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("there is no type \"task_struc\"; there is task_struct"), "{told}");
    assert!(!path.exists());
}
