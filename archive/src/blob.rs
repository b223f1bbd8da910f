//! Blobs: raw BTF, compressed with zstd, named by the digest of the raw bytes.
//!
//! A blob is one zstd frame (RFC 8878) without a dictionary, or what differs from another one ([`crate::delta`]). Compressed bytes may come from anywhere, so decompression is
//! bounded by the caller, in output and in memory. Without the feature `compress` the decoder is one written in Rust,
//! which needs no C compiler for the target; with it, zstd's own, five times as fast. Both take and refuse the same.

use std::io::Read;

use crate::{Digest, Error, Result};

/// The most raw bytes a blob may hold: 256 MiB. A kernel's BTF has 3 to 6 MiB, with all its modules' merged in 80.
pub const MAX_RAW: usize = 256 << 20;

/// The most bytes a stored blob may have: those of [`MAX_RAW`] that zstd could not make smaller, and its frame.
pub const MAX_ZST: u64 = (MAX_RAW + (1 << 20)) as u64;

/// The first bytes of a zstd frame.
const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// How much output a byte of input is trusted to give before it has given it.
const TRUSTED_RATIO: usize = 16;

/// Where a blob lies in an archive, relative to its root: `blobs/sha256/ab/abcd….zst`.
pub fn path(digest: &Digest) -> String {
    let hex = digest.to_string();
    format!("blobs/sha256/{}/{hex}.zst", &hex[..2])
}

/// Where a blob lies if it is stored as a delta ([`crate::delta`]): `blobs/sha256/ab/abcd….delta`.
pub fn delta_path(digest: &Digest) -> String {
    let hex = digest.to_string();
    format!("blobs/sha256/{}/{hex}.delta", &hex[..2])
}

/// The digest that [`delta_path`] made this path of.
pub fn digest_of_delta_path(path: &str) -> Option<Digest> {
    let (_, name) = path.rsplit_once('/')?;
    let digest = name.strip_suffix(".delta")?.parse().ok()?;
    (delta_path(&digest) == path).then_some(digest)
}

/// The digest that [`path`] made this path of.
pub fn digest_of_path(path: &str) -> Option<Digest> {
    let (_, name) = path.rsplit_once('/')?;
    let digest = name.strip_suffix(".zst")?.parse().ok()?;
    (self::path(&digest) == path).then_some(digest)
}

/// Compresses raw bytes: at level 15, which takes half a second for a kernel. One version of zstd gives the same bytes for the same input.
#[cfg(feature = "compress")]
pub fn compress(raw: &[u8]) -> Vec<u8> {
    encode(raw, 15)
}

/// [`compress`] for blobs that others are made on: at level 19. It takes twice to three times as long for 11% less, which is much of an archive
/// whose other blobs are deltas.
#[cfg(feature = "compress")]
pub fn compress_keyframe(raw: &[u8]) -> Vec<u8> {
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
    let mut raw = Vec::new();
    decompress_into(zst, max_len, &mut raw)?;
    Ok(raw)
}

/// As [`decompress`], into memory that is there already: whoever decompresses hundreds of blobs spends a third of the time on having fresh memory for each.
///
/// # Errors
/// Those of [`decompress`]; then it is not said what is in `raw`.
pub fn decompress_into(zst: &[u8], max_len: usize, raw: &mut Vec<u8>) -> Result<()> {
    raw.clear();
    if !zst.starts_with(&MAGIC) {
        return Err(corrupt("does not start with a zstd frame"));
    }
    let promised = content_size(zst);
    if promised.is_some_and(|size| size > max_len as u64) {
        return Err(Error::TooLarge { limit: max_len });
    }
    // A promise is worth a first allocation only as far as the input could keep it.
    let promised = promised.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    raw.reserve(promised.min(zst.len().saturating_mul(TRUSTED_RATIO)));
    let rest = decode(zst, max_len, raw)?;
    if raw.len() > max_len {
        return Err(Error::TooLarge { limit: max_len });
    }
    if rest > 0 {
        return Err(corrupt(format_args!("{rest} bytes follow the frame")));
    }
    Ok(())
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

/// Appends at most `max_len` + 1 bytes of one frame to `raw`; gives how many bytes of input follow it.
#[cfg(feature = "compress")]
fn decode(zst: &[u8], max_len: usize, raw: &mut Vec<u8>) -> Result<usize> {
    // What is one segment needs no window beside its output, and is not copied once more.
    let single_segment = zst.get(MAGIC.len()).is_some_and(|descriptor| descriptor & 0x20 != 0);
    if single_segment && raw.is_empty() && content_size(zst).is_some_and(|size| size <= raw.capacity() as u64)
    {
        let name = |code| corrupt(zstd::zstd_safe::get_error_name(code));
        let len = zstd::zstd_safe::find_frame_compressed_size(zst).map_err(name)?;
        let (frame, rest) = zst.split_at_checked(len).ok_or_else(|| corrupt("ends within its frame"))?;
        let mut decoder = zstd::bulk::Decompressor::new().map_err(corrupt)?;
        decoder.decompress_to_buffer(frame, raw).map_err(corrupt)?;
        return Ok(rest.len());
    }
    // The window is memory too: a power of two between the format's 1 KiB and what a 32-bit decoder takes.
    let window = max_len.checked_next_power_of_two().map_or(30, usize::ilog2).clamp(10, 30);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(zst).map_err(corrupt)?.single_frame();
    decoder.window_log_max(window).map_err(corrupt)?;
    (&mut decoder).take(max_len as u64 + 1).read_to_end(raw).map_err(corrupt)?;
    Ok(decoder.finish().len())
}

/// Appends at most `max_len` + 1 bytes of one frame to `raw`; gives how many bytes of input follow it.
#[cfg(not(feature = "compress"))]
fn decode(zst: &[u8], max_len: usize, raw: &mut Vec<u8>) -> Result<usize> {
    in_rust(zst, max_len, raw)
}

/// [`decode`] without C.
#[cfg(any(test, not(feature = "compress")))]
fn in_rust(mut zst: &[u8], max_len: usize, raw: &mut Vec<u8>) -> Result<usize> {
    // The window is memory too: a power of two, at least the format's 1 KiB.
    let window = max_len.checked_next_power_of_two().map_or(1 << 30, |window| window.clamp(1 << 10, 1 << 30));
    let mut decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut zst, window as u64)
        .map_err(corrupt)?;
    (&mut decoder).take(max_len as u64 + 1).read_to_end(raw).map_err(corrupt)?;
    Ok(decoder.into_inner().len())
}

/// The content size that a frame's header promises (RFC 8878, 3.1.1.1).
fn content_size(frame: &[u8]) -> Option<u64> {
    let (descriptor, header) = frame.get(MAGIC.len()..)?.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    let window = usize::from(!single_segment);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = match (descriptor >> 6, single_segment) {
        (0, false) => return None,
        (0, true) => 1,
        (1, _) => 2,
        (2, _) => 4,
        (_, _) => 8,
    };
    let bytes = header.get(window + dictionary..)?.get(..size)?;
    let mut word = [0; 8];
    word[..size].copy_from_slice(bytes);
    let size_of_two = if size == 2 { 256 } else { 0 };
    u64::from_le_bytes(word).checked_add(size_of_two)
}

fn corrupt(reason: impl std::fmt::Display) -> Error {
    Error::Zstd { reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Both decoders on the same bytes, in Rust first.
    fn both(zst: &[u8], max_len: usize) -> [Option<Vec<u8>>; 2] {
        let run = |decode: fn(&[u8], usize, &mut Vec<u8>) -> Result<usize>| {
            let mut raw = Vec::new();
            let rest = decode(zst, max_len, &mut raw).ok()?;
            (rest == 0 && raw.len() <= max_len).then_some(raw)
        };
        [run(in_rust), run(decode)]
    }

    /// Check that a blob's path is the one of the design, and that only such a path is read back.
    #[test]
    fn blob_path() {
        let digest = Digest::of(b"abc");
        let path = path(&digest);
        assert_eq!(path, format!("blobs/sha256/ba/{digest}.zst"));
        assert_eq!(digest_of_path(&path), Some(digest));
        let delta = delta_path(&digest);
        assert_eq!(delta, format!("blobs/sha256/ba/{digest}.delta"));
        assert_eq!((digest_of_delta_path(&delta), digest_of_path(&delta)), (Some(digest), None));
        assert_eq!(digest_of_delta_path(&path), None);
        for other in [format!("blobs/sha256/bb/{digest}.zst"), format!("{digest}.zst"), path.to_uppercase()] {
            assert_eq!(digest_of_path(&other), None, "{other}");
        }
    }

    /// Check that what was compressed comes back, with each decoder, and that its header promises its size.
    #[cfg(feature = "compress")]
    #[test]
    fn blob_round_trip() {
        for len in [0, 1, 255, 256, 65_791, 65_792, 1 << 20] {
            let raw: Vec<u8> = (0..len).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let zst = compress(&raw);
            assert_eq!(content_size(&zst), Some(u64::from(len)));
            assert_eq!(decompress(&zst, raw.len()).unwrap(), raw);
            assert_eq!(both(&zst, raw.len()), [Some(raw.clone()), Some(raw)]);
        }
    }

    /// Check that a blob of another digest is refused.
    #[cfg(feature = "compress")]
    #[test]
    fn blob_decompress_verified() {
        let zst = compress(b"abc");
        assert_eq!(decompress_verified(&zst, 3, &Digest::of(b"abc")).unwrap(), b"abc");
        let refused = decompress_verified(&zst, 3, &Digest::of(b"abd"));
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })));
    }

    /// Check that output past the limit is refused, whether the header promises it or not.
    #[cfg(feature = "compress")]
    #[test]
    fn blob_limit() {
        use std::io::Write;
        let raw = vec![7; 10 << 20];
        let promising = compress(&raw);
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.write_all(&raw).unwrap();
        let silent = encoder.finish().unwrap();
        assert_eq!(content_size(&silent), None);
        for zst in [&promising, &silent] {
            assert!(zst.len() < 10_000, "a bomb");
            assert_eq!(decompress(zst, raw.len()).unwrap(), raw);
            for limit in [0, 1, 1000, 1 << 20, raw.len() - 1] {
                let refused = decompress(zst, limit);
                // Without a promise the window, which is larger than all that is allowed, may be what is refused.
                assert!(
                    matches!(refused, Err(Error::TooLarge { .. } | Error::Zstd { .. })),
                    "{limit}: {refused:?}"
                );
                assert_eq!(both(zst, limit), [None, None]);
            }
        }
    }

    /// Check that a cut, doubled or foreign frame is refused, by each decoder.
    #[cfg(feature = "compress")]
    #[test]
    fn blob_not_one_frame() {
        let raw: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let zst = compress(&raw);
        for len in 0..zst.len() {
            assert!(matches!(decompress(&zst[..len], 1 << 20), Err(Error::Zstd { .. })), "{len} bytes");
            assert_eq!(both(&zst[..len], 1 << 20), [None, None], "{len} bytes");
        }
        let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &[0; 4]].concat();
        for bytes in [[&zst[..], &zst[..]].concat(), [&zst[..], b"x"].concat(), skippable, b"BZh9".to_vec()] {
            assert!(matches!(decompress(&bytes, 1 << 20), Err(Error::Zstd { .. })));
        }
    }

    proptest! {
        /// Check that damaged frames never panic or exceed the limit, and that what both decoders take is the same.
        #[cfg(feature = "compress")]
        #[test]
        fn blob_damaged(raw in prop::collection::vec(0_u8..8, 0..3000), at: prop::sample::Index, to: u8) {
            let mut zst = encode(&raw, 3);
            let at = at.index(zst.len());
            zst[at] = to;
            if let Ok(out) = decompress(&zst, 4096) {
                prop_assert!(out.len() <= 4096);
            }
            if let [Some(a), Some(b)] = both(&zst, 4096) {
                prop_assert_eq!(a, b);
            }
        }

        /// Check that noise behind the magic number gives an error or bounded output.
        #[test]
        fn blob_noise(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let zst = [&MAGIC[..], &noise].concat();
            if let Ok(out) = decompress(&zst, 1000) {
                prop_assert!(out.len() <= 1000);
            }
        }
    }
}
