//! `btfgen sync`: fills an archive from a repository.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use btf_archive::store::{self, Archive, FailureClass};
use btf_archive::{Digest, Key, Trust};
use btfgen::repo::offer::OfferedKernel;
use btfgen::sync::{self, Planned, State, plan};
use serde::Serialize;

use super::config::ConfigArgs;
use super::effort::{ArchiveArgs, EffortArgs};
use super::kernels::{Row, table};
use super::progress::Progress;
use super::repository::{RepositoryArgs, exit_code, human_size, print};

/// Fill an archive with the BTF of a repository's kernels.
///
/// Only what the archive lacks is fetched, and of each package only the part up to vmlinux. A run may be killed at any instant;
/// the next one goes on. Exits with 0 only if every selected kernel is in the archive.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    _config: ConfigArgs,
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    effort: EffortArgs,
    /// Only say what would be done.
    #[arg(long)]
    plan: bool,
    /// Only put what is missing into the archive's queue, for `btfgen work`.
    #[arg(long, conflicts_with = "plan")]
    enqueue: bool,
    /// Try kernels again that failed before, also those that are not tried again by themselves or not yet.
    #[arg(long)]
    retry_failed: bool,
    /// Let a kernel's BTF take the place of another that the archive has under its key. The reason is recorded.
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new(), conflicts_with = "enqueue")]
    replace: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match fill(&args) {
        Err(error) if exit_code(&error) != ExitCode::FAILURE => {
            eprintln!("btfgen: {}", super::message(&error));
            Ok(exit_code(&error))
        }
        outcome => outcome,
    }
}

/// What a run did, as JSON.
#[derive(Serialize)]
struct Summary {
    /// Kernels that were selected.
    selected: usize,
    added: Vec<AddedKernel>,
    /// In the archive before.
    present: usize,
    /// Made by others meanwhile.
    elsewhere: usize,
    /// Left in the queue, with --enqueue.
    enqueued: usize,
    /// Older packages of a release that is offered or present in a newer one.
    superseded: usize,
    failed: Vec<FailedKernel>,
    /// Kernels of which the repositories do not have what BTF could be made of. That is no failure of this run.
    unobtainable: Vec<FailedKernel>,
    /// Bytes received from the repositories.
    fetched: u64,
    /// Requests made.
    requests: u64,
    seconds: f64,
    /// Number of the newest snapshot.
    snapshot: u64,
}

#[derive(Serialize)]
struct AddedKernel {
    key: Key,
    build_id: Option<String>,
    digest: Digest,
    source: btf_archive::Source,
    trust: Trust,
    raw_size: u64,
    zst_size: u64,
    /// Bytes of its package.
    read: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct FailedKernel {
    key: Key,
    package: String,
    package_version: String,
    /// `passing`, `lasting`, `refused`; for one that was not tried again `before`, for one that is tried again later `waiting`.
    kind: &'static str,
    reason: String,
}

fn fill(args: &Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let (runtime, client) = args.effort.network()?;
    let offer = args.repository.offer(&client, runtime.handle())?;
    let incomplete = offer.exit_code();
    if offer.kernels.is_empty() && args.repository.selects() {
        eprintln!("btfgen: none of {} kernels matches {}", offer.total, args.repository.patterns());
        return Ok(ExitCode::from(3));
    }
    let archive = runtime.block_on(open(args))?;
    let planned = runtime.block_on(plan(archive.as_ref(), offer.kernels))?;
    let Some(archive) = archive.filter(|_| !args.plan) else {
        return print_plan(planned, args.json);
    };

    let mut summary = Summary {
        selected: planned.len(),
        added: Vec::new(),
        present: 0,
        elsewhere: 0,
        enqueued: 0,
        superseded: 0,
        failed: Vec::new(),
        unobtainable: Vec::new(),
        fetched: 0,
        requests: 0,
        seconds: 0.0,
        snapshot: 0,
    };
    let mut missing = Vec::new();
    for Planned { kernel, state } in planned {
        match state {
            State::Missing => missing.push(kernel),
            State::FailedBefore { .. } | State::Waiting { .. } if args.retry_failed => missing.push(kernel),
            State::FailedBefore { class: FailureClass::Refused, .. } if args.replace.is_some() => {
                missing.push(kernel);
            }
            State::FailedBefore { reason, .. } => {
                summary.failed.push(FailedKernel::new(&kernel, "before", reason));
            }
            State::Waiting { reason, .. } => {
                summary.failed.push(FailedKernel::new(&kernel, "waiting", reason));
            }
            State::Unobtainable { reason } => {
                runtime.block_on(sync::note_unobtainable(&archive, &kernel, &reason))?;
                summary.unobtainable.push(FailedKernel::new(&kernel, "unobtainable", reason));
            }
            State::Present => summary.present += 1,
            State::Superseded { .. } => summary.superseded += 1,
        }
    }
    let archive = Arc::new(archive);
    let named = || args.archive.named();
    if args.enqueue {
        runtime.block_on(sync::enqueue(&archive, &missing)).with_context(named)?;
        summary.enqueued = missing.len();
        missing.clear();
    } else {
        // Before hours of work, not after.
        runtime.block_on(archive.check_signing()).with_context(named)?;
    }
    let effort = args.effort.effort(&client, &args.repository.definitions()?, args.replace.clone())?;
    let progress = Arc::new(Progress::new(Some(missing.len()), args.json));
    let run = sync::run(archive, &client, missing, effort, Arc::clone(&progress) as _);
    let outcome = runtime.block_on(run);
    progress.clear();
    // Downloads that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    let (done, published) = outcome.with_context(named)?;

    for done in done {
        match done.outcome {
            Ok(_) if done.elsewhere => summary.elsewhere += 1,
            Ok(ref record) => summary.added.push(AddedKernel {
                key: record.key.clone(),
                build_id: record.build_id.map(|id| id.to_string()),
                digest: record.digest,
                source: record.provenance.source,
                trust: record.provenance.trust,
                raw_size: record.raw_size,
                zst_size: record.zst_size,
                read: done.read,
                seconds: done.took.as_secs_f64(),
            }),
            Err(failure) => {
                let kind = failure.class.as_str();
                summary.failed.push(FailedKernel::new(&done.kernel, kind, failure.reason));
            }
        }
    }
    summary.snapshot = published.latest.number;
    (summary.fetched, summary.requests) = (client.fetched(), client.requests());
    summary.seconds = start.elapsed().as_secs_f64();
    if args.json {
        print(&(serde_json::to_string_pretty(&summary)? + "\n"))?;
    } else {
        print(&summary.line())?;
        summary.failed.iter().chain(&summary.unobtainable).for_each(FailedKernel::tell);
    }
    Ok(if summary.exit_code() == ExitCode::SUCCESS { incomplete } else { summary.exit_code() })
}

/// The archive, which a plan does not make.
async fn open(args: &Args) -> Result<Option<Archive>, store::Error> {
    if !args.plan {
        return args.archive.create().await.map(Some);
    }
    match args.archive.open().await {
        // Of a directory with other things in it no archive can be made; of anything else that is none, it can.
        Err(store::Error::NotAnArchive { .. }) if args.archive.is_free() => Ok(None),
        opened => opened.map(Some),
    }
}

impl FailedKernel {
    fn new(kernel: &OfferedKernel, kind: &'static str, reason: String) -> Self {
        let package = kernel.principal();
        Self {
            key: kernel.key.clone(),
            package: package.name.clone(),
            package_version: package.version.clone(),
            kind,
            reason,
        }
    }
}

impl FailedKernel {
    /// Says what failed, why, and what to do.
    fn tell(&self) {
        let Self { key, package, package_version, kind, reason } = self;
        let next = match *kind {
            "passing" => "tried again after a while; `btfgen failures` says when",
            "unobtainable" => "another repository may have it",
            "waiting" => "failed before, and is tried again later; --retry-failed does now",
            "before" => "failed before and was not tried again; --retry-failed does",
            _ => "not to be tried again before the package or btfgen changes; --retry-failed does",
        };
        eprintln!("btfgen: {key} ({package} {package_version}): {reason}; {next}");
    }
}

impl Summary {
    /// One line for people.
    fn line(&self) -> String {
        let mut line = format!(
            "{} kernels selected: {} added, {} there already",
            self.selected,
            self.added.len(),
            self.present
        );
        let others = [
            (self.elsewhere, "made by others"),
            (self.enqueued, "enqueued"),
            (self.superseded, "superseded"),
            (self.failed.len(), "failed"),
            (self.unobtainable.len(), "unobtainable"),
        ];
        for (count, what) in others {
            if count > 0 {
                line += &format!(", {count} {what}");
            }
        }
        let Self { seconds, snapshot, .. } = self;
        line + &format!("; {} fetched in {seconds:.1} s; snapshot {snapshot}\n", human_size(self.fetched))
    }

    /// 0 only if nothing failed; 4 if all that failed was refused.
    fn exit_code(&self) -> ExitCode {
        if self.failed.is_empty() {
            ExitCode::SUCCESS
        } else if self.failed.iter().all(|failed| failed.kind == "refused") {
            ExitCode::from(4)
        } else {
            ExitCode::FAILURE
        }
    }
}

fn print_plan(planned: Vec<Planned>, json: bool) -> anyhow::Result<ExitCode> {
    let missing: Vec<u64> = planned
        .iter()
        .filter(|planned| planned.state == State::Missing)
        .filter_map(|planned| planned.kernel.principal().size)
        .collect();
    let rows: Vec<Row> = planned.into_iter().map(|planned| Row::new(planned, true)).collect();
    if json {
        print(&(serde_json::to_string_pretty(&serde_json::json!({ "kernels": rows }))? + "\n"))?;
    } else {
        let size = human_size(missing.iter().sum());
        let (todo, all) = (missing.len(), rows.len());
        print(&format!("{}{todo} of {all} kernels to do, from packages of {size}\n", table(&rows)))?;
    }
    Ok(ExitCode::SUCCESS)
}
