//! `btf-archive-server verify`: is everything there, and what it should be?

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use btf_archive::store::Error;
use btf_archive_server::verify;

use super::REFUSED;
use super::archive::ArchiveArgs;
use super::progress;

/// Check a whole archive: the chain of snapshots, and that every blob is there, has its digest, and is valid BTF.
///
/// Exit code 4 if anything is damaged or missing.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let archive = match args.archive.open().await {
        Ok(archive) => Arc::new(archive),
        // The newest snapshot is read to open the archive.
        Err(error @ (Error::Object { .. } | Error::Missing { .. })) => {
            eprintln!("btf-archive-server: damaged: {error}");
            return Ok(ExitCode::from(REFUSED));
        }
        Err(error) => return Err(error).context("cannot open the archive"),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let bar = progress::bar("blobs");
    let report = verify::verify(&archive, cores, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    let report = report.await.context("cannot read the catalog")?;
    bar.finish_and_clear();

    for damage in &report.damage {
        eprintln!("btf-archive-server: damaged: {}: {}", damage.what, damage.reason);
    }
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        let verify::Report { kernels, snapshots, blobs, stored_bytes, raw_bytes, damage, .. } = &report;
        println!(
            "{kernels} kernels, {snapshots} snapshots, {blobs} blobs ({stored_bytes} bytes stored, {raw_bytes} raw)"
        );
        match damage.len() {
            0 => println!("intact"),
            count => println!("{count} damaged or missing"),
        }
    }
    Ok(if report.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}
