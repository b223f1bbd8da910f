//! DWARF's strings as names of the pool, remembered so that each is looked up seldom.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
    /// `.debug_str` of the supplementary file, if there is one.
    pub(crate) supplementary: Option<&'a [u8]>,
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
            Value::SupplementaryStr(offset) => string_at(self.supplementary?, offset),
            _ => None,
        }
    }
}

/// A string of DWARF.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
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
        if is_identifier(bytes) {
            return Found { name, identifier: name };
        }
        let replaced: Vec<u8> = bytes
            .iter()
            .enumerate()
            .map(|(at, &byte)| if is_allowed(at, byte) { byte } else { b'_' })
            .collect();
        Found { name, identifier: pool.name(&replaced) }
    }
}

/// Whether a string may name anything but an INT or FLOAT.
fn is_identifier(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(at, &byte)| is_allowed(at, byte))
}

fn is_allowed(at: usize, byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.') || byte.is_ascii_digit() && at > 0
}

/// The longest name in bytes that the kernel takes (`KSYM_NAME_LEN` with its zero byte, since Linux 6.1); longer ones are cut. That
/// also bounds what is read and kept: strings may end in each other, so that a small section could hold very many very long ones.
const MAX_LEN: usize = 511;

/// Bytes of `.debug_str` for each string, at least.
const USUAL_LEN: usize = 12;

/// The names of strings met before. Header files make the same strings come up in every unit; each is looked up in the pool once.
pub(crate) struct Names {
    by_offset: ByKey,
    /// Strings of up to three bytes, which stand in DIEs, by their bytes.
    short: ByKey,
    /// Names of functions, or [`Name::EMPTY`] for those that the pool does not have.
    functions: ByKey,
    /// Those of the supplementary file.
    supplementary: Option<Box<Names>>,
}

/// A name that is looked up only when it is needed: those of most functions, their parameters and variables never are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Text {
    Name(Name),
    /// An offset in `.debug_str`.
    Str(u32),
}

impl Default for Text {
    fn default() -> Self {
        Text::Name(Name::EMPTY)
    }
}

impl Text {
    /// This name, or if there is none the other.
    pub(crate) fn or(self, other: Text) -> Text {
        match self {
            Text::Name(Name::EMPTY) => other,
            _ => self,
        }
    }
}

impl Names {
    /// No names, of a file with a `.debug_str` of this length in bytes.
    pub(crate) fn new(str_len: usize, has_supplementary: bool) -> Names {
        let room = str_len / USUAL_LEN;
        Names {
            by_offset: ByKey::new(room),
            short: ByKey::new(room / 4),
            functions: ByKey::new(room / 4),
            supplementary: has_supplementary.then(|| Box::new(Names::new(str_len, false))),
        }
    }

    /// The names of the supplementary file.
    pub(crate) fn supplementary(&self) -> Option<&Names> {
        self.supplementary.as_deref()
    }

    /// The name that a text is.
    pub(crate) fn look_up(&self, pool: &Pool, section: &[u8], text: Text) -> Name {
        match text {
            Text::Name(name) => name,
            Text::Str(offset) => self.at(pool, section, offset.into()).unwrap_or_default().identifier,
        }
    }

    /// The name that a text is, if the pool has it: [`Name::EMPTY`] otherwise.
    pub(crate) fn find(&self, pool: &Pool, section: &[u8], text: Text) -> Name {
        let offset = match text {
            Text::Name(name) => return name,
            Text::Str(NO_KEY) => return Name::EMPTY,
            Text::Str(offset) => offset,
        };
        if let Some(name) = self.functions.get(offset) {
            return name;
        }
        let string = string_at(section, offset.into()).filter(|string| is_identifier(string));
        let name = string.and_then(|string| pool.find(string)).unwrap_or_default();
        self.functions.keep(offset, name);
        name
    }

    /// The name that an attribute's value gives; `None` if it lies outside its section or is no string.
    pub(crate) fn get(
        &self,
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
            Value::SupplementaryStr(offset) => {
                self.supplementary()?.at(pool, sections.supplementary?, offset)
            }
            _ => None,
        }
    }

    /// The name of the string at an offset of `.debug_str`.
    #[inline]
    pub(crate) fn at(&self, pool: &Pool, section: &[u8], offset: u64) -> Option<Found> {
        let key = u32::try_from(offset).ok().filter(|&key| key != NO_KEY)?;
        match self.by_offset.get(key) {
            Some(name) => Some(name.into()),
            None => Some(self.by_offset.add(key, Found::new(pool, string_at(section, offset)?))),
        }
    }

    /// The name of a string that stands in a DIE.
    #[inline]
    pub(crate) fn inline(&self, pool: &Pool, bytes: &[u8]) -> Found {
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

/// A hash table made for this: what is asked for is nearly always there, an entry is in one cache line with those after it, and all threads
/// read and fill it without waiting. When a level of it is full, a larger one comes after it; what was met first stays in the smallest,
/// which the processor's cache holds.
struct ByKey {
    levels: [OnceLock<Level>; LEVELS],
    /// For how many keys the first level has room.
    room: usize,
    /// Odd, and another in each table: nobody can make a file whose offsets all want the same place.
    factor: u32,
}

/// One of the tables.
struct Level {
    /// A key and its name, or [`NOTHING`].
    entries: Box<[AtomicU64]>,
    /// How many more entries there may be.
    room: AtomicUsize,
    shift: u32,
}

/// No string starts here: not a valid offset in a section of less than 4 GiB, nor a packed string without a zero byte.
const NO_KEY: u32 = u32::MAX;
const NOTHING: u64 = (NO_KEY as u64) << 32;
/// How many levels there may be, and how many times larger each is. What finds no room in the last is looked up each time.
const LEVELS: usize = 3;
const GROWTH: usize = 16;
/// Bounds for the first level's room: all keys of a module, the first and most frequent ones of a kernel.
const LEAST: usize = 1 << 8;
const ALL: usize = 1 << 15;
const FEW: usize = 1 << 13;

impl ByKey {
    /// A table with room for at least so many keys at first.
    fn new(room: usize) -> ByKey {
        let factor = RandomState::new().hash_one(0) as u32 | 1;
        let room = if room > ALL { FEW } else { room.max(LEAST) };
        let table = ByKey { levels: Default::default(), room, factor };
        table.levels[0].get_or_init(|| Level::new(table.room));
        table
    }

    #[inline]
    fn get(&self, key: u32) -> Option<Name> {
        let hash = key.wrapping_mul(self.factor);
        self.levels.iter().map_while(OnceLock::get).find_map(|level| level.get(key, hash))
    }

    /// Keeps a name, unless it is one that must be counted each time because BTF does not allow it.
    #[cold]
    fn add(&self, key: u32, found: Found) -> Found {
        if found.name == found.identifier {
            self.keep(key, found.name);
        }
        found
    }

    fn keep(&self, key: u32, name: Name) {
        let hash = key.wrapping_mul(self.factor);
        let mut room = self.room;
        for level in &self.levels {
            if level.get_or_init(|| Level::new(room)).keep(key, hash, name) {
                break;
            }
            room *= GROWTH;
        }
    }
}

impl Level {
    fn new(room: usize) -> Level {
        let room = room.next_power_of_two();
        // Half of the places stay empty, so that searches are short and end.
        let entries: Box<[AtomicU64]> = (0..room * 2).map(|_| AtomicU64::new(NOTHING)).collect();
        let shift = 32 - entries.len().trailing_zeros();
        Level { entries, room: AtomicUsize::new(room), shift }
    }

    /// The places in which a key may be, from its own on.
    #[inline]
    fn places(&self, hash: u32) -> impl Iterator<Item = &AtomicU64> {
        let first = (hash >> self.shift) as usize;
        let mask = self.entries.len() - 1;
        (first..).map(move |place| &self.entries[place & mask])
    }

    #[inline]
    fn get(&self, key: u32, hash: u32) -> Option<Name> {
        for place in self.places(hash) {
            let entry = place.load(Ordering::Relaxed);
            if (entry >> 32) as u32 == key {
                return Some(Name::from_word(entry as u32));
            }
            if entry == NOTHING {
                return None;
            }
        }
        None
    }

    /// Keeps a name if there is room.
    fn keep(&self, key: u32, hash: u32, name: Name) -> bool {
        let taken = |room: usize| room.checked_sub(1);
        if self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_err() {
            return false;
        }
        let entry = u64::from(key) << 32 | u64::from(name.word());
        for place in self.places(hash) {
            match place.compare_exchange(NOTHING, entry, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                // Another thread was quicker; the pool gave it the same name.
                Err(other) if other == entry => break,
                Err(_) => {}
            }
        }
        true
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

    /// Check that every key keeps its name through all levels, that what finds no room is none the worse, and that threads agree.
    #[test]
    fn many_keys() {
        let names = ByKey::new(1);
        let pool = Pool::new();
        let name = |key: u32| Found::from(pool.name(key.to_string().as_bytes()));
        let keys = |count: u32| (0..count).map(|key| key.wrapping_mul(0x0100_0193) >> 3);
        let kept = (LEAST * GROWTH * 2) as u32;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| keys(kept).for_each(|key| assert_eq!(names.add(key, name(key)), name(key))));
            }
        });
        assert!(keys(kept).all(|key| names.get(key) == Some(name(key).name)));
        keys(100_000).for_each(|key| assert_eq!(names.add(key, name(key)), name(key)));
        assert!(keys(kept).all(|key| names.get(key) == Some(name(key).name)));
        assert!(keys(100_000).all(|key| names.get(key).is_none_or(|found| found == name(key).name)));
        assert!(keys(100_000).any(|key| names.get(key).is_none()), "there is an end to the room");
        assert!(names.get(NO_KEY - 1).is_none());
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
