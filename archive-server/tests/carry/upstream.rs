//! Upstreams for mirrors: nginx over an archive's directory, and a gate before it that counts bytes and makes trouble.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// nginx over a directory, behind a gate. Both end with this.
pub(crate) struct Upstream {
    nginx: Child,
    _folder: TempDir,
    gate: Arc<Gate>,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
}

/// What passes between a client and nginx.
#[derive(Default)]
pub(crate) struct Gate {
    /// Bytes that went to clients, heads of answers included.
    pub(crate) sent: AtomicU64,
    /// How many requests are answered with 503 before any is let through.
    pub(crate) unavailable: AtomicI64,
    /// After how many bytes of an answer the connection is cut; 0: never.
    pub(crate) cut: AtomicU64,
    /// Heads of requests.
    pub(crate) requests: Mutex<Vec<String>>,
}

impl Upstream {
    pub(crate) fn over(directory: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("socket");
        let path = folder.path().display();
        // As root, its workers would be somebody who may not read the directory.
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; keepalive_timeout 0;\n\
             client_body_temp_path {path}; proxy_temp_path {path}; fastcgi_temp_path {path}; uwsgi_temp_path {path}; scgi_temp_path {path};\n\
             server {{ listen unix:{path}/socket; root {}; etag on; }} }}\n",
            directory.display()
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-c").arg(&file).arg("-e").arg(folder.path().join("error")).stdin(Stdio::null());
        let nginx = command.spawn().expect("this test needs nginx");
        let begun = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            let log = || std::fs::read_to_string(folder.path().join("error")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(30), "nginx does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        let gate = Arc::new(Gate::default());
        let url = gate.open(socket);
        Self { nginx, _folder: folder, gate, url }
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The paths that were asked for, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        let requests = self.gate.requests.lock().unwrap();
        requests
            .iter()
            .map(|head| head.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned())
            .collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
    }
}

impl Gate {
    /// Listens on a port of its own before this socket.
    fn open(self: &Arc<Self>, socket: PathBuf) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let gate = Arc::clone(self);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (gate, socket) = (Arc::clone(&gate), socket.clone());
                std::thread::spawn(move || gate.pass(client, &socket));
            }
        });
        url
    }

    /// Lets one request through, on a connection of its own.
    fn pass(&self, mut client: TcpStream, socket: &Path) -> Option<()> {
        let mut reader = BufReader::new(client.try_clone().ok()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        self.requests.lock().unwrap().push(head.clone());
        if self.unavailable.fetch_sub(1, Ordering::SeqCst) > 0 {
            let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            return client.write_all(answer.as_bytes()).ok();
        }
        let mut nginx = UnixStream::connect(socket).ok()?;
        nginx.write_all(head.as_bytes()).ok()?;
        let (mut buffer, mut sent, cut) = ([0; 4096], 0, self.cut.load(Ordering::SeqCst));
        loop {
            let read = nginx.read(&mut buffer).ok()?;
            if read == 0 || cut > 0 && sent >= cut {
                return client.shutdown(Shutdown::Both).ok();
            }
            client.write_all(&buffer[..read]).ok()?;
            sent += read as u64;
            self.sent.fetch_add(read as u64, Ordering::SeqCst);
        }
    }
}
