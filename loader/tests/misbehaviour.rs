//! Archives that fail, lie or attack: each gets its reason, nothing of theirs is kept, and the next one is asked.

mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use btf_archive::blob;
use btf_loader::{Class, Loader};
use support::{BUILD_ID, Host, OTHER_BUILD_ID, Stub, answer, btf_answer, kernel_btf, reasons, struct_btf};

/// Asks an archive that answers every request with these bytes; the class, and the reason's name.
fn outcome(bytes: Vec<u8>) -> (Class, String) {
    outcome_of(&Stub::always(bytes), Duration::from_secs(30))
}

/// The same for an archive that is given this long.
fn outcome_of(stub: &Stub, timeout: Duration) -> (Class, String) {
    let host = Host::new();
    let mut settings = host.settings(&[stub.url()]);
    settings.timeout = timeout;
    settings.max_size = 1 << 20;
    let error = Loader::new(settings).get().expect_err("nothing that may be used");
    let kept: Vec<_> = host.cached().into_iter().filter(|path| !path.starts_with("misses/")).collect();
    assert_eq!(kept, [] as [String; 0], "{error}");
    (error.class(), reasons(&error).join(" "))
}

fn refused(reason: &str) -> (Class, String) {
    (Class::Refused, reason.to_owned())
}

fn failed(reason: &str) -> (Class, String) {
    (Class::Failed, reason.to_owned())
}

/// Check that the stub's right answer is taken, so that the others fail for what is wrong with them.
#[test]
fn right_answer() {
    let raw = kernel_btf(16);
    let zst = blob::compress(&raw);
    let digest = format!("sha256:{}", btf_loader::Digest::of(&raw));
    let headers = [("btf-digest", digest.as_str()), ("content-encoding", "zstd"), ("btf-build-id", BUILD_ID)];
    for bytes in [btf_answer(&raw, &[]), answer("200 OK", &headers, &zst)] {
        let host = Host::new();
        let found = host.loader(&[Stub::always(bytes).url()]).get().unwrap();
        assert_eq!(found.btf(), raw);
    }
}

/// Check that bytes which are not those promised are refused, compressed or not.
#[test]
fn wrong_digest() {
    let (raw, other) = (kernel_btf(16), kernel_btf(8));
    let digest = format!("sha256:{}", btf_loader::Digest::of(&other));
    assert_eq!(outcome(answer("200 OK", &[("btf-digest", &digest)], &raw)), refused("hash-mismatch"));
    let headers = [("btf-digest", digest.as_str()), ("content-encoding", "zstd")];
    assert_eq!(outcome(answer("200 OK", &headers, &blob::compress(&raw))), refused("hash-mismatch"));
}

/// Check that BTF which nobody vouches for is not taken.
#[test]
fn no_digest() {
    let raw = kernel_btf(16);
    assert_eq!(outcome(answer("200 OK", &[], &raw)), failed("bad-answer"));
    for digest in ["", "sha256:", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        assert_eq!(
            outcome(answer("200 OK", &[("btf-digest", digest)], &raw)),
            failed("bad-answer"),
            "{digest}"
        );
    }
}

/// Check that bytes with the right digest are refused if they are not the BTF of a kernel.
#[test]
fn not_btf() {
    let no_kernel = struct_btf("sk_buff", 16, btf::Endian::NATIVE, 8);
    for raw in [b"<html>".to_vec(), Vec::new(), kernel_btf(16)[..80].to_vec(), no_kernel] {
        assert_eq!(outcome(btf_answer(&raw, &[])), refused("not-btf"));
    }
}

/// Check that an answer which says it is another kernel's is refused.
#[test]
fn wrong_kernel() {
    let raw = kernel_btf(16);
    assert_eq!(outcome(btf_answer(&raw, &[("btf-build-id", OTHER_BUILD_ID)])), refused("wrong-kernel"));
    assert_eq!(outcome(btf_answer(&raw, &[("btf-build-id", "xyz")])), failed("bad-answer"));
    assert_eq!(outcome(btf_answer(&raw, &[("btf-key", "../../../etc")])), failed("bad-answer"));
}

/// Check that a transfer which ends too early is noticed, compressed or not, with or without a length.
#[test]
fn truncated() {
    let raw = kernel_btf(16);
    let mut cut = btf_answer(&raw, &[]);
    cut.truncate(cut.len() - 10);
    assert_eq!(outcome(cut), failed("unreachable"));

    let digest = format!("btf-digest: sha256:{}", btf_loader::Digest::of(&raw));
    let mut zst = format!("HTTP/1.1 200 OK\r\ncontent-encoding: zstd\r\n{digest}\r\n\r\n").into_bytes();
    zst.extend(&blob::compress(&raw)[..40]);
    assert_eq!(outcome(zst), failed("bad-answer"));
}

/// Check that no more is decompressed, or taken, than allowed.
#[test]
fn too_large() {
    let bomb = vec![0; 64 << 20];
    let digest = format!("sha256:{}", btf_loader::Digest::of(&bomb));
    let headers = [("btf-digest", digest.as_str()), ("content-encoding", "zstd")];
    assert_eq!(outcome(answer("200 OK", &headers, &blob::compress(&bomb))), refused("too-large"));
    assert_eq!(outcome(answer("200 OK", &[("btf-digest", &digest)], &bomb[..2 << 20])), refused("too-large"));

    // Without a length, and without an end.
    let endless = Stub::new(move |_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\nbtf-digest: {digest}\r\n\r\n");
        let mut sent = stream.write_all(head.as_bytes());
        while sent.is_ok() {
            sent = stream.write_all(&[0; 1 << 16]);
        }
    });
    assert_eq!(outcome_of(&endless, Duration::from_secs(30)), refused("too-large"));
}

/// Check that codings nobody asked for are not taken for BTF.
#[test]
fn unknown_coding() {
    assert_eq!(outcome(btf_answer(&kernel_btf(16), &[("content-encoding", "gzip")])), failed("bad-answer"));
}

/// Check that an archive which cannot answer for the moment is a failure that may pass, not an unknown kernel.
#[test]
fn unavailable() {
    for status in ["503 Service Unavailable", "500 Internal Server Error", "429 Too Many Requests"] {
        assert_eq!(outcome(answer(status, &[], b"")), failed("unreachable"), "{status}");
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let error = Host::new().loader(&[&url]).get().unwrap_err();
    assert_eq!(reasons(&error), ["unreachable"]);
}

/// Check that a 404 counts as an unknown kernel only in the words of an archive.
#[test]
fn not_found() {
    assert_eq!(outcome(answer("404 Not Found", &[], b"<html>nothing here</html>")), failed("no-archive"));
    let problem = br#"{"type":"t","title":"Unknown kernel","status":404,"nearest":[]}"#;
    assert_eq!(
        outcome(answer("404 Not Found", &[], problem)),
        (Class::NotFound, "not-in-archive".to_owned())
    );
}

/// Check that other answers, and what is not HTTP at all, are failures.
#[test]
fn bad_answers() {
    for status in ["204 No Content", "401 Unauthorized", "400 Bad Request", "300 Multiple Choices"] {
        assert_eq!(outcome(answer(status, &[], b"")), failed("bad-answer"), "{status}");
    }
    assert_eq!(outcome(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()), failed("bad-answer"));
    let long = "x".repeat(1 << 20);
    assert_eq!(outcome(btf_answer(&kernel_btf(16), &[("x-long", &long)])), failed("bad-answer"));
}

/// Check that redirects are followed, but not in circles, into nowhere, or to another protocol.
#[test]
fn redirects() {
    let moved = |to: &str| answer("302 Found", &[("location", to)], b"");
    for target in ["/v1/again", "v1/relative", "//other.example/v1", "file:///etc/passwd", ""] {
        assert_eq!(outcome(moved(target)), failed("bad-answer"), "{target}");
    }
    assert_eq!(outcome(answer("302 Found", &[], b"")), failed("bad-answer"));

    let target = Stub::always(btf_answer(&kernel_btf(16), &[]));
    let away = Stub::always(moved(&format!("{}/elsewhere", target.url())));
    let host = Host::new();
    assert_eq!(host.loader(&[away.url()]).get().unwrap().btf(), kernel_btf(16));
    assert_eq!(target.requests(), ["/elsewhere"]);
}

/// Check that an archive which takes too long is given up: silent, or with a byte now and then.
#[test]
fn slow() {
    let silent = Stub::new(|_, stream| wait_for_close(stream));
    assert_eq!(outcome_of(&silent, Duration::from_millis(300)), failed("timed-out"));
    let dripping = Stub::new(|_, stream| {
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
        while sent.is_ok() {
            std::thread::sleep(Duration::from_millis(20));
            sent = stream.write_all(b".");
        }
    });
    assert_eq!(outcome_of(&dripping, Duration::from_millis(300)), failed("timed-out"));
}

fn wait_for_close(stream: &mut TcpStream) {
    let _ = std::io::copy(stream, &mut std::io::sink());
}

/// Check that after archives of every bad kind the good one is still asked, and what the others said is kept.
#[test]
fn good_one_last() {
    let broken = Stub::always(answer("503 Service Unavailable", &[], b""));
    let lying = Stub::always(btf_answer(&kernel_btf(8), &[("btf-build-id", OTHER_BUILD_ID)]));
    let good = Stub::always(btf_answer(&kernel_btf(16), &[]));
    let host = Host::new();
    let found = host.loader(&[broken.url(), lying.url(), good.url()]).get().unwrap();
    assert_eq!(found.btf(), kernel_btf(16));
    let said: Vec<&str> = found.attempts().iter().map(|attempt| attempt.reason.name()).collect();
    assert_eq!(said[said.len() - 2..], ["unreachable", "wrong-kernel"]);
}
