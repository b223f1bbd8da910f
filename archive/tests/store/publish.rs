//! Publishing snapshots: numbered, append-only, and the tree alone is enough.

use btf_archive::snapshot::{Head, Latest, Snapshot};
use btf_archive::store::{Archive, Error, Filter};
use btf_archive::{Digest, blob, snapshot};

use crate::{Site, archive, btf, draft, files, keys};

each!(
    publish_numbers,
    publish_empty,
    publish_tree_is_enough,
    publish_old_tree,
    publish_tampered,
    publish_after_format_1,
    publish_shares_parts,
);

const FIRST: &str = "debian/11/i386/5.10.0-34-686-pae";
const SECOND: &str = "debian/11/i386/5.10.0-35-686-pae";

/// Check that a snapshot holds the kernels, that `latest.json` names it, and that nothing new makes no snapshot.
async fn publish_numbers(root: Site) {
    let archive = archive(&root, &[FIRST]).await;
    assert_eq!(archive.latest().await.unwrap(), None);
    let first = archive.publish().await.unwrap();
    assert!(first.new);
    assert_eq!(first.latest.number, 1);
    assert_eq!(archive.latest().await.unwrap().as_ref(), Some(&first.latest));
    first
        .latest
        .digest
        .check(&std::fs::read(root.path().join("snapshots/000001.json.zst")).unwrap())
        .unwrap();

    let again = archive.publish().await.unwrap();
    assert_eq!((again.new, &again.latest), (false, &first.latest));

    archive.add(draft(SECOND), btf(2)).await.unwrap();
    let second = archive.publish().await.unwrap();
    assert_eq!((second.new, second.latest.number), (true, 2));
    assert_eq!(keys(&archive.snapshot(1).await.unwrap().kernels), [FIRST]);
    let snapshot = archive.snapshot(2).await.unwrap();
    assert_eq!(keys(&snapshot.kernels), [FIRST, SECOND]);
    assert_eq!(snapshot.previous, Some(first.latest.link()));
    assert!(matches!(archive.snapshot(3).await, Err(Error::Missing { .. })));
}

/// Check that an archive of no kernels can be published.
async fn publish_empty(root: Site) {
    let archive = root.create().await;
    assert_eq!(archive.publish().await.unwrap().latest.number, 1);
    assert_eq!(archive.snapshot(1).await.unwrap().kernels, []);
}

/// Check that a tree copied without its catalog answers as the original did.
async fn publish_tree_is_enough(root: Site) {
    let original = archive(&root, &[FIRST, SECOND]).await;
    let latest = original.publish().await.unwrap().latest;
    let copy = root.another();
    for path in files(root.path()) {
        let to = copy.path().join(&path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(root.path().join(path), to).unwrap();
    }
    let copy = copy.open().await;
    for key in [FIRST, SECOND].map(|key| key.parse().unwrap()) {
        let known = copy.catalog().by_key(&key).await.unwrap().unwrap();
        assert_eq!(original.catalog().by_key(&key).await.unwrap().unwrap(), known);
        assert_eq!(Digest::of(&copy.blob(&known.digest).await.unwrap()), known.digest);
    }
    let published = copy.publish().await.unwrap();
    assert_eq!((published.new, published.latest), (false, latest));
}

/// Check that a catalog put back from a backup learns what was published since: kernels, and BTF that was replaced.
#[tokio::test]
async fn publish_old_catalog() {
    let root = tempfile::tempdir().unwrap();
    let first = archive(&Site::at(root.path()), &[FIRST]).await;
    first.publish().await.unwrap();
    first.close().await;
    let catalog = root.path().join("catalog.sqlite");
    let backup = std::fs::read(&catalog).unwrap();

    let second = Archive::open(root.path()).await.unwrap();
    second.add(draft(SECOND), btf(2)).await.unwrap();
    second.replace(draft(FIRST), btf(3), "made again by a fixed generator").await.unwrap();
    second.publish().await.unwrap();
    let kernels = second.snapshot(2).await.unwrap().kernels;
    second.close().await;
    std::fs::write(&catalog, backup).unwrap();

    let again = Archive::open(root.path()).await.unwrap();
    assert_eq!(again.catalog().list(&Filter::default(), None, 10).await.unwrap().kernels, kernels);
    assert!(!again.publish().await.unwrap().new);
}

/// Check that a tree put back from a backup is not published from: its next number was used before.
async fn publish_old_tree(root: Site) {
    let archive = archive(&root, &[FIRST]).await;
    archive.publish().await.unwrap();
    let latest = std::fs::read(root.path().join(snapshot::LATEST)).unwrap();
    archive.add(draft(SECOND), btf(2)).await.unwrap();
    archive.publish().await.unwrap();
    std::fs::write(root.path().join(snapshot::LATEST), latest).unwrap();
    std::fs::remove_file(root.path().join(snapshot::path(2))).unwrap();
    assert!(matches!(archive.publish().await, Err(Error::RolledBack { latest: 1, seen: 2 })));
}

/// Check that BTF changed for a reason is published, and BTF changed behind the archive's back is not.
#[tokio::test]
async fn publish_changes() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(&Site::at(root.path()), &[FIRST]).await;
    archive.publish().await.unwrap();
    archive.replace(draft(FIRST), btf(2), "made again by a fixed generator").await.unwrap();
    assert_eq!(archive.publish().await.unwrap().latest.number, 2);
    archive.close().await;

    // Another catalog, which never knew the kernel, with the marks of having seen both snapshots.
    let stranger = tempfile::tempdir().unwrap();
    let other = crate::archive(&Site::at(stranger.path()), &[SECOND]).await;
    other.publish().await.unwrap();
    other.add(draft("debian/11/i386/5.10.0-36-686-pae"), btf(3)).await.unwrap();
    other.publish().await.unwrap();
    other.close().await;
    std::fs::copy(stranger.path().join("catalog.sqlite"), root.path().join("catalog.sqlite")).unwrap();
    let archive = Archive::open(root.path()).await.unwrap();
    let refused = archive.publish().await.unwrap_err();
    assert!(matches!(refused, Error::BreaksWithSnapshot { number: 2, .. }), "{refused}");
    assert!(refused.to_string().contains(FIRST), "{refused}");
    assert_eq!(archive.latest().await.unwrap().unwrap().number, 2);
}

/// Check that a snapshot which is not the one that `latest.json` names is noticed.
async fn publish_tampered(root: Site) {
    let archive = archive(&root, &[FIRST]).await;
    archive.publish().await.unwrap();
    let path = root.path().join(snapshot::path(1));
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let refused = archive.publish().await.unwrap_err();
    assert!(refused.to_string().starts_with("snapshots/000001.json.zst: sha256 is"), "{refused}");
}

/// Check that an archive whose snapshot has format 1 is read, and that the next snapshot has today's and follows it.
async fn publish_after_format_1(root: Site) {
    let original = archive(&root, &[FIRST, SECOND]).await;
    original.publish().await.unwrap();
    let Snapshot { number, created, previous, kernels } = original.snapshot(1).await.unwrap();
    let json = serde_json::json!({
        "format": 1, "number": number, "created": created, "previous": previous, "kernels": kernels,
    });
    let zst = blob::compress(json.to_string().as_bytes());
    std::fs::write(root.path().join(snapshot::path(1)), &zst).unwrap();
    let first = Latest::of(number, created, &zst);
    std::fs::write(root.path().join(snapshot::LATEST), first.encode().unwrap()).unwrap();
    std::fs::remove_dir_all(root.path().join("snapshots/parts")).unwrap();

    let archive = root.open().await;
    assert_eq!(archive.snapshot(1).await.unwrap().kernels, kernels);
    let second = archive.publish().await.unwrap();
    assert_eq!((second.new, second.latest.number), (true, 2));
    let Head::Index(index) = archive.head(2).await.unwrap() else { panic!("format 1") };
    assert_eq!(index.previous, Some(first.link()));
    assert_eq!(archive.snapshot(2).await.unwrap().kernels, kernels);
    assert!(!archive.publish().await.unwrap().new);
}

/// Check that a snapshot writes only the parts that changed, and that those before it can still be read.
async fn publish_shares_parts(root: Site) {
    let mut kernels: Vec<_> = (0..200).map(|n| format!("debian/11/i386/5.10.0-{n}-686")).collect();
    let last = kernels.pop().unwrap();
    let archive = archive(&root, &kernels.iter().map(String::as_str).collect::<Vec<_>>()).await;
    archive.publish().await.unwrap();
    let parts = || files(&root.path().join("snapshots/parts")).len();
    let before = parts();
    assert!(before > 1);
    archive.add(draft(&last), btf(1000)).await.unwrap();
    archive.publish().await.unwrap();
    assert!((1..=2).contains(&(parts() - before)), "{before} before, {} after", parts());
    assert_eq!(archive.snapshot(1).await.unwrap().kernels.len(), 199);
    assert_eq!(archive.snapshot(2).await.unwrap().kernels.len(), 200);
}
