//! `btf-archive-server repair`: mends an archive from its copies.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use btf_archive::store::Pace;
use btf_archive_server::repair::{self, Copy};
use serde_json::json;

use super::INCOMPLETE;
use super::archive::ArchiveArgs;
use super::progress;

/// Read a whole archive again, and fetch what is damaged or missing from copies of it.
///
/// Everything that is fetched is checked before it takes its place. Exit code 5 if something could not be mended.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,
    /// A copy of the archive: a mirror's address or a directory. May be given several times; they are asked in turn.
    #[arg(long, value_name = "URL|DIR", required_unless_present = "dry_run")]
    from: Vec<String>,
    /// Only say what is damaged.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let archive = args.archive.open_damaged().await.context("cannot open the archive")?;
    let from = if args.dry_run { &[][..] } else { &args.from };
    let copies = from.iter().map(|location| Copy::open(location)).collect::<Result<Vec<_>, _>>()?;
    let bar = progress::bar("objects");
    let parallel = std::thread::available_parallelism().map_or(1, usize::from);
    let done = repair::repair(&archive, &copies, Pace { rate: None, parallel }, |done| {
        bar.set_position(done.objects);
    });
    let done = done.await.with_context(|| args.archive.named())?;
    bar.finish_and_clear();
    let left = done.iter().filter(|object| object.from.is_none()).count();
    if left == 0 && !done.is_empty() {
        archive.refresh().await.context("mended, but the newest snapshot cannot be taken over")?;
    }
    if args.json {
        println!("{}", json!({ "damaged": done, "left": left }));
    } else {
        for object in &done {
            let path = &object.path;
            match &object.from {
                Some(from) => println!("{path}: {}: mended from {from}", object.damage),
                None => println!("{path}: {}", object.damage),
            }
            object.refused.iter().for_each(|reason| eprintln!("btf-archive-server: {path}: {reason}"));
        }
        match (done.len(), left) {
            (0, _) => println!("intact"),
            (damaged, left) => println!("{damaged} damaged or missing, {} mended", damaged - left),
        }
    }
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}
