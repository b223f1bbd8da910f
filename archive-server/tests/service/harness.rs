//! An archive of small kernels, a server on a free port, and what tests need to ask it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use btf::build::Builder;
use btf::{Endian, Int, Kind, Member};
use btf_archive::store::{Archive, KernelDraft};
use btf_archive::{Digest, KernelRecord, Provenance, Source, Trust};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

/// The running kernel's own BTF.
pub(crate) const OWN_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The program under test.
pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_btf-archive-server"))
}

/// Runs a tool that must be there, and says so if it is not.
pub(crate) fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().unwrap_or_else(|error| panic!("cannot run `{name}`, which this test needs: {error}"))
}

/// Runs a tool that must succeed; gives its stdout.
pub(crate) fn succeed(command: &mut Command) -> Vec<u8> {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output.stdout
}

/// BTF that passes for a small kernel's, different for each name.
pub(crate) fn small_btf(name: &str) -> Vec<u8> {
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let mut builder = Builder::new();
    let int = builder.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 });
    for number in 0..200 {
        let member = builder.string(format!("of_{name}_{number}").as_bytes());
        let member = Member { name: member, ty: int, bit_offset: 0, bit_width: 0 };
        builder.composite(Kind::Struct, format!("s_{number}").as_bytes(), 4, &[member]).unwrap();
    }
    let pid = builder.string(b"pid");
    let pid = Member { name: pid, ty: int, bit_offset: 0, bit_width: 0 };
    builder.composite(Kind::Struct, b"task_struct", 4, &[pid]).unwrap();
    builder.finish(Endian::Little).unwrap()
}

/// A kernel's key and build-id; its BTF is [`small_btf`] of the key.
pub(crate) type Small = (&'static str, Option<&'static str>);

pub(crate) const BOOKWORM: Small =
    ("debian/12/i386/6.1.0-1-686-pae", Some("b0010123456789abcdef0123456789abcdef0123"));
pub(crate) const BULLSEYE: Small =
    ("debian/11/i386/5.10.0-1-686-pae", Some("b1110123456789abcdef0123456789abcdef0123"));
pub(crate) const BULLSEYE_ARM: Small =
    ("debian/11/arm64/5.10.0-1-arm64", Some("b11a0123456789abcdef0123456789abcdef0123"));
pub(crate) const BIONIC: Small =
    ("ubuntu/18.04/x86_64/4.15.0-1-generic", Some("18040123456789abcdef0123456789abcdef0123"));
pub(crate) const XENIAL: Small =
    ("ubuntu/16.04/x86_64/4.15.0-1-generic", Some("16040123456789abcdef0123456789abcdef0123"));
pub(crate) const VENDOR: Small = ("vendor/1/x86_64/4.4.0-nobuildid", None);
pub(crate) const SLES: Small =
    ("sles/15.4/x86_64/5.14.21-150400.24.100.2-default", Some("515e0123456789abcdef0123456789abcdef0123"));

/// Every small kernel.
pub(crate) const ALL: &[Small] = &[BOOKWORM, BULLSEYE, BULLSEYE_ARM, BIONIC, XENIAL, VENDOR, SLES];

/// The raw BTF of a small kernel.
pub(crate) fn btf_of((key, _): Small) -> Vec<u8> {
    small_btf(key)
}

pub(crate) fn digest_of(kernel: Small) -> Digest {
    Digest::of(&btf_of(kernel))
}

/// Makes an archive of these kernels and publishes it.
pub(crate) async fn make_archive(directory: &Path, kernels: &[Small]) -> Archive {
    let archive = Archive::create(directory).await.unwrap();
    for (key, build_id) in kernels {
        let provenance = Provenance {
            package: Some("linux-image-dbg".into()),
            package_version: Some("1.2-3".into()),
            url: Some("http://packages.example/linux-image-dbg.deb".into()),
            sha256: None,
            trust: Trust::SignedIndex,
            source: Source::Dwarf,
            generator: "test 1".into(),
        };
        let build_id = build_id.map(|id| id.parse().unwrap());
        let draft = KernelDraft { key: key.parse().unwrap(), build_id, provenance, digest: None };
        archive.add(draft, small_btf(key)).await.unwrap();
    }
    archive.publish().await.unwrap();
    archive
}

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    pub(crate) client: Client,
    directory: TempDir,
}

impl Server {
    /// A server over a new archive of these kernels.
    pub(crate) async fn start(kernels: &[Small]) -> Server {
        let directory = TempDir::new().unwrap();
        drop(make_archive(&directory.path().join("archive"), kernels).await);
        Server::start_over(directory, &[])
    }

    /// A server over the archive in `archive/` of this directory.
    pub(crate) fn start_over(directory: TempDir, arguments: &[&str]) -> Server {
        let archive = directory.path().join("archive");
        Self::start_with(directory, program().arg("serve").arg("--archive").arg(archive).args(arguments))
    }

    /// This server, with its log in this directory.
    pub(crate) fn start_with(directory: TempDir, serve: &mut Command) -> Server {
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut child = serve
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").map(str::to_owned);
        let url = url.unwrap_or_else(|| panic!("stdout {line:?}, log {}", log_of(directory.path())));
        // Only fails when it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Server { child, url, client, directory }
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.directory.path().join("archive")
    }

    /// What the server wrote on stderr.
    pub(crate) fn log(&self) -> String {
        log_of(self.directory.path())
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = self.client.get(format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap()
    }

    /// A JSON answer with that status.
    pub(crate) async fn json(&self, path: &str, status: StatusCode) -> Value {
        let response = self.get(path).await;
        let found = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(found, status, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A problem document with that status, as it must look.
    pub(crate) async fn problem(&self, path: &str, status: StatusCode) -> Value {
        check_problem(self.get(path).await, status).await
    }

    /// Sends these bytes on a connection of their own, and gives everything that comes back.
    pub(crate) fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        // A server that refuses early may reset the connection; what came before counts.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The answer to a GET for exactly these bytes, without anybody tidying them.
    pub(crate) fn raw_get(&self, path: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").as_bytes())
    }

    pub(crate) fn signal(&self, name: &str) {
        succeed(Command::new("kill").args(["-s", name, &self.child.id().to_string()]));
    }

    /// Waits until the server has ended by itself; gives its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < Duration::from_secs(60), "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the server and gives its archive back.
    pub(crate) fn stop(mut self) -> TempDir {
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::mem::replace(&mut self.directory, TempDir::new().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_of(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("log")).unwrap_or_default()
}

/// Checks what every problem document has.
pub(crate) async fn check_problem(response: Response, status: StatusCode) -> Value {
    let path = response.url().path().to_owned();
    assert_eq!(response.status(), status, "{path}");
    assert_eq!(header(&response, "content-type"), Some("application/problem+json"));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert!(header(&response, "x-request-id").is_some());
    let problem: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["instance"], path);
    assert!(problem["type"].as_str().unwrap().starts_with("urn:btf-archive:problem:"), "{problem}");
    assert!(
        !problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty()
    );
    problem
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// Replaces what differs from run to run or from one zstd to the next.
pub(crate) fn stable(mut value: Value) -> Value {
    fn visit(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match name.as_str() {
                        "added" | "zst_size" | "first" | "last" => *value = "…".into(),
                        _ => visit(value),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(visit),
            _ => {}
        }
    }
    visit(&mut value);
    value
}

/// The records of a JSON list, as the library reads them.
pub(crate) fn records(value: &Value) -> Vec<KernelRecord> {
    serde_json::from_value(value.clone()).unwrap()
}
