//! `btfgen`: from distributions' kernel packages to BTF. One command per file in `cli/`; this file lists them.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

mod cli;

/// From distributions' kernel packages to BTF.
#[derive(Parser)]
#[command(name = "btfgen", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Package(cli::package::Args),
    Vmlinux(cli::vmlinux::Args),
    Module(cli::module::Args),
    Kernels(cli::kernels::Args),
    Sync(cli::sync::Args),
    Work(cli::work::Args),
    Failures(cli::failures::Args),
    Config(cli::config::Args),
    Completions(cli::completions::Args),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("BTFGEN_LOG").unwrap_or_else(|_| "warn".into()),
        )
        .init();
    // Only fails when a provider is already installed, which is then the one we want: there is no other.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let arguments = match cli::config::arguments(&Cli::command(), std::env::args_os().collect()) {
        Ok(Ok(arguments)) => arguments,
        Ok(Err(code)) => return code,
        Err(error) => {
            eprintln!("btfgen: {}", cli::message(&error));
            return ExitCode::from(2);
        }
    };
    let result = match Cli::parse_from(arguments).command {
        Command::Package(args) => cli::package::run(args),
        Command::Vmlinux(args) => cli::vmlinux::run(args),
        Command::Module(args) => cli::module::run(args),
        Command::Kernels(args) => cli::kernels::run(args),
        Command::Sync(args) => cli::sync::run(args),
        Command::Work(args) => cli::work::run(args),
        Command::Failures(args) => cli::failures::run(args),
        Command::Config(args) => cli::config::run(args, &Cli::command()),
        Command::Completions(args) => cli::completions::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("btfgen: {}", cli::message(&error));
        ExitCode::FAILURE
    })
}
