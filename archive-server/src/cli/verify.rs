//! `btf-archive-server verify`: is everything there, what it should be, and signed by whom it should be?

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use btf_archive::reader::RootArgs;
use btf_archive::trust::{Seen, SeenFile};
use btf_archive_server::verify::{self, Options, Report};

use super::REFUSED;
use super::archive::ArchiveArgs;
use super::progress;

/// Check a whole archive: signatures, all snapshots, and that every blob is there, has its digest, and is valid BTF.
///
/// Takes a directory, a bucket, or the address of a web server. Changes nothing. With the archive's catalog at hand, it is compared
/// with the newest snapshot. Exit code 4 if anything is damaged, missing or not signed as it should be.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    roots: RootArgs,
    /// Blobs checked at once [default: one for each processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let archive = Arc::new(args.archive.look_at().await.context("cannot open the archive")?);
    let policy = args.roots.policy()?;
    let file = args.roots.seen.clone().map(SeenFile::at);
    let file = file.or_else(|| SeenFile::of_user(|name| std::env::var_os(name)));
    let file = file.filter(|_| policy.is_some());
    let location = archive.location();
    let seen = match &file {
        Some(file) => file.read(&location)?,
        None => Seen::default(),
    };
    let parallel =
        args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let options = Options { parallel, policy, seen };
    let catalog = args.archive.with_catalog().await.context("cannot open the catalog")?;
    let bar = progress::bar("blobs");
    let report = verify::verify(&archive, catalog.as_ref(), &options, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    let report = report.await.context("cannot check the archive")?;
    bar.finish_and_clear();
    if let (Some(file), true) = (&file, report.damage.is_empty()) {
        file.remember(&location, report.seen)?;
    }
    tell(&report, args.json)?;
    Ok(if report.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn tell(report: &Report, json: bool) -> Result<()> {
    for damage in &report.damage {
        eprintln!("btf-archive-server: damaged: {}: {}", damage.what, damage.reason);
    }
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    for warning in &report.warnings {
        eprintln!("btf-archive-server: warning: {warning}");
    }
    let Report { kernels, snapshots, parts, blobs, stored_bytes, raw_bytes, damage, .. } = report;
    println!(
        "{kernels} kernels, {snapshots} snapshots in {parts} parts, {blobs} blobs ({stored_bytes} bytes stored, {raw_bytes} raw)"
    );
    match (&report.signed_by, report.root_checked) {
        (None, _) => println!("not signed"),
        (Some(key), true) => println!("signed by {key}, for which the root vouches"),
        (Some(key), false) => println!("signed by {key}; no root is pinned"),
    }
    if let Some(leftovers) = report.leftovers.as_ref().filter(|leftovers| leftovers.objects > 0) {
        println!("{} objects that nobody names ({} bytes)", leftovers.objects, leftovers.bytes);
    }
    match damage.len() {
        0 => println!("intact"),
        count => println!("{count} damaged or missing"),
    }
    Ok(())
}
