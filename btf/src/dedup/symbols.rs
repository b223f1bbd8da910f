//! Which definitions each symbol has, and which records could mean different things in different units.

use hashbrown::HashMap;

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
    map: HashMap<GlobalRef, Symbol, foldhash::fast::RandomState>,
    /// For each record whether what it means depends on the unit that it is seen in.
    pub(super) contextual: Vec<bool>,
}

impl Symbols {
    /// Collects the symbols of all records, and marks what reaches one with several definitions.
    pub(super) fn of(pool: &FrozenPool<'_>) -> Symbols {
        let mut map: HashMap<GlobalRef, Symbol, _> = HashMap::default();
        for (dense, record) in pool.iter().enumerate() {
            if let Some((symbol, declares)) = defined_by(record) {
                let symbol = map.entry(symbol).or_default();
                let list = if declares { &mut symbol.declarations } else { &mut symbol.definitions };
                list.push(dense as u32);
            }
        }
        let mut symbols = Symbols { map, contextual: vec![false; pool.len()] };
        symbols.mark_contextual(pool);
        symbols
    }

    /// The symbol, empty if no record defines or declares it.
    pub(super) fn get(&self, symbol: GlobalRef) -> &Symbol {
        static NONE: Symbol = Symbol { definitions: Vec::new(), declarations: Vec::new(), contextual: false };
        self.map.get(&symbol).unwrap_or(&NONE)
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
        let mut work: Vec<GlobalRef> = self
            .map
            .iter()
            .filter(|(_, symbol)| symbol.definitions.len() > 1)
            .map(|(&symbol, _)| symbol)
            .collect();
        if work.is_empty() {
            return;
        }
        let users = Users::of(pool);
        while let Some(symbol) = work.pop() {
            let Some(entry) = self.map.get_mut(&symbol) else { continue };
            if std::mem::replace(&mut entry.contextual, true) {
                continue;
            }
            let mut records = entry.definitions.clone();
            records.extend(users.of_symbol(symbol));
            while let Some(record) = records.pop() {
                if std::mem::replace(&mut self.contextual[record as usize], true) {
                    continue;
                }
                records.extend(users.of_record(record));
                if let Some((symbol, _)) = defined_by(pool.record(record as usize)) {
                    work.push(symbol);
                }
            }
        }
        // A record that only declares means its symbol and nothing else.
        for symbol in self.map.values() {
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
    of_record: Vec<Vec<u32>>,
    of_symbol: HashMap<GlobalRef, Vec<u32>, foldhash::fast::RandomState>,
}

impl Users {
    fn of(pool: &FrozenPool<'_>) -> Users {
        let mut users = Users { of_record: vec![Vec::new(); pool.len()], of_symbol: HashMap::default() };
        for (user, record) in pool.iter().enumerate() {
            visit_type_refs(record, |word| {
                let target = GlobalRef(word);
                if target.is_symbol() {
                    users.of_symbol.entry(target).or_default().push(user as u32);
                } else if !target.is_void() {
                    users.of_record[pool.dense(target)].push(user as u32);
                }
            });
        }
        users
    }

    fn of_record(&self, record: u32) -> impl Iterator<Item = u32> + '_ {
        self.of_record[record as usize].iter().copied()
    }

    fn of_symbol(&self, symbol: GlobalRef) -> impl Iterator<Item = u32> + '_ {
        self.of_symbol.get(&symbol).into_iter().flatten().copied()
    }
}
