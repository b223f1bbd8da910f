//! Catalogs of released versions are brought up to date, and lose nothing.

use btf_archive::store::{Archive, Error, Filter, Subject, Worker};
use btf_archive::{Digest, snapshot};
use sqlx::Executor as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::{Site, archive, btf, build_id, draft, files, keys, postgresql};

const KEYS: [&str; 2] = ["debian/11/i386/5.10.0-34-686-pae", "debian/11/i386/5.10.0-35-686-pae"];

/// Check that a catalog of schema 1 (version 0.1.0) keeps its kernels, failures, replacements and snapshots, and that everything new works
/// on it.
#[tokio::test]
async fn migrate_from_schema_1() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("catalog.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut old = options.connect().await.unwrap();
    old.execute(AssertSqlSafe(include_str!("../data/catalog-1.sql"))).await.unwrap();
    old.close().await.unwrap();

    let archive = Archive::open(root.path()).await.unwrap();
    let catalog = archive.catalog();
    let kernels = catalog.list(&Filter::default(), None, 10).await.unwrap().kernels;
    assert_eq!(keys(&kernels), KEYS);
    assert_eq!((kernels[0].build_id, kernels[1].digest), (Some(build_id(1)), Digest::of(&btf(3))));
    assert_eq!((kernels[0].config, kernels[0].modules), (None, None));
    let failures = catalog.failures(None, 10).await.unwrap().failures;
    let failed = Subject::Key("debian/11/i386/5.10.0-36-686-pae".parse().unwrap());
    assert_eq!(
        (failures.len(), &failures[0].subject, failures[0].reason.as_str()),
        (1, &failed, "no vmlinux")
    );
    let worker = Worker::new();
    catalog.enqueue(&kernels[0].key, "").await.unwrap();
    assert!(catalog.claim(&worker, std::time::Duration::from_secs(9)).await.unwrap().is_some());
    archive.add(draft("debian/11/i386/5.10.0-36-686-pae"), btf(4)).await.unwrap();
    assert_eq!(catalog.failures(None, 10).await.unwrap().failures, []);
}

/// Check that catalogs of schema 2 keep everything, on both databases, and know no bases of their blobs.
#[tokio::test(flavor = "multi_thread")]
async fn migrate_from_schema_2() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("catalog.sqlite");
    let mut old =
        SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
    old.execute(AssertSqlSafe(include_str!("../data/catalog-2.sql"))).await.unwrap();
    old.close().await.unwrap();
    schema_2_is_kept(&Archive::open(root.path()).await.unwrap()).await;

    let (root, url) = (tempfile::tempdir().unwrap(), postgresql::database());
    postgresql::sql(&url, include_str!("../data/catalog-2-postgres.sql"));
    schema_2_is_kept(&Archive::create_with(root.path(), Some(&url)).await.unwrap()).await;
}

async fn schema_2_is_kept(archive: &Archive) {
    let catalog = archive.catalog();
    let kernels = catalog.list(&Filter::default(), None, 10).await.unwrap().kernels;
    assert_eq!(keys(&kernels), KEYS);
    assert_eq!((kernels[0].build_id, kernels[0].base), (Some(build_id(1)), None));
    assert_eq!((kernels[0].config, kernels[0].zst_size), (Some(kernels[1].digest), 78));
    let failure = catalog.failures(None, 10).await.unwrap().failures.remove(0);
    assert_eq!((failure.attempts, failure.retry_at), (2, Some(1_795_188_842)));
    let job = catalog.claim(&Worker::new(), std::time::Duration::from_secs(9)).await.unwrap().unwrap();
    assert_eq!(job.key.to_string(), "debian/11/i386/5.10.0-37-686-pae");
    // Two snapshots were published from here, of which this tree has none.
    let refused = archive.publish().await.unwrap_err();
    assert!(matches!(refused, Error::RolledBack { latest: 0, seen: 2 }), "{refused}");
    let added = archive.add(draft("debian/11/i386/5.10.0-36-686-pae"), btf(4)).await.unwrap();
    assert_eq!(added.record().base, None);
    assert_eq!(catalog.failures(None, 10).await.unwrap().failures, []);
}

/// Check that snapshots without configurations and modules, as version 0.1.0 wrote them, are read.
#[tokio::test]
async fn migrate_old_snapshot() {
    let json = r#"{"format":1,"number":1,"created":1790000000,"previous":null,"kernels":[{
        "key":"debian/11/i386/5.10.0-34-686-pae","digest":"3efb58e1b3c7c3dc3b76d457192a3366b598c0f42be52ddfc45a6f941d727417",
        "raw_size":100,"zst_size":90,"provenance":{"trust":"none","source":"upload","generator":"btfgen 0.1.0"},
        "added":1790000000}]}"#;
    let decoded = snapshot::Snapshot::decode(&btf_archive::blob::compress(json.as_bytes())).unwrap();
    assert_eq!((decoded.kernels[0].config, decoded.kernels[0].modules), (None, None));
}

/// Check that an archive can change its catalog: a new database learns everything from the tree, and goes on publishing.
#[tokio::test(flavor = "multi_thread")]
async fn migrate_to_postgres() {
    let root = tempfile::tempdir().unwrap();
    let sqlite = archive(&Site::at(root.path()), &KEYS).await;
    sqlite.publish().await.unwrap();
    sqlite.close().await;
    let url = postgresql::database();
    let archive = Archive::open_with(root.path(), Some(&url)).await.unwrap();
    assert_eq!(keys(&archive.catalog().list(&Filter::default(), None, 10).await.unwrap().kernels), KEYS);
    archive.add(draft("debian/11/i386/5.10.0-36-686-pae"), btf(4)).await.unwrap();
    assert_eq!(archive.publish().await.unwrap().latest.number, 2);
    assert_eq!(postgresql::sql(&url, "SELECT count(*) FROM kernels"), "3");
    assert!(!files(root.path()).is_empty());
}

/// Check that other URLs are refused, and that neither they nor a failure to connect show a password.
#[tokio::test]
async fn migrate_catalog_urls() {
    let root = tempfile::tempdir().unwrap();
    for url in [
        "mysql://user:secret@db.example/x",
        "postgres://user:secret@127.0.0.1:1/x",
        "postgres://user:secret@",
    ] {
        let refused = Archive::create_with(root.path(), Some(url)).await.unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }
}
