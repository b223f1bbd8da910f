//! A server that answers what a test says, however wrong: raw bytes over TCP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use btf_loader::Digest;

/// Answers each request with whatever a function writes for its path; lives as long as the test.
pub(crate) struct Stub {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// Calls `respond` with the path of each request and the connection, which is closed after it.
    pub(crate) fn new(respond: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let respond = Arc::new(respond);
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (respond, seen) = (Arc::clone(&respond), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream.unwrap(), &seen, &*respond));
            }
        });
        Self { url, requests }
    }

    /// Answers every request with the same bytes.
    pub(crate) fn always(bytes: Vec<u8>) -> Self {
        Self::new(move |_, stream| drop(stream.write_all(&bytes)))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The paths asked for so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>, respond: &dyn Fn(&str, &mut TcpStream)) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    for line in lines.by_ref() {
        if line.is_ok_and(|line| line.is_empty()) {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap().to_owned();
    seen.lock().unwrap().push(path.clone());
    respond(&path, &mut stream);
}

/// An answer with these headers and this body.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    [out.as_bytes(), b"\r\n", body].concat()
}

/// The right answer for this BTF, with more headers.
pub(crate) fn btf_answer(raw: &[u8], headers: &[(&str, &str)]) -> Vec<u8> {
    let digest = format!("sha256:{}", Digest::of(raw));
    let headers = [&[("btf-digest", digest.as_str())], headers].concat();
    answer("200 OK", &headers, raw)
}
