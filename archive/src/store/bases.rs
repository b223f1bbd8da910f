//! Which blob a new one is made on.
//!
//! A series of kernels (6.12, all architectures) has one blob that is whole, its *keyframe*. The first kernel of each flavour (amd64, cloud-amd64, arm64, …) is a
//! delta on that, and the flavour's later ones are deltas on its first: nothing is deeper than [`MAX_DEPTH`]. Kernels come in any order and
//! several at once, so this is what is aimed at, not what can be relied on: a new blob is tried on the few that should be most like it, and the best is kept. A base
//! that cannot be read is as good as none.

use bytes::Bytes;

use super::blobs::Base;
use super::catalog::Related;
use super::tree::run;
use super::{Archive, Result};
use crate::delta::{self, MAX_DEPTH};
use crate::release::{closeness, flavour};
use crate::{Digest, Key};

/// What is smaller than this is stored whole, in bytes: there is nothing to win.
const SMALL: usize = 64 << 10;

/// How much smaller a blob is at least as a whole zstd frame, for want of the frame itself.
const ZSTD_RATIO: usize = 4;

/// A delta of at most this part of the raw bytes is so good that no other base is tried.
const GOOD: usize = 64;

/// Blobs that a new one may be made on, the likeliest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates(Vec<Candidate>);

#[derive(Clone, Copy, Debug)]
struct Candidate {
    digest: Digest,
    /// What a delta on it may have at most, as a part of the raw bytes, for the archive to stay small: a series needs a whole blob of its own sooner or later.
    worth: usize,
}

/// A blob as a delta.
pub(super) struct Made {
    pub(super) base: Digest,
    depth: u8,
    pub(super) delta: Vec<u8>,
}

impl Made {
    /// What is less deep can be a base itself and is read sooner: that is worth a few bytes.
    fn cost(&self) -> usize {
        self.delta.len() * (4 + usize::from(self.depth))
    }
}

impl Archive {
    /// Blobs that a kernel's may be made on, and configurations that its may be made on.
    pub(super) async fn candidates(&self, key: &Key) -> Result<(Candidates, Candidates)> {
        let Some(series) = series(key.release()) else { return Ok(Default::default()) };
        let mut related = self.catalog.of_series(series).await?;
        related.sort_by_cached_key(|other| std::cmp::Reverse(closeness(key.release(), &other.release)));
        let is_same_arch = |other: &&Related| other.arch == key.arch();
        let line = line(key.release());
        let is_same_flavour = |other: &&Related| is_same_arch(other) && self::line(&other.release) == line;
        let is_whole = |other: &&Related| other.base.is_none();

        let mut blobs = Candidates::default();
        // The nearest of its flavour, or what that is made on.
        if let Some(near) = related.iter().find(is_same_flavour) {
            let digest = if near.is_deep { near.base.unwrap_or(near.digest) } else { near.digest };
            blobs.add(digest, 2 * ZSTD_RATIO);
        }
        let keyframe = related.iter().filter(is_same_arch).find(is_whole);
        if let Some(keyframe) = keyframe {
            blobs.add(keyframe.digest, 2 * ZSTD_RATIO);
        } else if let Some(keyframe) = related.iter().find(is_whole) {
            blobs.add(keyframe.digest, 3 * ZSTD_RATIO);
        }
        if blobs.0.is_empty() {
            let mut others = self.catalog.whole_ones(key.arch()).await?;
            others.sort_by_key(|other| (other.arch != key.arch(), distance(key.release(), &other.release)));
            if let Some(nearest) = others.first() {
                blobs.add(nearest.digest, 5 * ZSTD_RATIO);
            }
        }
        let mut configs = Candidates::default();
        let with_config = |other: &&Related| other.config.is_some();
        for near in [
            related.iter().filter(with_config).find(is_same_flavour),
            related.iter().filter(with_config).find(is_same_arch),
        ] {
            if let Some(config) = near.and_then(|near| near.config) {
                configs.add(config, 2 * ZSTD_RATIO);
            }
        }
        Ok((blobs, configs))
    }

    /// The blob as the best delta on one of these, if there is a good one.
    pub(super) async fn as_delta(
        &self,
        digest: &Digest,
        raw: &Bytes,
        candidates: &Candidates,
    ) -> Result<Option<Made>> {
        let mut best: Option<Made> = None;
        for candidate in &candidates.0 {
            if raw.len() < SMALL || candidate.digest == *digest {
                continue;
            }
            // Whoever tidies up may not remove it between now and the time when the catalog names this blob.
            self.catalog.touch_known(&candidate.digest).await?;
            let Some(base) = self.usable(&candidate.digest).await else { continue };
            let (of, raw_too, named) = (base.clone(), raw.clone(), *digest);
            let made = run(move || {
                let base = delta::Base { digest: of.digest, depth: of.depth, raw: &of.raw };
                delta::encode(base, &named, &raw_too)
            });
            let Some(delta) = made.await.filter(|delta| delta.len() <= raw.len() / candidate.worth) else {
                continue;
            };
            let made = Made { base: base.digest, depth: base.depth + 1, delta };
            if best.as_ref().is_none_or(|best| made.cost() < best.cost()) {
                best = Some(made);
            }
            if best.as_ref().is_some_and(|best| best.delta.len() <= raw.len() / GOOD) {
                break;
            }
        }
        Ok(best)
    }

    /// The blob, or what it is made on if it is too deep; nothing if it cannot be read.
    async fn usable(&self, digest: &Digest) -> Option<Base> {
        let base = self.base(digest).await.ok()?;
        if base.depth < MAX_DEPTH {
            return Some(base);
        }
        let below = base.base?;
        self.catalog.touch_known(&below).await.ok()?;
        self.base(&below).await.ok()
    }
}

impl Candidates {
    fn add(&mut self, digest: Digest, worth: usize) {
        if self.0.iter().all(|other| other.digest != digest) {
            self.0.push(Candidate { digest, worth });
        }
    }
}

/// The upstream series of a release: its first two numbers.
fn series(release: &str) -> Option<&str> {
    let (major, rest) = release.split_once('.')?;
    let minor = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let end = major.len() + 1 + minor;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(major) && minor > 0).then(|| &release[..end])
}

/// What kernels have in common that are built in the same way: the flavour, without the number of a rebuild (`deb13-amd64` of `6.12.90+deb13.1-amd64`).
fn line(release: &str) -> String {
    let parts = flavour(release).split('.').enumerate();
    parts
        .map(|(at, part)| if at == 0 { part } else { part.trim_start_matches(|c: char| c.is_ascii_digit()) })
        .collect()
}

/// How far two releases' series are from each other. That of an older kernel is less far: most of what it has is still there in a newer one, but not the
/// other way round.
fn distance(release: &str, other: &str) -> u64 {
    let number = |release: &str| -> Option<u64> {
        let (major, minor) = series(release)?.split_once('.')?;
        Some(major.parse::<u64>().ok()? * 100 + minor.parse::<u64>().ok()?)
    };
    match (number(release), number(other)) {
        (Some(mine), Some(other)) if other >= mine => other - mine,
        (Some(mine), Some(other)) => (mine - other) * 2,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that a release's series is told, and nothing else taken for one.
    #[test]
    fn bases_series() {
        for (release, found) in [
            ("6.12.117+deb13-amd64", Some("6.12")),
            ("5.10.0-46-cloud-amd64", Some("5.10")),
            ("4.18.0-553.el8_10.x86_64", Some("4.18")),
            ("7.2-rc1", Some("7.2")),
            ("6", None),
            ("6.", None),
            ("x.1", None),
            ("", None),
        ] {
            assert_eq!(series(release), found, "{release}");
        }
    }

    /// Check that rebuilds are of one line, and other flavours and builders of others.
    #[test]
    fn bases_line() {
        for (release, found) in [
            ("6.12.90+deb13.1-amd64", "deb13-amd64"),
            ("6.12.117+deb13-amd64", "deb13-amd64"),
            ("6.12.117+deb12-rt-amd64", "deb12-rt-amd64"),
            ("6.1.0-56-cloud-amd64", "cloud-amd64"),
            ("5.15.0-91-generic", "generic"),
            ("4.18.0-553.16.1.el8_10.x86_64", ""),
        ] {
            assert_eq!(line(release), found, "{release}");
        }
    }

    /// Check that a newer series is nearer than an older one that is as far.
    #[test]
    fn bases_distance() {
        assert_eq!(distance("6.1.0-1-amd64", "6.1.9"), 0);
        assert!(distance("6.1.0", "6.12.1") < distance("6.12.1", "6.1.0"));
        assert!(distance("5.10.0", "6.1.0") < distance("5.10.0", "7.2.1"));
    }
}
