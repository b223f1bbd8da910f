//! Abbreviation tables (DWARF 5, section 7.5.3), so that a file's take no longer to read than they are long.
//!
//! Compilers write one table for each unit; `dwz` and linkers let units share them. A shared table is read once. Nobody writes tables
//! that overlap, but it would be legal: in a file of ordinary size they are read, and in one that could keep us busy for ever they are not.

use std::borrow::Cow;
use std::sync::OnceLock;

use gimli::{Abbreviations, DebugAbbrevOffset, EndianSlice, RunTimeEndian};

use super::unit_error::UnitError;

/// The tables of `.debug_abbrev`.
pub(crate) struct Tables<'a> {
    bytes: &'a [u8],
    /// By offset, ascending.
    known: Vec<Table>,
    /// Whether a table may run into the next one.
    may_overlap: bool,
}

struct Table {
    offset: usize,
    users: usize,
    shared: OnceLock<Result<Abbreviations, UnitError>>,
}

/// The most bytes to read of tables that may overlap.
const MAX_OVERLAPPING: usize = 1 << 28;

impl<'a> Tables<'a> {
    /// The tables at `offsets`, one for each unit.
    pub(crate) fn new(bytes: &'a [u8], mut offsets: Vec<usize>) -> Tables<'a> {
        offsets.sort_unstable();
        let known: Vec<Table> = offsets
            .chunk_by(|left, right| left == right)
            .map(|same| Table { offset: same[0], users: same.len(), shared: OnceLock::new() })
            .collect();
        let may_overlap = known.len().saturating_mul(bytes.len()) <= MAX_OVERLAPPING;
        Tables { bytes, known, may_overlap }
    }

    /// The table at one of the offsets.
    pub(crate) fn get(&self, offset: usize) -> Result<Cow<'_, Abbreviations>, UnitError> {
        let place = self.known.partition_point(|table| table.offset < offset);
        let Some(table) = self.known.get(place).filter(|table| table.offset == offset && table.users > 1)
        else {
            return self.parse(place, offset).map(Cow::Owned);
        };
        match table.shared.get_or_init(|| self.parse(place, offset)) {
            Ok(table) => Ok(Cow::Borrowed(table)),
            Err(error) => Err(error.clone()),
        }
    }

    fn parse(&self, place: usize, offset: usize) -> Result<Abbreviations, UnitError> {
        let next = self.known.get(place + 1).filter(|_| !self.may_overlap);
        let bytes = next.and_then(|next| self.bytes.get(..next.offset)).unwrap_or(self.bytes);
        // The byte order does not matter: tables are made of bytes and LEB128 numbers.
        gimli::DebugAbbrev::from(EndianSlice::new(bytes, RunTimeEndian::Little))
            .abbreviations(DebugAbbrevOffset(offset))
            .map_err(|error| UnitError::Table(offset, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three abbreviations of a base type without attributes, with codes 1 to 3, and the table's end.
    const TABLE: [u8; 16] = [1, 0x24, 0, 0, 0, 2, 0x24, 0, 0, 0, 3, 0x24, 0, 0, 0, 0];

    /// Check that tables may share their ends in a small file, and that a shared table is read once.
    #[test]
    fn overlapping_tables() {
        let tables = Tables::new(&TABLE, vec![0, 5, 5, 10]);
        let codes = |offset| (1..=3).filter(|&code| tables.get(offset).unwrap().get(code).is_some()).count();
        assert_eq!([0, 5, 10].map(codes), [3, 2, 1]);
        assert!(matches!(tables.get(5), Ok(Cow::Borrowed(_))));
        assert!(matches!(tables.get(0), Ok(Cow::Owned(_))));
        assert!(tables.get(17).is_err());
    }

    /// Check that in a file in which overlapping tables would take too long each ends where the next begins.
    #[test]
    fn many_overlapping_tables() {
        let bytes = TABLE[..5].repeat(4000).into_iter().chain([0]).collect::<Vec<u8>>();
        let offsets: Vec<usize> = (0..20_001).collect();
        let tables = Tables::new(&bytes, offsets);
        assert!(!tables.may_overlap);
        assert!(matches!(tables.get(0), Err(UnitError::Table(0, _))));
    }
}
