//! `btf-archive-server import`: what `export` wrote, taken into an archive.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use btf_archive::store;
use btf_archive::trust::{Expired, PublicKey};
use btf_archive_server::import::{self, Error, Options, Report, Source};

use super::archive::ArchiveArgs;
use super::{INCOMPLETE, REFUSED, progress};

/// Take an export into an archive: check everything, then make its snapshot the newest.
///
/// Nothing is visible before all of it is there and checked; an import that was interrupted goes on when it is run again. The archive is made if DIR is new
/// or empty. Exit code 4: refused; 5: something is still missing, such as another volume.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,
    /// Volumes in any order, directories with volumes, or an OCI image layout; `-` is standard input.
    #[arg(required = true, value_name = "FILE|DIR")]
    volumes: Vec<PathBuf>,
    /// The root that must have signed it: its public key (RWQ…), or a file with it; may be repeated. The archive remembers it.
    #[arg(long = "root-key", value_name = "KEY|FILE", env = "BTF_ARCHIVE_KEYS", value_delimiter = ' ')]
    roots: Vec<String>,
    /// Take a signed export although no root is pinned here.
    #[arg(long)]
    unpinned: bool,
    /// What to do if a key that signed it has expired: in a closed network, clocks and keys are old. A warning is recorded in the archive.
    #[arg(long, value_enum, default_value_t = Expiry::Warn)]
    expired: Expiry,
    /// Check everything, write nothing, and say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Expiry {
    /// Take it, and say so.
    Warn,
    /// Refuse it.
    Refuse,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let roots = args.roots.iter().filter(|root| !root.trim().is_empty());
    let roots =
        roots.map(|root| PublicKey::load(root)).collect::<Result<Vec<_>, _>>().context("--root-key")?;
    let expired = if args.expired == Expiry::Warn { Expired::Warn } else { Expired::Refuse };
    let options = Options { roots, unpinned: args.unpinned, expired, dry_run: args.dry_run };
    let sources =
        args.volumes.iter().map(|argument| Source::all(argument)).collect::<Result<Vec<_>, _>>()?.concat();
    let archive = match args.dry_run {
        false => Some(args.archive.create().await.context("cannot open the archive")?),
        true => match args.archive.open_read_only().await {
            Ok(archive) => Some(archive),
            Err(store::Error::NotAnArchive { .. }) => None,
            Err(error) => return Err(error).context("cannot open the archive"),
        },
    };
    let bar = progress::bar("objects");
    let report = import::import(archive.as_ref(), sources, &options, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    let report = report.await;
    bar.finish_and_clear();
    let report = match report {
        Ok(report) => report,
        Err(error) if error.is_refusal() => {
            eprintln!("btf-archive-server: refused: {error}");
            return Ok(ExitCode::from(REFUSED));
        }
        Err(error @ Error::BuildsOn { .. }) => {
            eprintln!("btf-archive-server: {error}");
            return Ok(ExitCode::from(INCOMPLETE));
        }
        Err(error) => return Err(error.into()),
    };
    report.warnings.iter().for_each(|warning| eprintln!("btf-archive-server: {warning}"));
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        tell(&report, args.dry_run);
    }
    Ok(if report.complete { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

fn tell(report: &Report, dry_run: bool) {
    /// How many of the missing blobs are named.
    const NAMED: usize = 10;
    let Report {
        snapshot, before, kernels, selected, blobs_new, bytes_new, missing, volumes_missing, ..
    } = report;
    let would = if dry_run { "would be " } else { "" };
    println!("{blobs_new} blobs {would}new ({bytes_new} bytes)");
    if report.complete {
        let from = before.map_or("an empty archive".to_owned(), |before| format!("snapshot {before}"));
        let is = if dry_run { "would become" } else { "is" };
        println!(
            "snapshot {} {is} the newest, after {from}: {selected} of {kernels} kernels",
            snapshot.number
        );
        return;
    }
    println!(
        "incomplete: {} blobs of snapshot {} are missing; the archive stays as it was",
        missing.len(),
        snapshot.number
    );
    missing.iter().take(NAMED).for_each(|missing| println!("  {missing}"));
    if !volumes_missing.is_empty() {
        let numbers: Vec<_> = volumes_missing.iter().map(ToString::to_string).collect();
        println!("volumes not given: {}", numbers.join(", "));
    }
}
