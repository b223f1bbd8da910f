//! `btf-fetch prefetch`: into the cache, before the kernel that needs it is booted.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use btf_loader::{Kernel, Loader, has_btf};
use clap::Args;

use super::{Places, exit_code, matched};

/// Fetch the BTF of the kernels that may boot next into the cache
///
/// Without names, of every kernel in /lib/modules. A kernel whose /boot/config-R says that it has BTF of its own needs
/// none. Only the name of a kernel that does not run is known, so it is matched by name; when it runs, its build-id must
/// be that which the archive told. The exit code is the worst of all.
#[derive(Args)]
pub(super) struct Options {
    /// Kernels, as `uname -r` will say; a hook of the package manager gives the one just installed
    #[arg(value_name = "RELEASE")]
    releases: Vec<String>,
    #[command(flatten)]
    places: Places,
}

pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let loader = Loader::new(options.places.settings()?);
    let root = &loader.settings().root;
    let releases = if options.releases.is_empty() { present(root) } else { options.releases };
    let mut worst = 0;
    for release in &releases {
        let config = fs::read_to_string(root.join(format!("boot/config-{release}")));
        if config.is_ok_and(|config| has_btf(&config)) {
            eprintln!("btf-fetch: {release}: has BTF of its own");
            continue;
        }
        match Kernel::installed(root, release).and_then(|kernel| loader.find(&kernel)) {
            Ok(found) => {
                eprintln!("btf-fetch: {release}: {}, from {}", matched(found.identity()), found.place());
                if let Some(error) = found.cache_error() {
                    eprintln!("btf-fetch: {error}");
                    worst = worst.max(1);
                }
            }
            Err(error) => {
                eprintln!("btf-fetch: {release}: {error}");
                worst = worst.max(exit_code(&error));
            }
        }
    }
    if releases.is_empty() {
        eprintln!("btf-fetch: no kernel in {}", root.join("lib/modules").display());
        worst = 3;
    }
    Ok(ExitCode::from(worst))
}

/// The kernels whose modules are installed.
fn present(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("lib/modules")).into_iter().flatten().flatten();
    let mut releases: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    releases.sort();
    releases
}
