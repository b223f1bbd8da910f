//! Archives at https:// addresses, served by openssl: whose certificates are believed, and that https stays https.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{BUILD_ID, Host, Stub, answer, btf_answer, kernel_btf};

/// An authority, a certificate of its for 127.0.0.1, and a server that has it and answers with the files of its
/// directory.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    /// Answers the request for the host's BTF with these bytes.
    fn new(dir: &Path, bytes: &[u8]) -> Self {
        let path = dir.join("v1/btf/by-build-id");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(BUILD_ID), bytes).unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        openssl(dir, &format!("req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.pem"));
        let leaf = "-subj /CN=archive -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE";
        openssl(
            dir,
            &format!("req -x509 {key} {leaf} -CA ca.pem -CAkey ca.key -keyout key.pem -out cert.pem"),
        );

        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem", "-HTTP"])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.to_owned()));
        // Nobody may fill the pipe.
        std::thread::spawn(move || lines.count());
        Self { process, url: format!("https://{}", address.expect("openssl s_server listens")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output();
    let output = output.unwrap_or_else(|error| panic!("openssl: {error} (the package openssl is needed)"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `btf-fetch get`, believing this authority.
fn command(host: &Host, authority: &Path) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_btf-fetch"));
    command.env_clear().env("SSL_CERT_FILE", authority);
    command.arg("get").arg("--root").arg(host.root()).arg("--cache").arg(host.cache());
    command
}

/// `btf-fetch get` from this address, believing this authority.
fn get(host: &Host, url: &str, authority: &Path) -> assert_cmd::assert::Assert {
    command(host, authority).args(["--url", url]).assert()
}

/// Check that an archive with a certificate of a known authority is asked, and one of an unknown authority is not
/// believed.
#[test]
fn authorities() {
    let host = Host::new();
    let dir = host.path("tls");
    let server = Server::new(&dir, &btf_answer(&kernel_btf(16), &[]));
    let stranger = host.path("stranger");
    fs::create_dir_all(&stranger).unwrap();
    openssl(
        &stranger,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -keyout k -out ca.pem",
    );

    let unknown = get(&host, &server.url, &stranger.join("ca.pem")).code(1);
    let said = String::from_utf8_lossy(&unknown.get_output().stderr).into_owned();
    assert!(said.contains("unreachable") && said.contains("UnknownIssuer"), "{said}");
    let none = get(&host, &server.url, &host.path("missing.pem")).code(1);
    let said = String::from_utf8_lossy(&none.get_output().stderr).into_owned();
    assert!(said.contains("no certificate authorities found") && said.contains("SSL_CERT_FILE"), "{said}");
    assert_eq!(host.cached(), [] as [String; 0]);

    get(&host, &server.url, &dir.join("ca.pem")).success();
    assert_eq!(host.loader(&[]).get().unwrap().btf(), kernel_btf(16));
}

/// Check that plain and encrypted archives may stand side by side, and that a plain one may send a loader on to an
/// encrypted one.
#[test]
fn from_http_to_https() {
    let host = Host::new();
    let dir = host.path("tls");
    let server = Server::new(&dir, &btf_answer(&kernel_btf(16), &[]));
    let unavailable = Stub::always(answer("503 Service Unavailable", &[], b""));
    let both = format!("{} {}", unavailable.url(), server.url);
    let location = format!("{}/v1/btf/by-build-id/{BUILD_ID}", server.url);
    let moved = Stub::always(answer("301 Moved Permanently", &[("location", &location)], b""));
    for urls in [&both, moved.url()] {
        let host = Host::new();
        let mut command = command(&host, &dir.join("ca.pem"));
        command.env("BTF_ARCHIVE_URLS", urls).assert().success();
        assert_eq!(host.loader(&[]).get().unwrap().btf(), kernel_btf(16));
    }
}

/// Check that an https archive cannot send a loader on to http.
#[test]
fn no_way_back_to_http() {
    let host = Host::new();
    let dir = host.path("tls");
    let plain = Stub::always(btf_answer(&kernel_btf(16), &[]));
    let location = format!("{}/btf", plain.url());
    let server = Server::new(&dir, &answer("302 Found", &[("location", &location)], b""));
    let refused = get(&host, &server.url, &dir.join("ca.pem")).code(1);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("redirects from https to http"), "{said}");
    assert_eq!(plain.requests(), [] as [String; 0]);
}
