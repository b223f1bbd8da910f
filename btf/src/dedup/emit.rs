//! Writing what is left after deduplication: every type once, in the order in which the units first show it.

use hashbrown::HashMap;

use super::context::{Context, DECLARED};
use super::pool::{FrozenPool, GlobalRef, Name, SymbolKind, only_declares};
use super::symbols::{Symbols, defined_by};
use super::unit::{Handle, UnitTypes};
use super::{Declaration, DeclarationKind};
use crate::build::Builder;
use crate::error::{Error, Result};
use crate::kind::{Info, Kind, MAX_VLEN};
use crate::refs::{Ref, visit_refs};
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
    ids: HashMap<Thing, u32, foldhash::fast::FixedState>,
    things: Vec<Thing>,
    strings: HashMap<Name, StrOffset, foldhash::fast::FixedState>,
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
            ids: HashMap::default(),
            things: Vec::new(),
            strings: HashMap::default(),
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
        for index in 0..self.things.len() {
            self.write(self.things[index]);
        }
        let first = self.builder.next_id().0;
        for (declaration, target) in declarations.iter().zip(targets) {
            let target = target.map_or(TypeId::VOID, |target| TypeId(self.ids[&target]));
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
        let next = self.things.len() as u32 + 1;
        if let hashbrown::hash_map::Entry::Vacant(slot) = self.ids.entry(thing) {
            slot.insert(next);
            self.things.push(thing);
        }
    }

    /// Numbers what is referred to without being shown, such as the prototypes of functions.
    fn number_reached(&mut self) {
        let mut next = 0;
        while next < self.things.len() {
            let thing = self.things[next];
            let mut targets = self.targets(thing);
            let mut record = self.record(thing);
            visit_refs(&mut record, |what, word| {
                if what == Ref::Type
                    && let Some(target) = targets.resolve(self.pool, self.symbols, GlobalRef(*word))
                {
                    let number = self.things.len() as u32 + 1;
                    if let hashbrown::hash_map::Entry::Vacant(slot) = self.ids.entry(target) {
                        slot.insert(number);
                        self.things.push(target);
                    }
                }
            });
            next += 1;
        }
    }

    fn write(&mut self, thing: Thing) {
        let mut targets = self.targets(thing);
        let mut record = self.record(thing);
        let Emitter { pool, symbols, ids, strings, builder, .. } = self;
        visit_refs(&mut record, |what, word| match what {
            Ref::String => {
                let name = Name(*word);
                *word = strings.entry(name).or_insert_with(|| builder.string(pool.name(name))).0;
            }
            Ref::Type => {
                let target = targets.resolve(pool, symbols, GlobalRef(*word));
                *word = target.map_or(0, |target| ids[&target]);
            }
        });
        builder.add_record(&record);
    }

    /// A thing's record, still with the pool's names and references.
    fn record(&self, thing: Thing) -> Vec<u32> {
        match thing {
            Thing::Record(record) => self.pool.record(record as usize).to_vec(),
            Thing::Group(group) => {
                self.pool.record(self.context.groups[group as usize].record as usize).to_vec()
            }
            Thing::Declared(symbol) => {
                let declarations = &self.symbols.get(symbol).declarations;
                let record = declarations
                    .iter()
                    .map(|&record| self.pool.record(record as usize))
                    .min_by_key(|r| r[1..].to_vec());
                let kind = symbol.symbol_kind();
                match record {
                    Some(record) => record.to_vec(),
                    None if kind == SymbolKind::Enum => {
                        vec![symbol.symbol_name().0, Info::new(Kind::Enum, 0, false).0, 4]
                    }
                    None => {
                        let union = kind == SymbolKind::Union;
                        vec![symbol.symbol_name().0, Info::new(Kind::Fwd, 0, union).0, 0]
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
        let name = self.pool.name(declaration.name);
        let id = |index: u32| TypeId(first + index);
        match &declaration.kind {
            DeclarationKind::Func { linkage } => self.builder.func(name, target, *linkage),
            DeclarationKind::Var { linkage } => self.builder.var(name, target, *linkage),
            DeclarationKind::Datasec { size, vars } => {
                let vars: Vec<_> = vars
                    .iter()
                    .map(|&(var, offset, size)| crate::SectionVar { ty: id(var), offset, size })
                    .collect();
                if vars.len() > MAX_VLEN as usize {
                    let (value, limit) = (vars.len() as u64, MAX_VLEN.into());
                    return Err(Error::TooLarge { what: "variables of one section", value, limit });
                }
                self.builder.datasec(name, *size, &vars)?
            }
            DeclarationKind::DeclTag { on: Some(index), component } => {
                self.builder.decl_tag(name, id(*index), *component)
            }
            DeclarationKind::DeclTag { on: None, component } => {
                self.builder.decl_tag(name, target, *component)
            }
        };
        Ok(())
    }
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
