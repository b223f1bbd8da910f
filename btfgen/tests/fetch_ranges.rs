//! Parts of files against servers that give them, do not give them, and give others.

mod loopback;

use std::sync::Arc;
use std::time::Duration;

use btfgen::fetch::{Client, Error, Options, Ranges};
use loopback::{Answer, Server};
use tokio::runtime::Runtime;
use url::Url;

const LENGTH: usize = 500_000;

fn body() -> Arc<Vec<u8>> {
    Arc::new((0..LENGTH).map(|i| (i ^ (i >> 8).wrapping_mul(31)) as u8).collect())
}

fn ranges(server: &Server) -> (Runtime, Client, Ranges) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().unwrap();
    let options = Options { attempts: 4, first_pause: Duration::from_millis(2), ..Options::default() };
    let client = Client::new(runtime.handle().clone(), options).unwrap();
    let ranges = client.ranges(&Url::parse(&server.url("/file")).unwrap());
    (runtime, client, ranges)
}

/// Check that parts are the parts asked for, each by one request, and that nothing else is fetched.
#[test]
fn parts() {
    let server = Server::of(body().to_vec());
    let (_runtime, client, ranges) = ranges(&server);
    assert_eq!(ranges.tail_blocking(1000).unwrap(), (499_000, body()[499_000..].to_vec()));
    assert_eq!(ranges.len_blocking().unwrap(), LENGTH as u64);
    assert_eq!(ranges.read_blocking(100..70_100).unwrap(), body()[100..70_100]);
    assert_eq!(ranges.read_blocking(499_999..600_000).unwrap(), body()[499_999..]);
    assert_eq!((client.requests(), client.fetched()), (3, 71_001));
    // What needs no request gets none.
    assert!(ranges.read_blocking(600_000..700_000).unwrap().is_empty());
    assert!(ranges.read_blocking(5..5).unwrap().is_empty());
    assert_eq!(ranges.tail_blocking(u64::MAX).unwrap().0, 0);
    assert_eq!(client.requests(), 4);
}

/// Check that the length alone costs a byte, and that an empty file has none to give.
#[test]
fn length() {
    let server = Server::of(body().to_vec());
    let (_runtime, client, parts) = ranges(&server);
    assert_eq!((parts.len_blocking().unwrap(), client.fetched()), (LENGTH as u64, 1));
    let empty = Server::of(Vec::new());
    let (_runtime, _client, parts) = ranges(&empty);
    assert_eq!(parts.len_blocking().unwrap(), 0);
    assert_eq!(parts.tail_blocking(10).unwrap(), (0, Vec::new()));
}

/// Check that a part is completed over broken connections, and that 503 is tried again.
#[test]
fn broken_part() {
    let server = Server::new(|request| Answer {
        body: body(),
        status: (request.number == 1).then_some("503 Service Unavailable"),
        cut_after: (request.number < 4).then_some(70_000),
        headers: vec!["ETag: \"one\"".into()],
        ..Answer::default()
    });
    let (_runtime, _client, parts) = ranges(&server);
    assert_eq!(parts.read_blocking(1000..300_000).unwrap(), body()[1000..300_000]);
    let asked: Vec<_> = server.requests().iter().map(|request| (request.range, request.until)).collect();
    assert_eq!(asked[0], (Some(1000), Some(300_000)));
    assert_eq!(asked[2], (Some(71_000), Some(300_000)), "{asked:?}");
}

/// Check that a server which answers with the whole file is told apart, and is not listened to.
#[test]
fn range_ignored() {
    let whole = Arc::new(vec![7; 64 << 20]);
    let server =
        Server::new(move |_| Answer { body: Arc::clone(&whole), ignore_range: true, ..Answer::default() });
    let (_runtime, client, parts) = ranges(&server);
    let error = parts.read_blocking(10..20).unwrap_err();
    assert!(matches!(error, Error::RangeIgnored { .. }) && !error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("does not give parts"), "{error}");
    server.wait();
    assert_eq!((client.requests(), client.fetched()), (1, 0));
    assert!(server.sent() < 32 << 20, "{}", server.sent());
}

/// Check that any other part than the one asked for is refused.
#[test]
fn wrong_parts() {
    for content_range in [
        "bytes 11-20/500000",
        "bytes 10-18/500000",
        "bytes 10-20/500000",
        "bytes 10-19/*",
        "bytes 10-19/15",
        "pages 10-19/500000",
        "",
    ] {
        let server = Server::new(move |_| Answer {
            body: body(),
            content_range: Some(content_range),
            ..Answer::default()
        });
        let (_runtime, _client, parts) = ranges(&server);
        let error = parts.read_blocking(10..20).unwrap_err();
        assert!(matches!(error, Error::WrongRange { start: 10, end: 20, .. }), "{content_range}: {error:?}");
    }
    // Fewer and more bytes than promised.
    for length in [5, 2000] {
        let server =
            Server::new(move |_| Answer { body: body(), content_length: Some(length), ..Answer::default() });
        let (_runtime, _client, parts) = ranges(&server);
        let error = parts.read_blocking(10..1010).unwrap_err();
        assert!(matches!(error, Error::WrongRange { .. }), "{length}: {error:?}");
    }
    let more = Server::new(|_| Answer {
        body: Arc::new(b"14\r\n01234567890123456789\r\n0\r\n\r\n".to_vec()),
        headers: vec!["Transfer-Encoding: chunked".into()],
        content_range: Some("bytes 0-9/100"),
        hide_length: true,
        ignore_range: false,
        ..Answer::default()
    });
    let (_runtime, _client, parts) = ranges(&more);
    assert!(matches!(parts.read_blocking(0..10).unwrap_err(), Error::WrongRange { .. }));
}

/// Check that parts of two files are never put together, whichever validator shows it, and whether the server answers with a
/// part or with the whole.
#[test]
fn changed_file() {
    for (name, ignore_range) in [("ETag", false), ("Last-Modified", false), ("length", false), ("ETag", true)]
    {
        let server = Server::new(move |request| {
            let number = request.number;
            let mut bytes = body().to_vec();
            let headers = match name {
                "ETag" => vec![format!("ETag: \"{number}\"")],
                "Last-Modified" => vec![format!("Last-Modified: Fri, 20 Nov 2026 09:00:0{number} GMT")],
                _ => {
                    bytes.truncate(LENGTH - number);
                    Vec::new()
                }
            };
            Answer {
                body: bytes.into(),
                headers,
                ignore_range: ignore_range && number > 0,
                ..Answer::default()
            }
        });
        let (_runtime, _client, parts) = ranges(&server);
        assert_eq!(parts.read_blocking(0..10).unwrap(), body()[..10]);
        let error = parts.read_blocking(10..20).unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(name) && error.is_transient(), "{error}");
    }
}

/// Check that later parts are asked for where the first redirect led, and from the beginning again when that place fails.
#[test]
fn redirected_parts() {
    let mirror = Server::new(|request| Answer {
        body: body(),
        status: (request.number == 1).then_some("503 Service Unavailable"),
        ..Answer::default()
    });
    let place = mirror.url("/mirrored");
    let director = Server::new(move |_| Answer {
        status: Some("302 Found"),
        headers: vec![format!("Location: {place}")],
        ..Answer::default()
    });
    let (_runtime, _client, parts) = ranges(&director);
    for start in [0, 1000, 2000] {
        let end = start + 500;
        let part = parts.read_blocking(start..end).unwrap();
        assert_eq!(part, body()[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]);
    }
    assert_eq!((director.requests().len(), mirror.requests().len()), (2, 4));
}
