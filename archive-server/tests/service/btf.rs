//! The BTF itself: the right bytes in the coding that was asked for, with headers that say whose they are.

use std::process::Command;

use reqwest::{Method, StatusCode};
use tempfile::TempDir;

use crate::harness::{
    ALL, BOOKWORM, BULLSEYE, BULLSEYE_ARM, OWN_BTF, SLES, Server, VENDOR, btf_of, digest_of, header, program,
    succeed,
};

/// Check that the running kernel's own BTF, added by hand, comes back bit by bit: by name, by build-id, by digest, raw
/// and as zstd that Debian's zstd reads.
#[tokio::test]
async fn own_kernel_round_trip() {
    let directory = TempDir::new().unwrap();
    let archive = directory.path().join("archive");
    let own = std::fs::read(OWN_BTF).unwrap();
    let notes = std::fs::read("/sys/kernel/notes").unwrap();
    let build_id = btf_archive::BuildId::from_notes(&notes).unwrap().unwrap().to_string();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let arch = String::from_utf8(succeed(Command::new("uname").arg("-m"))).unwrap();
    let key = format!("debian/12/{}/{}", arch.trim(), release.trim());
    succeed(program().args(["add", "--archive"]).arg(&archive).args([
        "--key",
        &key,
        "--build-id",
        &build_id,
        OWN_BTF,
    ]));

    let server = Server::start_over(directory, &[]);
    let digest = btf_archive::Digest::of(&own).to_string();
    for path in [
        format!("/v1/btf/{key}"),
        format!("/v1/btf/by-build-id/{build_id}"),
        format!("/v1/blobs/sha256/{digest}"),
        format!("/buildid/{build_id}/section/.BTF"),
    ] {
        let raw = server.get(&path).await;
        assert_eq!(raw.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&raw, "content-encoding"), None);
        assert_eq!(header(&raw, "content-length"), Some(own.len().to_string().as_str()));
        assert!(raw.bytes().await.unwrap() == own, "{path}: other bytes");

        let packed = server.get_with(&path, &[("accept-encoding", "zstd")]).await;
        assert_eq!(header(&packed, "content-encoding"), Some("zstd"));
        let packed = packed.bytes().await.unwrap();
        assert!(packed.len() * 2 < own.len());
        let file = server.archive().join("../answer.zst");
        std::fs::write(&file, &packed).unwrap();
        assert!(
            succeed(Command::new("zstd").args(["-dcq"]).arg(&file)) == own,
            "{path}: other bytes as zstd"
        );
    }
    // A tool that negotiates by itself.
    let url = format!("{}/v1/btf/{key}", server.url);
    assert!(
        succeed(Command::new("curl").args(["-fsS", "--compressed", &url])) == own,
        "curl got other bytes"
    );
}

/// Check that HTTP/2 is spoken to clients that begin with it.
#[tokio::test]
async fn http2() {
    let server = Server::start(&[BOOKWORM]).await;
    let url = format!("{}/v1/btf/{}", server.url, BOOKWORM.0);
    let file = server.archive().join("../answer");
    let version = succeed(
        Command::new("curl")
            .args(["-fsS", "--http2-prior-knowledge", "-w", "%{http_version}", "-o"])
            .arg(&file)
            .arg(&url),
    );
    assert_eq!(version, b"2");
    assert!(std::fs::read(&file).unwrap() == btf_of(BOOKWORM), "other bytes");
}

/// Check the headers of a kernel's BTF, by every name it has.
#[tokio::test]
async fn headers() {
    let server = Server::start(&[BULLSEYE]).await;
    let (key, build_id) = (BULLSEYE.0, BULLSEYE.1.unwrap());
    let digest = digest_of(BULLSEYE);
    for path in [
        format!("/v1/btf/{key}"),
        format!("/v1/btf/by-build-id/{build_id}"),
        format!("/buildid/{build_id}/section/.BTF"),
    ] {
        for (coding, etag) in [("identity", format!("\"{digest}\"")), ("zstd", format!("\"{digest}.zst\""))] {
            let answer = server.get_with(&path, &[("accept-encoding", coding)]).await;
            assert_eq!(header(&answer, "etag"), Some(etag.as_str()), "{path} {coding}");
            assert_eq!(header(&answer, "vary"), Some("accept-encoding"));
            assert_eq!(header(&answer, "cache-control"), Some("public, max-age=300, must-revalidate"));
            assert_eq!(header(&answer, "content-type"), Some("application/octet-stream"));
            assert_eq!(header(&answer, "accept-ranges"), Some("bytes"));
            assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
            assert_eq!(header(&answer, "btf-digest"), Some(format!("sha256:{digest}").as_str()));
            assert_eq!(header(&answer, "btf-key"), Some(key));
            assert_eq!(header(&answer, "btf-build-id"), Some(build_id));
        }
    }
    let blob = server.get(&format!("/v1/blobs/sha256/{digest}")).await;
    assert_eq!(header(&blob, "cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(header(&blob, "btf-digest"), Some(format!("sha256:{digest}").as_str()));
    assert_eq!(header(&blob, "btf-key"), None);
}

/// Check that a kernel without a build-id is served by name, and without that header.
#[tokio::test]
async fn without_build_id() {
    let server = Server::start(&[VENDOR]).await;
    let answer = server.get(&format!("/v1/btf/{}", VENDOR.0)).await;
    assert_eq!(header(&answer, "btf-build-id"), None);
    assert_eq!(answer.bytes().await.unwrap(), btf_of(VENDOR));
}

/// Check that any spelling of a key leads to the same kernel, which is named by its one canonical key.
#[tokio::test]
async fn spellings() {
    let server = Server::start(ALL).await;
    for (path, kernel) in [
        ("debian/bullseye/arm64/5.10.0-1-arm64", BULLSEYE_ARM),
        ("Debian/11/aarch64/5.10.0-1-arm64", BULLSEYE_ARM),
        ("debian/bookworm/i686/6.1.0-1-686-pae", BOOKWORM),
        ("%22debian%22/12/i386/6.1.0-1-686-pae", BOOKWORM),
        // What `uname -r` says on SUSE, without the rebuild counter.
        ("sles/15.4/amd64/5.14.21-150400.24.100-default", SLES),
    ] {
        let answer = server.get(&format!("/v1/btf/{path}")).await;
        assert_eq!(header(&answer, "btf-key"), Some(kernel.0), "{path}");
        assert_eq!(answer.bytes().await.unwrap(), btf_of(kernel));
    }
}

/// Check that HEAD gives the headers of GET and no body, in both codings.
#[tokio::test]
async fn head() {
    let server = Server::start(&[BOOKWORM]).await;
    for path in [
        format!("/v1/btf/{}", BOOKWORM.0),
        format!("/v1/blobs/sha256/{}", digest_of(BOOKWORM)),
        format!("/{}.btf.tar.xz", BOOKWORM.0),
        format!("/v1/kernels/{}", BOOKWORM.0),
        "/latest.json".to_owned(),
        "/".to_owned(),
    ] {
        for coding in ["identity", "zstd"] {
            let get = server.get_with(&path, &[("accept-encoding", coding)]).await;
            let url = format!("{}{path}", server.url);
            let head = server
                .client
                .request(Method::HEAD, url)
                .header("accept-encoding", coding)
                .send()
                .await
                .unwrap();
            let comparable = |response: &reqwest::Response| {
                let mut headers = response.headers().clone();
                headers.remove("x-request-id");
                headers.remove("date");
                headers
            };
            assert_eq!(comparable(&head), comparable(&get), "{path} {coding}");
            assert!(get.headers().contains_key("content-length"), "{path}");
            assert_eq!(head.bytes().await.unwrap().len(), 0);
        }
    }
}

/// Check that of many clients who want the same form of a blob at once, one causes the work and all get it.
#[tokio::test]
async fn stampede() {
    let server = Server::start(&[BOOKWORM]).await;
    let path = format!("/{}.btf.tar.xz", BOOKWORM.0);
    let answers =
        futures::future::join_all((0..50).map(|_| async { server.get(&path).await.bytes().await.unwrap() }))
            .await;
    assert!(answers.iter().all(|answer| *answer == answers[0] && !answer.is_empty()));
    let metrics = server.get("/metrics").await.text().await.unwrap();
    for cache in ["raw", "packed"] {
        let line = format!("btf_archive_cache_misses_total{{cache=\"{cache}\"}} 1");
        assert!(metrics.lines().any(|found| found == line), "{cache}: {metrics}");
    }
}

/// Check that a blob that rotted on disk is never sent as raw BTF, and that the log says what is wrong.
#[tokio::test]
async fn rotten_blob() {
    let server = Server::start(&[BOOKWORM]).await;
    let path = server.archive().join(btf_archive::blob::path(&digest_of(BOOKWORM)));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&path, bytes).unwrap();
    let problem = server.problem(&format!("/v1/btf/{}", BOOKWORM.0), StatusCode::INTERNAL_SERVER_ERROR).await;
    assert!(!problem.to_string().contains("zstd"), "the cause is for the log: {problem}");
    assert!(server.log().contains(&digest_of(BOOKWORM).to_string()), "{}", server.log());
}
