//! The pool: every distinct name and every distinct type record seen so far, shared by all threads that read units.
//!
//! Records are hash-consed. A record in the pool has the layout of a BTF record, but its names are [`Name`]s and what it refers to are
//! [`GlobalRef`]s, so two records are the same type exactly if their words are equal. Nothing is ever compared by hash alone.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::build::spread;
use crate::error::{Error, Result};
use crate::kind::{Info, Kind};

const SHARD_BITS: u32 = 5;
const SHARDS: usize = 1 << SHARD_BITS;

/// A string of a [`Pool`]; 0 is the empty one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Name(pub(crate) u32);

impl Name {
    /// The empty name, of anonymous types.
    pub const EMPTY: Name = Name(0);

    /// The name for which a word of a unit's record stands.
    pub fn from_word(word: u32) -> Name {
        Name(word)
    }

    /// The word that stands for this name in a unit's records.
    pub fn word(self) -> u32 {
        self.0
    }
}

/// What a pool's record refers to: void, a record of the pool, or a symbol.
///
/// A symbol is "the struct (or union, or enum) of that name". References to named composites and enums go through symbols rather than
/// records, because that is where C types are cyclic, and because a forward declaration means the same symbol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct GlobalRef(pub(crate) u32);

/// What a symbol's definition is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum SymbolKind {
    Struct,
    Union,
    Enum,
}

const SYMBOL: u32 = 1 << 31;
const SYMBOL_KIND_SHIFT: u32 = 29;
const NAME_MASK: u32 = (1 << SYMBOL_KIND_SHIFT) - 1;
/// Records and names are numbered below this, so that a symbol can hold a name beside its kind.
const MAX_LOCAL: u32 = NAME_MASK >> SHARD_BITS;
/// The most bytes of names in a shard. All the names of a kernel are a third of it, and there are 32 shards.
const MAX_NAME_BYTES: usize = if cfg!(test) { 1 << 16 } else { 1 << 24 };

impl GlobalRef {
    pub(crate) const VOID: GlobalRef = GlobalRef(0);

    pub(crate) fn symbol(kind: SymbolKind, name: Name) -> GlobalRef {
        GlobalRef(SYMBOL | (kind as u32) << SYMBOL_KIND_SHIFT | name.0)
    }

    pub(crate) fn is_symbol(self) -> bool {
        self.0 & SYMBOL != 0
    }

    pub(crate) fn is_void(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn symbol_name(self) -> Name {
        Name(self.0 & NAME_MASK)
    }

    pub(crate) fn symbol_kind(self) -> SymbolKind {
        match self.0 >> SYMBOL_KIND_SHIFT & 3 {
            0 => SymbolKind::Struct,
            1 => SymbolKind::Union,
            _ => SymbolKind::Enum,
        }
    }

    /// The symbol that a record with these first words defines or declares, if it is a named composite, enum or FWD.
    #[inline]
    pub(crate) fn symbol_of(name: u32, info: Info) -> Option<GlobalRef> {
        if name == 0 {
            return None;
        }
        let kind = match Kind::from_number(info.kind_number())? {
            Kind::Struct => SymbolKind::Struct,
            Kind::Union => SymbolKind::Union,
            Kind::Fwd if info.kind_flag() => SymbolKind::Union,
            Kind::Fwd => SymbolKind::Struct,
            Kind::Enum | Kind::Enum64 => SymbolKind::Enum,
            _ => return None,
        };
        Some(GlobalRef::symbol(kind, Name(name)))
    }
}

/// Whether a named composite, enum or FWD record only declares its symbol: a FWD, or an enum without enumerators.
#[inline]
pub(crate) fn only_declares(info: Info) -> bool {
    match Kind::from_number(info.kind_number()) {
        Some(Kind::Fwd) => true,
        Some(Kind::Enum | Kind::Enum64) => info.vlen() == 0,
        _ => false,
    }
}

/// Names and records, sharded by hash so that threads seldom meet.
pub struct Pool {
    names: [Mutex<NameShard>; SHARDS],
    records: [Mutex<RecordShard>; SHARDS],
    /// Seeded at random: hostile names and types cannot be chosen to collide.
    hashing: foldhash::fast::RandomState,
    /// Whether something had no place.
    is_full: AtomicBool,
}

#[derive(Default)]
struct NameShard {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// Each name's place and the hash that it was given, so that a growing table need not read names again.
    table: HashTable<(u32, u32)>,
}

#[derive(Default)]
struct RecordShard {
    words: Vec<u32>,
    ends: Vec<u32>,
    table: HashTable<(u32, u32)>,
}

impl NameShard {
    fn get(&self, local: u32) -> &[u8] {
        slice_between(&self.bytes, &self.ends, local)
    }
}

impl RecordShard {
    fn get(&self, local: u32) -> &[u32] {
        slice_between(&self.words, &self.ends, local)
    }
}

fn slice_between<'a, T>(items: &'a [T], ends: &[u32], local: u32) -> &'a [T] {
    let local = local as usize;
    let start = if local == 0 { 0 } else { ends[local - 1] };
    &items[start as usize..ends[local] as usize]
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A shard is only ever appended to, so what a panicking thread left is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[inline]
fn hash_words(hashing: &impl BuildHasher, words: &[u32]) -> u32 {
    let mut hasher = hashing.build_hasher();
    let (pairs, rest) = words.as_chunks::<2>();
    for &[low, high] in pairs {
        hasher.write_u64(u64::from(high) << 32 | u64::from(low));
    }
    for &word in rest {
        hasher.write_u32(word);
    }
    hasher.finish() as u32
}

/// The shard for a hash: bits that the hash tables inside the shards use least.
fn shard_of(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    /// An empty pool.
    pub fn new() -> Pool {
        Pool {
            names: Default::default(),
            records: Default::default(),
            hashing: Default::default(),
            is_full: AtomicBool::new(false),
        }
    }

    /// The hash of a record, by which [`Self::intern`] finds it.
    #[inline]
    pub(super) fn hash(&self, record: &[u32]) -> u32 {
        hash_words(&self.hashing, record)
    }

    fn hash_bytes(&self, bytes: &[u8]) -> u32 {
        self.hashing.hash_one(bytes) as u32
    }

    /// Notes that something has no place in the pool, so that no result can be trusted.
    #[cold]
    fn fill(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }

    /// Whether all had a place in it.
    pub(super) fn check(&mut self) -> Result<()> {
        if *self.is_full.get_mut() { Err(Error::PoolFull) } else { Ok(()) }
    }

    /// Makes room for so many names and records, so that small pools need not grow step by step.
    pub fn reserve(&mut self, names: usize, records: usize) {
        /// What names have in bytes, and records in words, on average in kernels.
        const NAME: usize = 16;
        const RECORD: usize = 6;
        for shard in &mut self.names {
            let NameShard { bytes, ends, table } = shard.get_mut().unwrap_or_else(PoisonError::into_inner);
            let more = names / SHARDS;
            bytes.reserve(more * NAME);
            ends.reserve(more);
            table.reserve(more, |&(_, tag)| spread(tag));
        }
        for shard in &mut self.records {
            let RecordShard { words, ends, table } = shard.get_mut().unwrap_or_else(PoisonError::into_inner);
            let more = records / SHARDS;
            words.reserve(more * RECORD);
            ends.reserve(more);
            table.reserve(more, |&(_, tag)| spread(tag));
        }
    }

    /// The name of these bytes, which end at the first zero byte if they hold one. In a pool that is full it is the empty one.
    pub fn name(&self, bytes: &[u8]) -> Name {
        let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        if bytes.is_empty() {
            return Name::EMPTY;
        }
        let tag = self.hash_bytes(bytes);
        let hash = spread(tag);
        let index = shard_of(hash);
        let mut guard = locked(&self.names[index]);
        let NameShard { bytes: stored, ends, table } = &mut *guard;
        let equal =
            |&(local, other): &(u32, u32)| other == tag && slice_between(stored, ends, local) == bytes;
        let local = match table.entry(hash, equal, |&(_, tag)| spread(tag)) {
            Entry::Occupied(found) => found.get().0,
            Entry::Vacant(slot) => {
                let local = ends.len() as u32;
                if local >= MAX_LOCAL || stored.len() + bytes.len() > MAX_NAME_BYTES {
                    self.fill();
                    return Name::EMPTY;
                }
                slot.insert((local, tag));
                stored.extend_from_slice(bytes);
                ends.push(stored.len() as u32);
                local
            }
        };
        // Plus one, so that no name of any shard is 0.
        Name((local + 1) << SHARD_BITS | index as u32)
    }

    /// The name of these bytes, if it is there.
    pub fn find(&self, bytes: &[u8]) -> Option<Name> {
        let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        let tag = self.hash_bytes(bytes);
        let hash = spread(tag);
        let index = shard_of(hash);
        let shard = locked(&self.names[index]);
        let equal = |&(local, other): &(u32, u32)| other == tag && shard.get(local) == bytes;
        let &(local, _) = shard.table.find(hash, equal)?;
        Some(Name((local + 1) << SHARD_BITS | index as u32))
    }

    /// The reference to this record, which is added if it is new; `tag` is its [`Self::hash`]. Its names are [`Name`]s and its references [`GlobalRef`]s.
    #[inline]
    pub(crate) fn intern(&self, record: &[u32], tag: u32) -> GlobalRef {
        let hash = spread(tag);
        let index = shard_of(hash);
        let mut guard = locked(&self.records[index]);
        let RecordShard { words, ends, table } = &mut *guard;
        let equal =
            |&(local, other): &(u32, u32)| other == tag && slice_between(words, ends, local) == record;
        let local = match table.entry(hash, equal, |&(_, tag)| spread(tag)) {
            Entry::Occupied(found) => found.get().0,
            Entry::Vacant(slot) => {
                let local = ends.len() as u32;
                if local >= MAX_LOCAL || words.len() + record.len() > u32::MAX as usize {
                    self.fill();
                    return GlobalRef::VOID;
                }
                slot.insert((local, tag));
                words.extend_from_slice(record);
                ends.push(words.len() as u32);
                local
            }
        };
        GlobalRef((local + 1) << SHARD_BITS | index as u32)
    }

    /// Calls `visit` with each record and the reference to it. Meanwhile nobody may add any.
    pub(crate) fn visit_records(&self, mut visit: impl FnMut(GlobalRef, &[u32])) {
        for (index, shard) in self.records.iter().enumerate() {
            let shard = locked(shard);
            for local in 0..shard.ends.len() as u32 {
                visit(GlobalRef((local + 1) << SHARD_BITS | index as u32), shard.get(local));
            }
        }
    }

    /// One more than the largest number that a record has in references.
    pub(crate) fn record_numbers(&self) -> usize {
        let longest = self.records.iter().map(|shard| locked(shard).ends.len()).max().unwrap_or(0);
        (longest + 1) << SHARD_BITS
    }

    /// The same content without locks, numbered densely.
    pub(crate) fn freeze(&mut self) -> FrozenPool<'_> {
        fn unlocked<T>(mutex: &mut Mutex<T>) -> &T {
            mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
        }
        let names = self.names.each_mut().map(unlocked);
        let records = self.records.each_mut().map(unlocked);
        let mut first = [0; SHARDS];
        let mut all = Vec::with_capacity(records.iter().map(|shard| shard.ends.len()).sum());
        for (first, shard) in first.iter_mut().zip(&records) {
            *first = all.len() as u32;
            all.extend((0..shard.ends.len() as u32).map(|local| shard.get(local)));
        }
        FrozenPool { names, records, first, all }
    }
}

/// A pool that nothing is added to for now.
pub(crate) struct FrozenPool<'p> {
    names: [&'p NameShard; SHARDS],
    records: [&'p RecordShard; SHARDS],
    /// The dense number of each shard's first record.
    first: [u32; SHARDS],
    /// By dense number.
    all: Vec<&'p [u32]>,
}

impl<'p> FrozenPool<'p> {
    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The dense number, below [`Self::len`], of a reference that is a record.
    #[inline]
    pub(crate) fn dense(&self, reference: GlobalRef) -> usize {
        debug_assert!(!reference.is_symbol() && !reference.is_void());
        let shard = reference.0 as usize % SHARDS;
        (self.first[shard] + (reference.0 >> SHARD_BITS) - 1) as usize
    }

    /// A value for each record, by reference, and `nothing` for void. Asking for it takes less than for the dense number.
    pub(crate) fn by_reference<T: Clone>(&self, nothing: T, of: impl Fn(usize) -> T) -> ByReference<T> {
        let longest = self.records.iter().map(|shard| shard.ends.len()).max().unwrap_or(0);
        let mut values = vec![nothing; (longest + 1) << SHARD_BITS];
        for (shard, (&first, records)) in self.first.iter().zip(&self.records).enumerate() {
            for local in 0..records.ends.len() {
                values[(local + 1) << SHARD_BITS | shard] = of(first as usize + local);
            }
        }
        ByReference(values)
    }

    /// One more than the largest number that a name has.
    pub(crate) fn name_numbers(&self) -> usize {
        let longest = self.names.iter().map(|shard| shard.ends.len()).max().unwrap_or(0);
        (longest + 1) << SHARD_BITS
    }

    /// The record with a dense number.
    pub(crate) fn record(&self, dense: usize) -> &'p [u32] {
        self.all[dense]
    }

    /// All records in the order of their dense numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'p [u32]> {
        self.all.iter().copied()
    }

    /// The bytes of a name.
    pub(crate) fn name(&self, name: Name) -> &'p [u8] {
        match (name.0 >> SHARD_BITS).checked_sub(1) {
            Some(local) => self.names[name.0 as usize % SHARDS].get(local),
            None => &[],
        }
    }
}

/// A value for each record of a pool, and for void.
pub(crate) struct ByReference<T>(Vec<T>);

impl<T> std::ops::Index<GlobalRef> for ByReference<T> {
    type Output = T;

    #[inline]
    fn index(&self, record: GlobalRef) -> &T {
        &self.0[record.0 as usize]
    }
}

impl<T> std::ops::IndexMut<GlobalRef> for ByReference<T> {
    #[inline]
    fn index_mut(&mut self, record: GlobalRef) -> &mut T {
        &mut self.0[record.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that names and records come back as they went in, once each, also across many shards.
    #[test]
    fn pool_round_trip() {
        let mut pool = Pool::new();
        let names: Vec<Name> = (0..5000).map(|n| pool.name(format!("name{n}").as_bytes())).collect();
        let intern = |record: &[u32]| pool.intern(record, pool.hash(record));
        let records: Vec<GlobalRef> = names.iter().map(|name| intern(&[name.0, 8 << 24, 7])).collect();
        assert_eq!(pool.name(b"name77"), names[77]);
        assert_eq!(pool.name(b"name77\0junk"), names[77]);
        assert_eq!(pool.name(b""), Name::EMPTY);
        assert_eq!((pool.find(b"name77"), pool.find(b"name"), pool.find(b"")), (Some(names[77]), None, None));
        assert_eq!(intern(&[names[9].0, 8 << 24, 7]), records[9]);
        let frozen = pool.freeze();
        assert_eq!(frozen.len(), 5000);
        let mut seen = vec![false; 5000];
        for (n, (&name, &record)) in names.iter().zip(&records).enumerate() {
            assert_eq!(frozen.name(name), format!("name{n}").as_bytes());
            let dense = frozen.dense(record);
            assert_eq!(frozen.record(dense), [name.0, 8 << 24, 7]);
            assert_eq!(frozen.iter().nth(dense).unwrap(), frozen.record(dense));
            assert!(!std::mem::replace(&mut seen[dense], true));
        }
    }

    /// Check that a pool that is full says so, and goes on without keeping more.
    #[test]
    fn full_pool() {
        let mut pool = Pool::new();
        let long = |n: u32| [n.to_string().as_bytes(), &[b'x'; 500]].concat();
        let count = SHARDS * MAX_NAME_BYTES / 500;
        assert!((0..count as u32 / 2).all(|n| pool.name(&long(n)) != Name::EMPTY));
        assert_eq!(pool.check(), Ok(()));
        assert!((0..count as u32 * 2).any(|n| pool.name(&long(n)) == Name::EMPTY));
        assert_eq!(pool.finish(&[], &[]).err(), Some(Error::PoolFull));
    }

    /// Check that a symbol keeps its kind and name, and differs from every record.
    #[test]
    fn symbol_parts() {
        let pool = Pool::new();
        let name = pool.name(b"list_head");
        for kind in [SymbolKind::Struct, SymbolKind::Union, SymbolKind::Enum] {
            let symbol = GlobalRef::symbol(kind, name);
            assert!(symbol.is_symbol());
            assert_eq!((symbol.symbol_kind(), symbol.symbol_name()), (kind, name));
        }
        let pointer = [0, 2 << 24, 0];
        assert!(!pool.intern(&pointer, pool.hash(&pointer)).is_symbol());
    }
}
