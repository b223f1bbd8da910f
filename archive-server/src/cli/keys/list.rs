//! `keys list`: who may sign, until when, and who did.

use std::process::ExitCode;

use anyhow::Result;
use btf_archive::reader::{Error, RootArgs};
use serde_json::json;

use super::super::REFUSED;
use super::now;

/// Show an archive's keys: which are valid, which were revoked, and which signed the newest snapshot.
///
/// Checks them with --root-key, and exits with 4 if they do not stand up to it; without, shows what is there.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The archive: a directory, or the address of a server
    #[arg(long, value_name = "DIR|URL", env = "BTF_ARCHIVE_SERVER_ARCHIVE")]
    archive: String,
    #[command(flatten)]
    roots: RootArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    // Waits for answers: not on a thread of the runtime.
    let done = std::thread::scope(|scope| scope.spawn(|| show(&args)).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn show(args: &Args) -> Result<ExitCode> {
    let reader = args.roots.reader(&args.archive)?;
    let list = match reader.key_list() {
        Err(error) if error.is_refusal() => {
            eprintln!("btf-archive-server: refused: {error}");
            return Ok(ExitCode::from(REFUSED));
        }
        list => list?,
    };
    let Some(list) = list else {
        println!("{}", if args.json { "null" } else { "not signed" });
        return Ok(ExitCode::SUCCESS);
    };
    let newest = match reader.newest() {
        Ok(newest) => Some(newest),
        Err(Error::NotAnArchive { .. }) => None,
        Err(error) if error.is_refusal() => {
            eprintln!("btf-archive-server: refused: {error}");
            return Ok(ExitCode::from(REFUSED));
        }
        Err(error) => return Err(error.into()),
    };
    let signer = newest.as_ref().and_then(|newest| newest.key);
    if args.json {
        let snapshot = newest.as_ref().map(|newest| newest.latest.number);
        println!("{}", json!({ "list": list, "snapshot": snapshot, "signed_by": signer }));
        return Ok(ExitCode::SUCCESS);
    }
    println!("list {}", list.version);
    for key in &list.keys {
        let days = |from: u64, to: u64| to.saturating_sub(from) / 86_400;
        let state = match now() {
            now if now >= key.expires => format!("expired {} days ago", days(key.expires, now)),
            now if now < key.not_before => format!("valid in {} days", days(now, key.not_before)),
            now => format!("valid for {} days", days(now, key.expires)),
        };
        let signed = if signer == Some(key.id) { ", signed the newest snapshot" } else { "" };
        println!("  {}  {}  {state}{signed}", key.id, key.key);
    }
    for revoked in &list.revoked {
        println!("  {}  revoked: {}", revoked.id, revoked.reason);
    }
    Ok(ExitCode::SUCCESS)
}
