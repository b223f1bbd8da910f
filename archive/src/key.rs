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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Check that BTFHub's paths, and what hosts call the same kernels, come to one key.
    #[test]
    fn key_spellings() {
        for (canonical, spellings) in [
            (
                "debian/11/i386/5.10.0-35-686-pae",
                &["debian/bullseye/i386/5.10.0-35-686-pae", "Debian/11/i686/5.10.0-35-686-pae"][..],
            ),
            ("debian/11/x86_64/5.10.0-35-amd64", &["debian/bullseye-security/amd64/5.10.0-35-amd64"]),
            ("ubuntu/18.04/arm64/4.15.0-1030-aws", &["ubuntu/bionic/aarch64/4.15.0-1030-aws"]),
            ("centos/8/x86_64/4.18.0-348.el8.x86_64", &["\"centos\"/8-stream/x86_64/4.18.0-348.el8.x86_64"]),
            ("rhel/7/x86_64/3.10.0-1160.el7.x86_64", &["rhel/7.9/amd64/3.10.0-1160.el7.x86_64"]),
            (
                "amzn/2018/x86_64/4.14.26-46.32.amzn1.x86_64",
                &[
                    "amzn/2018.03/x86_64/4.14.26-46.32.amzn1.x86_64",
                    "amazon/1/x86_64/4.14.26-46.32.amzn1.x86_64",
                ],
            ),
            (
                "opensuse-leap/15.4/x86_64/5.14.21-150400.22-default",
                &["opensuse_leap/15.4/x86_64/5.14.21-150400.22-default"],
            ),
        ] {
            let key: Key = canonical.parse().unwrap();
            assert_eq!(key.to_string(), canonical);
            for spelling in spellings {
                assert_eq!(spelling.parse::<Key>().unwrap(), key, "{spelling}");
            }
        }
    }

    /// Check that parts which could leave a directory, hide or break a URL are refused, with the part's name.
    #[test]
    fn key_refuses() {
        let long = "5".repeat(129);
        for (text, part) in [
            ("debian/11/i386", "key"),
            ("debian/11/i386/5.10/x", "key"),
            ("/11/i386/5.10", "distro"),
            ("debian//i386/5.10", "version"),
            ("debian/11//5.10", "arch"),
            ("debian/11/i386/", "release"),
            ("debian/../i386/5.10", "version"),
            ("debian/11/i386/5..10", "release"),
            ("debian/11/i386/.hidden", "release"),
            ("debian/11/i386/-rf", "release"),
            ("debian/11/i386/5.10 ", "release"),
            ("debian/11/i386/5.10%2f", "release"),
            ("debian/11/i386/5.10\0", "release"),
            ("debian/11/i386/é", "release"),
            (&format!("debian/11/i386/{long}"), "release"),
        ] {
            match text.parse::<Key>() {
                Err(Error::Key { part: found, .. }) => assert_eq!(found, part, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    /// Check that a key is JSON text and that JSON is checked like any other spelling.
    #[test]
    fn key_json() {
        let key: Key = serde_json::from_str("\"debian/bullseye/amd64/5.10.0-35-amd64\"").unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), "\"debian/11/x86_64/5.10.0-35-amd64\"");
        assert!(serde_json::from_str::<Key>("\"debian/../../passwd\"").is_err());
    }

    fn part() -> impl Strategy<Value = String> {
        const KNOWN: &[&str] = &[
            "debian",
            "ubuntu",
            "sles",
            "centos",
            "amzn",
            "bullseye-updates-updates",
            "15-sp4",
            "stream8",
            "7.9",
        ];
        prop_oneof!["[A-Za-z0-9._+~:-]{0,12}", prop::sample::select(KNOWN).prop_map(str::to_owned)]
    }

    proptest! {
        /// Check that a key, once made, is canonical: its text makes the same key, and is safe as a relative path.
        #[test]
        fn key_is_canonical(distro in part(), version in part(), arch in part(), release in part()) {
            if let Ok(key) = Key::new(&distro, &version, &arch, &release) {
                let text = key.to_string();
                prop_assert_eq!(text.parse::<Key>().unwrap(), key);
                prop_assert!(text.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
            }
        }

        /// Check that any text is a key or a bounded error.
        #[test]
        fn key_from_any_text(text in ".{0,300}") {
            if let Err(error) = text.parse::<Key>() {
                prop_assert!(error.to_string().len() < 1500);
            }
        }
    }
}
