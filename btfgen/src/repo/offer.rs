//! What any repository offers: kernels, and the packages that hold their parts.
//!
//! Whatever the kind of index — Debian's, RPM's, a listing, a directory — its reader ends in [`OfferedKernel`]s, and everything after it
//! (plan, routes to the BTF, workers in other processes) knows no other type. All of it is plain data that can be written to a
//! queue and read by another machine.
//!
//! What an index says is a stranger's word until [`Package::trust`] says otherwise; names and versions in it have been
//! checked to hold no control characters, and URLs to stay within the repository.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use btf_archive::{Digest, Key, Trust};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use super::version::VersionOrder;
use crate::distro::ClientCertificate;
use crate::fetch;

/// A kernel that a repository offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferedKernel {
    /// What an archive calls it; its release is what `uname -r` says.
    pub key: Key,
    /// `686-pae`, `generic`, `azure`: what tells kernels of one version apart; may be empty.
    pub flavour: String,
    /// Name of the source package: `linux`, `kernel`, `kernel-uek`.
    pub source: String,
    /// The packages that hold its parts, at least one: one of each [`Role`], except that modules may be spread over several.
    pub packages: Vec<Package>,
    /// How versions of these packages compare.
    pub versions: VersionOrder,
    /// Whether the kernel is expected to carry BTF itself.
    pub embeds_btf: Expected,
    /// The repository, for messages and failures: `bookworm-security at http://mirror.example/debian-security/`.
    pub origin: String,
    /// Where in the packages its files are.
    pub places: Places,
    /// With what to log in where its packages are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
}

impl OfferedKernel {
    /// The repository's name, as definitions have it: a suite's in Debian's.
    pub fn repository(&self) -> &str {
        self.origin.split_once(" at ").map_or(&self.origin, |(name, _)| name)
    }

    /// The package of that role, if the repository has it; of several, the largest.
    pub fn package(&self, role: Role) -> Option<&Package> {
        self.packages.iter().find(|package| package.role == role)
    }

    /// The package by which the kernel is known: the one with debug information, else the image, else any.
    ///
    /// Its version is the kernel's, and its name stands in the provenance of archives.
    ///
    /// # Panics
    /// If there is no package at all, which no reader of an index produces.
    pub fn principal(&self) -> &Package {
        self.package(Role::Debug)
            .or_else(|| self.package(Role::Image))
            .or_else(|| self.packages.first())
            .expect("an offered kernel has a package")
    }

    /// The client that fetches its packages: `client`, with the certificate that the repository wants to see.
    ///
    /// # Errors
    /// The certificate cannot be used; the message says why.
    pub fn client(&self, client: &fetch::Client) -> Result<fetch::Client, String> {
        self.client_certificate
            .as_ref()
            .map_or_else(|| Ok(client.clone()), |certificate| certificate.client(client))
    }

    /// What `uname -r` says on this kernel.
    pub fn release(&self) -> &str {
        self.key.release()
    }
}

/// Sorts by the version of the principal package, the newest first.
pub fn newest_first(kernels: &mut [OfferedKernel]) {
    kernels.sort_by(|left, right| {
        let (newer, older) = (right.principal(), left.principal());
        left.versions
            .compare(&newer.version, &older.version)
            .then_with(|| left.key.cmp(&right.key))
            // The signed and the unsigned package of one kernel, of which one may be a shell.
            .then_with(|| newer.size.cmp(&older.size))
    });
}

/// An expectation from version, architecture and distribution; not a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// Kernels like this one do.
    Yes,
    /// Kernels like this one do not.
    No,
    /// Only a look at it will tell.
    Unknown,
}

/// What a package holds of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// vmlinuz, and in most distributions the configuration and the modules.
    Image,
    /// vmlinux with debug information, and in most distributions that of the modules.
    Debug,
    /// Modules, where they are not in the image's package: Ubuntu, Fedora.
    Modules,
    /// Debug information of modules, where it is not in vmlinux' package.
    ModulesDebug,
    /// No package, but vmlinux itself, with debug information, as debuginfod serves it.
    Vmlinux,
    /// No package, but the raw bytes of the kernel's `.BTF` section, as debuginfod serves it.
    Btf,
    /// The kernel's configuration, where it is not in the image's package: Debian since Linux 7, in `linux-base-{release}`.
    Config,
}

impl Role {
    /// The name in definitions, JSON and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Debug => "debug",
            Self::Modules => "modules",
            Self::ModulesDebug => "modules-debug",
            Self::Vmlinux => "vmlinux",
            Self::Btf => "btf",
            Self::Config => "config",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A package, as an index describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// What it holds.
    pub role: Role,
    /// Its name: `linux-image-6.1.0-47-686-pae-dbg`, `kernel-debuginfo`.
    pub name: String,
    /// Its version as the package manager writes it: `6.1.170-3`, `4.18.0-348.el8`.
    pub version: String,
    /// Where it is: http, https or file.
    pub url: Url,
    /// Its size in bytes, where the index says it.
    pub size: Option<u64>,
    /// The hash of the whole package, where the index says it.
    pub checksum: Option<Checksum>,
    /// The level that this description reached: `SignedIndex` when a key we know signed it, `Transport` when it came over https,
    /// else `None`. A package cannot be trusted more than its description, except by a signature of its own.
    pub trust: Trust,
    /// OpenPGP keyring on this machine with the keys that sign such packages themselves (RPM), where the definition
    /// pins one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_keys: Option<PathBuf>,
}

/// The hash of a package. Weak ones (SHA-1, MD5) find damage, but never raise trust.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// SHA-256.
    Sha256(Digest),
    /// SHA-512.
    Sha512([u8; 64]),
    /// SHA-1: weak.
    Sha1([u8; 20]),
    /// MD5: weak.
    Md5([u8; 16]),
}

impl Checksum {
    /// The hash of that name, as indices write it (`sha256`, `sha`, `md5`, in either case), from hexadecimal digits.
    ///
    /// `None` for other hashes and for what is not as many digits as the hash has.
    pub fn parse(algorithm: &str, digits: &str) -> Option<Self> {
        fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
            let mut bytes = [0; N];
            hex::decode_to_slice(digits, &mut bytes).ok().map(|()| bytes)
        }
        match algorithm.to_ascii_lowercase().as_str() {
            "sha256" => bytes(digits).map(|bytes| Self::Sha256(Digest::from_bytes(bytes))),
            "sha512" => bytes(digits).map(Self::Sha512),
            "sha1" | "sha" => bytes(digits).map(Self::Sha1),
            "md5" => bytes(digits).map(Self::Md5),
            _ => None,
        }
    }

    /// Whether nobody can make other bytes with this hash.
    pub fn is_strong(&self) -> bool {
        matches!(self, Self::Sha256(_) | Self::Sha512(_))
    }

    /// The SHA-256, if it is one.
    pub fn sha256(&self) -> Option<Digest> {
        match self {
            Self::Sha256(digest) => Some(*digest),
            _ => None,
        }
    }
}

impl fmt::Display for Checksum {
    /// `sha256:` and the digits; so in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => write!(f, "sha256:{digest}"),
            Self::Sha512(bytes) => write!(f, "sha512:{}", hex::encode(bytes)),
            Self::Sha1(bytes) => write!(f, "sha1:{}", hex::encode(bytes)),
            Self::Md5(bytes) => write!(f, "md5:{}", hex::encode(bytes)),
        }
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

impl FromStr for Checksum {
    type Err = String;

    /// Reads what [`Checksum`] displays as.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once(':').and_then(|(algorithm, digits)| Self::parse(algorithm, digits)).ok_or_else(|| {
            format!("{text:?} is no checksum: sha256:, sha512:, sha1: or md5:, and its digits")
        })
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where in its packages a kernel's files are: paths without a leading slash, in which `{release}` stands for what
/// `uname -r` says. Several are tried in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Places {
    /// The kernel with debug information.
    pub vmlinux: Vec<String>,
    /// The kernel that boots.
    pub image: Vec<String>,
    /// Directories with modules below them.
    pub modules: Vec<String>,
    /// The kernel's configuration.
    pub config: Vec<String>,
}

impl Default for Places {
    /// Every place that a distribution we know uses.
    fn default() -> Self {
        let all = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        Self {
            vmlinux: all(&[
                "usr/lib/debug/lib/modules/{release}/vmlinux",
                "usr/lib/debug/boot/vmlinux-{release}",
                "usr/lib/debug/boot/vmlinux-{release}.debug",
                "usr/lib/debug/lib/modules/{release}/vmlinux.debug",
                "usr/lib/debug/usr/lib/modules/{release}/vmlinux",
                "usr/lib/debug/usr/lib/modules/{release}/vmlinux.debug",
            ]),
            image: all(&[
                "boot/vmlinuz-{release}",
                "lib/modules/{release}/vmlinuz",
                "usr/lib/modules/{release}/vmlinuz",
                "boot/vmlinux-{release}",
                "boot/Image-{release}",
                "boot/image-{release}",
                "usr/lib/modules/{release}/Image",
                "usr/lib/modules/{release}/image",
                "usr/lib/modules/{release}/vmlinux",
            ]),
            modules: all(&["lib/modules/{release}", "usr/lib/modules/{release}"]),
            config: all(&[
                "boot/config-{release}",
                "lib/modules/{release}/config",
                "usr/lib/modules/{release}/config",
            ]),
        }
    }
}

impl Places {
    /// The paths of `templates` for one release.
    pub fn of<'a>(templates: &'a [String], release: &'a str) -> impl Iterator<Item = String> + 'a {
        templates.iter().map(move |template| template.replace("{release}", release))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that an offered kernel survives being written to a queue and read again, checksums of every kind included.
    #[test]
    fn through_json() {
        let kernel = |checksum: &str| OfferedKernel {
            key: Key::new("fedora", "39", "x86_64", "6.5.6-300.fc39.x86_64").unwrap(),
            flavour: String::new(),
            source: "kernel".into(),
            packages: vec![Package {
                role: Role::ModulesDebug,
                name: "kernel-debuginfo".into(),
                version: "6.5.6-300.fc39".into(),
                url: "https://mirror.example/k.rpm".parse().unwrap(),
                size: Some(7),
                checksum: Some(checksum.parse().unwrap()),
                trust: Trust::Transport,
                signature_keys: Some("/keys.gpg".into()),
            }],
            versions: VersionOrder::Rpm,
            embeds_btf: Expected::Yes,
            origin: "updates at https://mirror.example/".into(),
            places: Places::default(),
            client_certificate: None,
        };
        for (name, digits, strong) in
            [("sha256", 64, true), ("sha512", 128, true), ("sha1", 40, false), ("md5", 32, false)]
        {
            let text = format!("{name}:{}", "a7".repeat(digits / 2));
            let kernel = kernel(&text);
            let read: OfferedKernel = serde_json::from_str(&serde_json::to_string(&kernel).unwrap()).unwrap();
            assert_eq!(read, kernel);
            let checksum = read.principal().checksum.unwrap();
            assert_eq!((checksum.to_string(), checksum.is_strong()), (text.clone(), strong));
            assert_eq!(Checksum::parse(name, &"a7".repeat(digits / 2 + 1)), None);
        }
        assert!("crc32:00000000".parse::<Checksum>().is_err());
    }

    /// Check that the role's name in messages is its name in JSON.
    #[test]
    fn role_names() {
        for role in [
            Role::Image,
            Role::Debug,
            Role::Modules,
            Role::ModulesDebug,
            Role::Vmlinux,
            Role::Btf,
            Role::Config,
        ] {
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
    }

    /// Check that a place is filled in with the release.
    #[test]
    fn places() {
        let places = Places::default();
        assert!(Places::of(&places.config, "6.1").any(|path| path == "boot/config-6.1"));
    }
}
