//! Relocations of debug sections in object files (`ET_REL`), such as kernel modules.
//!
//! What refers to another section there (strings, DIEs, lists, addresses) is still to be added up: the symbol's value, and an addend from the
//! relocation (`SHT_RELA`) or from the place itself (`SHT_REL`). Distributions strip modules' debug files in ways that leave some
//! places done and without a relocation (`eu-strip --reloc-debug-sections`); those are right as they are. A linked vmlinux may have
//! relocation sections too (`--emit-relocs`), but there all results are in place, and adding them up again would damage them.
//!
//! Debug sections refer to others by the machine's plain words of 4 and 8 bytes only. Others of its relocations are parts of location
//! expressions, such as offsets of thread-local variables, which types do not need. On RISC-V also differences between labels are left to
//! the linker, as pairs of relocations: lengths of code, and addresses in lists.

use std::borrow::Cow;

use btf::Endian;

use super::image::{Class, ElfError, Fields, Image, Section};

const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
const SHT_REL: u32 = 9;

const EM_MIPS: u16 = 8;
const EM_RISCV: u16 = 243;

/// What the debug sections of a machine's object files need. The numbers are in each machine's ELF supplement.
struct Machine {
    /// Its relocations of 4 bytes that are a symbol and an addend.
    words: &'static [u32],
    /// Its one of 8 bytes.
    long: u32,
}

/// No machine has a relocation of this number.
const NONE: u32 = u32::MAX;

impl Machine {
    fn of(machine: u16) -> Option<Machine> {
        let (words, long): (&[u32], u32) = match machine {
            2 => (&[3, 23], NONE),  // SPARC: 32, UA32
            3 => (&[1], NONE),      // i386
            4 | 42 => (&[1], NONE), // m68k, SuperH: 32, DIR32
            EM_MIPS => (&[2], 18),  // MIPS: 32, 64
            15 => (&[1], 80),       // PA-RISC: DIR32, DIR64
            20 => (&[1, 24], NONE), // PowerPC: ADDR32, UADDR32
            21 => (&[1, 24], 38),   // PowerPC 64: ADDR32, UADDR32, ADDR64
            22 => (&[4], 22),       // s390
            40 => (&[2], NONE),     // ARM: ABS32
            43 => (&[3, 23], 32),   // SPARC 64: 32, UA32, 64
            62 => (&[10, 11], 1),   // x86-64: 32, 32S, 64
            183 => (&[258], 257),   // AArch64
            EM_RISCV => (&[1], 2),  // RISC-V
            258 => (&[1], 2),       // LoongArch
            0x9026 => (&[1], 2),    // Alpha: REFLONG, REFQUAD
            _ => return None,
        };
        Some(Machine { words, long })
    }
}

/// One relocation.
struct Relocation {
    offset: u64,
    kind: u32,
    symbol: u32,
    addend: i64,
}

/// Applies the relocations of the section with this index to its (decompressed) bytes.
pub(super) fn apply<'d>(
    image: &Image<'d>,
    index: usize,
    bytes: Cow<'d, [u8]>,
) -> Result<Cow<'d, [u8]>, ElfError> {
    let is_for = |section: &&Section| {
        matches!(section.kind, SHT_REL | SHT_RELA) && section.info as usize == index && section.size != 0
    };
    let mut sections = image.sections.iter().filter(is_for);
    let Some(section) = sections.next() else { return Ok(bytes) };
    let failed =
        |reason: String| ElfError::Relocation { section: image.sections[index].name.clone(), reason };
    if sections.next().is_some() {
        return Err(failed("it has more than one section of relocations".into()));
    }
    let machine = Machine::of(image.machine)
        .ok_or_else(|| failed(format!("relocations of machine {} are not known", image.machine)))?;
    let symtab = image.sections.get(section.link as usize).filter(|table| table.kind == SHT_SYMTAB);
    let symbols = match symtab {
        Some(table) => image.data_of(table, image.file_len())?,
        None => return Err(failed(format!("section {} is no symbol table", section.link))),
    };
    let entries = image.data_of(section, image.file_len())?;
    // Without a bound many small sections could share very many relocations. RISC-V has two for a place.
    if entries.len() / usize::from(image.class.address_size()) / 2 > bytes.len().saturating_mul(2) {
        return Err(failed("it has more relocations than bytes".into()));
    }
    let mut bytes = bytes;
    for relocation in relocations(image, section, &entries) {
        let Relocation { offset, kind, symbol, addend } = relocation;
        let place = |len: usize| {
            let start = usize::try_from(offset).ok()?;
            Some(start..start.checked_add(len)?).filter(|place| place.end <= bytes.len())
        };
        let outside = || failed(format!("the relocation at offset 0x{offset:x} is outside of it"));
        let value = symbol_value(image, &symbols, symbol).ok_or_else(|| {
            failed(format!("the relocation at offset 0x{offset:x} is of symbol {symbol}, which is not there"))
        });
        let len = match kind {
            kind if machine.words.contains(&kind) => 4,
            kind if kind == machine.long => 8,
            kind if image.machine == EM_RISCV => {
                let start =
                    usize::try_from(offset).ok().filter(|&start| start < bytes.len()).ok_or_else(outside)?;
                riscv(kind, &mut bytes.to_mut()[start..], value?.wrapping_add_signed(addend))
                    .ok_or_else(outside)?;
                continue;
            }
            _ => continue,
        };
        let place = place(len).ok_or_else(outside)?;
        let target = &mut bytes.to_mut()[place];
        let implicit = if section.kind == SHT_REL { word(target, image.endian) } else { 0 };
        let sum = value?.wrapping_add_signed(addend).wrapping_add(implicit);
        match image.endian {
            Endian::Little => target.copy_from_slice(&sum.to_le_bytes()[..len]),
            Endian::Big => target.copy_from_slice(&sum.to_be_bytes()[8 - len..]),
        }
    }
    Ok(bytes)
}

fn relocations<'e>(
    image: &Image<'_>,
    section: &Section,
    entries: &'e [u8],
) -> impl Iterator<Item = Relocation> + use<'e> {
    let (class, endian, has_addend) = (image.class, image.endian, section.kind == SHT_RELA);
    let is_mips = image.machine == EM_MIPS;
    let word_len = usize::from(class.address_size());
    entries.chunks_exact(word_len * if has_addend { 3 } else { 2 }).map(move |entry| {
        let fields = Fields { bytes: entry, class, endian };
        let info = fields.word(word_len);
        let (symbol, kind) = match class {
            // Up to three relocations in one, a byte each; debug sections have single ones.
            Class::Elf64 if is_mips => (fields.u32(8), entry[15].into()),
            Class::Elf64 => ((info >> 32) as u32, info as u32),
            Class::Elf32 => (info as u32 >> 8, info as u32 & 0xff),
        };
        let addend = match (has_addend, class) {
            (false, _) => 0,
            (true, Class::Elf64) => fields.u64(16) as i64,
            (true, Class::Elf32) => i64::from(fields.u32(8) as i32),
        };
        Relocation { offset: fields.word(0), kind, symbol, addend }
    })
}

/// The value of a symbol: in object files an offset in its section.
fn symbol_value(image: &Image<'_>, symbols: &[u8], index: u32) -> Option<u64> {
    let (len, value) = if image.class == Class::Elf64 { (24, 8) } else { (16, 4) };
    let start = (index as usize).checked_mul(len)?;
    let entry = symbols.get(start..start.checked_add(len)?)?;
    Some(Fields { bytes: entry, class: image.class, endian: image.endian }.word(value))
}

/// RISC-V's relocations that add to, subtract from or replace what is in place (psABI, "Relocations"); `bytes` begin there. Others are none of ours.
fn riscv(kind: u32, bytes: &mut [u8], value: u64) -> Option<()> {
    /// What a relocation does.
    enum Does {
        Add,
        Subtract,
        Set,
    }
    let (does, len) = match kind {
        33 => (Does::Add, 1),
        34 => (Does::Add, 2),
        35 => (Does::Add, 4),
        36 => (Does::Add, 8),
        37 => (Does::Subtract, 1),
        38 => (Does::Subtract, 2),
        39 => (Does::Subtract, 4),
        40 => (Does::Subtract, 8),
        54 => (Does::Set, 1),
        55 => (Does::Set, 2),
        56 => (Does::Set, 4),
        // SUB6 and SET6: the low six bits of a byte.
        52 | 53 => {
            let byte = bytes.first_mut()?;
            let low = if kind == 52 { byte.wrapping_sub(value as u8) } else { value as u8 };
            *byte = *byte & 0xc0 | low & 0x3f;
            return Some(());
        }
        // SET_ULEB128 and SUB_ULEB128: a number of variable length, which keeps its length.
        60 | 61 => {
            let len = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
            let before = bytes[..len].iter().rev().fold(0u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
            let mut rest = if kind == 60 { value } else { before.wrapping_sub(value) };
            for byte in &mut bytes[..len] {
                *byte = *byte & 0x80 | rest as u8 & 0x7f;
                rest >>= 7;
            }
            return Some(());
        }
        _ => return Some(()),
    };
    let target = bytes.get_mut(..len)?;
    let before = word(target, Endian::Little);
    let sum = match does {
        Does::Add => before.wrapping_add(value),
        Does::Subtract => before.wrapping_sub(value),
        Does::Set => value,
    };
    target.copy_from_slice(&sum.to_le_bytes()[..len]);
    Some(())
}

fn word(bytes: &[u8], endian: Endian) -> u64 {
    let push = |word: u64, &byte: &u8| word << 8 | u64::from(byte);
    match endian {
        Endian::Little => bytes.iter().rev().fold(0, push),
        Endian::Big => bytes.iter().fold(0, push),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check RISC-V's pairs: differences of every width, and of numbers that keep their length, which may be too short.
    #[test]
    fn riscv_pairs() {
        let difference = |add: u32, subtract: u32, len: usize, mut bytes: Vec<u8>| {
            riscv(add, &mut bytes, 0x1_0000_1234).unwrap();
            riscv(subtract, &mut bytes, 0x1_0000_1200).unwrap();
            assert!(riscv(add, &mut bytes[..len - 1], 1).is_none() || len == 1);
            bytes
        };
        assert_eq!(difference(33, 37, 1, vec![1]), [0x35]);
        assert_eq!(difference(34, 38, 2, vec![0; 2]), [0x34, 0]);
        assert_eq!(difference(35, 39, 4, vec![0; 4]), [0x34, 0, 0, 0]);
        assert_eq!(difference(36, 40, 8, vec![0; 8]), [0x34, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(difference(53, 52, 1, vec![0xc0]), [0xf4]);
        let mut uleb = vec![0x80, 0x80, 0, 7];
        riscv(60, &mut uleb, 0x1234).unwrap();
        riscv(61, &mut uleb, 0x1000).unwrap();
        assert_eq!(uleb, [0xb4, 0x84, 0, 7]);
        assert!(riscv(60, &mut [0x80, 0x80], 1).is_none(), "no last byte");
        let mut set = [0; 4];
        riscv(56, &mut set, 0x0102_0304).unwrap();
        assert_eq!(set, [4, 3, 2, 1]);
        assert!(riscv(51, &mut [], 1).is_some(), "RELAX is for code");
    }
}
