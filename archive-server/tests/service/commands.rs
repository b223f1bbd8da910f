//! `add`, `verify`, `completions`: what they take, what they refuse, and how they say so.

use std::path::Path;
use std::process::{Command, Output};

use btf::build::Builder;
use btf::{Endian, Int};
use btf_archive::blob;
use btf_archive::store::{Beside, KernelDraft};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    ALL, BOOKWORM, BULLSEYE, OWN_BTF, btf_of, digest_of, make_archive, program, run, small_btf, succeed,
};

const KEY: &str = "vendor/1/x86_64/1.2.3-test";

fn add(directory: &TempDir, arguments: &[&str]) -> Output {
    run(program().arg("add").arg("--archive").arg(directory.path().join("archive")).args(arguments))
}

fn verify(archive: &Path) -> (Option<i32>, Value, String) {
    let output = run(program().args(["verify", "--json", "--archive"]).arg(archive));
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report, String::from_utf8(output.stderr).unwrap())
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Check that `add` makes the archive, publishes, does nothing the second time, and learns a build-id later.
#[test]
fn add_and_again() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("kernel.btf");
    std::fs::write(&file, small_btf("a")).unwrap();
    let file = file.to_str().unwrap();
    let json = |arguments: &[&str]| -> Value {
        let output = add(&directory, arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let first = json(&["--json", "--key", KEY, file]);
    assert_eq!((&first["new"], &first["snapshot"]), (&Value::Bool(true), &1.into()));
    assert_eq!(first["kernel"]["provenance"]["source"], "upload");
    assert_eq!(first["kernel"]["digest"], btf_archive::Digest::of(&small_btf("a")).to_string());

    let again = json(&["--json", "--key", "vendor/1/amd64/1.2.3-test", file]);
    assert_eq!(
        (&again["new"], &again["snapshot"]),
        (&Value::Bool(false), &1.into()),
        "another spelling, the same kernel"
    );
    let told = json(&["--json", "--key", KEY, "--build-id", "00ff", file]);
    assert_eq!((&told["kernel"]["build_id"], &told["snapshot"]), (&"00ff".into(), &2.into()));
    let text = String::from_utf8(add(&directory, &["--key", KEY, file]).stdout).unwrap();
    assert!(text.starts_with(&format!("already there: {KEY}\n")) && text.contains("00ff"), "{text}");
}

/// Check that a vmlinux is taken by its .BTF section, with its build-id, and that a wrong --build-id is refused.
#[test]
fn add_elf() {
    let directory = TempDir::new().unwrap();
    let elf = directory.path().join("vmlinux");
    // Any program with a build-id becomes a stand-in for a vmlinux.
    succeed(Command::new("objcopy").arg(format!("--add-section=.BTF={OWN_BTF}")).arg("/bin/true").arg(&elf));
    let notes = String::from_utf8(succeed(Command::new("readelf").arg("-n").arg(&elf))).unwrap();
    let build_id = notes.split("Build ID: ").nth(1).unwrap().split_whitespace().next().unwrap();
    let elf = elf.to_str().unwrap();

    let wrong = add(&directory, &["--key", KEY, "--build-id", "00ff", elf]);
    assert_eq!(wrong.status.code(), Some(4));
    assert!(stderr(&wrong).contains(build_id) && stderr(&wrong).contains("00ff"), "{}", stderr(&wrong));
    assert!(!directory.path().join("archive").exists());

    let added = add(&directory, &["--json", "--key", KEY, elf]);
    assert_eq!(added.status.code(), Some(0), "{}", stderr(&added));
    let added: Value = serde_json::from_slice(&added.stdout).unwrap();
    assert_eq!(added["kernel"]["build_id"], build_id);
    assert_eq!(
        added["kernel"]["digest"],
        btf_archive::Digest::of(&std::fs::read(OWN_BTF).unwrap()).to_string()
    );

    let none = add(&directory, &["--key", KEY, "/bin/true"]);
    assert_eq!(none.status.code(), Some(4));
    assert!(stderr(&none).contains("no .BTF section"), "{}", stderr(&none));
}

/// Check that what is no kernel's BTF is refused by name and reason, and leaves nothing behind.
#[test]
fn add_refuses() {
    let directory = TempDir::new().unwrap();
    let good = small_btf("a");
    let mut without_task = Builder::new();
    without_task.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 });
    let mut broken = good.clone();
    // The first type's kind.
    broken[24 + 7] = 0x1f;
    for (name, bytes, word) in [
        ("empty", Vec::new(), "BTF"),
        ("text", b"no BTF at all, but longer than a header".to_vec(), "BTF"),
        ("cut", good[..good.len() - 1].to_vec(), "BTF"),
        ("broken", broken, "BTF"),
        ("no-task", without_task.finish(Endian::Big).unwrap(), "task_struct"),
        ("elf", b"\x7fELF and no more".to_vec(), "ELF"),
    ] {
        let file = directory.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let output = add(&directory, &["--key", KEY, file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(4), "{name}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(name) && stderr(&output).contains(word),
            "{name}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty());
    }
    let missing = add(&directory, &["--key", KEY, "/nonexistent/file"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("/nonexistent/file"));
    for key in ["debian/12/i386", "debian/12/i386/a/b", "debian/12/i386/..", "a b/1/2/3"] {
        assert_eq!(add(&directory, &["--key", key, OWN_BTF]).status.code(), Some(2), "{key}");
    }
    assert!(!directory.path().join("archive").exists());
}

/// Check that a kernel's BTF and build-id never change silently.
#[tokio::test]
async fn add_conflicts() {
    let directory = TempDir::new().unwrap();
    let archive = directory.path().join("archive");
    make_archive(&archive, &[BOOKWORM]).await;
    let file = directory.path().join("other");
    std::fs::write(&file, small_btf("other")).unwrap();
    let other = add(&directory, &["--key", BOOKWORM.0, file.to_str().unwrap()]);
    assert_eq!(other.status.code(), Some(4));
    assert!(stderr(&other).contains(BOOKWORM.0) && stderr(&other).contains("refusing"), "{}", stderr(&other));
    std::fs::write(&file, small_btf(BOOKWORM.0)).unwrap();
    let other = add(&directory, &["--key", BOOKWORM.0, "--build-id", "00ff", file.to_str().unwrap()]);
    assert_eq!(other.status.code(), Some(4), "{}", stderr(&other));
    assert_eq!(verify(&archive).0, Some(0));
}

/// Check that an intact archive verifies, with what was looked at.
#[tokio::test]
async fn verify_intact() {
    let directory = TempDir::new().unwrap();
    let archive = directory.path().join("archive");
    make_archive(&archive, &[BOOKWORM]).await;
    make_archive(&archive, ALL).await;
    let (code, report, stderr) = verify(&archive);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(report["kernels"], ALL.len());
    assert_eq!(report["blobs"], ALL.len());
    assert_eq!(report["snapshots"], 2);
    assert_eq!(report["damage"], Value::Array(Vec::new()));
    let raw: usize = ALL.iter().map(|(key, _)| small_btf(key).len()).sum();
    assert_eq!(report["raw_bytes"], raw);
}

/// Check that every kind of damage is found, all of it at once, with exit code 4.
#[tokio::test]
async fn verify_damaged() {
    let directory = TempDir::new().unwrap();
    let archive = directory.path().join("archive");
    make_archive(&archive, &[BOOKWORM]).await;
    make_archive(&archive, ALL).await;
    let path = |kernel| archive.join(blob::path(&digest_of(kernel)));
    std::fs::remove_file(path(BOOKWORM)).unwrap();
    let mut bytes = std::fs::read(path(BULLSEYE)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path(BULLSEYE), bytes).unwrap();
    // A whole blob in another's place.
    std::fs::copy(path(ALL[3]), path(ALL[4])).unwrap();
    let first = archive.join("snapshots/000001.json.zst");
    let cut = std::fs::read(&first).unwrap();
    std::fs::write(&first, &cut[..cut.len() - 1]).unwrap();

    let (code, report, stderr) = verify(&archive);
    assert_eq!(code, Some(4), "{stderr}");
    let damage = report["damage"].as_array().unwrap();
    assert_eq!(damage.len(), 4, "{report}");
    let reason = |what: &str| {
        let found = damage.iter().find(|damage| damage["what"] == what);
        found.unwrap_or_else(|| panic!("{what}: {report}"))["reason"].as_str().unwrap().to_owned()
    };
    let missing = reason(&blob::path(&digest_of(BOOKWORM)));
    assert!(missing.contains("missing") && missing.contains(BOOKWORM.0), "{missing}");
    reason(&blob::path(&digest_of(BULLSEYE)));
    reason(&blob::path(&digest_of(ALL[4])));
    reason("snapshots/000001.json.zst");
    for found in damage {
        assert!(stderr.contains(found["what"].as_str().unwrap()), "{stderr}");
    }
}

/// Check that a damaged head of the tree is damage, and a directory that is no archive is no archive.
#[tokio::test]
async fn verify_head() {
    let directory = TempDir::new().unwrap();
    let archive = directory.path().join("archive");
    make_archive(&archive, &[BOOKWORM]).await;
    std::fs::write(archive.join("latest.json"), "{").unwrap();
    let (code, _, stderr) = verify(&archive);
    assert_eq!(code, Some(4));
    assert!(stderr.contains("latest.json"), "{stderr}");
    let (code, _, stderr) = verify(&directory.path().join("nothing"));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("nothing"), "{stderr}");
}

/// Check that completions are printed, and that wrong usage is exit code 2.
#[test]
fn completions_and_usage() {
    let completions = succeed(program().args(["completions", "bash"]));
    assert!(String::from_utf8(completions).unwrap().contains("--ready-file"));
    for arguments in [&["serve"][..], &["add", "--archive", "x"], &["nonsense"], &[]] {
        assert_eq!(run(program().args(arguments)).status.code(), Some(2), "{arguments:?}");
    }
}

/// Check that `verify` looks at kernels' configurations and modules too: a lost one is damage, and it is told whose.
#[tokio::test]
async fn verify_beside() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("archive");
    let archive = make_archive(&path, &[BULLSEYE]).await;
    let provenance =
        archive.catalog().by_key(&BULLSEYE.0.parse().unwrap()).await.unwrap().unwrap().provenance;
    let draft = KernelDraft { key: BULLSEYE.0.parse().unwrap(), build_id: None, provenance, digest: None };
    let modules = Some(vec![("ext4".to_owned(), vec![1; 9])]);
    let beside = Beside { config: Some(b"CONFIG_BPF=y\n".as_slice().into()), modules };
    let added = archive.add_with(draft, btf_of(BULLSEYE), beside).await.unwrap();
    let record = added.record().clone();
    archive.publish().await.unwrap();
    drop(archive);
    let (code, report, stderr) = verify(&path);
    assert_eq!((code, report["blobs"].as_u64()), (Some(0), Some(3)), "{stderr}");
    for (digest, what) in
        [(record.config.unwrap(), "configuration of"), (record.modules.unwrap(), "modules of")]
    {
        let blob = path.join(blob::path(&digest));
        let bytes = std::fs::read(&blob).unwrap();
        std::fs::remove_file(&blob).unwrap();
        let (code, _, stderr) = verify(&path);
        assert_eq!(code, Some(4), "{stderr}");
        assert!(
            stderr.contains("is missing") && stderr.contains(what) && stderr.contains(BULLSEYE.0),
            "{stderr}"
        );
        std::fs::write(&blob, bytes).unwrap();
    }
}
