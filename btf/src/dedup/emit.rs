//! Writing what is left after deduplication: every type once, in the order in which the units first show it.

use std::borrow::Cow;

use hashbrown::HashMap;

use super::context::{Context, DECLARED};
use super::pool::{FrozenPool, GlobalRef, Name, SymbolKind, only_declares};
use super::symbols::{Symbols, defined_by};
use super::unit::{Handle, UnitTypes};
use super::{Declaration, DeclarationKind};
use crate::build::{Builder, checked_vlen};
use crate::error::Result;
use crate::kind::{Info, Kind};
use crate::refs::{Ref, visit_refs, visit_type_refs};
use crate::{StrOffset, TypeId};

/// A type of the result.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Thing {
    /// A record that means the same in every unit.
    Record(u32),
    /// A group of a contextual record.
    Group(u32),
    /// A symbol that is only declared.
    Declared(GlobalRef),
}

/// The number of each thing in the result; 0 if it has none yet.
struct Ids {
    records: Vec<u32>,
    groups: Vec<u32>,
    declared: HashMap<GlobalRef, u32, foldhash::fast::FixedState>,
}

impl Ids {
    fn of(&mut self, thing: Thing) -> &mut u32 {
        match thing {
            Thing::Record(record) => &mut self.records[record as usize],
            Thing::Group(group) => &mut self.groups[group as usize],
            Thing::Declared(symbol) => self.declared.entry(symbol).or_default(),
        }
    }
}

/// What to do with a record that a unit shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Todo {
    Nothing,
    /// It is a type.
    Number,
    /// It stands for several types; which one it is here, the context tells.
    Group,
}

pub(super) struct Emitter<'a, 'p> {
    pool: &'a FrozenPool<'p>,
    symbols: &'a Symbols,
    context: &'a Context,
    units: &'a [UnitTypes],
    ids: Ids,
    things: Vec<Thing>,
    /// Where each name is in the result, by the name's number; 0 if it is not there yet.
    strings: Vec<StrOffset>,
    /// A record on its way into the result.
    words: Vec<u32>,
    builder: Builder,
}

impl<'a, 'p> Emitter<'a, 'p> {
    pub(super) fn new(
        pool: &'a FrozenPool<'p>,
        symbols: &'a Symbols,
        context: &'a Context,
        units: &'a [UnitTypes],
    ) -> Self {
        let builder = Builder::new();
        Emitter {
            pool,
            symbols,
            context,
            units,
            ids: Ids {
                records: vec![0; pool.len()],
                groups: vec![0; context.groups.len()],
                declared: HashMap::default(),
            },
            things: Vec::new(),
            strings: vec![StrOffset(0); pool.name_numbers()],
            words: Vec::new(),
            builder,
        }
    }

    pub(super) fn emit(mut self, declarations: &[Declaration]) -> Result<Builder> {
        self.number_units();
        let targets: Vec<Option<Thing>> = declarations.iter().map(|one| self.declared_target(one)).collect();
        for &target in targets.iter().flatten() {
            self.number(target);
        }
        self.number_reached();
        let words = self.things.iter().map(|&thing| self.record(thing).len()).sum();
        self.builder.reserve(self.things.len() + declarations.len(), words);
        for index in 0..self.things.len() {
            self.write(self.things[index]);
        }
        let first = self.builder.next_id().0;
        for (declaration, target) in declarations.iter().zip(targets) {
            let target = target.map_or(TypeId::VOID, |target| TypeId(*self.ids.of(target)));
            self.write_declaration(declaration, target, first)?;
        }
        Ok(self.builder)
    }

    /// Numbers what the units' orders show.
    fn number_units(&mut self) {
        // Most records are shown by many units, and then there is nothing to do; nor is there for void.
        let mut todo = self.pool.by_reference(Todo::Nothing, |dense| {
            if self.symbols.contextual[dense] { Todo::Group } else { Todo::Number }
        });
        for (unit, types) in self.units.iter().enumerate() {
            let kept: &[GlobalRef] = types.edges.as_ref().map_or(&types.order, |edges| &edges.records);
            for (slot, &global) in kept.iter().enumerate() {
                let todo = &mut todo[global];
                if *todo == Todo::Nothing || types.edges.as_ref().is_some_and(|edges| edges.hidden[slot]) {
                    continue;
                }
                let dense = self.pool.dense(global);
                if *todo == Todo::Group {
                    let key = if types.edges.is_some() { slot as u32 + 1 } else { dense as u32 };
                    if let Some(group) = self.context.group(unit as u32, key) {
                        self.number(Thing::Group(group));
                    }
                    continue;
                }
                *todo = Todo::Nothing;
                match defined_by(self.pool.record(dense)) {
                    Some((symbol, true)) => {
                        if self.symbols.get(symbol).definitions.is_empty() {
                            self.number(Thing::Declared(symbol));
                        }
                    }
                    _ => self.number(Thing::Record(dense as u32)),
                }
            }
        }
    }

    fn number(&mut self, thing: Thing) {
        let id = self.ids.of(thing);
        if *id == 0 {
            self.things.push(thing);
            *id = self.things.len() as u32;
        }
    }

    /// Numbers what is referred to without being shown, such as the prototypes of functions.
    fn number_reached(&mut self) {
        let mut next = 0;
        while next < self.things.len() {
            let thing = self.things[next];
            let mut targets = self.targets(thing);
            visit_type_refs(&self.record(thing), |word| {
                if let Some(target) = targets.resolve(self.pool, self.symbols, GlobalRef(word)) {
                    self.number(target);
                }
            });
            next += 1;
        }
    }

    fn write(&mut self, thing: Thing) {
        let mut targets = self.targets(thing);
        let known = self.record(thing);
        let Emitter { pool, symbols, ids, strings, builder, words, .. } = self;
        words.clear();
        words.extend_from_slice(&known);
        visit_refs(words, |what, word| match what {
            Ref::String => *word = string(pool, strings, builder, Name(*word)).0,
            Ref::Type => {
                let target = targets.resolve(pool, symbols, GlobalRef(*word));
                *word = target.map_or(0, |target| *ids.of(target));
            }
        });
        builder.add_record(words);
    }

    /// A thing's record, still with the pool's names and references.
    fn record(&self, thing: Thing) -> Cow<'p, [u32]> {
        match thing {
            Thing::Record(record) => self.pool.record(record as usize).into(),
            Thing::Group(group) => {
                self.pool.record(self.context.groups[group as usize].record as usize).into()
            }
            Thing::Declared(symbol) => {
                let declarations = &self.symbols.get(symbol).declarations;
                let record = declarations
                    .iter()
                    .map(|&record| self.pool.record(record as usize))
                    .min_by_key(|r| r[1..].to_vec());
                let kind = symbol.symbol_kind();
                match record {
                    Some(record) => record.into(),
                    None if kind == SymbolKind::Enum => {
                        vec![symbol.symbol_name().0, Info::new(Kind::Enum, 0, false).0, 4].into()
                    }
                    None => {
                        let union = kind == SymbolKind::Union;
                        vec![symbol.symbol_name().0, Info::new(Kind::Fwd, 0, union).0, 0].into()
                    }
                }
            }
        }
    }

    fn targets(&self, thing: Thing) -> Targets<'a> {
        let groups = match thing {
            Thing::Group(group) => self.context.groups[group as usize].targets.as_slice(),
            _ => &[],
        };
        Targets { groups: groups.iter() }
    }

    /// What a declaration's type is.
    fn declared_target(&self, declaration: &Declaration) -> Option<Thing> {
        let Handle(word) = declaration.ty;
        if word == 0 {
            return None;
        }
        let unit = declaration.unit;
        let global = match &self.units[unit as usize].edges {
            Some(edges) => edges.records[word as usize - 1],
            None => GlobalRef(word),
        };
        if global.is_void() {
            return None;
        }
        if global.is_symbol() {
            let symbol = self.symbols.get(global);
            return Some(match (self.context.definition(unit, global), symbol.definitions.as_slice()) {
                (Some(group), _) => Thing::Group(group),
                (None, &[only]) if !symbol.contextual => Thing::Record(only),
                (None, _) => Thing::Declared(global),
            });
        }
        let dense = self.pool.dense(global);
        let contextual = self.symbols.contextual[dense];
        let key = if self.units[unit as usize].edges.is_some() { word } else { dense as u32 };
        if let Some(group) = self.context.group(unit, key).filter(|_| contextual) {
            return Some(Thing::Group(group));
        }
        let record = self.pool.record(dense);
        if only_declares(Info(record[1]))
            && let Some(symbol) = GlobalRef::symbol_of(record[0], Info(record[1]))
        {
            return Targets { groups: [].iter() }.resolve(self.pool, self.symbols, symbol);
        }
        Some(Thing::Record(dense as u32))
    }

    fn write_declaration(&mut self, declaration: &Declaration, target: TypeId, first: u32) -> Result<()> {
        let Emitter { pool, strings, builder, words, .. } = self;
        let name = string(pool, strings, builder, declaration.name).0;
        let head = |kind, vlen, third| [name, Info::new(kind, vlen, false).0, third];
        words.clear();
        match &declaration.kind {
            DeclarationKind::Func { linkage } => words.extend(head(Kind::Func, *linkage, target.0)),
            DeclarationKind::Var { linkage } => {
                words.extend(head(Kind::Var, 0, target.0));
                words.push(*linkage);
            }
            DeclarationKind::Datasec { size, vars } => {
                let vlen = checked_vlen("variables of one section", vars.len())?;
                words.extend(head(Kind::Datasec, vlen, *size));
                words.extend(vars.iter().flat_map(|&(var, offset, size)| [first + var, offset, size]));
            }
            DeclarationKind::DeclTag { on, component } => {
                let target = on.map_or(target.0, |index| first + index);
                words.extend(head(Kind::DeclTag, 0, target));
                words.push(*component as u32);
            }
        }
        builder.add_record(words);
        Ok(())
    }
}

/// Where a name is in the result. A pool has each name once, so that no name need be compared with those before.
fn string(pool: &FrozenPool<'_>, strings: &mut [StrOffset], builder: &mut Builder, name: Name) -> StrOffset {
    let string = &mut strings[name.word() as usize];
    if *string == StrOffset(0) {
        *string = builder.new_string(pool.name(name));
    }
    *string
}

/// Resolves the references of one record in the order in which they stand.
struct Targets<'a> {
    /// Groups of the record's contextual references.
    groups: std::slice::Iter<'a, u32>,
}

impl Targets<'_> {
    fn resolve(&mut self, pool: &FrozenPool<'_>, symbols: &Symbols, reference: GlobalRef) -> Option<Thing> {
        if reference.is_void() {
            return None;
        }
        if symbols.is_contextual(pool, reference) {
            return Some(match self.groups.next() {
                Some(&group) if group != DECLARED => Thing::Group(group),
                _ if reference.is_symbol() => Thing::Declared(reference),
                _ => Thing::Record(pool.dense(reference) as u32),
            });
        }
        if reference.is_symbol() {
            return Some(match symbols.get(reference).definitions.first() {
                Some(&definition) => Thing::Record(definition),
                None => Thing::Declared(reference),
            });
        }
        Some(Thing::Record(pool.dense(reference) as u32))
    }
}
