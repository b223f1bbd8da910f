//! A kernel's key: `distro/version/arch/release`, in one canonical spelling.
//!
//! The order of the parts and most spellings are BTFHub's. A [`Key`] is canonical by construction: whatever spelling a
//! host, a distribution or a URL uses, [`alias`] brings it to the same value, so two spellings of one kernel can never
//! become two entries. Parts are safe as path components.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::excerpt;
use crate::{Error, alias};

/// `distro/version/arch/release`: os-release's `ID` and `VERSION_ID`, the architecture, `uname -r`, in canonical spelling.
///
/// Orders by parts, as text; [`crate::order`] gives the order in which people read versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    distro: String,
    version: String,
    arch: String,
    release: String,
}

impl Key {
    /// The longest part taken, in bytes (a kernel's own limit for `uname -r` is 64).
    pub const MAX_PART: usize = 128;

    /// A key from its parts in any known spelling.
    ///
    /// # Errors
    /// [`Error::Key`] for a part that is empty, longer than 128 bytes, holds other characters than
    /// `A-Z a-z 0-9 . _ + ~ : -`, starts with none of the letters, digits or `_`, or holds `..`.
    pub fn new(distro: &str, version: &str, arch: &str, release: &str) -> Result<Self, Error> {
        // Checked before the aliases see them, so that those need not fear hostile text; the aliases keep them safe.
        let distro = alias::unquoted(distro);
        let version = alias::unquoted(version);
        for (part, text) in [("distro", distro), ("version", version), ("arch", arch), ("release", release)] {
            check(part, text)?;
        }
        let distro = alias::distro(distro);
        Ok(Self {
            version: alias::version(&distro, version),
            arch: alias::arch(arch),
            release: release.to_owned(),
            distro,
        })
    }

    /// os-release's `ID`: `debian`, `ubuntu`, `ol`, …
    pub fn distro(&self) -> &str {
        &self.distro
    }

    /// os-release's `VERSION_ID`: `11`, `18.04`, …
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The architecture: `x86_64`, `arm64`, `i386`, …
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// `uname -r`.
    pub fn release(&self) -> &str {
        &self.release
    }
}

/// Checks one part of a key, as [`Key::new`] says.
fn check(part: &'static str, text: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Key { part, text: excerpt(text), reason });
    if text.is_empty() {
        return refuse("is empty");
    }
    if text.len() > Key::MAX_PART {
        return refuse("is longer than 128 bytes");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+~:-".contains(&byte)) {
        return refuse("may hold letters, digits and . _ + ~ : - only");
    }
    if !text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_') {
        return refuse("must start with a letter, a digit or _");
    }
    if text.contains("..") {
        return refuse("may not hold `..`");
    }
    Ok(())
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.distro, self.version, self.arch, self.release)
    }
}

impl FromStr for Key {
    type Err = Error;

    /// Takes `distro/version/arch/release` in any known spelling.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('/');
        match [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()] {
            [Some(distro), Some(version), Some(arch), Some(release), None] => {
                Self::new(distro, version, arch, release)
            }
            _ => {
                let reason = "must have four parts, distro/version/arch/release";
                Err(Error::Key { part: "key", text: excerpt(text), reason })
            }
        }
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
