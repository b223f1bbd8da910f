//! One package, streamed: find the kernel in it and keep it in memory, nothing on disk.
//!
//! The layers, from the outside in, each a file:
//!
//! - `input`: the package's bytes as they come, counted and hashed;
//! - `ar`, `rpm`: what comes before a Debian package's data, and before an RPM package's payload;
//! - `codec`, `xz`, `lz4`, `unpacked`: the data decompressed, with limits against bombs;
//! - `tar`, `cpio`: the files in it;
//! - `control`: which package it is;
//! - `places`: which files belong to a kernel;
//! - `opened`: all that behind one face, for both formats;
//! - [`ChunkStore`]: vmlinux, compressed in memory, readable at any offset;
//! - `sparse`: the same kernel out of a few blocks of a package that nobody reads whole.
//!
//! [`read`] drives them in one pass and stops as soon as it knows that the kernel is complete and the one that was meant:
//! of a Debian debug package of 720 MB, 72 MB are read. What it does not read it does not check: the package's sha256 is
//! known only where the whole was read ([`Options::whole`]). [`Search`] is the same in steps, and goes on to the modules.

mod ar;
pub(crate) mod codec;
mod control;
mod cpio;
mod elf_end;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod input;
mod lz4;
mod member;
mod opened;
mod places;
mod rpm;
mod search;
pub(crate) mod sparse;
mod store;
mod tar;
mod unpacked;
mod xz;
mod xz_index;

use std::io::Read;

use btf_archive::Digest;

pub use self::control::Identity;
pub use self::error::Error;
pub use self::opened::{End, Signed};
pub use self::places::{Part, Places};
pub use self::search::{Found, FoundModule, Search};
pub use self::store::ChunkStore;

/// Which file of a package is the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Aim {
    /// vmlinux with its debug information.
    Vmlinux,
    /// What boots.
    Image,
    /// What comes first.
    #[default]
    Either,
}

impl Aim {
    fn wants(self, part: Part) -> bool {
        match part {
            Part::Vmlinux => self != Aim::Image,
            Part::Image => self != Aim::Vmlinux,
            Part::Config | Part::Module => false,
        }
    }
}

/// What to look for, and how much of it to accept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kernel wanted, as `uname -r` says it. `None`: the only one.
    pub release: Option<String>,
    /// Where else its files may be.
    pub places: Places,
    /// Which file is the kernel.
    pub aim: Aim,
    /// Give up on a bootable kernel whose configuration, which comes before it, says that it has no BTF.
    pub needs_btf: bool,
    /// Give up where a module comes before vmlinux: another way to it is cheaper.
    pub before_modules: bool,
    /// Length of the package in bytes, where it is known: one that is cut off is then refused although vmlinux may be complete.
    pub length: Option<u64>,
    /// Threads that decompress, beside the one that calls. More than four are not used.
    pub threads: usize,
    /// Read the package to its end, so that its sha256 is known.
    pub whole: bool,
    /// The largest vmlinux accepted, in bytes.
    pub vmlinux_len: u64,
    /// The most memory that vmlinux may take while it is kept, in bytes. Real ones take half of their size or less.
    pub memory: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            release: None,
            places: Places::default(),
            aim: Aim::Either,
            needs_btf: false,
            before_modules: false,
            length: None,
            threads: 1,
            whole: false,
            vmlinux_len: 4 << 30,
            memory: 1 << 30,
        }
    }
}

/// A kernel found in a package.
#[derive(Debug)]
pub struct Kernel {
    /// The package it was in.
    pub identity: Identity,
    /// The kernel's release, as `uname -r` says it.
    pub release: String,
    /// Where it is in the package, without `./`.
    pub path: String,
    /// Whether it is what boots, and not vmlinux with debug information.
    pub is_image: bool,
    /// The file itself.
    pub file: ChunkStore,
    /// Bytes of the package that were read.
    pub bytes_read: u64,
    /// The package's sha256, if it was read to its end.
    pub sha256: Option<Digest>,
}

/// Finds the kernel in a package.
///
/// # Errors
/// Where the package cannot be read, is malformed, or does not hold exactly the one kernel meant. [`Error::Input`] wraps what
/// `package` reported.
pub fn read(package: impl Read, options: &Options) -> Result<Kernel, Error> {
    let mut search = Search::new(package, options.clone())?;
    let Found { release, path, is_image, file } = search.kernel()?;
    let identity = search.identity().clone();
    let End { bytes_read, sha256, .. } = search.end()?;
    Ok(Kernel { identity, release, path, is_image, file, bytes_read, sha256 })
}
