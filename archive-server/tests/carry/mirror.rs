//! `mirror`: what it fetches, what it refuses, and what is left when it is interrupted.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use btf::build::Builder;
use btf::{Endian, Int, Kind, Member};
use btf_archive::store::Archive;
use btf_archive::{Digest, Form, ObjectPath};
use tempfile::TempDir;

use crate::harness::{Server, program};
use crate::upstream::Upstream;
use crate::{Original, add, btf_of, build_id, check_intact, json, keys, newest, objects, texts};

const A: &str = "debian/11/x86_64/5.10.0-1-amd64";
const B: &str = "debian/12/i386/6.1.0-1-686-pae";
const C: &str = "ubuntu/18.04/x86_64/4.15.0-1-generic";

/// Check that a mirror over a plain web server has its original's objects to the byte, knows its kernels, and that a second run fetches next to nothing.
#[tokio::test]
async fn mirror_of_a_web_server() {
    let original = Original::of(&[A, B, C]).await;
    let upstream = Upstream::over(original.path());
    let mirror = TempDir::new().unwrap();
    let arguments = ["--from", &upstream.url, "--root-key", &original.root()];
    let (code, report, stderr) = json("mirror", mirror.path(), &arguments);
    assert_eq!((code, stderr.as_str()), (0, ""), "{report}");
    assert_eq!((report["new"].as_bool(), report["intact"].as_bool()), (Some(true), Some(true)));
    assert_eq!((report["kernels"].as_u64(), report["blobs_fetched"].as_u64()), (Some(3), Some(6)));
    assert_eq!(objects(mirror.path()), objects(original.path()));
    check_intact(mirror.path());
    let archive = Archive::open(mirror.path()).await.unwrap();
    let kernel = archive.catalog().by_key(&B.parse().unwrap()).await.unwrap().unwrap();
    assert!(archive.blob(&kernel.digest).await.unwrap() == btf_of(B));
    archive.close().await;

    let sent = upstream.gate().sent.swap(0, Ordering::SeqCst);
    let (code, report, _) = json("mirror", mirror.path(), &arguments);
    assert_eq!((code, report["new"].as_bool(), report["blobs_fetched"].as_u64()), (0, Some(false), Some(0)));
    let again = upstream.gate().sent.load(Ordering::SeqCst);
    assert!(again < 10_000 && again < sent, "{again} after {sent}");

    // Our own service, and the directory itself, are upstreams as well.
    let place = TempDir::new().unwrap();
    std::fs::rename(original.path(), place.path().join("archive")).unwrap();
    let server = Server::start_over(place, &["--read-only"]);
    for from in [&server.url, server.archive().to_str().unwrap()] {
        let copy = TempDir::new().unwrap();
        let (code, _, stderr) =
            json("mirror", copy.path(), &["--from", from, "--root-key", &original.root()]);
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(objects(copy.path()), objects(&server.archive()));
    }
}

/// Check that one more kernel, where there are a thousand, costs less than 100 KB, counted on the wire, with all that HTTP adds.
#[tokio::test]
async fn mirror_one_new_kernel() {
    let many = keys("debian", 0..1000);
    let original = TempDir::new().unwrap();
    let archive = Archive::create(original.path()).await.unwrap();
    // Kernels that share a blob, so that the test is about the snapshot; it is as large as that of others.
    let first = btf_of(A);
    for key in &many {
        let draft = btf_archive::store::KernelDraft {
            key: key.parse().unwrap(),
            build_id: Some(build_id(key).parse().unwrap()),
            provenance: btf_archive::Provenance {
                package: Some("linux-image-amd64-dbg".into()),
                package_version: Some(key.clone()),
                url: Some(format!("http://packages.example/pool/main/l/linux/{key}.deb")),
                sha256: None,
                trust: btf_archive::Trust::SignedIndex,
                source: btf_archive::Source::Embedded,
                generator: "test 1".into(),
            },
            digest: None,
        };
        archive.add(draft, first.clone()).await.unwrap();
    }
    archive.publish().await.unwrap();
    let upstream = Upstream::over(original.path());
    let mirror = TempDir::new().unwrap();
    assert_eq!(json("mirror", mirror.path(), &["--from", &upstream.url]).0, 0);

    add(&archive, B).await;
    archive.publish().await.unwrap();
    let before = upstream.gate().sent.swap(0, Ordering::SeqCst);
    let (code, report, stderr) = json("mirror", mirror.path(), &["--from", &upstream.url]);
    assert_eq!((code, report["new"].as_bool()), (0, Some(true)), "{stderr}");
    let cost = upstream.gate().sent.load(Ordering::SeqCst);
    assert!(cost < 100_000, "{cost} bytes, after {before} for all");
    assert!(report["bytes_fetched"].as_u64().unwrap() <= cost);
    archive.close().await;
    check_intact(mirror.path());
}

/// Check that a selection holds the blobs of its kernels and the whole signed snapshot, stays in force without being given again, and that hosts
/// whose kernels upstream lacks are named.
#[tokio::test]
async fn mirror_selected() {
    let original = Original::of(&[A, B, C]).await;
    let mirror = TempDir::new().unwrap();
    let from = original.path().to_str().unwrap();
    let inventory = mirror.path().with_extension("inventory");
    let status = format!(
        "{{\"release\": \"5.10.0-1-amd64\", \"build_id\": \"{}\", \"keys\": [\"{A}\"]}}\n9.9.9-nowhere\n",
        build_id(A)
    );
    std::fs::write(&inventory, status).unwrap();
    let fleet = ["--from", from, "--select", "distro=debian", "--inventory", inventory.to_str().unwrap()];
    let (code, report, stderr) = json("mirror", mirror.path(), &fleet);
    std::fs::remove_file(&inventory).unwrap();
    assert_eq!(
        (code, report["selected"].as_u64(), report["kernels"].as_u64()),
        (0, Some(1), Some(3)),
        "{stderr}"
    );
    assert_eq!(report["lacking"], serde_json::json!(["9.9.9-nowhere"]));
    assert!(stderr.contains("9.9.9-nowhere") && stderr.contains("--root-key"), "{stderr}");
    let blobs = |archive: &Path| objects(archive).keys().filter(|path| path.starts_with("blobs")).count();
    assert_eq!(blobs(mirror.path()), 2, "BTF and configuration of one kernel");
    check_intact(mirror.path());

    original.grow(&["debian/12/i386/6.1.0-2-686-pae"]).await;
    let (code, report, _) = json("mirror", mirror.path(), &["--from", from]);
    assert_eq!((code, report["selected"].as_u64(), report["kernels"].as_u64()), (0, Some(1), Some(4)));
    let wider = ["--from", from, "--select", "release>=5", "--without-configs"];
    let (code, report, _) = json("mirror", mirror.path(), &wider);
    assert_eq!((code, report["selected"].as_u64(), report["new"].as_bool()), (0, Some(3), Some(false)));
    assert_eq!(blobs(mirror.path()), 4);
    check_intact(mirror.path());
    std::fs::remove_file(
        mirror.path().join(ObjectPath::Blob(Digest::of(&btf_of(B)), form(mirror.path(), B)).to_string()),
    )
    .unwrap();
    let (code, _, stderr) = json("verify", mirror.path(), &[]);
    assert_eq!(code, 4, "what is selected may not be missing");
    assert!(stderr.contains(B) && !stderr.contains(C), "{stderr}");
    let (code, _, stderr) = json("mirror", mirror.path(), &["--from", from, "--select", "release>4.*"]);
    assert_eq!(code, 2, "{stderr}");
}

/// The form in which a kernel's BTF lies in an archive.
fn form(archive: &Path, key: &str) -> Form {
    let whole = ObjectPath::Blob(Digest::of(&btf_of(key)), Form::Whole);
    if archive.join(whole.to_string()).is_file() { Form::Whole } else { Form::Delta }
}

/// Check that passing failures are waited out, and that what one upstream lacks, cuts or has spoilt comes from another.
#[tokio::test]
async fn mirror_with_fallback() {
    let original = Original::of(&[A, B, C]).await;
    let spoilt = TempDir::new().unwrap();
    for path in objects(original.path()).into_keys() {
        let mut bytes = std::fs::read(original.path().join(&path)).unwrap();
        let path = spoilt.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.extension().is_some_and(|extension| extension == "delta")
            || path.to_str().unwrap().contains("parts")
        {
            *bytes.last_mut().unwrap() ^= 1;
        }
        std::fs::write(path, bytes).unwrap();
    }
    let lost =
        spoilt.path().join(ObjectPath::Blob(Digest::of(&btf_of(A)), form(original.path(), A)).to_string());
    std::fs::remove_file(lost).unwrap();
    let (first, second) = (Upstream::over(spoilt.path()), Upstream::over(original.path()));
    first.gate().unavailable.store(3, Ordering::SeqCst);
    let root = original.root();
    let alone = TempDir::new().unwrap();
    let (code, _, stderr) = json("mirror", alone.path(), &["--from", &first.url, "--root-key", &root]);
    assert_eq!(code, 4, "spoilt, and nothing else to ask: {stderr}");
    assert_eq!(newest(alone.path()), None);

    let mirror = TempDir::new().unwrap();
    let both = format!("{},{}", first.url, second.url);
    first.gate().unavailable.store(3, Ordering::SeqCst);
    let (code, report, stderr) = json("mirror", mirror.path(), &["--from", &both, "--root-key", &root]);
    assert_eq!((code, report["intact"].as_bool()), (0, Some(true)), "{stderr}");
    assert_eq!(objects(mirror.path()), objects(original.path()));

    // Without the second, a mirror that is started anew is not intact, says what is missing, and is no archive yet.
    for path in objects(original.path()).keys().filter(|path| path.to_str().unwrap().contains("parts")) {
        std::fs::copy(original.path().join(path), spoilt.path().join(path)).unwrap();
    }
    let partly = TempDir::new().unwrap();
    let (code, report, stderr) = json("mirror", partly.path(), &["--from", &first.url, "--root-key", &root]);
    assert_eq!((code, report["intact"].as_bool()), (5, Some(false)), "{stderr}");
    assert!(stderr.contains(A), "{stderr}");
    assert_eq!(newest(partly.path()), None);
    assert_eq!(json("mirror", partly.path(), &["--from", &second.url, "--root-key", &root]).0, 0);
    check_intact(partly.path());
}

/// BTF that does not compress to next to nothing.
fn large_btf() -> Vec<u8> {
    let mut builder = Builder::new();
    let int = builder.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 });
    for number in 0..8_000_u32 {
        let name = format!("s_{}", &Digest::of(&number.to_le_bytes()).to_string()[..40]);
        let member = builder.string(format!("{name}_m").as_bytes());
        let member = Member { name: member, ty: int, bit_offset: 0, bit_width: 0 };
        builder.composite(Kind::Struct, name.as_bytes(), 4, &[member]).unwrap();
    }
    let pid = builder.string(b"pid");
    let pid = Member { name: pid, ty: int, bit_offset: 0, bit_width: 0 };
    builder.composite(Kind::Struct, b"task_struct", 4, &[pid]).unwrap();
    builder.finish(Endian::Little).unwrap()
}

/// Check that a large object that is cut again and again is resumed at the byte, so that hardly any byte comes twice, and that a run that gave up is
/// gone on with by the next.
#[tokio::test]
async fn mirror_resumes() {
    let original = TempDir::new().unwrap();
    let archive = Archive::create(original.path()).await.unwrap();
    let provenance = btf_archive::Provenance {
        package: None,
        package_version: None,
        url: None,
        sha256: None,
        trust: btf_archive::Trust::None,
        source: btf_archive::Source::Upload,
        generator: "test 1".into(),
    };
    let draft =
        btf_archive::store::KernelDraft { key: A.parse().unwrap(), build_id: None, provenance, digest: None };
    let size = archive.add(draft, large_btf()).await.unwrap().record().zst_size;
    archive.publish().await.unwrap();
    archive.close().await;
    assert!(size > 100_000, "{size}");
    let upstream = Upstream::over(original.path());
    // Five attempts would be needed, four are made.
    upstream.gate().cut.store(size / 5 + 100, Ordering::SeqCst);
    let mirror = TempDir::new().unwrap();
    let (code, report, stderr) = json("mirror", mirror.path(), &["--from", &upstream.url]);
    assert_eq!((code, report["intact"].as_bool()), (5, Some(false)), "{stderr}");
    let (code, report, stderr) = json("mirror", mirror.path(), &["--from", &upstream.url]);
    assert_eq!((code, report["intact"].as_bool()), (0, Some(true)), "{stderr}");
    assert!(report["bytes_resumed"].as_u64().unwrap() > size / 2, "{report}");
    let ranges = upstream.gate().requests.lock().unwrap();
    let ranges = ranges.iter().filter(|head| {
        head.to_lowercase().contains("range: bytes=") && head.to_lowercase().contains("if-range:")
    });
    assert!(ranges.count() >= 4);
    let sent = upstream.gate().sent.load(Ordering::SeqCst);
    assert!(sent < size + 60_000, "{sent} bytes for an object of {size}");
    check_intact(mirror.path());
    let left = std::fs::read_dir(mirror.path().join("mirror.partial")).unwrap().count();
    assert_eq!(left, 1, "the lock, and nothing half fetched");
}

/// Check that another root, an older snapshot and another archive's snapshot are refused, and that the root is remembered.
#[tokio::test]
async fn mirror_refuses() {
    let original = Original::of(&[A]).await;
    let other = Original::of(&[A, B]).await;
    let mirror = TempDir::new().unwrap();
    let from = original.path().to_str().unwrap();
    let (code, _, stderr) = json("mirror", mirror.path(), &["--from", from, "--root-key", &other.root()]);
    assert_eq!((code, newest(mirror.path())), (4, None), "{stderr}");
    let old = objects(original.path()).into_keys();
    let old: Vec<_> =
        old.map(|path| (path.clone(), std::fs::read(original.path().join(path)).unwrap())).collect();
    original.grow(&[C]).await;
    assert_eq!(json("mirror", mirror.path(), &["--from", from, "--root-key", &original.root()]).0, 0);
    // The root is pinned now, without being named again.
    let (code, _, stderr) = json("mirror", mirror.path(), &["--from", other.path().to_str().unwrap()]);
    assert_eq!(code, 4, "{stderr}");
    let (code, _, stderr) = json("mirror", mirror.path(), &["--from", from, "--root-key", &other.root()]);
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("pinned"), "{stderr}");
    let back = TempDir::new().unwrap();
    for (path, bytes) in old {
        let path = back.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let back = back.path().to_str().unwrap();
    let (code, _, stderr) = json("mirror", mirror.path(), &["--from", back]);
    assert_eq!((code, newest(mirror.path())), (4, Some(2)), "{stderr}");
    // One that is stuck in the past is passed over for one that is not.
    let (code, report, stderr) = json("mirror", mirror.path(), &["--from", &format!("{back},{from}")]);
    assert_eq!((code, report["intact"].as_bool()), (0, Some(true)), "{stderr}");
    assert!(stderr.contains("passed over"), "{stderr}");
    assert_eq!(json("mirror", mirror.path(), &["--from", "/nonexistent/place"]).0, 1);
    assert_eq!(json("mirror", mirror.path(), &["--from", "ftp://host/x"]).0, 1);
    check_intact(mirror.path());
}

/// Check that only one run mirrors at a time, that a run that is killed at any moment leaves the snapshot it had, and that the next one goes on.
#[tokio::test]
async fn mirror_killed() {
    let many = keys("debian", 0..12);
    let original = Original::of(&texts(&many)).await;
    let upstream = Upstream::over(original.path());
    let mirror = TempDir::new().unwrap();
    let mut command = program();
    command.args([
        "mirror",
        "--bandwidth",
        "4K",
        "--from",
        &upstream.url,
        "--root-key",
        &original.root(),
        "--archive",
    ]);
    command.arg(mirror.path()).stdout(Stdio::null()).stderr(Stdio::null());
    for round in 0..6_u64 {
        let mut child = command.spawn().unwrap();
        let asked = upstream.gate().requests.lock().unwrap().len();
        // So that it is killed a little later each time, and is at work.
        while (upstream.gate().requests.lock().unwrap().len() as u64) < asked as u64 + 2 + 2 * round {
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(child.try_wait().unwrap(), None);
        }
        let (code, _, stderr) = json("mirror", mirror.path(), &["--from", &upstream.url]);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("another run"), "{stderr}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(newest(mirror.path()), None);
    }
    let (code, report, stderr) =
        json("mirror", mirror.path(), &["--from", &upstream.url, "--root-key", &original.root()]);
    assert_eq!((code, report["intact"].as_bool()), (0, Some(true)), "{stderr}");
    assert_eq!(objects(mirror.path()), objects(original.path()));
    let paths = upstream.paths();
    assert!(paths.iter().any(|path| path.starts_with("blobs")));
}
