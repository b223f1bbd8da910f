//! The file for split BTF with its distilled base: an ELF object file with the sections `.BTF` and `.BTF.base`, as modules have them.
//!
//! The base cannot stand beside the split BTF in a raw file, and whoever reads distilled BTF (the kernel since 6.11, libbpf's
//! `btf__parse_split` and bpftool since 1.5) looks for these two sections. System V ABI, chapter 4.

use btf::{Distilled, Endian};

use crate::elf::{Class, Image};

/// The names of sections 1 to 3, each at its offset in `NAMES`.
const NAMES: &[u8] = b"\0.BTF\0.BTF.base\0.shstrtab\0";
const NAME_OFFSETS: [u32; 3] = [1, 6, 16];
const SHT_PROGBITS: u32 = 1;
const SHT_STRTAB: u32 = 3;
const ET_REL: u16 = 1;

/// The ELF file, of the word size, byte order and machine of the module that it is of.
pub(super) fn container(distilled: &Distilled, image: &Image<'_>) -> Vec<u8> {
    let (wide, endian) = (image.class == Class::Elf64, image.endian);
    let (header_len, entry_len) = if wide { (64_u16, 64_u16) } else { (52, 40) };
    let mut out = Writer { bytes: Vec::new(), wide, endian };
    let contents = [distilled.split.as_slice(), &distilled.base, NAMES];
    // Each section at a multiple of 8 bytes, then the table of sections.
    let mut offsets = [0; 3];
    let mut end = u64::from(header_len);
    for (offset, content) in offsets.iter_mut().zip(contents) {
        *offset = end.next_multiple_of(8);
        end = *offset + content.len() as u64;
    }
    let table = end.next_multiple_of(8);

    out.bytes.extend([0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }]);
    out.bytes.extend([if endian == Endian::Big { 2 } else { 1 }, 1]);
    out.bytes.resize(16, 0);
    out.half(ET_REL);
    out.half(image.machine);
    out.u32(1);
    for word in [0, 0, table] {
        out.word(word);
    }
    out.u32(0);
    for half in [header_len, 0, 0, entry_len, 4, 3] {
        out.half(half);
    }
    for (offset, content) in offsets.into_iter().zip(contents) {
        out.bytes.resize(offset as usize, 0);
        out.bytes.extend_from_slice(content);
    }
    out.bytes.resize(table as usize + usize::from(entry_len), 0);
    for (at, (offset, content)) in offsets.into_iter().zip(contents).enumerate() {
        out.u32(NAME_OFFSETS[at]);
        out.u32(if at == 2 { SHT_STRTAB } else { SHT_PROGBITS });
        // Flags and address.
        out.word(0);
        out.word(0);
        out.word(offset);
        out.word(content.len() as u64);
        out.u32(0);
        out.u32(0);
        out.word(if at == 2 { 1 } else { 4 });
        out.word(0);
    }
    out.bytes
}

struct Writer {
    bytes: Vec<u8>,
    wide: bool,
    endian: Endian,
}

impl Writer {
    fn half(&mut self, value: u16) {
        self.bytes.extend(match self.endian {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        });
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend(match self.endian {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        });
    }

    /// A field of 8 bytes in 64-bit files and of 4 in 32-bit ones. BTF is never 4 GiB long.
    fn word(&mut self, value: u64) {
        match (self.wide, self.endian) {
            (true, Endian::Little) => self.bytes.extend(value.to_le_bytes()),
            (true, Endian::Big) => self.bytes.extend(value.to_be_bytes()),
            (false, _) => self.u32(value as u32),
        }
    }
}
