//! Scrubbing finds every damaged object, and good bytes from elsewhere mend it.

use std::num::NonZeroU64;
use std::path::Path;
use std::time::Instant;

use btf_archive::store::{Archive, Beside, Error, Pace};
use btf_archive::{Digest, blob, snapshot};

use crate::{Site, archive, btf, draft, files};

each!(scrub_finds_and_heals);

const FIRST: &str = "debian/11/i386/5.10.0-34-686-pae";
const SECOND: &str = "debian/11/i386/5.10.0-35-686-pae";
const FAST: Pace = Pace { rate: None, parallel: 4 };

async fn damaged(archive: &Archive) -> Vec<String> {
    archive.scrub(FAST, |_| ()).await.unwrap().into_iter().map(|damage| damage.path).collect()
}

async fn two(site: &Site) -> Archive {
    let archive = archive(site, &[FIRST]).await;
    archive.publish().await.unwrap();
    archive.add(draft(SECOND), btf(2)).await.unwrap();
    let beside = Beside { config: Some("CONFIG_BPF=y\n".into()), modules: None };
    archive.add_with(draft(FIRST), btf(1), beside).await.unwrap();
    archive.publish().await.unwrap();
    archive
}

/// Check that each object, changed or removed, is found, whatever it is; that a good copy mends it and a bad one is refused.
async fn scrub_finds_and_heals(site: Site) {
    let archive = two(&site).await;
    assert_eq!(damaged(&archive).await, [""; 0]);
    let all = files(site.path());
    assert!(all.len() >= 7, "{all:?}");
    for path in &all {
        let file = site.path().join(path);
        let good = std::fs::read(&file).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        // The last byte of latest.json is a line's end.
        bad[good.len() / 2] ^= 1;
        for change in [Some(&bad), None] {
            match change {
                Some(bad) => std::fs::write(&file, bad).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            let found = archive.scrub(FAST, |_| ()).await.unwrap();
            assert_eq!((found.len(), &found[0].path), (1, path), "{found:?}");
            assert_eq!(found[0].missing, change.is_none());
            let refused = archive.heal(&found[0], bad.clone().into()).await.unwrap_err();
            assert!(matches!(refused, Error::Object { .. }), "{path}: {refused}");
            archive.heal(&found[0], good.clone().into()).await.unwrap();
            assert_eq!(std::fs::read(&file).unwrap(), good);
        }
    }
    assert_eq!(damaged(&archive).await, [""; 0]);
}

/// Check that a catalog is not needed to know what should be there: the snapshots say it.
#[tokio::test]
async fn scrub_without_catalog() {
    let root = tempfile::tempdir().unwrap();
    two(&Site::at(root.path())).await.close().await;
    for path in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        let _ = std::fs::remove_file(root.path().join(path));
    }
    let path = snapshot::path(1);
    let good = std::fs::read(root.path().join(&path)).unwrap();
    std::fs::write(root.path().join(&path), b"rot").unwrap();
    let archive = Archive::open_damaged(root.path(), None).await.unwrap();
    let found = archive.scrub(FAST, |_| ()).await.unwrap();
    assert_eq!((found.len(), &found[0].path), (1, &path));
    archive.heal(&found[0], good.into()).await.unwrap();
    assert_eq!(damaged(&archive).await, [""; 0]);
}

/// Check that a blob which no copy has as it was is written anew from its raw bytes, and that only those are taken.
#[tokio::test]
async fn scrub_restores_blob() {
    let root = tempfile::tempdir().unwrap();
    let archive = two(&Site::at(root.path())).await;
    let digest = Digest::of(&btf(2));
    std::fs::remove_file(root.path().join(blob::path(&digest))).unwrap();
    assert!(matches!(archive.restore_blob(&digest, btf(1).into()).await, Err(Error::Input(_))));
    archive.restore_blob(&digest, btf(2).into()).await.unwrap();
    assert_eq!(damaged(&archive).await, [""; 0]);
    assert_eq!(archive.blob(&digest).await.unwrap(), btf(2));
}

/// Check that a scrub keeps to its pace, and counts what it reads.
#[tokio::test]
async fn scrub_pace() {
    let root = tempfile::tempdir().unwrap();
    let archive = two(&Site::at(root.path())).await;
    let size = |root: &Path| -> u64 {
        files(root).iter().map(|path| std::fs::metadata(root.join(path)).unwrap().len()).sum()
    };
    let (begun, mut last) = (Instant::now(), None);
    let rate = NonZeroU64::new(size(root.path()));
    archive.scrub(Pace { rate, parallel: 4 }, |done| last = Some(done)).await.unwrap();
    let done = last.unwrap();
    assert_eq!((done.bytes, done.damaged), (size(root.path()), 0));
    assert_eq!(done.objects, files(root.path()).len() as u64);
    // Never faster; how much slower is up to the machine.
    assert!(begun.elapsed().as_secs_f64() >= 0.99);
}
