//! The symbol table.

use super::image::{Class, ElfError, Fields, Image};

/// A named symbol.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Value: an address, in linked files.
    pub value: u64,
    /// Size in bytes.
    pub size: u64,
    /// Index of the section that it is in.
    pub section: u16,
    /// `STT_*`.
    pub kind: u8,
}

impl Symbol<'_> {
    /// `STT_OBJECT`.
    pub const OBJECT: u8 = 1;
    /// `STT_FUNC`.
    pub const FUNC: u8 = 2;
}

const SHT_SYMTAB: u32 = 2;
/// The symbol table of a big kernel has some ten megabytes.
const MAX_TABLE: u64 = 1 << 30;

impl Image<'_> {
    /// Calls `visit` with each named symbol of the symbol table (`SHT_SYMTAB`), in its order. A stripped file has none.
    pub fn visit_symbols(&self, mut visit: impl FnMut(Symbol<'_>)) -> Result<(), ElfError> {
        let Some(table) = self.sections.iter().find(|section| section.kind == SHT_SYMTAB) else {
            return Ok(());
        };
        let Some(strings) = self.sections.get(table.link as usize) else { return Ok(()) };
        let entries = self.data_of(table, MAX_TABLE)?;
        let strings = self.data_of(strings, MAX_TABLE)?;
        let entry_size = if self.class == Class::Elf64 { 24 } else { 16 };
        for entry in entries.chunks_exact(entry_size) {
            let fields = Fields { bytes: entry, class: self.class, endian: self.endian };
            let (value, size, info, section) = match self.class {
                Class::Elf64 => (fields.u64(8), fields.u64(16), entry[4], fields.half(6)),
                Class::Elf32 => (fields.u32(4).into(), fields.u32(8).into(), entry[12], fields.half(14)),
            };
            let tail = strings.get(fields.u32(0) as usize..).unwrap_or_default();
            let name = tail.split(|&byte| byte == 0).next().unwrap_or_default();
            if !name.is_empty() {
                visit(Symbol { name, value, size, section, kind: info & 0xf });
            }
        }
        Ok(())
    }
}
