//! Requests that mean harm, or make no sense.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use reqwest::{Method, StatusCode};

use crate::harness::{BOOKWORM, Server, check_problem, header};

/// The status of a raw answer.
fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no HTTP answer: {answer:?}"))
}

/// Check that no path leads out of the archive or to something other than it says, however it is written.
#[tokio::test]
async fn paths() {
    let server = Server::start(&[BOOKWORM]).await;
    for path in [
        "/../../../../etc/passwd",
        "/blobs/../catalog.sqlite",
        "/blobs/sha256/../../catalog.sqlite",
        "/blobs/sha256/%2e%2e/catalog.sqlite",
        "/snapshots/%2e%2e%2fcatalog.sqlite",
        "/snapshots/..%5ccatalog.sqlite",
        "//etc/passwd",
        "/v1/btf/debian%2F12/i386/6.1.0-1-686-pae/x",
        "/v1/btf/debian/12/i386/..",
        "/v1/btf/debian/12/i386/%2e%2e%2f%2e%2e",
        "/v1/btf/debian/12/i386/6.1.0%00",
        "/v1/btf/debian/12/i386/6.1.0%0d%0aset-cookie:%20a",
        "/v1/btf/debian/12/i386/%ff%fe",
        "/v1/btf/debian/12/i386/%F0%9F%90%A7",
        "/v1/btf/debian/12/i386/%3Cscript%3E",
        "/v1/btf/by-build-id/%2e%2e",
        "/v1/btf/by-build-id/zz",
        "/v1/btf/by-build-id/abc",
        "/v1/btf/by-build-id/",
        "/v1/blobs/sha256/xyz",
        "/v1/kernels/debian/12/i386/a%2Fb",
        "/debian/12/i386/..%2f..%2fcatalog.btf.tar.xz",
        "/%2e%2e/%2e%2e/%2e%2e/catalog.sqlite",
        "/v1/kernels?q=%00&cursor=%2e%2e",
        "/v1/lookup?release=%00%1b%5b31m",
    ] {
        let answer = server.raw_get(path);
        assert!(matches!(status(&answer), 400 | 404), "{path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{path}: {answer}");
        assert!(!answer.contains("SQLite format") && !answer.contains("root:x:"), "{path}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("\nset-cookie:"), "{path}: {answer}");
        assert!(!body.contains(|c: char| c.is_control()), "{path}: {body:?}");
    }
    // Control characters do not even get that far.
    for path in ["/v1/btf/debian/12/i386/6.1\x00", "/v1/kernels?q=\x1b[31m", "/a b", ""] {
        assert_eq!(status(&server.raw_get(path)), 400, "{path:?}");
    }
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}

/// Check that nothing of a request can write a line of its own into the log.
#[tokio::test]
async fn log_lines() {
    let server = Server::start(&[]).await;
    server.raw(b"GET /a%0ainjected HTTP/1.1\r\nhost: x\r\nx-request-id: a\tb\r\nconnection: close\r\n\r\n");
    server.raw("GET /caf\u{e9} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".as_bytes());
    let log = server.log();
    assert!(log.contains("/a%0ainjected"), "{log}");
    assert!(log.lines().all(|line| line.starts_with("20")), "{log}");
}

/// Check that addresses, heads and bodies are limited.
#[tokio::test]
async fn sizes() {
    let server = Server::start(&[BOOKWORM]).await;
    let long = server.get(&format!("/v1/kernels?q={}", "a".repeat(5000))).await;
    check_problem(long, StatusCode::URI_TOO_LONG).await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "a".repeat(100_000));
    assert!(matches!(status(&server.raw(long.as_bytes())), 414 | 431));
    let big = format!("GET / HTTP/1.1\r\nhost: x\r\nx-big: {}\r\n\r\n", "a".repeat(100_000));
    assert_eq!(status(&server.raw(big.as_bytes())), 431);
    let many: String = (0..1000).map(|number| format!("x-{number}: 1\r\n")).collect();
    assert_eq!(status(&server.raw(format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes())), 431);

    let url = format!("{}/v1/kernels", server.url);
    let body = server.client.get(&url).body(vec![0; 1 << 20]).send().await.unwrap();
    check_problem(body, StatusCode::PAYLOAD_TOO_LARGE).await;
    let chunked = server.raw(b"GET /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n");
    assert_eq!(status(&chunked), 413);
}

/// Check that methods that write are refused, with the ones that are allowed.
#[tokio::test]
async fn methods() {
    let server = Server::start(&[BOOKWORM]).await;
    let path = format!("/v1/kernels/{}", BOOKWORM.0);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = server.client.request(method, format!("{}{path}", server.url)).send().await.unwrap();
        assert_eq!(header(&answer, "allow"), Some("GET,HEAD"));
        check_problem(answer, StatusCode::METHOD_NOT_ALLOWED).await;
    }
}

/// Check that bytes that are not HTTP end their connection and nobody else's.
#[tokio::test]
async fn not_http() {
    let server = Server::start(&[BOOKWORM]).await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n\r\nnonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{bytes:?}");
    }
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}
