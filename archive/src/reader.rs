//! Reading an archive from outside: a directory on disk, or any web server that has one.
//!
//! Needs neither the catalog nor the service: `latest.json` names a snapshot, the snapshot names blobs, and every step is checked against the digest that the
//! one before it gave.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::snapshot::{self, Latest, Snapshot};
use crate::{Digest, Provenance, blob};

/// How long connecting may take, and a whole request.
const CONNECT: Duration = Duration::from_secs(15);
const REQUEST: Duration = Duration::from_secs(300);
/// How often a request that failed for a passing reason is made.
const ATTEMPTS: u32 = 4;
/// How long to wait before the second attempt; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(300);

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A location that is neither a directory nor an http(s) address.
    #[error("{location}: an archive is a directory, or an http or https address")]
    Location {
        /// What was given, without secrets.
        location: String,
    },
    /// There is no `latest.json`: nothing was ever published there, or it is no archive.
    #[error("{location}: no archive, or nothing has been published in it yet: there is no latest.json")]
    NotAnArchive {
        /// The archive.
        location: String,
    },
    /// An object that the archive should have could not be had.
    #[error("{object}: {reason}")]
    Object {
        /// Its path or address.
        object: String,
        /// Why not.
        reason: String,
    },
    /// An object is not what it should be.
    #[error("{object}: {source}")]
    Refused {
        /// Its path or address.
        object: String,
        /// What is wrong with it.
        source: crate::Error,
    },
}

/// An archive, open for reading. Cheap to share between threads.
#[derive(Debug)]
pub struct Reader {
    place: Place,
}

/// Memory for a blob, compressed and raw, to be used again.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    zst: Vec<u8>,
    raw: Vec<u8>,
}

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    Web {
        /// Ends in a slash.
        base: String,
        agent: Agent,
    },
}

impl Reader {
    /// Opens an archive at a directory, a `file://` or an http(s) address. Proxies and authorities come from the environment and the system.
    ///
    /// # Errors
    /// [`Error::Location`]; that there is an archive shows when something is read.
    pub fn open(location: &str) -> Result<Self, Error> {
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
            return Ok(Reader { place: Place::Web { base, agent: config.build().into() } });
        }
        let path = location.strip_prefix("file://").unwrap_or(location);
        if path.contains("://") {
            return Err(Error::Location { location: public() });
        }
        Ok(Reader { place: Place::Directory(path.into()) })
    }

    /// Everything that the newest snapshot says.
    ///
    /// # Errors
    /// [`Error::NotAnArchive`], and what reading and checking the two files may answer.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        let Some(latest) = self.get(snapshot::LATEST, snapshot::MAX_LATEST as u64)? else {
            return Err(Error::NotAnArchive { location: self.name("") });
        };
        let latest = Latest::decode(&latest).map_err(|source| self.refused(snapshot::LATEST, source))?;
        let path = snapshot::path(latest.number);
        let zst = self.need(&path, snapshot::MAX_RAW as u64)?;
        latest.digest.check(&zst).map_err(|source| self.refused(&path, source))?;
        Snapshot::decode(&zst).map_err(|source| self.refused(&path, source))
    }

    /// A blob's raw bytes, checked against its digest.
    ///
    /// # Errors
    /// [`Error::Object`], [`Error::Refused`].
    pub fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let mut buffers = Buffers::default();
        self.blob_in(digest, &mut buffers)?;
        Ok(buffers.raw)
    }

    /// As [`Self::blob`], in memory that is used again: for whoever goes over hundreds of blobs.
    ///
    /// # Errors
    /// Those of [`Self::blob`].
    pub fn blob_in<'b>(&self, digest: &Digest, buffers: &'b mut Buffers) -> Result<&'b [u8], Error> {
        let Buffers { zst, raw } = buffers;
        let path = blob::path(digest);
        if !self.get_in(&path, blob::MAX_ZST, zst)? {
            return Err(self.missing(&path));
        }
        let decompressed = blob::decompress_into(zst, blob::MAX_RAW, raw).and_then(|()| digest.check(raw));
        decompressed.map_err(|source| self.refused(&path, source))?;
        Ok(raw)
    }

    fn need(&self, path: &str, limit: u64) -> Result<Vec<u8>, Error> {
        self.get(path, limit)?.ok_or_else(|| self.missing(path))
    }

    fn missing(&self, path: &str) -> Error {
        Error::Object { object: self.name(path), reason: "it is not there".to_owned() }
    }

    /// An object's bytes, at most `limit` of them; `None` where there is none.
    fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        Ok(self.get_in(path, limit, &mut bytes)?.then_some(bytes))
    }

    /// Puts an object's bytes, at most `limit` of them, in the place of `bytes`; tells whether there is one.
    fn get_in(&self, path: &str, limit: u64, bytes: &mut Vec<u8>) -> Result<bool, Error> {
        bytes.clear();
        let fail = |reason: String| Error::Object { object: self.name(path), reason };
        let too_long = || fail(format!("it has more than {limit} bytes"));
        match &self.place {
            Place::Directory(root) => {
                let file = match fs::File::open(root.join(path)) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                    file => file.map_err(|error| fail(error.to_string()))?,
                };
                file.take(limit + 1).read_to_end(bytes).map_err(|error| fail(error.to_string()))?;
                if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(true) }
            }
            Place::Web { base, agent } => {
                let mut pause = PAUSE;
                for attempt in 1.. {
                    let answer = agent.get(format!("{base}{path}")).call();
                    let answer = answer
                        .and_then(|mut answer| answer.body_mut().with_config().limit(limit).read_to_vec());
                    match answer {
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

    fn name(&self, path: &str) -> String {
        match &self.place {
            Place::Directory(root) => root.join(path).display().to_string(),
            Place::Web { base, .. } => Provenance::public_url(&format!("{base}{path}")),
        }
    }

    fn refused(&self, path: &str, source: crate::Error) -> Error {
        Error::Refused { object: self.name(path), source }
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
