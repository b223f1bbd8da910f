//! Snapshots: everything an archive knew at one moment, numbered and append-only, and `latest.json` that names the newest.
//!
//! A snapshot is a tree of digests. `latest.json`, small plain JSON, has the number of the newest snapshot and the sha256
//! of its file. `snapshots/000042.json.zst` is that snapshot's [`Index`]: when it was made, which it follows, and its
//! *parts*. A part, `snapshots/parts/ab/DIGEST.json.zst`, holds the records of some neighbouring kernels, and its name is
//! the sha256 of its file; where one part ends and the next begins is decided by the kernels' keys alone ([`part`]), so
//! snapshots share the parts that did not change between them, and one kernel is found by reading the index and one part.
//!
//! All are canonical: kernels in order of their keys, fields in one order, so the same knowledge gives the same bytes.
//! Readers pass over fields they do not know; `format` changes when they must not. Files of format 1, in which the
//! snapshot's file holds every record itself, are still read ([`Head`]).
//!
//! This module is pure: bytes in, bytes out. The bytes of the index are what is signed.

mod index;
pub mod part;
#[cfg(all(test, feature = "compress"))]
mod tests;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use index::{Assembly, Head, Index, PartRef};

use crate::{Digest, Error, KernelRecord, Key, Result};

/// The path of `latest.json` in an archive.
pub const LATEST: &str = "latest.json";

/// The directory of snapshots in an archive.
pub const DIRECTORY: &str = "snapshots";

/// The format of snapshots that this crate writes. It reads 1 too.
pub const FORMAT: u32 = 2;

/// The format of `latest.json`.
const LATEST_FORMAT: u32 = 1;

/// The most raw JSON bytes a snapshot may hold, all parts together: 256 MiB, about 400,000 kernels.
pub const MAX_RAW: usize = 256 << 20;

/// The most bytes `latest.json` may have.
pub const MAX_LATEST: usize = 64 << 10;

/// Where a snapshot lies in an archive, relative to its root: `snapshots/000042.json.zst`.
pub fn path(number: u64) -> String {
    format!("{DIRECTORY}/{number:06}.json.zst")
}

/// The number that [`path`] made this path of.
pub fn number_of_path(path: &str) -> Option<u64> {
    let number = path.strip_prefix(DIRECTORY)?.strip_prefix('/')?.strip_suffix(".json.zst")?.parse().ok()?;
    (self::path(number) == path).then_some(number)
}

/// Everything an archive knew at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number; the first is 1.
    pub number: u64,
    /// When it was made, in seconds since 1970 (UTC).
    pub created: u64,
    /// The snapshot it follows; none for the first.
    pub previous: Option<Link>,
    /// Every kernel, in order of the keys, none twice.
    pub kernels: Vec<KernelRecord>,
}

/// A snapshot, named by number and by the sha256 of its file as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number.
    pub number: u64,
    /// The sha256 of `snapshots/NNNNNN.json.zst`.
    pub digest: Digest,
}

/// `latest.json`: which snapshot is the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// 1, also where the snapshot has another format.
    pub format: u32,
    /// The newest snapshot's number.
    pub number: u64,
    /// The sha256 of its file as stored.
    pub digest: Digest,
    /// The size of its file as stored, in bytes.
    pub size: u64,
    /// When it was made, in seconds since 1970 (UTC).
    pub created: u64,
}

/// The files of a snapshot, ready to be written: parts first, then the index, `latest.json` last.
#[cfg(feature = "compress")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The parts that the snapshot before did not have, with their places.
    pub parts: Vec<(PartRef, Vec<u8>)>,
    /// The bytes of `snapshots/NNNNNN.json.zst`.
    pub index: Vec<u8>,
    /// What `latest.json` is to say.
    pub latest: Latest,
}

impl Snapshot {
    /// A snapshot of these kernels, which it puts in order.
    pub fn new(created: u64, previous: Option<Link>, mut kernels: Vec<KernelRecord>) -> Self {
        kernels.sort_by(|a, b| a.key.cmp(&b.key));
        let number = previous.map_or(1, |link| link.number.saturating_add(1));
        Self { number, created, previous, kernels }
    }

    /// The bytes of its files. What stands as it is in parts of the snapshot `before` keeps those parts, which takes no
    /// time and gives the same bytes even where zstd has changed since.
    ///
    /// # Errors
    /// [`Error::Snapshot`] for a record too long for any part.
    #[cfg(feature = "compress")]
    pub fn encode(&self, before: Option<(&Index, &Snapshot)>) -> Result<Encoded> {
        let (mut parts, mut new) = (Vec::new(), Vec::new());
        for kernels in part::split(&self.kernels)? {
            let known = before.and_then(|(index, snapshot)| index.unchanged(snapshot, kernels));
            parts.push(match known {
                Some(part) => part.clone(),
                None => {
                    let (part, zst) = part::encode(kernels)?;
                    new.push((part.clone(), zst));
                    part
                }
            });
        }
        let Self { number, created, previous, kernels } = self;
        let kernels = kernels.len() as u64;
        let index = Index { number: *number, created: *created, previous: *previous, kernels, parts };
        let index = index.encode()?;
        let latest = Latest::of(*number, *created, &index);
        Ok(Encoded { parts: new, index, latest })
    }

    /// Reads a snapshot's file of format 1, which holds every record. The caller has checked its digest.
    ///
    /// # Errors
    /// Those of [`Head::decode`]; [`Error::Snapshot`] for another format.
    pub fn decode(zst: &[u8]) -> Result<Self> {
        match Head::decode(zst)? {
            Head::Whole(snapshot) => Ok(snapshot),
            Head::Index(_) => Err(unfit("snapshot", "its kernels are in parts")),
        }
    }

    /// The kernel of this key.
    pub fn kernel(&self, key: &Key) -> Option<&KernelRecord> {
        let at = self.kernels.binary_search_by(|kernel| kernel.key.cmp(key)).ok()?;
        self.kernels.get(at)
    }
}

impl Latest {
    /// What `latest.json` says of a snapshot whose file has these bytes.
    pub fn of(number: u64, created: u64, file: &[u8]) -> Self {
        let (digest, size) = (Digest::of(file), file.len() as u64);
        Self { format: LATEST_FORMAT, number, digest, size, created }
    }

    /// The bytes of `latest.json`.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|error| unfit(LATEST, error))?;
        json.push(b'\n');
        Ok(json)
    }

    /// Reads `latest.json`.
    ///
    /// # Errors
    /// [`Error::Snapshot`] for JSON that is none, an unknown format, or more than 64 KiB.
    pub fn decode(json: &[u8]) -> Result<Self> {
        if json.len() > MAX_LATEST {
            return Err(unfit(LATEST, "larger than 64 KiB"));
        }
        let format = format_of(LATEST, json)?;
        if format != LATEST_FORMAT {
            return Err(unknown_format(LATEST, format));
        }
        parse(LATEST, json)
    }

    /// The snapshot it names.
    pub fn link(&self) -> Link {
        Link { number: self.number, digest: self.digest }
    }
}

/// The `format` that JSON of ours says it has.
fn format_of(what: &'static str, json: &[u8]) -> Result<u32> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    parse(what, json).map(|Format { format }| format)
}

fn parse<T: DeserializeOwned>(what: &'static str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| unfit(what, error))
}

/// JSON of another format is newer, not broken.
fn unknown_format(what: &'static str, format: u32) -> Error {
    unfit(what, format!("format {format} is none that this program reads: it may be too old"))
}

/// Checks that kernels are in order of their keys, and none is there twice.
fn check_order(what: &'static str, kernels: &[KernelRecord]) -> Result<()> {
    match kernels.windows(2).find(|pair| pair[0].key >= pair[1].key) {
        Some(pair) => Err(unfit(what, format!("kernel {} is out of order or there twice", pair[1].key))),
        None => Ok(()),
    }
}

fn unfit(what: &'static str, reason: impl ToString) -> Error {
    Error::Snapshot { what, reason: reason.to_string() }
}
