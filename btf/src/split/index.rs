//! What a base has, found by shape: made once, asked by thousands of modules.

use hashbrown::HashMap;

use super::shape::{Graph, NONE, Shaped, Shapes, shape};
use super::texts::Texts;
use crate::dedup::partition::refine;
use crate::error::Result;
use crate::read::Btf;

/// Most types of a base that one type of a module is compared with. Kernels have some twenty structs of one name at most; what has more
/// is not looked for, which bounds the work on hostile input.
pub(super) const MAX_CANDIDATES: usize = 32;

/// A base's types, ready to be looked up by the types of its modules ([`BaseIndex::split`]).
///
/// Making it costs time and memory proportional to the base; using it does not depend on the base's size. It may be shared by threads.
pub struct BaseIndex<'a> {
    base: &'a Btf<'a>,
    pub(super) texts: Texts<'a>,
    pub(super) shapes: Shapes,
    /// For each shape, where its candidates end.
    ends: Vec<u32>,
    candidates: Vec<u32>,
    /// What each type refers to, each by the first of its equals.
    edges: Vec<u32>,
    edge_ends: Vec<u32>,
    declares: Vec<bool>,
}

impl<'a> BaseIndex<'a> {
    /// Looks at all types of a base (and of its own base, if it has one).
    ///
    /// # Errors
    /// What reading a type or string may answer, and [`crate::Error::NoSuchType`] for a reference to a type that is not there.
    pub fn of(base: &'a Btf<'a>) -> Result<BaseIndex<'a>> {
        let mut texts = Texts::of(base);
        let graph = Graph::of(base, |name| texts.first(name.0))?;
        let mut shapes = Shapes::default();
        let shaped = shape(&graph, |words| shapes.add(words));
        let first = first_of_equals(&graph, &shaped, shapes.len());

        // Each type stands under its own shape, and what defines or declares a symbol under the symbol's too.
        let mut ends = vec![0_u32; shapes.len() as usize + 1];
        let stands_under = |id: u32| {
            let (own, seen) = (shaped.own[id as usize], shaped.seen[id as usize]);
            let listed = first[id as usize] == id && own != NONE;
            [own, seen]
                .into_iter()
                .take(1 + usize::from(seen != own))
                .filter(move |&shape| listed && shape != NONE)
        };
        for id in 1..graph.len() {
            stands_under(id).for_each(|shape| ends[shape as usize + 1] += 1);
        }
        for at in 1..ends.len() {
            ends[at] += ends[at - 1];
        }
        let mut candidates = vec![0; ends[ends.len() - 1] as usize];
        for id in 1..graph.len() {
            for shape in stands_under(id) {
                candidates[ends[shape as usize] as usize] = id;
                ends[shape as usize] += 1;
            }
        }
        let declares = (0..graph.len()).map(|id| graph.declares(id)).collect();
        let (mut edges, edge_ends) = graph.into_edges();
        for edge in &mut edges {
            *edge = first[*edge as usize];
        }
        Ok(BaseIndex { base, texts, shapes, ends, candidates, edges, edge_ends, declares })
    }

    /// The base.
    pub fn base(&self) -> &'a Btf<'a> {
        self.base
    }

    /// The base's types of this shape, or that define or declare this symbol; none where there are too many.
    pub(super) fn candidates(&self, shape: u32) -> &[u32] {
        if shape == NONE {
            return &[];
        }
        let start = shape.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        let found = &self.candidates[start as usize..self.ends[shape as usize] as usize];
        if found.len() > MAX_CANDIDATES { &[] } else { found }
    }

    /// What a type refers to, each by the first of its equals.
    pub(super) fn edges(&self, id: u32) -> &[u32] {
        let start = id.checked_sub(1).map_or(0, |before| self.edge_ends[before as usize]);
        &self.edges[start as usize..self.edge_ends[id as usize] as usize]
    }

    /// Whether a type only declares its name.
    pub(super) fn declares(&self, id: u32) -> bool {
        self.declares[id as usize]
    }
}

/// For each type the first one that is equal to it. Only types that share their shape with another need a look.
fn first_of_equals(graph: &Graph, shaped: &Shaped, shapes: u32) -> Vec<u32> {
    let mut first: Vec<u32> = (0..graph.len()).collect();
    let mut holders = vec![0_u8; shapes as usize];
    let own = |id: u32| shaped.own[id as usize];
    for id in 1..graph.len() {
        if own(id) != NONE {
            let holders = &mut holders[own(id) as usize];
            *holders = holders.saturating_add(1);
        }
    }
    let shared = |id: u32| own(id) != NONE && id != 0 && holders[own(id) as usize] > 1;
    let nodes: Vec<u32> = (1..graph.len()).filter(|&id| shared(id)).collect();
    if nodes.is_empty() {
        return first;
    }
    let numbers: HashMap<u32, u32, foldhash::fast::FixedState> =
        (0..).zip(&nodes).map(|(at, &id)| (id, at)).collect();
    // What is told apart at a glance: types of other shapes, or that refer to other types which share their shape with none.
    let mut kinds: HashMap<Vec<u32>, u32, foldhash::fast::RandomState> = HashMap::default();
    let mut initial = Vec::with_capacity(nodes.len());
    let mut targets: Vec<Vec<u32>> = Vec::with_capacity(nodes.len());
    for &id in &nodes {
        let mut key = vec![own(id)];
        key.extend(graph.edges(id).iter().map(|&to| if shared(to) { 0 } else { to + 1 }));
        let next = kinds.len() as u32;
        initial.push(*kinds.entry(key).or_insert(next));
        targets.push(graph.edges(id).iter().filter_map(|to| numbers.get(to).copied()).collect());
    }
    let classes = refine(&initial, |node| &targets[node as usize]);
    let mut found: HashMap<u32, u32, foldhash::fast::FixedState> = HashMap::default();
    for (&id, class) in nodes.iter().zip(classes) {
        first[id as usize] = *found.entry(class).or_insert(id);
    }
    first
}
