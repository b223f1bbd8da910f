//! Garbage: what nobody needs goes, what anybody needs stays, whoever adds at the same time.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use btf_archive::store::{Archive, Beside, Error, Retention};
use btf_archive::{Digest, blob, snapshot};

use crate::{Site, archive, btf, draft, files, keys};

each!(gc_removes, gc_keeps_bases, gc_refuses_damage, gc_beside_adders);

const FIRST: &str = "debian/11/i386/5.10.0-34-686-pae";
const SECOND: &str = "debian/11/i386/5.10.0-35-686-pae";
const HOUR: Duration = Duration::from_secs(3600);
/// What was written before this moment may go.
const NOW: Retention = Retention { snapshots: None, grace: Duration::ZERO };

/// Writes a file as if two hours ago.
fn old(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - 2 * HOUR).unwrap();
}

/// The paths of what is garbage.
async fn found(archive: &Archive, retention: Retention) -> Vec<String> {
    archive.garbage(retention).await.unwrap().objects.into_keys().collect()
}

/// Check that what no snapshot and no kernel names is found, and only that; that it is left alone while it is young; and that an archive
/// without it is whole.
async fn gc_removes(root: Site) {
    let archive = archive(&root, &[FIRST, SECOND]).await;
    let beside =
        Beside { config: Some("CONFIG_BPF=y\n".into()), modules: Some(vec![("xfs".to_owned(), vec![1; 9])]) };
    archive.add_with(draft(FIRST), btf(1), beside).await.unwrap();
    archive.publish().await.unwrap();
    archive.replace(draft(SECOND), btf(7), "made again").await.unwrap();
    archive.publish().await.unwrap();
    let stray = blob::path(&Digest::of(&btf(9)));
    old(root.path(), &stray, &blob::compress(&btf(9)));
    old(root.path(), "blobs/README", b"not ours");
    let all = files(root.path());

    // All snapshots are kept: one of them has the BTF that was replaced.
    assert_eq!(found(&archive, Retention { grace: HOUR, ..NOW }).await, std::slice::from_ref(&stray));
    let last = Retention { snapshots: Some(1), ..NOW };
    assert!(archive.catalog().pin_snapshot(1, Some("what version 1 shipped with")).await.unwrap());
    assert_eq!(found(&archive, last).await, std::slice::from_ref(&stray));
    assert!(archive.catalog().pin_snapshot(1, None).await.unwrap());
    let garbage = archive.garbage(last).await.unwrap();
    assert_eq!(files(root.path()), all, "nothing is removed by looking");
    let replaced = blob::path(&Digest::of(&btf(2)));
    assert_eq!(garbage.snapshots, [1]);
    for path in [&stray, &replaced, &snapshot::path(1)] {
        assert!(garbage.objects.contains_key(path), "{path}: {garbage:?}");
    }
    assert_eq!(garbage.bytes(), garbage.objects.values().sum::<u64>());

    let mut last_progress = (0, 0);
    let removed = archive.collect_garbage(last, |done, total| last_progress = (done, total)).await.unwrap();
    assert_eq!(removed, garbage);
    assert_eq!(last_progress, (garbage.objects.len() as u64, garbage.objects.len() as u64));
    let left: Vec<_> = all.into_iter().filter(|path| !garbage.objects.contains_key(path)).collect();
    assert_eq!(files(root.path()), left);
    assert_eq!(found(&archive, last).await, [""; 0]);
    assert!(
        archive.catalog().is_removed(1).await.unwrap() && !archive.catalog().is_removed(2).await.unwrap()
    );
    let kernels = archive.snapshot(2).await.unwrap().kernels;
    assert_eq!(keys(&kernels), [FIRST, SECOND]);
    for kernel in &kernels {
        archive.blob(&kernel.digest).await.unwrap();
        archive.config(kernel).await.unwrap();
        archive.modules(kernel).await.unwrap();
    }
    assert!(!archive.publish().await.unwrap().new);
    // What is gone can come again.
    archive.replace(draft(SECOND), btf(2), "as it was").await.unwrap();
    assert_eq!(archive.blob(&Digest::of(&btf(2))).await.unwrap(), btf(2));
    assert_eq!(archive.publish().await.unwrap().latest.number, 3);
}

/// Check that the base of a delta stays as long as what is made on it, and the base's own base, though no kernel has them.
async fn gc_keeps_bases(root: Site) {
    let archive = archive(&root, &[FIRST]).await;
    archive.publish().await.unwrap();
    let [kernel, base, deep, stray] = [1, 2, 3, 4].map(|number| Digest::of(&btf(number)));
    let delta = |digest: &Digest| blob::path(digest).replace(".zst", ".delta");
    for (digest, on) in [(kernel, base), (base, deep), (stray, deep)] {
        let mut bytes = [b"BTFDELTA\x01\x01\x01\0\x64\0\0\0".as_slice(), digest.as_bytes()].concat();
        bytes.extend(on.as_bytes());
        old(root.path(), &delta(&digest), &bytes);
    }
    old(root.path(), &blob::path(&deep), &blob::compress(&btf(3)));
    assert_eq!(found(&archive, NOW).await, [delta(&stray)]);
    archive.collect_garbage(NOW, |_, _| ()).await.unwrap();
    assert_eq!(found(&archive, NOW).await, [""; 0]);
    // Nobody needs the chain once its end is not needed.
    archive.replace(draft(FIRST), btf(5), "made again").await.unwrap();
    archive.publish().await.unwrap();
    let last = Retention { snapshots: Some(1), ..NOW };
    assert_eq!(archive.collect_garbage(last, |_, _| ()).await.unwrap().objects.len(), 6);
    assert_eq!(files(root.path()).iter().filter(|path| path.starts_with("blobs")).count(), 1);
}

/// Check that nothing is removed if a snapshot that is kept, or a delta, cannot be read.
async fn gc_refuses_damage(root: Site) {
    let archive = archive(&root, &[FIRST]).await;
    archive.publish().await.unwrap();
    archive.add(draft(SECOND), btf(2)).await.unwrap();
    archive.publish().await.unwrap();
    old(root.path(), &blob::path(&Digest::of(&btf(9))), &blob::compress(&btf(9)));
    let path = root.path().join(snapshot::path(1));
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"rot").unwrap();
    let before = files(root.path());
    assert!(matches!(archive.collect_garbage(NOW, |_, _| ()).await, Err(Error::Object { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(archive.collect_garbage(NOW, |_, _| ()).await, Err(Error::Missing { .. })));
    std::fs::write(&path, good).unwrap();
    old(root.path(), &blob::path(&Digest::of(&btf(1))).replace(".zst", ".delta"), b"rot");
    assert!(matches!(archive.collect_garbage(NOW, |_, _| ()).await, Err(Error::Object { .. })));
    assert_eq!(files(root.path()).len(), before.len() + 1);
}

/// Check that blobs which lay unused and are taken into use while they are being removed are there afterwards.
async fn gc_beside_adders(root: Site) {
    const KERNELS: u32 = 24;
    let archive = Arc::new(root.create().await);
    for number in 0..KERNELS {
        old(root.path(), &blob::path(&Digest::of(&btf(number))), &blob::compress(&btf(number)));
    }
    let grace = Retention { grace: HOUR, ..NOW };
    let adders = (0..2).map(|half| {
        let archive = Arc::clone(&archive);
        tokio::spawn(async move {
            for number in (0..KERNELS).filter(|number| number % 2 == half) {
                let key = format!("debian/11/i386/5.10.0-{number}-686-pae");
                archive.add(draft(&key), btf(number)).await.unwrap();
                if number % 8 == half {
                    archive.publish().await.unwrap();
                }
            }
        })
    });
    let adders: Vec<_> = adders.collect();
    let other = root.open().await;
    while !adders.iter().all(tokio::task::JoinHandle::is_finished) {
        other.collect_garbage(grace, |_, _| ()).await.unwrap();
    }
    for adder in adders {
        adder.await.unwrap();
    }
    for number in 0..KERNELS {
        assert_eq!(archive.blob(&Digest::of(&btf(number))).await.unwrap(), btf(number), "{number}");
    }
}

/// Check that files which were being written when a process was killed are removed once they are old, and other files never.
#[tokio::test]
async fn gc_torn() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(&Site::at(root.path()), &[FIRST]).await;
    archive.publish().await.unwrap();
    let blob = blob::path(&Digest::of(&btf(1)));
    let torn = [format!("{blob}#1"), "snapshots/000002.json.zst#12".to_owned(), "latest.json#3".to_owned()];
    for path in &torn {
        old(root.path(), path, b"half");
    }
    std::fs::write(root.path().join(format!("{blob}#2")), b"being written").unwrap();
    for path in ["blobs/notes#x", "notes#", "mine/of#1"] {
        old(root.path(), path, b"not ours");
    }
    let before = files(root.path()).len();
    let garbage = archive.collect_garbage(Retention { grace: HOUR, ..NOW }, |_, _| ()).await.unwrap();
    let expected: Vec<_> = torn.iter().map(|path| root.path().join(path)).collect();
    assert!(expected.iter().all(|path| garbage.torn.get(path) == Some(&4)), "{garbage:?}");
    assert_eq!((garbage.torn.len(), garbage.objects.len(), garbage.bytes()), (3, 0, 12));
    assert_eq!(files(root.path()).len(), before - 3);
}
