//! Abbreviation tables (DWARF 5, section 7.5.3), so that a file's take no longer to read than they are long.
//!
//! Compilers write one table for each unit; `dwz` and linkers let units share them. A shared table is read once. Nobody writes tables
//! that overlap, but it would be legal: in a file of ordinary size they are read, and in one that could keep us busy for ever they are not.

use std::sync::OnceLock;

use gimli::Encoding;

use super::plan::Plans;
use super::sections::UnitPlace;
use super::unit_error::UnitError;

/// The tables of `.debug_abbrev`.
pub(crate) struct Tables<'a> {
    bytes: &'a [u8],
    /// By offset and encoding, ascending.
    known: Vec<Table>,
    /// Whether a table may run into the next one.
    may_overlap: bool,
}

struct Table {
    key: Key,
    users: usize,
    shared: OnceLock<Result<Plans, UnitError>>,
}

/// What the plans of a table depend on: its offset, and the encoding of the unit.
type Key = (usize, u16, u8, bool);

fn key(offset: usize, encoding: Encoding) -> Key {
    (offset, encoding.version, encoding.address_size, encoding.format == gimli::Format::Dwarf64)
}

/// The most bytes to read of tables that may overlap.
const MAX_OVERLAPPING: usize = 1 << 28;

impl<'a> Tables<'a> {
    /// The tables that the units at `places` use.
    pub(crate) fn new(bytes: &'a [u8], places: &[UnitPlace]) -> Tables<'a> {
        let mut keys: Vec<Key> = places.iter().map(|place| key(place.abbrev, place.encoding)).collect();
        keys.sort_unstable();
        let known: Vec<Table> = keys
            .chunk_by(|left, right| left == right)
            .map(|same| Table { key: same[0], users: same.len(), shared: OnceLock::new() })
            .collect();
        let may_overlap = known.len().saturating_mul(bytes.len()) <= MAX_OVERLAPPING;
        Tables { bytes, known, may_overlap }
    }

    /// The plans for a unit. `own` is where they are read to, unless other units share them.
    pub(crate) fn get<'p>(&'p self, place: &UnitPlace, own: &'p mut Plans) -> Result<&'p Plans, UnitError> {
        let key = key(place.abbrev, place.encoding);
        let at = self.known.partition_point(|table| table.key < key);
        let shared = self.known.get(at).filter(|table| table.key == key && table.users > 1);
        let Some(table) = shared else {
            self.read(at, place, own)?;
            return Ok(own);
        };
        let read = || {
            let mut plans = Plans::default();
            self.read(at, place, &mut plans).map(|()| plans)
        };
        table.shared.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    fn read(&self, at: usize, place: &UnitPlace, plans: &mut Plans) -> Result<(), UnitError> {
        let next = || self.known.get(at..)?.iter().find(|table| table.key.0 > place.abbrev);
        let end = if self.may_overlap { None } else { next() };
        let bytes = end.and_then(|next| self.bytes.get(..next.key.0)).unwrap_or(self.bytes);
        plans.read(bytes, place.abbrev, place.encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three abbreviations of a base type without attributes, with codes 1 to 3, and the table's end.
    const TABLE: [u8; 16] = [1, 0x24, 0, 0, 0, 2, 0x24, 0, 0, 0, 3, 0x24, 0, 0, 0, 0];

    fn place(abbrev: usize, version: u16) -> UnitPlace {
        let encoding = Encoding { address_size: 8, format: gimli::Format::Dwarf32, version };
        UnitPlace {
            section: ".debug_info",
            supplementary: false,
            offset: 0,
            start: 0,
            entries: 0,
            end: 0,
            abbrev,
            encoding,
        }
    }

    fn places(offsets: impl IntoIterator<Item = usize>) -> Vec<UnitPlace> {
        offsets.into_iter().map(|offset| place(offset, 5)).collect()
    }

    /// Check that tables may share their ends in a small file, and that a shared table is read once for each encoding.
    #[test]
    fn overlapping_tables() {
        let mut all = places([0, 5, 5, 10]);
        all.extend([place(5, 4)]);
        let tables = Tables::new(&TABLE, &all);
        let codes = |offset| {
            let mut own = Plans::default();
            let plans = tables.get(&place(offset, 5), &mut own).unwrap();
            (1..=3).filter(|&code| plans.get(code).is_ok()).count()
        };
        assert_eq!([0, 5, 10].map(codes), [3, 2, 1]);
        assert_eq!(tables.known.iter().filter(|table| table.shared.get().is_some()).count(), 1);
        let mut own = Plans::default();
        assert!(tables.get(&place(5, 4), &mut own).is_ok());
        assert!(own.get(2).is_ok());
        assert!(tables.get(&place(17, 5), &mut own).is_err());
    }

    /// Check that in a file in which overlapping tables would take too long each ends where the next begins.
    #[test]
    fn many_overlapping_tables() {
        let bytes = TABLE[..5].repeat(4000).into_iter().chain([0]).collect::<Vec<u8>>();
        let tables = Tables::new(&bytes, &places(0..20_001));
        assert!(!tables.may_overlap);
        assert!(matches!(tables.get(&place(0, 5), &mut Plans::default()), Err(UnitError::Table(0, _))));
    }
}
