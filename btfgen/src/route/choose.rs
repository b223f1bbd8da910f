//! Which way is tried first, and which next.

use super::ways::{Aim, Work};
use super::{Error, Expected, Fetched, OfferedKernel, Package, Role, Verify, Way};
use crate::package;
use crate::vmlinux::From;

/// A kernel of which the repository says what its packages hold.
pub(super) fn offered(work: &mut Work<'_>, kernel: &OfferedKernel) -> Result<Fetched, Error> {
    let image = kernel.package(Role::Image);
    let debug = kernel.package(Role::Debug);
    let mut fetched = None;
    match image {
        _ if work.options.from == From::Dwarf => work.pass(Way::Image, image, "DWARF was asked for"),
        None => work.pass(Way::Image, None, "the repository has no image package"),
        Some(_) if kernel.embeds_btf == Expected::No && debug.is_some() => {
            work.pass(Way::Image, image, "kernels like this one have no BTF inside");
        }
        Some(image) => fetched = work.image(image, debug.is_none())?,
    }
    let mut aside = None;
    let mut fetched = match (fetched, debug) {
        (Some(fetched), _) => fetched,
        (None, Some(debug)) => {
            let in_parts = kernel.embeds_btf != Expected::No && image.is_none()
                || major(kernel.release()) >= FIRST_WITH_VMLINUX_LAST;
            // The configuration is a small thing in another package: it is fetched meanwhile.
            let mut config_work = work.aside();
            let (fetched, config) = std::thread::scope(|scope| {
                let wanted = work.options.config;
                let config = wanted.then(|| scope.spawn(|| config(&mut config_work, kernel)));
                let fetched = from_debug(work, debug, in_parts);
                let joined = config
                    .map(|config| config.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
                (fetched, joined)
            });
            work.take_in(config_work);
            let fetched = fetched?;
            aside = config.transpose()?;
            fetched
        }
        (None, None) if kernel.package(Role::Vmlinux).or(kernel.package(Role::Btf)).is_some() => {
            from_server(work, kernel)?
        }
        (None, None) if work.options.from == From::Dwarf => {
            return Err(Error::NoPackage { lacking: "debug information" });
        }
        (None, None) => return Err(Error::NoPackage { lacking: "the kernel or its debug information" }),
    };
    if work.options.config && fetched.config.is_none() {
        fetched.config = match aside {
            Some(config) => config,
            None => config(work, kernel)?,
        };
    }
    if work.options.modules {
        work.modules(&mut fetched, kernel)?;
    }
    Ok(fetched)
}

/// The kernel's configuration, from a package of its own or the image's.
fn config(work: &mut Work<'_>, kernel: &OfferedKernel) -> Result<Option<Vec<u8>>, Error> {
    for role in [Role::Config, Role::Image] {
        let Some(package) = kernel.package(role) else { continue };
        let config = work.config(package)?;
        if config.is_some() {
            return Ok(config);
        }
    }
    Ok(None)
}

/// Debian's debug packages have vmlinux behind the modules since Linux 7.
const FIRST_WITH_VMLINUX_LAST: u32 = 7;

fn major(release: &str) -> u32 {
    release.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

/// The debug package, in parts or streamed.
fn from_debug(work: &mut Work<'_>, debug: &Package, in_parts: bool) -> Result<Fetched, Error> {
    let is_deb = [".deb", ".ddeb"].iter().any(|ending| debug.url.path().ends_with(ending));
    let possible = match work.options.verify {
        Verify::Full => Err("the whole package is to be verified"),
        Verify::Sparse if !is_deb => Err("the package has no index of blocks"),
        Verify::Sparse => Ok(()),
    };
    match possible {
        Err(reason) => work.pass(Way::DebugInParts, Some(debug), reason),
        Ok(()) if in_parts => {
            if let Some(fetched) = work.in_parts(debug)? {
                return Ok(fetched);
            }
        }
        Ok(()) => {
            // One request, unless modules come first.
            if let Some(fetched) = work.streamed(debug, Aim::BeforeModules)? {
                return Ok(fetched);
            }
            if let Some(fetched) = work.in_parts(debug)? {
                return Ok(fetched);
            }
        }
    }
    let fetched = work.streamed(debug, Aim::Vmlinux)?;
    fetched.ok_or(Error::NoPackage { lacking: "the kernel's debug information" })
}

/// What a debuginfod server has: the section, unless DWARF is asked for; else vmlinux.
fn from_server(work: &mut Work<'_>, kernel: &OfferedKernel) -> Result<Fetched, Error> {
    match kernel.package(Role::Btf) {
        Some(section) if work.options.from == From::Dwarf => {
            work.pass(Way::Section, Some(section), "DWARF was asked for");
        }
        Some(section) => {
            if let Some(fetched) = work.section(section)? {
                return Ok(fetched);
            }
        }
        None => {}
    }
    if let Some(vmlinux) = kernel.package(Role::Vmlinux)
        && let Some(fetched) = work.vmlinux(vmlinux)?
    {
        return Ok(fetched);
    }
    Err(Error::NoPackage { lacking: "the kernel's BTF or its debug information" })
}

/// Whether a debug package's file name says that the kernel has no BTF and that its vmlinux comes first: then one request is enough.
/// `linux-image-RELEASE-dbg_VERSION_ARCHITECTURE.deb`, of Debian's architectures and releases that were built without BTF.
fn is_without_btf_and_first(name: &str) -> bool {
    let release = name.strip_prefix("linux-image-").unwrap_or_default();
    let mut numbers = release.split(['.', '-', '+']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let architecture = name.rsplit('_').next().and_then(|ending| ending.split('.').next());
    match architecture {
        _ if version.0 >= FIRST_WITH_VMLINUX_LAST => false,
        Some("i386" | "armhf" | "armel" | "mipsel" | "mips64el") => true,
        Some("s390x" | "ppc64el" | "riscv64") => version < (6, 12),
        _ => false,
    }
}

/// A package of which nothing but its name is known.
pub(super) fn unknown(work: &mut Work<'_>, package: &Package) -> Result<Fetched, Error> {
    let name = package.url.path_segments().and_then(|mut path| path.next_back()).unwrap_or_default();
    let named_debug = ["-dbg_", "-dbgsym_", "debuginfo", "-debug-"].iter().any(|part| name.contains(part));
    let fetched = if named_debug {
        from_debug(work, package, !is_without_btf_and_first(name))
    } else {
        match work.streamed(package, Aim::Either)? {
            Some(fetched) => Ok(fetched),
            None => Err(Error::NoPackage { lacking: "the kernel or its debug information" }),
        }
    };
    let mut fetched = match fetched {
        // What the name promised is not there: look for all there may be.
        Err(Error::Package(package::Error::NoKernel { .. })) if named_debug => {
            work.streamed(package, Aim::Either)?.ok_or(Error::NoPackage { lacking: "the kernel" })?
        }
        result => result?,
    };
    if work.options.modules {
        work.modules_of(&mut fetched, package, Way::Modules)?;
    }
    Ok(fetched)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check which file names promise that one request is enough.
    #[test]
    fn names() {
        let first = is_without_btf_and_first;
        assert!(first("linux-image-6.1.0-50-686-dbg_6.1.176-1_i386.deb"));
        assert!(first("linux-image-6.1.0-50-s390x-dbg_6.1.176-1_s390x.deb"));
        assert!(!first("linux-image-6.12.94+deb13-s390x-dbg_6.12.94-1_s390x.deb"));
        assert!(!first("linux-image-6.1.0-50-amd64-dbg_6.1.176-1_amd64.deb"));
        assert!(!first("linux-image-7.2.13+deb14-armmp-dbg_7.2.13-1_armhf.deb"));
        assert!(!first("kernel-debuginfo-5.14.0-503.el9.x86_64.rpm"));
        assert!(!first("linux-image-unsigned-6.8.0-31-generic-dbgsym_6.8.0-31.31_amd64.ddeb"));
    }
}
