//! Other tools' dialects, judged by the tools: debuginfod-find, and tar with xz for BTFHub's files.

use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::harness::{ALL, BOOKWORM, BULLSEYE, BULLSEYE_ARM, Server, btf_of, header, run, succeed};

fn debuginfod_find(server: &Server, cache: &Path, build_id: &str) -> Command {
    let mut command = Command::new("debuginfod-find");
    command
        .args(["section", build_id, ".BTF"])
        .env("DEBUGINFOD_URLS", &server.url)
        .env("DEBUGINFOD_CACHE_PATH", cache)
        .env_remove("DEBUGINFOD_PROGRESS")
        .env_remove("http_proxy");
    command
}

/// Check that Debian's debuginfod-find gets the section by build-id, and says so when there is none.
#[tokio::test]
async fn debuginfod() {
    let server = Server::start(ALL).await;
    let cache = TempDir::new().unwrap();
    let path = succeed(&mut debuginfod_find(&server, cache.path(), BOOKWORM.1.unwrap()));
    let path = String::from_utf8(path).unwrap();
    assert!(std::fs::read(path.trim()).unwrap() == btf_of(BOOKWORM), "other bytes");

    let unknown = run(&mut debuginfod_find(&server, cache.path(), "0123456789"));
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("No such file"), "{unknown:?}");
    let id = BOOKWORM.1.unwrap();
    server.problem(&format!("/buildid/{id}/section/.text"), StatusCode::NOT_FOUND).await;
    server.problem(&format!("/buildid/{id}/debuginfo"), StatusCode::NOT_FOUND).await;
    server.problem("/buildid/xyz/section/.BTF", StatusCode::BAD_REQUEST).await;
}

/// Check that tar unpacks BTFHub's form to one file of the right name, mode and bytes, under every spelling.
#[tokio::test]
async fn btfhub() {
    let server = Server::start(ALL).await;
    for (path, kernel) in [
        ("debian/bullseye/arm64/5.10.0-1-arm64", BULLSEYE_ARM),
        ("debian/11/aarch64/5.10.0-1-arm64", BULLSEYE_ARM),
        ("debian/11/i386/5.10.0-1-686-pae", BULLSEYE),
    ] {
        let url = format!("{}/{path}.btf.tar.xz", server.url);
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("btf.tar.xz");
        succeed(Command::new("curl").args(["-fsS", "-o"]).arg(&file).arg(&url));
        let release = path.rsplit('/').next().unwrap();
        let listed =
            succeed(Command::new("tar").args(["-tvJf"]).arg(&file).env("TZ", "UTC").env("LC_ALL", "C"));
        let size = btf_of(kernel).len();
        assert_eq!(
            String::from_utf8(listed).unwrap(),
            format!("-r--r--r-- root/root {size:>9} 1970-01-01 00:00 {release}.btf\n"),
        );
        let unpacked = succeed(Command::new("tar").args(["-xOJf"]).arg(&file));
        assert!(unpacked == btf_of(kernel), "{path}: other bytes");
    }
}

/// Check that the tar inside is, byte for byte, what BTFHub's own command writes.
#[tokio::test]
async fn btfhub_tar_is_gnu_tars() {
    let server = Server::start(&[BOOKWORM]).await;
    let directory = TempDir::new().unwrap();
    let release = BOOKWORM.0.rsplit('/').next().unwrap();
    std::fs::write(directory.path().join(format!("{release}.btf")), btf_of(BOOKWORM)).unwrap();
    let theirs = succeed(
        Command::new("tar")
            .args(["-c", "--sort=name", "--owner=root:0", "--group=root:0", "--mode=a=r", "--mtime=@0", "-C"])
            .arg(directory.path())
            .arg(format!("{release}.btf")),
    );
    let answer = server.get(&format!("/{}.btf.tar.xz", BOOKWORM.0)).await;
    assert_eq!(header(&answer, "content-type"), Some("application/x-xz"));
    assert_eq!(header(&answer, "btf-key"), Some(BOOKWORM.0));
    assert_eq!(header(&answer, "content-encoding"), None);
    let file = directory.path().join("ours.xz");
    std::fs::write(&file, answer.bytes().await.unwrap()).unwrap();
    assert!(succeed(Command::new("xz").arg("-dc").arg(&file)) == theirs, "another tar");
}

/// Check that repeated answers are the same bytes and the same entity tag, even from another run of the server.
#[tokio::test]
async fn btfhub_repeats() {
    let path = format!("/{}.btf.tar.xz", BOOKWORM.0);
    let fetch = async |server: &Server| {
        let answer = server.get(&path).await;
        let etag = header(&answer, "etag").unwrap().to_owned();
        (etag, answer.bytes().await.unwrap())
    };
    let server = Server::start(&[BOOKWORM]).await;
    let first = fetch(&server).await;
    assert!(fetch(&server).await == first);
    let server = Server::start_over(server.stop(), &[]);
    assert!(fetch(&server).await == first);
}

/// Check that an unknown kernel is 404 there too, and that other files are not there.
#[tokio::test]
async fn btfhub_unknown() {
    let server = Server::start(&[BULLSEYE]).await;
    let problem = server.problem("/debian/11/i386/5.10.0-2-686-pae.btf.tar.xz", StatusCode::NOT_FOUND).await;
    assert_eq!(problem["nearest"][0]["key"], BULLSEYE.0);
    for path in [
        "/debian/11/i386/5.10.0-1-686-pae",
        "/debian/11/i386/5.10.0-1-686-pae.btf",
        "/debian/11/i386/.btf.tar",
    ] {
        let problem = server.problem(path, StatusCode::NOT_FOUND).await;
        assert_eq!(problem["type"], "urn:btf-archive:problem:no-such-page");
    }
    server.problem("/debian/11/i386/.btf.tar.xz", StatusCode::BAD_REQUEST).await;
}
