//! Damaged files: an error that says what and where, or valid BTF, and never a panic.

mod compiled;

use std::path::{Path, PathBuf};

use btfgen::vmlinux::{self, From};
use compiled::{convert, object, random};
use tempfile::TempDir;

/// An object of gcc's for this machine.
fn plain_object(dir: &Path, dwarf: &str, name: &str) -> PathBuf {
    object(dir, "gcc", &["-m64", "-O1", "-fno-eliminate-unused-debug-types", dwarf], name)
}

/// Check that every truncation and thousands of corruptions end in a result or an error.
#[test]
fn damaged_files() {
    let dir = TempDir::new().unwrap();
    let objects = [
        plain_object(dir.path(), "-gdwarf-5", "types.c"),
        object(dir.path(), "clang", &["--target=s390x-linux-gnu", "-O1", "-gdwarf-4"], "types.c"),
    ];
    for object in objects {
        let bytes = std::fs::read(&object).unwrap();
        for len in (0..bytes.len()).step_by(bytes.len() / 300) {
            // The table of sections stands at the end, so nothing shorter is whole.
            assert!(vmlinux::extract(&&bytes[..len], From::Auto, 1).is_err(), "{len} bytes");
        }
        let mut next = random(0x2545_f491_4f6c_dd1d);
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
    let object = plain_object(dir.path(), "-gdwarf-5", "types.c");
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
