//! One file, read to its end through broken connections (RFC 9110: Range, If-Range, Content-Range).

use std::io;

use bytes::Bytes;
use reqwest::StatusCode;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;
use url::Url;

use super::identity::{ContentRange, Identity};
use super::retry::Retry;
use super::send::{Answer, Ask};
use super::{Client, Error, public_url};

/// How much of a local file is read at once, in bytes.
const FILE_CHUNK: usize = 256 << 10;

/// A file whose bytes are read chunk by chunk.
#[derive(Debug)]
pub struct Body {
    client: Client,
    url: Url,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Http(Box<Http>),
    File { file: File, length: u64 },
}

/// A response, and what is needed to go on when it breaks.
#[derive(Debug)]
struct Http {
    /// None only while the next one is asked for: each takes one of the places at its host.
    answer: Option<Answer>,
    identity: Identity,
    /// Bytes given to the caller.
    offset: u64,
    /// Bytes of the current response to throw away: the server ignored a Range and began at the beginning.
    skip: u64,
    retry: Retry,
    flow: Flow,
    deadline: Instant,
    /// Where the part that was asked for ends, if it is not the whole rest.
    until: Option<u64>,
}

/// What is asked for when more than the first part is wanted, in bytes.
const NEXT_PART: u64 = 2 << 20;

impl Body {
    /// Opens a file. Of one on a server, `first` bytes are asked for, and more only when they are read: what a server has sent ahead when a reader leaves was
    /// fetched for nothing.
    pub(super) async fn open(client: Client, url: Url, first: Option<u64>) -> Result<Self, Error> {
        let source = match url.scheme() {
            "file" => {
                let (file, length) = open_file(&url).await?;
                Source::File { file, length }
            }
            "http" | "https" => Source::Http(Box::new(Http::open(&client, &url, first).await?)),
            _ => return Err(Error::Scheme { url: public_url(&url) }),
        };
        Ok(Self { client, url, source })
    }

    /// Length of the whole body in bytes, where the server told it.
    pub fn len(&self) -> Option<u64> {
        match &self.source {
            Source::Http(http) => http.identity.length,
            Source::File { length, .. } => Some(*length),
        }
    }

    /// Whether the server said that there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Whether the next chunk takes another request.
    pub(super) fn is_at_end_of_part(&self) -> bool {
        match &self.source {
            Source::Http(http) => http.until == Some(http.offset) && http.identity.length != http.until,
            Source::File { .. } => false,
        }
    }

    /// The URL that was asked for, without credentials and query.
    pub fn url(&self) -> String {
        public_url(&self.url)
    }

    /// The next piece of the body, or `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = match &mut self.source {
            Source::Http(http) => return http.chunk(&self.client, &self.url).await,
            Source::File { file, .. } => {
                let mut chunk = Vec::with_capacity(FILE_CHUNK);
                let read = file.take(FILE_CHUNK as u64).read_to_end(&mut chunk).await;
                read.map_err(|source| Error::File { url: public_url(&self.url), source })?;
                Bytes::from(chunk)
            }
        };
        self.client.count(chunk.len());
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }
}

/// Opens the regular file that a `file://` URL names.
pub(super) async fn open_file(url: &Url) -> Result<(File, u64), Error> {
    let failed = |source| Error::File { url: public_url(url), source };
    let path = url.to_file_path().map_err(|()| failed(io::Error::other("names no local file")))?;
    let file = File::open(path).await.map_err(failed)?;
    let metadata = file.metadata().await.map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("is no regular file")));
    }
    Ok((file, metadata.len()))
}

impl Http {
    async fn open(client: &Client, url: &Url, first: Option<u64>) -> Result<Self, Error> {
        let mut retry = Retry::new();
        let deadline = Instant::now() + client.options.total_timeout;
        let range = first.filter(|&first| first > 0).map(|first| format!("bytes=0-{}", first - 1));
        let ask = Ask { url, place: None, range, if_range: None, offset: 0, deadline };
        let answer = ask.send(client, &mut retry).await?;
        let status = answer.response.status();
        let part = match status {
            StatusCode::OK => None,
            StatusCode::PARTIAL_CONTENT if first.is_some() => ContentRange::of(answer.response.headers()),
            // An empty file has no first bytes.
            StatusCode::RANGE_NOT_SATISFIABLE if first.is_some() => {
                drop(answer);
                return Box::pin(Self::open(client, url, None)).await;
            }
            status => return Err(Error::Status { url: public_url(url), status, retry_after: None }),
        };
        let (length, until) = match (status, part) {
            (StatusCode::OK, _) => (answer.response.content_length(), None),
            (_, Some(ContentRange { first: 0, total: Some(total), .. })) => {
                (Some(total), first.filter(|&first| first < total))
            }
            // How long the file is must be known, or nobody would see that it ends too early.
            _ => {
                drop(answer);
                return Box::pin(Self::open(client, url, None)).await;
            }
        };
        let identity = Identity::new(answer.response.headers(), length);
        let flow = Flow::new(client);
        Ok(Self { answer: Some(answer), identity, offset: 0, skip: 0, retry, flow, deadline, until })
    }

    async fn chunk(&mut self, client: &Client, url: &Url) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(answer) = &mut self.answer else {
                return Err(Error::Abandoned { url: public_url(url) });
            };
            let next = answer.response.chunk();
            match self.flow.next(client, self.deadline, next).await {
                Next::Chunk(mut chunk) => {
                    client.count(chunk.len());
                    client.shared.hosts.pace(chunk.len()).await;
                    let skipped = chunk.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                    self.skip -= skipped as u64;
                    let _ = chunk.split_to(skipped);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.offset += chunk.len() as u64;
                    self.retry.progress(chunk.len());
                    return Ok(Some(chunk));
                }
                Next::End if self.identity.length.is_none_or(|length| length == self.offset) => {
                    return Ok(None);
                }
                Next::End if self.until == Some(self.offset) => {
                    self.resume(client, url, Broken::Planned).await?;
                }
                // The length is known and was not reached: hyper reports that as an error, except where a proxy
                // rewrote the framing.
                Next::End => self.resume(client, url, Broken::Early).await?,
                Next::Failed(error) => self.resume(client, url, Broken::Failed(error)).await?,
                Next::Slow => self.resume(client, url, Broken::Slow).await?,
                Next::Deadline => {
                    return Err(Error::Deadline {
                        url: public_url(url),
                        limit: client.options.total_timeout,
                    });
                }
            }
        }
    }

    /// Asks for the rest after the connection broke.
    async fn resume(&mut self, client: &Client, url: &Url, broken: Broken) -> Result<(), Error> {
        let offset = self.offset;
        let refuse = |reason| Error::NotResumable { url: public_url(url), offset, reason };
        let broken = if self.until == Some(offset) { Broken::Planned } else { broken };
        self.answer = None;
        let slow = Error::TooSlow { url: public_url(url), offset, rate: client.options.slowest_rate };
        if !self.identity.is_known() {
            return Err(match broken {
                Broken::Slow => slow,
                _ => refuse("the server sent neither ETag, Last-Modified nor length"),
            });
        }
        if matches!(broken, Broken::Planned) {
            self.until = Some(offset + NEXT_PART)
                .filter(|&until| self.identity.length.is_none_or(|length| until < length));
        } else {
            self.pause(client, url, broken, slow).await?;
        }
        let range = match self.until {
            Some(until) => Some(format!("bytes={offset}-{}", until - 1)),
            None => (offset > 0).then(|| format!("bytes={offset}-")),
        };
        let ask = Ask {
            url,
            place: None,
            range,
            if_range: self.identity.strong_etag().filter(|_| offset > 0),
            offset,
            deadline: self.deadline,
        };
        let answer = ask.send(client, &mut self.retry).await?;
        let (start, length) = match answer.response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = ContentRange::of(answer.response.headers())
                    .ok_or_else(|| refuse("the server answered a Range without a valid Content-Range"))?;
                (range.first, range.total)
            }
            StatusCode::OK => {
                self.until = None;
                (0, answer.response.content_length())
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(refuse("the file became shorter")),
            status => return Err(Error::Status { url: public_url(url), status, retry_after: None }),
        };
        if let Some(reason) = Identity::new(answer.response.headers(), length).differs_from(&self.identity) {
            return Err(refuse(reason));
        }
        self.skip = offset.checked_sub(start).ok_or_else(|| refuse("the server skipped bytes"))?;
        self.answer = Some(answer);
        Ok(())
    }

    /// Waits before the next attempt, if there is one.
    async fn pause(&mut self, client: &Client, url: &Url, broken: Broken, slow: Error) -> Result<(), Error> {
        let offset = self.offset;
        let refuse = |reason| Error::NotResumable { url: public_url(url), offset, reason };
        match (self.retry.failed(&client.options, None), broken) {
            // A drip is no progress, however long it lasts.
            (_, Broken::Slow) if self.flow.strikes >= client.options.attempts => return Err(slow),
            (Some(pause), _) => tokio::time::sleep(pause).await,
            (None, Broken::Slow) => return Err(slow),
            (None, Broken::Failed(source)) => {
                return Err(Error::Transport {
                    url: public_url(url),
                    offset,
                    attempts: self.retry.failures(),
                    source: source.without_url(),
                });
            }
            (None, Broken::Early | Broken::Planned) => {
                return Err(refuse("the server keeps ending the body early"));
            }
        }
        Ok(())
    }
}

/// How a body broke.
enum Broken {
    /// Not at all: no more than this was asked for.
    Planned,
    /// It ended before its length.
    Early,
    Failed(reqwest::Error),
    Slow,
}

/// What came next.
pub(super) enum Next {
    Chunk(Bytes),
    End,
    Failed(reqwest::Error),
    Slow,
    Deadline,
}

/// Measures how much a server sends while we wait for it; time that the reader takes does not count.
#[derive(Debug)]
pub(super) struct Flow {
    waited: std::time::Duration,
    bytes: u64,
    /// How often it was too little.
    pub(super) strikes: u32,
    least: u64,
}

impl Flow {
    pub(super) fn new(client: &Client) -> Self {
        let window = client.options.slow_window.as_secs_f64();
        // The cast saturates.
        let least = (client.options.slowest_rate as f64 * window) as u64;
        Self { waited: std::time::Duration::ZERO, bytes: 0, strikes: 0, least }
    }

    /// Waits for the next chunk of a response, for no longer than its server deserves.
    pub(super) async fn next(
        &mut self,
        client: &Client,
        deadline: Instant,
        chunk: impl Future<Output = Result<Option<Bytes>, reqwest::Error>>,
    ) -> Next {
        let window = client.options.slow_window;
        let mut chunk = std::pin::pin!(chunk);
        loop {
            let begun = Instant::now();
            let until = deadline.min(begun + window.saturating_sub(self.waited));
            let result = tokio::time::timeout_at(until, chunk.as_mut()).await;
            self.waited += begun.elapsed();
            if let Ok(Ok(Some(chunk))) = &result {
                self.bytes += chunk.len() as u64;
            }
            if self.waited >= window {
                let slow = self.bytes < self.least;
                (self.waited, self.bytes) = (std::time::Duration::ZERO, 0);
                if slow && !matches!(result, Ok(Ok(None))) {
                    self.strikes += 1;
                    return Next::Slow;
                }
            }
            match result {
                Ok(Ok(Some(chunk))) => return Next::Chunk(chunk),
                Ok(Ok(None)) => return Next::End,
                Ok(Err(error)) => return Next::Failed(error),
                Err(_) if Instant::now() >= deadline => return Next::Deadline,
                Err(_) => {}
            }
        }
    }
}
