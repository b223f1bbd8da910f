//! The index at the end of an .xz stream: where each block is, packed and unpacked (The .xz File Format 1.2, sections 2.1.2 and 4).

use super::xz::{crc32, vli};

/// The stream's header and footer, in bytes.
pub(super) const HEADER: u64 = 12;
/// Blocks in a stream. A package of 10 GB has 2000.
const BLOCKS: u64 = 100_000;

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins, from the beginning of the stream.
    pub(super) packed_at: u64,
    /// Its length with header, check and padding.
    pub(super) packed: u64,
    /// Where its data is, unpacked.
    pub(super) unpacked_at: u64,
    pub(super) unpacked: u64,
}

/// Length of the index with the footer, in bytes, as the stream's last 12 bytes say it.
pub(super) fn len(footer: &[u8; 12], header: &[u8; 12]) -> Result<u64, &'static str> {
    let (crc, rest) = footer.split_at(4);
    if rest[6..] != *b"YZ" || crc32(&rest[..6]) != *crc || rest[4..6] != header[6..8] {
        return Err("its data does not end as an xz stream that was begun so");
    }
    let backward = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
    Ok((u64::from(backward) + 1) * 4 + HEADER)
}

/// The blocks of a stream of `stream_len` bytes whose index (without the footer) is `index`.
pub(super) fn blocks(index: &[u8], stream_len: u64) -> Result<Vec<Block>, &'static str> {
    const MALFORMED: &str = "the index of its xz stream is malformed";
    let (records, crc) = index.split_last_chunk::<4>().ok_or(MALFORMED)?;
    if crc32(records) != *crc {
        return Err("the checksum of its xz stream's index is wrong");
    }
    let mut rest = records.strip_prefix(&[0]).ok_or(MALFORMED)?;
    let mut number = || vli(&mut rest).map_err(|_| MALFORMED);
    let count = number()?;
    if count > BLOCKS {
        return Err("its xz stream has too many blocks");
    }
    let mut blocks = Vec::new();
    let (mut packed_at, mut unpacked_at) = (HEADER, 0_u64);
    for _ in 0..count {
        let (unpadded, unpacked) = (number()?, number()?);
        let packed = unpadded.checked_next_multiple_of(4).ok_or(MALFORMED)?;
        blocks.push(Block { packed_at, packed, unpacked_at, unpacked });
        packed_at = packed_at.checked_add(packed).ok_or(MALFORMED)?;
        unpacked_at = unpacked_at.checked_add(unpacked).ok_or(MALFORMED)?;
    }
    let end = packed_at.checked_add(index.len() as u64 + HEADER);
    if rest.iter().any(|&byte| byte != 0) || rest.len() > 3 || end != Some(stream_len) {
        return Err("its data is not one xz stream");
    }
    Ok(blocks)
}
