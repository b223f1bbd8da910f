//! `btfgen sync`: fills an archive from a repository.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use btf_archive::store::{self, Archive};
use btf_archive::{Digest, Key};
use btfgen::repo::offer::OfferedKernel;
use btfgen::sync::{self, Done, Effort, Failure, Observer, Planned, State, plan};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::kernels::{Row, table};
use super::repository::{RepositoryArgs, exit_code, human_size, network, print};

/// Fill an archive with the BTF of a repository's kernels.
///
/// Only what the archive lacks is fetched, and of each package only the part up to vmlinux. A run may be killed at any instant;
/// the next one goes on. Exits with 0 only if every selected kernel is in the archive.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The archive: a directory, made if it does not exist.
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Kernels worked on at once; each takes up to about 700 MB of memory [default: 1 for each 2 processors, at most 4]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    /// What is checked of a package: that a signed index names it, reading only up to vmlinux; or its signed hash, reading all of it.
    #[arg(long, value_enum, default_value_t = Verify::Index)]
    verify: Verify,
    /// Only say what would be done.
    #[arg(long)]
    plan: bool,
    /// Try kernels again that failed before for a lasting reason.
    #[arg(long)]
    retry_failed: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How far a package is verified.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Verify {
    /// Named by a signed index.
    Index,
    /// Read wholly, its signed hash checked.
    Full,
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
    /// Older packages of a release that is offered or present in a newer one.
    superseded: usize,
    failed: Vec<FailedKernel>,
    /// Bytes received from the repository.
    fetched: u64,
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
    /// `passing`, `lasting`, `refused` or, for one that was not tried again, `before`.
    kind: &'static str,
    reason: String,
}

fn fill(args: &Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let (runtime, client) = network()?;
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
        superseded: 0,
        failed: Vec::new(),
        fetched: 0,
        seconds: 0.0,
        snapshot: 0,
    };
    let mut missing = Vec::new();
    for Planned { kernel, state } in planned {
        match state {
            State::Missing => missing.push(kernel),
            State::FailedBefore { .. } if args.retry_failed => missing.push(kernel),
            State::FailedBefore { reason } => {
                summary.failed.push(FailedKernel::new(&kernel, "before", reason));
            }
            State::Present => summary.present += 1,
            State::Superseded { .. } => summary.superseded += 1,
        }
    }
    let progress = Arc::new(Progress::new(missing.len(), args.json));
    let run = sync::run(Arc::new(archive), &client, missing, args.effort(), Arc::clone(&progress) as _);
    let outcome = runtime.block_on(run);
    progress.clear();
    // Downloads that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    let (done, published) = outcome.with_context(|| format!("archive {}", args.archive.display()))?;

    for done in done {
        match done.outcome {
            Ok(ref record) => summary.added.push(AddedKernel {
                key: record.key.clone(),
                build_id: record.build_id.map(|id| id.to_string()),
                digest: record.digest,
                source: record.provenance.source,
                raw_size: record.raw_size,
                zst_size: record.zst_size,
                read: done.read,
                seconds: done.took.as_secs_f64(),
            }),
            Err(failure) => {
                let reason = failure.reason().to_owned();
                summary.failed.push(FailedKernel::new(&done.kernel, kind(&failure), reason));
            }
        }
    }
    summary.snapshot = published.latest.number;
    summary.fetched = client.fetched();
    summary.seconds = start.elapsed().as_secs_f64();
    if args.json {
        print(&(serde_json::to_string_pretty(&summary)? + "\n"))?;
    } else {
        print(&summary.line())?;
        summary.failed.iter().for_each(FailedKernel::tell);
    }
    Ok(if summary.exit_code() == ExitCode::SUCCESS { incomplete } else { summary.exit_code() })
}

/// The archive, which a plan does not make.
async fn open(args: &Args) -> Result<Option<Archive>, store::Error> {
    if !args.plan {
        return Archive::create(&args.archive).await.map(Some);
    }
    let nothing_there = std::fs::read_dir(&args.archive).map_or(true, |mut entries| entries.next().is_none());
    if nothing_there { Ok(None) } else { Archive::open(&args.archive).await.map(Some) }
}

impl Args {
    fn effort(&self) -> Effort {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let kernels = self.jobs.map_or((processors / 2).clamp(1, 4), usize::from);
        Effort { kernels, threads: (processors / kernels).max(1), whole: self.verify == Verify::Full }
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
            "passing" => "the next run tries it again",
            "before" => "failed before and was not tried again; --retry-failed does",
            _ => "not to be tried again before the package or btfgen changes; --retry-failed does",
        };
        eprintln!("btfgen: {key} ({package} {package_version}): {reason}; {next}");
    }
}

fn kind(failure: &Failure) -> &'static str {
    match failure {
        Failure::Passing(_) => "passing",
        Failure::Lasting(_) => "lasting",
        Failure::Refused(_) => "refused",
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
        for (count, what) in [(self.superseded, "superseded"), (self.failed.len(), "failed")] {
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

/// One bar per kernel at work and one for all, on a terminal; else a line per kernel.
struct Progress {
    bars: MultiProgress,
    total: ProgressBar,
    lines: bool,
    at_work: std::sync::Mutex<Vec<(Key, ProgressBar)>>,
}

impl Progress {
    fn new(kernels: usize, json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} kernels, {elapsed}")
            .expect("a valid template");
        let total = bars.add(ProgressBar::new(kernels as u64).with_style(style));
        Self { bars, total, lines: !terminal && !json, at_work: std::sync::Mutex::default() }
    }

    fn clear(&self) {
        self.total.finish_and_clear();
    }

    fn at_work(&self) -> std::sync::MutexGuard<'_, Vec<(Key, ProgressBar)>> {
        self.at_work.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Observer for Progress {
    fn begins(&self, kernel: &OfferedKernel, read: &Arc<AtomicU64>) {
        let read = Arc::clone(read);
        let style = ProgressStyle::with_template("  {spinner} {msg}, {read} read").expect("a valid template");
        let style =
            style.with_key("read", move |_: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&human_size(read.load(Ordering::Relaxed)));
            });
        let bar =
            self.bars.add(ProgressBar::new_spinner().with_style(style).with_message(kernel.key.to_string()));
        bar.enable_steady_tick(Duration::from_millis(200));
        self.at_work().push((kernel.key.clone(), bar));
    }

    fn ended(&self, done: &Done) {
        let mut at_work = self.at_work();
        if let Some(at) = at_work.iter().position(|(key, _)| *key == done.kernel.key) {
            at_work.swap_remove(at).1.finish_and_clear();
        }
        self.total.inc(1);
        if self.lines {
            let seconds = done.took.as_secs_f64();
            let key = &done.kernel.key;
            let line = match &done.outcome {
                Ok(record) => format!(
                    "{key}: {} of BTF from {} ({} stored), {} read, {seconds:.1} s\n",
                    human_size(record.raw_size),
                    record.provenance.source,
                    human_size(record.zst_size),
                    human_size(done.read),
                ),
                Err(failure) => format!("{key}: failed: {}\n", failure.reason()),
            };
            // A reader that has left is no reason to stop: the archive is what counts.
            let _ = print(&line);
        }
    }
}
