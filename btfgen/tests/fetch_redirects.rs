//! Where redirects may lead: a network of the tests' own, in which 127.0.0.2 is a public server, 127.0.0.3 a private one and
//! 127.0.0.4 a link-local one, while 127.0.0.1 is this machine.

mod loopback;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use btfgen::fetch::{Client, Error, Network, Options, Scope};
use loopback::{Answer, Server};
use tokio::runtime::Runtime;
use url::Url;

const PUBLIC: &str = "127.0.0.2";
const PRIVATE: &str = "127.0.0.3";
const LINK_LOCAL: &str = "127.0.0.4";
const LOOPBACK: &str = "127.0.0.1";

fn scope(address: IpAddr) -> Scope {
    match address.to_string().as_str() {
        PUBLIC => Scope::Public,
        PRIVATE => Scope::Private,
        LINK_LOCAL => Scope::LinkLocal,
        LOOPBACK => Scope::Loopback,
        _ => Scope::of(address),
    }
}

/// A client in that network, with these names.
fn client(addresses: impl Fn(&str) -> Vec<&'static str> + Send + Sync + 'static) -> (Runtime, Client) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().unwrap();
    let addresses =
        move |name: &str| Ok(addresses(name).into_iter().map(|text| text.parse().unwrap()).collect());
    let options = Options {
        attempts: 3,
        first_pause: Duration::from_millis(1),
        network: Network { addresses: Arc::new(addresses), scope },
        ..Options::default()
    };
    let client = Client::new(runtime.handle().clone(), options).unwrap();
    (runtime, client)
}

/// The server's address under another name.
fn named(server: &Server, name: &str) -> String {
    let (_, port) = server.address.rsplit_once(':').unwrap();
    format!("http://{name}:{port}/file")
}

fn file(address: &str) -> Server {
    Server::at(address, |_| Answer { body: Arc::new(b"secret".to_vec()), ..Answer::default() })
}

fn director(address: &str, target: String) -> Server {
    Server::at(address, move |_| Answer {
        status: Some("302 Found"),
        headers: vec![format!("Location: {target}")],
        ..Answer::default()
    })
}

fn fetch(runtime: &Runtime, client: &Client, url: &str) -> Result<Vec<u8>, Error> {
    runtime.block_on(client.bytes(&Url::parse(url).unwrap(), 100))
}

/// Check every direction, by address and by name: outwards and along is followed; inwards is refused, is not retried, and
/// not one byte is sent there.
#[test]
fn directions() {
    let all = [PUBLIC, PRIVATE, LINK_LOCAL, LOOPBACK];
    for from in all {
        for to in all {
            for by_name in [false, true] {
                let target = file(to);
                let address = if by_name { named(&target, "target.example") } else { target.url("/file") };
                let director = director(from, address);
                let (runtime, client) =
                    client(move |name| vec![if name == "target.example" { to } else { from }]);
                let fetched = fetch(&runtime, &client, &named(&director, "mirror.example"));
                let refused = matches!(fetched, Err(Error::Redirect { .. }));
                assert_eq!(refused, to != PUBLIC && to != from, "{from} to {to}: {fetched:?}");
                assert_eq!(target.requests().len(), usize::from(!refused), "{from} to {to}");
                assert_eq!(director.requests().len(), 1);
                if let Err(error) = fetched {
                    let text = error.to_string();
                    assert!(
                        text.contains("it leads from a") && text.contains(to) && !error.is_transient(),
                        "{text}"
                    );
                }
            }
        }
    }
}

/// Check that a name which is public at first and this machine at the second look gains nothing.
#[test]
fn rebinding() {
    let inside = file(LOOPBACK);
    let (_, port) = inside.address.rsplit_once(':').unwrap();
    let target = format!("http://mirror.example:{port}/file");
    let director = director(PUBLIC, target);
    let looks = AtomicUsize::new(0);
    let (runtime, client) =
        client(move |_| vec![if looks.fetch_add(1, Ordering::SeqCst) == 0 { PUBLIC } else { LOOPBACK }]);
    let error = fetch(&runtime, &client, &named(&director, "mirror.example")).unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error:?}");
    assert!(inside.requests().is_empty());
}

/// Check that of a target's addresses only those are used that may be.
#[test]
fn mixed_addresses() {
    let target = file(PUBLIC);
    let director = director(PUBLIC, named(&target, "target.example"));
    let (runtime, client) =
        client(|name| if name == "target.example" { vec![LOOPBACK, PUBLIC] } else { vec![PUBLIC] });
    assert_eq!(fetch(&runtime, &client, &named(&director, "mirror.example")).unwrap(), b"secret");
}

/// Check that redirects to other schemes are refused.
#[test]
fn other_schemes() {
    for target in ["file:///etc/passwd", "ftp://mirror.example/x", "javascript:alert(1)"] {
        let director = director(PUBLIC, target.to_owned());
        let (runtime, client) = client(|_| vec![PUBLIC]);
        let error = fetch(&runtime, &client, &director.url("/file")).unwrap_err();
        assert!(matches!(error, Error::Redirect { .. }), "{target}: {error:?}");
    }
}

/// An openssl server that insists on a client certificate, and serves a directory.
struct Tls {
    process: Child,
    address: String,
}

impl Tls {
    fn new(dir: &Path) -> Self {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        openssl(dir, &format!("req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.pem"));
        for (name, more) in [("server", "-addext subjectAltName=IP:127.0.0.1"), ("client", "")] {
            let leaf = format!("-subj /CN={name} {more} -addext basicConstraints=CA:FALSE");
            openssl(
                dir,
                &format!(
                    "req -x509 {key} {leaf} -CA ca.pem -CAkey ca.key -keyout {name}.key -out {name}.pem"
                ),
            );
        }
        let mut process = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-cert",
                "server.pem",
                "-key",
                "server.key",
                "-HTTP",
            ])
            .args(["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is needed");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.to_owned()));
        std::thread::spawn(move || lines.count()); // nobody may fill the pipe
        Self { process, address: address.expect("openssl s_server listens") }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let arguments = arguments.split(' ').filter(|argument| !argument.is_empty());
    let output =
        Command::new("openssl").args(arguments).current_dir(dir).output().expect("openssl is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Check that a client certificate opens what is closed without one, that it is not shown to a server that ours redirects to, and
/// that https is not left for http.
#[test]
fn certificates() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Tls::new(dir.path()), Tls::new(other.path()));
    let plain = file(LOOPBACK);
    // openssl's -HTTP serves whole answers, heads included.
    let answer =
        |head: &str, body: &str| format!("HTTP/1.0 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    fs::write(dir.path().join("file"), answer("200 OK", "entitled")).unwrap();
    fs::write(other.path().join("file"), answer("200 OK", "entitled")).unwrap();
    for (name, target) in
        [("away", format!("https://{}/file", theirs.address)), ("plain", plain.url("/file"))]
    {
        fs::write(dir.path().join(name), answer(&format!("302 Found\r\nLocation: {target}"), "")).unwrap();
    }
    let url = |name: &str| format!("https://{}/{name}", ours.address);

    let (runtime, without) = client(|_| Vec::new());
    assert!(matches!(fetch(&runtime, &without, &url("file")), Err(Error::Transport { .. })));
    let pem = |dir: &Path, name: &str| fs::read(dir.join(name)).unwrap();
    let identity = [pem(dir.path(), "client.pem"), pem(dir.path(), "client.key")].concat();
    let authorities = [pem(dir.path(), "ca.pem"), pem(other.path(), "ca.pem")].concat();
    let with = without.with_certificate(&identity, &authorities).unwrap();
    assert_eq!(fetch(&runtime, &with, &url("file")).unwrap(), b"entitled");
    assert!(fetch(&runtime, &with, &url("away")).is_err());
    let error = fetch(&runtime, &with, &url("plain")).unwrap_err();
    assert!(error.to_string().contains("from https to a URL without TLS"), "{error}");
    assert!(plain.requests().is_empty());
    assert!(matches!(without.with_certificate(b"no PEM", b""), Err(Error::Setup(_))));
}
