//! Conditional requests, ranges and codings, over the wire.

use reqwest::StatusCode;

use crate::harness::{BOOKWORM, BULLSEYE, Server, btf_of, check_problem, digest_of, header};

/// Check that a client that has the bytes gets 304 without a body, for every kind of answer, and that each coding has an
/// entity tag of its own.
#[tokio::test]
async fn not_modified() {
    let server = Server::start(&[BOOKWORM, BULLSEYE]).await;
    for path in [
        format!("/v1/btf/{}", BOOKWORM.0),
        format!("/v1/blobs/sha256/{}", digest_of(BOOKWORM)),
        format!("/{}.btf.tar.xz", BOOKWORM.0),
        format!("/v1/kernels/{}", BOOKWORM.0),
        "/v1/kernels?arch=i386".to_owned(),
        "/v1/lookup?release=6.1.0-1-686-pae".to_owned(),
        "/latest.json".to_owned(),
        "/snapshots/000001.json.zst".to_owned(),
        format!("/{}", btf_archive::blob::path(&digest_of(BOOKWORM))),
    ] {
        let first = server.get_with(&path, &[("accept-encoding", "zstd")]).await;
        let etag = header(&first, "etag").unwrap().to_owned();
        let again = server.get_with(&path, &[("accept-encoding", "zstd"), ("if-none-match", &etag)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(header(&again, "etag"), Some(etag.as_str()));
        for name in ["cache-control", "vary"] {
            assert_eq!(header(&again, name), header(&first, name), "{path} {name}");
        }
        assert_eq!(again.bytes().await.unwrap().len(), 0);
        let other =
            server.get_with(&path, &[("accept-encoding", "zstd"), ("if-none-match", "\"other\"")]).await;
        assert_eq!(other.status(), StatusCode::OK, "{path}");
    }
    let path = format!("/v1/btf/{}", BOOKWORM.0);
    let zstd = format!("\"{}.zst\"", digest_of(BOOKWORM));
    let identity = server.get_with(&path, &[("if-none-match", &zstd)]).await;
    assert_eq!(identity.status(), StatusCode::OK, "the tag of another coding");
}

/// Check that a range of either coding is cut out of exactly those bytes, and that the pieces make the whole again.
#[tokio::test]
async fn ranges() {
    let server = Server::start(&[BOOKWORM]).await;
    let path = format!("/v1/btf/{}", BOOKWORM.0);
    for coding in ["identity", "zstd"] {
        let whole = server.get_with(&path, &[("accept-encoding", coding)]).await;
        let etag = header(&whole, "etag").unwrap().to_owned();
        let whole = whole.bytes().await.unwrap();
        let mut pieces = Vec::new();
        for range in ["bytes=0-99", "bytes=100-"] {
            let headers = [("accept-encoding", coding), ("range", range), ("if-range", etag.as_str())];
            let piece = server.get_with(&path, &headers).await;
            assert_eq!(piece.status(), StatusCode::PARTIAL_CONTENT);
            assert_eq!(header(&piece, "etag"), Some(etag.as_str()));
            let end = if range == "bytes=0-99" { 99 } else { whole.len() - 1 };
            let content_range = format!("bytes {}-{end}/{}", pieces.len(), whole.len());
            assert_eq!(header(&piece, "content-range"), Some(content_range.as_str()));
            pieces.extend(piece.bytes().await.unwrap());
        }
        assert_eq!(pieces, whole);
    }

    let stale = server.get_with(&path, &[("range", "bytes=0-9"), ("if-range", "\"other\"")]).await;
    assert_eq!(
        (stale.status(), stale.bytes().await.unwrap().as_ref()),
        (StatusCode::OK, btf_of(BOOKWORM).as_slice())
    );
    let len = btf_of(BOOKWORM).len();
    let past = server.get_with(&path, &[("range", &format!("bytes={len}-"))]).await;
    assert_eq!(header(&past, "content-range"), Some(format!("bytes */{len}").as_str()));
    check_problem(past, StatusCode::RANGE_NOT_SATISFIABLE).await;
    let failed = server.get_with(&path, &[("if-match", "\"other\"")]).await;
    check_problem(failed, StatusCode::PRECONDITION_FAILED).await;
}

/// Check that weights choose the coding, and that a client that refuses all of them is told so.
#[tokio::test]
async fn codings() {
    let server = Server::start(&[BOOKWORM]).await;
    let path = format!("/v1/btf/{}", BOOKWORM.0);
    for (accept, coding) in [
        ("gzip, zstd;q=0.1", Some("zstd")),
        ("zstd;q=0.1, identity", None),
        ("gzip", None),
        ("*", Some("zstd")),
    ] {
        let answer = server.get_with(&path, &[("accept-encoding", accept)]).await;
        assert_eq!(header(&answer, "content-encoding"), coding, "{accept}");
    }
    let none = server.get_with(&path, &[("accept-encoding", "br, *;q=0")]).await;
    check_problem(none, StatusCode::NOT_ACCEPTABLE).await;
}
