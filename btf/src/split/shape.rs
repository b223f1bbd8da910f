//! Types as words that can be compared across blobs.
//!
//! A *shape* is a type's record in which names are offsets into the base, each reference to a named struct, union or enum is only
//! that kind and name (a *symbol*), and each other reference is a shape again, to full depth. Shapes are numbered, so types of equal shape
//! have equal numbers. Every cycle that C can form goes through a symbol, so shapes are finite. Types of equal shape are equal as far as one
//! can see before a name; `relate` looks behind the names.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::texts::UNKNOWN;
use crate::error::{Error, Result};
use crate::kind::{Info, Kind};
use crate::read::Btf;
use crate::refs::{Ref, visit_refs, visit_type_refs};
use crate::{StrOffset, TypeId};

/// No shape: a type that nothing in the base can be equal to.
pub(super) const NONE: u32 = u32::MAX;

/// All types of a blob, its base's included, in native byte order, with names translated.
pub(super) struct Graph {
    words: Vec<u32>,
    /// End of each record; that of void, which is empty, first.
    ends: Vec<u32>,
    /// What each type refers to, in the order of [`visit_type_refs`].
    edges: Vec<u32>,
    edge_ends: Vec<u32>,
}

impl Graph {
    /// Reads all types. `name` translates a string offset.
    ///
    /// # Errors
    /// What reading a type may answer, what `name` answers, and [`Error::NoSuchType`] for references to types that are not there.
    pub(super) fn of(btf: &Btf<'_>, mut name: impl FnMut(StrOffset) -> Result<u32>) -> Result<Graph> {
        let count = btf.type_count();
        let mut graph = Graph {
            words: Vec::new(),
            ends: Vec::with_capacity(count as usize),
            edges: Vec::new(),
            edge_ends: Vec::with_capacity(count as usize),
        };
        graph.ends.push(0);
        graph.edge_ends.push(0);
        for id in 1..count {
            let ty = btf.ty(TypeId(id))?;
            let start = graph.words.len();
            graph.words.extend(ty.words());
            let mut failed = Ok(());
            visit_refs(&mut graph.words[start..], |what, word| match what {
                Ref::Type if *word < count => graph.edges.push(*word),
                Ref::Type => failed = Err(Error::NoSuchType { id: TypeId(*word), count }),
                Ref::String => match name(StrOffset(*word)) {
                    Ok(name) => *word = name,
                    Err(error) => failed = Err(error),
                },
            });
            failed?;
            graph.ends.push(graph.words.len() as u32);
            graph.edge_ends.push(graph.edges.len() as u32);
        }
        Ok(graph)
    }

    /// Number of types, void included.
    pub(super) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    /// A type's record; empty for void.
    pub(super) fn record(&self, id: u32) -> &[u32] {
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        &self.words[start as usize..self.ends[id as usize] as usize]
    }

    /// What a type refers to.
    pub(super) fn edges(&self, id: u32) -> &[u32] {
        let start = id.checked_sub(1).map_or(0, |before| self.edge_ends[before as usize]);
        &self.edges[start as usize..self.edge_ends[id as usize] as usize]
    }

    /// The edges alone: all of them, and where each type's end.
    pub(super) fn into_edges(self) -> (Vec<u32>, Vec<u32>) {
        (self.edges, self.edge_ends)
    }

    /// Kind, `vlen` and flag of a type other than void.
    pub(super) fn info(&self, id: u32) -> Info {
        Info(self.record(id).get(1).copied().unwrap_or(0))
    }

    pub(super) fn kind(&self, id: u32) -> Option<Kind> {
        Kind::from_number(self.info(id).kind_number())
    }

    /// Whether a type only declares its name: a FWD, or a named enum without enumerators.
    pub(super) fn declares(&self, id: u32) -> bool {
        match self.kind(id) {
            Some(Kind::Fwd) => true,
            Some(Kind::Enum | Kind::Enum64) => self.info(id).vlen() == 0 && self.record(id)[0] != 0,
            _ => false,
        }
    }

    /// The symbol that a named struct, union, enum or FWD defines or declares.
    fn symbol(&self, id: u32) -> Option<[u32; 2]> {
        let name = *self.record(id).first()?;
        let info = self.info(id);
        let kind = match Kind::from_number(info.kind_number())? {
            Kind::Fwd if info.kind_flag() => Kind::Union,
            Kind::Fwd => Kind::Struct,
            Kind::Enum64 => Kind::Enum,
            kind @ (Kind::Struct | Kind::Union | Kind::Enum) => kind,
            _ => return None,
        };
        (name != 0).then_some([kind as u32, name])
    }
}

/// The shapes of a graph's types, by id.
pub(super) struct Shaped {
    /// What references to the type are: its symbol, or else the same as `own`.
    pub(super) seen: Vec<u32>,
    /// The shape of the record itself.
    pub(super) own: Vec<u32>,
}

/// Works out the shapes of all types. `number` gives the number of a shape, or [`NONE`] for one that matters to nobody.
///
/// Functions, variables and sections have no shape, since they are never shared; nor has what refers to them or lies on a cycle without a symbol.
pub(super) fn shape(graph: &Graph, mut number: impl FnMut(&[u32]) -> u32) -> Shaped {
    const NOT_YET: u32 = NONE - 1;
    let count = graph.len() as usize;
    let mut shaped = Shaped { seen: vec![NOT_YET; count], own: vec![NOT_YET; count] };
    let mut symbolic = vec![false; count];
    (shaped.seen[0], shaped.own[0]) = (0, 0);
    for id in 1..graph.len() {
        if let Some(symbol) = graph.symbol(id) {
            symbolic[id as usize] = true;
            shaped.seen[id as usize] = if symbol[1] == UNKNOWN { NONE } else { number(&symbol) };
        }
    }
    let mut open = vec![false; count];
    let mut pending = Vec::new();
    let mut buffer = Vec::new();
    for first in 1..graph.len() {
        pending.push(first);
        while let Some(&id) = pending.last() {
            if shaped.own[id as usize] != NOT_YET {
                pending.pop();
                continue;
            }
            if !std::mem::replace(&mut open[id as usize], true) {
                let unknown = |&&to: &&u32| shaped.seen[to as usize] == NOT_YET && !open[to as usize];
                let before = pending.len();
                pending.extend(graph.edges(id).iter().filter(unknown));
                if pending.len() > before {
                    continue;
                }
            }
            pending.pop();
            buffer.clear();
            buffer.extend_from_slice(graph.record(id));
            let mut whole = !matches!(graph.kind(id), Some(Kind::Func | Kind::Var | Kind::Datasec) | None);
            visit_refs(&mut buffer, |what, word| match what {
                Ref::String => whole &= *word != UNKNOWN,
                Ref::Type => {
                    *word = shaped.seen[*word as usize];
                    whole &= *word < NOT_YET;
                }
            });
            let own = if whole { number(&buffer) } else { NONE };
            shaped.own[id as usize] = own;
            if !symbolic[id as usize] {
                shaped.seen[id as usize] = own;
            }
        }
    }
    shaped
}

/// The shapes of a base, numbered from 1; 0 is void.
#[derive(Default)]
pub(super) struct Shapes {
    words: Vec<u32>,
    ends: Vec<u32>,
    /// Each with bits of its hash, since its words are far from here.
    table: HashTable<(u32, u32)>,
    /// Seeded at random: hostile types cannot be chosen to collide. Nothing depends on the order of the table.
    hasher: RandomState,
}

impl Shapes {
    fn get(&self, shape: u32) -> &[u32] {
        between(&self.words, &self.ends, shape)
    }

    /// How many shapes there are, void included.
    pub(super) fn len(&self) -> u32 {
        self.ends.len() as u32 + 1
    }

    pub(super) fn add(&mut self, shape: &[u32]) -> u32 {
        let Shapes { words, ends, table, hasher } = self;
        let at = |number: u32| between(words, ends, number);
        let hash_of_shape = hash(hasher, shape);
        let tag = hash_of_shape as u32;
        let equal = |&(number, other): &(u32, u32)| other == tag && at(number) == shape;
        match table.entry(hash_of_shape, equal, |&(number, _)| hash(hasher, at(number))) {
            Entry::Occupied(found) => found.get().0,
            Entry::Vacant(slot) => {
                let number = ends.len() as u32 + 1;
                slot.insert((number, tag));
                words.extend_from_slice(shape);
                ends.push(words.len() as u32);
                number
            }
        }
    }

    /// The number of a shape; [`NONE`] if the base has no such.
    pub(super) fn find(&self, shape: &[u32]) -> u32 {
        let hash = hash(&self.hasher, shape);
        let tag = hash as u32;
        let found = self.table.find(hash, |&(number, other)| other == tag && self.get(number) == shape);
        found.map_or(NONE, |&(number, _)| number)
    }
}

fn between<'a>(words: &'a [u32], ends: &[u32], number: u32) -> &'a [u32] {
    let last = number as usize - 1;
    let start = last.checked_sub(1).map_or(0, |before| ends[before]);
    &words[start as usize..ends[last] as usize]
}

fn hash(hasher: &RandomState, words: &[u32]) -> u64 {
    let mut state = hasher.build_hasher();
    let (pairs, rest) = words.as_chunks::<2>();
    for &[low, high] in pairs {
        state.write_u64(u64::from(high) << 32 | u64::from(low));
    }
    for &word in rest {
        state.write_u32(word);
    }
    state.write_usize(words.len());
    state.finish()
}

/// What refers to a graph's types: for each id the referring types and the places of their edges.
pub(super) struct Users {
    ends: Vec<u32>,
    users: Vec<(u32, u32)>,
}

impl Users {
    pub(super) fn of(graph: &Graph) -> Users {
        let mut ends = vec![0_u32; graph.len() as usize + 1];
        for id in 1..graph.len() {
            visit_type_refs(graph.record(id), |to| ends[to as usize + 1] += 1);
        }
        for at in 1..ends.len() {
            ends[at] += ends[at - 1];
        }
        let mut users = vec![(0, 0); graph.edges.len()];
        // Filling moves each start to its end, which is the next one's start.
        for id in 1..graph.len() {
            for (place, &to) in graph.edges(id).iter().enumerate() {
                users[ends[to as usize] as usize] = (id, place as u32);
                ends[to as usize] += 1;
            }
        }
        Users { ends, users }
    }

    pub(super) fn of_type(&self, id: u32) -> &[(u32, u32)] {
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        &self.users[start as usize..self.ends[id as usize] as usize]
    }
}
