//! DWARF's strings as names of the pool, remembered so that each is looked up seldom.

use btf::dedup::{Name, Pool};

use super::form::Value;

/// The sections that hold strings, and the place of this unit's indices into them.
#[derive(Clone, Copy)]
pub(crate) struct StringSections<'a> {
    /// `.debug_str`.
    pub(crate) str: &'a [u8],
    /// `.debug_line_str`.
    pub(crate) line_str: &'a [u8],
    /// `.debug_str_offsets`.
    pub(crate) str_offsets: &'a [u8],
}

/// A direct-mapped cache from places of strings to names. Header files make the same strings come up in every unit; a table that fits
/// the processor's cache answers nearly all of them, and a miss costs one look-up in the pool.
pub(crate) struct Names {
    by_offset: Vec<(u32, Name)>,
    short: Vec<(u32, Name)>,
}

const OFFSET_BITS: u32 = 17;
const SHORT_BITS: u32 = 12;
/// No string starts here: not a valid offset in a section of less than 4 GiB, nor a packed string without a zero byte.
const EMPTY: u32 = u32::MAX;

fn slot(key: u32, bits: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

impl Names {
    pub(crate) fn new() -> Names {
        Names {
            by_offset: vec![(EMPTY, Name::EMPTY); 1 << OFFSET_BITS],
            short: vec![(EMPTY, Name::EMPTY); 1 << SHORT_BITS],
        }
    }

    /// The name that an attribute's value gives; `None` if it lies outside its section or is no string.
    #[inline]
    pub(crate) fn get(
        &mut self,
        pool: &Pool,
        sections: &StringSections<'_>,
        str_offset: impl FnOnce(u64) -> Option<u64>,
        value: Value<'_>,
    ) -> Option<Name> {
        match value {
            Value::Str(offset) => self.at(pool, sections.str, offset),
            Value::Inline(bytes) => Some(self.inline(pool, bytes)),
            Value::StrIndex(index) => self.at(pool, sections.str, str_offset(index)?),
            Value::LineStr(offset) => {
                Some(pool.name(sections.line_str.get(usize::try_from(offset).ok()?..)?))
            }
            _ => None,
        }
    }

    #[inline]
    fn at(&mut self, pool: &Pool, section: &[u8], offset: u64) -> Option<Name> {
        let key = u32::try_from(offset).ok().filter(|&key| key != EMPTY)?;
        let entry = &mut self.by_offset[slot(key, OFFSET_BITS)];
        if entry.0 != key {
            let bytes = section.get(key as usize..)?;
            let len = bytes.iter().position(|&byte| byte == 0)?;
            *entry = (key, pool.name(&bytes[..len]));
        }
        Some(entry.1)
    }

    #[inline]
    fn inline(&mut self, pool: &Pool, bytes: &[u8]) -> Name {
        let key = match *bytes {
            [] => return Name::EMPTY,
            [a] => u32::from(a),
            [a, b] => u32::from_le_bytes([a, b, 0, 0]),
            [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
            _ => return pool.name(bytes),
        };
        let entry = &mut self.short[slot(key, SHORT_BITS)];
        if entry.0 != key {
            *entry = (key, pool.name(bytes));
        }
        entry.1
    }
}
