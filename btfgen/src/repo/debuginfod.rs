//! A debuginfod server: it lists nothing, but has for a build-id the kernel's `.BTF` section and vmlinux.

use btf_archive::Trust;
use url::Url;

use super::error::Error;
use super::found::{Finder, Found};
use super::indexed::{IndexedPackage, PackageName};
use super::location::join;
use super::offer::Role;
use crate::distro::{KnownKernel, Part};

/// Hands to `finder` the kernels of its architecture, of which the server at `base` may have the section and the file.
pub(super) fn read(base: &Url, kernels: &[KnownKernel], finder: &mut Finder<'_>) -> Result<(), Error> {
    let trust = if base.scheme() == "https" { Trust::Transport } else { Trust::None };
    for kernel in kernels.iter().filter(|kernel| kernel.arch == finder.arch) {
        let id = kernel.build_id.to_ascii_lowercase();
        for (role, path) in [
            (Role::Btf, format!("buildid/{id}/section/.BTF")),
            (Role::Vmlinux, format!("buildid/{id}/debuginfo")),
        ] {
            let name = PackageName {
                name: "debuginfod".into(),
                // The build-id says which file it is, as a version says it of a package.
                version: id.clone(),
                release: String::new(),
                epoch: None,
                arch: kernel.arch.clone(),
                source: None,
            };
            let package = IndexedPackage {
                name,
                url: join(base, &path)?,
                size: None,
                installed: None,
                depends: false,
                checksum: None,
                trust,
            };
            let part = Part { role, uname: kernel.uname.clone(), flavour: String::new() };
            finder.found.push(Found { part, package });
        }
    }
    Ok(())
}
