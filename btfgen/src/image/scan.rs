//! BTF among other bytes: nothing points to it, but it describes itself well enough that nothing else passes for it.
//!
//! Magic number, version and header length are 8 bytes that chance writes rarely; behind them offsets and lengths must fit each other
//! and the file; then the whole must parse, be valid, and have a `struct task_struct`.

use btf::{Btf, Endian};

use crate::vmlinux::is_plausible_kernel;

/// A BTF header, in bytes.
const HEADER: usize = 24;
/// Candidates whose header is consistent and that are looked at in whole. A kernel has one; BTF of modules built in, or of BPF objects in the
/// image, may add a few.
const CANDIDATES: usize = 64;
/// Bytes of candidates that are looked at altogether, as a multiple of the image's.
const WORK: usize = 2;

/// The different blobs that are a kernel's BTF.
pub(super) fn find(bytes: &[u8]) -> Vec<&[u8]> {
    let mut found: Vec<&[u8]> = Vec::new();
    let mut work = bytes.len().saturating_mul(WORK);
    for candidate in candidates(bytes).take(CANDIDATES) {
        let Some(left) = work.checked_sub(candidate.len()) else { break };
        work = left;
        if is_kernel(candidate) && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

fn is_kernel(bytes: &[u8]) -> bool {
    Btf::parse(bytes).is_ok_and(|btf| {
        is_plausible_kernel(&btf) && btf::validate(&btf, &btf::ValidateOptions::default()).is_ok()
    })
}

/// Slices that begin with a consistent header. BTF is aligned to 4 bytes where it lies.
fn candidates(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = bytes.chunks_exact(4).enumerate();
    let magic = |word: &[u8]| matches!(word, [0x9f, 0xeb, 1, 0] | [0xeb, 0x9f, 1, 0]);
    words.filter(move |(_, word)| magic(word)).filter_map(|(at, _)| consistent(&bytes[at * 4..]))
}

/// As much of `bytes` as its header describes: header, types, and behind them strings that begin and end with NUL.
fn consistent(bytes: &[u8]) -> Option<&[u8]> {
    let endian = if bytes[0] == 0x9f { Endian::Little } else { Endian::Big };
    let field = |at: usize| endian.u32_at(bytes, at).map(|value| value as usize);
    let [header, type_off, type_len, str_off, str_len] =
        [field(4)?, field(8)?, field(12)?, field(16)?, field(20)?];
    let end = header.checked_add(str_off)?.checked_add(str_len)?;
    let consistent = header == HEADER
        && type_off == 0
        && type_len % 4 == 0
        && type_len > 0
        && str_off == type_len
        && str_len > 1
        && bytes.get(header + str_off..end)?.starts_with(&[0])
        && bytes[end - 1] == 0;
    consistent.then(|| &bytes[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(type_len: u32, str_off: u32, str_len: u32) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, type_len, str_off, str_len] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes
    }

    /// Check that only a header whose parts fit each other and the bytes behind it makes a candidate.
    #[test]
    fn headers() {
        let good = [header(4, 4, 3), vec![1, 2, 3, 4, 0, b'a', 0]].concat();
        assert_eq!(consistent(&good), Some(&good[..]));
        assert_eq!(consistent(&[&good[..], b"more"].concat()), Some(&good[..]));
        assert_eq!(consistent(&good[..good.len() - 1]), None);
        for wrong in [header(4, 8, 3), header(0, 0, 3), header(4, 4, u32::MAX), header(u32::MAX, u32::MAX, 1)]
        {
            assert_eq!(consistent(&[wrong, vec![1, 2, 3, 4, 0, b'a', 0]].concat()), None);
        }
        assert_eq!(consistent(&header(4, 4, 3)[..20]), None);
        // Magic numbers without anything behind them.
        assert!(find(&[0x9f, 0xeb, 1, 0].repeat(1000)).is_empty());
    }
}
