//! Looking after an archive: `gc`, `repair`, `tokens`, scrubbing, archives in buckets and archives that are only read.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use btf_archive::store::{Archive, Permission, Scope};
use btf_archive::{blob, snapshot};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    ALL, BIONIC, BOOKWORM, BULLSEYE, Server, btf_of, digest_of, make_archive, program, run, small_btf,
};
use crate::{postgresql, s3_server};

fn command(name: &str, archive: &Path, arguments: &[&str]) -> Output {
    run(program().arg(name).arg("--archive").arg(archive).args(arguments))
}

fn json(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?} {stderr}"))
}

/// Waits until a metric has this value.
async fn wait_for(server: &Server, metric: &str, value: &str) {
    let line = format!("{metric} {value}");
    for _ in 0..600 {
        let text = server.get("/metrics").await.text().await.unwrap();
        if text.lines().any(|found| found == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{line}: {}", server.get("/metrics").await.text().await.unwrap());
}

/// Check that `gc` first only says what it would remove, then removes it, and that the archive is whole after that; and that a pinned snapshot
/// stays.
#[tokio::test]
async fn gc_dry_run_first() {
    let directory = TempDir::new().unwrap();
    let archive = make_archive(directory.path(), &[BOOKWORM]).await;
    let draft = btf_archive::store::KernelDraft {
        key: BOOKWORM.0.parse().unwrap(),
        build_id: None,
        provenance: archive.snapshot(1).await.unwrap().kernels[0].provenance.clone(),
        digest: None,
    };
    archive.replace(draft, small_btf("again"), "made again").await.unwrap();
    archive.publish().await.unwrap();
    archive.close().await;
    let gc = |arguments: &[&str]| command("gc", directory.path(), arguments);
    let replaced = directory.path().join(blob::path(&digest_of(BOOKWORM)));

    let keep_one = ["--json", "--keep-snapshots", "1", "--grace", "0"];
    assert_eq!(
        json(&gc(&["--json", "--keep-snapshots", "1"]))["objects"].as_array().unwrap().len(),
        1,
        "young"
    );
    let pinned =
        gc(&["--pin", "1", "--because", "shipped", "--json", "--keep-snapshots", "1", "--grace", "0"]);
    assert_eq!(json(&pinned)["bytes"], 0);
    assert_eq!(json(&gc(&[&keep_one[..], &["--unpin", "1"]].concat()))["snapshots"], serde_json::json!([1]));
    let text = gc(&keep_one[1..]);
    let (out, err) = (String::from_utf8(text.stdout).unwrap(), String::from_utf8(text.stderr).unwrap());
    assert!(out.contains(&blob::path(&digest_of(BOOKWORM))) && out.contains("to be removed"), "{out}");
    assert!(err.contains("--delete") && replaced.exists(), "{err}");

    let removed = gc(&[&keep_one[..], &["--delete"]].concat());
    assert_eq!((removed.status.code(), replaced.exists()), (Some(0), false));
    assert_eq!(json(&removed)["deleted"], true);
    assert_eq!(json(&gc(&keep_one))["bytes"], 0);
    let verified = command("verify", directory.path(), &["--json"]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    assert_eq!(gc(&["--pin", "1", "--because", "too late"]).status.code(), Some(1));
}

/// Check that `repair` fetches what is damaged or missing from a mirror's server, from a directory after that, and says what nobody has.
#[tokio::test]
async fn repair_from_copies() {
    let mirror = Server::start(ALL).await;
    let directory = TempDir::new().unwrap();
    let (damaged, copy) = (directory.path().join("archive"), directory.path().join("copy"));
    for to in [&damaged, &copy] {
        assert!(
            run(std::process::Command::new("cp").arg("-r").arg(mirror.archive()).arg(to)).status.success()
        );
    }
    std::fs::write(damaged.join("latest.json"), b"{}").unwrap();
    std::fs::remove_file(damaged.join(snapshot::path(1))).unwrap();
    let [rotten, lost, everywhere] =
        [BOOKWORM, BULLSEYE, BIONIC].map(|kernel| blob::path(&digest_of(kernel)));
    std::fs::write(damaged.join(&rotten), b"rot").unwrap();
    std::fs::remove_file(damaged.join(&lost)).unwrap();
    for root in [&damaged, &copy, &mirror.archive()] {
        std::fs::remove_file(root.join(&everywhere)).unwrap();
    }
    // The mirror has lost one of them too, and its own copy of the other is rotten.
    std::fs::write(mirror.archive().join(&lost), b"rot").unwrap();

    let looked = command("repair", &damaged, &["--dry-run", "--json"]);
    assert_eq!((looked.status.code(), &json(&looked)["left"]), (Some(5), &5.into()));
    let repaired =
        command("repair", &damaged, &["--json", "--from", &mirror.url, "--from", copy.to_str().unwrap()]);
    assert_eq!(repaired.status.code(), Some(5));
    let report = json(&repaired);
    let from = |path: &str| {
        let all = report["damaged"].as_array().unwrap();
        all.iter().find(|object| object["path"] == path).map(|object| object["from"].clone())
    };
    let (web, folder) = (Some(mirror.url.clone().into()), Some(copy.to_str().unwrap().into()));
    assert_eq!(from("latest.json"), web);
    assert_eq!(from(&snapshot::path(1)), web);
    assert_eq!(from(&rotten), web);
    assert_eq!(from(&lost), folder, "{report}");
    assert_eq!(from(&everywhere), Some(Value::Null));
    assert_eq!(report["left"], 1);

    let archive = Archive::open(&damaged).await.unwrap();
    assert_eq!(archive.blob(&digest_of(BULLSEYE)).await.unwrap(), btf_of(BULLSEYE));
    archive.close().await;
    std::fs::write(copy.join(&everywhere), blob::compress(&btf_of(BIONIC))).unwrap();
    let repaired = command("repair", &damaged, &["--from", copy.to_str().unwrap()]);
    assert_eq!(repaired.status.code(), Some(0), "{repaired:?}");
    assert!(String::from_utf8(repaired.stdout).unwrap().ends_with("1 damaged or missing, 1 mended\n"));
    assert_eq!(command("verify", &damaged, &[]).status.code(), Some(0));
    assert_eq!(command("repair", &damaged, &["--dry-run"]).status.code(), Some(0));
}

/// Check that the service reads its archive again when it should, and reports what has rotted.
#[tokio::test]
async fn serve_scrubs() {
    let directory = TempDir::new().unwrap();
    make_archive(&directory.path().join("archive"), ALL).await.close().await;
    let rotten = directory.path().join("archive").join(blob::path(&digest_of(BIONIC)));
    std::fs::write(rotten, b"rot").unwrap();
    let server = Server::start_over(directory, &["--scrub", "100000000"]);
    wait_for(&server, "btf_archive_scrubs_total", "1").await;
    wait_for(&server, "btf_archive_damaged_objects", "1").await;
    let log = server.log();
    assert!(log.contains(&blob::path(&digest_of(BIONIC))) && log.contains("repair"), "{log}");
    // All blobs, a part, an index, latest.json.
    wait_for(&server, "btf_archive_scrubbed_objects_total", &(ALL.len() + 3).to_string()).await;
}

/// Check that an archive without the right to write is served from its newest snapshot, unchanged, and that what is published there later is
/// taken over.
#[tokio::test]
async fn serve_read_only() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("archive");
    let archive = make_archive(&root, &[BOOKWORM]).await;
    archive.close().await;
    std::fs::remove_file(root.join("catalog.sqlite")).unwrap();
    std::fs::remove_file(root.join("archive.lock")).unwrap();
    let names = || {
        let mut names: Vec<_> =
            std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let server = Server::start_over(directory, &["--read-only", "--refresh", "1"]);
    let path = format!("/v1/btf/{}", BOOKWORM.0);
    assert_eq!(server.get(&path).await.bytes().await.unwrap(), btf_of(BOOKWORM));
    assert_eq!(names(), before);

    make_archive(&root, &[BULLSEYE]).await.close().await;
    let path = format!("/v1/btf/{}", BULLSEYE.0);
    for _ in 0..100 {
        if server.get(&path).await.status() == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(server.get(&path).await.bytes().await.unwrap(), btf_of(BULLSEYE));
}

/// Check that a token is shown once, is good for its scope until it is revoked, and that all that is recorded.
#[tokio::test]
async fn tokens_made_and_revoked() {
    let directory = TempDir::new().unwrap();
    make_archive(directory.path(), &[]).await.close().await;
    let tokens = |name: &str, arguments: &[&str]| {
        run(program().args(["tokens", name, "--archive"]).arg(directory.path()).args(arguments))
    };
    let made = json(&tokens("make", &["--label", "build farm", "--json"]));
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!(
        (&made["scopes"][0], made["expires"].as_u64().unwrap() - made["created"].as_u64().unwrap()),
        (&"upload".into(), 90 * 86400)
    );
    let plain = tokens("make", &["--label", "me", "--scope", "admin", "--days", "0"]);
    assert!(String::from_utf8(plain.stdout).unwrap().starts_with("btfa_"));
    let archive = Archive::open(directory.path()).await.unwrap();
    assert!(matches!(archive.catalog().permits(token, Scope::Upload).await.unwrap(), Permission::Granted(_)));
    assert!(!String::from_utf8(tokens("list", &["--json"]).stdout).unwrap().contains(&token[14..]));
    assert_eq!(tokens("revoke", &[id]).status.code(), Some(0));
    assert_eq!(tokens("revoke", &["00000000"]).status.code(), Some(3));
    assert!(matches!(archive.catalog().permits(token, Scope::Upload).await.unwrap(), Permission::Revoked(_)));
    let list = String::from_utf8(tokens("list", &[]).stdout).unwrap();
    assert!(
        list.lines()
            .any(|line| line.starts_with(id) && line.contains("revoked") && line.ends_with("build farm")),
        "{list}"
    );
    let audit = json(&tokens("audit", &["--json"]));
    let actions: Vec<_> =
        audit.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["token-revoked", "token-made", "token-made"]);
    assert_eq!(tokens("make", &["--label", "x", "--scope", "root"]).status.code(), Some(2));
}

/// Check that processes which add the same kernels to one bucket and one database at once add each once, and that every server on them has
/// all of them as soon as they are added.
#[tokio::test(flavor = "multi_thread")]
async fn several_servers_and_adders() {
    const KERNELS: usize = 6;
    let (bucket, catalog) = (s3_server::bucket(), postgresql::database());
    let command = |name: &str| {
        let mut command = program();
        command
            .arg(name)
            .args(["--archive", &bucket.url(), "--catalog", &catalog])
            .envs(bucket.environment());
        command
    };
    let directory = TempDir::new().unwrap();
    let key = |number: usize| format!("vendor/1/x86_64/1.2.{number}-test");
    for number in 0..KERNELS {
        std::fs::write(directory.path().join(key(number).replace('/', "-")), small_btf(&key(number)))
            .unwrap();
    }
    let add = |number: usize| {
        let file = directory.path().join(key(number).replace('/', "-"));
        json(&run(command("add").args(["--json", "--key", &key(number)]).arg(file)))
    };
    let first = add(0);
    assert_eq!(first["new"], true);
    let servers = [(); 2].map(|()| Server::start_with(TempDir::new().unwrap(), &mut command("serve")));
    let new: usize = std::thread::scope(|scope| {
        // Each from another kernel on, so that they meet.
        let adders = [0, 2, 4].map(|from| {
            let add = &add;
            scope.spawn(move || (0..KERNELS).filter(|at| add((from + at) % KERNELS)["new"] == true).count())
        });
        adders.into_iter().map(|adder| adder.join().unwrap()).sum()
    });
    assert_eq!(new, KERNELS - 1);
    for server in &servers {
        for number in 0..KERNELS {
            let found = server.get(&format!("/v1/btf/{}", key(number))).await.bytes().await.unwrap();
            assert_eq!(found, small_btf(&key(number)));
        }
        let latest = server.json("/latest.json", StatusCode::OK).await;
        assert_eq!(latest, servers[0].json("/latest.json", StatusCode::OK).await);
        assert!(latest["number"].as_u64().unwrap() <= KERNELS as u64, "{latest}");
    }
    let verified = run(&mut command("verify"));
    assert!(String::from_utf8(verified.stdout).unwrap().starts_with(&format!("{KERNELS} kernels, ")));
}

/// Check that an archive can be in a bucket: made, added to, verified, served and cleaned, with its catalog in PostgreSQL or in a local file.
#[tokio::test(flavor = "multi_thread")]
async fn bucket_from_the_command_line() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("kernel.btf");
    std::fs::write(&file, btf_of(BOOKWORM)).unwrap();
    let local = directory.path().join("catalog.sqlite");
    for catalog in [postgresql::database(), local.to_str().unwrap().to_owned()] {
        let bucket = s3_server::bucket();
        let command = |name: &str| {
            let mut command = program();
            command.arg(name).args(["--archive", &bucket.url()]).envs(bucket.environment());
            command
        };
        let run_with =
            |name: &str, arguments: &[&str]| run(command(name).args(["--catalog", &catalog]).args(arguments));
        let none = run_with("verify", &[]);
        assert_eq!(none.status.code(), Some(1));
        assert!(String::from_utf8(none.stderr).unwrap().contains("is no archive"));
        let unnamed = run(command("add").args(["--key", BOOKWORM.0, file.to_str().unwrap()]));
        assert!(String::from_utf8(unnamed.stderr).unwrap().contains("--catalog"));

        let added = run_with("add", &["--json", "--key", BOOKWORM.0, file.to_str().unwrap()]);
        assert_eq!(json(&added)["snapshot"], 1, "{added:?}");
        assert!(bucket.directory().join("latest.json").is_file());
        let verified = run_with("verify", &[]);
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
        assert_eq!(json(&run_with("gc", &["--json", "--grace", "0"]))["bytes"], 0);

        // Without any catalog, to be read only.
        let server = Server::start_with(TempDir::new().unwrap(), command("serve").arg("--read-only"));
        let path = format!("/v1/btf/{}", BOOKWORM.0);
        assert_eq!(server.get(&path).await.bytes().await.unwrap(), btf_of(BOOKWORM));
        drop(server);
        let server =
            Server::start_with(TempDir::new().unwrap(), command("serve").args(["--catalog", &catalog]));
        assert_eq!(server.get(&path).await.bytes().await.unwrap(), btf_of(BOOKWORM));
    }
}

/// Check that a kernel is served under another name once it has that, and no longer when it is taken away.
#[tokio::test]
async fn alias_served() {
    let server = Server::start(&[BOOKWORM]).await;
    let alias = |arguments: &[&str]| {
        let mut command = program();
        command.arg("alias").arg(arguments[0]).arg("--archive").arg(server.archive()).args(&arguments[1..]);
        run(&mut command)
    };
    let (name, path) = ("vendor/7/i386/6.1.0-1-v7", "/v1/btf/vendor/7/i386/6.1.0-1-v7");
    assert_eq!(server.get(path).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(alias(&["add", name, BOOKWORM.0]).status.code(), Some(0));
    assert_eq!(server.get(path).await.bytes().await.unwrap(), btf_of(BOOKWORM));
    assert_eq!(json(&alias(&["list", "--json"])), serde_json::json!([{ "alias": name, "key": BOOKWORM.0 }]));
    assert_eq!(alias(&["add", BOOKWORM.0, BOOKWORM.0]).status.code(), Some(1));
    assert_eq!(alias(&["remove", name]).status.code(), Some(0));
    assert_eq!(alias(&["remove", name]).status.code(), Some(3));
    assert_eq!(server.get(path).await.status(), StatusCode::NOT_FOUND);
}
