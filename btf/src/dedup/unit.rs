//! One unit's types on their way into the pool.
//!
//! A [`Unit`] is a graph in BTF's own record layout, except that names are [`Name`]s of a pool and references are ids local to the unit.
//! [`Unit::intern`] replaces them by references that are global, from the leaves up: whatever is not a named composite or enum is interned
//! after what it refers to, and a reference to a named one becomes its symbol, which breaks all cycles that C can form.

use super::interner::Interner;
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
pub struct Unit<'p> {
    interner: Interner<'p>,
    words: Vec<u32>,
    nodes: Vec<Node>,
    /// For each node, how others refer to it; [`UNKNOWN`] until its record is interned.
    outer: Vec<GlobalRef>,
    /// For each node, its record in the pool.
    inner: Vec<GlobalRef>,
    pending: Vec<u32>,
    /// A record with global references.
    record: Vec<u32>,
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

/// Length in words of the longest records that refer to one type: references and arrays.
const SHORT: u32 = 6;

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

impl<'p> Unit<'p> {
    /// An empty unit, whose types will be interned in `pool`.
    pub fn new(pool: &'p Pool) -> Unit<'p> {
        Unit {
            interner: Interner::new(pool),
            words: Vec::new(),
            nodes: Vec::new(),
            outer: Vec::new(),
            inner: Vec::new(),
            pending: Vec::new(),
            record: Vec::new(),
        }
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
    pub fn intern(&mut self, keep_edges: bool) -> UnitTypes {
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
        // Structs and prototypes refer to many pointers, which mostly refer to one thing that is known: those go first.
        for slot in 0..count as u32 {
            if self.nodes[slot as usize].len <= SHORT {
                self.intern_known(slot);
            }
        }
        for slot in 0..count as u32 {
            if self.inner[slot as usize] == UNKNOWN && !self.intern_known(slot) {
                self.intern_from(slot, &mut broken_cycles);
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

    /// Interns a type, if all is interned that it refers to by record.
    #[inline]
    fn intern_known(&mut self, slot: u32) -> bool {
        let Unit { interner, words, nodes, outer, inner, record, .. } = self;
        let node = nodes[slot as usize];
        record.clear();
        record.extend_from_slice(&words[node.start as usize..(node.start + node.len) as usize]);
        let mut known = true;
        visit_refs(record, |what, word| {
            if what == Ref::Type && *word != 0 {
                let global = outer.get(*word as usize - 1).copied().unwrap_or(GlobalRef::VOID);
                known &= global != UNKNOWN;
                *word = global.0;
            }
        });
        if known {
            finish(interner, outer, inner, slot, record);
        }
        known
    }

    /// Interns a type after everything that it refers to by record. The stack is a list, so depth costs memory only.
    fn intern_from(&mut self, first: u32, broken_cycles: &mut u32) {
        self.pending.push(first);
        while let Some(&slot) = self.pending.last() {
            let node = self.nodes[slot as usize];
            let before = self.pending.len();
            if !node.in_progress {
                let Unit { words, nodes, outer, pending, .. } = self;
                nodes[slot as usize].in_progress = true;
                visit_type_refs(&words[node.start as usize..(node.start + node.len) as usize], |word| {
                    if let Some(target) = word.checked_sub(1)
                        && outer.get(target as usize) == Some(&UNKNOWN)
                        && !nodes[target as usize].in_progress
                    {
                        pending.push(target);
                    }
                });
                if pending.len() > before {
                    continue;
                }
            }
            self.pending.pop();
            // It may have waited twice.
            if self.inner[slot as usize] != UNKNOWN || self.intern_known(slot) {
                continue;
            }
            // What is still unknown waits for this type.
            let Unit { interner, outer, inner, record, .. } = self;
            visit_refs(record, |what, word| {
                if what == Ref::Type && *word == UNKNOWN.0 {
                    *broken_cycles += 1;
                    *word = 0;
                }
            });
            finish(interner, outer, inner, slot, record);
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

/// Interns the record of a type whose references are global.
#[inline]
fn finish(
    interner: &mut Interner<'_>,
    outer: &mut [GlobalRef],
    inner: &mut [GlobalRef],
    slot: u32,
    record: &[u32],
) {
    let global = if record.is_empty() { GlobalRef::VOID } else { interner.intern(record) };
    inner[slot as usize] = global;
    if outer[slot as usize] == UNKNOWN {
        outer[slot as usize] = global;
    }
}

/// The first three words of a record.
pub fn head(name: Name, kind: Kind, vlen: u32, kind_flag: bool, size_or_type: u32) -> [u32; 3] {
    [name.0, Info::new(kind, vlen, kind_flag).0, size_or_type]
}
