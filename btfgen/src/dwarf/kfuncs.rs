//! Which functions BPF programs may call: the kernel registers them by sets in `.BTF_ids`.
//!
//! `include/linux/btf_ids.h`: a `BTF_SET8` is a count, flags, and pairs of a BTF id, still empty here, and flags; 32-bit words in the
//! kernel's byte order. Symbols tell what is what: `__BTF_ID__set8__NAME` the set, `__BTF_ID__func__NAME__N` an entry for a function.

use std::borrow::Cow;

use btf::Endian;

use crate::elf::{ElfError, Image, Symbol};

const SECTION: &str = ".BTF_ids";
/// The largest kernels have some ten kilobytes.
const MAX_SECTION: u64 = 16 << 20;
const SET: &[u8] = b"__BTF_ID__set8__";
const ENTRY: &[u8] = b"__BTF_ID__func__";
/// Flag of a set whose functions are registered as kfuncs (`BTF_SET8_KFUNCS`). Kernels before 6.8 have no such flag.
const SET8_KFUNCS: u32 = 1;
/// Flag of an entry: the function keeps caller-saved registers (`KF_FASTCALL`).
const KF_FASTCALL: u32 = 1 << 12;

/// What a set says of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KFunc {
    pub(super) is_kfunc: bool,
    pub(super) is_fastcall: bool,
}

impl KFunc {
    /// A function may be in several sets. Callers may count on their registers only if all sets say so.
    pub(super) fn merge(&mut self, other: KFunc) {
        self.is_fastcall = other.is_fastcall && (self.is_fastcall || !self.is_kfunc);
        self.is_kfunc |= other.is_kfunc;
    }
}

/// The section and the symbols in it.
pub(super) struct KFuncs<'i> {
    data: Cow<'i, [u8]>,
    endian: Endian,
    /// The section's number and address.
    number: usize,
    address: u64,
    /// Offset and size in bytes of each set of kfuncs.
    sets: Vec<(u64, u64)>,
    /// Offset in bytes and function of each entry.
    entries: Vec<(u64, Box<[u8]>)>,
}

impl<'i> KFuncs<'i> {
    /// The section, if the file has one.
    pub(super) fn open(image: &'i Image<'_>) -> Result<Option<KFuncs<'i>>, ElfError> {
        let Some(number) = image.sections.iter().position(|section| section.name == SECTION) else {
            return Ok(None);
        };
        let section = &image.sections[number];
        let data = image.data_of(section, MAX_SECTION)?;
        let (endian, address) = (image.endian, section.address);
        Ok(Some(KFuncs { data, endian, number, address, sets: Vec::new(), entries: Vec::new() }))
    }

    /// Takes in a symbol of the file.
    pub(super) fn see(&mut self, symbol: &Symbol<'_>) {
        if usize::from(symbol.section) != self.number {
            return;
        }
        let Some(offset) = symbol.value.checked_sub(self.address) else { return };
        if symbol.name.starts_with(SET) {
            // After the count.
            let flags = offset.checked_add(4).and_then(|at| self.word(at));
            if flags.is_some_and(|flags| flags & SET8_KFUNCS != 0) {
                self.sets.push((offset, symbol.size));
            }
        } else if let Some(name) = symbol.name.strip_prefix(ENTRY).and_then(function_name) {
            self.entries.push((offset, name.into()));
        }
    }

    fn word(&self, offset: u64) -> Option<u32> {
        let bytes = *self.data.get(usize::try_from(offset).ok()?..)?.first_chunk()?;
        Some(match self.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        })
    }

    /// The functions that are in sets of kfuncs, once all symbols were seen.
    pub(super) fn find(&mut self) -> impl Iterator<Item = (&[u8], KFunc)> {
        self.sets.sort_unstable();
        self.entries.iter().filter_map(|(offset, name)| {
            let set = self.sets.partition_point(|&(start, _)| start <= *offset).checked_sub(1)?;
            let (start, size) = self.sets[set];
            let flags = self.word(offset.checked_add(4)?)?;
            (offset - start < size)
                .then_some((&**name, KFunc { is_kfunc: true, is_fastcall: flags & KF_FASTCALL != 0 }))
        })
    }
}

/// The function of an entry's symbol, without the number at its end.
fn function_name(symbol: &[u8]) -> Option<&[u8]> {
    let last = symbol.iter().rposition(|&byte| byte == b'_')?;
    let name = symbol[..last].strip_suffix(b"_")?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that only the number is cut off.
    #[test]
    fn names_of_entries() {
        assert_eq!(function_name(b"vfs_close__1"), Some(b"vfs_close".as_slice()));
        assert_eq!(function_name(b"bpf__two__12"), Some(b"bpf__two".as_slice()));
        assert_eq!(function_name(b"bpf_one_1"), None);
        assert_eq!(function_name(b"__1"), None);
        assert_eq!(function_name(b""), None);
    }
}
