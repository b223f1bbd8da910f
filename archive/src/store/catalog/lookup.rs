//! Lookup: which kernel does a host run, by whatever it can tell.
//!
//! Another kernel's BTF loads without an error and reads garbage, so a lookup never guesses:
//!
//! 1. The build-id is exact. Where it is known to the archive, that is the answer.
//! 2. A build-id that is not known rules out every kernel that has another one; only kernels whose build-id the archive
//!    does not know can still be found by name.
//! 3. Distribution, version, architecture and release together are a key: found by name.
//! 4. Less than a key, at least a release: found by name if one kernel only fits, ambiguous if several.
//! 5. `uname -r` alone is no key, and a container shows its own os-release, not the host's. So when the release is known,
//!    but only for another distribution or version than the host claims, the answer is ambiguous, even for one candidate.
//! 6. A name that no kernel has may be one that the operator gave to a kernel (`aliases`); what holds for names holds for it.
//! 7. Else it is not found, and the nearest kernels are named, for people.

use super::super::{Error, Result};
use super::{Catalog, rows};
use crate::{BuildId, Closeness, KernelRecord, Key, alias, closeness, order};

/// How many of the nearest kernels an answer names.
const NEAREST: usize = 5;

/// The most candidates an answer names.
const CANDIDATES: usize = 50;

/// What a host can tell about its kernel. All text in any spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupQuery {
    /// From `/sys/kernel/notes`.
    pub build_id: Option<BuildId>,
    /// `uname -r`.
    pub release: Option<String>,
    /// `uname -m`, or any other name.
    pub arch: Option<String>,
    /// os-release's `ID`.
    pub os_id: Option<String>,
    /// os-release's `VERSION_ID`, or its `VERSION_CODENAME` where that is missing.
    pub os_version: Option<String>,
}

/// The answer to a [`LookupQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The kernel, by build-id: certain.
    Exact(KernelRecord),
    /// The only kernel of that name: as certain as names are.
    ByName(KernelRecord),
    /// Kernels that fit, of which the query does not say which one, the likeliest first.
    Ambiguous(Vec<KernelRecord>),
    /// None fits.
    NotFound {
        /// Kernels of similar names, the nearest first, at most five. Their BTF is wrong for this host.
        nearest: Vec<KernelRecord>,
    },
}

/// A query in canonical spelling.
struct Wanted {
    build_id: Option<BuildId>,
    release: String,
    arch: Option<String>,
    distro: Option<String>,
    version: Option<String>,
}

impl Catalog {
    /// Finds the kernel that a host runs.
    ///
    /// # Errors
    /// [`Error::Query`] for a query with neither build-id nor release, or with text longer than any name can be.
    pub async fn lookup(&self, query: &LookupQuery) -> Result<Lookup> {
        let wanted = Wanted::new(query)?;
        if let Some(build_id) = &wanted.build_id {
            let mut found = self.by_build_id(build_id).await?;
            // One kernel under several keys: the same BTF, so any will do, but its own name is the best.
            found.sort_by_key(|kernel| std::cmp::Reverse(wanted.agreements(&kernel.key)));
            if let Some(first) = found.into_iter().next() {
                return Ok(Lookup::Exact(first));
            }
        }
        if wanted.release.is_empty() {
            return Ok(Lookup::NotFound { nearest: Vec::new() });
        }
        let mut found = self.of_release(&wanted).await?;
        found.retain(|kernel| wanted.may_be(kernel));
        found.sort_by_key(|kernel| std::cmp::Reverse(wanted.agreements(&kernel.key)));
        let named: Vec<_> = found.iter().filter(|kernel| wanted.is_named(&kernel.key)).cloned().collect();
        Ok(match named.as_slice() {
            [] if found.is_empty() => match &self.of_alias(&wanted).await?[..] {
                [] => Lookup::NotFound { nearest: self.nearest(&wanted).await? },
                [only] => Lookup::ByName(only.clone()),
                [first, rest @ ..] if rest.iter().all(|other| same_kernel(first, other)) => {
                    Lookup::ByName(first.clone())
                }
                several => Lookup::Ambiguous(bounded(several.to_vec())),
            },
            [] => Lookup::Ambiguous(bounded(found)),
            [only] => Lookup::ByName(only.clone()),
            [first, rest @ ..] if rest.iter().all(|other| same_kernel(first, other)) => {
                Lookup::ByName(first.clone())
            }
            _ => Lookup::Ambiguous(bounded(named)),
        })
    }

    /// The kernels of this release and, where known, this architecture; of a spelling of it if it is not there itself.
    async fn of_release(&self, wanted: &Wanted) -> Result<Vec<KernelRecord>> {
        let of = async |release: &str| -> Result<Vec<KernelRecord>> {
            let mut found = self.fetch(rows::OF_RELEASE, &[release]).await?;
            found.retain(|kernel| wanted.arch.as_deref().is_none_or(|arch| arch == kernel.key.arch()));
            Ok(found)
        };
        let found = of(&wanted.release).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        // SUSE's rebuild counter, which `uname -r` drops: both directions, where the distribution says or allows it.
        let mut found = Vec::new();
        for &distro in alias::distros_with_counter() {
            if wanted.distro.as_deref().is_some_and(|wanted| wanted != distro) {
                continue;
            }
            if let Some(shorter) = alias::without_counter(distro, &wanted.release) {
                found.extend(of(&shorter).await?.into_iter().filter(|kernel| kernel.key.distro() == distro));
            }
            if let Some((start, _)) = alias::with_counter(distro, &wanted.release) {
                // The character after `.` is `/`: everything that starts with `start` lies between.
                let end = format!("{}/", start.trim_end_matches('.'));
                let mut longer = self.fetch(rows::OF_RELEASES, &[distro, &start, &end]).await?;
                longer.retain(|kernel| {
                    alias::same_release(distro, kernel.key.release(), &wanted.release)
                        && wanted.arch.as_deref().is_none_or(|arch| arch == kernel.key.arch())
                });
                found.extend(longer);
            }
        }
        Ok(found)
    }

    /// The kernels that an alias gives this name.
    async fn of_alias(&self, wanted: &Wanted) -> Result<Vec<KernelRecord>> {
        let mut found = self.of_alias_release(&wanted.release).await?;
        found.retain(|(alias, kernel)| {
            let fits = wanted.arch.as_deref().is_none_or(|arch| arch == alias.arch());
            fits && wanted.is_named(alias) && wanted.may_be(kernel)
        });
        Ok(found.into_iter().map(|(_, kernel)| kernel).collect())
    }

    /// The kernels whose names are nearest to the wanted one.
    async fn nearest(&self, wanted: &Wanted) -> Result<Vec<KernelRecord>> {
        let at = order(&wanted.release);
        // Neighbours in release order, among ever farther relatives until there are enough.
        let mut found: Vec<KernelRecord> = Vec::new();
        for scope in [Scope::DistroAndArch, Scope::Arch, Scope::All] {
            let mut values = match (scope, &wanted.distro, &wanted.arch) {
                (Scope::DistroAndArch, Some(distro), Some(arch)) => vec![distro.as_str(), arch],
                (Scope::Arch, _, Some(arch)) => vec![arch.as_str()],
                (Scope::All, ..) => Vec::new(),
                _ => continue,
            };
            values.push(&at);
            for side in [Side::Below, Side::Above] {
                found.extend(self.fetch(&neighbours(scope, side), &values).await?);
            }
            if found.len() >= NEAREST {
                break;
            }
        }
        found.sort_by(|a, b| {
            wanted.nearness(&b.key).cmp(&wanted.nearness(&a.key)).then_with(|| a.key.cmp(&b.key))
        });
        found.dedup_by(|a, b| a.key == b.key);
        found.truncate(NEAREST);
        Ok(found)
    }
}

/// Among which kernels to look for neighbours.
#[derive(Clone, Copy)]
enum Scope {
    DistroAndArch,
    Arch,
    All,
}

/// On which side of a release.
#[derive(Clone, Copy)]
enum Side {
    Below,
    Above,
}

/// The condition for the neighbours of a release: as many as there may be flavours of the releases next to it.
fn neighbours(scope: Scope, side: Side) -> String {
    let scope = match scope {
        Scope::DistroAndArch => "k.distro = ? AND k.arch = ? AND",
        Scope::Arch => "k.arch = ? AND",
        Scope::All => "",
    };
    let side = match side {
        Side::Below => "< ? ORDER BY k.release_order DESC",
        Side::Above => ">= ? ORDER BY k.release_order",
    };
    format!("{scope} k.release_order {side} LIMIT 32")
}

#[cfg(test)]
pub(super) fn neighbour_conditions() -> impl Iterator<Item = String> {
    [Scope::DistroAndArch, Scope::Arch, Scope::All]
        .into_iter()
        .flat_map(|scope| [Side::Below, Side::Above].map(|side| neighbours(scope, side)))
}

impl Wanted {
    fn new(query: &LookupQuery) -> Result<Self> {
        let text = |what, value: &Option<String>| match value.as_deref().map(alias::unquoted) {
            None | Some("") => Ok(None),
            Some(value) if value.len() > Key::MAX_PART => {
                Err(Error::Query { what, reason: format!("longer than {} bytes", Key::MAX_PART) })
            }
            Some(value) => Ok(Some(value.to_owned())),
        };
        let distro = text("os_id", &query.os_id)?.map(|name| alias::distro(&name));
        let version = text("os_version", &query.os_version)?.map(|version| match &distro {
            Some(distro) => alias::version(distro, &version),
            None => alias::version_of_any(&version),
        });
        let arch = text("arch", &query.arch)?.map(|name| alias::arch(&name));
        let release = text("release", &query.release)?.unwrap_or_default();
        if release.is_empty() && query.build_id.is_none() {
            return Err(Error::Query { what: "lookup", reason: "needs a build-id or a release".to_owned() });
        }
        Ok(Self { build_id: query.build_id, release, arch, distro, version })
    }

    /// Whether nothing rules out that this is the kernel: its build-id would.
    fn may_be(&self, kernel: &KernelRecord) -> bool {
        match (&self.build_id, &kernel.build_id) {
            (Some(wanted), Some(found)) => wanted == found,
            _ => true,
        }
    }

    /// Whether everything the query says about the distribution holds for this key.
    fn is_named(&self, key: &Key) -> bool {
        self.distro.as_deref().is_none_or(|distro| distro == key.distro())
            && self.version.as_deref().is_none_or(|version| version == key.version())
    }

    /// How many parts of the key are as the query says.
    fn agreements(&self, key: &Key) -> usize {
        let said = [
            (self.distro.as_deref(), key.distro()),
            (self.version.as_deref(), key.version()),
            (self.arch.as_deref(), key.arch()),
            (Some(self.release.as_str()), key.release()),
        ];
        said.into_iter().filter(|(wanted, found)| *wanted == Some(*found)).count()
    }

    /// How near a key is: the same architecture first, then distribution, then release, then version.
    fn nearness(&self, key: &Key) -> (bool, bool, Closeness, bool) {
        (
            self.arch.as_deref() == Some(key.arch()),
            self.distro.as_deref() == Some(key.distro()),
            closeness(&self.release, key.release()),
            self.version.as_deref() == Some(key.version()),
        )
    }
}

/// Whether two records are the same kernel under two names: the same BTF, and build-ids that do not differ.
fn same_kernel(a: &KernelRecord, b: &KernelRecord) -> bool {
    a.digest == b.digest && (a.build_id.is_none() || b.build_id.is_none() || a.build_id == b.build_id)
}

fn bounded(mut kernels: Vec<KernelRecord>) -> Vec<KernelRecord> {
    kernels.truncate(CANDIDATES);
    kernels
}
