//! Bringing bytes over HTTP: time limits, bounded retries, resumption of a broken body, and an early stop.
//!
//! - [`Client`] holds the limits and the connections, and counts every byte it received;
//! - [`Body`] is one response as an async stream of chunks: when the connection breaks in the middle it asks for the
//!   rest with a `Range`, and goes on only if the server still has the same file (ETag, Last-Modified and length);
//! - [`Download`] is a [`Body`] behind [`std::io::Read`], for decoders, which are synchronous. Dropping it ends the
//!   transfer: a package of 700 MB is left after the 70 MB that matter.
//!
//! Proxies come from the environment (`http_proxy`, `https_proxy`, `no_proxy`). TLS is rustls with the system's roots.
//! The caller installs the crypto provider (`rustls::crypto::ring::default_provider().install_default()`).

mod body;
mod download;
mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use tokio::runtime::Handle;
use url::Url;

pub use self::body::Body;
pub use self::download::Download;

/// Limits of a [`Client`].
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long a server may stay silent, before its answer and between two pieces of a body.
    pub idle_timeout: Duration,
    /// Attempts in a row without a single new byte, before giving up.
    pub attempts: u32,
    /// Pause after the first failed attempt; doubled after each further one.
    pub first_pause: Duration,
    /// No pause is longer than this, whatever `Retry-After` asks for.
    pub longest_pause: Duration,
    /// Redirects followed for one request.
    pub redirects: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(30),
            attempts: 5,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            redirects: 5,
        }
    }
}

/// Why a URL could not be read. URLs in messages carry no user name, password, query or fragment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client could not be set up.
    #[error("cannot set up the HTTP client: {}", chain(.0))]
    Setup(#[source] reqwest::Error),
    /// Neither `http` nor `https`.
    #[error("{url}: only http and https URLs can be fetched")]
    Scheme {
        /// The URL asked for.
        url: String,
    },
    /// The server answered, and not with the file. After retries, where the status allows them.
    #[error("{url}: the server answered {status}")]
    Status {
        /// The URL asked for.
        url: String,
        /// What the server answered.
        status: StatusCode,
    },
    /// The connection failed or broke, and retrying did not help.
    #[error("{url}: failed at byte {offset} after {attempts} attempts: {}", chain(.source))]
    Transport {
        /// The URL asked for.
        url: String,
        /// How many bytes of the body had arrived.
        offset: u64,
        /// Attempts in a row that brought no new byte.
        attempts: u32,
        /// The last failure.
        source: reqwest::Error,
    },
    /// The request cannot be sent or its redirects cannot be followed; retrying would not help.
    #[error("{url}: {}", chain(.source))]
    Request {
        /// The URL asked for.
        url: String,
        /// What is wrong.
        source: reqwest::Error,
    },
    /// The connection broke, and the server has another file by now, or cannot prove that it has not.
    #[error("{url}: broke at byte {offset}, and cannot be resumed: {reason}; start again")]
    NotResumable {
        /// The URL asked for.
        url: String,
        /// How many bytes of the body had arrived.
        offset: u64,
        /// What differs.
        reason: &'static str,
    },
    /// The body is longer than the caller accepts.
    #[error("{url}: longer than the {limit} bytes allowed here")]
    TooLong {
        /// The URL asked for.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The task that fetches ended without a result: the runtime was shut down.
    #[error("{url}: the download was abandoned")]
    Abandoned {
        /// The URL asked for.
        url: String,
    },
}

impl Error {
    /// Whether the server says that the file is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status, .. } if matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE))
    }

    /// Whether trying again later may work: the network or the server failed, not the request.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => retry::is_transient(*status),
            Self::Transport { .. } | Self::NotResumable { .. } | Self::Abandoned { .. } => true,
            Self::Setup(_) | Self::Scheme { .. } | Self::Request { .. } | Self::TooLong { .. } => false,
        }
    }
}

/// `error` and its sources in one line; reqwest's own message stops at the first.
fn chain(error: &reqwest::Error) -> String {
    let mut line = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}

/// `url` as it may be shown and recorded: without user name, password, query and fragment.
pub fn public_url(url: &Url) -> String {
    btf_archive::Provenance::public_url(url.as_str())
}

/// An HTTP client; clones share connections and the count of bytes.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    runtime: Handle,
    options: Arc<Options>,
    fetched: Arc<AtomicU64>,
}

impl Client {
    /// A client whose downloads run on `runtime`.
    pub fn new(runtime: Handle, options: Options) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("btfgen/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.idle_timeout)
            .redirect(redirects(options.redirects))
            .build()
            .map_err(Error::Setup)?;
        Ok(Self { http, runtime, options: Arc::new(options), fetched: Arc::default() })
    }

    /// Asks for `url` and returns its body, not yet read. Retries until an answer comes or the attempts are used up.
    pub async fn get(&self, url: &Url) -> Result<Body, Error> {
        Body::open(self.clone(), url.clone()).await
    }

    /// The whole of `url`, refused when longer than `limit` bytes.
    pub async fn bytes(&self, url: &Url, limit: u64) -> Result<Vec<u8>, Error> {
        let too_long = || Error::TooLong { url: public_url(url), limit };
        let mut body = self.get(url).await?;
        if body.len().is_some_and(|length| length > limit) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_long());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Asks for `url` and returns its body as a blocking reader. Call it where blocking is allowed: not from async code
    /// other than `spawn_blocking`.
    pub fn open(&self, url: &Url) -> Result<Download, Error> {
        Download::open(self, url)
    }

    /// Bytes of bodies received so far by this client and its clones, repeated ones included.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    fn count(&self, chunk: &Bytes) {
        self.fetched.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    }
}

/// Follows at most `limit` redirects, and none from https to http: what was asked for in private is not fetched in public.
fn redirects(limit: usize) -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(move |attempt| {
        let from_tls = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > limit {
            attempt.error(format!("more than {limit} redirects"))
        } else if from_tls && attempt.url().scheme() != "https" {
            attempt.error("redirected from https to a URL without TLS")
        } else {
            attempt.follow()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that a URL shown in messages and provenance has lost its secrets.
    #[test]
    fn public_url_drops_secrets() {
        let url = Url::parse("https://user:secret@mirror.example/pool/a.deb?token=1#x").unwrap();
        assert_eq!(public_url(&url), "https://mirror.example/pool/a.deb");
    }
}
