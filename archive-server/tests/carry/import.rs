//! `import`: what it takes, in which order, and what it refuses.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use btf_archive::ObjectPath;
use btf_archive::volume::{Entry, Reader, Writer};
use tempfile::TempDir;

use crate::harness::program;
use crate::{Original, check_intact, command_of, json, keys, newest, objects, texts};

const A: &str = "debian/11/x86_64/5.10.0-1-amd64";
const B: &str = "debian/12/i386/6.1.0-1-686-pae";
const C: &str = "ubuntu/18.04/x86_64/4.15.0-1-generic";

/// Exports an archive to a file in `out`; gives the files that were written.
fn export(original: &Original, out: &TempDir, name: &str, arguments: &[&str]) -> Vec<PathBuf> {
    let path = out.path().join(name);
    let (code, report, stderr) =
        json("export", original.path(), &[&["-o", path.to_str().unwrap()], arguments].concat());
    assert_eq!(code, 0, "{stderr}");
    report["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().into()).collect()
}

fn import(archive: &Path, root: &str, arguments: &[&str]) -> (i32, serde_json::Value, String) {
    let root = if root.is_empty() { vec![] } else { vec!["--root-key", root] };
    json("import", archive, &[&root, arguments].concat())
}

/// Check that an import makes an archive with all of the original, that nothing is written for looking, and that what is new since then is enough later.
#[tokio::test]
async fn import_and_since() {
    let original = Original::of(&[A, B]).await;
    let out = TempDir::new().unwrap();
    let all = export(&original, &out, "all.tar", &[]);
    let all = all[0].to_str().unwrap();
    let archive = out.path().join("archive");
    let (code, report, stderr) = import(&archive, &original.root(), &["--dry-run", all]);
    assert_eq!(
        (code, report["complete"].as_bool(), report["blobs_new"].as_u64()),
        (0, Some(true), Some(4)),
        "{stderr}"
    );
    assert!(!archive.exists());
    let (code, _, stderr) = import(&archive, "", &[all]);
    assert_eq!((code, newest(&archive)), (4, None));
    assert!(stderr.contains("--root-key"), "{stderr}");
    let (code, report, stderr) = import(&archive, &original.root(), &[all]);
    assert_eq!((code, report["before"].as_u64(), stderr.as_str()), (0, None, ""), "{report}");
    check_intact(&archive);

    original.grow(&[C]).await;
    original.grow(&["debian/12/i386/6.1.0-2-686-pae"]).await;
    let new = export(&original, &out, "new.tar", &["--since", "1"]);
    assert!(new[0].metadata().unwrap().len() < 40_000);
    let elsewhere = out.path().join("elsewhere");
    let (code, _, stderr) = import(&elsewhere, &original.root(), &[new[0].to_str().unwrap()]);
    assert_eq!(code, 5);
    assert!(stderr.contains("builds on snapshot 1") && stderr.contains("empty"), "{stderr}");
    // Through a pipe; the root is remembered.
    let mut child = program();
    child
        .args(["import", "--json", "--archive"])
        .arg(&archive)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = child.env_remove("BTF_ARCHIVE_KEYS").spawn().unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(&new[0]).unwrap()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(newest(&archive), Some(3));
    check_intact(&archive);
    let expected = objects(original.path());
    assert!(objects(&archive) == expected);

    let (code, _, stderr) = import(&archive, "", &[all]);
    assert_eq!((code, newest(&archive)), (4, Some(3)), "an old medium: {stderr}");
    let (code, report, _) = import(&archive, "", &[new[0].to_str().unwrap()]);
    assert_eq!((code, report["blobs_new"].as_u64()), (0, Some(0)), "the same again");
    let arguments = ["--since", "3", "-o", "x.tar"];
    assert_eq!(json("export", original.path(), &arguments).0, 1, "nothing is new");
}

/// Check that volumes may come one at a time and in any order, that it is said what is missing, and that only all of them bring the snapshot.
#[tokio::test]
async fn import_volumes() {
    let many = keys("debian", 0..12);
    let original = Original::of(&texts(&many)).await;
    let out = TempDir::new().unwrap();
    let size = export(&original, &out, "all.tar", &[])[0].metadata().unwrap().len();
    let mut volumes = export(&original, &out, "split.tar", &["--max-size", &(size * 2 / 3).to_string()]);
    assert!(volumes.len() >= 2);
    volumes.reverse();
    let archive = out.path().join("archive");
    for (place, volume) in volumes.iter().enumerate() {
        let last = place + 1 == volumes.len();
        let (code, report, stderr) = import(&archive, &original.root(), &[volume.to_str().unwrap()]);
        assert_eq!((code, report["complete"].as_bool()), (if last { 0 } else { 5 }, Some(last)), "{stderr}");
        assert_eq!(newest(&archive), last.then_some(1));
        if place == 0 {
            let missing: Vec<_> = (1..volumes.len()).collect();
            assert_eq!(report["volumes_missing"], serde_json::json!(missing));
        }
    }
    check_intact(&archive);
    let other = Original::of(&[A]).await;
    let mixed = export(&other, &out, "other.tar", &[]);
    let both = [volumes[0].to_str().unwrap(), mixed[0].to_str().unwrap()];
    assert_eq!(import(&out.path().join("mixed"), &original.root(), &both).0, 4);
    let (code, _, stderr) = import(&archive, "", &[mixed[0].to_str().unwrap()]);
    assert_eq!((code, newest(&archive)), (4, Some(1)), "another root: {stderr}");
}

/// The objects of a volume, to be changed and put together again by somebody who makes a manifest that fits.
fn forge(volume: &Path, change: impl Fn(&ObjectPath, &mut Vec<u8>) -> bool) -> Vec<u8> {
    let mut reader = Reader::new(std::fs::File::open(volume).unwrap()).unwrap();
    let mut manifest = reader.manifest().clone();
    let mut objects = Vec::new();
    while let Some((entry, mut bytes)) = reader.object().unwrap() {
        if change(&entry.path, &mut bytes) {
            objects.push((entry.path, bytes));
        }
    }
    manifest.objects = objects.iter().map(|(path, bytes)| Entry::of(*path, bytes)).collect();
    let mut writer = Writer::new(Vec::new(), manifest).unwrap();
    objects.iter().for_each(|(_, bytes)| writer.object(bytes).unwrap());
    writer.finish().unwrap()
}

/// Check that no object can be changed or left out by somebody who can write manifests but not sign, and that a medium damaged anywhere is refused; the
/// archive stays as it was.
#[tokio::test]
async fn import_forged() {
    let original = Original::of(&[A, B]).await;
    let out = TempDir::new().unwrap();
    let good = export(&original, &out, "good.tar", &[]).remove(0);
    let bad = out.path().join("bad.tar");
    let mut paths = Vec::new();
    let mut reader = Reader::new(std::fs::File::open(&good).unwrap()).unwrap();
    while let Some((entry, _)) = reader.object().unwrap() {
        paths.push(entry.path);
    }
    let archive = out.path().join("archive");
    for target in &paths {
        // It is for people; and of the list's two signatures one is enough.
        let spare = matches!(
            target,
            ObjectPath::LatestSignature | ObjectPath::KeysVersionSignature(_) | ObjectPath::KeysSignature
        );
        for leave_out in [false, true] {
            let forged = forge(&good, |path, bytes| {
                if path == target && !leave_out {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                }
                path != target || !leave_out
            });
            std::fs::write(&bad, forged).unwrap();
            // What a refused import left here is good, and would make up for what is bad in the next.
            let archive = TempDir::new().unwrap();
            let archive = archive.path().join("archive");
            let (code, _, stderr) = import(&archive, &original.root(), &["--dry-run", bad.to_str().unwrap()]);
            if spare {
                continue;
            }
            let is_delta = target.to_string().ends_with(".delta");
            assert!(
                code == 4 || code == 1 || code == 5 && leave_out || is_delta,
                "{target} {leave_out}: {code} {stderr}"
            );
            let (code, _, stderr) = import(&archive, &original.root(), &[bad.to_str().unwrap()]);
            assert!(
                code == 4 || code == 1 || code == 5 && leave_out,
                "{target} {leave_out}: {code} {stderr}"
            );
            assert_eq!(newest(&archive), None, "{target}");
        }
    }
    let bytes = std::fs::read(&good).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        std::fs::write(&bad, damaged).unwrap();
        let (code, _, stderr) = import(&archive, &original.root(), &[bad.to_str().unwrap()]);
        assert!(code == 4 && newest(&archive).is_none(), "byte {at}: {code} {stderr}");
        std::fs::write(&bad, &bytes[..at]).unwrap();
        assert_eq!(import(&archive, &original.root(), &[bad.to_str().unwrap()]).0, 4, "cut at {at}");
    }
    assert_eq!(import(&archive, &original.root(), &[good.to_str().unwrap()]).0, 0);
    check_intact(&archive);
}

/// Check that a tar file with names that lead elsewhere writes nothing, in the archive or beside it.
#[tokio::test]
async fn import_hostile_names() {
    let original = Original::of(&[A]).await;
    let out = TempDir::new().unwrap();
    let good = std::fs::read(&export(&original, &out, "good.tar", &[])[0]).unwrap();
    let bad = out.path().join("bad.tar");
    let archive = out.path().join("archive");
    let name = b"latest.json\"";
    let at = good.windows(name.len()).position(|window| window == name).unwrap();
    for hostile in [b"../est.json\"", b"/tmp/x.json\"", b"mirror.json\"", b"keys/1.json\""] {
        let mut bytes = good.clone();
        bytes[at..at + name.len()].copy_from_slice(&hostile[..]);
        std::fs::write(&bad, bytes).unwrap();
        assert_eq!(import(&archive, &original.root(), &[bad.to_str().unwrap()]).0, 4);
    }
    let before: BTreeMap<_, _> = objects(&archive);
    assert!(before.is_empty(), "{:?}", before.keys());
    let entries: Vec<_> =
        std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        entries.iter().all(|name| ["archive", "bad.tar", "good.tar"].iter().any(|known| name == known)),
        "{entries:?}"
    );
}

/// Check that an import that is killed at any moment leaves the snapshot it had, intact, and that the next one goes on.
#[tokio::test]
async fn import_killed() {
    let many = keys("debian", 0..30);
    let original = Original::of(&texts(&many[..2])).await;
    let out = TempDir::new().unwrap();
    let first = export(&original, &out, "first.tar", &[]);
    let archive = out.path().join("archive");
    assert_eq!(import(&archive, &original.root(), &[first[0].to_str().unwrap()]).0, 0);
    original.grow(&texts(&many)).await;
    let second = export(&original, &out, "second.tar", &[]);
    let count = || objects(&archive).len();
    let mut killed = 0;
    for round in 1.. {
        let before = count();
        let mut command = program();
        command
            .args(["import", "--archive"])
            .arg(&archive)
            .arg(&second[0])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.env_remove("BTF_ARCHIVE_KEYS").spawn().unwrap();
        // Killed as soon as a few more objects are there.
        let finished = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if count() >= before + 3 {
                std::thread::sleep(Duration::from_micros(311 * round));
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
        };
        let number = newest(&archive).unwrap();
        assert!(number == 1 || number == 2);
        check_intact(&archive);
        killed += u64::from(finished.is_none());
        if let Some(status) = finished {
            assert!(status.success());
            assert_eq!(number, 2);
            break;
        }
    }
    assert!(killed >= 3, "{killed}");
    let expected = objects(original.path());
    assert!(objects(&archive) == expected);
}

/// Check that an expired key warns, which is recorded, and is refused where that is asked for; that what is not signed says so; and that a selection is
/// carried along.
#[tokio::test]
async fn import_policies() {
    let original = Original::valid_for(&[A, C], -90_000).await;
    let out = TempDir::new().unwrap();
    let file = export(&original, &out, "export.tar", &["--select", "distro=debian"]).remove(0);
    let file = file.to_str().unwrap();
    let archive = out.path().join("archive");
    let (code, _, stderr) = import(&archive, &original.root(), &["--expired", "refuse", file]);
    assert_eq!(code, 4);
    assert!(stderr.contains("expired"), "{stderr}");
    let (code, report, stderr) = import(&archive, &original.root(), &[file]);
    assert_eq!(
        (code, report["selected"].as_u64(), report["kernels"].as_u64()),
        (0, Some(1), Some(2)),
        "{stderr}"
    );
    assert!(stderr.contains("expired"), "{stderr}");
    let said = std::fs::read_to_string(archive.join("mirror.json")).unwrap();
    assert!(
        said.contains("\"lapses\"") && said.contains("expired") && said.contains("distro=debian"),
        "{said}"
    );
    check_intact(&archive);
    // What was carried in can be carried on, with the same selection.
    let onward = out.path().join("onward.tar");
    assert_eq!(json("export", &archive, &["-o", onward.to_str().unwrap()]).0, 0);
    assert_eq!(std::fs::read(&onward).unwrap(), std::fs::read(file).unwrap());

    let unsigned = TempDir::new().unwrap();
    let plain = btf_archive::store::Archive::create(unsigned.path()).await.unwrap();
    crate::add(&plain, B).await;
    plain.publish().await.unwrap();
    plain.close().await;
    let path = out.path().join("plain.tar");
    assert_eq!(json("export", unsigned.path(), &["-o", path.to_str().unwrap()]).0, 0);
    let place = out.path().join("plain");
    let (code, _, stderr) = import(&place, "", &[path.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("not signed"), "{stderr}");
    assert_eq!(import(&archive, "", &[path.to_str().unwrap()]).0, 4, "a pinned root asks for signatures");
    let output = command_of("import", &out.path().join("none"), &["/nonexistent.tar"]);
    assert_eq!(output.status.code(), Some(1));
}
