//! A file server on 127.0.0.1 whose misbehaviour the tests choose, written on bare sockets so that it can cut, lie and count.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub struct Request {
    pub number: usize,
    pub path: String,
    /// First byte asked for.
    pub range: Option<u64>,
    /// First byte not asked for, where the range has an end.
    pub until: Option<u64>,
    /// How many of the last bytes are asked for.
    pub suffix: Option<u64>,
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
    /// Send this many bytes at once, with a pause after each.
    pub drip: Option<(usize, Duration)>,
    /// What to say as Content-Range, instead of the truth.
    pub content_range: Option<&'static str>,
    /// What to say as Content-Length, instead of the truth.
    pub content_length: Option<usize>,
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
        Self::at("127.0.0.1", answer)
    }

    /// A server at another address of this machine.
    pub fn at(address: &str, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
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
        let line = line.to_ascii_lowercase();
        let (first, last) = line.strip_prefix("range: bytes=")?.split_once('-')?;
        Some((first.parse::<u64>().ok(), last.parse::<u64>().ok()))
    });
    let (range, until, suffix) = match range {
        Some((Some(first), last)) => (Some(first), last.map(|last| last + 1), None),
        Some((None, suffix)) => (None, None, suffix),
        None => (None, None, None),
    };
    Some(Request { number, path, range, until, suffix, headers })
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
    let asked = match (request.range, request.suffix) {
        (Some(first), _) => Some((usize::try_from(first).unwrap(), request.until)),
        (None, Some(last)) => Some((total.saturating_sub(usize::try_from(last).unwrap()), None)),
        (None, None) => None,
    };
    let part = asked.filter(|_| !answer.ignore_range && answer.status.is_none());
    let from = part.map_or(0, |(first, _)| first).min(total);
    let end =
        part.and_then(|(_, until)| until).map_or(total, |until| usize::try_from(until).unwrap().min(total));
    let unsatisfiable = part.is_some() && from >= total;
    let status = answer.status.unwrap_or(match part {
        Some(_) if unsatisfiable => "416 Range Not Satisfiable",
        Some(_) => "206 Partial Content",
        None => "200 OK",
    });
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    match answer.content_range {
        Some(range) if part.is_some() => head += &format!("Content-Range: {range}\r\n"),
        _ if unsatisfiable => head += &format!("Content-Range: bytes */{total}\r\n"),
        _ if part.is_some() => head += &format!("Content-Range: bytes {from}-{}/{total}\r\n", end - 1),
        _ => {}
    }
    if !answer.hide_length {
        head += &format!("Content-Length: {}\r\n", answer.content_length.unwrap_or(end.max(from) - from));
    }
    for header in &answer.headers {
        head += header;
        head += "\r\n";
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    let end = answer.cut_after.map_or(end, |bytes| (from + bytes).min(end)).max(from);
    let (size, pause) = answer.drip.unwrap_or((16 << 10, Duration::ZERO));
    for piece in answer.body[from..end].chunks(size) {
        stream.write_all(piece)?;
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        std::thread::sleep(pause);
    }
    stream.flush()
}
