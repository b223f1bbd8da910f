//! `btfgen package`.

use std::process::ExitCode;

/// One package (.deb) to BTF.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
