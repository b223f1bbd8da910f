//! The archive's own tree, as a mirror or a loader without our service reads it.

use btf_archive::{Digest, blob, snapshot};
use reqwest::StatusCode;

use crate::harness::{ALL, BOOKWORM, Server, btf_of, digest_of, header};

/// Check that a client that knows only the tree gets from `latest.json` over the snapshot to the raw BTF, each checked by
/// the digest that the one before gave.
#[tokio::test]
async fn from_latest_to_btf() {
    let server = Server::start(ALL).await;
    let latest = server.get("/latest.json").await;
    assert_eq!(header(&latest, "cache-control"), Some("public, no-cache"));
    let latest = latest.bytes().await.unwrap();
    assert_eq!(latest, std::fs::read(server.archive().join("latest.json")).unwrap());
    let latest = snapshot::Latest::decode(&latest).unwrap();

    let stored =
        server.get_with(&format!("/{}", snapshot::path(latest.number)), &[("accept-encoding", "zstd")]).await;
    assert_eq!(header(&stored, "content-encoding"), None, "a stored object is sent as it is");
    assert_eq!(header(&stored, "content-type"), Some("application/zstd"));
    assert_eq!(header(&stored, "cache-control"), Some("public, max-age=300, must-revalidate"));
    let stored = stored.bytes().await.unwrap();
    latest.digest.check(&stored).unwrap();
    let snapshot::Head::Index(index) = snapshot::Head::decode(&stored).unwrap() else { panic!("format 1") };
    assert_eq!(index.kernels, ALL.len() as u64);

    let key = BOOKWORM.0.parse().unwrap();
    let place = index.part_of(&key).unwrap();
    let stored = server.get(&format!("/{}", index.parts[place].path())).await;
    assert_eq!(header(&stored, "content-encoding"), None);
    assert_eq!(header(&stored, "cache-control"), Some("public, max-age=31536000, immutable"));
    let kernels = index.read_part(place, &stored.bytes().await.unwrap()).unwrap();
    let kernel = kernels.iter().find(|kernel| kernel.key == key).unwrap();
    let stored =
        server.get_with(&format!("/{}", blob::path(&kernel.digest)), &[("accept-encoding", "zstd")]).await;
    assert_eq!(header(&stored, "content-encoding"), None);
    assert_eq!(header(&stored, "cache-control"), Some("public, max-age=31536000, immutable"));
    let raw = blob::decompress_verified(&stored.bytes().await.unwrap(), 1 << 20, &kernel.digest).unwrap();
    assert!(raw == btf_of(BOOKWORM));
}

/// Check that nothing else of the archive's directory can be had, above all not the catalog.
#[tokio::test]
async fn nothing_else() {
    let server = Server::start(&[BOOKWORM]).await;
    let digest = digest_of(BOOKWORM).to_string();
    let other = Digest::of(b"").to_string();
    for path in [
        "/catalog.sqlite",
        "/catalog.sqlite-wal",
        "/archive.lock",
        "/snapshots/",
        "/snapshots/1.json.zst",
        "/snapshots/000002.json.zst",
        "/snapshots/latest.json",
        "/snapshots/..%2Fcatalog.sqlite",
        "/snapshots/parts/",
        &format!("/snapshots/parts/{}/{other}.json.zst", &other[..2]),
        &format!("/snapshots/parts/00/{other}.json.zst"),
        "/snapshots/parts/..%2F..%2F/catalog.sqlite",
        "/blobs/",
        &format!("/blobs/sha256/{digest}.zst"),
        &format!("/blobs/sha256/00/{digest}.zst"),
        &format!("/blobs/sha256/{}/{}.zst", &digest[..2], digest.to_uppercase()),
        &format!("/blobs/sha256/{}/{other}.zst", &other[..2]),
        &format!("/v1/blobs/sha256/{other}"),
    ] {
        server.problem(path, StatusCode::NOT_FOUND).await;
    }
}
