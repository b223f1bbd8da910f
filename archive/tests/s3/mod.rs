//! An S3 server (the crate `s3s-fs`, which `ci/install-tools` installs) for the tests of one program: its objects are files in a temporary
//! directory; it listens on a port of its own choice and is gone when the program ends, however it ends.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BUCKET: &str = "tests";
const KEY: &str = "tests";
const SECRET: &str = "not-a-secret";

/// The server of this program, started when it is first needed.
struct Server {
    folder: PathBuf,
    endpoint: String,
    /// Ends the server and removes the folder when its standard input ends, as it does with this program.
    _keeper: Child,
}

/// A prefix of the server's bucket that nobody else uses.
#[derive(Clone, Debug)]
pub struct Bucket {
    prefix: String,
    endpoint: String,
    directory: PathBuf,
}

/// A new, empty prefix.
pub fn bucket() -> Bucket {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let server = SERVER.get_or_init(Server::start);
    let prefix = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let directory = server.folder.join("data").join(BUCKET).join(&prefix);
    Bucket { prefix, endpoint: server.endpoint.clone(), directory }
}

impl Bucket {
    /// `s3://…`, to be opened with the environment of [`Bucket::environment`].
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}/{}", self.prefix)
    }

    /// The folder in which the server keeps the objects, each as a file.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The server's `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The same bucket at another address, such as that of a proxy.
    pub fn at(&self, endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), ..self.clone() }
    }

    /// What a process needs in its environment to open [`Bucket::url`].
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "tests".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    }
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("btf-s3-").tempdir().unwrap().keep();
        std::fs::create_dir_all(folder.join("data").join(BUCKET)).unwrap();
        let script = r#"
            s3s-fs --host 127.0.0.1 --port 0 --access-key "$KEY" --secret-key "$SECRET" "$FOLDER/data" >"$FOLDER/log" 2>&1 &
            cat >/dev/null
            kill -KILL $!
            wait
            rm -rf "$FOLDER"
        "#;
        let keeper = Command::new("sh")
            .args(["-c", script])
            .env("FOLDER", &folder)
            .env("KEY", KEY)
            .env("SECRET", SECRET)
            .env("RUST_LOG", "s3s_fs=info")
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let endpoint = loop {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            if let Some((_, rest)) = log.split_once("running at ")
                && let Some(line) = rest.split_once('\n').map(|(line, _)| line)
            {
                let end = line.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(line.len());
                break line[..end].to_owned();
            }
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "s3s-fs (ci/install-tools) does not start: {log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { folder, endpoint, _keeper: keeper }
    }
}
