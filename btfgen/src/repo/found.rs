//! From packages to kernels: what belongs together becomes one offer.

use std::collections::BTreeMap;

use btf_archive::{Key, Trust, alias};
use url::Url;

use super::error::Error;
use super::indexed::{IndexedPackage, PackageName};
use super::offer::{OfferedKernel, Package, Role, newest_first};
use crate::distro::{ClientCertificate, Distro, Part, Repository};

/// The most packages of kernels taken of one repository: the largest known, of Ubuntu, has some thousands.
const FOUND_LIMIT: usize = 500_000;
/// Kernels' debug packages are hundreds of megabytes; below this, in bytes, one that depends on another package, or
/// installs next to nothing, is a metapackage or an empty shell.
const META_DEBUG: u64 = 10_000_000;
/// The same for the package that boots: the smallest kernel is larger.
const META_IMAGE: u64 = 1_000_000;
/// What a metapackage installs at most, in bytes: a changelog and a copyright file.
const META_INSTALLED: u64 = 64 << 10;

/// A package that is a part of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) part: Part,
    pub(crate) package: IndexedPackage,
}

/// Where packages come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'o> {
    /// The repository.
    pub(super) base: &'o Url,
    /// The index, for messages.
    pub(super) index: &'o str,
    pub(super) trust: Trust,
}

/// Picks the parts of kernels out of an index, by the rules of a distribution, and keeps only those.
pub(crate) struct Finder<'d> {
    distro: &'d Distro,
    repository: &'d Repository,
    /// The architecture looked for, as in keys.
    pub(crate) arch: &'d str,
    pub(crate) found: Vec<Found>,
}

impl<'d> Finder<'d> {
    pub(crate) fn new(distro: &'d Distro, repository: &'d Repository, arch: &'d str) -> Self {
        Self { distro, repository, arch, found: Vec::new() }
    }

    /// What the package is, if it is a part of a kernel that is looked for.
    pub(crate) fn part(&self, name: &PackageName) -> Option<Part> {
        let part = self.distro.part(name)?;
        let ours = alias::arch(&name.arch) == self.arch && self.repository.takes(&name.full_version());
        ours.then_some(part)
    }

    /// Refuses an index that only wants to fill the memory.
    pub(crate) fn check_count(&self, index: &str) -> Result<(), Error> {
        if self.found.len() > FOUND_LIMIT {
            return Err(Error::TooMany { index: index.to_owned(), limit: FOUND_LIMIT });
        }
        Ok(())
    }
}

/// Packages of one repository, for one architecture and one version of the distribution.
#[derive(Clone, Debug)]
pub struct Parts {
    /// os-release's `VERSION_ID`.
    pub(crate) version: String,
    /// As in keys.
    pub(crate) arch: String,
    /// The repository, for messages.
    pub(crate) origin: String,
    pub(crate) signature_keys: Option<std::path::PathBuf>,
    pub(crate) found: Vec<Found>,
}

impl Parts {
    /// The architecture that was looked for, as in keys.
    pub fn arch(&self) -> &str {
        &self.arch
    }
}

/// The kernels that all these parts make, newest first. A release that is there in several versions is listed as often.
///
/// Parts belong together when distribution, version, architecture, `uname -r` and package version are the same, whichever of the
/// version's repositories they are in.
pub fn kernels(distro: &Distro, parts: Vec<Parts>) -> Vec<OfferedKernel> {
    type OfKernel = (String, String, Vec<(Found, String, Option<std::path::PathBuf>)>);
    let mut groups: BTreeMap<(String, String, String), OfKernel> = BTreeMap::new();
    for Parts { version, arch, origin, signature_keys, found } in parts {
        for one in found {
            if is_meta(&one) {
                continue;
            }
            // Suites may share a version under several spellings (`12`, `12.15`).
            let os_version = alias::version(&distro.id, &version);
            let id =
                (format!("{os_version}/{arch}"), one.part.uname.clone(), one.package.name.full_version());
            let group = groups.entry(id).or_insert_with(|| (os_version, arch.clone(), Vec::new()));
            group.2.push((one, origin.clone(), signature_keys.clone()));
        }
    }
    let mut kernels: Vec<OfferedKernel> = groups
        .into_values()
        .filter_map(|(version, arch, parts)| kernel(distro, &version, &arch, parts))
        .collect();
    newest_first(&mut kernels);
    kernels
}

fn is_meta(found: &Found) -> bool {
    let package = &found.package;
    let limit = match found.part.role {
        Role::Debug => META_DEBUG,
        Role::Image => META_IMAGE,
        _ => return false,
    };
    package.size.is_some_and(|size| size < limit)
        && (package.depends || package.installed.is_some_and(|installed| installed <= META_INSTALLED))
}

fn kernel(
    distro: &Distro,
    version: &str,
    arch: &str,
    mut parts: Vec<(Found, String, Option<std::path::PathBuf>)>,
) -> Option<OfferedKernel> {
    // By role, and of one role the largest first: of the signed and the unsigned package, one may be a shell.
    let rank = |role| match role {
        Role::Debug => 0,
        Role::Vmlinux => 1,
        Role::Btf => 2,
        Role::Image => 3,
        Role::Modules => 4,
        Role::ModulesDebug => 5,
        Role::Config => 6,
    };
    parts.sort_by(|(left, ..), (right, ..)| {
        rank(left.part.role)
            .cmp(&rank(right.part.role))
            .then_with(|| right.package.trust.cmp(&left.package.trust))
            .then_with(|| right.package.size.cmp(&left.package.size))
            .then_with(|| left.package.name.name.cmp(&right.package.name.name))
    });
    let (first, origin, _) = parts.first()?;
    let expected = distro.embeds_btf(arch, &first.part.flavour, &first.part.uname);
    // Modules or a configuration without a kernel are of no use.
    if !matches!(first.part.role, Role::Debug | Role::Vmlinux | Role::Btf | Role::Image) {
        return None;
    }
    let key = match Key::new(&distro.id, version, arch, &first.part.uname) {
        Ok(key) => key,
        Err(error) => {
            tracing::warn!("{origin}: {}: {error}; passed over", first.package.name.name);
            return None;
        }
    };
    let mut kernel = OfferedKernel {
        key,
        flavour: first.part.flavour.clone(),
        source: first.package.name.source.clone().unwrap_or_default(),
        packages: Vec::new(),
        versions: distro.packaging,
        embeds_btf: expected,
        origin: origin.clone(),
        places: distro.places.clone(),
        client_certificate: distro.client_certificate.as_ref().and_then(ClientCertificate::installed),
    };
    for (found, _, signature_keys) in parts {
        let (role, package) = (found.part.role, found.package);
        // Modules may be spread over several packages; of every other role one is enough.
        let known = kernel.packages.iter().any(|known| {
            known.role == role
                && (!matches!(role, Role::Modules | Role::ModulesDebug) || known.name == package.name.name)
        });
        if !known {
            kernel.packages.push(Package {
                role,
                version: package.name.full_version(),
                name: package.name.name,
                url: package.url,
                size: package.size,
                checksum: package.checksum,
                trust: package.trust,
                signature_keys,
            });
        }
    }
    Some(kernel)
}
