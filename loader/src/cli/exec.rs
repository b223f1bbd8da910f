//! `btf-fetch exec -- CMD`: a command with everything that makes it find the BTF.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use btf_loader::{Kernel, Loader, Place};
use clap::Args;

use super::{Places, get};

/// Run a command with what it needs to find the BTF of the running kernel
///
/// BPFTRACE_BTF, TRACEE_BTF_FILE and TETRAGON_BTF name a file with it, and in a mount namespace of the command's own it
/// is where libbpf looks (/boot/vmlinux-R). Nothing is changed for anyone else. Without the right to mount, the variables
/// must do, and a warning says so. The exit code is the command's.
#[derive(Args)]
pub(super) struct Options {
    /// Give libbpf an ELF file with a .BTF section, which it needs before 1.0.1, instead of raw BTF
    #[arg(long)]
    elf: bool,
    #[command(flatten)]
    places: Places,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

/// The variables that programs take a file with BTF from.
const VARIABLES: [&str; 3] = ["BPFTRACE_BTF", "TRACEE_BTF_FILE", "TETRAGON_BTF"];

pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = options.places.settings()?;
    settings.whole_only = true;
    let loader = Loader::new(settings);
    let kernel = Kernel::running(&loader.settings().root)?;
    let found = match loader.find(&kernel) {
        Ok(found) => found,
        Err(error) => return get::explain(&error, false, loader.settings().urls.is_empty()),
    };
    get::warn(found.identity(), found.attempts(), found.warning(), found.cache_error());
    let (program, arguments) = options.command.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    // A kernel that has BTF of its own is what every program asks first.
    if !matches!(found.place(), Place::Kernel { .. }) {
        let path = loader.raw_file(&found)?;
        command.envs(VARIABLES.map(|name| (name, &path)));
        let release = kernel.release().context("the running kernel's release is unknown")?;
        let bytes =
            if options.elf { btf_loader::elf(found.btf(), found.build_id())? } else { found.into_btf() };
        if let Err(error) = btf_loader::enter_with_btf(release, &bytes) {
            eprintln!(
                "btf-fetch: warning: {error}; programs with libbpf find the BTF only by {}",
                VARIABLES[0]
            );
        }
    }
    let error = command.exec();
    // As shells have it: 127 not found, 126 found and not to be run.
    eprintln!("btf-fetch: cannot run {}: {error}", program.display());
    Ok(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}
