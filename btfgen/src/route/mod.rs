//! From a kernel on offer to its BTF by the cheapest way that is right.
//!
//! The ways, cheapest first (docs/src/explanation/routes.md has the measurements):
//!
//! 1. **image**: kernels that embed BTF carry it in what boots, which is small and comes first in its package. Where the configuration, which
//!    comes before it, says that there is none, hardly anything was read;
//! 2. **debug package, streamed**: vmlinux comes first in older debug packages, and one request that ends after it is enough;
//! 3. **debug package, in parts**: where vmlinux is behind all modules, or only its section `.BTF` is wanted, the blocks that hold what is wanted
//!    are fetched alone (Debian packages compressed with xz);
//! 4. the debug package, streamed to wherever vmlinux is: always possible.
//!
//! A way that turns out to be none is left for the next; what was considered, and what it cost, is in the [`Explanation`]. Errors of the
//! network end the attempt: another way over the same network would only hide them.
//!
//! Files: `choose` has the order, `ways` goes them, `modules` converts modules, `reach` counts and compares with the index, `served` is for
//! debuginfod servers, which have files instead of packages: the section `.BTF` first, vmlinux else.

mod choose;
mod error;
mod explain;
mod modules;
mod reach;
mod served;
mod ways;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use btf_archive::{BuildId, Digest, Source, Trust};
use url::Url;

pub use self::error::Error;
pub use self::explain::{Explanation, Step, Way};

use crate::fetch::Client;
use crate::package::Identity;
use crate::repo::offer::{Expected, OfferedKernel, Package, Role};
use crate::vmlinux::{From, Report};

/// How much of a package is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Verify {
    /// As little as needed: what is not read is not checked.
    #[default]
    Sparse,
    /// All of each package that something is taken from, so that its hash or signature can be checked.
    Full,
}

/// What is wanted, and with what effort.
#[derive(Clone, Debug)]
pub struct Options {
    /// The modules' split BTF too.
    pub modules: bool,
    /// The kernel's configuration too, even where only another request brings it.
    pub config: bool,
    /// How much is read.
    pub verify: Verify,
    /// Where the BTF is to come from.
    pub from: From,
    /// Threads that decompress and convert.
    pub threads: usize,
    /// The most memory that a vmlinux which streams by may take, in bytes.
    pub memory: u64,
    /// Counts bytes as they arrive, for somebody who watches.
    pub arrived: Arc<AtomicU64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            modules: false,
            config: false,
            verify: Verify::Sparse,
            from: From::Auto,
            threads: 1,
            memory: 1 << 30,
            arrived: Arc::default(),
        }
    }
}

/// Modules' split BTF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modules {
    /// By the name that the kernel gives to the module.
    pub btf: BTreeMap<String, Vec<u8>>,
    /// Modules without BTF, and why.
    pub failed: BTreeMap<String, String>,
}

/// A kernel's BTF, read back, validated and found to be a kernel's.
#[derive(Debug)]
pub struct Fetched {
    /// Raw BTF in the kernel's byte order.
    pub btf: Vec<u8>,
    /// What it was made of.
    pub source: Source,
    /// The kernel's build-id, where it can be told.
    pub build_id: Option<BuildId>,
    /// The kernel's release, as the path in the package says it.
    pub release: String,
    /// What a conversion could not do; empty for embedded BTF.
    pub report: Report,
    /// The package that the BTF was in.
    pub identity: Identity,
    /// Where that package is.
    pub url: Url,
    /// Where in that package the kernel is.
    pub path: String,
    /// How far that package was verified.
    pub trust: Trust,
    /// That package's sha256, where it was read to its end.
    pub sha256: Option<Digest>,
    /// The modules, where they were wanted.
    pub modules: Modules,
    /// The kernel's configuration, where it was on the way or wanted.
    pub config: Option<Vec<u8>>,
    /// The ways considered.
    pub explanation: Explanation,
}

/// Fetches the BTF of a kernel that a repository offers.
///
/// Blocking; call it where that is allowed.
///
/// # Errors
/// [`Error`], which says whether trying again later may help. The explanation of a failed attempt is in [`Failed`].
pub fn fetch(client: &Client, kernel: &OfferedKernel, options: &Options) -> Result<Fetched, Failed> {
    let client = kernel.client(client).map_err(|reason| Failed {
        error: Error::Certificate { reason },
        explanation: Explanation::default(),
    })?;
    let mut work = ways::Work::of(&client, kernel, options);
    let result = choose::offered(&mut work, kernel);
    work.finish(result)
}

/// Fetches the BTF of the kernel in one package, of whatever kind. `release` chooses one of several.
///
/// # Errors
/// [`Error`].
pub fn fetch_package(
    client: &Client,
    url: &Url,
    release: Option<&str>,
    options: &Options,
) -> Result<Fetched, Failed> {
    let trust = if url.scheme() == "https" { Trust::Transport } else { Trust::None };
    let package = Package {
        role: Role::Image,
        name: String::new(),
        version: String::new(),
        url: url.clone(),
        size: None,
        checksum: None,
        trust,
        signature_keys: None,
    };
    let mut work = ways::Work::new(client, release, options);
    let result = choose::unknown(&mut work, &package);
    work.finish(result)
}

/// A failed attempt.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// Why it failed.
    #[source]
    pub error: Error,
    /// The ways that were tried.
    pub explanation: Explanation,
}
