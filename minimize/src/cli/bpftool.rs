//! `btf-minimize gen min_core_btf`: bpftool's own command line, for build files that change one word.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::build::build;

/// What `bpftool gen` does, as far as it is about CO-RE
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Like `build --strict`, with the arguments of bpftool
    #[command(name = "min_core_btf")]
    MinCoreBtf {
        /// The kernel: raw BTF, or an ELF file with a .BTF section
        #[arg(value_name = "INPUT")]
        input: PathBuf,
        /// Where to write the minimised BTF
        #[arg(value_name = "OUTPUT")]
        output: PathBuf,
        /// BPF objects (ELF)
        #[arg(required = true, value_name = "OBJECT")]
        objects: Vec<PathBuf>,
    },
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::MinCoreBtf { input, output, objects } = args.command;
    build(&input, &[], &output, &objects, true, false)
}
