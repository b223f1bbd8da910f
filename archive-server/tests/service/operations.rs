//! For those who run it: health, metrics, request ids, start and end.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::harness::{
    ALL, BOOKWORM, BULLSEYE, Server, check_problem, digest_of, header, make_archive, program, run, succeed,
};

/// Check that health says what is wrong: nothing, or that the archive cannot be read.
#[tokio::test]
async fn health() {
    let server = Server::start(ALL).await;
    assert_eq!(server.get("/healthz").await.text().await.unwrap(), "ok\n");
    let ready = server.json("/readyz", StatusCode::OK).await;
    assert_eq!(ready, serde_json::json!({ "kernels": ALL.len(), "snapshot": 1 }));
    std::fs::write(server.archive().join("latest.json"), "{").unwrap();
    let problem = server.problem("/readyz", StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(problem["type"], "urn:btf-archive:problem:not-ready");
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}

/// Check that what is added while the service runs is served without a restart.
#[tokio::test]
async fn sees_what_is_added() {
    let server = Server::start(&[]).await;
    let path = format!("/v1/btf/{}", BOOKWORM.0);
    server.problem(&path, StatusCode::NOT_FOUND).await;
    make_archive(&server.archive(), &[BOOKWORM]).await;
    assert_eq!(server.get(&path).await.status(), StatusCode::OK);
}

/// Check that Prometheus's own parser takes the metrics, and that they count what happened.
#[tokio::test]
async fn metrics() {
    let server = Server::start(ALL).await;
    server.get(&format!("/v1/btf/{}", BOOKWORM.0)).await;
    server.get("/nowhere").await;
    let answer = server.get("/metrics").await;
    assert!(header(&answer, "content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text().await.unwrap();
    let file = server.archive().join("../metrics");
    std::fs::write(&file, &text).unwrap();
    let parser = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
for family in parse(open(sys.argv[1]).read()):
    for sample in family.samples:
        print(sample.name, sorted(sample.labels.items()), sample.value)";
    let parsed =
        String::from_utf8(succeed(Command::new("/usr/bin/python3").args(["-c", parser]).arg(&file))).unwrap();
    for sample in [
        "btf_archive_http_requests_total [('route', '/v1/btf/{distro}/{version}/{arch}/{release}'), ('status', '200')] 1".to_owned(),
        "btf_archive_http_requests_total [('route', 'none'), ('status', '404')] 1".to_owned(),
        format!("btf_archive_kernels [] {}", ALL.len()),
        "btf_archive_http_requests_in_flight [] 1".to_owned(),
        "btf_archive_cache_misses_total [('cache', 'raw')] 1".to_owned(),
    ] {
        assert!(parsed.lines().any(|line| line == sample), "no {sample}:\n{parsed}");
    }
}

/// Check that each request has an id, that a client's own is kept if it is harmless, and that the log has it.
#[tokio::test]
async fn request_ids() {
    let server = Server::start(&[]).await;
    let mut seen = HashSet::new();
    for _ in 0..10 {
        let answer = server.get("/healthz").await;
        assert!(seen.insert(header(&answer, "x-request-id").unwrap().to_owned()));
    }
    let own = server.get_with("/healthz", &[("x-request-id", "my-trace_1.2")]).await;
    assert_eq!(header(&own, "x-request-id"), Some("my-trace_1.2"));
    assert!(server.log().contains("my-trace_1.2"), "{}", server.log());
    for hostile in ["a b", "a\"b", "<script>", &"a".repeat(65), ""] {
        let answer = server.get_with("/healthz", &[("x-request-id", hostile)]).await;
        assert_ne!(header(&answer, "x-request-id"), Some(hostile));
    }
}

/// Check that the first page says what this is, and lets no script run.
#[tokio::test]
async fn home() {
    let server = Server::start(ALL).await;
    let answer = server.get("/").await;
    assert_eq!(header(&answer, "content-security-policy"), Some("default-src 'none'"));
    let page = answer.text().await.unwrap();
    assert!(page.contains(&format!("{} kernels, snapshot 1", ALL.len())), "{page}");
}

/// Check that a request that takes too long is given up with 503, that others do not suffer from it, and that the service
/// ends although the work goes on: here, a file system that hangs.
#[tokio::test]
async fn deadline() {
    let directory = TempDir::new().unwrap();
    make_archive(&directory.path().join("archive"), &[BOOKWORM, BULLSEYE]).await;
    let blob = directory.path().join("archive").join(btf_archive::blob::path(&digest_of(BOOKWORM)));
    std::fs::remove_file(&blob).unwrap();
    succeed(Command::new("mkfifo").arg(&blob));
    let mut server = Server::start_over(directory, &["--request-timeout", "1"]);
    let hanging = server.get(&format!("/v1/btf/{}", BOOKWORM.0)).await;
    assert_eq!(header(&hanging, "retry-after"), Some("5"));
    let problem = check_problem(hanging, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(problem["type"], "urn:btf-archive:problem:too-slow");
    assert_eq!(server.get(&format!("/v1/btf/{}", BULLSEYE.0)).await.status(), StatusCode::OK);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

/// Check that SIGTERM and SIGINT end the service with exit code 0, after a download under way is complete.
#[tokio::test]
async fn graceful_end() {
    for name in ["TERM", "INT"] {
        let directory = TempDir::new().unwrap();
        let archive = directory.path().join("archive");
        make_archive(&archive, &[]).await;
        // Larger than what the kernel buffers for a connection on loopback.
        let big: Vec<u8> = (0..4_000_000u32).flat_map(|number| (number / 7 * 31).to_le_bytes()).collect();
        let digest = btf_archive::Digest::of(&big);
        let blob = archive.join(btf_archive::blob::path(&digest));
        std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
        let file = directory.path().join("big");
        std::fs::write(&file, &big).unwrap();
        succeed(Command::new("zstd").arg("-q1").arg(&file).arg("-o").arg(&blob));
        let ready = directory.path().join("ready");
        let mut server = Server::start_over(directory, &["--ready-file", ready.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(&ready).unwrap(), format!("{}\n", server.url));

        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "GET /v1/blobs/sha256/{digest} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        server.signal(name);
        while TcpStream::connect(server.address()).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.ends_with(&big), "the download was cut");
        assert_eq!(server.wait(), Some(0));
        assert!(!ready.exists());
    }
}

/// Check that a service that cannot start says why, with exit code 1, and writes no ready file.
#[tokio::test]
async fn cannot_start() {
    let directory = TempDir::new().unwrap();
    let ready = directory.path().join("ready");
    std::fs::write(&ready, "http://stale\n").unwrap();
    let nothing = directory.path().join("nothing");
    let output = run(program().args(["serve", "--archive"]).arg(&nothing).arg("--ready-file").arg(&ready));
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("nothing") && stderr.contains("btf-archive-server add"), "{stderr}");
    assert!(!ready.exists(), "the file of a former run must not look like ours");
    assert!(!nothing.exists());

    let server = Server::start(&[]).await;
    let output =
        run(program().args(["serve", "--listen", server.address(), "--archive"]).arg(server.archive()));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(server.address()));
}
