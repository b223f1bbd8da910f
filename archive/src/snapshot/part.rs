//! The parts of a snapshot: where one ends and the next begins, and their files.
//!
//! A kernel begins a part if it is the first of the snapshot, if the first six bits of its key's sha256 are zero, or if
//! the part before it is full. So kernels that come or go change the part they are in and leave the others alone, and
//! parts have 64 kernels on average: of 10,000 kernels, the index and one part, which is what changes with one new
//! kernel, are smallest together then.

use serde::Deserialize;
#[cfg(feature = "compress")]
use serde::Serialize;

use super::{DIRECTORY, FORMAT, PartRef, check_order, format_of, parse, unfit, unknown_format};
use crate::{Digest, KernelRecord, Result, blob};

/// The most kernels a reader takes in one part.
pub const MAX_KERNELS: usize = 1024;

/// The most raw JSON bytes a part may have: 8 MiB.
pub const MAX_RAW: usize = 8 << 20;

/// The most bytes a part's file may have: those of [`MAX_RAW`] that zstd could not make smaller, and its frame.
pub const MAX_ZST: u64 = (MAX_RAW + (64 << 10)) as u64;

/// The most kernels that are put into one part, and the most bytes of their JSON.
#[cfg(feature = "compress")]
const FULL: (usize, usize) = (512, 1 << 20);

/// How hard parts are compressed: they are small, and written once.
#[cfg(feature = "compress")]
pub(super) const LEVEL: i32 = 15;

/// What errors call it.
pub(super) const WHAT: &str = "part of a snapshot";

/// Where the part whose file has this digest lies in an archive, relative to its root:
/// `snapshots/parts/ab/abcd….json.zst`.
pub fn path(digest: &Digest) -> String {
    let hex = digest.to_string();
    format!("{DIRECTORY}/parts/{}/{hex}.json.zst", &hex[..2])
}

/// The digest that [`path`] made this path of.
pub fn digest_of_path(path: &str) -> Option<Digest> {
    let (_, name) = path.rsplit_once('/')?;
    let digest = name.strip_suffix(".json.zst")?.parse().ok()?;
    (self::path(&digest) == path).then_some(digest)
}

/// The JSON of a part.
#[derive(Deserialize)]
struct PartJson {
    kernels: Vec<KernelRecord>,
}

/// Divides kernels, which are in order, into parts.
#[cfg(feature = "compress")]
pub(super) fn split(kernels: &[KernelRecord]) -> Result<Vec<&[KernelRecord]>> {
    let (mut parts, mut rest) = (Vec::new(), kernels);
    let (mut count, mut bytes) = (0, 0);
    for kernel in kernels {
        let len = serde_json::to_vec(kernel).map_err(|error| unfit(WHAT, error))?.len();
        if len > FULL.1 {
            return Err(unfit(WHAT, format!("the record of {} is longer than 1 MiB", kernel.key)));
        }
        let begins = Digest::of(kernel.key.to_string().as_bytes()).as_bytes()[0] >> 2 == 0;
        if count > 0 && (begins || count == FULL.0 || bytes + len > FULL.1) {
            let (part, after) = rest.split_at(count);
            parts.push(part);
            (rest, count, bytes) = (after, 0, 0);
        }
        count += 1;
        bytes += len + 1;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    Ok(parts)
}

/// The file of a part.
#[cfg(feature = "compress")]
pub(super) fn encode(kernels: &[KernelRecord]) -> Result<(PartRef, Vec<u8>)> {
    #[derive(Serialize)]
    struct PartJson<'k> {
        format: u32,
        kernels: &'k [KernelRecord],
    }
    let first = kernels.first().ok_or_else(|| unfit(WHAT, "has no kernels"))?.key.clone();
    let json = PartJson { format: FORMAT, kernels };
    let json = serde_json::to_vec(&json).map_err(|error| unfit(WHAT, error))?;
    let zst = blob::encode(&json, LEVEL);
    let (digest, size) = (Digest::of(&zst), zst.len() as u64);
    Ok((PartRef { first, kernels: kernels.len() as u64, digest, size }, zst))
}

/// Reads a part's file, checking that it is the one that the index names; tells how many raw bytes it holds, too.
pub(super) fn decode(part: &PartRef, zst: &[u8]) -> Result<(Vec<KernelRecord>, usize)> {
    if zst.len() as u64 != part.size {
        return Err(unfit(WHAT, format!("has {} bytes, its index says {}", zst.len(), part.size)));
    }
    part.digest.check(zst)?;
    let json = blob::decompress(zst, MAX_RAW)?;
    let format = format_of(WHAT, &json)?;
    if format != FORMAT {
        return Err(unknown_format(WHAT, format));
    }
    let PartJson { kernels } = parse(WHAT, &json)?;
    if kernels.len() as u64 != part.kernels || kernels.first().is_none_or(|kernel| kernel.key != part.first) {
        let reason = format!("is not the {} kernels from {} on", part.kernels, part.first);
        return Err(unfit(WHAT, reason));
    }
    check_order(WHAT, &kernels)?;
    Ok((kernels, json.len()))
}
