//! The cache: what is kept, what is believed, and who may download.

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use btf_loader::{Digest, Identity, Kernel, Loader, Place};
use support::{BUILD_ID, Host, KEY, OTHER_BUILD_ID, Stub, answer, btf_answer, kernel_btf, reasons};

/// A host that has downloaded its BTF by build-id, and the path of the blob.
fn filled(raw: &[u8]) -> (Host, std::path::PathBuf) {
    let host = Host::new();
    let stub = Stub::always(btf_answer(raw, &[("btf-key", KEY)]));
    let path = host.loader(&[stub.url()]).get().unwrap().path().unwrap().to_owned();
    (host, path)
}

/// Check that a download is found again without an archive, and where it lies.
#[test]
fn kept() {
    let raw = kernel_btf(16);
    let (host, path) = filled(&raw);
    let found = host.loader(&[]).get().unwrap();
    assert_eq!((found.btf(), found.identity()), (&*raw, Identity::Exact));
    assert_eq!(found.place(), &Place::Cache { path: host.cache() });
    assert_eq!(found.path(), Some(&*path));
    assert_eq!(found.key().unwrap().to_string(), KEY);
    let hex = Digest::of(&raw).to_string();
    let expected =
        [format!("blobs/sha256/{}/{hex}.btf", &hex[..2]), format!("kernels/build-id/{BUILD_ID}.json")];
    assert_eq!(host.cached(), expected);
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o444, 0o444, "everyone may read it");
}

/// Check that a download by name is kept for this kernel alone: under the same name another kernel may be booted.
#[test]
fn kept_by_name() {
    let host = Host::new();
    let raw = kernel_btf(16);
    let answers = raw.clone();
    let stub = Stub::new(move |path, stream| {
        let bytes = if path.starts_with("/v1/lookup") {
            answer("200 OK", &[], format!(r#"{{"kernel":{{"key":"{KEY}"}},"match":"key"}}"#).as_bytes())
        } else if path.contains("by-build-id") {
            answer("404 Not Found", &[], br#"{"nearest":[]}"#)
        } else {
            btf_answer(&answers, &[])
        };
        let _ = stream.write_all(&bytes);
    });
    let found = host.loader(&[stub.url()]).get().unwrap();
    assert_eq!(found.identity(), Identity::ByName);
    assert_eq!(
        stub.requests(),
        [
            format!("/v1/btf/by-build-id/{BUILD_ID}"),
            "/v1/lookup?release=5.10.0-30-amd64&arch=x86_64&os_id=debian&os_version=11".to_owned(),
            format!("/v1/btf/{KEY}"),
        ]
    );
    let again = host.loader(&[]).get().unwrap();
    assert_eq!((again.btf(), again.identity()), (&*raw, Identity::ByName));
    let mut settings = host.settings(&[]);
    settings.exact_only = true;
    assert_eq!(reasons(&Loader::new(settings).get().unwrap_err()), ["not-exact"]);

    host.write("sys/kernel/notes", &support::note(OTHER_BUILD_ID));
    assert_eq!(reasons(&host.loader(&[]).get().unwrap_err()), [] as [&str; 0]);
}

/// Check that a kernel fetched by key before it is booted is found by its build-id after.
#[test]
fn kept_for_the_next_boot() {
    let host = Host::new();
    let stub = Stub::always(btf_answer(&kernel_btf(16), &[("btf-key", KEY), ("btf-build-id", BUILD_ID)]));
    host.loader(&[stub.url()]).find(&Kernel::with_key(KEY.parse().unwrap())).unwrap();
    let found = host.loader(&[]).get().unwrap();
    assert_eq!((found.btf(), found.identity()), (&*kernel_btf(16), Identity::Exact));
    assert_eq!(host.loader(&[]).find(&Kernel::with_key(KEY.parse().unwrap())).unwrap().btf(), kernel_btf(16));
}

/// Check that every kind of damage is noticed, told, and repaired by the next download.
#[test]
fn damaged() {
    let raw = kernel_btf(16);
    type Damage = fn(&Host, &std::path::Path);
    let damage: [(&str, Damage); 6] = [
        ("a changed byte", |_, blob| {
            let mut bytes = fs::read(blob).unwrap();
            bytes[30] ^= 1;
            fs::write(blob, bytes).unwrap();
        }),
        ("an empty blob", |_, blob| fs::write(blob, b"").unwrap()),
        ("no blob", |_, blob| fs::remove_file(blob).unwrap()),
        ("a record cut short", |host, _| fs::write(record(host), b"{\"format\":2,").unwrap()),
        ("a newer record", |host, _| edit(host, "\"format\":2", "\"format\":3")),
        ("another kernel's record", |host, _| edit(host, BUILD_ID, OTHER_BUILD_ID)),
    ];
    for (what, damage) in damage {
        let (host, blob) = filled(&raw);
        damage(&host, &blob);
        assert_eq!(reasons(&host.loader(&[]).get().unwrap_err()), ["cache-damaged"], "{what}");
        let stub = Stub::always(btf_answer(&raw, &[]));
        let found = host.loader(&[stub.url()]).get().unwrap();
        assert_eq!(
            (found.btf(), found.attempts().last().unwrap().reason.name()),
            (&*raw, "cache-damaged"),
            "{what}"
        );
        assert_eq!(host.loader(&[]).get().unwrap().btf(), raw, "{what}");
    }
}

fn record(host: &Host) -> std::path::PathBuf {
    host.cache().join(format!("kernels/build-id/{BUILD_ID}.json"))
}

fn edit(host: &Host, from: &str, to: &str) {
    let text = fs::read_to_string(record(host)).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(record(host), text.replace(from, to)).unwrap();
}

/// Check that several processes that want the same download it once.
#[test]
fn one_download_at_a_time() {
    let host = Host::new();
    let stub = Stub::new(|_, stream| {
        std::thread::sleep(Duration::from_millis(200));
        let _ = stream.write_all(&btf_answer(&kernel_btf(16), &[]));
    });
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_btf-fetch"))
            .args(["get", "--url", stub.url(), "--quiet", "--root"])
            .arg(host.root())
            .arg("--cache")
            .arg(host.cache())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let processes: Vec<_> = (0..6).map(|_| start()).collect();
    let outputs: Vec<_> = processes.into_iter().map(|process| process.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success());
        assert_eq!(output.stdout, outputs[0].stdout);
    }
    assert_eq!(stub.requests().len(), 1);
}

/// Check that who waits for another's download gives up in the end.
#[test]
fn lock_held() {
    let host = Host::new();
    fs::create_dir_all(host.cache()).unwrap();
    let lock = fs::File::create(host.cache().join("download.lock")).unwrap();
    lock.lock().unwrap();
    let stub = Stub::always(btf_answer(&kernel_btf(16), &[]));
    let mut settings = host.settings(&[stub.url()]);
    settings.timeout = Duration::from_millis(100);
    assert_eq!(reasons(&Loader::new(settings).get().unwrap_err()), ["busy"]);
    assert_eq!(stub.requests(), [] as [String; 0]);
    drop(lock);
    host.loader(&[stub.url()]).get().unwrap();
}

/// Check that a cache which cannot be written costs the caching and no more.
#[test]
fn unwritable() {
    let host = Host::new();
    fs::write(host.cache(), b"a file where the directory should be").unwrap();
    let stub = Stub::always(btf_answer(&kernel_btf(16), &[]));
    let loader = host.loader(&[stub.url()]);
    let found = loader.get().unwrap();
    assert_eq!((found.btf(), found.path()), (&*kernel_btf(16), None));
    assert!(found.cache_error().is_some());
    assert!(loader.raw_file(&found).is_err());

    let mut settings = host.settings(&[stub.url()]);
    settings.cache = None;
    let loader = Loader::new(settings);
    let found = loader.get().unwrap();
    assert_eq!((found.btf(), found.path()), (&*kernel_btf(16), None));
    assert!(found.cache_error().is_none());
    assert!(loader.raw_file(&found).unwrap_err().to_string().contains("BTF_ARCHIVE_CACHE_PATH"));
}
