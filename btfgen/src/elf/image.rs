//! The ELF header, the table of sections, and the data of a section.

use std::borrow::Cow;
use std::io;

use btf::Endian;
use btf_archive::BuildId;

use super::read_at::ReadAt;
use super::{compressed, relocate};

/// Word size of an ELF file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// 32-bit (`ELFCLASS32`).
    Elf32,
    /// 64-bit (`ELFCLASS64`).
    Elf64,
}

impl Class {
    /// Size of an address in bytes.
    pub fn address_size(self) -> u8 {
        match self {
            Class::Elf32 => 4,
            Class::Elf64 => 8,
        }
    }
}

/// Why an ELF file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// The file does not start like an ELF file.
    #[error("not an ELF file: it starts with {0:02x?}")]
    Magic(Vec<u8>),
    /// A field of the header has a value that is not in the specification.
    #[error("ELF header: {what} is {value}, which is unknown")]
    Header {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// Bytes that the file should have could not be read.
    #[error("{what} at offset 0x{offset:x} ({len} bytes) cannot be read")]
    Read {
        /// What lies there.
        what: String,
        /// Offset in the file, in bytes.
        offset: u64,
        /// Length in bytes.
        len: u64,
        /// Why not; [`io::ErrorKind::UnexpectedEof`] for a truncated file.
        why: io::Error,
    },
    /// A section of an object file that cannot be relocated.
    #[error("relocating section {section}: {reason}")]
    Relocation {
        /// The section's name.
        section: String,
        /// What is wrong.
        reason: String,
    },
    /// A section that is too large, or compressed and cannot be decompressed.
    #[error("section {section} at offset 0x{offset:x}: {reason}")]
    Section {
        /// The section's name.
        section: String,
        /// Its offset in the file, in bytes.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// An entry of the table of sections.
#[derive(Clone, Debug)]
pub struct Section {
    /// The name, with bytes that are not UTF-8 replaced.
    pub name: String,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// Address in memory.
    pub address: u64,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Size in bytes; in the file, unless it is `SHT_NOBITS`.
    pub size: u64,
    /// `sh_link`.
    pub link: u32,
    /// `sh_info`.
    pub info: u32,
}

const SHT_NOTE: u32 = 7;
const SHT_NOBITS: u32 = 8;
const SHF_COMPRESSED: u64 = 0x800;
/// `ET_REL`: an object file, such as a kernel module.
const ET_REL: u16 = 1;
/// More sections than a kernel or module has; what claims more is damaged.
const MAX_SECTIONS: u64 = 1 << 20;

/// A compressed section may be this many times as large as its bytes, and [`MAX_SMALL`] more. zlib and zstd could hide far more in little.
const MAX_RATIO: u64 = 64;
/// Size in bytes that a small compressed section may have.
const MAX_SMALL: u64 = 32 << 20;

/// An ELF file's table of sections, over bytes kept anywhere.
pub struct Image<'d> {
    data: &'d dyn ReadAt,
    /// 32 or 64 bit.
    pub class: Class,
    /// Byte order.
    pub endian: Endian,
    /// `e_type`.
    pub kind: u16,
    /// `e_machine`.
    pub machine: u16,
    /// The sections, the null section 0 included.
    pub sections: Vec<Section>,
}

impl<'d> Image<'d> {
    /// Says that hardly anything of the file will be read any more.
    pub(crate) fn release(&self) {
        self.data.release();
    }

    /// Reads the header and the table of sections.
    pub fn parse(data: &'d dyn ReadAt) -> Result<Image<'d>, ElfError> {
        let ident = read(data, "the ELF header", 0, data.len().min(16))?;
        let [0x7f, b'E', b'L', b'F', class, order, ..] = *ident else {
            return Err(ElfError::Magic(ident[..ident.len().min(4)].to_vec()));
        };
        let class = match class {
            1 => Class::Elf32,
            2 => Class::Elf64,
            class => return Err(ElfError::Header { what: "the class", value: class.into() }),
        };
        let endian = match order {
            1 => Endian::Little,
            2 => Endian::Big,
            order => return Err(ElfError::Header { what: "the byte order", value: order.into() }),
        };
        let header_len = if class == Class::Elf64 { 64 } else { 52 };
        let header = read(data, "the ELF header", 0, header_len)?;
        let fields = Fields { bytes: &header, class, endian };
        let (table, entry_size, count, names) = match class {
            Class::Elf64 => (fields.word(40), fields.half(58), fields.half(60), fields.half(62)),
            Class::Elf32 => (fields.word(32), fields.half(46), fields.half(48), fields.half(50)),
        };
        let mut image = Image {
            data,
            class,
            endian,
            kind: fields.half(16),
            machine: fields.half(18),
            sections: Vec::new(),
        };
        if table != 0 {
            image.read_sections(table, entry_size, count, names)?;
        }
        Ok(image)
    }

    /// Whether this is an object file whose debug sections are still to be relocated, such as a kernel module.
    pub fn is_relocatable(&self) -> bool {
        self.kind == ET_REL
    }

    fn read_sections(&mut self, table: u64, entry_size: u16, count: u16, names: u16) -> Result<(), ElfError> {
        let least = if self.class == Class::Elf64 { 64 } else { 40 };
        if entry_size < least {
            return Err(ElfError::Header { what: "the size of a section header", value: entry_size.into() });
        }
        let first = read(self.data, "section header 0", table, entry_size.into())?;
        let null = self.section(&first);
        // More than 65279 sections: the numbers are in section 0.
        let count = if count == 0 { null.size } else { count.into() };
        let names = if names == u16::MAX { null.link as usize } else { names.into() };
        if count > MAX_SECTIONS {
            return Err(ElfError::Header { what: "the number of sections", value: count });
        }
        let headers = read(self.data, "the table of sections", table, count * u64::from(entry_size))?;
        let mut sections: Vec<Section> =
            headers.chunks_exact(entry_size.into()).map(|header| self.section(header)).collect();
        if let Some(table) = sections.get(names).filter(|table| table.kind != SHT_NOBITS) {
            let strings = read(self.data, "the table of section names", table.offset, table.size)?;
            let offsets = headers.chunks_exact(entry_size.into()).map(|header| self.endian.u32_at(header, 0));
            for (section, offset) in sections.iter_mut().zip(offsets) {
                let tail = offset.and_then(|offset| strings.get(offset as usize..)).unwrap_or_default();
                let name = tail.split(|&byte| byte == 0).next().unwrap_or_default();
                section.name = String::from_utf8_lossy(name).into_owned();
            }
        }
        self.sections = sections;
        Ok(())
    }

    /// A section header, without its name.
    fn section(&self, header: &[u8]) -> Section {
        let fields = Fields { bytes: header, class: self.class, endian: self.endian };
        let wide = self.class == Class::Elf64;
        let at = |wide_at: usize, at: usize| if wide { wide_at } else { at };
        Section {
            name: String::new(),
            kind: fields.u32(4),
            flags: fields.word(8),
            address: fields.word(at(16, 12)),
            offset: fields.word(at(24, 16)),
            size: fields.word(at(32, 20)),
            link: fields.u32(at(40, 24)),
            info: fields.u32(at(44, 28)),
        }
    }

    /// The first section of this name that has bytes in the file.
    pub fn section_named(&self, name: &str) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.name == name && section.kind != SHT_NOBITS && section.size != 0)
    }

    /// A section's bytes, decompressed. `limit` bounds the decompressed size in bytes.
    pub fn data_of(&self, section: &Section, limit: u64) -> Result<Cow<'d, [u8]>, ElfError> {
        if section.kind == SHT_NOBITS {
            return Ok(Cow::Borrowed(&[]));
        }
        let failed = |reason: String| {
            let (section, offset) = (section.name.clone(), section.offset);
            ElfError::Section { section, offset, reason }
        };
        if section.size > limit {
            return Err(failed(format!("its {} bytes are over the limit of {limit}", section.size)));
        }
        let bytes = read(self.data, &format!("section {}", section.name), section.offset, section.size)?;
        let limit = limit.min(section.size.saturating_mul(MAX_RATIO).saturating_add(MAX_SMALL));
        if section.flags & SHF_COMPRESSED != 0 {
            return compressed::elf(&bytes, self.class, self.endian, limit).map(Cow::Owned).map_err(failed);
        }
        if section.name.starts_with(".zdebug") {
            return compressed::gnu(&bytes, limit).map(Cow::Owned).map_err(failed);
        }
        Ok(bytes)
    }

    /// Whether there is a debug section of this name, without the leading `.debug_`, that has bytes.
    pub fn has_debug_section(&self, name: &str) -> bool {
        self.debug_sections(name).next().is_some()
    }

    /// Indices of the sections that [`Image::debug_section`] means.
    fn debug_sections(&self, name: &str) -> impl Iterator<Item = usize> + use<> {
        let names = [format!(".debug_{name}"), format!(".zdebug_{name}")];
        let found = |section: &Section| {
            names.contains(&section.name) && section.kind != SHT_NOBITS && section.size != 0
        };
        let all: Vec<usize> = (0..self.sections.len()).filter(|&at| found(&self.sections[at])).collect();
        all.into_iter()
    }

    /// The bytes of a debug section by its name without the leading `.debug_`: `info`, `str`, …; decompressed, and relocated in
    /// object files. `None` if there is none.
    pub fn debug_section(&self, name: &str, limit: u64) -> Result<Option<Cow<'d, [u8]>>, ElfError> {
        let mut all = self.debug_sections(name);
        let Some(first) = all.next() else { return Ok(None) };
        if !self.is_relocatable() {
            return self.data_of(&self.sections[first], limit).map(Some);
        }
        let mut bytes = relocate::apply(self, first, self.data_of(&self.sections[first], limit)?)?;
        // Each type unit of an object file has a section of its own.
        for index in all {
            let section = &self.sections[index];
            let more = relocate::apply(self, index, self.data_of(section, limit)?)?;
            // Sections that lie in the same bytes would make much of little.
            if (bytes.len() + more.len()) as u64 > limit.min(self.data.len().saturating_add(MAX_SMALL)) {
                let (section, offset) = (section.name.clone(), section.offset);
                let reason = "with others of its name it is too large".into();
                return Err(ElfError::Section { section, offset, reason });
            }
            bytes.to_mut().extend_from_slice(&more);
        }
        Ok(Some(bytes))
    }

    /// Length of the file in bytes.
    pub(super) fn file_len(&self) -> u64 {
        self.data.len()
    }

    /// The GNU build-id, from the note sections.
    pub fn build_id(&self) -> Option<BuildId> {
        /// A note section of a kernel has some hundred bytes.
        const MAX_NOTES: u64 = 1 << 20;
        let notes =
            self.sections.iter().filter(|section| section.kind == SHT_NOTE && section.size <= MAX_NOTES);
        notes
            .filter_map(|section| self.data_of(section, MAX_NOTES).ok())
            .find_map(|bytes| BuildId::from_notes(&bytes).ok().flatten())
    }
}

fn read<'d>(data: &'d dyn ReadAt, what: &str, offset: u64, len: u64) -> Result<Cow<'d, [u8]>, ElfError> {
    let failed = |why| ElfError::Read { what: what.into(), offset, len, why };
    if offset.checked_add(len).is_none_or(|end| end > data.len()) {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    let len = usize::try_from(len).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    data.read_at(offset, len).map_err(failed)
}

/// Fields of a header whose length was checked; what lies past it reads as 0.
pub(super) struct Fields<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) class: Class,
    pub(super) endian: Endian,
}

impl Fields<'_> {
    pub(super) fn half(&self, at: usize) -> u16 {
        self.endian.u16_at(self.bytes, at).unwrap_or(0)
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        self.endian.u32_at(self.bytes, at).unwrap_or(0)
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        let (first, second) = (u64::from(self.u32(at)), u64::from(self.u32(at + 4)));
        match self.endian {
            Endian::Little => second << 32 | first,
            Endian::Big => first << 32 | second,
        }
    }

    /// A field of 8 bytes in 64-bit files and of 4 in 32-bit ones.
    pub(super) fn word(&self, at: usize) -> u64 {
        match self.class {
            Class::Elf64 => self.u64(at),
            Class::Elf32 => self.u32(at).into(),
        }
    }
}
