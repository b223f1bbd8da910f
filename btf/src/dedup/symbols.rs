//! Which definitions each symbol has, and which records could mean different things in different units.

use super::pool::{FrozenPool, GlobalRef, only_declares};
use crate::kind::Info;
use crate::refs::visit_type_refs;

/// Definitions and declarations of one symbol, as dense record numbers.
#[derive(Default, Debug)]
pub(super) struct Symbol {
    pub(super) definitions: Vec<u32>,
    /// Records that only declare it: FWDs, enums without enumerators.
    pub(super) declarations: Vec<u32>,
    /// Whether what it means depends on the unit: it has several definitions, or its definition reaches such a symbol.
    pub(super) contextual: bool,
}

/// All symbols of a pool.
pub(super) struct Symbols {
    all: Vec<(GlobalRef, Symbol)>,
    /// Where each is in `all`, plus one, by kind and number of the name; 0 for what no record defines or declares.
    places: Vec<u32>,
    names: usize,
    /// For each record whether what it means depends on the unit that it is seen in.
    pub(super) contextual: Vec<bool>,
}

impl Symbols {
    /// Collects the symbols of all records, and marks what reaches one with several definitions.
    pub(super) fn of(pool: &FrozenPool<'_>) -> Symbols {
        let names = pool.name_numbers();
        let mut symbols = Symbols {
            all: Vec::new(),
            places: vec![0; 3 * names],
            names,
            contextual: vec![false; pool.len()],
        };
        for (dense, record) in pool.iter().enumerate() {
            if let Some((symbol, declares)) = defined_by(record) {
                let slot = symbols.slot(symbol);
                if symbols.places[slot] == 0 {
                    symbols.all.push((symbol, Symbol::default()));
                    symbols.places[slot] = symbols.all.len() as u32;
                }
                let (_, symbol) = &mut symbols.all[symbols.places[slot] as usize - 1];
                let list = if declares { &mut symbol.declarations } else { &mut symbol.definitions };
                list.push(dense as u32);
            }
        }
        symbols.mark_contextual(pool);
        symbols
    }

    fn slot(&self, symbol: GlobalRef) -> usize {
        symbol.symbol_kind() as usize * self.names + symbol.symbol_name().word() as usize
    }

    /// Where a symbol is in `all`, if any record defines or declares it.
    fn place(&self, symbol: GlobalRef) -> Option<usize> {
        (self.places[self.slot(symbol)] as usize).checked_sub(1)
    }

    /// The symbol, empty if no record defines or declares it.
    pub(super) fn get(&self, symbol: GlobalRef) -> &Symbol {
        static NONE: Symbol = Symbol { definitions: Vec::new(), declarations: Vec::new(), contextual: false };
        self.place(symbol).map_or(&NONE, |place| &self.all[place].1)
    }

    /// Whether what a reference means depends on the unit.
    pub(super) fn is_contextual(&self, pool: &FrozenPool<'_>, reference: GlobalRef) -> bool {
        if reference.is_void() {
            false
        } else if reference.is_symbol() {
            self.get(reference).contextual
        } else {
            self.contextual[pool.dense(reference)]
        }
    }

    fn mark_contextual(&mut self, pool: &FrozenPool<'_>) {
        let mut work: Vec<usize> =
            (0..self.all.len()).filter(|&place| self.all[place].1.definitions.len() > 1).collect();
        if work.is_empty() {
            return;
        }
        let users = Users::of(pool, self);
        while let Some(place) = work.pop() {
            let (_, symbol) = &mut self.all[place];
            if std::mem::replace(&mut symbol.contextual, true) {
                continue;
            }
            let mut records = symbol.definitions.clone();
            records.extend(users.of_symbol(place));
            while let Some(record) = records.pop() {
                if std::mem::replace(&mut self.contextual[record as usize], true) {
                    continue;
                }
                records.extend(users.of_record(record));
                if let Some((symbol, _)) = defined_by(pool.record(record as usize)) {
                    work.extend(self.place(symbol));
                }
            }
        }
        // A record that only declares means its symbol and nothing else.
        for (_, symbol) in &self.all {
            for &declaration in &symbol.declarations {
                self.contextual[declaration as usize] = false;
            }
        }
    }
}

/// The symbol that a record defines, or only declares.
pub(super) fn defined_by(record: &[u32]) -> Option<(GlobalRef, bool)> {
    let [name, info, ..] = record else { return None };
    let info = Info(*info);
    Some((GlobalRef::symbol_of(*name, info)?, only_declares(info)))
}

/// For each record and symbol, which records refer to it.
struct Users {
    /// Number of records; symbols are counted on from there.
    records: usize,
    /// Where the users of each begin in `users`.
    starts: Vec<u32>,
    users: Vec<u32>,
}

impl Users {
    fn of(pool: &FrozenPool<'_>, symbols: &Symbols) -> Users {
        let records = pool.len();
        let target = |word: u32| {
            let target = GlobalRef(word);
            if target.is_void() {
                None
            } else if target.is_symbol() {
                symbols.place(target).map(|place| records + place)
            } else {
                Some(pool.dense(target))
            }
        };
        // Counted first, and then put in order.
        let mut starts = vec![0; records + symbols.all.len() + 1];
        for record in pool.iter() {
            visit_type_refs(record, |word| {
                if let Some(target) = target(word) {
                    starts[target] += 1;
                }
            });
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut users = vec![0; sum as usize];
        for (user, record) in pool.iter().enumerate() {
            visit_type_refs(record, |word| {
                if let Some(target) = target(word) {
                    starts[target] -= 1;
                    users[starts[target] as usize] = user as u32;
                }
            });
        }
        Users { records, starts, users }
    }

    fn at(&self, target: usize) -> impl Iterator<Item = u32> + '_ {
        self.users[self.starts[target] as usize..self.starts[target + 1] as usize].iter().copied()
    }

    fn of_record(&self, record: u32) -> impl Iterator<Item = u32> + '_ {
        self.at(record as usize)
    }

    fn of_symbol(&self, place: usize) -> impl Iterator<Item = u32> + '_ {
        self.at(self.records + place)
    }
}
