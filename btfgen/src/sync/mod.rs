//! Filling an archive from repositories, alone or with others.
//!
//! [`plan()`] compares what is offered with what the archive has, without fetching any package. [`run`] works through what is
//! missing: `make` fetches a kernel's BTF by the cheapest way, it is read back and must be a kernel's, and the
//! archive takes it. Several kernels are at work at once; the archive is written by one at a time.
//!
//! Who works on a kernel holds its job in the catalog, with a lease and signs of life: two runs at once do not fetch the same
//! kernel twice, and [`enqueue`] leaves jobs to workers elsewhere, which [`work`] through them.
//!
//! There is no state beside the archive's own, so a run may be killed at any instant: a kernel is in the catalog or it is not,
//! and the next run begins with those that are not. What fails is recorded in the catalog with its reason, and when
//! to try again: a failure of the network after a while, one that lies in the package when the package or this
//! program has another version.

mod crew;
mod make;
mod plan;
mod policy;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use btf_archive::KernelRecord;
use btf_archive::store::{Archive, Error, FailureClass, FailureReport, Published, Subject};
use tokio::task::JoinSet;

pub use make::Failure;
pub use plan::{Planned, Selection, State, plan};
pub use policy::{Policy, Rule};

use crate::fetch;
use crate::repo::offer::OfferedKernel;
use crew::Crew;
use plan::beside;

/// The program, as provenance and failures name it.
pub(crate) const GENERATOR: &str = concat!("btfgen ", env!("CARGO_PKG_VERSION"));

/// How often a job may be taken by workers that die of it.
const DEADLY: u64 = 5;

/// How much is done at once, how much is read, and what is accepted.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Kernels at work at once. Each holds a compressed vmlinux and its conversion in memory.
    pub kernels: usize,
    /// Threads that convert one kernel.
    pub threads: usize,
    /// The most memory that one vmlinux may take while it streams by, in bytes.
    pub memory: u64,
    /// Read every package to its end and check its signed hash.
    pub whole: bool,
    /// Make the modules' split BTF too.
    pub modules: bool,
    /// The least trust that is accepted.
    pub require: Policy,
    /// Why a key's digest may change; without it, a difference is refused.
    pub replace: Option<String>,
    /// How long a job is ours without a sign of life.
    pub lease: Duration,
    /// Clients that show a certificate, by distribution.
    pub certified: HashMap<String, fetch::Client>,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            kernels: 1,
            threads: 1,
            memory: 1 << 30,
            whole: false,
            modules: false,
            require: Policy::default(),
            replace: None,
            lease: Duration::from_secs(60),
            certified: HashMap::new(),
        }
    }
}

/// What became of one kernel.
#[derive(Debug)]
pub struct Done {
    /// The kernel.
    pub kernel: OfferedKernel,
    /// What the archive knows about it now, or why it does not.
    pub outcome: Result<KernelRecord, Failure>,
    /// Whether somebody else made it meanwhile.
    pub elsewhere: bool,
    /// Bytes of its packages that were read.
    pub read: u64,
    /// How long it took.
    pub took: Duration,
}

/// Told how a run goes on, from several threads.
pub trait Observer: Send + Sync {
    /// Work on a kernel begins; `read` counts the bytes of its packages as they arrive.
    fn begins(&self, kernel: &OfferedKernel, read: &Arc<AtomicU64>);
    /// Work on a kernel has ended.
    fn ended(&self, done: &Done);
}

/// Makes and adds the BTF of every given kernel, then publishes a snapshot. What others are at is left to them, and waited for.
///
/// # Errors
/// Only the archive's own. A kernel that fails is recorded, reported in its [`Done`], and does not stop the others.
pub async fn run(
    archive: Arc<Archive>,
    client: &fetch::Client,
    kernels: Vec<OfferedKernel>,
    effort: Effort,
    observer: Arc<dyn Observer>,
) -> Result<(Vec<Done>, Published), Error> {
    let crew = Arc::new(Crew::new(Arc::clone(&archive), client.clone(), effort, observer));
    let _alive = crew.signs_of_life();
    let mut waiting = kernels.into_iter();
    let mut with_others = Vec::new();
    let mut at_work = JoinSet::new();
    let mut done = Vec::new();
    loop {
        while at_work.len() < crew.effort.kernels.max(1) {
            let Some(kernel) = waiting.next() else { break };
            match crew.claim(&kernel).await? {
                true => drop(at_work.spawn(Arc::clone(&crew).make_claimed(kernel))),
                false => with_others.push(kernel),
            }
        }
        match at_work.join_next().await {
            Some(Ok(result)) => done.push(result?),
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None if with_others.is_empty() => break,
            None => {
                // Others finish them, or give them up, or die.
                tokio::time::sleep(Duration::from_millis(500)).await;
                let mut left = Vec::new();
                for kernel in std::mem::take(&mut with_others) {
                    match crew.settled(&kernel).await? {
                        Some(outcome) => done.push(outcome),
                        None => left.push(kernel),
                    }
                }
                waiting = left.into_iter();
            }
        }
    }
    // Also when nothing was added: a run before this one may have been killed before it published.
    let published = archive.publish().await?;
    Ok((done, published))
}

/// Leaves every given kernel to whoever [`work`]s on this catalog.
///
/// # Errors
/// The archive's own.
pub async fn enqueue(archive: &Archive, kernels: &[OfferedKernel]) -> Result<(), Error> {
    for kernel in kernels {
        archive.catalog().enqueue(&kernel.key, &crew::spec(kernel)).await?;
    }
    Ok(())
}

/// When a worker stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never: when there is nothing to do, it asks again after this long.
    Stopped(Duration),
    /// When no job is left, neither ready nor with others.
    Empty,
}

/// Takes jobs from the catalog and does them, and publishes whenever there is nothing to take, or a minute has passed.
///
/// # Errors
/// The archive's own. A job that fails does not end the worker.
pub async fn work(
    archive: Arc<Archive>,
    client: &fetch::Client,
    effort: Effort,
    until: Until,
    observer: Arc<dyn Observer>,
) -> Result<Vec<Done>, Error> {
    let crew = Arc::new(Crew::new(Arc::clone(&archive), client.clone(), effort, observer));
    let _alive = crew.signs_of_life();
    let mut at_work = JoinSet::new();
    let mut done = Vec::new();
    let (mut unpublished, mut published) = (true, Instant::now());
    loop {
        let mut nothing = false;
        while !nothing && at_work.len() < crew.effort.kernels.max(1) {
            match archive.catalog().claim(&crew.worker, crew.effort.lease).await? {
                Some(job) => drop(at_work.spawn(Arc::clone(&crew).make_job(job))),
                None => nothing = true,
            }
        }
        if unpublished && (at_work.is_empty() || published.elapsed() > Duration::from_secs(60)) {
            archive.publish().await?;
            (unpublished, published) = (false, Instant::now());
        }
        let pause = match until {
            Until::Stopped(pause) => pause,
            Until::Empty => Duration::from_millis(500),
        };
        if at_work.is_empty() {
            let backlog = archive.catalog().backlog().await?;
            if until == Until::Empty && backlog.ready + backlog.at_work == 0 {
                return Ok(done);
            }
            tokio::time::sleep(pause).await;
            continue;
        }
        // A free hand asks again even while the others are busy.
        let next = tokio::time::timeout(pause, at_work.join_next());
        match next.await {
            Ok(Some(Ok(result))) => {
                if let Some(outcome) = result? {
                    unpublished |= outcome.outcome.is_ok();
                    if until == Until::Empty {
                        done.push(outcome);
                    }
                }
            }
            Ok(Some(Err(error))) => std::panic::resume_unwind(error.into_panic()),
            Ok(None) | Err(_) => {}
        }
    }
}

/// Bytes read, for a [`Done`].
fn count(read: &AtomicU64) -> u64 {
    read.load(Ordering::Relaxed)
}

/// Records that a kernel's BTF cannot be had from what is on offer, for those who ask the archive for it.
///
/// # Errors
/// The archive's own.
pub async fn note_unobtainable(archive: &Archive, kernel: &OfferedKernel, reason: &str) -> Result<(), Error> {
    let package = kernel.principal();
    let subject = Subject::Key(kernel.key.clone());
    let report = FailureReport {
        package: Some(package.name.clone()),
        package_version: Some(package.version.clone()),
        generator: Some(GENERATOR.to_owned()),
        ..FailureReport::new(subject, FailureClass::Lasting, reason)
    };
    archive.catalog().record_failure(&report).await
}
