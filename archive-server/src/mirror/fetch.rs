//! Fetching objects: from whichever upstream has them, again after a pause where the failure may pass, and taken only once they have been checked.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use btf_archive::ObjectPath;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::pace::Pace;
use super::partial::Partial;
use super::upstream::{Cost, Failure, Upstream};

/// How often an upstream is asked for an object while its failures may pass.
const ATTEMPTS: u32 = 4;
/// How long to wait before the second attempt; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(300);

/// Fetches objects from upstreams.
#[derive(Debug)]
pub struct Fetcher {
    upstreams: Vec<Upstream>,
    pace: Pace,
    connections: Semaphore,
    partials: PathBuf,
    /// The upstream that answered last; it is asked first.
    preferred: AtomicUsize,
    pub(super) bytes: AtomicU64,
    pub(super) resumed: AtomicU64,
    pub(super) requests: AtomicU64,
}

/// Why an object could not be had from any upstream.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {}", reasons.join("; "))]
pub struct Unavailable {
    /// The object.
    pub path: ObjectPath,
    /// What each upstream said.
    pub reasons: Vec<String>,
    /// Whether some had it, and it was not what it should be.
    pub corrupt: bool,
}

impl Fetcher {
    /// Fetches from these upstreams, the first first, with at most so many connections and bytes a second; what has come of large objects is kept in the
    /// directory `partials`.
    pub fn new(upstreams: Vec<Upstream>, connections: usize, rate: Option<u64>, partials: &Path) -> Self {
        Self {
            upstreams,
            pace: Pace::new(rate),
            connections: Semaphore::new(connections.max(1)),
            partials: partials.to_owned(),
            preferred: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        }
    }

    /// The upstreams, in the order in which they were given.
    pub fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// Fetches an object from one upstream, unchecked.
    pub(super) async fn from(
        &self,
        upstream: &Upstream,
        path: &ObjectPath,
    ) -> Result<Option<Bytes>, Unavailable> {
        let mut partial = Partial::of(&self.partials, path);
        partial.discard();
        let failed = |failure: Failure| Unavailable {
            path: *path,
            reasons: vec![said(upstream, &failure.reason)],
            corrupt: false,
        };
        self.patiently(upstream, path, &mut partial).await.map_err(failed)
    }

    /// Fetches an object that `take` accepts, from any upstream; none if no upstream has it.
    pub(super) async fn fetch<T>(
        &self,
        path: &ObjectPath,
        take: impl AsyncFn(Bytes) -> Result<T, String>,
    ) -> Result<Option<T>, Unavailable> {
        let mut partial = Partial::of(&self.partials, path);
        let (mut reasons, mut corrupt) = (Vec::new(), false);
        let first = self.preferred.load(Ordering::Relaxed);
        for turn in 0..self.upstreams.len() {
            let place = (first + turn) % self.upstreams.len();
            let upstream = &self.upstreams[place];
            // What was resumed may have been spoilt by a crash of this machine: once more, from the start.
            for resumed in [true, false] {
                match self.patiently(upstream, path, &mut partial).await {
                    Ok(None) => break,
                    Err(failure) => {
                        reasons.push(said(upstream, &failure.reason));
                        break;
                    }
                    Ok(Some(bytes)) => match take(bytes).await {
                        Ok(taken) => {
                            partial.discard();
                            self.preferred.store(place, Ordering::Relaxed);
                            return Ok(Some(taken));
                        }
                        Err(reason) => {
                            partial.discard();
                            if !resumed {
                                corrupt = true;
                                reasons.push(said(upstream, &format!("refused: {reason}")));
                            }
                        }
                    },
                }
            }
        }
        if reasons.is_empty() { Ok(None) } else { Err(Unavailable { path: *path, reasons, corrupt }) }
    }

    /// Asks an upstream, and again while its failures may pass.
    async fn patiently(
        &self,
        upstream: &Upstream,
        path: &ObjectPath,
        partial: &mut Partial,
    ) -> Result<Option<Bytes>, Failure> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let mut cost = Cost::default();
            let answer = {
                // The semaphore is never closed; without a permit the work would still be right.
                let _permit = self.connections.acquire().await;
                upstream.get(path, partial, &self.pace, &mut cost).await
            };
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(cost.bytes, Ordering::Relaxed);
            self.resumed.fetch_add(cost.resumed, Ordering::Relaxed);
            match answer {
                Err(failure) if failure.passing && attempt < ATTEMPTS => {
                    tracing::debug!(upstream = upstream.name(), %path, reason = failure.reason, "asked again");
                    tokio::time::sleep(failure.wait.unwrap_or(pause)).await;
                    pause *= 2;
                }
                answer => return answer,
            }
        }
        Ok(None)
    }
}

fn said(upstream: &Upstream, reason: &str) -> String {
    format!("{}: {reason}", upstream.name())
}
