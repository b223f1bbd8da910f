//! `verify`: signatures, parts, archives behind a web server, and what nobody names. Damaged blobs are in `commands`.

use std::path::{Path, PathBuf};

use btf_archive::blob;
use btf_archive::snapshot::{self, Head};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{ALL, BOOKWORM, BULLSEYE, Server, digest_of, make_archive, program, run, succeed};

struct Desk {
    directory: TempDir,
}

impl Desk {
    /// An archive of all small kernels in two snapshots, signed.
    async fn signed() -> Self {
        let desk = Self { directory: TempDir::new().unwrap() };
        drop(make_archive(&desk.archive(), &[BOOKWORM]).await);
        drop(make_archive(&desk.archive(), ALL).await);
        for arguments in [
            &["keys", "root", "new", "root", "--no-password"][..],
            &["keys", "new", "key"],
            &[
                "keys",
                "add",
                "--archive",
                "archive",
                "--root-secret",
                "root",
                "--signing-key",
                "key",
                "key.pub",
            ],
        ] {
            succeed(program().args(arguments).current_dir(desk.directory.path()));
        }
        desk
    }

    fn archive(&self) -> PathBuf {
        self.directory.path().join("archive")
    }

    /// Verifies what is at `location`; gives the exit code and the report.
    fn verify(&self, location: &str, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = program();
        command.args(["verify", "--json", "--archive", location]).args(arguments);
        command.current_dir(self.directory.path()).env("XDG_STATE_HOME", self.directory.path().join("state"));
        let output = run(&mut command);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let report =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        (output.status.code(), report)
    }

    fn pinned(&self) -> (Option<i32>, Value) {
        self.verify("archive", &["--root-key", "root.pub"])
    }
}

/// What is damaged, by name.
fn damaged(report: &Value) -> Vec<&str> {
    report["damage"].as_array().unwrap().iter().map(|damage| damage["what"].as_str().unwrap()).collect()
}

/// Does something with a file changed, and puts it back.
fn with(path: &Path, change: impl FnOnce(&mut Vec<u8>), work: impl FnOnce()) {
    let good = std::fs::read(path).unwrap();
    let mut bytes = good.clone();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
    work();
    std::fs::write(path, good).unwrap();
}

/// Check that a signed archive is taken with its root, that one without a root is told, and that each signed file and each
/// signature is missed when it is changed.
#[tokio::test]
async fn verify_signed() {
    let desk = Desk::signed().await;
    let (code, report) = desk.pinned();
    assert_eq!((code, &report["root_checked"]), (Some(0), &true.into()), "{report}");
    assert!(report["signed_by"].as_str().unwrap().len() == 16 && report["warnings"] == Value::Array(vec![]));
    let (code, report) = desk.verify("archive", &[]);
    assert_eq!((code, &report["root_checked"]), (Some(0), &false.into()));
    assert!(report["warnings"][0].as_str().unwrap().contains("no root is pinned"));

    for name in ["keys.json", "latest.json", "snapshots/000002.json.zst"] {
        let signature = format!("{name}.minisig");
        for (file, blamed) in [(name, &[name, &signature][..]), (&signature, &[name, &signature])] {
            let path = desk.archive().join(file);
            with(
                &path,
                |bytes| *bytes.last_mut().unwrap() ^= 1,
                || {
                    // The newline at the end of JSON: its signature tells; that of the signature: the line is longer.
                    let (code, report) = desk.pinned();
                    assert_eq!(code, Some(4), "{file}: {report}");
                    let damaged = damaged(&report);
                    assert!(damaged.iter().any(|what| blamed.contains(what)), "{file}: {report}");
                },
            );
        }
        std::fs::rename(desk.archive().join(&signature), desk.archive().join("away")).unwrap();
        let (code, report) = desk.pinned();
        assert_eq!((code, damaged(&report)), (Some(4), vec![signature.as_str()]), "{report}");
        std::fs::rename(desk.archive().join("away"), desk.archive().join(&signature)).unwrap();
    }
    assert_eq!(desk.pinned().0, Some(0));
}

/// Check that another root, no signature, and an older snapshot than was seen are refused.
#[tokio::test]
async fn verify_untrusted() {
    let desk = Desk::signed().await;
    succeed(
        program().args(["keys", "root", "new", "other", "--no-password"]).current_dir(desk.directory.path()),
    );
    let (code, report) = desk.verify("archive", &["--root-key", "other.pub"]);
    assert_eq!((code, damaged(&report)), (Some(4), vec!["keys.json.minisig"]), "{report}");

    assert_eq!(desk.pinned().0, Some(0));
    let first = std::fs::read(desk.archive().join(snapshot::path(1))).unwrap();
    let head = Head::decode(&first).unwrap();
    let latest = snapshot::Latest::of(1, head.created(), &first).encode().unwrap();
    with(
        &desk.archive().join("latest.json"),
        |bytes| *bytes = latest,
        || {
            // A signature that is good, as an attacker has who kept an old copy.
            let arguments = ["-S", "-W", "-s", "key", "-m"];
            for file in ["archive/snapshots/000001.json.zst", "archive/latest.json"] {
                let mut minisign = std::process::Command::new("minisign");
                succeed(minisign.args(arguments).arg(file).current_dir(desk.directory.path()));
            }
            let (code, report) = desk.pinned();
            assert_eq!(code, Some(4));
            assert!(report.to_string().contains("snapshot 1 is offered, but 2 was seen"), "{report}");
        },
    );
    std::fs::remove_file(desk.archive().join("keys.json")).unwrap();
    let (code, report) = desk.pinned();
    assert_eq!((code, damaged(&report)), (Some(4), vec!["keys.json"]), "{report}");
    let (code, report) = desk.verify("archive", &[]);
    assert_eq!((code, damaged(&report)), (Some(4), vec!["keys.json"]), "signatures without keys: {report}");
}

/// Check that an archive is verified over HTTP, from the newest snapshot to the blobs, and that damage is found there.
#[tokio::test]
async fn verify_over_http() {
    let desk = Desk::signed().await;
    let root = std::fs::read(desk.directory.path().join("root.pub")).unwrap();
    let server = Server::start_over(desk.directory, &[]);
    let desk = Desk { directory: TempDir::new().unwrap() };
    std::fs::write(desk.directory.path().join("root.pub"), root).unwrap();
    let (code, report) = desk.verify(&server.url, &["--root-key", "root.pub"]);
    assert_eq!(
        (code, &report["blobs"], &report["snapshots"]),
        (Some(0), &ALL.len().into(), &2.into()),
        "{report}"
    );
    assert_eq!((&report["leftovers"], &report["root_checked"]), (&Value::Null, &true.into()));
    // From outside it is a tree like any other.
    std::fs::remove_file(server.archive().join(blob::path(&digest_of(BULLSEYE)))).unwrap();
    let (code, report) = desk.verify(&server.url, &["--root-key", "root.pub"]);
    assert_eq!(
        (code, damaged(&report)),
        (Some(4), vec![blob::path(&digest_of(BULLSEYE)).as_str()]),
        "{report}"
    );
}

/// Check that a part that was lost, cut or exchanged is damage, with the snapshot that needs it; that an old snapshot may be
/// gone; and that what nobody names is told, and is no damage.
#[tokio::test]
async fn verify_parts_and_leftovers() {
    let desk = Desk::signed().await;
    let parts = |number| {
        let file = std::fs::read(desk.archive().join(snapshot::path(number))).unwrap();
        Head::decode(&file).unwrap().parts().to_vec()
    };
    let (first, second) = (parts(1), parts(2));
    let path = desk.archive().join(second[0].path());
    with(
        &path,
        |bytes| bytes.truncate(9),
        || {
            let (code, report) = desk.pinned();
            let damage = damaged(&report);
            assert!(code == Some(4) && damage.contains(&second[0].path().as_str()), "{report}");
            assert!(report.to_string().contains("(snapshot 2)"), "{report}");
        },
    );
    let other = std::fs::read(desk.archive().join(first[0].path())).unwrap();
    with(&path, |bytes| *bytes = other, || assert_eq!(desk.pinned().0, Some(4)));

    std::fs::remove_file(desk.archive().join(snapshot::path(1))).unwrap();
    let extra = desk.archive().join(blob::path(&btf_archive::Digest::of(b"nobody's")));
    std::fs::create_dir_all(extra.parent().unwrap()).unwrap();
    std::fs::write(extra, b"12345").unwrap();
    let (code, report) = desk.pinned();
    assert_eq!((code, &report["snapshots"], &report["oldest"]), (Some(0), &1.into(), &2.into()), "{report}");
    let leftovers = &report["leftovers"];
    let unshared = first.iter().filter(|part| !second.contains(part)).count();
    assert_eq!(leftovers["objects"], 1 + unshared, "{report}");
    assert!(leftovers["bytes"].as_u64() >= Some(5));
}
