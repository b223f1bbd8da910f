//! One unit's types on their way into the pool.
//!
//! A [`Unit`] is a graph in BTF's own record layout, except that names are [`Name`]s of a pool and references are ids local to the unit.
//! [`Unit::intern`] replaces them by references that are global, from the leaves up: whatever is not a named composite or enum is interned
//! after what it refers to, and a reference to a named one becomes its symbol, which breaks all cycles that C can form.

use super::pool::{GlobalRef, Name, Pool};
use crate::kind::{Info, Kind};
use crate::refs::{Ref, visit_refs, visit_type_refs};

/// A type of a [`Unit`]: 1 for the first one; 0 is void.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct LocalId(pub u32);

/// What a declaration (function, variable) calls a type of an interned unit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Handle(pub(crate) u32);

impl Handle {
    /// `void`.
    pub const VOID: Handle = Handle(0);
}

/// What a type is in the pool: equal for types whose records are equal, whatever names with several definitions they reach.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity(u32);

/// The types of one unit. One `Unit` is reused for many units, so that reading them allocates little.
#[derive(Default)]
pub struct Unit {
    words: Vec<u32>,
    nodes: Vec<Node>,
    /// For each node, how others refer to it; [`UNKNOWN`] until its record is interned.
    outer: Vec<GlobalRef>,
    /// For each node, its record in the pool.
    inner: Vec<GlobalRef>,
    pending: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Node {
    start: u32,
    len: u32,
    hidden: bool,
    in_progress: bool,
}

/// No reference yet: not a value that a record or symbol can have (symbol kind 3 does not exist).
const UNKNOWN: GlobalRef = GlobalRef(u32::MAX);

/// What is kept of a unit after it was interned.
#[derive(Debug, Default)]
pub struct UnitTypes {
    /// The unit's records in the order of its types, without hidden ones.
    pub(crate) order: Vec<GlobalRef>,
    /// The unit's own graph, where one symbol alone does not tell which definition is meant.
    pub(crate) edges: Option<Edges>,
    /// References that were dropped because the types form a cycle that C cannot express, such as a typedef of itself.
    pub broken_cycles: u32,
}

/// A unit's graph: for each local id its record and what that refers to, in the order of [`visit_type_refs`].
#[derive(Debug, Default)]
pub(crate) struct Edges {
    pub(crate) records: Vec<GlobalRef>,
    /// Whether a type is hidden.
    pub(crate) hidden: Vec<bool>,
    ends: Vec<u32>,
    targets: Vec<LocalId>,
}

impl Edges {
    pub(crate) fn of(&self, id: LocalId) -> &[LocalId] {
        let slot = id.0 as usize - 1;
        let start = if slot == 0 { 0 } else { self.ends[slot - 1] };
        &self.targets[start as usize..self.ends[slot] as usize]
    }
}

impl Unit {
    /// An empty unit.
    pub fn new() -> Unit {
        Unit::default()
    }

    /// Forgets all types and keeps the memory.
    pub fn clear(&mut self) {
        self.words.clear();
        self.nodes.clear();
    }

    /// Number of types, reserved ones included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no type.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// An id for a type whose record follows by [`Self::define`]; until then it is void.
    pub fn reserve(&mut self) -> LocalId {
        self.nodes.push(Node::default());
        LocalId(self.nodes.len() as u32)
    }

    /// Gives a reserved type its record: `struct btf_type` and payload, in words.
    pub fn define(&mut self, id: LocalId, head: [u32; 3], payload: &[u32]) {
        let start = self.words.len() as u32;
        self.words.extend_from_slice(&head);
        self.words.extend_from_slice(payload);
        let node = &mut self.nodes[id.0 as usize - 1];
        *node = Node { start, len: 3 + payload.len() as u32, ..*node };
    }

    /// Takes a type's record away: what refers to it refers to void.
    pub fn undefine(&mut self, id: LocalId) {
        self.nodes[id.0 as usize - 1] = Node::default();
    }

    /// Adds a type.
    pub fn push(&mut self, head: [u32; 3], payload: &[u32]) -> LocalId {
        let id = self.reserve();
        self.define(id, head, payload);
        id
    }

    /// Keeps a type out of the result unless something visible refers to it.
    pub fn hide(&mut self, id: LocalId) {
        self.nodes[id.0 as usize - 1].hidden = true;
    }

    /// A type's record, to be looked at or completed; empty for void and for what is reserved only.
    pub fn record_mut(&mut self, id: LocalId) -> &mut [u32] {
        let node = match id.0.checked_sub(1) {
            Some(slot) => self.nodes.get(slot as usize).copied().unwrap_or_default(),
            None => Node::default(),
        };
        &mut self.words[node.start as usize..(node.start + node.len) as usize]
    }

    /// A type's record; empty for void and for what is reserved only.
    pub fn record(&self, id: LocalId) -> &[u32] {
        let node = match id.0.checked_sub(1) {
            Some(slot) => self.nodes.get(slot as usize).copied().unwrap_or_default(),
            None => Node::default(),
        };
        &self.words[node.start as usize..(node.start + node.len) as usize]
    }

    /// Puts the unit's types into the pool. With `keep_edges` the unit's own graph is kept too, as a unit needs in which one
    /// name has several definitions (see [`Pool::units_needing_edges`]). Afterwards only [`Self::handle`] and [`Self::clear`] make sense.
    pub fn intern(&mut self, pool: &Pool, keep_edges: bool) -> UnitTypes {
        let edges = keep_edges.then(|| self.edges());
        let count = self.nodes.len();
        self.outer.clear();
        self.outer.extend(self.nodes.iter().map(|node| match self.words.get(node.start as usize..) {
            Some([name, info, ..]) if node.len > 0 => {
                GlobalRef::symbol_of(*name, Info(*info)).unwrap_or(UNKNOWN)
            }
            _ => GlobalRef::VOID,
        }));
        self.inner.clear();
        self.inner.resize(count, UNKNOWN);
        let mut broken_cycles = 0;
        for slot in 0..count {
            if self.inner[slot] == UNKNOWN {
                self.intern_from(slot as u32, pool, &mut broken_cycles);
            }
        }
        let order = self
            .nodes
            .iter()
            .zip(&self.inner)
            .filter(|(node, inner)| !node.hidden && !inner.is_void())
            .map(|(_, &inner)| inner)
            .collect();
        let edges = edges.map(|edges| Edges { records: self.inner.clone(), ..edges });
        UnitTypes { order, edges, broken_cycles }
    }

    /// How a declaration refers to a type of this unit, once it is interned with the same `keep_edges`.
    pub fn handle(&self, id: LocalId, keep_edges: bool) -> Handle {
        match id.0.checked_sub(1) {
            Some(slot) if !keep_edges => Handle(self.outer[slot as usize].0),
            _ => Handle(id.0),
        }
    }

    /// What a type of this unit is in the pool, for comparing types of different units.
    pub fn identity(&self, id: LocalId) -> Identity {
        let slot = id.0.checked_sub(1);
        Identity(slot.and_then(|slot| self.inner.get(slot as usize)).map_or(0, |inner| inner.0))
    }

    /// Interns a type after everything that it refers to by record. The stack is a list, so depth costs memory only.
    fn intern_from(&mut self, first: u32, pool: &Pool, broken_cycles: &mut u32) {
        let Unit { words, nodes, outer, inner, pending } = self;
        let count = nodes.len();
        let target = |word: u32| (word as usize).checked_sub(1).filter(|&slot| slot < count);
        pending.push(first);
        while let Some(&slot) = pending.last() {
            let node = nodes[slot as usize];
            let record = &mut words[node.start as usize..(node.start + node.len) as usize];
            let before = pending.len();
            if !node.in_progress {
                nodes[slot as usize].in_progress = true;
                visit_type_refs(record, |word| {
                    if let Some(target) = target(word)
                        && outer[target] == UNKNOWN
                        && !nodes[target].in_progress
                    {
                        pending.push(target as u32);
                    }
                });
                if pending.len() > before {
                    continue;
                }
            }
            pending.pop();
            if inner[slot as usize] != UNKNOWN {
                continue; // it was waiting twice
            }
            visit_refs(record, |what, word| {
                if what == Ref::Type && *word != 0 {
                    let global = target(*word).map_or(GlobalRef::VOID, |target| outer[target]);
                    let known = if global == UNKNOWN {
                        *broken_cycles += 1;
                        GlobalRef::VOID
                    } else {
                        global
                    };
                    *word = known.0;
                }
            });
            let global = if record.is_empty() { GlobalRef::VOID } else { pool.intern(record) };
            inner[slot as usize] = global;
            if outer[slot as usize] == UNKNOWN {
                outer[slot as usize] = global;
            }
        }
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::default();
        for node in &self.nodes {
            visit_type_refs(&self.words[node.start as usize..(node.start + node.len) as usize], |word| {
                let known = (word as usize) <= self.nodes.len();
                edges.targets.push(LocalId(if known { word } else { 0 }));
            });
            edges.ends.push(edges.targets.len() as u32);
            edges.hidden.push(node.hidden);
        }
        edges
    }
}

/// The first three words of a record.
pub fn head(name: Name, kind: Kind, vlen: u32, kind_flag: bool, size_or_type: u32) -> [u32; 3] {
    [name.0, Info::new(kind, vlen, kind_flag).0, size_or_type]
}
