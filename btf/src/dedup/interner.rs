//! One thread's way into the pool: a copy of the records that it has met, so that it seldom asks the pool and waits for other threads.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::pool::{GlobalRef, Pool};
use crate::build::spread;
use crate::kind::Info;

/// Interns records for one thread.
pub(super) struct Interner<'p> {
    pool: &'p Pool,
    words: Vec<u32>,
    table: HashTable<Known>,
    /// A record for each [`guess`], the last one met with it. Most records are found here, and their hashes are never needed.
    recent: Recent<Known>,
    /// The same for records of three words, which are most: the words, and the reference.
    recent_short: Recent<([u32; 3], GlobalRef)>,
    shapes: Vec<(Known, Option<GlobalRef>)>,
}

/// A record that others are expected to equal: see [`super::Unit::define_like`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape(u32);

/// A record met before.
#[derive(Clone, Copy)]
struct Known {
    start: u32,
    len: u32,
    tag: u32,
    global: GlobalRef,
}

impl Known {
    #[inline]
    fn words<'w>(&self, words: &'w [u32]) -> &'w [u32] {
        &words[self.start as usize..][..self.len as usize]
    }
}

/// There are as many places for recent records as there are records, within these bounds, as powers of two.
const RECENT_BITS: std::ops::RangeInclusive<u32> = 8..=16;

/// Where a record could be among the recent ones: a quick hash of its first words, which nearly always tell named types and
/// references apart. Of other types the last words, such as the element type and length of an array, are as good.
#[inline]
fn guess(record: &[u32]) -> u64 {
    let [name, info, third, rest @ ..] = record else { return 0 };
    let mut name = *name;
    if name == 0 {
        if let [first, .., last] = rest {
            name ^= first.rotate_left(16) ^ last;
        }
        if let [.., before, _, _] = rest {
            name = name.rotate_left(21) ^ before;
        }
    }
    guess_short([name, *info, *third])
}

#[inline]
fn guess_short([name, info, third]: [u32; 3]) -> u64 {
    let mix = (u64::from(name) << 32 | u64::from(third)) ^ u64::from(info) << 13;
    mix.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What was met last with each guess.
struct Recent<T> {
    places: Vec<T>,
    shift: u32,
}

impl<T: Copy> Recent<T> {
    fn new(bits: u32, nothing: T) -> Recent<T> {
        Recent { places: vec![nothing; 1 << bits], shift: 64 - bits }
    }

    #[inline]
    fn at(&mut self, guess: u64) -> &mut T {
        &mut self.places[(guess >> self.shift) as usize]
    }

    /// Grows with the number of records, and forgets.
    fn grow(&mut self, records: usize, nothing: T) {
        let bits = 64 - self.shift;
        if records > self.places.len() && bits < *RECENT_BITS.end() {
            *self = Recent::new((bits + 2).min(*RECENT_BITS.end()), nothing);
        }
    }
}

const NOTHING: Known = Known { start: 0, len: 0, tag: 0, global: GlobalRef::VOID };
const NOTHING_SHORT: ([u32; 3], GlobalRef) = ([0; 3], GlobalRef::VOID);

impl<'p> Interner<'p> {
    pub(super) fn new(pool: &'p Pool) -> Interner<'p> {
        Interner {
            pool,
            words: Vec::new(),
            table: HashTable::new(),
            recent: Recent::new(*RECENT_BITS.start(), NOTHING),
            recent_short: Recent::new(*RECENT_BITS.start(), NOTHING_SHORT),
            shapes: Vec::new(),
        }
    }

    /// The reference to this record (see [`Pool::intern`]). An empty one is void.
    #[inline]
    pub(super) fn intern(&mut self, record: &[u32]) -> GlobalRef {
        let guess = guess(record);
        let known = *self.recent.at(guess);
        if known.words(&self.words) == record {
            return known.global;
        }
        let known = self.intern_by_hash(record);
        *self.recent.at(guess) = known;
        known.global
    }

    /// The reference to this record, like [`Self::intern`].
    #[inline]
    pub(super) fn intern_short(&mut self, record: [u32; 3]) -> GlobalRef {
        let guess = guess_short(record);
        let (known, global) = *self.recent_short.at(guess);
        if known == record {
            return global;
        }
        let global = self.intern_by_hash(&record).global;
        *self.recent_short.at(guess) = (record, global);
        global
    }

    /// Makes a record that was interned a shape.
    pub(super) fn shape(&mut self, record: &[u32]) -> Shape {
        let known = self.intern_by_hash(record);
        let symbol = record.first().and_then(|&name| GlobalRef::symbol_of(name, Info(*record.get(1)?)));
        self.shapes.push((known, symbol));
        Shape(self.shapes.len() as u32 - 1)
    }

    /// The record of a shape, and the reference to it.
    #[inline]
    pub(super) fn record_of(&self, shape: Shape) -> (&[u32], GlobalRef) {
        let (known, _) = self.shapes[shape.0 as usize];
        (known.words(&self.words), known.global)
    }

    /// How others refer to types of a shape, if that is by name.
    #[inline]
    pub(super) fn symbol_of(&self, shape: Shape) -> Option<GlobalRef> {
        self.shapes[shape.0 as usize].1
    }

    fn intern_by_hash(&mut self, record: &[u32]) -> Known {
        let tag = self.pool.hash(record);
        let Interner { pool, words, table, recent, recent_short, .. } = self;
        let equal = |known: &Known| known.tag == tag && known.words(words) == record;
        match table.entry(spread(tag), equal, |known| spread(known.tag)) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(slot) => {
                let global = pool.intern(record, tag);
                let known = Known { start: words.len() as u32, len: record.len() as u32, tag, global };
                slot.insert(known);
                words.extend_from_slice(record);
                recent.grow(table.len(), NOTHING);
                recent_short.grow(table.len(), NOTHING_SHORT);
                known
            }
        }
    }
}
