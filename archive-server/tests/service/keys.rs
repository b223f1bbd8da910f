//! `keys`: what a person does with the root and the snapshot keys, with Debian's `minisign` as judge.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{BOOKWORM, Server, make_archive, program, run, small_btf};

const KEY: &str = "vendor/1/x86_64/1.2.3-test";

/// A directory with keys and an archive.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(program().args(arguments).current_dir(self.0.path()).env("XDG_STATE_HOME", self.path("state")))
    }

    /// Runs a command that must succeed; gives its stdout.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with this exit code; gives its stderr.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
        stderr(&output)
    }

    fn list(&self) -> Value {
        let listed = self.ok(&["keys", "list", "--archive", "archive", "--root-key", "root.pub", "--json"]);
        serde_json::from_str(&listed).unwrap()
    }

    /// Whether minisign takes the signature of a file by the key in another.
    fn minisign(&self, key: &str, file: &str) -> bool {
        let mut minisign = Command::new("minisign");
        minisign.args(["-V", "-q", "-p", key, "-m", file]).current_dir(self.0.path());
        run(&mut minisign).status.success()
    }

    /// A root without password, a snapshot key, and an archive signed by them with one kernel in it.
    fn signed() -> Self {
        let desk = Self::new();
        desk.ok(&["keys", "root", "new", "root", "--no-password"]);
        desk.ok(&["keys", "new", "key"]);
        desk.ok(&["keys", "add", "--archive", "archive", "--root-secret", "root", "key.pub"]);
        std::fs::write(desk.path("btf"), small_btf("a")).unwrap();
        desk.ok(&["add", "--archive", "archive", "--signing-key", "key", "--key", KEY, "btf"]);
        desk
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Check that keys are made once, readable by their owner only, the root's encrypted, and that their public halves are told.
#[test]
fn keys_made() {
    let desk = Desk::new();
    std::fs::write(desk.path("password"), "correct horse\n").unwrap();
    let told = desk.ok(&["keys", "root", "new", "root", "--password-file", "password"]);
    let made = desk.ok(&["keys", "new", "key"]);
    for (name, public) in [("root", &told), ("key", &made)] {
        assert_eq!((mode(&desk.path(name)), mode(&desk.path(&format!("{name}.pub")))), (0o600, 0o644));
        let file = std::fs::read_to_string(desk.path(&format!("{name}.pub"))).unwrap();
        assert_eq!(file.lines().nth(1), Some(public.trim()));
        let before = std::fs::read(desk.path(name)).unwrap();
        let refused = desk.fails(1, &["keys", "new", name]);
        assert!(refused.contains("never overwritten"), "{refused}");
        assert_eq!(std::fs::read(desk.path(name)).unwrap(), before);
    }
    // Nor is a key written whose public half would be in the way.
    std::fs::remove_file(desk.path("key")).unwrap();
    desk.fails(1, &["keys", "new", "key"]);
    assert!(!desk.path("key").exists());

    assert_eq!(desk.ok(&["keys", "export", "root", "--password-file", "password"]), told);
    std::fs::write(desk.path("password"), "wrong\n").unwrap();
    let refused = desk.fails(1, &["keys", "export", "root", "--password-file", "password"]);
    assert!(refused.contains("root") && refused.contains("password"), "{refused}");
}

/// Check the way on two machines: the root signs a list off line, the archive takes it, kernels are published under it,
/// and minisign agrees with every signature.
#[test]
fn keys_offline() {
    let desk = Desk::new();
    std::fs::write(desk.path("password"), "correct horse\n").unwrap();
    desk.ok(&["keys", "root", "new", "root", "--password-file", "password"]);
    desk.ok(&["keys", "new", "key"]);
    let sign = ["keys", "root", "sign", "--root-secret", "root", "--password-file", "password"];
    let told = desk.ok(&[&sign[..], &["--add", "key.pub", "-o", "first.json"]].concat());
    assert_eq!(told, "list 1: 1 keys, 0 revoked\n");
    assert!(desk.minisign("root.pub", "first.json"));
    desk.fails(1, &[&sign[..], &["-o", "first.json"]].concat());

    let install = ["keys", "install", "--archive", "archive", "--root-key", "root.pub"];
    desk.fails(4, &["keys", "install", "--archive", "archive", "--root-key", "key.pub", "first.json"]);
    assert!(!desk.path("archive").exists());
    desk.ok(&[&install[..], &["first.json"]].concat());
    std::fs::write(desk.path("btf"), small_btf("a")).unwrap();
    let refused = desk.fails(1, &["add", "--archive", "archive", "--key", KEY, "btf"]);
    assert!(refused.contains("--signing-key"), "{refused}");
    desk.ok(&["add", "--archive", "archive", "--signing-key", "key", "--key", KEY, "btf"]);
    for (key, file) in [
        ("root.pub", "archive/keys.json"),
        ("key.pub", "archive/latest.json"),
        ("key.pub", "archive/snapshots/000001.json.zst"),
    ] {
        assert!(desk.minisign(key, file), "{file}");
    }
    let list = desk.list();
    assert_eq!((&list["snapshot"], &list["signed_by"]), (&1.into(), &list["list"]["keys"][0]["id"]));

    // A second list, with minisign as signer.
    desk.ok(&["keys", "new", "other"]);
    desk.ok(&[
        &sign[..],
        &["--list", "archive/keys.json", "--add", "other.pub", "--days", "9", "-o", "second.json"],
    ]
    .concat());
    desk.ok(&[&install[..], &["second.json"]].concat());
    let refused = desk.fails(4, &[&install[..], &["first.json"]].concat());
    assert!(refused.contains("key list 1 is offered, but 2"), "{refused}");
    assert_eq!(desk.list()["list"]["keys"].as_array().unwrap().len(), 2);
}

/// Check that a key is rotated, the newest snapshot signed with the new one at once, and the old one revoked with a reason;
/// and that an archive is not left with a snapshot that nobody would take.
#[test]
fn keys_rotate_and_revoke() {
    let desk = Desk::signed();
    let old = desk.list()["signed_by"].as_str().unwrap().to_owned();
    let root = ["--archive", "archive", "--root-secret", "root"];
    let refused = desk.fails(1, &[&["keys", "revoke"], &root[..], &[&old, "--reason", "stolen"]].concat());
    assert!(refused.contains("--signing-key"), "{refused}");
    assert_eq!(desk.list()["list"]["version"], 1, "nothing was changed");

    desk.ok(&[&["keys", "rotate"], &root[..], &["key2"]].concat());
    assert!(desk.minisign("key2.pub", "archive/latest.json"));
    assert!(desk.minisign("key2.pub", "archive/snapshots/000001.json.zst"));
    let list = desk.list();
    assert_ne!(list["signed_by"], old.as_str());
    assert_eq!(list["list"]["keys"].as_array().unwrap().len(), 2);
    let revoked =
        desk.ok(&[&["keys", "revoke"], &root[..], &[&old, "--reason", "stolen", "--signing-key", "key2"]]
            .concat());
    assert_eq!(revoked, "list 3: 1 keys, 1 revoked\n");
    std::fs::write(desk.path("btf"), small_btf("b")).unwrap();
    let add = ["add", "--archive", "archive", "--key", "vendor/1/x86_64/1.2.4", "btf", "--signing-key"];
    let refused = desk.fails(1, &[&add[..], &["key"]].concat());
    assert!(refused.contains("revoked: stolen"), "{refused}");
    desk.ok(&[&add[..], &["key2"]].concat());
    let text = desk.ok(&["keys", "list", "--archive", "archive", "--root-key", "root.pub"]);
    assert!(text.contains("signed the newest snapshot") && text.contains("revoked: stolen"), "{text}");
    // A stranger's root cannot add to this root's list.
    desk.ok(&["keys", "root", "new", "stranger", "--no-password"]);
    desk.fails(4, &["keys", "add", "--archive", "archive", "--root-secret", "stranger", "key2.pub"]);
    let refused = desk.fails(4, &["keys", "list", "--archive", "archive", "--root-key", "stranger.pub"]);
    assert!(refused.contains("not a pinned root key"), "{refused}");
}

/// Check that a signed archive is read over HTTP, tree and all, by who pinned its root.
#[tokio::test]
async fn keys_over_http() {
    let desk = Desk::signed();
    let public = std::fs::read_to_string(desk.path("root.pub")).unwrap();
    let server = Server::start_over(desk.0, &[]);
    let desk = Desk::new();
    std::fs::write(desk.path("root.pub"), public).unwrap();
    let list = ["keys", "list", "--archive", &server.url, "--root-key", "root.pub", "--json"];
    let listed: Value = serde_json::from_str(&desk.ok(&list)).unwrap();
    assert_eq!(listed["snapshot"], 1);
    for path in ["latest.json", "keys.json", "snapshots/000001.json.zst"] {
        let signature = server.get(&format!("/{path}.minisig")).await;
        assert_eq!(signature.headers()["cache-control"], "public, no-cache", "{path}");
        let file = server.archive().join(format!("{path}.minisig"));
        assert_eq!(signature.bytes().await.unwrap(), std::fs::read(file).unwrap());
    }
    assert!(server.get("/keys/000001.json.minisig").await.status().is_success());
    for path in
        ["/keys/1.json.minisig", "/keys/000002.json.minisig", "/keys/", "/snapshots/000009.json.zst.minisig"]
    {
        assert_eq!(server.get(path).await.status(), 404, "{path}");
    }
}

/// Check that an archive without signatures says so, and is refused by who pinned a root.
#[tokio::test]
async fn keys_unsigned() {
    let desk = Desk::new();
    drop(make_archive(&desk.path("archive"), &[BOOKWORM]).await);
    assert_eq!(desk.ok(&["keys", "list", "--archive", "archive"]), "not signed\n");
    desk.ok(&["keys", "root", "new", "root", "--no-password"]);
    let refused = desk.fails(4, &["keys", "list", "--archive", "archive", "--root-key", "root.pub"]);
    assert!(refused.contains("not signed"), "{refused}");
    // It becomes a signed one with a key to sign what is there.
    desk.ok(&["keys", "new", "key"]);
    let add = ["keys", "add", "--archive", "archive", "--root-secret", "root", "key.pub"];
    assert!(desk.fails(1, &add).contains("--signing-key"));
    desk.ok(&[&add[..], &["--signing-key", "key"]].concat());
    assert_eq!(desk.list()["snapshot"], 1);
}
