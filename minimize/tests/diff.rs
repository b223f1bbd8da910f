//! `btf-minimize diff`: two versions of some C, compiled, and what is said of them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const OLD: &str = "
    enum state { ON, OFF, GONE };
    typedef int number_t;
    struct kept { int a; };
    struct removed { int a; };
    struct task {
        int first;
        long gone;
        long moved, moved_too, and_this;
        union { int in_union; struct { char x; } named; };
        unsigned flags : 3, more : 5;
        number_t other;
        struct kept *kept;
    };
    int works(struct task *task, struct removed *r) { return task->first; }
    number_t number; enum state state; struct kept kept; struct removed removed; struct task task;
";
const NEW: &str = "
    enum state { ON, OFF = 7, NEW };
    typedef long number_t;
    struct kept { int a; };
    struct added { int a; };
    struct task {
        int first;
        int came;
        long moved, moved_too, and_this;
        union { int in_union; struct { char x; char y; } named; };
        unsigned flags : 4, more : 5;
        number_t *other;
        struct kept *kept;
    };
    int works(struct task *task) { return task->first; }
    number_t number; enum state state; struct kept kept; struct added added; struct task task;
";

/// BTF of these two, in a folder.
fn compiled() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, source) in [("old", OLD), ("new", NEW)] {
        let input = folder.path().join(format!("{name}.c"));
        fs::write(&input, source).unwrap();
        let clang = Command::new("clang")
            .args(["-target", "bpf", "-g", "-O1", "-c", "-o"])
            .arg(folder.path().join(name))
            .arg(&input)
            .output()
            .expect("clang is needed");
        assert!(clang.status.success(), "{}", String::from_utf8_lossy(&clang.stderr));
    }
    folder
}

fn diff(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btf-minimize"));
    command.arg("diff").args(arguments).current_dir(folder).output().unwrap()
}

/// Check that everything that changed is said once, and what moved together is said together.
#[test]
fn diff_as_text() {
    let folder = compiled();
    let output = diff(folder.path(), &["old", "new"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "\
+ struct added
- struct removed
~ struct task, 64 -> 56 bytes
    - long gone at 8
    + int came at 4
    > moved to named.x moved by -8 bytes (5 members)
    + char y (in named) at 33
    - unsigned int flags at 44 bit 0, 3 wide
    + unsigned int flags at 36 bit 0, 4 wide
    > more moved by -63 bits, from 44 bit 3, 5 wide to 36 bit 4, 5 wide
    - number_t other at 48
    + number_t *other at 40
    > kept moved by -8 bytes, from 56 to 48
~ enum state
    - GONE = 2
    ~ OFF = 1 -> 7
    + NEW = 8
~ typedef number_t
    - int number_t
    + long number_t
~ function works
    - int works(struct task *task, struct removed *r)
    + int works(struct task *task)
";
    let text = String::from_utf8(output.stdout).unwrap();
    let told: Vec<&str> = text.lines().collect();
    for line in expected.lines() {
        assert!(told.contains(&line), "{line:?} is not in\n{text}");
    }
    assert!(text.ends_with("4 changed, 2 added, 2 removed\n"), "{text}");
}

/// Check that some types can be asked for, in JSON too, and that nothing is said where nothing changed.
#[test]
fn diff_of_some_types() {
    let folder = compiled();
    let output = diff(folder.path(), &["--json", "old", "new", "enum state"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told.as_array().unwrap().len(), 1);
    assert_eq!(
        (&told[0]["kind"], &told[0]["name"], &told[0]["change"]),
        (&"enum".into(), &"state".into(), &"changed".into())
    );
    assert_eq!(
        told[0]["details"][1],
        serde_json::json!({"what": "enumerator", "name": "OFF", "from": 1, "to": 7})
    );
    let output = diff(folder.path(), &["old", "new", "struct kept"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"no difference\n"[..]));
    let output = diff(folder.path(), &["old", "new", "struct tas"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is task"));
}
