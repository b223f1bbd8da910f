//! Those who work on kernels in this process: they hold jobs, make BTF, hand it to the archive, and record what failed.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use btf_archive::store::{
    Added, Archive, Beside, Error, FailureClass, FailureReport, Job, KernelDraft, Subject, Worker,
};
use btf_archive::{KernelRecord, Provenance};
use tokio::task::AbortHandle;

use super::make::{self, Failure};
use super::plan::State;
use super::{DEADLY, Done, Effort, GENERATOR, Observer, beside, count};
use crate::fetch::{self, public_url};
use crate::repo::offer::OfferedKernel;
use crate::route::Fetched;

/// What all of them share.
pub(super) struct Crew {
    archive: Arc<Archive>,
    client: fetch::Client,
    pub(super) effort: Effort,
    observer: Arc<dyn Observer>,
    pub(super) worker: Worker,
}

/// Renews leases while it lives.
pub(super) struct SignsOfLife(AbortHandle);

impl Drop for SignsOfLife {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A kernel as a job's text.
pub(super) fn spec(kernel: &OfferedKernel) -> String {
    // Plain data: strings, numbers and lists of them.
    serde_json::to_string(kernel).unwrap_or_default()
}

impl Crew {
    pub(super) fn new(
        archive: Arc<Archive>,
        client: fetch::Client,
        effort: Effort,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self { archive, client, effort, observer, worker: Worker::new() }
    }

    /// Renews this crew's leases three times as often as they end.
    pub(super) fn signs_of_life(self: &Arc<Self>) -> SignsOfLife {
        let crew = Arc::clone(self);
        let task = tokio::spawn(async move {
            let lease = crew.effort.lease;
            loop {
                tokio::time::sleep(lease / 3).await;
                if let Err(error) = crew.archive.catalog().renew(&crew.worker, lease).await {
                    // The next sign may get through; if none does, somebody else does the same work once more, at worst.
                    tracing::warn!(%error, "cannot renew the leases of jobs");
                }
            }
        });
        SignsOfLife(task.abort_handle())
    }

    /// Takes the job of this kernel, unless somebody else has it.
    pub(super) async fn claim(&self, kernel: &OfferedKernel) -> Result<bool, Error> {
        let catalog = self.archive.catalog();
        catalog.claim_key(&self.worker, &kernel.key, &spec(kernel), self.effort.lease).await
    }

    /// What became of a kernel that somebody else had; nothing, if it is still to be done.
    pub(super) async fn settled(&self, kernel: &OfferedKernel) -> Result<Option<Done>, Error> {
        let outcome = match beside(Some(&*self.archive), kernel).await? {
            State::Missing => return Ok(None),
            State::Present | State::Superseded { .. } => {
                match self.archive.catalog().by_key(&kernel.key).await? {
                    Some(record) => Ok(record),
                    None => return Ok(None),
                }
            }
            State::FailedBefore { class, reason } => Err(Failure { class, reason, retry_after: None }),
            State::Unobtainable { reason } => Err(Failure::lasting(reason)),
            State::Waiting { reason, .. } => {
                Err(Failure { class: FailureClass::Passing, reason, retry_after: None })
            }
        };
        let (read, took) = (0, Duration::ZERO);
        Ok(Some(Done { kernel: kernel.clone(), outcome, elsewhere: true, read, took }))
    }

    /// Does the job of a kernel that was claimed.
    pub(super) async fn make_claimed(self: Arc<Self>, kernel: OfferedKernel) -> Result<Done, Error> {
        // Between plan and claim somebody else may have done it.
        let known = match beside(Some(&*self.archive), &kernel).await? {
            State::Present | State::Superseded { .. } => self.archive.catalog().by_key(&kernel.key).await?,
            _ => None,
        };
        let done = match known {
            Some(record) => {
                let (read, took) = (0, Duration::ZERO);
                Done { kernel, outcome: Ok(record), elsewhere: true, read, took }
            }
            None => self.make(kernel).await?,
        };
        self.put_down(&done).await?;
        self.observer.ended(&done);
        Ok(done)
    }

    /// Does a job of the queue; nothing, if nobody can read it.
    pub(super) async fn make_job(self: Arc<Self>, job: Job) -> Result<Option<Done>, Error> {
        let catalog = self.archive.catalog();
        let reason = match serde_json::from_str::<OfferedKernel>(&job.spec) {
            Ok(kernel) if kernel.key == job.key && !kernel.packages.is_empty() && job.attempts <= DEADLY => {
                return self.make_claimed(kernel).await.map(Some);
            }
            Ok(_) if job.attempts > DEADLY => format!("{DEADLY} workers have died of it"),
            Ok(_) => "its job is another kernel's".to_owned(),
            Err(error) => format!("its job cannot be read by {GENERATOR}: {error}"),
        };
        tracing::warn!(kernel = %job.key, reason, "a job is given up");
        let subject = Subject::Key(job.key.clone());
        let report = FailureReport {
            generator: Some(GENERATOR.to_owned()),
            ..FailureReport::new(subject, FailureClass::Lasting, reason)
        };
        catalog.record_failure(&report).await?;
        catalog.finish(&self.worker, &job.key).await?;
        Ok(None)
    }

    async fn make(&self, kernel: OfferedKernel) -> Result<Done, Error> {
        let start = Instant::now();
        let read = Arc::new(AtomicU64::new(0));
        self.observer.begins(&kernel, &read);
        let work = {
            let (kernel, read, effort) = (kernel.clone(), Arc::clone(&read), self.effort.clone());
            let client = effort.certified.get(kernel.key.distro()).unwrap_or(&self.client).clone();
            tokio::task::spawn_blocking(move || make::make(&client, &kernel, &effort, read))
        };
        let made = match work.await {
            Ok(made) => made,
            // A defect of ours, which one kernel in a thousand brings to light, must not keep the others from the archive.
            Err(error) => Err(Failure::lasting(format!("btfgen has a defect: {error}"))),
        };
        let outcome = match made {
            Ok(made) => self.add(&kernel, made).await?,
            Err(failure) => Err(failure),
        };
        let (read, took) = (count(&read), start.elapsed());
        Ok(Done { kernel, outcome, elsewhere: false, read, took })
    }

    /// Hands the BTF to the archive, which may find that it contradicts what it knows.
    async fn add(
        &self,
        kernel: &OfferedKernel,
        made: Fetched,
    ) -> Result<Result<KernelRecord, Failure>, Error> {
        // What the BTF was taken from, which is not always the package by which the kernel is known.
        let package = kernel.packages.iter().find(|package| package.url == made.url);
        let package = package.unwrap_or_else(|| kernel.principal());
        let draft = KernelDraft {
            key: kernel.key.clone(),
            build_id: made.build_id,
            provenance: Provenance {
                package: Some(package.name.clone()),
                package_version: Some(package.version.clone()),
                url: Some(public_url(&made.url)),
                sha256: made.sha256,
                trust: made.trust,
                source: made.source,
                generator: GENERATOR.to_owned(),
            },
            digest: None,
        };
        let modules = Some(made.modules.btf).filter(|modules| !modules.is_empty());
        let beside = Beside {
            config: made.config.map(Into::into),
            modules: modules.map(|modules| modules.into_iter().collect()),
        };
        let provenance = draft.provenance.clone();
        let added = match &self.effort.replace {
            Some(reason) => self.archive.replace_with(draft, made.btf, beside, reason).await,
            None => self.archive.add_with(draft, made.btf, beside).await,
        };
        match added {
            Ok(Added::AlreadyThere(record))
                if record.provenance.package_version != provenance.package_version =>
            {
                // Else every run would fetch the newer version again, only to find the same in it.
                self.archive.catalog().restate(&record.key, &record.digest, &provenance).await?;
                Ok(Ok(KernelRecord { provenance, ..record }))
            }
            Ok(Added::New(record) | Added::AlreadyThere(record)) => Ok(Ok(record)),
            Err(error @ (Error::Conflict { .. } | Error::BuildIdConflict { .. })) => {
                Ok(Err(Failure::refused(format!("{error}; --replace REASON does, and records why"))))
            }
            Err(error @ (Error::NotBtf { .. } | Error::TooLarge { .. } | Error::Input(_))) => {
                Ok(Err(Failure::lasting(error.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps the reason of a failure, and ends the job: adding a kernel has forgotten its failure.
    async fn put_down(&self, done: &Done) -> Result<(), Error> {
        let (catalog, key) = (self.archive.catalog(), &done.kernel.key);
        if let Err(failure) = &done.outcome {
            let package = done.kernel.principal();
            let report = FailureReport {
                retry: failure.retry(),
                package: Some(package.name.clone()),
                package_version: Some(package.version.clone()),
                generator: Some(GENERATOR.to_owned()),
                ..FailureReport::new(Subject::Key(key.clone()), failure.class, failure.reason.as_str())
            };
            catalog.record_failure(&report).await?;
        }
        catalog.finish(&self.worker, key).await?;
        Ok(())
    }
}
