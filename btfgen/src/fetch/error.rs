//! Why a URL could not be read.

use std::time::Duration;

use reqwest::StatusCode;

use super::retry;

/// Why a URL could not be read. URLs in messages carry no user name, password, query or fragment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client could not be set up.
    #[error("cannot set up the HTTP client: {}", chain(.0))]
    Setup(#[source] reqwest::Error),
    /// Neither `http`, `https` nor `file`.
    #[error("{url}: only http, https and file URLs can be fetched")]
    Scheme {
        /// The URL asked for.
        url: String,
    },
    /// A local file could not be read.
    #[error("{url}: {source}")]
    File {
        /// The URL asked for.
        url: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The server answered, and not with the file. After retries, where the status allows them.
    #[error("{url}: the server answered {status}{}", later(.retry_after))]
    Status {
        /// The URL asked for.
        url: String,
        /// What the server answered.
        status: StatusCode,
        /// How long it wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// The connection failed or broke, and retrying did not help.
    #[error("{url}: failed at byte {offset} after {attempts} attempts: {}", chain(.source))]
    Transport {
        /// The URL asked for.
        url: String,
        /// How many bytes of the body had arrived.
        offset: u64,
        /// Attempts in a row that brought next to nothing.
        attempts: u32,
        /// The last failure.
        source: reqwest::Error,
    },
    /// The server sends too little to wait for.
    #[error("{url}: too slow at byte {offset}: less than {rate} bytes per second, again and again")]
    TooSlow {
        /// The URL asked for.
        url: String,
        /// How many bytes of the body had arrived.
        offset: u64,
        /// The least that is waited for.
        rate: u64,
    },
    /// The time for one file is up.
    #[error("{url}: not complete after {} s, the time that one file may take", .limit.as_secs())]
    Deadline {
        /// The URL asked for.
        url: String,
        /// The time for one file.
        limit: Duration,
    },
    /// The request cannot be sent; retrying would not help.
    #[error("{url}: {}", chain(.source))]
    Request {
        /// The URL asked for.
        url: String,
        /// What is wrong.
        source: reqwest::Error,
    },
    /// The server's redirect is not followed.
    #[error("{url}: redirect not followed: {reason}")]
    Redirect {
        /// The URL asked for.
        url: String,
        /// Where it leads, and why not there.
        reason: String,
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
    /// The server answers a Range with the whole file: read it as a stream.
    #[error("{url}: the server does not give parts of files")]
    RangeIgnored {
        /// The URL asked for.
        url: String,
    },
    /// The server answered a Range with something else than was asked for.
    #[error("{url}: bytes {start} to {end} were asked for: {reason}")]
    WrongRange {
        /// The URL asked for.
        url: String,
        /// First byte asked for.
        start: u64,
        /// First byte not asked for.
        end: u64,
        /// What came instead.
        reason: String,
    },
    /// The file changed between two requests for parts of it.
    #[error("{url}: changed while it was read: {reason}; start again")]
    Changed {
        /// The URL asked for.
        url: String,
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
        match self {
            Self::Status { status, .. } => matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE),
            Self::File { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether trying again later may work: the network or the server failed, not the request.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => retry::is_transient(*status),
            Self::Transport { .. }
            | Self::TooSlow { .. }
            | Self::Deadline { .. }
            | Self::NotResumable { .. }
            | Self::Changed { .. }
            | Self::WrongRange { .. }
            | Self::Abandoned { .. } => true,
            Self::Setup(_)
            | Self::Scheme { .. }
            | Self::File { .. }
            | Self::Request { .. }
            | Self::Redirect { .. }
            | Self::RangeIgnored { .. }
            | Self::TooLong { .. } => false,
        }
    }

    /// How long the server wants to be left alone, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn later(retry_after: &Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |pause| format!(", to be asked again in {} s", pause.as_secs()))
}

/// `error` and its sources in one line; reqwest's own message stops at the first.
pub(super) fn chain(error: &reqwest::Error) -> String {
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
