//! `btf-fetch install` and `uninstall`: BTF where libbpf looks, for programs that know nothing of archives.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use btf_loader::{InstallError, Kernel, Loader, Place};
use clap::Args;

use super::{Places, get, matched};

/// Install the BTF of the running kernel where libbpf looks, for every program on this machine
///
/// It becomes /usr/lib/debug/boot/vmlinux-R, so that unmodified bcc tools, bpftrace, tetragon and every other program
/// with libbpf find it. A kernel that has BTF of its own needs none. Files of other programs are left as they are.
#[derive(Args)]
pub(super) struct Options {
    /// Install an ELF file with a .BTF section, which libbpf before 1.0.1 needs, instead of raw BTF
    #[arg(long)]
    elf: bool,
    /// Install it although the kernel has BTF of its own
    #[arg(long)]
    always: bool,
    #[command(flatten)]
    places: Places,
}

/// Remove what `btf-fetch install` installed
#[derive(Args)]
pub(super) struct Removal {
    /// That of this kernel (uname -r) instead of all
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    /// Look for the host's files below this directory (in a container: the mount of the host's root)
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = options.places.settings()?;
    settings.whole_only = true;
    let loader = Loader::new(settings);
    let root = &loader.settings().root;
    let kernel = Kernel::running(root)?;
    let release = kernel.release().context("the running kernel's release is unknown")?;
    let found = match loader.find(&kernel) {
        Ok(found) => found,
        Err(error) => return get::explain(&error, false, loader.settings().urls.is_empty()),
    };
    get::warn(found.identity(), found.attempts(), found.warning(), found.cache_error());
    if matches!(found.place(), Place::Kernel { .. }) && !options.always {
        eprintln!("btf-fetch: nothing to install: this kernel has BTF of its own ({})", found.place());
        return Ok(ExitCode::SUCCESS);
    }
    let path = match btf_loader::install(root, release, &found, options.elf) {
        Ok(path) => path,
        Err(error) => return refuse(error),
    };
    eprintln!("btf-fetch: {}, from {}", matched(found.identity()), found.place());
    writeln!(io::stdout().lock(), "{}", path.display())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn remove(options: Removal) -> anyhow::Result<ExitCode> {
    let releases = match options.release {
        Some(release) => vec![release],
        None => btf_loader::installed(&options.root),
    };
    let mut code = ExitCode::SUCCESS;
    for release in &releases {
        match btf_loader::uninstall(&options.root, release) {
            Ok(true) => eprintln!("btf-fetch: removed what was installed for {release}"),
            Ok(false) => eprintln!("btf-fetch: nothing is installed for {release}"),
            Err(error) => code = refuse(error)?,
        }
    }
    if releases.is_empty() {
        eprintln!("btf-fetch: nothing is installed");
    }
    Ok(code)
}

/// Says that a file was left alone, with the exit code for a refusal.
fn refuse(error: InstallError) -> anyhow::Result<ExitCode> {
    match error {
        InstallError::NotOurs { .. } | InstallError::Minimised => {
            eprintln!("btf-fetch: {error}");
            Ok(ExitCode::from(4))
        }
        error => Err(error.into()),
    }
}
