//! `btf-archive-server gc`: removes what nobody needs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use btf_archive::store::Retention;
use serde_json::json;

use super::archive::ArchiveArgs;
use super::progress;

/// Remove objects that neither the catalog nor a retained snapshot needs. Without --delete, say which.
///
/// Objects that were written or used within the last hours stay (--grace), so servers, workers and mirrors may go on meanwhile. Removing nothing is the answer
/// to anything that cannot be read.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,
    /// How many snapshots to keep, the newest first [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_snapshots: Option<u64>,
    /// Keep this snapshot for good, because of --because.
    #[arg(long, value_name = "N", requires = "because")]
    pin: Vec<u64>,
    /// Why a snapshot is pinned.
    #[arg(long, value_name = "TEXT", requires = "pin")]
    because: Option<String>,
    /// Keep this snapshot no longer than others.
    #[arg(long, value_name = "N")]
    unpin: Vec<u64>,
    /// Hours that an object stays after it was written or used. 0 only while nobody writes.
    #[arg(long, value_name = "HOURS", default_value = "24")]
    grace: u32,
    /// Remove it.
    #[arg(long)]
    delete: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let archive = args.archive.open().await.context("cannot open the archive")?;
    let pins = args.pin.iter().map(|number| (number, args.because.as_deref()));
    for (number, reason) in pins.chain(args.unpin.iter().map(|number| (number, None))) {
        if !archive.catalog().pin_snapshot(*number, reason).await? {
            anyhow::bail!("there is no snapshot {number} here: `latest.json` names the newest");
        }
    }
    let grace = Duration::from_secs(u64::from(args.grace) * 3600);
    let retention = Retention { snapshots: args.keep_snapshots, grace };
    let garbage = if args.delete {
        let bar = progress::bar("objects");
        let removed = archive.collect_garbage(retention, |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        });
        let removed = removed.await;
        bar.finish_and_clear();
        removed
    } else {
        archive.garbage(retention).await
    };
    let garbage = garbage.context("nothing more is removed")?;

    let count = garbage.objects.len() + garbage.torn.len();
    if args.json {
        let objects: Vec<_> =
            garbage.objects.iter().map(|(path, size)| json!({ "path": path, "size": size })).collect();
        let torn: Vec<_> =
            garbage.torn.iter().map(|(path, size)| json!({ "path": path, "size": size })).collect();
        println!(
            "{}",
            json!({
                "deleted": args.delete, "snapshots": garbage.snapshots, "objects": objects, "torn": torn,
                "bytes": garbage.bytes(), "young": garbage.young, "needed": garbage.needed,
            })
        );
        return Ok(ExitCode::SUCCESS);
    }
    let torn = garbage.torn.iter().map(|(path, size)| (path.display().to_string(), size));
    for (path, size) in garbage.objects.iter().map(|(path, size)| (path.clone(), size)).chain(torn) {
        println!("{size:>12}  {path}");
    }
    let (bytes, young, needed) = (garbage.bytes(), garbage.young, garbage.needed);
    let did = if args.delete { "removed" } else { "to be removed" };
    println!("{count} objects, {bytes} bytes {did}; {needed} needed, {young} too young to be removed");
    if !args.delete && count > 0 {
        eprintln!("btf-archive-server: nothing was removed: --delete does it");
    }
    Ok(ExitCode::SUCCESS)
}
