//! `btf-archive-server`: serve and look after a BTF archive. One command per file in `cli/`; this file lists them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cli;

/// Serve and look after a BTF archive.
#[derive(Parser)]
#[command(name = "btf-archive-server", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(cli::serve::Args),
    Add(cli::add::Args),
    Verify(cli::verify::Args),
    Completions(cli::completions::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BTF_ARCHIVE_SERVER_LOG");
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_env_filter(filter.unwrap_or_else(|_| "info".into()))
        .init();

    let result = match Cli::parse().command {
        Command::Serve(args) => cli::serve::run(args).await,
        Command::Add(args) => cli::add::run(args).await,
        Command::Verify(args) => cli::verify::run(args).await,
        Command::Completions(args) => cli::completions::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("btf-archive-server: {error:#}");
        ExitCode::FAILURE
    })
}
