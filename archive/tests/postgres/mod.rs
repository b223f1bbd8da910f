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
    /// Ends the server and removes the folder when its standard input ends, as it does with this program.
    _keeper: Child,
}

/// The URL of a new, empty schema: a database of its own takes a second to make.
pub fn database() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let server = SERVER.get_or_init(Server::start);
    let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    server.psql(&format!("CREATE SCHEMA {name}"));
    format!("{}&options=-csearch_path%3D{name}", server.url())
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
    fn start() -> Self {
        // Not below a directory that only root may enter: the server does not run as root.
        let folder = tempfile::Builder::new().prefix("btf-postgres-").tempdir_in("/tmp").unwrap().keep();
        let root =
            String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap().trim() == "0";
        if root {
            run(Command::new("chown").arg("postgres").arg(&folder));
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
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"])
            .env("FOLDER", &folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { folder, _keeper: keeper };
        let begun = Instant::now();
        while !server.try_psql("SELECT 1") {
            let log = std::fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "PostgreSQL does not start: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.display())
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
