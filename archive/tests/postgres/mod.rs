//! A PostgreSQL server of Debian's (package `postgresql`) for the tests of one program: made in a temporary directory, listening on a
//! Unix socket there, and gone when the program ends, however it ends.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The server of this program, started when it is first needed.
pub struct Server {
    folder: PathBuf,
    port: u16,
    /// Ends the server and removes the folder when its standard input ends, as it does with this program.
    _keeper: Child,
}

/// The URL of a new, empty schema: a database of its own takes a second to make.
pub fn database() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let server = SERVER.get_or_init(|| Server::start(None));
    let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    server.psql(&format!("CREATE SCHEMA {name}"));
    format!("{}&options=-csearch_path%3D{name}", server.url())
}

/// The URL of a new, empty schema of a server that takes only TLS over TCP, which the client must check in full, against this certificate
/// authority; and another authority, which has not signed the server's certificate.
pub fn database_over_tls() -> (String, PathBuf, PathBuf) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        Server::start(Some(folder.path()))
    });
    let name = format!("t{}", std::process::id());
    server.psql(&format!("CREATE SCHEMA IF NOT EXISTS {name}"));
    let url = format!(
        "postgres://postgres@localhost:{}/postgres?sslmode=verify-full&options=-csearch_path%3D{name}",
        server.port
    );
    (url, server.folder.join("ours.crt"), server.folder.join("other.crt"))
}

/// Makes two authorities in a folder, and a certificate for `localhost` that the first has signed, with its key.
fn certificates(folder: &Path) {
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        let output = command.args(arguments).current_dir(folder).output();
        let output = output.unwrap_or_else(|error| panic!("openssl is needed: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    for name in ["ours", "other"] {
        let (subject, out) = (format!("/CN={name}"), format!("{name}.crt"));
        openssl(
            &[
                &["req", "-x509", "-days", "2", "-subj", &subject, "-keyout", "ca.key", "-out", &out],
                &key[..],
            ]
            .concat(),
        );
        if name == "ours" {
            openssl(
                &[
                    &["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"],
                    &key[..],
                ]
                .concat(),
            );
            std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
            openssl(&[
                "x509",
                "-req",
                "-days",
                "2",
                "-in",
                "server.csr",
                "-CA",
                "ours.crt",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-out",
                "server.crt",
                "-extfile",
                "names",
            ]);
        }
    }
}

/// Runs SQL in the database of a URL that [`database`] gave; gives what psql prints, without headings.
pub fn sql(url: &str, sql: &str) -> String {
    let output =
        Command::new(tool("psql")).args([url, "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Debian keeps the server's programs beside the PATH.
fn tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|path| path.is_file());
    found.sort();
    found.pop().unwrap_or_else(|| panic!("{name} is needed (package postgresql)"))
}

impl Server {
    /// With a folder of [`certificates`], it also listens on a port, where it takes only TLS.
    fn start(tls: Option<&Path>) -> Self {
        // Not below a directory that only root may enter: the server does not run as root.
        let folder = tempfile::Builder::new().prefix("btf-postgres-").tempdir_in("/tmp").unwrap().keep();
        let root =
            String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap().trim() == "0";
        for file in ["server.crt", "server.key", "ours.crt", "other.crt"] {
            if let Some(tls) = tls {
                std::fs::copy(tls.join(file), folder.join(file)).unwrap();
                run(Command::new("chmod").arg("600").arg(folder.join(file)));
            }
        }
        if root {
            run(Command::new("chown").args(["-R", "postgres"]).arg(&folder));
        }
        let user = |program: PathBuf| {
            if !root {
                return Command::new(program);
            }
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        };
        let data = folder.join("data");
        run(user(tool("initdb"))
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
            .arg(&data));
        // PostgreSQL cannot be told to take any port that is free.
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = tls.map_or(5432, |_| free());
        let mut settings =
            vec!["fsync=off".to_owned(), "max_connections=200".to_owned(), format!("port={port}")];
        if tls.is_some() {
            let only_tls = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
            std::fs::write(data.join("pg_hba.conf"), only_tls).unwrap();
            settings.extend(["listen_addresses=127.0.0.1".to_owned(), "ssl=on".to_owned()]);
            settings.push(format!("ssl_cert_file={}", folder.join("server.crt").display()));
            settings.push(format!("ssl_key_file={}", folder.join("server.key").display()));
        } else {
            settings.push("listen_addresses=".to_owned());
        }
        let script = r#"
            "$@" >"$FOLDER/log" 2>&1 &
            cat >/dev/null
            # At once: nobody needs what is in it any more. A shell's background jobs ignore SIGINT.
            kill -QUIT "$(head -n 1 "$FOLDER/data/postmaster.pid")"
            wait
            rm -rf "$FOLDER"
        "#;
        let server = user(tool("postgres"));
        let keeper = Command::new("sh")
            .args(["-c", script, "keeper"])
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&folder)
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .env("FOLDER", &folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { folder, port, _keeper: keeper };
        let begun = Instant::now();
        while !server.try_psql("SELECT 1") {
            let log = std::fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "PostgreSQL does not start: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn url(&self) -> String {
        format!("postgres://postgres@localhost:{}/postgres?host={}", self.port, self.folder.display())
    }

    fn try_psql(&self, sql: &str) -> bool {
        let mut psql = Command::new(tool("psql"));
        psql.args([&self.url(), "-XqAt", "-c", sql]).stdout(Stdio::null()).stderr(Stdio::null());
        psql.status().unwrap().success()
    }

    fn psql(&self, sql: &str) {
        self::sql(&self.url(), sql);
    }

    /// Where its socket is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn run(command: &mut Command) {
    let output = command.current_dir("/").output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
