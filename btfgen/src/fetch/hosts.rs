//! How hard the network may be used: requests at once, per host and in all; pauses that hosts asked for; bytes per second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

use super::Options;

/// The most hosts kept in mind at once; beyond, those that nobody uses are forgotten.
const HOSTS: usize = 1024;

/// Shared by all requests of a client.
#[derive(Debug)]
pub(super) struct Hosts {
    all: Arc<Semaphore>,
    each: usize,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    bandwidth: Option<u64>,
    /// When the bytes received so far will have taken as long as they should.
    paid: Mutex<Instant>,
}

#[derive(Debug)]
struct Host {
    permits: Arc<Semaphore>,
    not_before: Mutex<Instant>,
}

/// One request's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _host: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Hosts {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            all: Arc::new(Semaphore::new(options.connections.max(1))),
            each: options.connections_per_host.max(1),
            hosts: Mutex::default(),
            bandwidth: options.bandwidth.map(|rate| rate.max(1)),
            paid: Mutex::new(Instant::now()),
        }
    }

    fn host(&self, url: &Url) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= HOSTS {
            hosts.retain(|_, host| {
                Arc::strong_count(host) > 1 || host.permits.available_permits() < self.each
            });
        }
        let new = || {
            let permits = Arc::new(Semaphore::new(self.each));
            Arc::new(Host { permits, not_before: Mutex::new(Instant::now()) })
        };
        Arc::clone(hosts.entry(url.host_str().unwrap_or_default().to_owned()).or_insert_with(new))
    }

    /// Waits until the host of `url` may be asked.
    pub(super) async fn permit(&self, url: &Url) -> Permit {
        const OPEN: &str = "these semaphores are never closed";
        let host = self.host(url);
        let of_host = Arc::clone(&host.permits).acquire_owned().await.expect(OPEN);
        let not_before = *host.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::time::sleep_until(not_before).await;
        Permit { _host: of_host, _all: Arc::clone(&self.all).acquire_owned().await.expect(OPEN) }
    }

    /// The host of `url` asked to be left alone: everybody waits, not only the request that was told.
    pub(super) fn leave_alone(&self, url: &Url, pause: Duration) {
        let host = self.host(url);
        let mut not_before = host.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        *not_before = (*not_before).max(Instant::now() + pause);
    }

    /// Waits as long as these bytes should have taken.
    pub(super) async fn pace(&self, bytes: usize) {
        let Some(rate) = self.bandwidth else { return };
        let begun = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let begun = (*paid).max(Instant::now());
            *paid = begun + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *paid
        };
        tokio::time::sleep_until(begun).await;
    }
}
