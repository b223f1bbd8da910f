//! Blobs: raw BTF, compressed with zstd, named by the digest of the raw bytes.
//!
//! Compressed bytes may come from anywhere, so decompression is bounded by the caller, in output and in memory, and
//! done by a decoder written in Rust. A blob is one zstd frame without a dictionary.

use std::io::Read;

use crate::{Digest, Error, Result};

/// The most raw bytes a blob may hold: 256 MiB. A kernel's BTF has 3 to 6 MiB, with all its modules' merged in 80.
pub const MAX_RAW: usize = 256 << 20;

/// The most bytes a stored blob may have: those of [`MAX_RAW`] that zstd could not make smaller, and its frame.
pub const MAX_ZST: u64 = (MAX_RAW + (1 << 20)) as u64;

/// Where a blob lies in an archive, relative to its root: `blobs/sha256/ab/abcd….zst`.
pub fn path(digest: &Digest) -> String {
    let hex = digest.to_string();
    format!("blobs/sha256/{}/{hex}.zst", &hex[..2])
}

/// The digest that [`path`] made this path of.
pub fn digest_of_path(path: &str) -> Option<Digest> {
    let (_, name) = path.rsplit_once('/')?;
    let digest = name.strip_suffix(".zst")?.parse().ok()?;
    (self::path(&digest) == path).then_some(digest)
}

/// Compresses raw bytes as the archive stores them. Takes about a second for a kernel; the same bytes for the same input.
#[cfg(feature = "compress")]
pub fn compress(raw: &[u8]) -> Vec<u8> {
    // Level 19 as BTFHub's `xz -9`: written once, read for years.
    encode(raw, 19)
}

/// One zstd frame with its content size in the header.
#[cfg(feature = "compress")]
pub(crate) fn encode(raw: &[u8], level: i32) -> Vec<u8> {
    // Compressing memory to memory fails only if memory does.
    zstd::bulk::compress(raw, level).unwrap_or_else(|error| unreachable!("zstd cannot compress: {error}"))
}

/// Decompresses a blob of at most `max_len` raw bytes, using not much more memory than those.
///
/// # Errors
/// [`Error::Zstd`] if the bytes are not one whole zstd frame, [`Error::TooLarge`] if they hold more than allowed.
pub fn decompress(zst: &[u8], max_len: usize) -> Result<Vec<u8>> {
    let corrupt = |error: &dyn std::fmt::Display| Error::Zstd { reason: error.to_string() };
    // The window is memory too. The smallest the format knows is 1 KiB.
    let window = max_len.max(1 << 10) as u64;
    let mut rest = zst;
    let mut decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut rest, window)
        .map_err(|error| corrupt(&error))?;
    // The header's promise is worth a first allocation only as far as the input could keep it.
    let promised = usize::try_from(decoder.decoder.content_size()).unwrap_or(usize::MAX);
    let mut raw = Vec::with_capacity(promised.min(zst.len().saturating_mul(16)).min(max_len));
    let limit = max_len as u64 + 1;
    (&mut decoder).take(limit).read_to_end(&mut raw).map_err(|error| corrupt(&error))?;
    if raw.len() > max_len {
        return Err(Error::TooLarge { limit: max_len });
    }
    drop(decoder);
    if !rest.is_empty() {
        return Err(Error::Zstd { reason: format!("{} bytes follow the frame", rest.len()) });
    }
    Ok(raw)
}

/// Decompresses a blob and checks that it is the one named `digest`.
///
/// # Errors
/// Those of [`decompress`], and [`Error::DigestMismatch`].
pub fn decompress_verified(zst: &[u8], max_len: usize, digest: &Digest) -> Result<Vec<u8>> {
    let raw = decompress(zst, max_len)?;
    digest.check(&raw)?;
    Ok(raw)
}
