//! `btfgen work`: be one of many that fill an archive together.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use btfgen::distro::Distros;
use btfgen::sync::{self, Until};

use super::config::ConfigArgs;
use super::effort::{ArchiveArgs, EffortArgs};
use super::progress::Progress;
use super::repository::print;

/// Take kernels from an archive's queue, which `btfgen sync --enqueue` fills, make their BTF and add it.
///
/// Any number of workers may share one archive and its catalog, on one machine or on many with a PostgreSQL catalog. No two are
/// at the same kernel; what a worker that was killed was at is done by another.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 failed; 2 usage. A kernel that fails does not end a worker; `btfgen failures` lists those.")]
pub(crate) struct Args {
    #[command(flatten)]
    _config: ConfigArgs,
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    effort: EffortArgs,
    /// Stop when no job is left, neither ready nor with another worker.
    #[arg(long)]
    until_empty: bool,
    /// Print JSON at the end of --until-empty.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (runtime, client) = args.effort.network()?;
    let effort = args.effort.effort(&client, &Distros::shipped()?, None)?;
    let until = if args.until_empty { Until::Empty } else { Until::Stopped(Duration::from_secs(5)) };
    let progress = Arc::new(Progress::new(None, args.json));
    let outcome = runtime.block_on(async {
        let archive = Arc::new(args.archive.create().await?);
        archive.check_signing().await?;
        sync::work(archive, &client, effort, until, Arc::clone(&progress) as _).await
    });
    progress.clear();
    runtime.shutdown_background();
    let done = outcome.with_context(|| args.archive.named())?;
    let (added, failed): (Vec<_>, Vec<_>) =
        done.iter().filter(|done| !done.elsewhere).partition(|done| done.outcome.is_ok());
    if args.json {
        let keys = |of: &[&sync::Done]| of.iter().map(|done| done.kernel.key.to_string()).collect::<Vec<_>>();
        let summary = serde_json::json!({
            "added": keys(&added),
            "failed": keys(&failed),
            "fetched": client.fetched(),
            "requests": client.requests(),
        });
        print(&(serde_json::to_string_pretty(&summary)? + "\n"))?;
    } else {
        print(&format!("{} kernels added, {} failed\n", added.len(), failed.len()))?;
    }
    Ok(ExitCode::SUCCESS)
}
