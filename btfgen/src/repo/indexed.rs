//! A package as any index describes it, before anyone knows whether it has to do with a kernel.

use btf_archive::Trust;
use url::Url;

use super::offer::Checksum;

/// The longest name or version that is looked at, in bytes.
const TEXT_LIMIT: usize = 256;

/// What tells packages apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackageName {
    /// `kernel-debuginfo`.
    pub(crate) name: String,
    /// RPM's version without epoch and release; dpkg's whole version.
    pub(crate) version: String,
    /// RPM's release; empty for dpkg's packages.
    pub(crate) release: String,
    /// RPM's epoch where it is not 0.
    pub(crate) epoch: Option<u32>,
    /// As the index spells it.
    pub(crate) arch: String,
    /// Name of the source package, where the index says it.
    pub(crate) source: Option<String>,
}

/// One package of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexedPackage {
    pub(crate) name: PackageName,
    pub(crate) url: Url,
    /// In bytes.
    pub(crate) size: Option<u64>,
    /// What it takes when installed, in bytes.
    pub(crate) installed: Option<u64>,
    /// Whether it depends on other packages, as metapackages do.
    pub(crate) depends: bool,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) trust: Trust,
}

impl PackageName {
    /// The version as the package manager writes it: `1:4.18.0-348.el8`.
    pub(crate) fn full_version(&self) -> String {
        let epoch = self.epoch.filter(|epoch| *epoch != 0).map(|epoch| format!("{epoch}:"));
        let release = if self.release.is_empty() { "" } else { "-" };
        format!("{}{}{release}{}", epoch.unwrap_or_default(), self.version, self.release)
    }

    /// What a file name says: `name_version_arch.deb` (an epoch's colon written `%3a`), or `name-version-release.arch.rpm`.
    ///
    /// `None` for other files and for source packages.
    pub(crate) fn of_file(file_name: &str) -> Option<Self> {
        if file_name.len() > 2 * TEXT_LIMIT || file_name.contains('/') {
            return None;
        }
        let own = |name: &str, version: &str, release: &str, arch: &str| {
            let found = Self {
                name: name.to_owned(),
                version: version.to_owned(),
                release: release.to_owned(),
                epoch: None,
                arch: arch.to_owned(),
                source: None,
            };
            found.is_plain().then_some(found)
        };
        let deb = file_name.strip_suffix(".deb").or_else(|| file_name.strip_suffix(".ddeb"));
        if let Some(stem) = deb {
            let mut parts = stem.split('_');
            let (name, version, arch) = (parts.next()?, parts.next()?, parts.next()?);
            let version = version.replace("%3a", ":").replace("%3A", ":");
            return parts.next().is_none().then(|| own(name, &version, "", arch))?;
        }
        let stem = file_name.strip_suffix(".rpm")?;
        let (stem, arch) = stem.rsplit_once('.').filter(|(_, arch)| !matches!(*arch, "src" | "nosrc"))?;
        let (stem, release) = stem.rsplit_once('-')?;
        let (name, version) = stem.rsplit_once('-')?;
        own(name, version, release, arch)
    }

    /// The name of the source package in the file name of a source RPM: `kernel` of `kernel-4.18.0-348.el8.src.rpm`.
    pub(crate) fn of_source(file_name: &str) -> Option<String> {
        let stem = file_name.strip_suffix(".src.rpm").or_else(|| file_name.strip_suffix(".nosrc.rpm"))?;
        let name = stem.rsplit_once('-')?.0.rsplit_once('-')?.0;
        (!name.is_empty() && name.len() <= TEXT_LIMIT).then(|| name.to_owned())
    }

    /// Whether every part is short, not empty where it must not be, and made of what package managers allow: names with anything else
    /// are no names, but may be attempts at something.
    pub(crate) fn is_plain(&self) -> bool {
        let plain = |text: &str| {
            text.len() <= TEXT_LIMIT
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+~^:-".contains(&byte))
        };
        [&self.name, &self.version, &self.arch].iter().all(|text| !text.is_empty() && plain(text))
            && plain(&self.release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that file names of both package managers are taken apart, and that others are not names at all.
    #[test]
    fn file_names() {
        let parts = |name: &str| {
            PackageName::of_file(name).map(|found| (found.full_version(), found.name, found.arch))
        };
        let own = |version: &str, name: &str, arch: &str| Some((version.into(), name.into(), arch.into()));
        assert_eq!(
            parts("kernel-debuginfo-4.18.0-348.el8.x86_64.rpm"),
            own("4.18.0-348.el8", "kernel-debuginfo", "x86_64")
        );
        assert_eq!(
            parts("kernel-default-debuginfo-5.3.18-150300.59.93.1.aarch64.rpm"),
            own("5.3.18-150300.59.93.1", "kernel-default-debuginfo", "aarch64")
        );
        assert_eq!(
            parts("linux-image-6.1.0-47-686-dbg_6.1.170-3_i386.deb"),
            own("6.1.170-3", "linux-image-6.1.0-47-686-dbg", "i386")
        );
        assert_eq!(parts("x_1%3a2-3_all.ddeb"), own("1:2-3", "x", "all"));
        for other in [
            "",
            "README",
            "kernel-4.18.0-348.el8.src.rpm",
            "kernel.rpm",
            "kernel-1.x86_64.rpm",
            "a_b.deb",
            "a_b_c_d.deb",
            "../a_1_i386.deb",
            "a b_1_i386.deb",
            "a\n_1_i386.deb",
            "-1-2.x86_64.rpm",
        ] {
            assert_eq!(parts(other), None, "{other:?}");
        }
    }
}
