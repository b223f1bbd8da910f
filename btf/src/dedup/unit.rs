//! One unit's types on their way into the pool.
//!
//! A [`Unit`] is a graph in BTF's own record layout, except that names are [`Name`]s of a pool and references are ids local to the unit.
//! [`Unit::intern`] replaces them by references that are global, from the leaves up: whatever is not a named composite or enum is interned
//! after what it refers to, and a reference to a named one becomes its symbol, which breaks all cycles that C can form.

use super::interner::{Interner, Shape};
use super::pool::{GlobalRef, Name, Pool};
use crate::kind::{Info, Kind};
use crate::refs::{visit_type_refs, visit_type_refs_mut};

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

/// The types of one unit. One `Unit` is reused for many units, so that reading them allocates little.
pub struct Unit<'p> {
    interner: Interner<'p>,
    words: Vec<u32>,
    nodes: Vec<Node>,
    /// For each node, how others refer to it; [`UNKNOWN`] if that is not by name and its record is not interned yet.
    outer: Vec<GlobalRef>,
    /// For each node, its record in the pool.
    inner: Vec<GlobalRef>,
    pending: Vec<u32>,
    /// Places of nodes that are to be interned.
    slots: Vec<u32>,
    /// A record with global references.
    record: Vec<u32>,
    /// Which words are references that may be void: those in the place of `type`.
    references: Vec<u32>,
    /// Which words are references in payloads.
    runs: Vec<Run>,
}

/// Words at equal distances.
#[derive(Clone, Copy)]
struct Run {
    first: u32,
    count: u32,
    stride: u32,
}

#[derive(Clone, Copy, Default)]
struct Node {
    /// Where its words start and how many there are.
    start: u32,
    len: u32,
    form: Form,
    hidden: bool,
    in_progress: bool,
}

/// What the words of a node are.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Form {
    /// It has none.
    #[default]
    Void,
    /// A record that refers to nothing.
    Leaf,
    /// A record of three words, the last of which is a reference.
    Reference,
    /// Any other record.
    Whole,
    /// What a record refers to that otherwise is a shape's.
    Like(Shape),
}

impl Node {
    #[inline]
    fn words<'w>(&self, words: &'w [u32]) -> &'w [u32] {
        &words[self.start as usize..][..self.len as usize]
    }

    /// Calls `visit` with what it refers to, in the order of [`visit_type_refs`].
    #[inline]
    fn visit_targets(&self, words: &[u32], visit: impl FnMut(u32)) {
        match self.form {
            Form::Void | Form::Leaf => {}
            Form::Like(_) => self.words(words).iter().copied().for_each(visit),
            Form::Reference | Form::Whole => visit_type_refs(self.words(words), visit),
        }
    }
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
            slots: Vec::new(),
            record: Vec::new(),
            references: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Forgets all types and keeps the memory.
    pub fn clear(&mut self) {
        self.words.clear();
        self.nodes.clear();
        self.outer.clear();
        self.references.clear();
        self.runs.clear();
    }

    /// Number of types, reserved ones included.
    #[inline]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no type.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// An id for a type whose record follows by [`Self::define`]; until then it is void.
    #[inline]
    pub fn reserve(&mut self) -> LocalId {
        self.nodes.push(Node::default());
        self.outer.push(GlobalRef::VOID);
        LocalId(self.nodes.len() as u32)
    }

    /// Gives a reserved type its record: `struct btf_type` and payload, in words.
    #[inline]
    pub fn define(&mut self, id: LocalId, head: [u32; 3], payload: &[u32]) {
        let start = self.words.len() as u32;
        self.words.extend_from_slice(&head);
        self.words.extend_from_slice(payload);
        let vlen = Info(head[1]).vlen();
        let kind = Kind::from_number(Info(head[1]).kind_number());
        let refers = kind.is_some_and(Kind::refers);
        if refers {
            self.references.push(start + 2);
        }
        let (first, count, stride) = match kind {
            Some(Kind::Struct | Kind::Union) => (start + 4, vlen, 3),
            // The last parameter may be an ellipsis, which has neither name nor type.
            Some(Kind::FuncProto) => (start + 4, vlen - u32::from(payload.ends_with(&[0, 0]) && vlen > 0), 2),
            // The index type may follow later.
            Some(Kind::Array) => (start + 3, if payload.get(1) == Some(&0) { 1 } else { 2 }, 1),
            Some(Kind::Datasec) => (start + 3, vlen, 3),
            _ => (0, 0, 1),
        };
        // A payload shorter than its kind demands is taken as it is.
        let count = count.min(payload.len() as u32 / stride);
        if count > 0 {
            self.runs.push(Run { first, count, stride });
        }
        let form = match (refers, count) {
            (true, _) if payload.is_empty() && kind != Some(Kind::FuncProto) => Form::Reference,
            (false, 0) => Form::Leaf,
            _ => Form::Whole,
        };
        self.set(id, Node { start, len: 3 + payload.len() as u32, form, ..Node::default() });
        self.outer[id.0 as usize - 1] = GlobalRef::symbol_of(head[0], Info(head[1])).unwrap_or(UNKNOWN);
    }

    /// Adds a type without a payload that refers to another: a pointer, a qualifier, a typedef.
    #[inline]
    pub fn push_reference(&mut self, head: [u32; 3]) -> LocalId {
        let start = self.words.len() as u32;
        self.words.extend_from_slice(&head);
        self.references.push(start + 2);
        self.nodes.push(Node { start, len: 3, form: Form::Reference, ..Node::default() });
        self.outer.push(UNKNOWN);
        LocalId(self.nodes.len() as u32)
    }

    /// Gives a reserved type a record that differs from a shape's in nothing but what it refers to. Whoever can tell without
    /// writing the record saves most of the work, for such a type mostly is the shape's.
    #[inline]
    pub fn define_like(&mut self, id: LocalId, shape: Shape, targets: &[u32]) {
        let (start, count) = (self.words.len() as u32, targets.len() as u32);
        self.words.extend_from_slice(targets);
        self.runs.push(Run { first: start, count, stride: 1 });
        self.set(id, Node { start, len: count, form: Form::Like(shape), ..Node::default() });
        self.outer[id.0 as usize - 1] = self.interner.symbol_of(shape).unwrap_or(UNKNOWN);
    }

    #[inline]
    fn set(&mut self, id: LocalId, node: Node) {
        let place = &mut self.nodes[id.0 as usize - 1];
        *place = Node { hidden: place.hidden, ..node };
    }

    /// A shape for types like this one, of this unit, which was interned; `None` for what has no record.
    pub fn shape(&mut self, id: LocalId) -> Option<Shape> {
        let node = self.node(id);
        match node.form {
            Form::Like(shape) => return Some(shape),
            Form::Void => return None,
            _ => {}
        }
        let Unit { interner, words, outer, record, .. } = self;
        record.clear();
        record.extend_from_slice(node.words(words));
        globalize(record, outer);
        Some(interner.shape(record))
    }

    /// The record that a shape was made of: its names, its size and the places of its members are good for all that are like it.
    pub fn shape_record(&self, shape: Shape) -> &[u32] {
        self.interner.record_of(shape).0
    }

    /// Replaces what all types refer to; void stays void. Returns whether void is now among what payloads refer to (members, parameters, elements),
    /// where most of BTF does not allow it.
    #[inline]
    pub fn replace_targets(&mut self, find: impl Fn(u32) -> LocalId) -> bool {
        for &place in &self.references {
            let word = &mut self.words[place as usize];
            *word = find(*word).0;
        }
        let mut void = false;
        for &Run { first, count, stride } in &self.runs {
            let words = &mut self.words[first as usize..];
            for word in words.iter_mut().step_by(stride as usize).take(count as usize) {
                *word = find(*word).0;
                void |= *word == 0;
            }
        }
        void
    }

    /// Writes the whole record of a type that was only said to be like another.
    pub fn write_out(&mut self, id: LocalId) {
        let node = self.node(id);
        if let Form::Like(shape) = node.form {
            let mut record = self.interner.record_of(shape).0.to_vec();
            let mut targets = node.words(&self.words).iter();
            visit_type_refs_mut(&mut record, |word| *word = targets.next().copied().unwrap_or(0));
            self.define(id, [record[0], record[1], record[2]], &record[3..]);
        }
    }

    /// Takes a type's record away: what refers to it refers to void.
    pub fn undefine(&mut self, id: LocalId) {
        self.nodes[id.0 as usize - 1] = Node::default();
        self.outer[id.0 as usize - 1] = GlobalRef::VOID;
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

    /// A type's record, to be looked at or completed; empty for void, for what is reserved only and for what is defined by a shape.
    #[inline]
    pub fn record_mut(&mut self, id: LocalId) -> &mut [u32] {
        let node = self.node(id);
        let len = if matches!(node.form, Form::Like(_)) { 0 } else { node.len };
        &mut self.words[node.start as usize..][..len as usize]
    }

    /// A type's record; empty for void and for what is reserved only. Of what is defined by a shape it is the first three words.
    #[inline]
    pub fn record(&self, id: LocalId) -> &[u32] {
        let node = self.node(id);
        match node.form {
            Form::Like(shape) => &self.shape_record(shape)[..3],
            _ => node.words(&self.words),
        }
    }

    /// The type and the offset word of each member of a struct or union, also of one that is defined by a shape.
    pub fn members(&self, id: LocalId) -> impl Iterator<Item = (LocalId, u32)> {
        let node = self.node(id);
        let words = node.words(&self.words);
        let record = match node.form {
            Form::Like(shape) => self.shape_record(shape),
            _ => words,
        };
        let kind = record.get(1).and_then(|&info| Kind::from_number(Info(info).kind_number()));
        let payload = match kind {
            Some(Kind::Struct | Kind::Union) => &record[3..],
            _ => &[],
        };
        payload.as_chunks().0.iter().enumerate().map(move |(index, &[_, ty, offset])| {
            let ty = if matches!(node.form, Form::Like(_)) { words[index] } else { ty };
            (LocalId(ty), offset)
        })
    }

    fn node(&self, id: LocalId) -> Node {
        let slot = (id.0 as usize).wrapping_sub(1);
        self.nodes.get(slot).copied().unwrap_or_default()
    }

    /// Puts the unit's types into the pool. With `keep_edges` the unit's own graph is kept too, as a unit needs in which one
    /// name has several definitions (see [`Pool::units_needing_edges`]). Afterwards only [`Self::handle`] and [`Self::clear`] make sense.
    pub fn intern(&mut self, keep_edges: bool) -> UnitTypes {
        let edges = keep_edges.then(|| self.edges());
        let count = self.nodes.len();
        self.inner.clear();
        self.inner.resize(count, UNKNOWN);
        let mut broken_cycles = 0;
        // Structs and prototypes refer to many pointers, which mostly refer to one thing that is known: those go first.
        let mut slots = std::mem::take(&mut self.slots);
        let short = choose(&mut slots, &self.nodes, |node| node.len <= SHORT);
        for &slot in short {
            self.intern_known(slot);
        }
        let others = choose(&mut slots, &self.inner, |&inner| inner == UNKNOWN);
        for &slot in others {
            if self.inner[slot as usize] == UNKNOWN && !self.intern_known(slot) {
                self.intern_from(slot, &mut broken_cycles);
            }
        }
        self.slots = slots;
        let shown = |(node, inner): &(&Node, &GlobalRef)| !node.hidden && !inner.is_void();
        let mut order = Vec::with_capacity(count);
        order.extend(self.nodes.iter().zip(&self.inner).filter(shown).map(|(_, &inner)| inner));
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

    /// Interns a type, if all is interned that it refers to by record; otherwise its record is left in `self.record`.
    #[inline]
    fn intern_known(&mut self, slot: u32) -> bool {
        let Unit { interner, words, nodes, outer, inner, record, .. } = self;
        let slot = slot as usize;
        let node = nodes[slot];
        let words = node.words(words);
        record.clear();
        let global = match node.form {
            Form::Void => GlobalRef::VOID,
            Form::Leaf => interner.intern(words),
            Form::Reference => {
                let mut short = [words[0], words[1], words[2]];
                let target = known_target(short[2], outer);
                short[2] = target.0;
                if target == UNKNOWN {
                    record.extend_from_slice(&short);
                    return false;
                }
                interner.intern_short(short)
            }
            Form::Whole => {
                record.extend_from_slice(words);
                if !globalize(record, outer) {
                    return false;
                }
                interner.intern(record)
            }
            Form::Like(shape) => {
                let (like, global) = interner.record_of(shape);
                let target = |word: u32| known_target(word, outer).0;
                // Enums refer to nothing; what else has a shape has three words for each member.
                let members = like[3..].as_chunks::<3>().0.iter();
                let same = words.is_empty()
                    || words.iter().zip(members).all(|(&word, known)| target(word) == known[1]);
                if same {
                    global
                } else {
                    record.extend_from_slice(like);
                    let mut targets = words.iter();
                    visit_type_refs_mut(record, |word| *word = targets.next().copied().unwrap_or(0));
                    if !globalize(record, outer) {
                        return false;
                    }
                    interner.intern(record)
                }
            }
        };
        inner[slot] = global;
        if outer[slot] == UNKNOWN {
            outer[slot] = global;
        }
        true
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
                node.visit_targets(words, |word| {
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
            visit_type_refs_mut(record, |word| {
                if *word == UNKNOWN.0 {
                    *broken_cycles += 1;
                    *word = 0;
                }
            });
            let global = interner.intern(record);
            inner[slot as usize] = global;
            if outer[slot as usize] == UNKNOWN {
                outer[slot as usize] = global;
            }
        }
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::default();
        for node in &self.nodes {
            node.visit_targets(&self.words, |word| {
                let known = (word as usize) <= self.nodes.len();
                edges.targets.push(LocalId(if known { word } else { 0 }));
            });
            edges.ends.push(edges.targets.len() as u32);
            edges.hidden.push(node.hidden);
        }
        edges
    }
}

/// The places of the items that are wanted. There is no branch for each, which nobody could predict.
#[inline]
fn choose<'s, T>(slots: &'s mut Vec<u32>, items: &[T], is_wanted: impl Fn(&T) -> bool) -> &'s [u32] {
    if slots.len() < items.len() {
        slots.resize(items.len(), 0);
    }
    let mut count = 0;
    for (slot, item) in items.iter().enumerate() {
        slots[count] = slot as u32;
        count += usize::from(is_wanted(item));
    }
    &slots[..count]
}

/// The global reference that a local id is; void for an id that the unit does not have.
#[inline]
fn known_target(id: u32, outer: &[GlobalRef]) -> GlobalRef {
    outer.get((id as usize).wrapping_sub(1)).copied().unwrap_or(GlobalRef::VOID)
}

/// Turns a record's local ids into global references. Returns whether all were known; others are [`UNKNOWN`].
#[inline]
fn globalize(record: &mut [u32], outer: &[GlobalRef]) -> bool {
    let mut known = true;
    visit_type_refs_mut(record, |word| {
        let global = known_target(*word, outer);
        known &= global != UNKNOWN;
        *word = global.0;
    });
    known
}

/// The first three words of a record.
pub fn head(name: Name, kind: Kind, vlen: u32, kind_flag: bool, size_or_type: u32) -> [u32; 3] {
    [name.0, Info::new(kind, vlen, kind_flag).0, size_or_type]
}
