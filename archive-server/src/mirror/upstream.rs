//! One place to mirror from: our service, any web server that has an archive's tree, or a directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use btf_archive::{ObjectPath, Provenance};
use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER};
use reqwest::{Client, StatusCode};

use super::pace::Pace;
use super::partial::Partial;

/// How long connecting may take, and how long no byte may come.
const CONNECT: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(30);
/// How many redirects are followed.
const REDIRECTS: usize = 5;
/// The longest that a server may have us wait before it is asked again.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A place to mirror from.
#[derive(Debug)]
pub struct Upstream {
    place: Place,
    name: String,
}

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    Web {
        /// Ends in a slash.
        base: String,
        client: Client,
    },
}

/// Why an object could not be had.
#[derive(Debug)]
pub(super) struct Failure {
    /// What went wrong.
    pub(super) reason: String,
    /// Whether it may go better a little later.
    pub(super) passing: bool,
    /// How long the server wants to be left alone.
    pub(super) wait: Option<Duration>,
}

/// What was counted while an object was fetched.
#[derive(Debug, Default)]
pub(super) struct Cost {
    /// Bytes of bodies that came.
    pub(super) bytes: u64,
    /// Bytes that were there already from an earlier attempt.
    pub(super) resumed: u64,
}

impl Upstream {
    /// A directory, by path or `file://`, or an http(s) address.
    ///
    /// # Errors
    /// What is wrong with the location, or with this machine's TLS.
    pub fn open(location: &str) -> Result<Self, String> {
        let name = Provenance::public_url(location);
        if location.starts_with("http://") || location.starts_with("https://") {
            // A program may have chosen another provider before; then that one serves.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = Client::builder()
                .connect_timeout(CONNECT)
                .read_timeout(SILENCE)
                .https_only(location.starts_with("https://"))
                .redirect(reqwest::redirect::Policy::limited(REDIRECTS))
                .user_agent(concat!("btf-archive-server/", env!("CARGO_PKG_VERSION")))
                .build();
            let client = client.map_err(|error| format!("{name}: {}", causes(&error)))?;
            let base = format!("{}/", location.trim_end_matches('/'));
            return Ok(Self { place: Place::Web { base, client }, name });
        }
        let path = location.strip_prefix("file://").unwrap_or(location);
        if path.contains("://") {
            return Err(format!("{name}: mirrors are made from a directory, or an http or https address"));
        }
        Ok(Self { place: Place::Directory(path.into()), name })
    }

    /// Its location, without secrets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fetches an object; none if it is not there. What came of it before a failure is kept in `partial`, and not fetched again.
    pub(super) async fn get(
        &self,
        path: &ObjectPath,
        partial: &mut Partial,
        pace: &Pace,
        cost: &mut Cost,
    ) -> Result<Option<Bytes>, Failure> {
        match &self.place {
            Place::Directory(root) => {
                from_directory(root.join(path.to_string()), path.max_size(), cost).await
            }
            Place::Web { base, client } => {
                from_web(client, &format!("{base}{path}"), &self.name, path.max_size(), partial, pace, cost)
                    .await
            }
        }
    }
}

async fn from_directory(path: PathBuf, limit: u64, cost: &mut Cost) -> Result<Option<Bytes>, Failure> {
    let read = tokio::task::spawn_blocking(move || read(&path, limit)).await;
    let bytes = read.map_err(|error| Failure::lasting(error.to_string()))?.map_err(Failure::lasting)?;
    cost.bytes += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
    Ok(bytes)
}

fn read(path: &Path, limit: u64) -> Result<Option<Bytes>, String> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| error.to_string())?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > limit { Err(too_long(limit)) } else { Ok(Some(bytes.into())) }
}

async fn from_web(
    client: &Client,
    url: &str,
    name: &str,
    limit: u64,
    partial: &mut Partial,
    pace: &Pace,
    cost: &mut Cost,
) -> Result<Option<Bytes>, Failure> {
    let mut request = client.get(url);
    let there = partial.resume(name);
    if let Some((bytes, validator)) = &there {
        request = request.header(RANGE, format!("bytes={bytes}-")).header(IF_RANGE, validator);
    }
    let mut answer = request.send().await.map_err(|error| Failure::of(&error))?;
    let status = answer.status();
    match (status, &there) {
        (StatusCode::NOT_FOUND | StatusCode::GONE, _) => return Ok(None),
        (StatusCode::OK, _) => partial.begin(name, validator(answer.headers())).map_err(Failure::io)?,
        (StatusCode::PARTIAL_CONTENT, Some((bytes, _))) if first_of(answer.headers()) == Some(*bytes) => {
            cost.resumed += bytes;
        }
        // What is there cannot be the beginning of what is there now.
        (StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT, _) => {
            partial.discard();
            return Err(Failure {
                reason: "the object changed while it was fetched".to_owned(),
                passing: true,
                wait: None,
            });
        }
        _ => return Err(Failure::status(status, answer.headers())),
    }
    let coming = answer.content_length();
    if coming.is_some_and(|coming| coming.saturating_add(partial.len()) > limit) {
        partial.discard();
        return Err(Failure::lasting(too_long(limit)));
    }
    partial.expect(coming).map_err(Failure::io)?;
    while let Some(chunk) = answer.chunk().await.map_err(|error| Failure::of(&error))? {
        cost.bytes += chunk.len() as u64;
        partial.append(&chunk).map_err(Failure::io)?;
        if partial.len() > limit {
            partial.discard();
            return Err(Failure::lasting(too_long(limit)));
        }
        pace.spend(chunk.len()).await;
    }
    partial.finish().map(Some).map_err(Failure::io)
}

/// What tells one state of an object from another, for `If-Range`: a strong entity tag, or a date.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(LAST_MODIFIED))
}

/// The first byte of a partial answer.
fn first_of(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

fn too_long(limit: u64) -> String {
    format!("it has more than the {limit} bytes that such an object may have")
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Failure {
    fn lasting(reason: String) -> Self {
        Self { reason, passing: false, wait: None }
    }

    /// This machine's disk failed: no other upstream helps.
    fn io(error: std::io::Error) -> Self {
        Self::lasting(format!("cannot keep what came: {error}"))
    }

    fn of(error: &reqwest::Error) -> Self {
        // The address is told beside it.
        let passing = !error.is_builder() && !error.is_redirect();
        let reason = match std::error::Error::source(error) {
            Some(source) => causes(source),
            None => error.to_string(),
        };
        Self { reason, passing, wait: None }
    }

    fn status(status: StatusCode, headers: &HeaderMap) -> Self {
        let passing = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504);
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let wait = seconds.map(|seconds| Duration::from_secs(seconds).min(MAX_WAIT));
        Self { reason: format!("the server answered {status}"), passing, wait }
    }
}
