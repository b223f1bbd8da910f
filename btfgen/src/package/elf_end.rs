//! How long the ELF file is that ends here: told by its end alone.
//!
//! Linkers and objcopy put the table of sections last. Read backwards from the file's end it is a row of plausible entries after one of
//! zeros, and the section that ends last (it lies right before the table) says how far from the file's beginning the table is. In
//! a tar the file begins at a multiple of 512 bytes and is padded to one, which settles the rest.

use btf::Endian;

/// Bytes before the end in which the table is looked for.
pub(super) const REACH: u64 = 64 << 10;
/// Entries of the table. Kernels have 30 to 100.
const SECTIONS: usize = 500;
/// The table is aligned to 8 bytes, or 16.
const SLACK: u64 = 16;
const NOBITS: u32 = 8;
const STRTAB: u32 = 3;

/// Start and length of the files that may end within the last 512 bytes before `end`, an offset in a tar; `tail` is what is before it.
pub(super) fn candidates(tail: &[u8], end: u64) -> Vec<(u64, u64)> {
    let padding = tail.iter().rev().take(512 + 64).take_while(|&&byte| byte == 0).count();
    let mut found = Vec::new();
    for wide in [true, false] {
        for endian in [Endian::Little, Endian::Big] {
            // The table's last entry may itself end with zeros.
            for pad in (0..=padding.min(511)).step_by(4) {
                found.extend(table(&tail[..tail.len() - pad], end - pad as u64, wide, endian));
            }
        }
    }
    found
}

/// The file whose table of sections ends with `tail`, at `end`.
fn table(tail: &[u8], end: u64, wide: bool, endian: Endian) -> Option<(u64, u64)> {
    let entry_len = if wide { 64 } else { 40 };
    let word = |entry: &[u8], at: usize| endian.u32_at(entry, at).map_or(0, u64::from);
    let long = |entry: &[u8], wide_at: usize, at: usize| match (wide, endian) {
        (false, _) => word(entry, at),
        (true, Endian::Little) => word(entry, wide_at + 4) << 32 | word(entry, wide_at),
        (true, Endian::Big) => word(entry, wide_at) << 32 | word(entry, wide_at + 4),
    };
    let mut last = 0;
    let mut entries = 0;
    let mut has_strings = false;
    for entry in tail.rchunks_exact(entry_len).take(SECTIONS) {
        entries += 1;
        if entry.iter().all(|&byte| byte == 0) {
            let table_len = (entries * entry_len) as u64;
            let table_at = end.checked_sub(table_len)?;
            // The first place behind the last section from which the file begins at a multiple of 512.
            let distance = last + table_at.checked_sub(last)? % 512;
            let start = table_at.checked_sub(distance)?;
            let plausible = entries > 3 && has_strings && distance - last < SLACK;
            return plausible.then_some((start, distance + table_len));
        }
        let kind = word(entry, 4) as u32;
        let (offset, size) = (long(entry, 24, 16), long(entry, 32, 20));
        let section_end = offset.checked_add(size).filter(|&end| end < 1 << 40)?;
        // Kinds of the ABI, and those of GNU and of processors.
        if !matches!(kind, 1..=19 | 0x6fff_0000..=0x7fff_ffff) {
            return None;
        }
        has_strings |= kind == STRTAB;
        if kind != NOBITS {
            last = last.max(section_end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of one section of each kind, written behind `len` bytes of a file that begins at 512.
    fn file(wide: bool, endian: Endian, len: u64) -> Vec<u8> {
        let sections = [(0, 0, 0), (1, 64, 100), (8, 1 << 30, 1 << 30), (2, 200, 48), (3, len - 20, 20)];
        let mut bytes = vec![b'x'; 512 + len as usize];
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        for (kind, offset, size) in sections {
            let word = |value: u32| match endian {
                Endian::Little => value.to_le_bytes(),
                Endian::Big => value.to_be_bytes(),
            };
            let mut entry = vec![0; if wide { 64 } else { 40 }];
            entry[4..8].copy_from_slice(&word(kind));
            let low = if endian == Endian::Big { 4 } else { 0 };
            let places = if wide { [24 + low, 32 + low] } else { [16, 20] };
            entry[places[0]..places[0] + 4].copy_from_slice(&word(offset as u32));
            entry[places[1]..places[1] + 4].copy_from_slice(&word(size));
            if kind == 3 {
                // The alignment, so that not all of the last bytes are zeros.
                let last = if wide { 48 + low } else { 32 };
                entry[last..last + 4].copy_from_slice(&word(1));
            }
            bytes.extend(entry);
        }
        bytes
    }

    /// Check that both classes and byte orders tell the file's length, whatever it is modulo 512.
    #[test]
    fn tables() {
        for (wide, endian) in
            [(true, Endian::Little), (true, Endian::Big), (false, Endian::Little), (false, Endian::Big)]
        {
            for len in [700, 1001, 5000, 12345] {
                let mut bytes = file(wide, endian, len);
                let size = bytes.len() as u64 - 512;
                bytes.resize(bytes.len().next_multiple_of(512), 0);
                let found = candidates(&bytes, bytes.len() as u64);
                assert!(found.contains(&(512, size)), "{wide} {endian:?} {len}: {found:?}");
            }
        }
    }

    /// Check that other bytes are no file, and nothing at all is none.
    #[test]
    fn no_table() {
        assert!(candidates(&[], 0).is_empty());
        assert!(candidates(&[0; 2000], 2048).is_empty());
        assert!(candidates(&[7; 2000], 2048).is_empty());
        let text: Vec<u8> = (0..60_000_u32).map(|at| (at * 7 % 251) as u8).collect();
        assert!(candidates(&text, 1 << 20).is_empty());
    }
}
