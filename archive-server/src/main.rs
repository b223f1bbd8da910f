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
    Keys(cli::keys::Args),
    Repair(cli::repair::Args),
    Gc(cli::gc::Args),
    Tokens(cli::tokens::Args),
    Alias(cli::alias::Args),
    Mirror(cli::mirror::Args),
    Export(cli::export::Args),
    Import(cli::import::Args),
    Completions(cli::completions::Args),
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BTF_ARCHIVE_SERVER_LOG");
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_env_filter(filter.unwrap_or_else(|_| "info".into()))
        .init();

    let command = Cli::parse().command;
    run(command).unwrap_or_else(|error| {
        eprintln!("btf-archive-server: {}", message(&error));
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = match command {
        Command::Serve(args) => runtime.block_on(cli::serve::run(args)),
        Command::Add(args) => runtime.block_on(cli::add::run(args)),
        Command::Verify(args) => runtime.block_on(cli::verify::run(args)),
        Command::Keys(args) => runtime.block_on(cli::keys::run(args)),
        Command::Repair(args) => runtime.block_on(cli::repair::run(args)),
        Command::Gc(args) => runtime.block_on(cli::gc::run(args)),
        Command::Alias(args) => runtime.block_on(cli::alias::run(args)),
        Command::Tokens(args) => runtime.block_on(cli::tokens::run(args)),
        Command::Mirror(args) => runtime.block_on(cli::mirror::run(args)),
        Command::Export(args) => runtime.block_on(cli::export::run(args)),
        Command::Import(args) => runtime.block_on(cli::import::run(args)),
        Command::Completions(args) => cli::completions::run(args),
    };
    // Whoever waited for something has got it. What still blocks, such as a file system that hangs, must not keep a
    // service from ending.
    runtime.shutdown_background();
    code
}

/// An error with its causes, each said once: some errors already end with their cause.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        before if before.ends_with(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}
