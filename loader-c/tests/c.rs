//! The library as a C program sees it: compiled by gcc, linked to the shared library, run on hosts that are not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use btf::{Builder, Endian, Int, Kind};

/// The file name's digits: nobody has this kernel.
const RELEASE: &str = "0.0.0-c";

/// A program that prints what the library answers: `program ROOT CACHE [URLS]`.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <string.h>
#include <btfloader.h>

int main(int argc, char **argv)
{
	struct btfloader_options options = { .size = sizeof(options), .root = argv[1], .cache = argv[2] };
	struct btfloader_result *result;
	enum btfloader_status status;
	size_t size = 1;

	if (argc > 3)
		options.urls = argv[3];
	status = btfloader_find(&options, &result);
	printf("find %d exact %d path %s\n", status, btfloader_is_exact(result), btfloader_path(result) ? btfloader_path(result) : "none");
	printf("bytes %s", btfloader_btf(result, &size) ? "some" : "none");
	printf(" %zu\nmessage %s\n", size, btfloader_message(result));
	btfloader_free(result);

	status = btfloader_find_config(&options, &result);
	printf("config %d %s\n", status, btfloader_text(result) ? btfloader_text(result) : "none");
	btfloader_free(result);

	/* What must be harmless. */
	options.size--;
	printf("usage %d\n", btfloader_find(&options, NULL));
	printf("null %s %d %d\n", btfloader_message(NULL), btfloader_path(NULL) == NULL, btfloader_btf(NULL, NULL) == NULL);
	btfloader_free(NULL);
	return 0;
}
"#;

fn directory() -> PathBuf {
    // target/PROFILE/deps, where cargo puts the test and the shared library.
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// Compiles the program against the header and the library.
fn compile(dir: &Path) -> PathBuf {
    let (source, program) = (dir.join("program.c"), dir.join("program"));
    fs::write(&source, PROGRAM).unwrap();
    let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include");
    let libraries = directory();
    // The program finds the library by its name as an ABI, libbtfloader.so.0.
    let lib = dir.join("lib");
    fs::create_dir(&lib).unwrap();
    std::os::unix::fs::symlink(libraries.join("libbtfloader.so"), lib.join("libbtfloader.so.0")).unwrap();
    let output = Command::new("gcc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", include, "-o"])
        .arg(&program)
        .arg(&source)
        .arg(lib.join("libbtfloader.so.0"))
        .arg(format!("-Wl,-rpath,{}", lib.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    program
}

/// A host with this release and no BTF of its own.
fn host(dir: &Path) -> PathBuf {
    let root = dir.join("root");
    for (path, text) in [
        ("proc/sys/kernel/osrelease", RELEASE),
        ("proc/sys/kernel/arch", "x86_64\n"),
        ("etc/os-release", "ID=debian\nVERSION_ID=11\n"),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn kernel_btf() -> Vec<u8> {
    let mut builder = Builder::new();
    builder.int(b"long unsigned int", 8, Int { encoding: 0, bit_offset: 0, bits: 64 });
    builder.composite(Kind::Struct, b"task_struct", 8, &[]).unwrap();
    builder.finish(Endian::Little).unwrap()
}

fn run(program: &Path, root: &Path, dir: &Path, more: &[&str]) -> String {
    let mut command = Command::new(program);
    command.env_clear().arg(root).arg(dir.join("cache")).args(more);
    let output: Output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Check that a C program gets status, path, bytes, messages and configuration, that NULL and options of another size are
/// harmless, and that a wrong address is its own fault.
#[test]
fn c_program() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (program, root) = (compile(dir), host(dir));

    let nothing = run(&program, &root, dir, &[]);
    assert!(
        nothing.starts_with("find 3 exact 0 path none\nbytes none 0\nmessage no BTF for the running kernel"),
        "{nothing}"
    );
    assert!(nothing.contains("\nconfig 3 none\nusage 2\nnull  1 1\n"), "{nothing}");
    assert!(run(&program, &root, dir, &["ftp://host"]).starts_with("find 2 "));
    assert!(run(&program, &root, dir, &["http://127.0.0.1:1"]).starts_with("find 1 "));

    let file = root.join("boot").join(format!("vmlinux-{RELEASE}"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, kernel_btf()).unwrap();
    fs::write(root.join("boot").join(format!("config-{RELEASE}")), "CONFIG_HZ=250\n").unwrap();
    let found = run(&program, &root, dir, &[]);
    let size = kernel_btf().len();
    let expected = format!(
        "find 0 exact 0 path {}\nbytes some {size}\nmessage by name, {size} bytes, from {}\nconfig 0 CONFIG_HZ=250\n",
        file.display(),
        file.display()
    );
    assert!(found.starts_with(&expected), "{found}");

    fs::write(&file, b"rubbish").unwrap();
    assert!(run(&program, &root, dir, &[]).starts_with("find 4 "));
}
