//! `btf-minimize check`: the report in each of its forms, over files and over an archive.

mod judge;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use judge::{compile, succeed};
use serde_json::Value;
use tempfile::TempDir;

/// Two kernels, the older without a member, and a program that reads it.
const OLD: &str = "
    struct task_struct { int pid; };
    typedef void (*btf_trace_sys_enter)(void *);
    int use(struct task_struct *task, btf_trace_sys_enter trace) { return task->pid; }
";
const NEW: &str = "
    struct task_struct { long flags; int pid; int fresh; };
    typedef void (*btf_trace_sys_enter)(void *);
    int use(struct task_struct *task, btf_trace_sys_enter trace) { return task->pid; }
";
const PROGRAMS: &str = r#"
    #define SEC(name) __attribute__((section(name), used))
    struct task_struct { int pid; int fresh; } __attribute__((preserve_access_index));
    int sum;
    SEC("raw_tp/sys_enter") int old(struct task_struct *t) { sum += t->pid; return 0; }
    SEC("raw_tp/sys_enter") int fresh(struct task_struct *t) { sum += t->fresh; return 0; }
    SEC("raw_tp/sys_enter") int careful(struct task_struct *t) {
        if (__builtin_preserve_field_info(t->fresh, 2))
            sum += t->fresh;
        return 0;
    }
"#;

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk { folder: TempDir::new().unwrap() };
        for (name, source) in [("a-old", OLD), ("b-new", NEW), ("<b>&evil", PROGRAMS)] {
            let (input, output) = (desk.path("source.c"), desk.path(name));
            fs::write(&input, source).unwrap();
            succeed("clang", &[&"-target", &"bpf", &"-g", &"-O2", &"-c", &input, &"-o", &output]);
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn check(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_btf-minimize"));
        command.current_dir(self.folder.path()).arg("check").args(arguments).output().unwrap()
    }

    fn files(&self, more: &[&str]) -> Output {
        self.check(&[&["--btf", "a-old", "--btf", "b-new"], more, &["<b>&evil"]].concat())
    }
}

/// Check that the summary names each program, what stands in its way and where, and that the exit code tells.
#[test]
fn check_as_text() {
    let desk = Desk::new();
    let output = desk.files(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "<b>&evil: 4 relocations, 3 programs\n",
        "  old (raw_tp/sys_enter): works on 2 of 2\n",
        "  fresh (raw_tp/sys_enter): works on 1 of 2\n    fails: byte_off struct task_struct.fresh (source.c:6): not in this kernel\n      on a-old\n",
        "  careful (raw_tp/sys_enter): works on 2 of 2\n",
        "a check stands before it:\n    byte_off struct task_struct.fresh (careful source.c:9)\n      on a-old\n",
        "all programs work on 1 of 2 kernels\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let output = desk.files(&["--program", "careful", "--program", "old"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(desk.files(&["--program", "nobody"]).status.code(), Some(3));
}

/// Check that JSON says of each relocation from which kernel to which something holds, and of each program what is the matter.
#[test]
fn check_as_json() {
    let desk = Desk::new();
    let output = desk.files(&["--format", "json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["format"], &told["works"]), (&1.into(), &false.into()));
    let object = &told["objects"][0];
    let runs = |index: usize| object["relocations"][index]["runs"].clone();
    let run = |from: &str, to: &str, kernels: u32, rest: Value| {
        let mut run = serde_json::json!({"from": from, "to": to, "kernels": kernels});
        run.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        run
    };
    let json = |verdict: &str, value: u64| serde_json::json!({"verdict": verdict, "value": value});
    assert_eq!(
        runs(0),
        serde_json::json!([
            run("a-old", "a-old", 1, json("holds", 0)),
            run("b-new", "b-new", 1, json("holds", 8))
        ])
    );
    assert_eq!(runs(1)[0]["verdict"], "poisons");
    assert_eq!(
        (&runs(2)[0], &runs(2)[1]),
        (&run("a-old", "a-old", 1, json("absent", 0)), &run("b-new", "b-new", 1, json("holds", 1)))
    );
    assert_eq!(runs(3)[0]["verdict"], "guarded");
    let fresh = &object["programs"][1];
    assert_eq!(
        (&fresh["program"], &fresh["on"][0]["outcome"], &fresh["on"][1]["outcome"]),
        (&"fresh".into(), &"fails".into(), &"works".into())
    );
    assert_eq!(fresh["on"][0]["problems"][0]["relocation"], 1);
}

/// Check that SARIF puts each failure at its line, and that the page escapes what it shows and needs nothing from elsewhere.
#[test]
fn check_for_review_and_browsers() {
    let desk = Desk::new();
    let sarif: Value = serde_json::from_slice(&desk.files(&["--format", "sarif"]).stdout).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!((&sarif["version"], results.len()), (&"2.1.0".into(), 1));
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(
        (&results[0]["level"], &results[0]["ruleId"], &place["region"]["startLine"]),
        (&"error".into(), &"relocation".into(), &6.into())
    );
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("/source.c"));

    let output = desk.files(&["--format", "html", "-o", "report.html"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let page = fs::read_to_string(desk.path("report.html")).unwrap();
    assert!(page.contains("&lt;b&gt;&amp;evil") && !page.contains("<b>&evil"));
    assert!(!page.contains("http") && !page.contains("<script"));
    for class in ["holds", "absent", "guarded", "poisons", "works", "fails"] {
        assert!(page.contains(&format!("<td class=\"{class}\"")), "{class}");
    }
}

/// An archive with the two kernels, the older one made from DWARF.
fn archive(desk: &Desk) -> PathBuf {
    use btf_archive::store::{Archive, KernelDraft};
    use btf_archive::{Provenance, Source, Trust};
    let location = desk.path("archive");
    let section = |name: &str| {
        use object::{Object as _, ObjectSection as _};
        let file = fs::read(desk.path(name)).unwrap();
        object::File::parse(&*file).unwrap().section_by_name(".BTF").unwrap().data().unwrap().to_vec()
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let archive = Archive::create(&location).await.unwrap();
        for (key, name, source) in [
            ("debian/10/x86_64/4.19.0-27-amd64", "a-old", Source::Dwarf),
            ("debian/12/x86_64/6.1.0-50-amd64", "b-new", Source::Embedded),
            ("debian/12/x86_64/6.1.0-9-amd64", "b-new", Source::Embedded),
        ] {
            let provenance = Provenance {
                package: None,
                package_version: None,
                url: None,
                sha256: None,
                trust: Trust::None,
                source,
                generator: "test".to_owned(),
            };
            let draft = KernelDraft { key: key.parse().unwrap(), build_id: None, provenance, digest: None };
            archive.add(draft, section(name)).await.unwrap();
        }
        archive.publish().await.unwrap();
        archive.close().await;
    });
    location
}

/// Check that an archive's kernels are gone over in the order of their versions, that only those required count, and that a requirement nobody meets is told.
#[test]
fn check_over_an_archive() {
    let desk = Desk::new();
    let location = archive(&desk);
    let location = location.to_str().unwrap();
    let check = |more: &[&str]| {
        desk.check(&[&["--archive", location, "--format", "json"], more, &["<b>&evil"]].concat())
    };
    let told: Value = serde_json::from_slice(&check(&[]).stdout).unwrap();
    let names: Vec<&str> =
        told["kernels"].as_array().unwrap().iter().map(|kernel| kernel["kernel"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "debian/10/x86_64/4.19.0-27-amd64",
            "debian/12/x86_64/6.1.0-9-amd64",
            "debian/12/x86_64/6.1.0-50-amd64"
        ]
    );
    assert_eq!(
        (&told["kernels"][0]["own_btf"], &told["kernels"][1]["own_btf"]),
        (&false.into(), &true.into())
    );
    assert_eq!(told["objects"][0]["relocations"][0]["runs"][1]["kernels"], 2);

    assert_eq!(check(&["--require", "debian>=12"]).status.code(), Some(0));
    assert_eq!(check(&["--require", "debian"]).status.code(), Some(1));
    assert_eq!(check(&["--select", "debian 12"]).status.code(), Some(0));
    let output = check(&["--require", "debian, ubuntu 18.04 generic"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("ubuntu 18.04 generic"));
    assert_eq!(check(&["--require", "debian>="]).status.code(), Some(2));
}

/// Check that the sample programs of the project work on the running kernel.
#[test]
fn check_samples_on_this_kernel() {
    let folder = TempDir::new().unwrap();
    let object = compile("task", "bpfel", folder.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_btf-minimize"));
    let output = command.args(["check", "--btf", judge::KERNEL]).arg(Path::new(&object)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
