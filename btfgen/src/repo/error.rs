//! Why a repository could not be read: one type for all kinds of index.

use std::io;
use std::path::PathBuf;

use super::{deb822, keyring, release};
use crate::fetch;

/// Why a repository or its kernels could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be fetched.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// The repository is at none of its addresses.
    #[error("no repository {repository} that can be used:{}", listed(.attempts))]
    NoAddress {
        /// The repository asked for.
        repository: String,
        /// What was tried, and what came of it.
        attempts: Vec<(String, Error)>,
    },
    /// The suite is at none of the addresses.
    #[error("no suite {suite} that can be used:{}", listed(.attempts))]
    NoSuite {
        /// The suite asked for.
        suite: String,
        /// What was tried, and what came of it.
        attempts: Vec<(String, Error)>,
    },
    /// A name that cannot be a suite's.
    #[error("{suite:?} cannot be the name of a suite")]
    SuiteName {
        /// The name.
        suite: String,
    },
    /// There is a `Release` file, but neither `InRelease` nor `Release.gpg`.
    #[error("{url} is not signed: there is neither InRelease nor Release.gpg")]
    Unsigned {
        /// The `Release` file.
        url: String,
    },
    /// RPM repository data that should be signed and is not.
    #[error("{url} is not there: {repomd} should be signed, and is not")]
    UnsignedRepomd {
        /// The repository data.
        repomd: String,
        /// Where its signature should be.
        url: String,
    },
    /// The keys that should have signed are not on this machine, and nothing else protects what comes.
    #[error("{repository}: its keys are not on this machine ({}), and {url} is not https; install them or name a keyring with --keyring FILE", paths(.files))]
    NoKeys {
        /// The repository.
        repository: String,
        /// One of its addresses.
        url: String,
        /// Where the keys were looked for.
        files: Vec<PathBuf>,
    },
    /// A keyring cannot be used.
    #[error(transparent)]
    Keyring(#[from] keyring::Error),
    /// apt's configuration is of no help.
    #[error(transparent)]
    Apt(#[from] crate::apt_sources::Error),
    /// A repository without an address of its own.
    #[error("{repository} has no address; give it with --mirror URL or in a definition")]
    NoUrl {
        /// The repository.
        repository: String,
    },
    /// A directory of packages cannot be read.
    #[error("{}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The signature is missing, bad, or nobody's we know.
    #[error("{url}: {source}")]
    Signature {
        /// The signed file.
        url: String,
        /// What is wrong.
        source: keyring::Error,
    },
    /// The `Release` file is malformed, expired or another suite's.
    #[error("{url}: {source}")]
    Release {
        /// The file.
        url: String,
        /// What is wrong.
        source: release::Error,
    },
    /// The suite is not built for the architecture.
    #[error("suite {suite} has no packages for {arch}; it has {}", offered.join(", "))]
    NoArchitecture {
        /// The suite.
        suite: String,
        /// Debian's name of the architecture asked for.
        arch: String,
        /// Debian's names of what there is.
        offered: Vec<String>,
    },
    /// An index is not what the signed `Release` file says.
    #[error("{url}: {found}, but {said_by} says {expected}; if the mirror is being updated, try again")]
    Tampered {
        /// The index.
        url: String,
        /// Size or hash of what came.
        found: String,
        /// Size or hash of what was announced.
        expected: String,
        /// What announced it.
        said_by: &'static str,
    },
    /// An index cannot be read.
    #[error("{url}: {source}")]
    Index {
        /// The index.
        url: String,
        /// Where and why.
        source: deb822::Error,
    },
    /// An index is not what its format says.
    #[error("{url}: {reason}")]
    Malformed {
        /// The index.
        url: String,
        /// Where and why.
        reason: String,
    },
    /// A package's path in the index leads out of the archive.
    #[error("{index}: package {package} is said to be at {path:?}, outside the archive")]
    Path {
        /// The index.
        index: String,
        /// Name of the package.
        package: String,
        /// What the index says.
        path: String,
    },
    /// An index that lists more kernels than there are.
    #[error("{index}: more than {limit} packages of kernels")]
    TooMany {
        /// The index.
        index: String,
        /// The most that is taken.
        limit: usize,
    },
    /// The suite, architecture or a release cannot be part of a kernel's key.
    #[error(transparent)]
    Key(#[from] btf_archive::Error),
}

impl Error {
    /// Whether something was there and was refused, rather than missing or out of reach.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoSuite { attempts, .. } | Self::NoAddress { attempts, .. } => {
                attempts.iter().any(|(_, error)| error.is_refusal())
            }
            Self::Unsigned { .. }
            | Self::UnsignedRepomd { .. }
            | Self::NoKeys { .. }
            | Self::Signature { .. }
            | Self::Release { .. }
            | Self::Tampered { .. }
            | Self::Path { .. } => true,
            _ => false,
        }
    }

    /// Whether what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NoSuite { attempts, .. } | Self::NoAddress { attempts, .. } => {
                attempts.iter().all(|(_, error)| error.is_not_found())
            }
            Self::Fetch(error) => error.is_not_found(),
            Self::NoArchitecture { .. } => true,
            _ => false,
        }
    }
}

fn paths(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn listed(attempts: &[(String, Error)]) -> String {
    attempts.iter().map(|(base, error)| format!("\n  {base}: {error}")).collect()
}
