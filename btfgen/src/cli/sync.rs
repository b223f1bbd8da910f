//! `btfgen sync`.

use std::process::ExitCode;

/// Fill or update an archive.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
