//! `btf-archive-server keys`: who may sign an archive's snapshots.
//!
//! What needs the root's secret key works on files alone (`root new`, `root sign`), so that it can be done on a machine without a
//! network; `install` then puts the signed list into the archive. `add`, `rotate` and `revoke` do both at once, where the root's key
//! is at hand.

mod files;
mod install;
mod list;
mod make;
mod sign;

use std::process::ExitCode;

use btf_archive::{store, trust};

use super::REFUSED;

/// Make, list, rotate and revoke the keys that sign an archive.
///
/// Readers pin the root's public key. The root signs a list of snapshot keys, and a snapshot key signs each snapshot. All are
/// minisign's: `minisign -V` checks what is signed here, and keys of `minisign -G` can be used.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The root's key: on a machine without a network.
    #[command(subcommand)]
    Root(Root),
    New(make::NewArgs),
    Export(make::ExportArgs),
    Install(install::InstallArgs),
    Add(install::AddArgs),
    Rotate(install::RotateArgs),
    Revoke(install::RevokeArgs),
    List(list::Args),
}

#[derive(clap::Subcommand)]
enum Root {
    New(make::RootArgs),
    Sign(sign::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let done = match args.command {
        Command::Root(Root::New(args)) => make::root(args),
        Command::Root(Root::Sign(args)) => sign::run(args),
        Command::New(args) => make::new(args),
        Command::Export(args) => make::export(args),
        Command::Install(args) => install::install(args).await,
        Command::Add(args) => install::add(args).await,
        Command::Rotate(args) => install::rotate(args).await,
        Command::Revoke(args) => install::revoke(args).await,
        Command::List(args) => return list::run(args),
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if refuses(&error) => {
            eprintln!("btf-archive-server: refused: {}", crate::message(&error));
            Ok(ExitCode::from(REFUSED))
        }
        Err(error) => Err(error),
    }
}

/// Whether a list, key or signature did not stand up to checking; a key that cannot be read is a mere failure.
fn refuses(error: &anyhow::Error) -> bool {
    let trust = error.downcast_ref::<trust::Error>().or(match error.downcast_ref() {
        Some(store::Error::Trust(error)) => Some(error),
        _ => None,
    });
    trust.is_some_and(|error| !matches!(error, trust::Error::Key { .. } | trust::Error::Seen { .. }))
}

/// Seconds since 1970 (UTC).
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
