//! A file server on 127.0.0.1 whose misbehaviour the tests choose, written on bare sockets so that it can cut, lie and count.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub struct Request {
    pub number: usize,
    pub path: String,
    pub range: Option<u64>,
    pub headers: Vec<String>,
}

/// What to do with one request.
#[derive(Clone, Default)]
pub struct Answer {
    /// Status line after `HTTP/1.1 `; `None`: 200, or 206 for a range.
    pub status: Option<&'static str>,
    pub headers: Vec<String>,
    pub body: Arc<Vec<u8>>,
    /// Answer a Range with the whole file.
    pub ignore_range: bool,
    /// Close the connection after this many bytes of the body.
    pub cut_after: Option<usize>,
    /// Do not send Content-Length.
    pub hide_length: bool,
    /// Say nothing and keep the connection open.
    pub silent: bool,
}

/// The running server. Its thread ends with the test program.
pub struct Server {
    pub address: String,
    sent: Arc<AtomicU64>,
    requests: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicUsize>,
}

impl Server {
    pub fn new(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, sent: Arc::default(), requests: Arc::default(), ended: Arc::default() };
        let (sent, requests, ended) =
            (Arc::clone(&server.sent), Arc::clone(&server.requests), Arc::clone(&server.ended));
        let (answer, number) = (Arc::new(answer), AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, sent, requests, ended) =
                    (answer.clone(), sent.clone(), requests.clone(), ended.clone());
                let number = number.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(request) = read_request(&stream, number) else { return };
                    requests.lock().unwrap().push(request.clone());
                    // A client that leaves early is not an error here: it is what some tests want.
                    let _ = respond(&mut stream, &request, &answer(&request), &sent);
                    drop(stream);
                    ended.fetch_add(1, Ordering::Release);
                });
            }
        });
        server
    }

    /// A server of one well-behaved file.
    pub fn of(body: Vec<u8>) -> Self {
        let body = Arc::new(body);
        Self::new(move |_| Answer { body: Arc::clone(&body), ..Answer::default() })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until no answer is being sent any more.
    pub fn wait(&self) {
        while self.ended.load(Ordering::Acquire) < self.requests().len() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Bytes of bodies that the kernel took from the server: what the client read, and what waits in socket buffers.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream, number: usize) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let range = headers.iter().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok()
    });
    Some(Request { number, path, range, headers })
}

fn respond(
    stream: &mut TcpStream,
    request: &Request,
    answer: &Answer,
    sent: &AtomicU64,
) -> std::io::Result<()> {
    if answer.silent {
        std::thread::sleep(std::time::Duration::from_secs(60));
        return Ok(());
    }
    let total = answer.body.len();
    let start = request.range.filter(|_| !answer.ignore_range && answer.status.is_none());
    let from = usize::try_from(start.unwrap_or(0)).unwrap().min(total);
    let status = answer.status.unwrap_or(if start.is_some() { "206 Partial Content" } else { "200 OK" });
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    if start.is_some() {
        head += &format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1);
    }
    if !answer.hide_length {
        head += &format!("Content-Length: {}\r\n", total - from);
    }
    for header in &answer.headers {
        head += header;
        head += "\r\n";
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    let end = answer.cut_after.map_or(total, |bytes| (from + bytes).min(total));
    for piece in answer.body[from..end].chunks(16 << 10) {
        stream.write_all(piece)?;
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    stream.flush()
}
