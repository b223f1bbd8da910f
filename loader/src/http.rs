//! One GET request: bounded in time, size and redirects.

use std::io;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::{Agent, Body};

use crate::{Address, Reason};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 3;
/// How long to wait before a request is made again; twice as long before the next time.
const PAUSE: Duration = Duration::from_millis(150);
/// A server that asks for more patience than this is not waited for.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// More header bytes than this are refused; an archive's answers have a few hundred.
const MAX_HEADER: usize = 16 << 10;

/// An answer with its body, as sent (a content coding is not removed).
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }
}

/// When an archive must have answered.
pub(crate) struct Deadline {
    start: Instant,
    after: Duration,
}

impl Deadline {
    pub(crate) fn new(after: Duration) -> Self {
        Self { start: Instant::now(), after }
    }

    fn left(&self) -> Result<Duration, Reason> {
        match self.after.saturating_sub(self.start.elapsed()) {
            Duration::ZERO => Err(self.passed()),
            left => Ok(left),
        }
    }

    fn passed(&self) -> Reason {
        Reason::TimedOut { after: self.after }
    }
}

/// An HTTP client that keeps connections. Proxies come from the environment (`HTTPS_PROXY`, `NO_PROXY` and so on),
/// authorities from the system (or `SSL_CERT_FILE`, `SSL_CERT_DIR`).
#[derive(Debug)]
pub(crate) struct Client {
    retries: u32,
    plain: OnceLock<Agent>,
    #[cfg(feature = "tls")]
    tls: OnceLock<Agent>,
}

impl Client {
    /// A client that makes a request up to so many times again when it failed for a passing reason.
    pub(crate) fn with_retries(retries: u32) -> Self {
        Self {
            retries,
            plain: OnceLock::new(),
            #[cfg(feature = "tls")]
            tls: OnceLock::new(),
        }
    }

    /// The agent for this address. That for TLS is made when it is first needed: reading the system's authorities
    /// takes longer than a cache hit.
    fn agent(&self, url: &str) -> Result<&Agent, Reason> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed here, not there: 300 is an answer of its own, and https must stay https.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEADER)
            .user_agent(concat!("btf-loader/", env!("CARGO_PKG_VERSION")));
        #[cfg(feature = "tls")]
        if url.starts_with("https://") {
            if let Some(agent) = self.tls.get() {
                return Ok(agent);
            }
            let config = config.tls_config(tls()?);
            return Ok(self.tls.get_or_init(|| config.build().into()));
        }
        if !url.starts_with("http://") {
            return Err(Reason::BadAnswer("redirects to an address that is not http".to_owned()));
        }
        Ok(self.plain.get_or_init(|| config.build().into()))
    }

    /// Asks `archive` for `path` (without a leading slash, perhaps with parameters), again if it failed for a reason
    /// that may have passed.
    ///
    /// # Errors
    /// [`Reason::Unreachable`], [`Reason::TimedOut`], [`Reason::TooLarge`] for a body over `max_size` bytes,
    /// [`Reason::BadAnswer`] for what is not HTTP, and redirects that lead nowhere.
    pub(crate) fn get(
        &self,
        archive: &Address,
        path: &str,
        accept_encoding: &str,
        max_size: usize,
        deadline: &Deadline,
    ) -> Result<Answer, Reason> {
        let mut pause = PAUSE;
        for left in (0..=self.retries).rev() {
            let answer = self.get_once(archive, path, accept_encoding, max_size, deadline);
            let wait = match &answer {
                Ok(answer) if is_passing(answer.status) => retry_after(answer).unwrap_or(pause),
                Err(Reason::Unreachable(_)) => pause,
                _ => return answer,
            };
            // Who has no time left to be answered need not wait for it.
            if left == 0 || wait > MAX_PAUSE || deadline.left().map_or(true, |left| left <= wait) {
                return answer;
            }
            std::thread::sleep(wait);
            pause *= 2;
        }
        Err(deadline.passed())
    }

    fn get_once(
        &self,
        archive: &Address,
        path: &str,
        accept_encoding: &str,
        max_size: usize,
        deadline: &Deadline,
    ) -> Result<Answer, Reason> {
        let mut url = archive.join(path);
        for _ in 0..=MAX_REDIRECTS {
            let request =
                self.agent(&url)?.get(&url).header(header::ACCEPT_ENCODING, accept_encoding).config();
            let request = request.https_only(archive.is_https()).timeout_global(Some(deadline.left()?));
            // A proxy's loopback is another machine's.
            let request = if is_loopback(&url) { request.proxy(None) } else { request };
            let response = request.build().call().map_err(|error| reason(error, max_size, deadline))?;
            let (head, mut body) = response.into_parts();
            if let Some(target) = redirect(head.status, &head.headers, &url)? {
                url = target;
                continue;
            }
            let body = read(&mut body, max_size, deadline)?;
            return Ok(Answer { status: head.status, headers: head.headers, body });
        }
        Err(Reason::BadAnswer(format!("more than {MAX_REDIRECTS} redirects")))
    }
}

/// Whether a server that answers so may answer otherwise soon.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// How long the server asks to wait, if it says so in seconds.
fn retry_after(answer: &Answer) -> Option<Duration> {
    Some(Duration::from_secs(answer.header("retry-after")?.parse().ok()?))
}

/// Reads a body of at most `max_size` bytes.
fn read(body: &mut Body, max_size: usize, deadline: &Deadline) -> Result<Vec<u8>, Reason> {
    if body.content_length().is_some_and(|len| len > max_size as u64) {
        return Err(Reason::TooLarge { limit: max_size });
    }
    // The library takes a body of exactly the limit for one that is larger.
    let body = body.with_config().limit(max_size as u64 + 1);
    let bytes = body.read_to_vec().map_err(|error| reason(error, max_size, deadline))?;
    if bytes.len() > max_size { Err(Reason::TooLarge { limit: max_size }) } else { Ok(bytes) }
}

/// Whether an address is this machine's own.
fn is_loopback(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// Where a redirect leads.
fn redirect(status: StatusCode, headers: &HeaderMap, from: &str) -> Result<Option<String>, Reason> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let nowhere = || Reason::BadAnswer(format!("status {}, which leads nowhere", status.as_u16()));
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(nowhere)?;
    if location.starts_with("http://") || location.starts_with("https://") {
        return Ok(Some(location.to_owned()));
    }
    let from: Uri = from.parse().map_err(|_| nowhere())?;
    match (from.scheme_str(), from.authority()) {
        (Some(scheme), Some(authority)) if location.starts_with('/') && !location.starts_with("//") => {
            Ok(Some(format!("{scheme}://{authority}{location}")))
        }
        _ => Err(nowhere()),
    }
}

/// What an error of the HTTP library means here.
fn reason(error: ureq::Error, max_size: usize, deadline: &Deadline) -> Reason {
    use ureq::Error;
    match error {
        Error::Timeout(_) => deadline.passed(),
        Error::BodyExceedsLimit(_) => Reason::TooLarge { limit: max_size },
        Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => deadline.passed(),
        Error::Io(error) => Reason::Unreachable(error.to_string()),
        Error::HostNotFound => Reason::Unreachable("no such host".to_owned()),
        Error::RequireHttpsOnly(_) => Reason::BadAnswer("redirects from https to http".to_owned()),
        Error::Protocol(error) => Reason::BadAnswer(error.to_string()),
        Error::LargeResponseHeader(..) => Reason::BadAnswer("the header is too large".to_owned()),
        error => Reason::Unreachable(error.to_string()),
    }
}

/// TLS by rustls with ring, believing the system's authorities.
#[cfg(feature = "tls")]
fn tls() -> Result<ureq::tls::TlsConfig, Reason> {
    use std::sync::Arc;
    use ureq::tls::{Certificate, RootCerts, TlsConfig};

    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        let text =
            format!("no certificate authorities found{why}; install ca-certificates or set SSL_CERT_FILE");
        return Err(Reason::Unreachable(text));
    }
    let roots: RootCerts = found.certs.iter().map(|cert| Certificate::from_der(cert).to_owned()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(roots).build())
}
