//! Why a kernel's BTF was not got.

use crate::fetch;
use crate::image::ImageError;
use crate::package;
use crate::repo::offer::Package;
use crate::vmlinux::ExtractError;

/// Why a kernel's BTF was not got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network, or the server.
    #[error(transparent)]
    Fetch(Box<fetch::Error>),
    /// The certificate that the repository wants to see cannot be used.
    #[error("the client certificate cannot be used: {reason}")]
    Certificate {
        /// Why not.
        reason: String,
    },
    /// A package cannot be read, or has not what it should have.
    #[error(transparent)]
    Package(#[from] package::Error),
    /// The server's package is not the one that the index describes.
    #[error("the server's package is not the index's: {reason}")]
    Differs {
        /// The package's name.
        package: String,
        /// What differs.
        reason: String,
    },
    /// A package is not signed by a key that its definition pins.
    #[error("the package's signature is not accepted: {reason}")]
    Signature {
        /// The package's name.
        package: String,
        /// Why not.
        reason: String,
    },
    /// What boots has no BTF, or cannot be looked into.
    #[error("{path}: {source}")]
    Image {
        /// The file in the package.
        path: String,
        /// Why.
        source: ImageError,
    },
    /// There is neither BTF nor DWARF in vmlinux, or it cannot be used.
    #[error("{path}: {source}")]
    Extract {
        /// The file in the package.
        path: String,
        /// Why.
        source: Box<ExtractError>,
    },
    /// The BTF has no `struct task_struct`.
    #[error("{path}: its BTF has no struct task_struct: it is not a kernel's")]
    Implausible {
        /// The file in the package.
        path: String,
    },
    /// The repository has no package from which the BTF could come.
    #[error("the repository has no package with {lacking}")]
    NoPackage {
        /// What such a package would hold.
        lacking: &'static str,
    },
    /// Modules cannot be put on top of the kernel's BTF.
    #[error("the kernel's BTF cannot be a base for modules: {0}")]
    Base(btf::Error),
}

impl From<fetch::Error> for Error {
    fn from(error: fetch::Error) -> Self {
        Self::Fetch(Box::new(error))
    }
}

impl Error {
    pub(super) fn differs(package: &Package, reason: String) -> Self {
        Self::Differs { package: package.name.clone(), reason }
    }

    /// Whether trying again later may work: the network, the server or a mirror in the middle of an update failed, not the package.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_transient(),
            Self::Package(package::Error::Input { .. } | package::Error::Truncated { .. })
            | Self::Differs { .. } => true,
            _ => false,
        }
    }

    /// Whether a signature was refused.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Signature { .. })
    }
}
