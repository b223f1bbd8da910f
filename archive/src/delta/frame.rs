//! A delta as it is stored: a header of fixed length, then the streams of its method, in zstd frames.
//!
//! All fixed numbers are little-endian:
//!
//! ```text
//!  0   8  magic "BTFDELTA"
//!  8   1  version, 1
//!  9   1  method: 1 BTF, 2 lines of text
//! 10   1  depth: how many deltas lie between this one and a whole blob, with this one: 1 or 2
//! 11   1  0
//! 12   4  raw size in bytes
//! 16  32  sha256 of the raw bytes, which names the blob
//! 48  32  sha256 of the base's raw bytes
//! 80      number of frames (LEB128), and for each its length raw and as stored; one that is stored as it is has the same twice
//!         the frames: their raw bytes, one behind another, are the lengths of all streams (LEB128) and the streams
//! ```
//!
//! The format is described for other readers in the book, `reference/delta-format.md`.

use super::number::Cursor;
use crate::{Digest, Error, Result, blob};

const MAGIC: &[u8; 8] = b"BTFDELTA";
const VERSION: u8 = 1;
/// Bytes before the frames.
pub(super) const HEADER: usize = 80;
/// The most frames that there may be.
const MAX_FRAMES: usize = 64;
/// What the streams may have beyond the raw size of the blob, in bytes: encoders have a whole blob stored otherwise.
const ALLOWANCE: usize = 1 << 12;

/// Streams of that many bytes are no longer compressed as well as can be: it would take too long.
#[cfg(feature = "compress")]
const LARGE: usize = 1 << 16;

/// The longest chain of deltas that ends at a whole blob.
pub const MAX_DEPTH: u8 = 2;

/// How a delta is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Type by type, of BTF.
    Btf,
    /// Line by line, of text.
    Text,
}

/// What the first bytes of a stored delta say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub(super) method: Method,
    /// How many deltas there are until a whole blob, with this one: 1 or 2.
    pub depth: u8,
    /// Length of the raw bytes.
    pub raw_size: usize,
    /// The digest of the raw bytes.
    pub digest: Digest,
    /// The digest of the raw bytes that this delta is made on.
    pub base: Digest,
}

impl Header {
    /// Length in bytes of what [`Header::parse`] needs.
    pub const LEN: usize = HEADER;

    /// Reads the header of a stored delta.
    ///
    /// # Errors
    /// [`Error::Delta`].
    pub fn parse(delta: &[u8]) -> Result<Self> {
        let wrong = |offset, reason| Err(Error::Delta { part: "header", offset, reason });
        let Some(header) = delta.first_chunk::<HEADER>() else {
            return wrong(delta.len(), "ends too soon");
        };
        if !header.starts_with(MAGIC) {
            return wrong(0, "is none of a delta");
        }
        if header[8] != VERSION {
            return wrong(8, "has a version that this program does not read");
        }
        let method = match header[9] {
            1 => Method::Btf,
            2 => Method::Text,
            _ => return wrong(9, "has a method that this program does not know"),
        };
        let depth = header[10];
        if !(1..=MAX_DEPTH).contains(&depth) {
            return wrong(10, "has a depth other than 1 and 2");
        }
        if header[11] != 0 {
            return wrong(11, "has other bits than are known");
        }
        let (_, numbers) = header.split_at(12);
        let (size, digests) = numbers.split_at(4);
        let raw_size = size.iter().rev().fold(0, |size, byte| size << 8 | usize::from(*byte));
        let digest = |at| Digest::from_bytes(std::array::from_fn(|byte| digests[at + byte]));
        Ok(Self { method, depth, raw_size, digest: digest(0), base: digest(32) })
    }

    /// The raw bytes of all streams.
    pub(super) fn unpack(&self, delta: &[u8]) -> Result<Vec<u8>> {
        let mut table = Cursor::new("frames", &delta[HEADER..]);
        let count = table.size()?;
        if count > MAX_FRAMES {
            return Err(table.wrong("are more than allowed"));
        }
        let mut frames = Vec::with_capacity(count);
        let mut total: usize = 0;
        for _ in 0..count {
            let (raw, stored) = (table.size()?, table.size()?);
            total = total.saturating_add(raw);
            if total > self.raw_size.saturating_add(ALLOWANCE) {
                return Err(table.wrong("hold more than streams of such a blob"));
            }
            frames.push((raw, stored));
        }
        let mut streams = Vec::new();
        let mut one = Vec::new();
        for (raw, stored) in frames {
            let frame = table.bytes(stored)?;
            if raw == stored {
                streams.extend_from_slice(frame);
                continue;
            }
            blob::decompress_into(frame, raw, &mut one)?;
            if one.len() != raw {
                return Err(table.wrong("hold less than they should"));
            }
            // Nothing is copied where one frame holds all.
            if streams.is_empty() { std::mem::swap(&mut streams, &mut one) } else { streams.append(&mut one) }
        }
        table.end()?;
        Ok(streams)
    }
}

/// The streams of a method, by their number, from the raw bytes of all.
pub(super) fn split<'a, const N: usize>(raw: &'a [u8], names: [&'static str; N]) -> Result<[Cursor<'a>; N]> {
    let mut all = Cursor::new("streams", raw);
    let mut lengths = [0; N];
    for length in &mut lengths {
        *length = all.size()?;
    }
    let mut streams = names.map(|name| Cursor::new(name, &[]));
    for ((stream, name), length) in streams.iter_mut().zip(names).zip(lengths) {
        *stream = Cursor::new(name, all.bytes(length)?);
    }
    all.end()?;
    Ok(streams)
}

/// Writes a delta; `None` where it would hold more than a reader takes.
#[cfg(feature = "compress")]
pub(super) fn pack(header: &Header, streams: &[Vec<u8>]) -> Option<Vec<u8>> {
    use super::number::put;

    let mut lengths = Vec::new();
    streams.iter().for_each(|stream| put(&mut lengths, stream.len() as u64));
    let total = lengths.len() + streams.iter().map(Vec::len).sum::<usize>();
    if total > header.raw_size.saturating_add(ALLOWANCE) {
        return None;
    }
    // Streams of a few kilobytes and more have statistics of their own; small ones share a frame. Which is better shows with small deltas only.
    let mut layouts = vec![grouped(&lengths, streams)];
    if total < LARGE {
        layouts.push(vec![[&lengths[..], &streams.concat()].concat()]);
    }
    let frames = layouts.into_iter().map(|raw| {
        let stored: Vec<_> = raw.iter().map(|raw| squeeze(raw)).collect();
        let mut out = Vec::new();
        put(&mut out, raw.len() as u64);
        for (raw, stored) in raw.iter().zip(&stored) {
            put(&mut out, raw.len() as u64);
            put(&mut out, stored.len() as u64);
        }
        stored.iter().for_each(|stored| out.extend_from_slice(stored));
        out
    });
    let frames = frames.min_by_key(Vec::len)?;

    let method = match header.method {
        Method::Btf => 1,
        Method::Text => 2,
    };
    let mut out = Vec::with_capacity(HEADER + frames.len());
    out.extend_from_slice(MAGIC);
    out.extend([VERSION, method, header.depth, 0]);
    out.extend(u32::try_from(header.raw_size).ok()?.to_le_bytes());
    out.extend_from_slice(header.digest.as_bytes());
    out.extend_from_slice(header.base.as_bytes());
    out.extend(frames);
    Some(out)
}

/// Streams one behind another, cut where a long one begins or ends.
#[cfg(feature = "compress")]
fn grouped(lengths: &[u8], streams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    const LONG: usize = 1 << 10;
    let mut frames = vec![lengths.to_vec()];
    let mut before_is_long = false;
    for stream in streams {
        let is_long = stream.len() >= LONG;
        match frames.last_mut() {
            Some(last) if !is_long && !before_is_long => last.extend_from_slice(stream),
            _ => frames.push(stream.clone()),
        }
        before_is_long = is_long;
    }
    frames
}

/// The shorter of a zstd frame and the bytes as they are.
#[cfg(feature = "compress")]
fn squeeze(raw: &[u8]) -> Vec<u8> {
    // The highest levels are for what is small anyway.
    let level = if raw.len() < LARGE { 19 } else { 16 };
    let zst = blob::encode(raw, level);
    if zst.len() < raw.len() { zst } else { raw.to_vec() }
}
