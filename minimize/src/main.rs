//! `btf-minimize`: CO-RE relocations of BPF objects. One command per file in `cli/`; this file lists them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cli;

/// CO-RE relocations of BPF objects: list them, resolve them, and keep of a kernel's BTF what they need.
#[derive(Parser)]
#[command(name = "btf-minimize", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(cli::build::Args),
    Bundle(cli::bundle::Args),
    Check(cli::check::Args),
    Relocs(cli::relocs::Args),
    Header(cli::header::Args),
    Diff(cli::diff::Args),
    Gen(cli::bpftool::Args),
    Completions(cli::completions::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Build(args) => cli::build::run(args),
        Command::Bundle(args) => cli::bundle::run(args),
        Command::Check(args) => cli::check::run(args),
        Command::Relocs(args) => cli::relocs::run(args),
        Command::Header(args) => cli::header::run(args),
        Command::Diff(args) => cli::diff::run(args),
        Command::Gen(args) => cli::bpftool::run(args),
        Command::Completions(args) => cli::completions::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("btf-minimize: {error:#}");
        let reader = error.downcast_ref::<btf_archive::reader::Error>();
        if reader.is_some_and(btf_archive::reader::Error::is_refusal) {
            ExitCode::from(4)
        } else {
            ExitCode::FAILURE
        }
    })
}
