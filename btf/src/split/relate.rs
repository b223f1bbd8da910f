//! Which type of a base each type of a module is.
//!
//! Two types are related if their shapes are equal and what they refer to is related again, place by place; of all such relations the
//! largest is taken, so cycles are equal unless something on them differs. It is found from above: each type starts with the base's
//! types of its shape, and a pair is struck out when what it refers to is not (or no longer) a pair. A pair is struck out once, so the work is at
//! most the module's references times the square of [`MAX_CANDIDATES`](super::index::MAX_CANDIDATES).
//!
//! A declaration (FWD, enum without enumerators) may stand where the other side has a definition of its name. What the module defines and the base
//! only declares stays in the module, for the base cannot be changed; but what refers to it is not another type for that, as it is not in C: else
//! a module that knows one struct more than its kernel would have a `task_struct` of its own. A declaration by itself becomes the base's only
//! definition, if neither base nor module have another one, else the same declaration of the base. A struct that fits several of the base's, because it
//! only declares what tells them apart, is none of them unless one fits when declarations mean just that, and definitions just themselves.

use super::index::BaseIndex;
use super::shape::{Graph, NONE, Shaped, Users};

/// For each type of the module, the base's type that it is; 0 for none.
pub(super) fn relate(index: &BaseIndex<'_>, graph: &Graph, shaped: &Shaped) -> Vec<u32> {
    let users = Users::of(graph);
    let mut pairs = Pairs::all(index, graph, &users, shaped);
    pairs.strike_unsupported();
    let loosely: Vec<Option<u32>> = (0..graph.len()).map(|id| pairs.only(id)).collect();
    let mut found = vec![0; graph.len() as usize];
    let declared = declarations(&pairs, shaped, &mut found);
    let mut strictly = None;
    if (1..graph.len()).any(|id| pairs.fitting(id).nth(1).is_some()) {
        let mut pairs = pairs.clone();
        for &id in &declared {
            pairs.keep_only(id, found[id as usize]);
        }
        for id in 1..graph.len() {
            if !graph.declares(id) && pairs.fitting(id).next().is_some() {
                pairs.keep(id, |base| !index.declares(base));
            }
        }
        pairs.strike();
        strictly = Some(pairs);
    }
    for id in 1..graph.len() {
        if graph.kind(id).is_some_and(crate::Kind::is_composite) {
            let strict = strictly.as_ref().and_then(|pairs| pairs.only(id));
            found[id as usize] = strict.or(loosely[id as usize]).unwrap_or(0);
        }
    }
    rest(&pairs, graph, &mut found);
    found
}

/// Says what the module's declarations are, and tells which types those are.
fn declarations(pairs: &Pairs<'_, '_>, shaped: &Shaped, found: &mut [u32]) -> Vec<u32> {
    let Pairs { index, graph, .. } = *pairs;
    let declared: Vec<u32> = (1..graph.len()).filter(|&id| graph.declares(id)).collect();
    // Symbols of which the module has a definition that is not the base's.
    let mut own: Vec<u32> = Vec::new();
    if !declared.is_empty() {
        let defines = |&id: &u32| {
            shaped.seen[id as usize] != shaped.own[id as usize]
                && !graph.declares(id)
                && pairs.fitting(id).next().is_none()
        };
        own.extend((1..graph.len()).filter(defines).map(|id| shaped.seen[id as usize]));
        own.sort_unstable();
    }
    for &id in &declared {
        let symbol = shaped.seen[id as usize];
        let mut definitions = pairs.left(id).filter(|&base| !index.declares(base));
        found[id as usize] = match (definitions.next(), definitions.next()) {
            (Some(only), None) if own.binary_search(&symbol).is_err() => only,
            _ => {
                let own = shaped.own[id as usize];
                index.candidates(own).first().copied().unwrap_or(0)
            }
        };
    }
    declared
}

/// Says what all other types are: those whose references are the base's, exactly as found. What a type refers to comes first; cycles
/// were broken at structs and unions.
fn rest(pairs: &Pairs<'_, '_>, graph: &Graph, found: &mut [u32]) {
    let mut open = vec![false; graph.len() as usize];
    let settled =
        |id: u32| id == 0 || graph.declares(id) || graph.kind(id).is_some_and(crate::Kind::is_composite);
    let mut pending = Vec::new();
    for first in 1..graph.len() {
        pending.push(first);
        while let Some(&id) = pending.last() {
            // What has no candidate need not be looked into, so cycles without a struct are never entered.
            if settled(id) || pairs.fitting(id).next().is_none() {
                pending.pop();
                continue;
            }
            if !std::mem::replace(&mut open[id as usize], true) {
                pending.extend(graph.edges(id).iter().filter(|&&to| !open[to as usize] && !settled(to)));
                continue;
            }
            pending.pop();
            let fits = |&base: &u32| {
                let targets = graph.edges(id).iter().map(|&to| found[to as usize]);
                targets.eq(pairs.index.edges(base).iter().copied())
            };
            found[id as usize] = pairs.fitting(id).find(fits).unwrap_or(0);
        }
    }
}

/// Pairs of a module's and a base's type that may still be the same.
#[derive(Clone)]
struct Pairs<'m, 'a> {
    index: &'m BaseIndex<'a>,
    graph: &'m Graph,
    users: &'m Users,
    /// For each type of the module, where its pairs end.
    ends: Vec<u32>,
    base: Vec<u32>,
    struck: Vec<bool>,
    /// Pairs that were struck out and whose users do not know yet: type of the module, place in `base`.
    news: Vec<(u32, u32)>,
}

impl<'m, 'a> Pairs<'m, 'a> {
    fn all(index: &'m BaseIndex<'a>, graph: &'m Graph, users: &'m Users, shaped: &Shaped) -> Pairs<'m, 'a> {
        let mut ends = Vec::with_capacity(graph.len() as usize);
        let mut base = Vec::new();
        ends.push(0);
        for id in 1..graph.len() {
            let (own, seen) = (shaped.own[id as usize], shaped.seen[id as usize]);
            debug_assert!(own == NONE || own != 0);
            if graph.declares(id) {
                base.extend_from_slice(index.candidates(seen));
            } else {
                base.extend_from_slice(index.candidates(own));
                if seen != own {
                    base.extend(index.candidates(seen).iter().filter(|&&base| index.declares(base)));
                }
            }
            ends.push(base.len() as u32);
        }
        let struck = vec![false; base.len()];
        Pairs { index, graph, users, ends, base, struck, news: Vec::new() }
    }

    fn range(&self, id: u32) -> std::ops::Range<usize> {
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        start as usize..self.ends[id as usize] as usize
    }

    /// The base's types that this one may become: what it defines never becomes a declaration.
    fn fitting(&self, id: u32) -> impl Iterator<Item = u32> {
        let declares = self.graph.declares(id);
        self.left(id).filter(move |&base| declares || !self.index.declares(base))
    }

    /// The base's types that may still stand where this one does.
    fn left(&self, id: u32) -> impl Iterator<Item = u32> {
        self.range(id).filter(|&pair| !self.struck[pair]).map(|pair| self.base[pair])
    }

    /// The base's type that this one is, if only one is left.
    fn only(&self, id: u32) -> Option<u32> {
        let mut fitting = self.fitting(id);
        let first = fitting.next();
        first.filter(|_| fitting.next().is_none())
    }

    fn related(&self, id: u32, base: u32) -> bool {
        if id == 0 { base == 0 } else { self.left(id).any(|other| other == base) }
    }

    /// Strikes out all pairs that refer to what was never a pair, and then what that leads to.
    fn strike_unsupported(&mut self) {
        for id in 1..self.graph.len() {
            if self.graph.declares(id) {
                continue;
            }
            for pair in self.range(id) {
                let base = self.index.edges(self.base[pair]);
                if !self.graph.edges(id).iter().zip(base).all(|(&to, &base)| self.related(to, base)) {
                    self.struck[pair] = true;
                    self.news.push((id, pair as u32));
                }
            }
        }
        self.strike();
    }

    /// Strikes out a type's pairs but for the one with this type of the base.
    fn keep_only(&mut self, id: u32, base: u32) {
        self.keep(id, |other| other == base);
    }

    /// Strikes out a type's pairs but for those with such types of the base.
    fn keep(&mut self, id: u32, wanted: impl Fn(u32) -> bool) {
        for pair in self.range(id) {
            if !wanted(self.base[pair]) && !std::mem::replace(&mut self.struck[pair], true) {
                self.news.push((id, pair as u32));
            }
        }
    }

    /// Strikes out what referred to pairs struck out.
    fn strike(&mut self) {
        while let Some((gone, pair)) = self.news.pop() {
            let gone_base = self.base[pair as usize];
            for &(id, place) in self.users.of_type(gone) {
                if self.graph.declares(id) {
                    continue;
                }
                for pair in self.range(id) {
                    let edge = self.index.edges(self.base[pair]).get(place as usize);
                    if !self.struck[pair] && edge == Some(&gone_base) {
                        self.struck[pair] = true;
                        self.news.push((id, pair as u32));
                    }
                }
            }
        }
    }
}
