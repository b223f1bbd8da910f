//! What there is to do: the kernels that a repository offers, beside what an archive has.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use btf_archive::Key;
use btf_archive::store::{Archive, Error, FailureClass, Subject};

use super::GENERATOR;
use crate::repo::offer::{Expected, OfferedKernel, Role};

/// What a kernel's package means to an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The archive lacks it.
    Missing,
    /// The archive has it, from this package or from a newer version of it, or somebody handed it in.
    Present,
    /// Another version of the package, with the same release, takes its place.
    Superseded {
        /// Version of that package.
        by: String,
    },
    /// This version of the package has failed before, for a reason that trying again does not change.
    FailedBefore {
        /// Lasting or refused.
        class: FailureClass,
        /// Why.
        reason: String,
    },
    /// It has failed before, and it is too early to try again.
    Waiting {
        /// Why it failed.
        reason: String,
        /// When to try again, in seconds since 1970 (UTC).
        until: u64,
    },
    /// The repository does not have what its BTF could be taken from.
    Unobtainable {
        /// What there is, and what there is not.
        reason: String,
    },
}

/// A kernel, and what is to be done about it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The kernel.
    pub kernel: OfferedKernel,
    /// Beside what the archive has.
    pub state: State,
}

/// Decides for each kernel whether the archive lacks it, in the order given. Without an archive all are missing.
pub async fn plan(archive: Option<&Archive>, offered: Vec<OfferedKernel>) -> Result<Vec<Planned>, Error> {
    let newest = newest_versions(&offered);
    let mut seen = HashSet::new();
    let mut planned = Vec::with_capacity(offered.len());
    for kernel in offered {
        // Two suites may carry the very same package.
        if !seen.insert((kernel.key.clone(), kernel.principal().version.clone())) {
            continue;
        }
        let newest = &newest[&kernel.key];
        let state = if *newest == kernel.principal().version {
            beside(archive, &kernel).await?
        } else {
            State::Superseded { by: newest.clone() }
        };
        planned.push(Planned { kernel, state });
    }
    Ok(planned)
}

/// The newest version of the package behind each key.
fn newest_versions(offered: &[OfferedKernel]) -> HashMap<Key, String> {
    let mut newest: HashMap<Key, String> = HashMap::new();
    for kernel in offered {
        match newest.entry(kernel.key.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(kernel.principal().version.clone())),
            Entry::Occupied(mut entry) => {
                if kernel.versions.compare(&kernel.principal().version, entry.get()).is_gt() {
                    entry.insert(kernel.principal().version.clone());
                }
            }
        }
    }
    newest
}

/// What there is to do about a kernel that nothing offered supersedes.
pub(super) async fn beside(archive: Option<&Archive>, kernel: &OfferedKernel) -> Result<State, Error> {
    let unobtainable = unobtainable(kernel).map(|reason| State::Unobtainable { reason });
    let Some(archive) = archive else { return Ok(unobtainable.unwrap_or(State::Missing)) };
    let package = kernel.principal();
    if let Some(known) = archive.catalog().by_key(&kernel.key).await? {
        let ours = |version: &String| kernel.packages.iter().any(|package| package.version == *version);
        match known.provenance.package_version {
            Some(version) if ours(&version) => return Ok(State::Present),
            Some(version) if kernel.versions.compare(&version, &package.version).is_lt() => {}
            Some(version) => return Ok(State::Superseded { by: version }),
            None => return Ok(State::Present),
        }
    }
    if let Some(state) = unobtainable {
        return Ok(state);
    }
    let Some(failure) = archive.catalog().failure(&Subject::Key(kernel.key.clone())).await? else {
        return Ok(State::Missing);
    };
    // Another version of the package, or of this program, may do better at once.
    let same = failure.package.as_ref() == Some(&package.name)
        && failure.package_version.as_ref() == Some(&package.version)
        && failure.generator.as_deref() == Some(GENERATOR);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(match failure.retry_at {
        _ if !same => State::Missing,
        Some(until) if until > now => State::Waiting { reason: failure.reason, until },
        Some(_) => State::Missing,
        None => State::FailedBefore { class: failure.class, reason: failure.reason },
    })
}

/// Why nothing that is on offer can have the kernel's BTF, if so: kernels that do not carry it need their debug information.
fn unobtainable(kernel: &OfferedKernel) -> Option<String> {
    let has = |role| kernel.package(role).is_some();
    let hopeless =
        kernel.embeds_btf == Expected::No && !has(Role::Debug) && !has(Role::Vmlinux) && !has(Role::Btf);
    hopeless.then(|| {
        format!(
            "a kernel without BTF, and {} has no debug package of {}",
            kernel.origin,
            kernel.principal().name
        )
    })
}

/// Which of the offered kernels to look at.
#[derive(Debug, Default)]
pub struct Selection {
    /// Globs of which the release must match one; none means all.
    pub patterns: Vec<globset::GlobMatcher>,
    /// At most this many per flavour and source package, the newest.
    pub newest: Option<usize>,
}

impl Selection {
    /// Keeps what is selected of kernels that are sorted newest first.
    pub fn apply(&self, offered: &mut Vec<OfferedKernel>) {
        if !self.patterns.is_empty() {
            offered.retain(|kernel| self.patterns.iter().any(|pattern| pattern.is_match(kernel.release())));
        }
        if let Some(newest) = self.newest {
            let mut releases: HashMap<_, HashSet<String>> = HashMap::new();
            offered.retain(|kernel| {
                let line = (kernel.key.arch().to_owned(), kernel.flavour.clone(), kernel.source.clone());
                let taken = releases.entry(line).or_default();
                taken.contains(kernel.release())
                    || taken.len() < newest && taken.insert(kernel.release().to_owned())
            });
        }
    }
}
