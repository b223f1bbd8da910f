//! One layer of a bootable kernel: where its payload is, and how it is compressed.

use std::io::Read;

use super::ImageError;
use crate::package::codec::{Codec, Decoder};

/// The limit on one unpacked layer, in bytes. Kernels have 30 to 120 MB.
const UNPACKED: u64 = 256 << 20;
/// Candidates for a payload that are looked at in a layer.
const CANDIDATES: usize = 256;
/// Bytes that candidates may unpack to altogether.
const CANDIDATES_UNPACKED: u64 = 512 << 20;
/// A payload found by its magic number that unpacks to less is no kernel.
const LEAST: usize = 64 << 10;

/// Compressed, or not, bytes inside a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// Name of the header that told, where one did.
    pub(super) header: Option<&'static str>,
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) codec: Codec,
    /// The kernel's build puts the unpacked length behind it.
    has_size: bool,
}

/// What is wrong with a layer.
#[derive(Debug)]
pub(super) struct Fault {
    what: &'static str,
    offset: usize,
    reason: String,
}

impl Fault {
    pub(super) fn within(self, way: &[&str]) -> ImageError {
        let within = if way.is_empty() { "the image".to_owned() } else { way.join(", ") };
        ImageError::Damaged { what: self.what, within, offset: self.offset as u64, reason: self.reason }
    }
}

/// The payload that a layer's header points to, or the layer itself where it is compressed. `None`: it has neither.
pub(super) fn payload(layer: &[u8]) -> Result<Option<Payload>, Fault> {
    if let Some(payload) = bzimage(layer)? {
        return Ok(Some(payload));
    }
    if let Some(payload) = zboot(layer)? {
        return Ok(Some(payload));
    }
    let codec = Codec::of_magic(layer);
    let whole = Payload { header: None, offset: 0, len: layer.len(), codec, has_size: false };
    Ok((codec != Codec::Plain).then_some(whole))
}

/// x86's boot sector: `HdrS` at 0x202, the protocol's version behind it; the payload's place since 2.08.
fn bzimage(layer: &[u8]) -> Result<Option<Payload>, Fault> {
    if layer.get(0x202..0x206) != Some(b"HdrS") || layer.len() < 0x260 {
        return Ok(None);
    }
    let half = |at: usize| usize::from(u16::from_le_bytes([layer[at], layer[at + 1]]));
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| layer[at + byte])) as usize;
    if half(0x206) < 0x208 {
        return Ok(None);
    }
    let sectors = match layer[0x1f1] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let (offset, len) = ((sectors + 1) * 512 + word(0x248), word(0x24c));
    inside(layer, "bzImage", offset, len, None).map(Some)
}

/// An EFI program that unpacks a kernel: `MZ`, `zimg`, then place and length of the payload and its compression in letters.
fn zboot(layer: &[u8]) -> Result<Option<Payload>, Fault> {
    if !layer.starts_with(b"MZ") || layer.get(4..8) != Some(b"zimg") || layer.len() < 56 {
        return Ok(None);
    }
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| layer[at + byte])) as usize;
    let name = layer[24..56].split(|&byte| byte == 0).next().unwrap_or_default();
    let codec = match name {
        b"lzma" => Some(Codec::Lzma),
        b"lzo" => Some(Codec::Lzo),
        _ => None,
    };
    inside(layer, "EFI zboot", word(8), word(12), codec).map(Some)
}

fn inside(
    layer: &[u8],
    header: &'static str,
    offset: usize,
    len: usize,
    codec: Option<Codec>,
) -> Result<Payload, Fault> {
    let bytes =
        offset.checked_add(len).and_then(|end| layer.get(offset..end)).filter(|bytes| !bytes.is_empty());
    let Some(bytes) = bytes else {
        let reason = format!("{len} bytes from there on end behind the image's {}", layer.len());
        return Err(Fault { what: "the payload", offset, reason });
    };
    let codec = codec.unwrap_or_else(|| match Codec::of_magic(bytes) {
        Codec::Plain if Codec::may_be_lzma(bytes) => Codec::Lzma,
        codec => codec,
    });
    Ok(Payload { header: Some(header), offset, len, codec, has_size: true })
}

/// What may be payloads, by their magic numbers, in the order in which they lie.
pub(super) fn candidates(layer: &[u8]) -> impl Iterator<Item = Payload> {
    let at = |offset: usize| {
        let bytes = &layer[offset..];
        let codec = match Codec::of_magic(bytes) {
            // Two bytes alone are too few: deflate, no flags but a name, as gzip of the kernel's build writes.
            Codec::Gzip if !matches!(bytes, [_, _, 8, 0 | 8, ..]) => Codec::Plain,
            // The block's magic number is pi.
            Codec::Bzip2 if bytes.get(4..10) != Some(b"\x31\x41\x59\x26\x53\x59") => Codec::Plain,
            // Ends nowhere: only lc=3, lp=0, pb=2 and a dictionary that the kernel's build uses.
            Codec::Plain if bytes.starts_with(&[0x5d, 0, 0]) && Codec::may_be_lzma(bytes) => Codec::Lzma,
            codec => codec,
        };
        let len = bytes.len();
        (codec != Codec::Plain).then_some(Payload { header: None, offset, len, codec, has_size: false })
    };
    (0..layer.len()).filter_map(at).take(CANDIDATES)
}

impl Payload {
    /// What is compressed.
    pub(super) fn unpack(&self, layer: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut packed = &layer[self.offset..self.offset + self.len];
        if self.has_size && self.codec != Codec::Gzip {
            packed = &packed[..packed.len().saturating_sub(4)];
        }
        let mut unpacked = Vec::new();
        let fault = |reason: String| Fault { what: "the compressed payload", offset: self.offset, reason };
        match decode(packed, self.codec, UNPACKED, &mut unpacked) {
            Ok(()) => Ok(unpacked),
            Err(reason) => Err(fault(reason)),
        }
    }
}

/// Decodes until the stream ends, whatever follows it, into at most `limit` bytes.
fn decode(packed: &[u8], codec: Codec, limit: u64, unpacked: &mut Vec<u8>) -> Result<(), String> {
    let mut read = |mut decoder: Box<dyn Read + '_>| {
        let result = decoder.by_ref().take(limit).read_to_end(unpacked);
        result.map_err(|error| format!("{} cannot decode it: {error}", codec.name()))
    };
    let result = match codec {
        // One stream, and not whether others follow it.
        Codec::Gzip => read(Box::new(flate2::bufread::GzDecoder::new(packed))),
        Codec::Bzip2 => read(Box::new(bzip2::bufread::BzDecoder::new(packed))),
        Codec::Zstd => match zstd::stream::read::Decoder::with_buffer(packed) {
            Ok(decoder) => {
                let mut decoder = decoder.single_frame();
                // Kernels are compressed with windows as large as themselves.
                decoder.window_log_max(27).map_err(|error| error.to_string())?;
                read(Box::new(decoder))
            }
            Err(error) => Err(error.to_string()),
        },
        Codec::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(160 << 20, 0);
            let stream = stream.map_err(|error| error.to_string())?;
            read(Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream)))
        }
        _ => read(Box::new(Decoder::new(packed, codec, 1).map_err(|error| error.to_string())?)),
    };
    result?;
    if unpacked.len() as u64 >= limit {
        return Err(format!("it unpacks to more than {} MiB", limit >> 20));
    }
    Ok(())
}

/// What may be spent on candidates that are found by chance.
pub(super) struct Budget {
    left: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: CANDIDATES_UNPACKED }
    }
}

impl Budget {
    /// What a candidate unpacks to, if it is one: bytes behind a stream that has no end of its own are forgiven.
    pub(super) fn try_unpack(&mut self, payload: &Payload, layer: &[u8]) -> Option<Vec<u8>> {
        let packed = &layer[payload.offset..payload.offset + payload.len];
        let mut unpacked = Vec::new();
        let result = decode(packed, payload.codec, UNPACKED.min(self.left), &mut unpacked);
        self.left = self.left.saturating_sub(unpacked.len() as u64);
        let endless = matches!(payload.codec, Codec::Lz4Legacy | Codec::Lzma);
        (unpacked.len() >= LEAST && (result.is_ok() || endless)).then_some(unpacked)
    }
}
