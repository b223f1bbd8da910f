//! `btf-archive-server mirror`: keep a copy of somebody else's archive.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use btf_archive::reader::RootArgs;
use btf_archive::store;
use btf_archive::trust::Expired;
use btf_archive_server::mirror::{self, Alone, Error, Fetcher, Options, Report, Upstream};

use super::archive::ArchiveArgs;
use super::selection::{SelectionArgs, bytes};
use super::{INCOMPLETE, REFUSED, progress};

/// Keep a mirror of an archive: fetch what it lacks, check it, and take over the newest snapshot.
///
/// The mirror is made if DIR is new or empty. Exit code 0 means that it is intact: every object that the newest snapshot needs, of the kernels selected,
/// is here. 4: what upstream has is not believed; 5: some objects could not be had, and the mirror keeps the snapshot it had.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,
    /// Where to mirror from: our service, any web server with an archive's tree, or a directory. Several, separated by commas, are asked in turn.
    #[arg(long, value_name = "URL|DIR", required = true, value_delimiter = ',')]
    from: Vec<String>,
    #[command(flatten)]
    roots: RootArgs,
    #[command(flatten)]
    selection: SelectionArgs,
    /// The most requests at once.
    #[arg(long, value_name = "N", default_value = "6", value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// The most bytes a second, all connections together: 500K, 10M.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    bandwidth: Option<u64>,
    /// Keep what has come of large objects here, to be resumed [default: mirror.partial in the archive's directory, or for a bucket in the system's
    /// temporary directory]
    #[arg(long, value_name = "DIR")]
    partial: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let selection = args.selection.read()?;
    let policy = args.roots.policy()?;
    let upstreams = args.from.iter().map(|location| Upstream::open(location).map_err(anyhow::Error::msg));
    let upstreams = upstreams.collect::<Result<Vec<_>>>()?;
    let archive = args.archive.create().await.context("cannot open the archive")?;
    let partial = args.partial.unwrap_or_else(|| args.archive.beside("mirror.partial"));
    let _alone = Alone::in_directory(&partial)?;
    let connections = usize::from(args.connections);
    let fetcher = Fetcher::new(upstreams, connections, args.bandwidth, &partial);
    let (roots, expired) =
        policy.map_or((Vec::new(), Expired::Refuse), |policy| (policy.roots, policy.expired));
    let options = Options { selection, roots, expired, parallel: connections };
    let bar = progress::bar("blobs");
    let report = mirror::mirror(&archive, &fetcher, &options, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    let report = report.await;
    bar.finish_and_clear();
    let report = match report {
        Ok(report) => report,
        Err(error) => return fail(error),
    };
    report.warnings.iter().for_each(|warning| eprintln!("btf-archive-server: {warning}"));
    report.missing.iter().for_each(|missing| eprintln!("btf-archive-server: missing: {missing}"));
    let lacking = report.lacking.iter();
    lacking.for_each(|host| eprintln!("btf-archive-server: upstream has no BTF for {host}"));
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        tell(&report);
    }
    Ok(if report.intact { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

fn tell(report: &Report) {
    let Report { snapshot, kernels, selected, blobs_fetched, bytes_fetched, bytes_resumed, missing, .. } =
        report;
    match (report.intact, report.new) {
        (true, true) => println!("snapshot {} is here: {selected} of {kernels} kernels", snapshot.number),
        (true, false) => {
            println!("up to date: snapshot {}, {selected} of {kernels} kernels", snapshot.number);
        }
        (false, _) => println!("incomplete: {} blobs could not be had; run it again", missing.len()),
    }
    println!("{blobs_fetched} blobs fetched, {bytes_fetched} bytes in all, {bytes_resumed} bytes resumed");
}

/// What is not believed is refused; everything else failed.
fn fail(error: Error) -> Result<ExitCode> {
    let refused = match &error {
        Error::Refused(_) | Error::Head(_) | Error::Snapshot { .. } => true,
        Error::Unavailable(unavailable) => unavailable.corrupt,
        Error::Archive(error) => {
            matches!(error, store::Error::Diverged { .. } | store::Error::AlreadyThere { .. })
        }
        _ => false,
    };
    if !refused {
        return Err(error.into());
    }
    eprintln!("btf-archive-server: refused: {error}");
    Ok(ExitCode::from(REFUSED))
}
