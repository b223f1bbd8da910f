//! Snapshots: everything an archive knew at one moment, numbered and append-only, and `latest.json` that names the newest.
//!
//! `snapshots/000042.json.zst` is JSON in one zstd frame; `latest.json` is small plain JSON with the number and the
//! sha256 of that file as stored. Both are canonical: kernels in order of their keys, fields in one order, so the same
//! knowledge gives the same bytes. Readers pass over fields they do not know; `format` changes when they must not.
//! A later issue signs the stored bytes of both files; nothing here changes for that.

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, KernelRecord, Key, Result, blob};

/// The path of `latest.json` in an archive.
pub const LATEST: &str = "latest.json";

/// The directory of snapshots in an archive.
pub const DIRECTORY: &str = "snapshots";

/// The format this crate writes, and the only one it reads.
pub const FORMAT: u32 = 1;

/// The most raw JSON bytes a snapshot may hold: 256 MiB, about 400,000 kernels.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`FORMAT`].
    pub format: u32,
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
    /// [`FORMAT`].
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

impl Snapshot {
    /// A snapshot of these kernels, which it puts in order.
    pub fn new(created: u64, previous: Option<Link>, mut kernels: Vec<KernelRecord>) -> Self {
        kernels.sort_by(|a, b| a.key.cmp(&b.key));
        let number = previous.map_or(1, |link| link.number.saturating_add(1));
        Self { format: FORMAT, number, created, previous, kernels }
    }

    /// The bytes of its file, and the `latest.json` that names it.
    #[cfg(feature = "compress")]
    pub fn encode(&self) -> Result<(Vec<u8>, Latest)> {
        let json = serde_json::to_vec(self).map_err(|error| unfit("snapshot", error))?;
        let zst = blob::encode(&json, 19);
        let latest = Latest {
            format: FORMAT,
            number: self.number,
            digest: Digest::of(&zst),
            size: zst.len() as u64,
            created: self.created,
        };
        Ok((zst, latest))
    }

    /// Reads a snapshot's file. The caller has checked its digest.
    ///
    /// # Errors
    /// Those of [`blob::decompress`]; [`Error::Snapshot`] for JSON that is none, an unknown format, or kernels that are
    /// out of order or named twice.
    pub fn decode(zst: &[u8]) -> Result<Self> {
        let json = blob::decompress(zst, MAX_RAW)?;
        check_format("snapshot", &json)?;
        let snapshot: Self = serde_json::from_slice(&json).map_err(|error| unfit("snapshot", error))?;
        let follows = snapshot.previous.map_or(0, |link| link.number);
        if follows.checked_add(1) != Some(snapshot.number) {
            return Err(unfit("snapshot", format!("number {} cannot follow {follows}", snapshot.number)));
        }
        if let Some(pair) = snapshot.kernels.windows(2).find(|pair| pair[0].key >= pair[1].key) {
            return Err(unfit("snapshot", format!("kernel {} is out of order or there twice", pair[1].key)));
        }
        Ok(snapshot)
    }

    /// The kernel of this key.
    pub fn kernel(&self, key: &Key) -> Option<&KernelRecord> {
        let at = self.kernels.binary_search_by(|kernel| kernel.key.cmp(key)).ok()?;
        self.kernels.get(at)
    }
}

impl Latest {
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
        check_format(LATEST, json)?;
        serde_json::from_slice(json).map_err(|error| unfit(LATEST, error))
    }

    /// The snapshot it names.
    pub fn link(&self) -> Link {
        Link { number: self.number, digest: self.digest }
    }
}

/// Checks the `format` field first, so that a newer format is called newer and not broken.
fn check_format(what: &'static str, json: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let Head { format } = serde_json::from_slice(json).map_err(|error| unfit(what, error))?;
    if format != FORMAT {
        return Err(unfit(what, format!("format {format} is newer than this program, which reads {FORMAT}")));
    }
    Ok(())
}

fn unfit(what: &'static str, reason: impl ToString) -> Error {
    Error::Snapshot { what, reason: reason.to_string() }
}
