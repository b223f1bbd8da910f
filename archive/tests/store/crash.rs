//! What a process that was killed leaves behind is never seen, and doing its work again does it once.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use btf_archive::store::{Added, Archive, Error};
use btf_archive::{Digest, blob, snapshot};

use crate::{Site, archive, btf, draft, files, keys};

each!(crash_torn_file, crash_before_catalog, crash_killed_at_any_time);

const FIRST: &str = "debian/11/i386/5.10.0-34-686-pae";
const SECOND: &str = "debian/11/i386/5.10.0-35-686-pae";

/// Check that a half-written file is no object, and is no obstacle to writing the object.
async fn crash_torn_file(root: Site) {
    let archive = archive(&root, &[FIRST]).await;
    let digest = Digest::of(&btf(2));
    for path in [blob::path(&digest), snapshot::path(1), snapshot::LATEST.to_owned()] {
        let path = root.path().join(format!("{path}#1"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &blob::compress(&btf(2))[..20]).unwrap();
    }
    assert!(matches!(archive.blob(&digest).await, Err(Error::Missing { .. })));
    assert_eq!(archive.latest().await.unwrap(), None);
    archive.add(draft(SECOND), btf(2)).await.unwrap();
    assert_eq!(archive.blob(&digest).await.unwrap(), btf(2));
    assert_eq!(archive.publish().await.unwrap().latest.number, 1);
    assert_eq!(keys(&archive.snapshot(1).await.unwrap().kernels), [FIRST, SECOND]);
}

/// Check that a kill after the blob and before the catalog leaves a kernel that can be added.
async fn crash_before_catalog(root: Site) {
    let archive = archive(&root, &[FIRST]).await;
    let path = root.path().join(blob::path(&Digest::of(&btf(2))));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, blob::compress(&btf(2))).unwrap();
    archive.publish().await.unwrap();
    assert_eq!(keys(&archive.snapshot(1).await.unwrap().kernels), [FIRST]);
    assert!(matches!(archive.add(draft(SECOND), btf(2)).await.unwrap(), Added::New(_)));
}

/// Check that a kill after the snapshot and before `latest.json` is made good: that snapshot is announced as it is,
/// and what the catalog learnt since goes into the next.
#[tokio::test]
async fn crash_before_latest() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(&Site::at(root.path()), &[FIRST]).await;
    archive.publish().await.unwrap();
    let latest = std::fs::read(root.path().join(snapshot::LATEST)).unwrap();
    archive.close().await;
    let catalog = std::fs::read(root.path().join("catalog.sqlite")).unwrap();

    let archive = Archive::open(root.path()).await.unwrap();
    archive.add(draft(SECOND), btf(2)).await.unwrap();
    archive.publish().await.unwrap();
    archive.close().await;
    let second = std::fs::read(root.path().join(snapshot::path(2))).unwrap();
    // As if killed between the two: the snapshot is there, nobody has heard of it.
    std::fs::write(root.path().join(snapshot::LATEST), latest).unwrap();
    std::fs::write(root.path().join("catalog.sqlite"), catalog).unwrap();

    let archive = Archive::open(root.path()).await.unwrap();
    archive.add(draft(SECOND), btf(2)).await.unwrap();
    archive.add(draft("debian/11/i386/5.10.0-36-686-pae"), btf(3)).await.unwrap();
    assert_eq!(archive.publish().await.unwrap().latest.number, 3);
    assert_eq!(std::fs::read(root.path().join(snapshot::path(2))).unwrap(), second, "append-only");
    assert_eq!(archive.snapshot(3).await.unwrap().kernels.len(), 3);
}

/// Check that whenever a process that adds and publishes is killed, everything it had reported is there, whole, and
/// what it had not is there whole or not at all.
async fn crash_killed_at_any_time(root: Site) {
    if root.is_child() {
        return work_until_killed(root).await;
    }
    root.create().await.close().await;
    let mut reported = 0;
    for round in 0..12_u64 {
        let mut child =
            root.child("crash", "crash_killed_at_any_time").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut numbers = lines.filter_map(|line| line.unwrap().strip_prefix("added ")?.parse::<u32>().ok());
        // More and more of them, so that it dies in another step each time.
        for _ in 0..=round {
            reported = numbers.next().expect("a child that works until it is killed");
        }
        std::thread::sleep(std::time::Duration::from_micros(731 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it reported while it was being killed.
        reported = numbers.last().unwrap_or(reported);
        check_whole(&root, reported).await;
    }
}

/// Adds kernels and publishes every other one, and reports each.
async fn work_until_killed(root: Site) {
    let archive = root.open().await;
    for number in 1.. {
        let key = format!("debian/11/i386/5.10.0-{number}-686-pae");
        if let Added::New(_) = archive.add(draft(&key), btf(number)).await.unwrap() {
            println!("added {number}");
        }
        if number.is_multiple_of(2) {
            archive.publish().await.unwrap();
        }
    }
}

/// Checks an archive after a kill, in which kernels up to `reported` were reported.
async fn check_whole(root: &Site, reported: u32) {
    let archive = root.open().await;
    let published = archive.publish().await.unwrap().latest.number;
    let mut blobs = BTreeSet::new();
    for number in 1..=published {
        let found = archive.snapshot(number).await.unwrap();
        blobs.extend(found.kernels.iter().map(|kernel| kernel.digest));
        if number == published {
            let known = found.kernels.len() as u32;
            assert!(known == reported || known == reported + 1, "{known} known, {reported} reported");
            assert!((1..=known).all(|number| {
                let key = format!("debian/11/i386/5.10.0-{number}-686-pae").parse().unwrap();
                found.kernel(&key).is_some_and(|kernel| kernel.digest == Digest::of(&btf(number)))
            }));
        }
    }
    // What no snapshot has, too.
    let stored = files(root.path());
    let stored = stored.iter().filter(|path| path.starts_with("blobs") && !path.contains('#'));
    blobs.extend(stored.map(|path| blob::digest_of_path(path).unwrap()));
    for digest in blobs {
        archive.blob(&digest).await.unwrap();
    }
    archive.close().await;
}
