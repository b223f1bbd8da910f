//! A definition as it is written: the tables and keys of `data/distros/*.toml` and of a user's own files.
//!
//! Every key is documented for users in the book (`docs/src/reference/distro-definitions.md`). Unknown keys are errors; what needs more than a
//! type to be right is checked where definitions are compiled.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::repo::offer::{Places, Role};
use crate::repo::version::VersionOrder;

/// One file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    /// os-release's `ID`.
    pub(super) id: Spanned<String>,
    /// For people.
    pub(super) name: Option<String>,
    /// Take everything that is not given here from that distribution, except its releases.
    pub(super) like: Option<Spanned<String>>,
    /// Stand in the place of the shipped definition with this id, instead of adding to it.
    #[serde(default)]
    pub(super) replace: bool,
    /// `deb` or `rpm`.
    pub(super) packaging: Option<VersionOrder>,
    /// The name in keys → the name in this distribution's indices.
    pub(super) architectures: Option<Spanned<BTreeMap<String, String>>>,
    /// The pattern of what `uname -r` says, for `{uname}` in the names of packages.
    pub(super) uname: Option<Spanned<String>>,
    /// Which packages hold parts of kernels.
    pub(super) packages: Option<Vec<PackageRule>>,
    /// Where their files are.
    pub(super) places: Option<Places>,
    /// Which kernels carry BTF.
    pub(super) btf: Option<Vec<BtfRule>>,
    /// Who signs.
    pub(super) keys: Option<Keys>,
    /// With what to log in at servers that want a certificate.
    pub(super) client_certificate: Option<ClientCertificate>,
    /// Versions of the distribution, with their repositories.
    #[serde(default)]
    pub(super) releases: Vec<Release>,
    /// Packages that must, and must not, be recognised.
    #[serde(default)]
    pub(super) examples: Vec<Example>,
}

/// Recognises a package by its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackageRule {
    /// What such a package holds.
    pub(super) role: Role,
    /// A regular expression for the whole name, with the groups `uname` and `flavour`, or `{uname}` and `{flavour}` for their usual forms.
    pub(super) name: Spanned<String>,
    /// A regular expression for the whole version, `version-release`.
    pub(super) version: Option<Spanned<String>>,
    /// A regular expression for the whole name of the source package.
    pub(super) source: Option<Spanned<String>>,
    /// How `uname -r` is made: `{uname}`, `{version}`, `{release}`, `{arch}`, `{flavour}`, `{release_without_counter}`.
    pub(super) uname: Option<Spanned<String>>,
    /// The flavour, where the name does not have it.
    pub(super) flavour: Option<String>,
}

/// Kernels from some version on carry BTF.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BtfRule {
    /// The first release with BTF: `5.10`, `4.18.0-193`.
    pub(super) since: String,
    /// On these architectures, as in keys; all where it is absent.
    pub(super) architectures: Option<Vec<String>>,
    /// Only flavours in this list; all where it is absent.
    pub(super) flavours: Option<Vec<String>>,
}

/// Who signs what.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Keys that sign the index; absent where nobody does.
    pub(super) index: Option<KeySet>,
    /// Keys that sign each package (RPM); absent where nobody does.
    pub(super) packages: Option<KeySet>,
}

/// Some OpenPGP certificates.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySet {
    /// Keyring files; the first that exists is used. `{version}` is replaced; relative paths begin beside the definition.
    pub(super) files: Vec<PathBuf>,
    /// Fingerprints of the certificates that may be in such a file; any where it is absent.
    #[serde(default)]
    pub(super) fingerprints: Vec<Spanned<String>>,
}

/// A TLS certificate of this machine.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// PEM file with the certificate; a `*` in the file's name stands for anything, and the first that has its key is used.
    pub certificate: PathBuf,
    /// PEM file with its key, in which `*` stands for what it stood for in the certificate's name.
    pub key: PathBuf,
    /// PEM file with the authority that signed the servers' certificates, where it is a private one.
    pub authority: Option<PathBuf>,
}

/// Some versions of a distribution with the same repositories.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    /// os-release's `VERSION_ID`.
    pub(super) versions: Spanned<Vec<String>>,
    /// Other names that `--suite` takes for it.
    #[serde(default)]
    pub(super) names: Vec<String>,
    /// Where its packages are.
    pub(super) repositories: Vec<Spanned<Repository>>,
    /// Who signs, where it is not the distribution's own keys.
    pub(super) keys: Option<Keys>,
}

/// What an index is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Debian's: `dists/SUITE/InRelease` and `Packages`.
    Deb,
    /// RPM's: `repodata/repomd.xml`, with primary.xml or primary.sqlite.
    Repomd,
    /// A text file that lists RPM repositories, of which the first that answers is used.
    MirrorList,
    /// An HTML page with links to packages.
    Listing,
    /// A service in the manner of Debian's snapshots: `mr/package/SOURCE/`.
    Snapshot,
    /// Files by build-id.
    Debuginfod,
    /// A directory of this machine with packages in it.
    Directory,
}

impl Kind {
    /// The name in definitions and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Repomd => "repomd",
            Self::MirrorList => "mirror-list",
            Self::Listing => "listing",
            Self::Snapshot => "snapshot",
            Self::Debuginfod => "debuginfod",
            Self::Directory => "directory",
        }
    }
}

/// One repository.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repository {
    /// What its index is; by default what the distribution's packaging has: `deb` or `repomd`.
    pub(super) kind: Option<Kind>,
    /// For messages and `--suite`; by default the suite, or the address.
    pub(super) name: Option<String>,
    /// Its address. `{version}` and `{arch}` (as the index spells it) are replaced.
    pub(super) url: Option<String>,
    /// More addresses of the same, tried in order.
    #[serde(default)]
    pub(super) mirrors: Vec<String>,
    /// Take the addresses from apt's configuration on this machine.
    #[serde(default)]
    pub(super) apt: bool,
    /// The suite (deb).
    pub(super) suite: Option<String>,
    /// Its components (deb); `main` where it is absent.
    pub(super) components: Option<Vec<String>>,
    /// The directory (directory); relative paths begin beside the definition.
    pub(super) path: Option<PathBuf>,
    /// The source packages to ask for (snapshot).
    #[serde(default)]
    pub(super) sources: Vec<String>,
    /// The kernels that are there (debuginfod).
    #[serde(default)]
    pub(super) kernels: Vec<KnownKernel>,
    /// Only packages whose version matches this regular expression.
    pub(super) only: Option<String>,
    /// Only these architectures, as in keys.
    pub(super) architectures: Option<Vec<String>>,
    /// The keys that sign this index, where they are not the release's.
    pub(super) keys: Option<KeySet>,
}

/// A kernel of which only the build-id is known.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct KnownKernel {
    /// `uname -r`.
    pub uname: String,
    /// The architecture, as in keys.
    pub arch: String,
    /// In hexadecimal.
    pub build_id: String,
}

/// A package's file name, and what is to be understood of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    /// `linux-image-6.1.0-47-amd64-dbg_6.1.170-3_amd64.deb`, `kernel-debuginfo-4.18.0-348.el8.x86_64.rpm`.
    pub(super) package: Spanned<String>,
    /// Name of its source package, where a rule asks for it.
    pub(super) source: Option<String>,
    /// What it holds.
    pub(super) role: Option<Role>,
    /// What `uname -r` says; absent where the package is none of a kernel's.
    pub(super) uname: Option<String>,
    /// The flavour.
    pub(super) flavour: Option<String>,
}
