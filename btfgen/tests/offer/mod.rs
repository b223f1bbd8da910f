//! Kernels on offer whose packages are served on loopback, and what fetching them asked of the server.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use btf_archive::{Digest, Key, Trust};
use btfgen::fetch::{Client, Options as FetchOptions};
use btfgen::repo::offer::{Checksum, Expected, OfferedKernel, Package, Places, Role};
use btfgen::repo::version::VersionOrder;
use btfgen::route::{self, Failed, Fetched, Options};

use crate::loopback::{Answer, Request, Server};

/// Packages of one kernel, served as a signed index would describe them.
pub struct Offer {
    pub server: Server,
    pub kernel: OfferedKernel,
}

impl Offer {
    pub fn new(release: &str, embeds_btf: Expected, packages: &[(Role, &str, Vec<u8>)]) -> Self {
        Self::with(release, embeds_btf, packages, |_, answer| answer)
    }

    /// With answers that the test may change.
    pub fn with(
        release: &str,
        embeds_btf: Expected,
        packages: &[(Role, &str, Vec<u8>)],
        change: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let files: HashMap<String, Arc<Vec<u8>>> = packages
            .iter()
            .map(|(_, name, bytes)| (format!("/{name}.deb"), Arc::new(bytes.clone())))
            .collect();
        let server = Server::new(move |request| {
            let answer = match files.get(&request.path) {
                Some(body) => Answer { body: Arc::clone(body), ..Answer::default() },
                None => Answer { status: Some("404 Not Found"), ..Answer::default() },
            };
            change(request, answer)
        });
        let packages = packages.iter().map(|(role, name, bytes)| Package {
            role: *role,
            name: (*name).into(),
            version: "6.1.2-1".into(),
            url: server.url(&format!("/{name}.deb")).parse().unwrap(),
            size: Some(bytes.len() as u64),
            checksum: Some(Checksum::Sha256(Digest::of(bytes))),
            trust: Trust::SignedIndex,
            signature_keys: None,
        });
        let kernel = OfferedKernel {
            key: Key::new("debian", "12", "i386", release).unwrap(),
            flavour: String::new(),
            source: "linux".into(),
            packages: packages.collect(),
            versions: VersionOrder::Deb,
            embeds_btf,
            origin: "a test".into(),
            places: Places::default(),
            client_certificate: None,
        };
        Self { server, kernel }
    }

    pub fn fetch(&self, options: &Options) -> Result<Fetched, Failed> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let limits = FetchOptions { first_pause: Duration::from_millis(1), ..FetchOptions::default() };
        let client = Client::new(runtime.handle().clone(), limits).unwrap();
        route::fetch(&client, &self.kernel, options)
    }
}

/// The ways of an attempt: `+image` was taken, `-debug-streamed` was not.
pub fn ways(explanation: &route::Explanation) -> Vec<String> {
    let way = |step: &route::Step| format!("{}{}", if step.taken { "+" } else { "-" }, step.way.as_str());
    explanation.steps.iter().map(way).collect()
}
