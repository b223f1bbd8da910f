//! Converting all units as one: where they refer to each other's types, by link-time optimisation or by `dwz`.
//!
//! Offsets in the whole of `.debug_info` take the place of those in a unit, and one thread reads all. Of a supplementary file, which
//! belongs to several files, the units are read that this file's units import or refer to, and those that these do.

use btf::dedup::Pool;

use super::convert::{Input, Outcome, Units};
use super::kernel_symbols::KernelSymbols;
use super::names::Names;
use super::sections::UnitPlace;

impl<const BIG: bool> Input<'_, BIG> {
    /// Converts all units as one, so that they may refer to each other's types.
    pub(super) fn all_as_one(&self, pool: &Pool, names: &Names, symbols: &KernelSymbols) -> Units {
        let mut reader = self.reader(pool, names);
        let bounds = (0, self.sections.info.len());
        let own = self.places.partition_point(|place| !place.supplementary);
        let (own, supplementary) = self.places.split_at(own);
        let mut outcomes: Vec<Outcome> =
            own.iter().map(|place| self.read(&mut reader, place, bounds)).collect();
        let needed = self.needed((pool, names), supplementary, std::mem::take(&mut reader.reached));
        // In their order, so that offsets keep ascending.
        outcomes.extend(supplementary.iter().zip(needed).map(|(place, needed)| {
            if needed { self.read(&mut reader, place, bounds) } else { Outcome::Unused }
        }));
        reader.resolve(&self.sections.strings, self.address_size, BIG, |name| symbols.knows(name));
        let types = reader.intern(true);
        let declarations = self.declarations(symbols, &reader, true);
        Units { outcomes, types: vec![types], declarations: vec![declarations] }
    }

    /// Which units of the supplementary file are reached from DIEs at these offsets.
    fn needed(
        &self,
        (pool, names): (&Pool, &Names),
        units: &[UnitPlace],
        mut reached: Vec<u32>,
    ) -> Vec<bool> {
        let mut needed = vec![false; units.len()];
        let mut scout = self.reader(pool, names);
        while let Some(offset) = reached.pop() {
            let after = units.partition_point(|place| place.start <= offset as usize);
            let Some(index) = after.checked_sub(1) else { continue };
            if !std::mem::replace(&mut needed[index], true) {
                scout.clear();
                // What is wrong with it is told when it is read for good.
                let _ = self.read(&mut scout, &units[index], (0, self.sections.info.len()));
                reached.append(&mut scout.reached);
            }
        }
        needed
    }
}
