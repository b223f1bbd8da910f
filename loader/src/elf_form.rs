//! BTF as an ELF file with a `.BTF` section: what libbpf before 1.0.1 needs in the places where it looks, and every
//! later version takes too.
//!
//! The file is relocatable and has, beside `.BTF`, the kernel's build-id in `.note.gnu.build-id` where it is known, so
//! that whoever finds it can tell whose it is. Class and byte order are the BTF's.

use btf::{Btf, Endian};
use btf_archive::BuildId;
use object::elf::{
    EM_NONE, ET_REL, EV_CURRENT, NT_GNU_BUILD_ID, SHF_ALLOC, SHT_NOTE, SHT_PROGBITS, SHT_STRTAB,
};

use crate::Reason;

/// The names of the sections, with their places: 1, 6, 25.
const NAMES: &[u8] = b"\0.BTF\0.note.gnu.build-id\0.shstrtab\0";

/// A section of the file.
struct Section<'a> {
    name: u32,
    kind: u32,
    flags: u64,
    align: u64,
    bytes: &'a [u8],
}

/// Words of one byte order and class.
struct Writer {
    out: Vec<u8>,
    endian: Endian,
    is_64: bool,
}

impl Writer {
    fn half(&mut self, value: u16) {
        self.out.extend(match self.endian {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        });
    }

    fn word(&mut self, value: u32) {
        self.out.extend(match self.endian {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        });
    }

    /// An address, offset or size: as wide as the class.
    fn wide(&mut self, value: u64) {
        match (self.is_64, self.endian) {
            (true, Endian::Little) => self.out.extend(value.to_le_bytes()),
            (true, Endian::Big) => self.out.extend(value.to_be_bytes()),
            (false, _) => self.word(u32::try_from(value).unwrap_or(u32::MAX)),
        }
    }

    fn align(&mut self, to: usize) {
        self.out.resize(self.out.len().next_multiple_of(to), 0);
    }
}

/// Wraps raw BTF in an ELF file.
///
/// # Errors
/// [`Reason::NotBtf`] for bytes that are no BTF, [`Reason::TooLarge`] for more than an ELF file of 32 bits can hold.
pub fn elf(raw: &[u8], build_id: Option<&BuildId>) -> Result<Vec<u8>, Reason> {
    let btf = Btf::parse(raw).map_err(|error| Reason::NotBtf(error.to_string()))?;
    let limit = 1 << 30;
    if raw.len() > limit {
        return Err(Reason::TooLarge { limit });
    }
    let is_64 = btf.pointer_size() != Some(4);
    let new = || Writer { out: Vec::new(), endian: btf.endian(), is_64 };

    let mut note = new();
    if let Some(build_id) = build_id {
        note.word(4);
        note.word(u32::try_from(build_id.as_bytes().len()).unwrap_or(0));
        note.word(NT_GNU_BUILD_ID.0);
        note.out.extend(b"GNU\0");
        note.out.extend(build_id.as_bytes());
        note.align(4);
    }
    let mut sections = vec![Section { name: 1, kind: SHT_PROGBITS.0, flags: 0, align: 8, bytes: raw }];
    if build_id.is_some() {
        let flags = SHF_ALLOC.0;
        sections.push(Section { name: 6, kind: SHT_NOTE.0, flags, align: 4, bytes: &note.out });
    }
    sections.push(Section { name: 25, kind: SHT_STRTAB.0, flags: 0, align: 1, bytes: NAMES });

    let mut elf = new();
    let (header_size, entry_size) = if is_64 { (64, 64) } else { (52, 40) };
    elf.out.resize(header_size, 0);
    let offsets: Vec<u64> = sections
        .iter()
        .map(|section| {
            elf.align(8);
            let offset = elf.out.len() as u64;
            elf.out.extend(section.bytes);
            offset
        })
        .collect();
    elf.align(8);
    let table = elf.out.len() as u64;
    elf.out.resize(elf.out.len() + entry_size, 0); // the first section is none
    for (section, offset) in sections.iter().zip(offsets) {
        elf.word(section.name);
        elf.word(section.kind);
        elf.wide(section.flags);
        elf.wide(0); // address
        elf.wide(offset);
        elf.wide(section.bytes.len() as u64);
        elf.word(0); // link
        elf.word(0); // info
        elf.wide(section.align);
        elf.wide(0); // entry size
    }

    let mut header = new();
    let class = if is_64 { 2 } else { 1 };
    let order = if btf.endian() == Endian::Little { 1 } else { 2 };
    header.out.extend([0x7f, b'E', b'L', b'F', class, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    header.half(ET_REL.0);
    header.half(EM_NONE.0);
    header.word(u32::from(EV_CURRENT.0));
    header.wide(0); // entry point
    header.wide(0); // program headers
    header.wide(table);
    header.word(0); // flags
    for half in [header_size, 0, 0, entry_size, sections.len() + 1, sections.len()] {
        header.half(u16::try_from(half).unwrap_or(0));
    }
    debug_assert_eq!(header.out.len(), header_size);
    elf.out[..header_size].copy_from_slice(&header.out);
    Ok(elf.out)
}
