//! The program: what it prints, what it writes, and its exit codes.

mod judge;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use btf::Endian;
use judge::{KERNEL, compile};
use tempfile::TempDir;
use world::rules::Relo;
use world::{Field, Shape, Ty, World};

/// A folder with a kernel and an object: one of its relocations resolves, one is poisoned, and, if asked for, one is ambiguous.
struct Setup {
    folder: TempDir,
}

impl Setup {
    fn new(ambiguous: bool) -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let field = |name: &str, bits| Field { name: name.into(), ty: 1, bits, width: 0 };
        let composite = |name: &str, members| Ty {
            name: name.into(),
            shape: Shape::Composite { union: false, size: 8, members },
        };
        let types = |more: Vec<Ty>| {
            let void = Ty { name: String::new(), shape: Shape::Void };
            let int = Ty { name: "int".into(), shape: Shape::Int { size: 4, signed: true, bit_offset: 0 } };
            World { types: [vec![void, int], more].concat() }
        };
        let kernel = types(vec![
            composite("s", vec![field("a", 0), field("b", 32)]),
            composite("twice", vec![field("a", 0)]),
            composite("twice", vec![field("x", 0), field("a", 32)]),
        ]);
        let object = types(vec![
            composite("s___mine", vec![field("c", 0), field("b", 32)]),
            composite("twice", vec![field("a", 0)]),
        ]);
        let relo = |root, access: &[u32], kind| Relo { root, access: access.to_vec(), kind, load: false };
        let mut relos = vec![relo(2, &[0, 1], 0), relo(2, &[0, 0], 1)];
        if ambiguous {
            relos.push(relo(3, &[0, 0], 0));
        }
        fs::write(folder.path().join("kernel.btf"), kernel.encode(Endian::Big)).unwrap();
        fs::write(folder.path().join("object.o"), world::elf::object(&object, &relos, Endian::Big)).unwrap();
        Setup { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_btf-minimize"))
            .args(args)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// Names of the files in the folder.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Check that `build` writes the minimised BTF and says what it wrote.
#[test]
fn build_writes() {
    let setup = Setup::new(false);
    let output = setup.run(&["build", "--btf", "kernel.btf", "-o", "min.btf", "object.o"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout), @"min.btf: 73 bytes, 2 types, for 2 relocations of 1 object");
    assert_eq!(fs::read(setup.path("min.btf")).unwrap().len(), 73);
    assert_eq!(setup.files(), ["kernel.btf", "min.btf", "object.o"]);
}

/// Check that a relocation that cannot be resolved is named with its place and reason, and that the rest is written all the same.
#[test]
fn build_names_a_bad_relocation() {
    let setup = Setup::new(true);
    let output = setup.run(&["build", "--btf", "kernel.btf", "-o", "min.btf", "object.o"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @"btf-minimize: object.o: section raw_tp/test, instruction 4: byte_off of struct twice.a, access 0:0: error: ambiguous: the kernel's types [3] and [4] both match and give 0 at bit 0 and 4 at bit 32");
    assert!(setup.path("min.btf").exists());
}

/// Check that `--strict` and bpftool's command line write nothing then.
#[test]
fn strict_writes_nothing() {
    let setup = Setup::new(true);
    for args in [
        &["build", "--strict", "--btf", "kernel.btf", "-o", "min.btf", "object.o"][..],
        &["gen", "min_core_btf", "kernel.btf", "min.btf", "object.o"],
    ] {
        let output = setup.run(args);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("min.btf was not written"), "{}", text(&output.stderr));
        assert_eq!(setup.files(), ["kernel.btf", "object.o"]);
    }
}

/// Check that bpftool's command line works, as `build` does.
#[test]
fn bpftool_command_line() {
    let setup = Setup::new(false);
    assert_eq!(setup.run(&["gen", "min_core_btf", "kernel.btf", "a.btf", "object.o"]).status.code(), Some(0));
    assert_eq!(
        setup.run(&["build", "--btf", "kernel.btf", "-o", "b.btf", "object.o"]).status.code(),
        Some(0)
    );
    assert_eq!(fs::read(setup.path("a.btf")).unwrap(), fs::read(setup.path("b.btf")).unwrap());
}

/// Check the report for machines.
#[test]
fn build_json() {
    let setup = Setup::new(true);
    let output = setup.run(&["build", "--json", "--btf", "kernel.btf", "-o", "min.btf", "object.o"]);
    insta::assert_snapshot!(text(&output.stdout), @r#"
    {
      "kernel": "kernel.btf",
      "output": "min.btf",
      "bytes": 129,
      "types": 4,
      "objects": [
        {
          "object": "object.o",
          "relocations": 3,
          "problems": [
            {
              "section": "raw_tp/test",
              "instruction": 4,
              "kind": "byte_off",
              "type": "struct twice.a",
              "access": "0:0",
              "error": "ambiguous: the kernel's types [3] and [4] both match and give 0 at bit 0 and 4 at bit 32"
            }
          ]
        }
      ]
    }
    "#);
}

/// Check the listing, for people and for machines.
#[test]
fn relocs_lists() {
    let setup = Setup::new(true);
    let output = setup.run(&["relocs", "object.o"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(text(&output.stdout), @"
    object.o: 3 relocations
      raw_tp/test
            0  byte_off  struct s___mine.b  0:1
            2  byte_sz   struct s___mine.c  0:0
            4  byte_off  struct twice.a     0:0
    ");
    let output = setup.run(&["relocs", "--btf", "kernel.btf", "object.o"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stdout), @"
    object.o: 3 relocations
      raw_tp/test
            0  byte_off  struct s___mine.b  0:1  4
            2  byte_sz   struct s___mine.c  0:0  poisoned
            4  byte_off  struct twice.a     0:0  error: ambiguous: the kernel's types [3] and [4] both match and give 0 at bit 0 and 4 at bit 32
    ");
    let output = setup.run(&["relocs", "--json", "--btf", "kernel.btf", "object.o"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let relocations = json[0]["relocations"].as_array().unwrap();
    assert_eq!(relocations[0]["value"], 4);
    assert_eq!(relocations[1]["poisoned"], true);
    assert_eq!(relocations[1]["type"], "struct s___mine.c");
    assert!(relocations[2]["error"].as_str().unwrap().starts_with("ambiguous"));
}

/// Check that functions and source lines are told where the compiler recorded them.
#[test]
fn relocs_tells_functions_and_lines() {
    let setup = Setup::new(false);
    compile("task", "bpfeb", setup.folder.path());
    let output = setup.run(&["relocs", "--json", "task.bpfeb.o"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let relocations = json[0]["relocations"].as_array().unwrap();
    assert!(relocations.len() >= 7);
    for relocation in relocations {
        assert_eq!(relocation["section"], "raw_tp/sys_enter");
        assert_eq!(relocation["function"], "observe");
        assert!(relocation["source"].as_str().unwrap().contains("task.bpf.c:"), "{relocation}");
    }
}

/// Check that files that are no BTF or no objects are named with the reason, and that nothing is left behind.
#[test]
fn errors_name_the_file() {
    let setup = Setup::new(false);
    fs::write(setup.path("short.o"), &fs::read(setup.path("object.o")).unwrap()[..300]).unwrap();
    fs::write(setup.path("short.btf"), &fs::read(setup.path("kernel.btf")).unwrap()[..50]).unwrap();
    let before = setup.files();
    for (kernel, object, message) in [
        ("missing.btf", "object.o", "missing.btf: No such file or directory"),
        ("short.btf", "object.o", "short.btf: BTF"),
        ("kernel.btf", "short.o", "short.o: cannot be read as an ELF file"),
        ("object.o", "kernel.btf", "kernel.btf: cannot be read as an ELF file"),
    ] {
        let output = setup.run(&["build", "--btf", kernel, "-o", "min.btf", object]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    }
    let output = setup.run(&["build", "--btf", "kernel.btf", "-o", "no/such/folder/min.btf", "object.o"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write no/such/folder/min.btf"), "{}", text(&output.stderr));
    assert_eq!(setup.files(), before);
}

/// Check that a wrong command line is told apart from a failure.
#[test]
fn usage() {
    let setup = Setup::new(false);
    assert_eq!(setup.run(&["build", "object.o"]).status.code(), Some(2));
    assert_eq!(setup.run(&["build", "--btf", "kernel.btf", "-o", "min.btf"]).status.code(), Some(2));
    assert_eq!(setup.run(&["completions", "bash"]).status.code(), Some(0));
}

/// Check that an object without relocations, or without BTF at all, is nothing special.
#[test]
fn objects_without_relocations() {
    let setup = Setup::new(false);
    let source = setup.path("plain.bpf.c");
    fs::write(&source, "int f(void *context) { return 0; }").unwrap();
    for (name, debug) in [("plain.o", "-g0"), ("debug.o", "-g")] {
        judge::succeed(
            "clang",
            &[&"-target", &"bpf", &debug, &"-O2", &"-c", &source, &"-o", &setup.path(name)],
        );
    }
    let output = setup.run(&["build", "--btf", KERNEL, "-o", "min.btf", "plain.o", "debug.o"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout), @"min.btf: 25 bytes, 0 types, for 0 relocations of 2 objects");
}

/// Check that a kernel may be an ELF file that has its BTF in a section.
#[test]
fn kernel_as_elf() {
    let setup = Setup::new(false);
    let output = setup.run(&["build", "--btf", "object.o", "-o", "min.btf", "object.o"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(Path::new(&setup.path("min.btf")).exists());
}
