//! Distributions, as data: where their kernels are, how packages and releases are named, who signs.
//!
//! A distribution is a TOML file. Those that we know are in `data/distros` and are built in; a directory of the user's own adds
//! vendors, mirrors and local directories to them. The way of a file:
//!
//! 1. `definition`: its keys, as types; a key that does not exist is an error that names the nearest;
//! 2. `read`: text becomes a definition, `like` is resolved, several files become one set;
//! 3. `check`: patterns are compiled, names and addresses checked, and the definition's own examples tried;
//! 4. `rules`: what the compiled patterns understand of a package;
//! 5. `keys`: which of the keyrings and certificates that it names are on this machine.
//!
//! What is wrong is reported all at once, each with file and line.

mod check;
mod definition;
mod keys;
mod read;
mod rules;
mod shipped;

use std::fmt;
use std::path::PathBuf;

pub use definition::{ClientCertificate, Kind, KnownKernel};
pub use keys::PinnedKeys;
pub(crate) use rules::Part;

use crate::repo::indexed::PackageName;
use crate::repo::offer::{Expected, Places};
use crate::repo::version::VersionOrder;

/// All distributions that are known.
#[derive(Clone, Debug)]
pub struct Distros {
    distros: Vec<Distro>,
}

/// Definitions that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", listed(.problems))]
pub struct Error {
    /// Everything that is wrong with them.
    pub problems: Vec<Problem>,
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; none where it is the file as a whole.
    pub line: Option<usize>,
    /// What is wrong there, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

/// One distribution.
#[derive(Clone, Debug)]
pub struct Distro {
    /// os-release's `ID`, as in keys.
    pub id: String,
    /// For people.
    pub name: String,
    /// Whose package format it has, and whose order of versions.
    pub packaging: VersionOrder,
    /// Its architectures: the name in keys, and the name in its indices.
    pub architectures: Vec<(String, String)>,
    /// Where in its packages files are.
    pub places: Places,
    /// Its versions.
    pub releases: Vec<Release>,
    /// With what to log in at its servers.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether all of it is built in.
    pub shipped: bool,
    rules: Vec<rules::Rule>,
    embeds: Vec<rules::Embeds>,
    examples: usize,
}

/// One version of a distribution.
#[derive(Clone, Debug)]
pub struct Release {
    /// os-release's `VERSION_ID`.
    pub version: String,
    /// Other names for it.
    pub names: Vec<String>,
    /// Where its packages are.
    pub repositories: Vec<Repository>,
}

/// One repository of one version, for all architectures.
#[derive(Clone, Debug)]
pub struct Repository {
    /// What its index is.
    pub kind: Kind,
    /// For messages and for choosing it.
    pub name: String,
    /// Addresses in which `{arch}` is to be replaced, tried in order.
    pub addresses: Vec<String>,
    /// Take the addresses from apt's configuration on this machine.
    pub apt: bool,
    /// The suite (deb).
    pub suite: Option<String>,
    /// Its components (deb).
    pub components: Vec<String>,
    /// The directory (directory).
    pub path: Option<PathBuf>,
    /// Source packages to ask for (snapshot).
    pub sources: Vec<String>,
    /// Kernels that are there (debuginfod).
    pub kernels: Vec<KnownKernel>,
    /// Architectures it has, where not all, as in keys.
    pub architectures: Option<Vec<String>>,
    /// Keys that sign its index.
    pub index_keys: Option<PinnedKeys>,
    /// Keys that sign its packages.
    pub package_keys: Option<PinnedKeys>,
    only: Option<regex::Regex>,
}

impl Distros {
    /// Those that are built in.
    pub fn shipped() -> Result<Self, Error> {
        read::distros(None)
    }

    /// Those that are built in, with those of the `*.toml` files in `dir`.
    pub fn with(dir: &std::path::Path) -> Result<Self, Error> {
        read::distros(Some(dir))
    }

    /// All of them, by id.
    pub fn all(&self) -> &[Distro] {
        &self.distros
    }

    /// The distribution of that name, in any known spelling.
    pub fn get(&self, name: &str) -> Option<&Distro> {
        let id = btf_archive::alias::distro(name);
        self.distros.iter().find(|distro| distro.id == id)
    }

    /// The name that is nearest to one that does not exist.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        read::nearest(name, self.distros.iter().map(|distro| distro.id.as_str()))
    }
}

impl Distro {
    /// What the package is to a kernel, by the first rule that knows it.
    pub(crate) fn part(&self, package: &PackageName) -> Option<Part> {
        self.rules.iter().find_map(|rule| rule.part(package))
    }

    /// Whether the kernel is expected to carry BTF; the architecture is as in keys.
    pub(crate) fn embeds_btf(&self, arch: &str, flavour: &str, uname: &str) -> Expected {
        rules::expected(&self.embeds, arch, flavour, uname)
    }

    /// How its indices spell an architecture of any spelling; `None` where it has no such architecture.
    pub fn index_arch(&self, arch: &str) -> Option<&str> {
        let own = btf_archive::alias::arch(arch);
        self.architectures.iter().find(|(known, _)| *known == own).map(|(_, index)| index.as_str())
    }

    /// Examples that its definition has, all of which were tried.
    pub fn examples(&self) -> usize {
        self.examples
    }
}

impl Release {
    /// Whether `name` is one of its version's spellings or names, in any case.
    pub fn is_called(&self, distro: &str, name: &str) -> bool {
        btf_archive::alias::version(distro, name) == btf_archive::alias::version(distro, &self.version)
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

impl Repository {
    /// The same repository with another suite.
    pub fn of_suite(&self, suite: &str) -> Self {
        Self { suite: Some(suite.to_owned()), name: suite.to_owned(), ..self.clone() }
    }

    /// Whether packages of that version are wanted.
    pub(crate) fn takes(&self, version: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.is_match(version))
    }
}
