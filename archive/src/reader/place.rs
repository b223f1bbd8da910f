//! Where an archive is read from: a directory, or a web server.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::Error;
use crate::Provenance;

/// How long connecting may take, and a whole request.
const CONNECT: Duration = Duration::from_secs(15);
const REQUEST: Duration = Duration::from_secs(300);
/// How often a request that failed for a passing reason is made.
const ATTEMPTS: u32 = 4;
/// How long to wait before the second attempt; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(300);

/// Where an archive is.
#[derive(Debug)]
pub(super) enum Place {
    Directory(PathBuf),
    Web {
        /// Ends in a slash.
        base: String,
        agent: Agent,
    },
}

impl Place {
    /// A directory, a `file://` or an http(s) address.
    pub(super) fn open(location: &str) -> Result<Self, Error> {
        let public = || Provenance::public_url(location);
        if location.starts_with("http://") || location.starts_with("https://") {
            let base = format!("{}/", location.trim_end_matches('/'));
            let mut config = Agent::config_builder()
                .timeout_connect(Some(CONNECT))
                .timeout_global(Some(REQUEST))
                .https_only(location.starts_with("https://"))
                .user_agent(concat!("btf-archive/", env!("CARGO_PKG_VERSION")));
            if location.starts_with("https://") {
                config = config.tls_config(tls(&public())?);
            }
            return Ok(Self::Web { base, agent: config.build().into() });
        }
        let path = location.strip_prefix("file://").unwrap_or(location);
        if path.contains("://") {
            return Err(Error::Location { location: public() });
        }
        Ok(Self::Directory(path.into()))
    }

    /// An object's bytes, at most `limit` of them; `None` where there is none.
    pub(super) fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        Ok(self.get_in(path, limit, &mut bytes)?.then_some(bytes))
    }

    /// Puts an object's bytes, at most `limit` of them, in the place of `bytes`; tells whether there is one.
    pub(super) fn get_in(&self, path: &str, limit: u64, bytes: &mut Vec<u8>) -> Result<bool, Error> {
        bytes.clear();
        let fail = |reason: String| Error::Object { object: self.name(path), reason };
        let too_long = || fail(format!("it has more than {limit} bytes"));
        match self {
            Self::Directory(root) => {
                let file = match fs::File::open(root.join(path)) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                    file => file.map_err(|error| fail(error.to_string()))?,
                };
                file.take(limit + 1).read_to_end(bytes).map_err(|error| fail(error.to_string()))?;
                if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(true) }
            }
            Self::Web { base, agent } => {
                let mut pause = PAUSE;
                for attempt in 1.. {
                    let answer = agent.get(format!("{base}{path}")).call();
                    let answer = answer.and_then(|mut answer| {
                        answer.body_mut().with_config().limit(limit + 1).read_to_vec()
                    });
                    match answer {
                        Ok(answer) if answer.len() as u64 > limit => return Err(too_long()),
                        Ok(answer) => {
                            *bytes = answer;
                            return Ok(true);
                        }
                        Err(ureq::Error::StatusCode(404 | 410)) => return Ok(false),
                        Err(ureq::Error::BodyExceedsLimit(_)) => return Err(too_long()),
                        Err(error) if attempt < ATTEMPTS && is_passing(&error) => {}
                        Err(error) => return Err(fail(error.to_string())),
                    }
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                Ok(false)
            }
        }
    }

    /// An object's path or address, without secrets.
    pub(super) fn name(&self, path: &str) -> String {
        match self {
            Self::Directory(root) => root.join(path).display().to_string(),
            Self::Web { base, .. } => Provenance::public_url(&format!("{base}{path}")),
        }
    }
}

/// Whether the same request may succeed a little later.
fn is_passing(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::StatusCode(status) => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

/// TLS by rustls with ring, believing the system's authorities.
fn tls(location: &str) -> Result<TlsConfig, Error> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let reason =
            "no certificate authorities found; install ca-certificates or set SSL_CERT_FILE".to_owned();
        return Err(Error::Object { object: location.to_owned(), reason });
    }
    let roots: RootCerts = found.certs.iter().map(|cert| Certificate::from_der(cert).to_owned()).into();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(roots).build())
}
