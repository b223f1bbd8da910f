//! `btf-archive-server completions SHELL`: shell completions on stdout.

use std::process::ExitCode;

use clap::CommandFactory as _;

/// Print completions for a shell.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell to complete for.
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut command = crate::Cli::command();
    clap_complete::generate(args.shell, &mut command, "btf-archive-server", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
