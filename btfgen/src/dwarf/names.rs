//! DWARF's strings as names of the pool, remembered so that each is looked up seldom.

use std::hash::{BuildHasher, RandomState};

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

/// The names of strings met before. Header files make the same strings come up in every unit; each is looked up in the pool once.
pub(crate) struct Names {
    by_offset: ByKey,
    /// Strings of up to three bytes, which stand in DIEs, by their bytes.
    short: ByKey,
}

impl Names {
    pub(crate) fn new() -> Names {
        Names { by_offset: ByKey::new(), short: ByKey::new() }
    }

    /// The name that an attribute's value gives; `None` if it lies outside its section or is no string.
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

    /// The name of the string at an offset of `.debug_str`.
    #[inline]
    pub(crate) fn at(&mut self, pool: &Pool, section: &[u8], offset: u64) -> Option<Found> {
        let key = u32::try_from(offset).ok().filter(|&key| key != NO_KEY)?;
        match self.by_offset.get(key) {
            Some(name) => Some(name.into()),
            None => Some(self.by_offset.add(key, Found::new(pool, string_at(section, offset)?))),
        }
    }

    /// The name of a string that stands in a DIE.
    #[inline]
    pub(crate) fn inline(&mut self, pool: &Pool, bytes: &[u8]) -> Found {
        let key = match *bytes {
            [] => return Found::default(),
            [a] => u32::from(a),
            [a, b] => u32::from_le_bytes([a, b, 0, 0]),
            [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
            _ => return Found::new(pool, bytes),
        };
        match self.short.get(key) {
            Some(name) => name.into(),
            None => self.short.add(key, Found::new(pool, bytes)),
        }
    }
}

impl From<Name> for Found {
    #[inline]
    fn from(name: Name) -> Self {
        Found { name, identifier: name }
    }
}

/// A hash table made for this: what is asked for is nearly always there, and an entry is in one cache line with those after it.
struct ByKey {
    entries: Vec<(u32, Name)>,
    len: usize,
    shift: u32,
    /// Odd, and another in each table: nobody can make a file whose offsets all want the same place.
    factor: u32,
}

/// No string starts here: not a valid offset in a section of less than 4 GiB, nor a packed string without a zero byte.
const NO_KEY: u32 = u32::MAX;
const FIRST_BITS: u32 = 8;

impl ByKey {
    fn new() -> ByKey {
        let factor = RandomState::new().hash_one(0) as u32 | 1;
        let entries = vec![(NO_KEY, Name::EMPTY); 1 << FIRST_BITS];
        ByKey { entries, len: 0, shift: 32 - FIRST_BITS, factor }
    }

    /// Where a key is or would be: at the first place from its own on that holds it or nothing.
    #[inline]
    fn place(&self, key: u32) -> usize {
        let mask = self.entries.len() - 1;
        let mut place = (key.wrapping_mul(self.factor) >> self.shift) as usize;
        while self.entries[place & mask].0 != key && self.entries[place & mask].0 != NO_KEY {
            place += 1;
        }
        place & mask
    }

    #[inline]
    fn get(&self, key: u32) -> Option<Name> {
        let (known, name) = self.entries[self.place(key)];
        (known == key).then_some(name)
    }

    /// Keeps a name, unless it is one that must be counted each time because BTF does not allow it.
    #[cold]
    fn add(&mut self, key: u32, found: Found) -> Found {
        if found.name != found.identifier {
            return found;
        }
        // Half of the places stay empty, so that searches are short.
        if self.len * 2 >= self.entries.len() && self.shift > 1 {
            let twice = vec![(NO_KEY, Name::EMPTY); self.entries.len() * 2];
            let before = std::mem::replace(&mut self.entries, twice);
            self.shift -= 1;
            for entry in before.into_iter().filter(|entry| entry.0 != NO_KEY) {
                let place = self.place(entry.0);
                self.entries[place] = entry;
            }
        }
        let place = self.place(key);
        self.entries[place] = (key, found.name);
        self.len += 1;
        found
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

    /// Check that every key keeps its name while the table grows.
    #[test]
    fn many_keys() {
        let mut names = ByKey::new();
        let pool = Pool::new();
        let name = |key: u32| Found::from(pool.name(key.to_string().as_bytes()));
        let keys = (0..100_000u32).map(|key| key.wrapping_mul(0x0100_0193) >> 3).filter(|&key| key != NO_KEY);
        for key in keys.clone() {
            if names.get(key).is_none() {
                names.add(key, name(key));
            }
        }
        assert!(keys.clone().all(|key| names.get(key) == Some(name(key).name)));
        assert!(names.get(NO_KEY - 1).is_none() && names.len * 2 <= names.entries.len());
    }

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
