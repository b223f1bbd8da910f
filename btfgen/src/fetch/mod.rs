//! Bringing bytes from servers that may fail, lie or dawdle: time limits, bounded retries, resumption of a broken body, parts of
//! files, and an early stop.
//!
//! - [`Client`] holds the limits and the connections, and counts every byte it received and every request it made;
//! - [`Body`] is one response as an async stream of chunks: when the connection breaks in the middle it asks for the
//!   rest with a `Range`, and goes on only if the server still has the same file (ETag, Last-Modified and length);
//! - [`Download`] is a [`Body`] behind [`std::io::Read`], for decoders, which are synchronous. Dropping it ends the
//!   transfer: a package of 700 MB is left after the 70 MB that matter;
//! - [`Ranges`] reads parts of a file, each by one request.
//!
//! Redirects are followed one by one (`send`): never from https to http, and never from a public server to an address that is
//! not public (`address`, `resolve`), whatever a name means at that moment. `hosts` says how hard a server may be used.
//! `file://` URLs name local files.
//!
//! Proxies come from the environment (`http_proxy`, `https_proxy`, `no_proxy`). TLS is rustls with the system's roots.
//! The caller installs the crypto provider (`rustls::crypto::ring::default_provider().install_default()`).

mod address;
mod body;
mod download;
mod error;
mod hosts;
mod identity;
mod options;
mod ranges;
mod resolve;
mod retry;
mod send;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use url::Url;

pub use self::address::Scope;
pub use self::body::Body;
pub use self::download::Download;
pub use self::error::Error;
use self::hosts::Hosts;
pub use self::options::{Network, Options, Resolve};
pub use self::ranges::Ranges;
use self::resolve::Names;

/// `url` as it may be shown and recorded: without user name, password, query and fragment.
pub fn public_url(url: &Url) -> String {
    btf_archive::Provenance::public_url(url.as_str())
}

/// A client for http, https and file URLs; clones share connections, limits and counts.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
    names: Names,
    options: Arc<Options>,
    runtime: Handle,
    certificate: Option<Certificate>,
    /// One for our own requests, one for those that a server of each scope caused; with and without the client certificate.
    pools: Arc<Mutex<Pools>>,
}

type Pools = HashMap<(Option<Scope>, bool), reqwest::Client>;

/// What clones, and clients made of one another, have in common.
#[derive(Debug)]
struct Shared {
    hosts: Hosts,
    fetched: AtomicU64,
    requests: AtomicU64,
}

/// How a client shows who it is.
#[derive(Clone, Debug)]
struct Certificate {
    identity: reqwest::Identity,
    authorities: Vec<reqwest::Certificate>,
}

impl Client {
    /// A client whose downloads run on `runtime`.
    pub fn new(runtime: Handle, options: Options) -> Result<Self, Error> {
        let shared =
            Shared { hosts: Hosts::new(&options), fetched: AtomicU64::new(0), requests: AtomicU64::new(0) };
        let client = Self {
            shared: Arc::new(shared),
            names: Names::new(options.network.clone()),
            options: Arc::new(options),
            runtime,
            certificate: None,
            pools: Arc::default(),
        };
        // What cannot be set up is told here, not at the first request.
        client.http(None, true)?;
        Ok(client)
    }

    /// A client that shows this certificate to the servers it is sent to, and shares limits and counts with `self`. Servers that
    /// those redirect to do not see it, unless they are of the same origin.
    ///
    /// `identity` is PEM with a private key and its certificates; `authorities` PEM with certificates that may vouch for the
    /// servers, beside the system's.
    ///
    /// # Errors
    /// [`Error::Setup`] if they cannot be read.
    pub fn with_certificate(&self, identity: &[u8], authorities: &[u8]) -> Result<Self, Error> {
        let certificate = Certificate {
            identity: reqwest::Identity::from_pem(identity).map_err(Error::Setup)?,
            authorities: reqwest::Certificate::from_pem_bundle(authorities).map_err(Error::Setup)?,
        };
        let client = Self { certificate: Some(certificate), pools: Arc::default(), ..self.clone() };
        client.http(None, true)?;
        Ok(client)
    }

    /// Asks for `url` and returns its body, not yet read. Retries until an answer comes or the attempts are used up.
    pub async fn get(&self, url: &Url) -> Result<Body, Error> {
        Body::open(self.clone(), url.clone(), None).await
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
        Download::open(self, url, None)
    }

    /// The same, for who will leave early: `first` bytes are asked for, and more, by further requests, when they are read. [`Client::open`] is cheaper for who reads
    /// on: a server sends ahead as much as the systems on both sides buffer, some megabytes.
    pub fn open_some(&self, url: &Url, first: u64) -> Result<Download, Error> {
        Download::open(self, url, Some(first))
    }

    /// `url` to be read in parts. Nothing is asked for yet.
    pub fn ranges(&self, url: &Url) -> Ranges {
        Ranges::new(self.clone(), url.clone())
    }

    /// Bytes of bodies received so far by this client and its clones, repeated ones included.
    pub fn fetched(&self) -> u64 {
        self.shared.fetched.load(Ordering::Relaxed)
    }

    /// Requests made so far by this client and its clones, redirects and repeated ones included.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: usize) {
        self.shared.fetched.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count_request(&self) {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The connections for our own requests, or for those that a server in `from` caused.
    fn http(&self, from: Option<Scope>, same_origin: bool) -> Result<reqwest::Client, Error> {
        let certificate = self.certificate.as_ref().filter(|_| same_origin);
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = pools.get(&(from, certificate.is_some())) {
            return Ok(http.clone());
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("btfgen/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.options.connect_timeout)
            .read_timeout(self.options.idle_timeout)
            .dns_resolver(self.names.resolver(from))
            .redirect(reqwest::redirect::Policy::none());
        if let Some(Certificate { identity, authorities }) = certificate {
            builder = builder.identity(identity.clone()).tls_certs_merge(authorities.clone());
        }
        let http = builder.build().map_err(Error::Setup)?;
        pools.insert((from, certificate.is_some()), http.clone());
        Ok(http)
    }
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
