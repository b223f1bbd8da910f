//! The `.BTF.ext` section of a BPF object: relocations, and which function and source line each instruction belongs to.
//!
//! The format is `struct btf_ext_header` of libbpf: a header with the places of three tables (functions, lines, relocations). Each table is a record
//! size followed by one group of records per ELF section. Headers may be shorter (before CO-RE) or longer than known, and records longer.

use btf::{Endian, MAGIC, StrOffset};

use crate::error::{Error, Result};

/// Length of `struct bpf_core_relo`.
const RELOCATION_LEN: u32 = 16;
/// Length of the header up to and with the place of the relocations.
const HEADER_LEN: usize = 32;
/// Length of the header before CO-RE: up to and with the place of the lines.
const SHORT_HEADER_LEN: usize = 24;

/// The tables of a `.BTF.ext` section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ext<'a> {
    pub(crate) endian: Endian,
    /// `struct bpf_func_info`: instruction offset, type id of the FUNC.
    pub(crate) functions: Table<'a>,
    /// `struct bpf_line_info`: instruction offset, file name, line's text, line << 10 | column.
    pub(crate) lines: Table<'a>,
    /// `struct bpf_core_relo`: instruction offset, type id, access string, kind.
    pub(crate) relocations: Table<'a>,
}

/// One table: its bytes, with the record size in front, and where they start in the section.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Table<'a> {
    bytes: &'a [u8],
    offset: usize,
    record_len: u32,
}

/// The records of one table that belong to one ELF section.
pub(crate) struct Group<'a> {
    /// Name of the ELF section, in the object's `.BTF` strings.
    pub(crate) section: StrOffset,
    records: &'a [u8],
    record_len: usize,
    endian: Endian,
}

impl<'a> Ext<'a> {
    pub(crate) fn parse(data: &'a [u8]) -> Result<Ext<'a>> {
        let fail = |offset: u64, reason: &str| Error::Ext { offset, reason: reason.into() };
        let truncated = || {
            let have = data.len();
            Error::Ext { offset: 0, reason: format!("the header needs at least 8 bytes, {have} are left") }
        };
        let endian = match Endian::Little.u16_at(data, 0).ok_or_else(truncated)? {
            MAGIC => Endian::Little,
            swapped if swapped.swap_bytes() == MAGIC => Endian::Big,
            found => {
                return Err(fail(0, &format!("magic is 0x{found:04x}, not 0xeb9f in either byte order")));
            }
        };
        let word = |at| endian.u32_at(data, at).ok_or_else(truncated);
        let header_len = word(4)? as usize;
        match data[2..4] {
            [1, 0] => {}
            [1, flags] => return Err(fail(3, &format!("header flags 0x{flags:02x} are unknown"))),
            [version, _] => return Err(fail(2, &format!("version {version} is unknown"))),
            _ => return Err(truncated()),
        }
        if header_len < SHORT_HEADER_LEN || header_len > data.len() {
            let have = data.len();
            let reason =
                format!("a header of {header_len} bytes does not fit (at least 24, {have} are left)");
            return Err(fail(4, &reason));
        }
        let table = |at: usize, record_len| {
            if at + 8 > header_len {
                return Ok(Table::default());
            }
            Table::parse(data, endian, header_len, (word(at)?, word(at + 4)?), record_len)
        };
        Ok(Ext {
            endian,
            functions: table(8, 8)?,
            lines: table(16, 16)?,
            relocations: table(HEADER_LEN - 8, RELOCATION_LEN)?,
        })
    }
}

impl<'a> Table<'a> {
    fn parse(
        data: &'a [u8],
        endian: Endian,
        header_len: usize,
        (offset, len): (u32, u32),
        least_record_len: u32,
    ) -> Result<Table<'a>> {
        if len == 0 {
            return Ok(Table::default());
        }
        let start = header_len as u64 + u64::from(offset);
        let fail = |reason: String| Error::Ext { offset: start, reason };
        if !offset.is_multiple_of(4) {
            return Err(fail("a table is not aligned to 4 bytes".into()));
        }
        let end = start + u64::from(len);
        if end > data.len() as u64 {
            return Err(fail(format!("a table of {len} bytes reaches past the end of the section")));
        }
        let bytes = &data[start as usize..end as usize];
        let record_len =
            endian.u32_at(bytes, 0).ok_or_else(|| fail("a table without a record size".into()))?;
        if record_len < least_record_len || !record_len.is_multiple_of(4) {
            return Err(fail(format!(
                "records of {record_len} bytes (at least {least_record_len}, and a multiple of 4)"
            )));
        }
        Ok(Table { bytes, offset: start as usize, record_len })
    }

    /// The groups of records, one per ELF section. Ends after the first error.
    pub(crate) fn groups(self, endian: Endian) -> impl Iterator<Item = Result<Group<'a>>> {
        let mut at = 4;
        std::iter::from_fn(move || {
            if at >= self.bytes.len() {
                return None;
            }
            let group = self.group(endian, at);
            at = match &group {
                Ok(group) => at + 8 + group.records.len(),
                Err(_) => self.bytes.len(),
            };
            Some(group)
        })
    }

    fn group(self, endian: Endian, at: usize) -> Result<Group<'a>> {
        let fail = |reason: String| Error::Ext { offset: (self.offset + at) as u64, reason };
        let left = &self.bytes[at..];
        let (Some(section), Some(count)) = (endian.u32_at(left, 0), endian.u32_at(left, 4)) else {
            return Err(fail(format!("the records of a section need 8 bytes, {} are left", left.len())));
        };
        if count == 0 {
            return Err(fail("a section without records".into()));
        }
        let len = u64::from(count) * u64::from(self.record_len);
        if len > (left.len() - 8) as u64 {
            return Err(fail(format!(
                "{count} records of {} bytes reach past the end of their table",
                self.record_len
            )));
        }
        let records = &left[8..8 + len as usize];
        Ok(Group { section: StrOffset(section), records, record_len: self.record_len as usize, endian })
    }
}

impl Group<'_> {
    /// The first words of each record, as many as are known.
    pub(crate) fn records<const WORDS: usize>(&self) -> impl ExactSizeIterator<Item = [u32; WORDS]> {
        self.records
            .chunks_exact(self.record_len)
            .map(|record| std::array::from_fn(|word| self.endian.u32_at(record, word * 4).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section with one relocation, with records of `record_len` bytes behind a header of `header_len`.
    fn section(header_len: u32, record_len: u32) -> Vec<u8> {
        let mut data = vec![0x9f, 0xeb, 1, 0];
        let records = 4 + 8 + record_len;
        let header = [header_len, 0, 0, 0, 0, 0, records];
        data.extend(header.iter().flat_map(|word| word.to_le_bytes()));
        data.resize(header_len as usize, 0);
        let mut words = vec![record_len, 7, 1, 8, 1, 2, 3];
        words.resize(3 + record_len as usize / 4, 0);
        data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        data
    }

    fn relocations(data: &[u8]) -> Result<Vec<[u32; 4]>> {
        let ext = Ext::parse(data)?;
        let groups = ext.relocations.groups(ext.endian).collect::<Result<Vec<_>>>()?;
        Ok(groups.iter().flat_map(Group::records).collect())
    }

    /// Check that longer headers and records than known are read.
    #[test]
    fn longer_than_known() {
        for (header_len, record_len) in [(32, 16), (40, 16), (32, 24)] {
            assert_eq!(relocations(&section(header_len, record_len)), Ok(vec![[8, 1, 2, 3]]));
        }
    }

    /// Check that headers from before CO-RE have no relocations.
    #[test]
    fn header_without_relocations() {
        let mut data = section(32, 16);
        data[4] = 24;
        assert_eq!(relocations(&data), Ok(vec![]));
    }

    /// Check that each truncation, and a wrong magic, version, record size or count, is refused with its offset.
    #[test]
    fn damaged() {
        let good = section(32, 16);
        for len in 0..good.len() {
            assert!(relocations(&good[..len]).is_err(), "{len} bytes were accepted");
        }
        for (at, value, offset) in
            [(0, 0, 0), (2, 2, 2), (3, 1, 3), (4, 8, 4), (32, 12, 32), (32, 18, 32), (40, 0, 36), (40, 2, 36)]
        {
            let mut bad = good.clone();
            bad[at] = value;
            match relocations(&bad) {
                Err(Error::Ext { offset: found, .. }) => assert_eq!(found, offset, "byte {at} = {value}"),
                other => panic!("byte {at} = {value}: {other:?}"),
            }
        }
    }
}
