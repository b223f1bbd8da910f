//! Relocations of debug sections in object files (`ET_REL`), such as kernel modules (System V ABI, chapter 4, and each machine's supplement).
//!
//! A linked vmlinux has relocation sections too when it was linked with `--emit-relocs`, but there the results are in place already; applying
//! them again would damage it. Modules have as many bytes of relocations as of debug information, so they are applied in one pass over a
//! copy of the section. Sections that hold none, because a linker or `eu-strip --reloc-debug-sections` resolved them, stay as they are.

use std::borrow::Cow;

use btf::Endian;
use object::elf;

use super::image::{Class, ElfError, Image};

/// The limit on the size of a table of relocations or symbols, in bytes.
const MAX_TABLE: u64 = 1 << 30;
const SHT_SYMTAB: u32 = elf::SHT_SYMTAB.0;
const SHT_RELA: u32 = elf::SHT_RELA.0;
const SHT_REL: u32 = elf::SHT_REL.0;

/// Applies the relocations of the section with this index to its (decompressed) bytes.
pub(super) fn apply<'d>(
    image: &Image<'d>,
    index: usize,
    mut bytes: Cow<'d, [u8]>,
) -> Result<Cow<'d, [u8]>, ElfError> {
    let is_of_section = |kind, info| matches!(kind, SHT_REL | SHT_RELA) && info as usize == index;
    for table in image.sections.iter().filter(|section| is_of_section(section.kind, section.info)) {
        let failed =
            |reason: String| ElfError::Relocation { section: image.sections[index].name.clone(), reason };
        let entries = image.data_of(table, MAX_TABLE)?;
        let symbols = match image.sections.get(table.link as usize) {
            Some(section) if section.kind == SHT_SYMTAB => image.data_of(section, MAX_TABLE)?,
            _ => return Err(failed(format!("{} names no symbol table", table.name))),
        };
        let target = Target { image, symbols: &symbols, addends: table.kind == SHT_RELA };
        match (image.class, image.endian) {
            (Class::Elf64, Endian::Little) => target.apply::<true, false>(&entries, bytes.to_mut()),
            (Class::Elf64, Endian::Big) => target.apply::<true, true>(&entries, bytes.to_mut()),
            (Class::Elf32, Endian::Little) => target.apply::<false, false>(&entries, bytes.to_mut()),
            (Class::Elf32, Endian::Big) => target.apply::<false, true>(&entries, bytes.to_mut()),
        }
        .map_err(failed)?;
    }
    Ok(bytes)
}

struct Target<'a> {
    image: &'a Image<'a>,
    symbols: &'a [u8],
    /// Whether entries hold their addends (RELA), or the bytes that they change do (REL).
    addends: bool,
}

impl Target<'_> {
    fn apply<const WIDE: bool, const BIG: bool>(
        &self,
        entries: &[u8],
        bytes: &mut [u8],
    ) -> Result<(), String> {
        let machine = self.image.machine;
        let word = if WIDE { 8 } else { 4 };
        // MIPS64 keeps three types and a symbol where others keep one word (its ABI supplement, figure 4-9).
        let is_mips64 = WIDE && machine == elf::EM_MIPS.0;
        for entry in entries.chunks_exact(if self.addends { 3 * word } else { 2 * word }) {
            let offset = load::<BIG>(&entry[..word]);
            let info = load::<BIG>(&entry[word..2 * word]);
            let (symbol, kind) = match (WIDE, is_mips64) {
                (_, true) => {
                    let symbol = load::<BIG>(&entry[8..12]);
                    (symbol, u32::from_be_bytes([entry[12], entry[13], entry[14], entry[15]]))
                }
                (true, _) => (info >> 32, info as u32),
                (false, _) => (info >> 8, info as u32 & 0xff),
            };
            // What is not a plain address or offset (RISC-V's sums and differences over code) stands in location lists and line tables,
            // which types do not need.
            let Some(len) = width(machine, kind) else { continue };
            let outside = || format!("a relocation of {len} bytes at offset 0x{offset:x} is outside of it");
            let start = usize::try_from(offset).map_err(|_| outside())?;
            let end = start.checked_add(len).ok_or_else(outside)?;
            let place = bytes.get_mut(start..end).ok_or_else(outside)?;
            let addend = match self.addends {
                true if WIDE => load::<BIG>(&entry[16..]),
                true => load::<BIG>(&entry[8..]) as i32 as u64,
                false => load::<BIG>(place),
            };
            let value = self.value_of::<WIDE, BIG>(symbol)?.wrapping_add(addend);
            match BIG {
                false => place.copy_from_slice(&value.to_le_bytes()[..len]),
                true => place.copy_from_slice(&value.to_be_bytes()[8 - len..]),
            }
        }
        Ok(())
    }

    /// A symbol's value: in object files an offset in its section. Symbol 0 is no symbol.
    fn value_of<const WIDE: bool, const BIG: bool>(&self, symbol: u64) -> Result<u64, String> {
        if symbol == 0 {
            return Ok(0);
        }
        let size = if WIDE { 24 } else { 16 };
        let start = usize::try_from(symbol).ok().and_then(|symbol| symbol.checked_mul(size));
        let entry = start.and_then(|start| self.symbols.get(start..)?.get(..size));
        let entry = entry.ok_or_else(|| format!("a relocation needs symbol {symbol}, which is not there"))?;
        Ok(load::<BIG>(if WIDE { &entry[8..16] } else { &entry[4..8] }))
    }
}

/// How many bytes a relocation of this type sets to a symbol's value plus the addend; `None` if it does something else.
#[inline]
fn width(machine: u16, kind: u32) -> Option<usize> {
    let (words, longs): (&[u32], &[u32]) = match elf::Machine(machine) {
        elf::EM_X86_64 => (&[10, 11], &[1]),
        elf::EM_386 => (&[1], &[]),
        elf::EM_AARCH64 => (&[258], &[257]),
        elf::EM_ARM => (&[2], &[]),
        elf::EM_S390 => (&[4], &[22]),
        elf::EM_PPC64 => (&[1, 24], &[38, 43]),
        elf::EM_PPC => (&[1, 24], &[]),
        elf::EM_RISCV | elf::EM_LOONGARCH => (&[1], &[2]),
        elf::EM_MIPS => (&[2], &[18]),
        elf::EM_SPARC | elf::EM_SPARCV9 | elf::EM_SPARC32PLUS => (&[3, 23], &[32, 54]),
        elf::EM_ALPHA => (&[1], &[2]),
        elf::EM_PARISC => (&[1], &[80]),
        elf::EM_68K | elf::EM_SH => (&[1], &[]),
        _ => (&[], &[]),
    };
    if words.contains(&kind) {
        Some(4)
    } else if longs.contains(&kind) {
        Some(8)
    } else {
        None
    }
}

/// A word of any length up to 8 bytes.
#[inline]
fn load<const BIG: bool>(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    match BIG {
        false => {
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        }
        true => {
            word[8 - bytes.len()..].copy_from_slice(bytes);
            u64::from_be_bytes(word)
        }
    }
}
