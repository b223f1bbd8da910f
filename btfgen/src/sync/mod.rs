//! Filling an archive from a repository.
//!
//! [`plan()`] compares what is offered with what the archive has, without fetching any package. [`run`] works through what is
//! missing: a package is streamed until its vmlinux is complete, vmlinux becomes BTF, the BTF is read back and must be a
//! kernel's, and the archive takes it. Several kernels are at work at once; the archive is written by one at a time.
//!
//! There is no state beside the archive's own, so a run may be killed at any instant: a kernel is in the catalog or it is not,
//! and the next run begins with those that are not. What fails is recorded in the catalog with its reason. A
//! failure of the network is tried again by the next run; one that lies in the package is not, until the package or this
//! program has another version.

mod make;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use btf_archive::store::{Added, Archive, Error, FailureClass, FailureReport, KernelDraft, Published, Subject};
use btf_archive::{KernelRecord, Provenance, Trust};
use tokio::task::JoinSet;

pub use make::Failure;
pub use plan::{Planned, Selection, State, plan};

use crate::fetch::{self, public_url};
use crate::repo::offer::OfferedKernel;
use plan::lasting_failure;

/// How much is done at once, and how much is read.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Kernels at work at once. Each holds a compressed vmlinux and its conversion in memory.
    pub kernels: usize,
    /// Threads that convert one kernel.
    pub threads: usize,
    /// Read every package to its end and check its signed hash.
    pub whole: bool,
}

/// What became of one kernel.
#[derive(Debug)]
pub struct Done {
    /// The kernel.
    pub kernel: OfferedKernel,
    /// What the archive knows about it now, or why it does not.
    pub outcome: Result<KernelRecord, Failure>,
    /// Bytes of its package that were read.
    pub read: u64,
    /// How long it took.
    pub took: Duration,
}

/// Told how a run goes on, from several threads.
pub trait Observer: Send + Sync {
    /// Work on a kernel begins; `read` counts the bytes of its package as they are read.
    fn begins(&self, kernel: &OfferedKernel, read: &Arc<AtomicU64>);
    /// Work on a kernel has ended.
    fn ended(&self, done: &Done);
}

/// Makes and adds the BTF of every given kernel, then publishes a snapshot.
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
    let mut waiting = kernels.into_iter();
    let mut at_work = JoinSet::new();
    let mut done = Vec::new();
    loop {
        while at_work.len() < effort.kernels.max(1) {
            let Some(kernel) = waiting.next() else { break };
            let (archive, client, observer) = (Arc::clone(&archive), client.clone(), Arc::clone(&observer));
            at_work.spawn(one(archive, client, kernel, effort, observer));
        }
        match at_work.join_next().await {
            Some(Ok(result)) => done.push(result?),
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => break,
        }
    }
    // Also when nothing was added: a run before this one may have been killed before it published.
    let published = archive.publish().await?;
    Ok((done, published))
}

async fn one(
    archive: Arc<Archive>,
    client: fetch::Client,
    kernel: OfferedKernel,
    effort: Effort,
    observer: Arc<dyn Observer>,
) -> Result<Done, Error> {
    let start = Instant::now();
    let read = Arc::new(AtomicU64::new(0));
    observer.begins(&kernel, &read);
    let work = {
        let (kernel, read) = (kernel.clone(), Arc::clone(&read));
        tokio::task::spawn_blocking(move || make::make(&client, &kernel, effort.threads, effort.whole, read))
    };
    let made = match work.await {
        Ok(made) => made,
        // A defect of ours, which one kernel in a thousand brings to light, must not keep the others from the archive.
        Err(error) => Err(Failure::Lasting(format!("btfgen has a defect: {error}"))),
    };
    let outcome = match made {
        Ok(made) => add(&archive, &kernel, made).await?,
        Err(failure) => Err(failure),
    };
    record(&archive, &kernel, &outcome).await?;
    let done = Done { kernel, outcome, read: read.load(Ordering::Relaxed), took: start.elapsed() };
    observer.ended(&done);
    Ok(done)
}

/// Hands the BTF to the archive, which may find that it contradicts what it knows.
async fn add(
    archive: &Archive,
    kernel: &OfferedKernel,
    made: make::Made,
) -> Result<Result<KernelRecord, Failure>, Error> {
    let package = kernel.principal();
    let draft = KernelDraft {
        key: kernel.key.clone(),
        build_id: made.build_id,
        provenance: Provenance {
            package: Some(package.name.clone()),
            package_version: Some(package.version.clone()),
            url: Some(public_url(&package.url)),
            sha256: made.sha256,
            // Where reading stopped once vmlinux was complete, nothing but the index was checked.
            trust: match package.trust {
                Trust::SignedIndex if made.sha256.is_some() => Trust::SignedPackage,
                of_index => of_index,
            },
            source: made.source,
            generator: concat!("btfgen ", env!("CARGO_PKG_VERSION")).to_owned(),
        },
        digest: None,
    };
    match archive.add(draft, made.btf).await {
        Ok(Added::New(record) | Added::AlreadyThere(record)) => Ok(Ok(record)),
        Err(error @ (Error::Conflict { .. } | Error::BuildIdConflict { .. })) => {
            Ok(Err(Failure::Refused(error.to_string())))
        }
        Err(error @ (Error::NotBtf { .. } | Error::TooLarge { .. })) => {
            Ok(Err(Failure::Lasting(error.to_string())))
        }
        Err(error) => Err(error),
    }
}

/// Keeps the reason of a failure, and forgets that of one that is mended.
async fn record(
    archive: &Archive,
    kernel: &OfferedKernel,
    outcome: &Result<KernelRecord, Failure>,
) -> Result<(), Error> {
    let (catalog, lasting) = (archive.catalog(), lasting_failure(kernel));
    match outcome {
        Ok(_) => catalog.clear_failure(&lasting).await,
        Err(failure) => {
            if failure.is_lasting() {
                catalog.record_failure(&FailureReport::new(lasting, FailureClass::Lasting, failure.reason())).await?;
            }
            if catalog.by_key(&kernel.key).await?.is_none() {
                // What the service tells those who ask for this kernel.
                let key = Subject::Key(kernel.key.clone());
                catalog.record_failure(&FailureReport::new(key, FailureClass::Passing, failure.reason())).await?;
            }
            Ok(())
        }
    }
}
