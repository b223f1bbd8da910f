//! Why a package gave no kernel. The caller adds the package's file name or URL.

use std::borrow::Cow;
use std::io;

use super::Identity;

/// Why a package gave no kernel. Offsets are in bytes of the package, or of the part where the message says unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The package could not be read any further: the disk or the network failed.
    #[error("cannot read at byte {offset}: {source}")]
    Input {
        /// Offset in the package.
        offset: u64,
        /// What failed.
        source: io::Error,
    },
    /// The bytes end where more must come.
    #[error("cut off at byte {offset}, within {within}")]
    Truncated {
        /// What is incomplete.
        within: String,
        /// Where it ends.
        offset: u64,
    },
    /// The bytes are not what the format says.
    #[error("{part}, byte {offset}: {reason}")]
    Malformed {
        /// Where the fault is.
        part: String,
        /// The offset of the fault, or of the structure that has it.
        offset: u64,
        /// What is wrong.
        reason: Cow<'static, str>,
    },
    /// A limit that keeps a hostile package from using up memory or time.
    #[error("{part}, byte {offset}: {what}; no kernel package needs that")]
    Limit {
        /// Where the limit was met.
        part: String,
        /// Where in it.
        offset: u64,
        /// What is too much, and how much is allowed.
        what: Cow<'static, str>,
    },
    /// A compression that is not read.
    #[error("{member}: compression {compression} is not supported; repack it with xz, zstd or gzip")]
    Compression {
        /// The member's name.
        member: String,
        /// Its compression.
        compression: String,
    },
    /// The package, or the server that has it, gives only the whole.
    #[error("it cannot be read in parts: {reason}")]
    NoParts {
        /// Why not.
        reason: Cow<'static, str>,
    },
    /// vmlinux was to come before the modules ([`super::Options::before_modules`]).
    #[error("modules come before vmlinux in it")]
    AfterModules,
    /// A good package, without a kernel.
    #[error("{identity} holds no vmlinux: {reason}")]
    NoKernel {
        /// Which package it is.
        identity: Box<Identity>,
        /// What it is instead, and what to do.
        reason: String,
    },
    /// A bootable kernel that was built without BTF.
    #[error(
        "{identity} holds a kernel without BTF (its configuration has no CONFIG_DEBUG_INFO_BTF); take its debug package"
    )]
    BuiltWithoutBtf {
        /// Which package it is.
        identity: Box<Identity>,
    },
    /// Several kernels, and no choice made.
    #[error("{identity} holds {} kernels, choose one with --kernel: {}", releases.len(), releases.join(", "))]
    SeveralKernels {
        /// Which package it is.
        identity: Box<Identity>,
        /// The releases.
        releases: Vec<String>,
    },
    /// Not the kernel asked for.
    #[error("{identity} holds no kernel {release}, only: {}", found.join(", "))]
    OtherKernel {
        /// Which package it is.
        identity: Box<Identity>,
        /// The release asked for.
        release: String,
        /// The releases there are.
        found: Vec<String>,
    },
}

impl Error {
    pub(crate) fn malformed(
        part: impl Into<String>,
        offset: u64,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Malformed { part: part.into(), offset, reason: reason.into() }
    }

    /// For a member of a Debian package that is named after a compression unknown here.
    pub(super) fn compression_of(member: &str) -> Self {
        let compression = member.rsplit('.').next().unwrap_or_default().to_owned();
        Self::Compression { member: member.to_owned(), compression }
    }

    pub(crate) fn limit(part: impl Into<String>, offset: u64, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Limit { part: part.into(), offset, what: what.into() }
    }

    /// Takes back an error of ours that travelled through a `Read` as [`io::Error`]; `otherwise` explains one that is
    /// not ours.
    pub(crate) fn from_io(error: io::Error, otherwise: impl FnOnce(io::Error) -> Self) -> Self {
        error.downcast::<Self>().unwrap_or_else(otherwise)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
