//! Telling apart the types that one record can stand for.
//!
//! Where a name has several definitions, a record that reaches that name means different types in different units. This module
//! finds how many there really are. Each such record in each unit is a node; nodes are split by partition refinement (nodes stay together while
//! what they refer to stays together), and each class of the final partition is a group. Then groups that differ only in that one saw a
//! forward declaration where the other saw a definition are united, as libbpf's deduplication does for structs: under one
//! consistent mapping of the types they reach.

use hashbrown::HashMap;

use super::partition::refine;
use super::pool::{FrozenPool, GlobalRef};
use super::symbols::{Symbols, defined_by};
use super::unit::{Handle, LocalId, UnitTypes};
use crate::kind::{Info, Kind};
use crate::refs::visit_type_refs;

type FastMap<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Stands for "declared here, defined elsewhere" among a node's or group's targets.
pub(super) const DECLARED: u32 = u32::MAX;

/// One type among those that a contextual record stands for.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) record: u32,
    /// For each contextual reference of the record, in order: a group, or [`DECLARED`].
    pub(super) targets: Vec<u32>,
}

/// The groups of all contextual records and which group each unit's node belongs to.
pub(super) struct Context {
    pub(super) groups: Vec<Group>,
    group_of: Vec<u32>,
    nodes: Nodes,
}

impl Context {
    pub(super) fn of(
        pool: &FrozenPool<'_>,
        symbols: &Symbols,
        units: &[UnitTypes],
        roots: impl Iterator<Item = (u32, Handle)>,
    ) -> Context {
        let nodes = Nodes::collect(pool, symbols, units, roots);
        let partition = refine(&nodes.record, |node| &nodes.targets[node as usize]);
        let mut context = Context { groups: groups(&nodes, &partition), group_of: partition, nodes };
        context.unite_declared(pool, symbols);
        context
    }

    /// The group of a unit's record, by its place in the unit's order or by local id.
    pub(super) fn group(&self, unit: u32, key: u32) -> Option<u32> {
        self.nodes.by_key.get(&(unit, key)).map(|&node| self.group_of[node as usize])
    }

    /// The definition that a unit has for a symbol, as a group.
    pub(super) fn definition(&self, unit: u32, symbol: GlobalRef) -> Option<u32> {
        let &key = self.nodes.definitions.get(&(unit, symbol))?;
        self.group(unit, key)
    }

    /// Unites groups that agree but for declarations, and then what has become equal by that.
    fn unite_declared(&mut self, pool: &FrozenPool<'_>, symbols: &Symbols) {
        let open = reaching_declared(&self.groups);
        if !open.contains(&true) {
            return;
        }
        let composite: Vec<bool> =
            self.groups.iter().map(|group| is_root(pool.record(group.record as usize))).collect();
        let mut union = Union { parent: (0..self.groups.len() as u32).collect() };
        let mut of_record: FastMap<u32, Vec<u32>> = FastMap::default();
        let mut records = Vec::new();
        for (index, group) in self.groups.iter().enumerate() {
            if composite[index] {
                let list = of_record.entry(group.record).or_default();
                if list.is_empty() {
                    records.push(group.record);
                }
                list.push(index as u32);
            }
        }
        for record in records {
            let mut candidates = of_record.remove(&record).unwrap_or_default();
            // Complete ones first: they stand for the others.
            candidates.sort_by_key(|&group| (open[group as usize], group));
            let mut canonical: Vec<u32> = Vec::new();
            for group in candidates {
                let matched = canonical.iter().any(|&other| {
                    (open[group as usize] || open[other as usize])
                        && union.unite_if_equivalent(&self.groups, &composite, group, other)
                });
                if !matched {
                    canonical.push(group);
                }
            }
        }
        self.resolve_declared(pool, symbols, &mut union);
        self.merge(&mut union, &composite, &open);
    }

    /// Lets declarations of a symbol stand for its definition where only one is left after the union.
    fn resolve_declared(&mut self, pool: &FrozenPool<'_>, symbols: &Symbols, union: &mut Union) {
        let mut only: FastMap<GlobalRef, Option<u32>> = FastMap::default();
        for index in 0..self.groups.len() as u32 {
            let record = pool.record(self.groups[index as usize].record as usize);
            if let Some((symbol, false)) = defined_by(record) {
                let root = union.find(index);
                only.entry(symbol)
                    .and_modify(|one| *one = one.filter(|&one| one == root))
                    .or_insert(Some(root));
            }
        }
        for group in &mut self.groups {
            let mut targets = group.targets.iter_mut();
            visit_type_refs(pool.record(group.record as usize), |word| {
                let reference = GlobalRef(word);
                if symbols.is_contextual(pool, reference)
                    && let Some(target) = targets.next()
                    && *target == DECLARED
                {
                    *target = only.get(&reference).copied().flatten().unwrap_or(DECLARED);
                }
            });
        }
    }

    /// Renumbers groups after a union: one for each class of composites, and one for each distinct record over those.
    fn merge(&mut self, union: &mut Union, composite: &[bool], open: &[bool]) {
        let count = self.groups.len();
        let initial: Vec<u32> = (0..count as u32)
            .map(|group| {
                if composite[group as usize] {
                    union.find(group)
                } else {
                    self.groups[group as usize].record + count as u32
                }
            })
            .collect();
        let class = refine(&initial, |group| {
            if composite[group as usize] { &[] } else { self.groups[group as usize].targets.as_slice() }
        });
        let classes = class.iter().max().map_or(0, |&last| last as usize + 1);
        // The group that stands for a class is a complete one if there is one, else the first.
        let mut standing: Vec<Option<u32>> = vec![None; classes];
        for group in 0..count as u32 {
            let best = &mut standing[class[group as usize] as usize];
            if best.is_none_or(|best| open[best as usize] && !open[group as usize]) {
                *best = Some(group);
            }
        }
        let groups = standing
            .iter()
            .flatten()
            .map(|&group| {
                let Group { record, ref targets } = self.groups[group as usize];
                let renamed =
                    |&target: &u32| if target == DECLARED { DECLARED } else { class[target as usize] };
                Group { record, targets: targets.iter().map(renamed).collect() }
            })
            .collect();
        self.groups = groups;
        for group in &mut self.group_of {
            *group = class[*group as usize];
        }
    }
}

/// Structs, unions and enums: what equivalence is decided for; other types follow from them.
fn is_root(record: &[u32]) -> bool {
    let kind = record.get(1).and_then(|&info| Kind::from_number(Info(info).kind_number()));
    kind.is_some_and(|kind| kind.is_composite() || kind.is_any_enum())
}

/// In place of a key: a unit has several definitions of a symbol, so that a declaration does not tell which it means.
const SEVERAL: u32 = u32::MAX;

/// Contextual records of units.
#[derive(Default)]
struct Nodes {
    record: Vec<u32>,
    targets: Vec<Vec<u32>>,
    /// By unit, and by dense record number or, in units that keep their edges, by local id.
    by_key: FastMap<(u32, u32), u32>,
    /// What defines a contextual symbol in a unit, as the second part of a key of `by_key`, or [`SEVERAL`].
    definitions: FastMap<(u32, GlobalRef), u32>,
    keys: Vec<(u32, u32)>,
}

impl Nodes {
    fn collect(
        pool: &FrozenPool<'_>,
        symbols: &Symbols,
        units: &[UnitTypes],
        roots: impl Iterator<Item = (u32, Handle)>,
    ) -> Nodes {
        let mut nodes = Nodes::default();
        let contextual = pool.by_reference(false, |dense| symbols.contextual[dense]);
        for (unit, types) in units.iter().enumerate() {
            let unit = unit as u32;
            let records: &[GlobalRef] = types.edges.as_ref().map_or(&types.order, |edges| &edges.records);
            for (slot, &global) in records.iter().enumerate() {
                if !contextual[global] {
                    continue;
                }
                let dense = pool.dense(global);
                let key = if types.edges.is_some() { slot as u32 + 1 } else { dense as u32 };
                nodes.add(unit, key, dense as u32);
                if let Some((symbol, false)) = defined_by(pool.record(dense)) {
                    let several = |known: &mut u32| *known = if *known == key { key } else { SEVERAL };
                    nodes.definitions.entry((unit, symbol)).and_modify(several).or_insert(key);
                }
            }
        }
        for (unit, handle) in roots {
            if units[unit as usize].edges.is_none() {
                nodes.reference(pool, symbols, unit, GlobalRef(handle.0));
            }
        }
        // The list grows while it is walked: what is reached without being in a unit's order is added on the way.
        let mut next = 0;
        while next < nodes.keys.len() {
            let (unit, key) = nodes.keys[next];
            let record = pool.record(nodes.record[next] as usize);
            let mut targets = Vec::new();
            match &units[unit as usize].edges {
                None => visit_type_refs(record, |word| {
                    if symbols.is_contextual(pool, GlobalRef(word)) {
                        targets.push(nodes.reference(pool, symbols, unit, GlobalRef(word)));
                    }
                }),
                Some(edges) => {
                    let mut locals = edges.of(LocalId(key)).iter();
                    visit_type_refs(record, |word| {
                        let local = locals.next().copied().unwrap_or_default();
                        if symbols.is_contextual(pool, GlobalRef(word)) {
                            targets.push(nodes.local(unit, local, GlobalRef(word)));
                        }
                    });
                }
            }
            nodes.targets[next] = targets;
            next += 1;
        }
        nodes
    }

    fn add(&mut self, unit: u32, key: u32, record: u32) -> u32 {
        let node = self.record.len() as u32;
        match self.by_key.entry((unit, key)) {
            hashbrown::hash_map::Entry::Occupied(found) => *found.get(),
            hashbrown::hash_map::Entry::Vacant(slot) => {
                slot.insert(node);
                self.record.push(record);
                self.targets.push(Vec::new());
                self.keys.push((unit, key));
                node
            }
        }
    }

    /// The node that a contextual reference means in a unit without edges.
    fn reference(
        &mut self,
        pool: &FrozenPool<'_>,
        symbols: &Symbols,
        unit: u32,
        reference: GlobalRef,
    ) -> u32 {
        if reference.is_void() {
            return DECLARED;
        }
        if reference.is_symbol() {
            return match self.definitions.get(&(unit, reference)) {
                Some(&key) if key != SEVERAL => self.add(unit, key, key),
                _ => DECLARED,
            };
        }
        let dense = pool.dense(reference);
        if symbols.contextual[dense] { self.add(unit, dense as u32, dense as u32) } else { DECLARED }
    }

    /// The node that a contextual reference means in a unit with edges: the local type, or the unit's definition of what it declares.
    fn local(&self, unit: u32, local: LocalId, reference: GlobalRef) -> u32 {
        let own = self.by_key.get(&(unit, local.0));
        let defined = || self.by_key.get(&(unit, *self.definitions.get(&(unit, reference))?));
        own.or_else(defined).copied().unwrap_or(DECLARED)
    }
}

fn groups(nodes: &Nodes, partition: &[u32]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (node, &class) in partition.iter().enumerate() {
        if class as usize == groups.len() {
            let targets = nodes.targets[node]
                .iter()
                .map(|&target| if target == DECLARED { DECLARED } else { partition[target as usize] })
                .collect();
            groups.push(Group { record: nodes.record[node], targets });
        }
    }
    groups
}

/// For each group whether it reaches a declaration.
fn reaching_declared(groups: &[Group]) -> Vec<bool> {
    let mut users: Vec<Vec<u32>> = vec![Vec::new(); groups.len()];
    let mut open = vec![false; groups.len()];
    let mut work = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        for &target in &group.targets {
            if target == DECLARED {
                work.push(index as u32);
            } else {
                users[target as usize].push(index as u32);
            }
        }
    }
    while let Some(group) = work.pop() {
        if !std::mem::replace(&mut open[group as usize], true) {
            work.extend(&users[group as usize]);
        }
    }
    open
}

/// Which groups are one.
struct Union {
    parent: Vec<u32>,
}

impl Union {
    fn find(&mut self, group: u32) -> u32 {
        let mut root = group;
        while self.parent[root as usize] != root {
            root = self.parent[root as usize];
        }
        let mut at = group;
        while self.parent[at as usize] != root {
            at = std::mem::replace(&mut self.parent[at as usize], root);
        }
        root
    }

    /// Unites `group` with `other`, and the composites they reach, if one mapping makes them equal.
    fn unite_if_equivalent(&mut self, groups: &[Group], composite: &[bool], group: u32, other: u32) -> bool {
        let mut mapping: FastMap<u32, u32> = FastMap::default();
        // Two composites of one side are two types, even where the other side cannot tell them apart.
        let mut mapped_from: FastMap<u32, u32> = FastMap::default();
        let mut work = vec![(group, other)];
        while let Some((left, right)) = work.pop() {
            if left == DECLARED || right == DECLARED {
                continue;
            }
            let (left, right) = (self.find(left), self.find(right));
            if left == right {
                continue;
            }
            match mapping.get(&left) {
                Some(&mapped) if mapped == right => continue,
                Some(_) => return false,
                None => mapping.insert(left, right),
            };
            // Of other types it is natural: pointers to a struct and to its declaration are both pointers to the struct.
            if composite[left as usize] && *mapped_from.entry(right).or_insert(left) != left {
                return false;
            }
            let (left, right) = (&groups[left as usize], &groups[right as usize]);
            if left.record != right.record {
                return false;
            }
            work.extend(left.targets.iter().copied().zip(right.targets.iter().copied()));
        }
        let mut pairs: Vec<(u32, u32)> =
            mapping.into_iter().filter(|&(left, _)| composite[left as usize]).collect();
        pairs.sort_unstable();
        for (left, right) in pairs {
            let (left, right) = (self.find(left), self.find(right));
            self.parent[left as usize] = right;
        }
        true
    }
}
