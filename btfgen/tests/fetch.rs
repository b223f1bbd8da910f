//! The HTTP client against a server that misbehaves.

mod loopback;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use btfgen::fetch::{Client, Error, Options};
use loopback::{Answer, Server};
use tokio::runtime::Runtime;
use url::Url;

/// A client with short pauses, and the runtime it needs.
fn client() -> (Runtime, Client) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().unwrap();
    let options = Options {
        idle_timeout: Duration::from_secs(5),
        attempts: 4,
        first_pause: Duration::from_millis(5),
        ..Options::default()
    };
    let client = Client::new(runtime.handle().clone(), options).unwrap();
    (runtime, client)
}

/// Bytes that differ everywhere, so that a resumption at a wrong offset shows.
fn body(length: usize) -> Arc<Vec<u8>> {
    Arc::new((0..length).map(|i| (i ^ (i >> 8).wrapping_mul(31) ^ (i >> 16)) as u8).collect())
}

/// All bytes the server gives, or the client's error.
fn download(server: &Server) -> Result<Vec<u8>, Error> {
    let (_runtime, client) = client();
    let mut download = client.open(&Url::parse(&server.url("/file")).unwrap())?;
    let mut bytes = Vec::new();
    match download.read_to_end(&mut bytes) {
        Ok(_) => {
            assert_eq!(download.received().load(std::sync::atomic::Ordering::Relaxed), bytes.len() as u64);
            Ok(bytes)
        }
        Err(error) => Err(*error.into_inner().unwrap().downcast::<Error>().unwrap()),
    }
}

/// Check that a whole file arrives as it is, and that the request says who asks.
#[test]
fn whole_file() {
    let bytes = body(300_000);
    let server = Server::of(bytes.to_vec());
    assert_eq!(download(&server).unwrap(), *bytes);
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].headers.iter().any(|line| line.starts_with("user-agent: btfgen/")), "{requests:?}");
}

/// Check that a connection cut several times is resumed where it broke, and that the result is the whole file.
#[test]
fn resumes() {
    let bytes = body(1_000_000);
    let file = Arc::clone(&bytes);
    let server = Server::new(move |_| Answer {
        body: Arc::clone(&file),
        headers: vec!["ETag: \"one\"".into()],
        cut_after: Some(300_000),
        ..Answer::default()
    });
    assert_eq!(download(&server).unwrap(), *bytes);
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[0].range, None);
    assert_eq!(requests[1].range, Some(300_000));
    assert!(requests[1].headers.iter().any(|line| line == "if-range: \"one\""), "{requests:?}");
}

/// Check that a server that ignores Range and starts again is understood: the repeated bytes are dropped, not doubled.
#[test]
fn range_ignored() {
    let bytes = body(500_000);
    let file = Arc::clone(&bytes);
    let server = Server::new(move |request| Answer {
        body: Arc::clone(&file),
        ignore_range: true,
        cut_after: (request.number == 0).then_some(200_000),
        ..Answer::default()
    });
    assert_eq!(download(&server).unwrap(), *bytes);
}

/// Check that a file that changed between two requests is never spliced, whichever validator shows it.
#[test]
fn changed_file_is_refused() {
    type MakeAnswer = fn(usize) -> Answer;
    let cases: [(&str, MakeAnswer); 4] = [
        ("ETag", |number| Answer { headers: vec![format!("ETag: \"{number}\"")], ..Answer::default() }),
        ("Last-Modified", |number| Answer {
            headers: vec![format!("Last-Modified: Fri, 20 Nov 2026 09:00:0{number} GMT")],
            ..Answer::default()
        }),
        ("length", |_| Answer::default()),
        ("ETag", |number| Answer {
            headers: vec![format!("ETag: \"{number}\"")],
            ignore_range: true,
            ..Answer::default()
        }),
    ];
    for (name, answer) in cases {
        let server = Server::new(move |request| Answer {
            body: body(if name == "length" { 400_000 + request.number } else { 400_000 }),
            cut_after: (request.number == 0).then_some(100_000),
            ..answer(request.number)
        });
        let error = download(&server).unwrap_err();
        assert!(matches!(error, Error::NotResumable { offset: 100_000, .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}

/// Check that a body without length and validators, once broken, is an error and not a short file.
#[test]
fn nothing_to_resume_by() {
    let server = Server::new(|_| Answer {
        body: Arc::new(b"4000\r\nshort".to_vec()),
        headers: vec!["Transfer-Encoding: chunked".into()],
        hide_length: true,
        ..Answer::default()
    });
    assert!(matches!(download(&server).unwrap_err(), Error::NotResumable { .. }));
}

/// Check that 503 and 429 are tried again and `Retry-After` is honoured, and that attempts are bounded.
#[test]
fn transient_answers() {
    let bytes = body(1000);
    let file = Arc::clone(&bytes);
    let server = Server::new(move |request| match request.number {
        0 => Answer { status: Some("503 Service Unavailable"), ..Answer::default() },
        1 => Answer {
            status: Some("429 Too Many Requests"),
            headers: vec!["Retry-After: 0".into()],
            ..Answer::default()
        },
        _ => Answer { body: Arc::clone(&file), ..Answer::default() },
    });
    assert_eq!(download(&server).unwrap(), *bytes);
    assert_eq!(server.requests().len(), 3);

    let server = Server::new(|_| Answer { status: Some("502 Bad Gateway"), ..Answer::default() });
    let error = download(&server).unwrap_err();
    assert!(matches!(error, Error::Status { status, .. } if status == 502), "{error:?}");
    assert!(error.is_transient());
    assert_eq!(server.requests().len(), 4);
}

/// Check that 404 is final, is told apart, and is asked once.
#[test]
fn not_found() {
    let server = Server::new(|_| Answer { status: Some("404 Not Found"), ..Answer::default() });
    let error = download(&server).unwrap_err();
    assert!(error.is_not_found() && !error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("/file: the server answered 404"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

/// Check that a redirect loop ends.
#[test]
fn redirect_loop() {
    let server = Server::new(|_| Answer {
        status: Some("302 Found"),
        headers: vec!["Location: /again".into()],
        ..Answer::default()
    });
    let error = download(&server).unwrap_err();
    assert!(error.to_string().contains("more than 5 redirects"), "{error}");
    assert!(matches!(error, Error::Redirect { .. }) && !error.is_transient());
    assert_eq!(server.requests().len(), 6);
}

/// Check that a redirect is followed.
#[test]
fn redirect() {
    let bytes = body(1000);
    let file = Arc::clone(&bytes);
    let server = Server::new(move |request| {
        if request.path == "/file" {
            Answer {
                status: Some("302 Found"),
                headers: vec!["Location: /elsewhere".into()],
                ..Answer::default()
            }
        } else {
            Answer { body: Arc::clone(&file), ..Answer::default() }
        }
    });
    assert_eq!(download(&server).unwrap(), *bytes);
}

/// Check that a silent server, and one that refuses connections, end in an error that says so.
#[test]
fn silence() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().unwrap();
    let options = Options {
        idle_timeout: Duration::from_millis(50),
        attempts: 2,
        first_pause: Duration::from_millis(1),
        ..Options::default()
    };
    let client = Client::new(runtime.handle().clone(), options).unwrap();
    let server = Server::new(|_| Answer { silent: true, ..Answer::default() });
    let error = client.open(&Url::parse(&server.url("/file")).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Transport { attempts: 2, .. }), "{error:?}");

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = client.open(&Url::parse(&format!("http://127.0.0.1:{port}/file")).unwrap()).unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
}

/// Check that dropping a download stops the server long before the end of the file.
#[test]
fn early_stop() {
    let length = 64 << 20;
    let server = Server::of(vec![7; length]);
    let (_runtime, client) = client();
    let mut download = client.open(&Url::parse(&server.url("/file")).unwrap()).unwrap();
    assert_eq!(download.len(), Some(length as u64));
    download.read_exact(&mut [0; 1 << 20]).unwrap();
    drop(download);
    server.wait();
    let sent = server.sent();
    assert!(sent < length as u64 / 2, "{sent} of {length} bytes sent");
    assert!(client.fetched() >= 1 << 20 && client.fetched() <= sent + (16 << 10), "{}", client.fetched());
}

/// Check that a small file is read into memory up to its limit and not beyond, told or untold.
#[test]
fn bytes_limit() {
    for hide_length in [false, true] {
        let server = Server::new(move |_| Answer { body: body(5000), hide_length, ..Answer::default() });
        let (runtime, client) = client();
        let url = Url::parse(&server.url("/Packages.xz")).unwrap();
        assert_eq!(runtime.block_on(client.bytes(&url, 5000)).unwrap(), *body(5000));
        let error = runtime.block_on(client.bytes(&url, 4999)).unwrap_err();
        assert!(matches!(error, Error::TooLong { limit: 4999, .. }), "{error:?}");
    }
}

/// Check that other schemes than http, https and file are refused.
#[test]
fn schemes() {
    let (_runtime, client) = client();
    for url in ["gopher://127.0.0.1/x", "ftp://127.0.0.1/x"] {
        assert!(matches!(client.open(&Url::parse(url).unwrap()).unwrap_err(), Error::Scheme { .. }));
    }
}

/// Check that a file URL reads a local file, and that what is no regular file is an error and not a wait.
#[test]
fn local_files() {
    let (runtime, client) = client();
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = (dir.path().join("a b.deb"), body(700_000));
    std::fs::write(&path, &*bytes).unwrap();
    let url = Url::from_file_path(&path).unwrap();
    let mut read = Vec::new();
    let mut download = client.open(&url).unwrap();
    assert_eq!(download.len(), Some(700_000));
    download.read_to_end(&mut read).unwrap();
    assert_eq!(read, *bytes);
    let ranges = client.ranges(&url);
    assert_eq!(ranges.len_blocking().unwrap(), 700_000);
    assert_eq!(ranges.read_blocking(5..300_005).unwrap(), bytes[5..300_005]);
    assert_eq!(runtime.block_on(ranges.tail(10)).unwrap(), (699_990, bytes[699_990..].to_vec()));
    std::fs::write(&path, b"shorter").unwrap();
    assert!(matches!(ranges.read_blocking(0..5).unwrap_err(), Error::Changed { .. }));

    let missing = Url::from_file_path(dir.path().join("missing")).unwrap();
    assert!(client.open(&missing).unwrap_err().is_not_found());
    let folder = Url::from_file_path(dir.path()).unwrap();
    assert!(matches!(client.open(&folder).unwrap_err(), Error::File { .. }));
}

/// Check that a server which asks to be left alone for longer than we wait is not asked again, that the error says for how long,
/// and that a date will do as well.
#[test]
fn left_alone() {
    for header in ["Retry-After: 3600".to_owned(), format!("Retry-After: {}", in_an_hour())] {
        let server = Server::new(move |_| Answer {
            status: Some("429 Too Many Requests"),
            headers: vec![header.clone()],
            ..Answer::default()
        });
        let error = download(&server).unwrap_err();
        let asked = error.retry_after().unwrap().as_secs();
        assert!((3500..=3600).contains(&asked) && error.is_transient(), "{error:?}");
        assert!(error.to_string().contains("to be asked again in"), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

fn in_an_hour() -> String {
    httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(3600))
}

/// Check that a server that only drips is given up, although it is never silent, and that nobody waits for all of it.
#[test]
fn slow_drip() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().unwrap();
    let options = Options {
        slowest_rate: 1 << 20,
        slow_window: Duration::from_millis(100),
        attempts: 2,
        first_pause: Duration::from_millis(1),
        ..Options::default()
    };
    let client = Client::new(runtime.handle().clone(), options).unwrap();
    let server = Server::new(|_| Answer {
        body: body(1 << 20),
        headers: vec!["ETag: \"one\"".into()],
        drip: Some((10, Duration::from_millis(10))),
        ..Answer::default()
    });
    let url = Url::parse(&server.url("/file")).unwrap();
    let error = runtime.block_on(client.bytes(&url, 1 << 20)).unwrap_err();
    assert!(matches!(error, Error::TooSlow { rate: 1048576, .. }) && error.is_transient(), "{error:?}");
    assert_eq!(server.requests().len(), 2);
    let error = runtime.block_on(client.ranges(&url).read(0..1 << 19)).unwrap_err();
    assert!(matches!(error, Error::TooSlow { .. }), "{error:?}");
}

/// Check that a server which sends a little and then cuts, each time, does not keep us for ever.
#[test]
fn cuts_without_end() {
    let server = Server::new(|_| Answer {
        body: body(100_000),
        headers: vec!["ETag: \"one\"".into()],
        cut_after: Some(10),
        ..Answer::default()
    });
    let error = download(&server).unwrap_err();
    assert!(matches!(error, Error::Transport { attempts: 4, .. }), "{error:?}");
    assert_eq!(server.requests().len(), 4);
}

/// Check that the time for one file ends, whatever the server does with it.
#[test]
fn deadline() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().unwrap();
    let options = Options { total_timeout: Duration::from_millis(80), ..Options::default() };
    let client = Client::new(runtime.handle().clone(), options).unwrap();
    let drip = Server::new(|_| Answer {
        body: body(1 << 20),
        drip: Some((1000, Duration::from_millis(5))),
        ..Answer::default()
    });
    let silent = Server::new(|_| Answer { silent: true, ..Answer::default() });
    for server in [&drip, &silent] {
        let url = Url::parse(&server.url("/file")).unwrap();
        for error in [
            runtime.block_on(client.bytes(&url, 1 << 20)).unwrap_err(),
            runtime.block_on(client.ranges(&url).read(0..1 << 20)).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Deadline { .. }) && error.is_transient(), "{error:?}");
        }
    }
}

/// Check that no more requests are at one server at once than allowed, that a broken one gives its place back, and that
/// bandwidth stays below its limit.
#[test]
fn limits() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().unwrap();
    let options = Options {
        connections_per_host: 1,
        first_pause: Duration::from_millis(1),
        bandwidth: Some(2_000_000),
        ..Options::default()
    };
    let client = Client::new(runtime.handle().clone(), options).unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (at_once, highest) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::new(move |request| {
        highest.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        at_once.fetch_sub(1, Ordering::SeqCst);
        Answer {
            body: body(100_000),
            cut_after: (request.number == 1).then_some(50_000),
            ..Answer::default()
        }
    });
    let url = Url::parse(&server.url("/file")).unwrap();
    let begun = std::time::Instant::now();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            runtime.spawn(async move { client.bytes(&url, 100_000).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert_eq!(runtime.block_on(task).unwrap(), *body(100_000));
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}: 400 kB at 2 MB/s", begun.elapsed());
    assert_eq!((client.requests(), client.fetched()), (5, 400_000));
}

/// Check that who asks for some of a file gets no more than that until it reads on, that a part is resumed where it broke, that all of it is right
/// in the end, and that a server without ranges, or without anything, does no harm.
#[test]
fn some_first() {
    const FIRST: usize = 1 << 20;
    let file = body(6_000_000);
    let ranges = |server: &Server| -> Vec<String> {
        let range = |line: &String| line.strip_prefix("range: ").map(str::to_owned);
        server
            .requests()
            .iter()
            .map(|request| request.headers.iter().find_map(range).unwrap_or_default())
            .collect()
    };
    let open = |server: &Server| {
        let (runtime, client) = client();
        let download = client.open_some(&Url::parse(&server.url("/file")).unwrap(), FIRST as u64).unwrap();
        (runtime, download)
    };

    let server = Server::of(file.to_vec());
    let (_runtime, mut download) = open(&server);
    assert_eq!(download.len(), Some(6_000_000));
    let mut bytes = vec![0; FIRST];
    download.read_exact(&mut bytes).unwrap();
    server.wait();
    assert_eq!((ranges(&server), server.sent()), (vec!["bytes=0-1048575".to_owned()], FIRST as u64));
    download.read_to_end(&mut bytes).unwrap();
    assert!(bytes == *file);
    assert_eq!(ranges(&server)[1..], ["bytes=1048576-3145727", "bytes=3145728-5242879", "bytes=5242880-"]);
    assert_eq!((server.sent(), download.parts().load(Ordering::Relaxed)), (6_000_000, 4));

    let whole = |answer: Answer| {
        let server = Server::new(move |_| answer.clone());
        let (_runtime, mut download) = open(&server);
        let mut bytes = Vec::new();
        download.read_to_end(&mut bytes).map(|_| (bytes, ranges(&server)))
    };
    let answer = |file: &Arc<Vec<u8>>| Answer { body: Arc::clone(file), ..Answer::default() };
    let (bytes, asked) = whole(Answer { cut_after: Some(700_000), ..answer(&file) }).unwrap();
    assert!(bytes == *file);
    assert_eq!(asked[..3], ["bytes=0-1048575", "bytes=700000-1048575", "bytes=1048576-3145727"]);
    let (bytes, asked) = whole(Answer { ignore_range: true, ..answer(&file) }).unwrap();
    assert!(bytes == *file && asked.len() == 1);
    let (bytes, asked) = whole(answer(&body(FIRST))).unwrap();
    assert!(bytes.len() == FIRST && asked.len() == 1, "{asked:?}");
    let (bytes, _) = whole(answer(&body(10))).unwrap();
    assert_eq!(bytes.len(), 10);
    let (bytes, _) = whole(answer(&body(0))).unwrap();
    assert_eq!(bytes.len(), 0);
}
