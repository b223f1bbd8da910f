//! Time and memory: misses, deadlines, attempts, the cache's size, and who is told.

mod support;

use std::fs;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use btf_loader::{BuildId, Digest, Kernel, Loader, Reason};
use support::{BUILD_ID, Host, KEY, Stub, answer, btf_answer, kernel_btf, reasons};

const MISSING: &[u8] = br#"{"nearest":[{"key":"debian/11/x86_64/5.10.0-29-amd64"}]}"#;

/// Check that an archive that does not have a kernel is not asked again for a while, says the same, and is asked when the
/// time is over or when nothing is to be remembered.
#[test]
fn misses_are_remembered() {
    let host = Host::new();
    let stub = Stub::always(answer("404 Not Found", &[], MISSING));
    let first = host.loader(&[stub.url()]).get().unwrap_err();
    let asked = stub.requests().len();
    let second = host.loader(&[stub.url()]).get().unwrap_err();
    assert_eq!(stub.requests().len(), asked, "not asked again");
    assert_eq!((reasons(&first), reasons(&second)), (vec!["not-in-archive"], vec!["not-in-archive"]));
    let btf_loader::Error::NoBtf(none) = &second else { panic!("{second}") };
    let Reason::NotInArchive { nearest, remembered: true } = &none.attempts.last().unwrap().reason else {
        panic!("{none}")
    };
    assert_eq!(nearest[0].key.to_string(), support::OLDER);
    assert!(second.to_string().contains("as it said a while ago"), "{second}");

    // Another kernel is another question.
    host.loader(&[stub.url()]).find(&Kernel::with_key(KEY.parse().unwrap())).unwrap_err();
    assert!(stub.requests().len() > asked);

    let before = stub.requests().len();
    let mut settings = host.settings(&[stub.url()]);
    settings.miss_lifetime = Duration::ZERO;
    Loader::new(settings).get().unwrap_err();
    assert!(stub.requests().len() > before, "nothing is to be remembered");

    // As if it had been asked eleven minutes ago, or were to be asked in the future.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for asked in [now - 660, now + 3600] {
        let before = stub.requests().len();
        for path in host.cached().iter().filter(|path| path.starts_with("misses/")) {
            let path = host.cache().join(path);
            let mut miss: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            miss["asked"] = asked.into();
            fs::write(&path, miss.to_string()).unwrap();
        }
        host.loader(&[stub.url()]).get().unwrap_err();
        assert!(stub.requests().len() > before, "{asked}");
    }
}

/// Check that neither failures nor damage are remembered as misses.
#[test]
fn failures_are_not_misses() {
    for answered in
        [answer("503 Service Unavailable", &[("retry-after", "9")], b""), btf_answer(b"no BTF", &[])]
    {
        let host = Host::new();
        let stub = Stub::always(answered);
        host.loader(&[stub.url()]).get().unwrap_err();
        let asked = stub.requests().len();
        host.loader(&[stub.url()]).get().unwrap_err();
        assert_eq!(stub.requests().len(), 2 * asked);
    }
}

/// Check that a request that failed for a passing reason is made again, and one that was answered is not.
#[test]
fn passing_failures_are_tried_again() {
    let raw = kernel_btf(16);
    let answered = btf_answer(&raw, &[]);
    let count = Mutex::new(0);
    let stub = Stub::new(move |_, stream| {
        let mut count = count.lock().unwrap();
        *count += 1;
        let bytes = match *count {
            1 => answer("503 Service Unavailable", &[("retry-after", "0")], b""),
            2 => return, // the connection is cut
            _ => answered.clone(),
        };
        let _ = stream.write_all(&bytes);
    });
    let host = Host::new();
    assert_eq!(host.loader(&[stub.url()]).get().unwrap().btf(), raw);
    assert_eq!(stub.requests().len(), 3);

    let mut settings = host.settings(&[]);
    let refusing = Stub::always(answer("503 Service Unavailable", &[("retry-after", "0")], b""));
    settings.urls = vec![refusing.url().parse().unwrap()];
    settings.retries = 1;
    settings.cache = None;
    assert_eq!(reasons(&Loader::new(settings).get().unwrap_err()), ["unreachable"]);
    assert_eq!(refusing.requests().len(), 2);
}

/// Check that all archives together get no more time than they are given.
#[test]
fn deadline_for_all() {
    let slow = || Stub::new(|_, _| std::thread::sleep(Duration::from_secs(60)));
    let stubs = [slow(), slow(), slow()];
    let urls: Vec<&str> = stubs.iter().map(Stub::url).collect();
    let mut settings = Host::new().settings(&urls);
    settings.max_time = Duration::from_millis(300);
    let start = Instant::now();
    let error = Loader::new(settings).get().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(20), "each alone would take 30 s");
    assert_eq!(reasons(&error), ["timed-out"; 3]);
    assert_eq!(stubs[2].requests().len(), 0, "there was no time left to ask the third");
}

/// Check that the cache keeps no more than it may, forgets what was not used for longest, and leaves no trace of that.
#[test]
fn cache_is_bounded() {
    let host = Host::new();
    let kernels: Vec<(BuildId, Vec<u8>)> = (0..4u32)
        .map(|number| (format!("{number:040x}").parse().unwrap(), kernel_btf(100 + number)))
        .collect();
    let size = kernels[0].1.len() as u64;
    let fetch = |number: usize, cache_size| {
        let (build_id, raw) = &kernels[number];
        let stub = Stub::always(btf_answer(raw, &[]));
        let mut settings = host.settings(&[stub.url()]);
        settings.cache_size = cache_size;
        Loader::new(settings).find(&Kernel::with_build_id(*build_id)).unwrap();
        let hex = Digest::of(raw).to_string();
        host.cache().join(format!("blobs/sha256/{}/{hex}.btf", &hex[..2]))
    };
    let hour = Duration::from_secs(3600);
    for number in 0..3 {
        let path = fetch(number, 3 * size + 100);
        let used = std::time::SystemTime::now() - hour * (10 - number as u32);
        fs::File::open(path).unwrap().set_modified(used).unwrap();
    }
    // The first is used again: now it is the second that was not used for longest.
    let has = |number: usize| host.loader(&[]).find(&Kernel::with_build_id(kernels[number].0));
    has(0).unwrap();
    fetch(3, 3 * size + 100);
    assert_eq!(reasons(&has(1).unwrap_err()), [] as [&str; 0], "gone, and not told as damage");
    assert!([0, 2, 3].into_iter().all(|number| has(number).is_ok()));
    fetch(1, 1);
    assert_eq!(host.cached().len(), 2, "the newest stays, however small the cache");
}

/// Check that an observer is told of each place asked, with its outcome.
#[test]
fn observed() {
    let host = Host::new();
    let stub = Stub::always(btf_answer(&kernel_btf(16), &[]));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&seen);
    let loader = host.loader(&[stub.url()]).observed(move |asked| {
        events.lock().unwrap().push((asked.place.to_string(), asked.outcome.name()));
    });
    loader.get().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 10, "the kernel, seven files, the cache, the archive: {seen:?}");
    assert_eq!(seen.last().unwrap(), &(stub.url().to_owned(), "found"));
    assert!(seen[..9].iter().all(|(_, outcome)| *outcome == "absent"), "{seen:?}");
}

/// Check that a miss is forgotten when the archive has the kernel, and that it is found then.
#[test]
fn miss_then_there() {
    let host = Host::new();
    let there = Arc::new(Mutex::new(false));
    let answers = Arc::clone(&there);
    let stub = Stub::new(move |_, stream| {
        let bytes = if *answers.lock().unwrap() {
            btf_answer(&kernel_btf(16), &[("btf-build-id", BUILD_ID)])
        } else {
            answer("404 Not Found", &[], MISSING)
        };
        let _ = stream.write_all(&bytes);
    });
    let mut settings = host.settings(&[stub.url()]);
    Loader::new(settings.clone()).get().unwrap_err();
    *there.lock().unwrap() = true;
    settings.miss_lifetime = Duration::ZERO;
    Loader::new(settings).get().unwrap();
    assert!(!host.cached().iter().any(|path| path.starts_with("misses")), "{:?}", host.cached());
}
