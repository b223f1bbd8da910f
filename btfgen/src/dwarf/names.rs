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

impl<'a> StringSections<'a> {
    /// The bytes of a string, cut where names are.
    pub(crate) fn text(
        &self,
        str_offset: impl FnOnce(u64) -> Option<u64>,
        value: Value<'a>,
    ) -> Option<&'a [u8]> {
        match value {
            Value::Inline(bytes) => Some(bytes),
            Value::Str(offset) => string_at(self.str, offset),
            Value::StrIndex(index) => string_at(self.str, str_offset(index)?),
            Value::LineStr(offset) => string_at(self.line_str, offset),
            _ => None,
        }
    }
}

/// A string of DWARF.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Found {
    /// As it is; that is right for INT and FLOAT.
    pub(crate) name: Name,
    /// As all other kinds may have it: a C identifier of ASCII letters. What is not allowed is replaced by underscores.
    pub(crate) identifier: Name,
}

impl Found {
    fn new(pool: &Pool, bytes: &[u8]) -> Found {
        let bytes = &bytes[..bytes.len().min(MAX_LEN)];
        let name = pool.name(bytes);
        let allowed = |at: usize, byte: u8| {
            byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.') || byte.is_ascii_digit() && at > 0
        };
        let mut pairs = bytes.iter().copied().enumerate();
        if pairs.clone().all(|(at, byte)| allowed(at, byte)) {
            return Found { name, identifier: name };
        }
        let replaced: Vec<u8> =
            pairs.by_ref().map(|(at, byte)| if allowed(at, byte) { byte } else { b'_' }).collect();
        Found { name, identifier: pool.name(&replaced) }
    }
}

/// The longest name in bytes that the kernel takes (`KSYM_NAME_LEN` with its zero byte, since Linux 6.1); longer ones are cut. That
/// also bounds what is read and kept: strings may end in each other, so that a small section could hold very many very long ones.
const MAX_LEN: usize = 511;

/// A direct-mapped cache from places of strings to names. Header files make the same strings come up in every unit; a table that fits
/// the processor's cache answers nearly all of them, and a miss costs one look-up in the pool.
pub(crate) struct Names {
    by_offset: Vec<(u32, Found)>,
    short: Vec<(u32, Found)>,
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
            by_offset: vec![(EMPTY, Found::default()); 1 << OFFSET_BITS],
            short: vec![(EMPTY, Found::default()); 1 << SHORT_BITS],
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
    ) -> Option<Found> {
        match value {
            Value::Str(offset) => self.at(pool, sections.str, offset),
            Value::Inline(bytes) => Some(self.inline(pool, bytes)),
            Value::StrIndex(index) => self.at(pool, sections.str, str_offset(index)?),
            Value::LineStr(offset) => Some(Found::new(pool, string_at(sections.line_str, offset)?)),
            _ => None,
        }
    }

    #[inline]
    fn at(&mut self, pool: &Pool, section: &[u8], offset: u64) -> Option<Found> {
        let key = u32::try_from(offset).ok().filter(|&key| key != EMPTY)?;
        let entry = &mut self.by_offset[slot(key, OFFSET_BITS)];
        if entry.0 != key {
            *entry = (key, Found::new(pool, string_at(section, offset)?));
        }
        Some(entry.1)
    }

    #[inline]
    fn inline(&mut self, pool: &Pool, bytes: &[u8]) -> Found {
        let key = match *bytes {
            [] => return Found::default(),
            [a] => u32::from(a),
            [a, b] => u32::from_le_bytes([a, b, 0, 0]),
            [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
            _ => return Found::new(pool, bytes),
        };
        let entry = &mut self.short[slot(key, SHORT_BITS)];
        if entry.0 != key {
            *entry = (key, Found::new(pool, bytes));
        }
        entry.1
    }
}

/// The string at an offset up to its zero byte, or as much of it as can be kept.
fn string_at(section: &[u8], offset: u64) -> Option<&[u8]> {
    let tail = section.get(usize::try_from(offset).ok()?..)?;
    let window = &tail[..tail.len().min(MAX_LEN + 1)];
    match window.iter().position(|&byte| byte == 0) {
        Some(len) => Some(&window[..len]),
        None => (window.len() > MAX_LEN).then_some(window),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that names which BTF does not allow are replaced, and that long ones are cut wherever they stand.
    #[test]
    fn identifiers() {
        let pool = Pool::new();
        let found = |bytes: &[u8]| Found::new(&pool, bytes);
        assert_eq!(found(b"a_1.b").identifier, found(b"a_1.b").name);
        assert_eq!(found(b"1 a").identifier, pool.name(b"__a"));
        assert_eq!(found(b"long unsigned int").name, pool.name(b"long unsigned int"));
        let long = [b'x'; 600];
        assert_eq!(found(&long).identifier, pool.name(&long[..511]));
        assert_eq!(string_at(&long, 0).map(<[u8]>::len), Some(512));
        assert_eq!(string_at(&long, 200), None, "no zero byte ends it");
        assert_eq!(string_at(b"ab\0", 1), Some(b"b".as_slice()));
    }
}
