//! Parts of one file, by single-range requests (RFC 9110, 14): the whole is never fetched.
//!
//! A server must answer 206 with just the bytes that were asked for and the same total, and its ETag and Last-Modified must
//! stay what they were at the first request: parts of two different files are never put together. One that answers 200 does
//! not give parts, and [`Error::RangeIgnored`] says so.

use std::io::SeekFrom;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::Instant;
use url::Url;

use super::body::{Flow, Next, open_file};
use super::identity::{ContentRange, Identity};
use super::retry::Retry;
use super::send::{Answer, Ask, Place};
use super::{Client, Error, public_url};

/// A file that is read in parts, from any thread or task.
#[derive(Debug)]
pub struct Ranges {
    client: Client,
    url: Url,
    known: Mutex<Option<Known>>,
}

/// What the first answer told.
#[derive(Clone, Debug)]
struct Known {
    identity: Identity,
    length: u64,
    place: Option<Place>,
}

/// Which bytes are wanted.
#[derive(Clone, Copy)]
enum Wanted {
    /// From the first up to, and without, the second; less where the file ends before.
    From(u64, u64),
    /// The last ones.
    Last(u64),
}

impl Ranges {
    pub(super) fn new(client: Client, url: Url) -> Self {
        Self { client, url, known: Mutex::default() }
    }

    /// The URL, without credentials and query.
    pub fn url(&self) -> String {
        public_url(&self.url)
    }

    /// Length of the file in bytes. Asks for its first byte unless something was read before.
    #[expect(clippy::len_without_is_empty, reason = "it asks a server, and may fail")]
    pub async fn len(&self) -> Result<u64, Error> {
        if let Some(known) = self.known() {
            return Ok(known.length);
        }
        self.fetch(Wanted::From(0, 1)).await?;
        Ok(self.known().map_or(0, |known| known.length))
    }

    /// The bytes from `range.start` to `range.end`; fewer only where the file ends before that.
    ///
    /// # Errors
    /// [`Error::RangeIgnored`] if the server does not give parts; [`Error::Changed`] if the file is not the one of the first
    /// request any more; what [`Client::get`] may end with.
    pub async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let end = self.known().map_or(range.end, |known| known.length.min(range.end));
        if range.start >= end {
            return Ok(Vec::new());
        }
        Ok(self.fetch(Wanted::From(range.start, end)).await?.1)
    }

    /// The last `count` bytes (all, if there are fewer), and where they begin.
    ///
    /// # Errors
    /// Those of [`Ranges::read`].
    pub async fn tail(&self, count: u64) -> Result<(u64, Vec<u8>), Error> {
        match self.known() {
            Some(known) => {
                let start = known.length.saturating_sub(count);
                Ok((start, self.read(start..known.length).await?))
            }
            None => self.fetch(Wanted::Last(count.max(1))).await,
        }
    }

    /// [`Ranges::len`] where blocking is allowed: not from async code other than `spawn_blocking`.
    pub fn len_blocking(&self) -> Result<u64, Error> {
        self.client.runtime.block_on(self.len())
    }

    /// [`Ranges::read`] where blocking is allowed.
    pub fn read_blocking(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.client.runtime.block_on(self.read(range))
    }

    /// [`Ranges::tail`] where blocking is allowed.
    pub fn tail_blocking(&self, count: u64) -> Result<(u64, Vec<u8>), Error> {
        self.client.runtime.block_on(self.tail(count))
    }

    fn known(&self) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what an answer tells about the file, or says how it differs from what is known.
    fn learn(&self, identity: Identity, place: Option<Place>) -> Result<(), &'static str> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some(known) => identity.differs_from(&known.identity).map_or(Ok(()), Err),
            None => {
                let length = identity.length.ok_or("the server does not tell its length")?;
                *known = Some(Known { identity, length, place });
                Ok(())
            }
        }
    }

    async fn fetch(&self, wanted: Wanted) -> Result<(u64, Vec<u8>), Error> {
        match self.url.scheme() {
            "file" => self.fetch_file(wanted).await,
            "http" | "https" => self.fetch_http(wanted).await,
            _ => Err(Error::Scheme { url: self.url() }),
        }
    }

    async fn fetch_file(&self, wanted: Wanted) -> Result<(u64, Vec<u8>), Error> {
        let failed = |source| Error::File { url: self.url(), source };
        let (mut file, length) = open_file(&self.url).await?;
        let identity = Identity::new(&Default::default(), Some(length));
        self.learn(identity, None).map_err(|reason| Error::Changed { url: self.url(), reason })?;
        let (start, end) = match wanted {
            Wanted::From(start, end) => (start.min(length), end.min(length)),
            Wanted::Last(count) => (length.saturating_sub(count), length),
        };
        file.seek(SeekFrom::Start(start)).await.map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(end.saturating_sub(start)).read_to_end(&mut bytes).await.map_err(failed)?;
        self.client.count_request();
        self.client.count(bytes.len());
        Ok((start, bytes))
    }

    async fn fetch_http(&self, wanted: Wanted) -> Result<(u64, Vec<u8>), Error> {
        let client = &self.client;
        let mut retry = Retry::new();
        let deadline = Instant::now() + client.options.total_timeout;
        let mut part = Part { start: None, end: 0, bytes: Vec::new() };
        loop {
            let range = match (part.start, wanted) {
                // The rest, after a connection broke.
                (Some(start), _) => format!("bytes={}-{}", start + part.bytes.len() as u64, part.end - 1),
                (None, Wanted::From(start, end)) => format!("bytes={start}-{}", end - 1),
                (None, Wanted::Last(count)) => format!("bytes=-{count}"),
            };
            let known = self.known();
            // Where redirects led the first time: the same mirror has the same file. If that fails, from the beginning.
            let place =
                known.as_ref().and_then(|known| known.place.as_ref()).filter(|_| retry.failures() == 0);
            let offset = part.start.unwrap_or(0) + part.bytes.len() as u64;
            let ask = Ask { url: &self.url, place, range: Some(range), if_range: None, offset, deadline };
            let mut answer = ask.send(client, &mut retry).await?;
            let empty = answer.response.status() == StatusCode::RANGE_NOT_SATISFIABLE;
            if empty && part.start.is_none() {
                return self.beyond(wanted, &answer);
            }
            self.check(&answer, wanted, &mut part)?;
            let mut flow = Flow::new(client);
            let broken = loop {
                match flow.next(client, deadline, answer.response.chunk()).await {
                    Next::Chunk(chunk) => {
                        client.count(chunk.len());
                        client.shared.hosts.pace(chunk.len()).await;
                        retry.progress(chunk.len());
                        if chunk.len() as u64 > part.left() {
                            return Err(self.wrong(wanted, "more bytes than that came"));
                        }
                        part.bytes.extend_from_slice(&chunk);
                    }
                    Next::Deadline => {
                        return Err(Error::Deadline { url: self.url(), limit: client.options.total_timeout });
                    }
                    Next::End if part.left() == 0 => return Ok((part.start.unwrap_or(0), part.bytes)),
                    Next::End | Next::Slow => break None,
                    Next::Failed(error) => break Some(error),
                }
            };
            drop(answer);
            match (retry.failed(&client.options, None), broken) {
                (Some(pause), _) => tokio::time::sleep(pause).await,
                (None, Some(source)) => {
                    let (attempts, source) = (retry.failures(), source.without_url());
                    return Err(Error::Transport { url: self.url(), offset, attempts, source });
                }
                (None, None) => {
                    return Err(Error::TooSlow {
                        url: self.url(),
                        offset,
                        rate: client.options.slowest_rate,
                    });
                }
            }
        }
    }

    /// Checks that an answer's head promises the bytes that are still missing, of the file that is known.
    fn check(&self, answer: &Answer, wanted: Wanted, part: &mut Part) -> Result<(), Error> {
        let response = &answer.response;
        let (headers, status) = (response.headers(), response.status());
        match status {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => {
                let identity = Identity::new(headers, response.content_length());
                let changed = self.known().and_then(|known| identity.differs_from(&known.identity));
                return Err(match changed {
                    Some(reason) => Error::Changed { url: self.url(), reason },
                    None => Error::RangeIgnored { url: self.url() },
                });
            }
            _ => return Err(Error::Status { url: self.url(), status, retry_after: None }),
        }
        let range = ContentRange::of(headers)
            .ok_or_else(|| self.wrong(wanted, "the answer has no valid Content-Range"))?;
        let total =
            range.total.ok_or_else(|| self.wrong(wanted, "the answer does not tell the file's length"))?;
        self.learn(Identity::new(headers, range.total), Some(answer.place.clone()))
            .map_err(|reason| Error::Changed { url: self.url(), reason })?;
        let (first, end) = match (part.start, wanted) {
            (Some(start), _) => (start + part.bytes.len() as u64, part.end),
            (None, Wanted::From(start, end)) => (start, end.min(total)),
            (None, Wanted::Last(count)) => (total.saturating_sub(count), total),
        };
        if (range.first, range.last + 1) != (first, end) {
            return Err(self.wrong(wanted, &format!("bytes {} to {} came", range.first, range.last + 1)));
        }
        if response.content_length().is_some_and(|length| length != end - first) {
            return Err(self.wrong(wanted, "the answer has another length"));
        }
        if part.start.is_none() {
            *part = Part { start: Some(first), end, bytes: Vec::new() };
        }
        Ok(())
    }

    /// The answer to a range behind the end, of an empty file for example: nothing, if the server tells the length.
    fn beyond(&self, wanted: Wanted, answer: &Answer) -> Result<(u64, Vec<u8>), Error> {
        let headers = answer.response.headers();
        let value = headers.get(reqwest::header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let total = value.and_then(|value| value.strip_prefix("bytes */")?.parse::<u64>().ok());
        let asked = match wanted {
            Wanted::From(start, _) => start,
            Wanted::Last(_) => 0,
        };
        let total = total
            .filter(|total| *total <= asked)
            .ok_or_else(|| self.wrong(wanted, "the server says that there are no such bytes"))?;
        self.learn(Identity::new(headers, Some(total)), Some(answer.place.clone()))
            .map_err(|reason| Error::Changed { url: self.url(), reason })?;
        Ok((total, Vec::new()))
    }

    fn wrong(&self, wanted: Wanted, reason: &str) -> Error {
        let (start, end) = match wanted {
            Wanted::From(start, end) => (start, end),
            Wanted::Last(count) => (u64::MAX - count, u64::MAX),
        };
        Error::WrongRange { url: self.url(), start, end, reason: reason.to_owned() }
    }
}

/// The bytes that came so far.
struct Part {
    start: Option<u64>,
    end: u64,
    bytes: Vec<u8>,
}

impl Part {
    fn left(&self) -> u64 {
        (self.end - self.start.unwrap_or(self.end)) - self.bytes.len() as u64
    }
}
