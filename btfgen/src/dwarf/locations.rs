//! Location lists and address ranges: where a parameter is when its function is entered, and where a function's code starts.
//!
//! DWARF 5, sections 2.6 and 7.7.3 (`.debug_loclists`), 7.28 (`.debug_rnglists`); DWARF 4, sections 2.6.2 and 2.17.3 (`.debug_loc`,
//! `.debug_ranges`). Of a list's entries only the expressions matter here, not the addresses for which they hold.

use gimli::{Encoding, EndianSlice, Operation, RunTimeEndian};

use super::cursor::{Cursor, Truncated};
use super::form::Value;

/// The sections that hold lists.
#[derive(Clone, Copy)]
pub(crate) struct ListSections<'a> {
    /// `.debug_loc`, of DWARF 2 to 4.
    pub(crate) loc: &'a [u8],
    /// `.debug_loclists`, of DWARF 5.
    pub(crate) loclists: &'a [u8],
    /// `.debug_ranges`, of DWARF 2 to 4.
    pub(crate) ranges: &'a [u8],
    /// `.debug_rnglists`, of DWARF 5.
    pub(crate) rnglists: &'a [u8],
}

/// The register that a parameter is in when its function is entered, by its number in DWARF, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// If one register holds the whole parameter.
    pub(crate) whole: Option<u8>,
    /// If it takes several: the first of them.
    pub(crate) first: Option<u8>,
}

/// What has been learnt of a parameter's place from the entries of its list so far.
#[derive(Default)]
struct Search {
    place: Place,
    /// Number of entries so far.
    entries: u32,
}

impl Search {
    fn is_over(&self) -> bool {
        self.place.whole.is_some() && self.place.first.is_some()
    }

    /// Takes in the next entry. What the first one says is so at the entry of the function, and what the value at the entry was
    /// (`DW_OP_entry_value`) may be told by any.
    fn expression<const BIG: bool>(&mut self, expression: &[u8], encoding: Encoding) {
        let is_first = self.entries == 0;
        self.entries += 1;
        if let [op] = *expression {
            if let Some(register) = register(op).filter(|_| is_first) {
                self.is_in(register);
            }
            return;
        }
        let endian = if BIG { RunTimeEndian::Big } else { RunTimeEndian::Little };
        let mut ops = gimli::Expression(EndianSlice::new(expression, endian)).operations(encoding);
        let (mut first, mut count, mut computed, mut piece) = (None, 0_usize, false, None);
        while let Ok(Some(op)) = ops.next() {
            match op {
                Operation::StackValue => computed |= count > 0,
                Operation::Register { register } => piece = piece.or(number(register)),
                _ => {}
            }
            first.get_or_insert(op);
            count += 1;
        }
        let alone = count == 1 || (count == 2 && computed);
        match first {
            Some(Operation::EntryValue { expression }) if alone => {
                if let [op] = *expression.slice()
                    && let Some(register) = register(op)
                {
                    self.is_in(register);
                }
            }
            Some(Operation::Register { register }) if is_first => {
                self.place.whole = self.place.whole.or(number(register));
            }
            // The value is computed from what the register holds, which is the parameter or was.
            Some(Operation::RegisterOffset { register, .. }) if is_first && computed => {
                self.place.whole = self.place.whole.or(number(register));
                if alone {
                    self.place.first = self.place.first.or(number(register));
                }
            }
            _ => {}
        }
        if !alone {
            self.place.first = self.place.first.or(piece);
        }
    }

    fn is_in(&mut self, register: u8) {
        self.place.whole = self.place.whole.or(Some(register));
        self.place.first = self.place.first.or(Some(register));
    }
}

/// The register that `DW_OP_reg0` to `DW_OP_reg31` names.
fn register(op: u8) -> Option<u8> {
    op.checked_sub(gimli::DW_OP_reg0.0).filter(|&register| register < 32)
}

fn number(register: gimli::Register) -> Option<u8> {
    u8::try_from(register.0).ok().filter(|&register| register < 32)
}

/// Where a parameter is when its function is entered. `budget` is how many more bytes of lists may be read: hostile
/// DIEs could refer to one long list over and over.
pub(crate) fn place_at_entry<const BIG: bool>(
    location: Value<'_>,
    lists: &ListSections<'_>,
    encoding: Encoding,
    budget: &mut usize,
) -> Place {
    let mut search = Search::default();
    match location {
        Value::Block(expression) => search.expression::<BIG>(expression, encoding),
        Value::Unsigned(offset) => {
            let Ok(offset) = usize::try_from(offset) else { return search.place };
            // A damaged list ends where the damage starts.
            let _ = if encoding.version < 5 {
                search.old_list(Cursor::<BIG>::new(lists.loc, offset), encoding, budget)
            } else {
                search.list(Cursor::<BIG>::new(lists.loclists, offset), encoding, budget)
            };
        }
        _ => {}
    }
    search.place
}

impl Search {
    fn entry<const BIG: bool>(
        &mut self,
        cursor: &mut Cursor<'_, BIG>,
        len: u64,
        encoding: Encoding,
        budget: &mut usize,
    ) -> Result<(), Truncated> {
        let expression = cursor.bytes(len)?;
        *budget = budget.checked_sub(1 + expression.len()).ok_or(Truncated)?;
        self.expression::<BIG>(expression, encoding);
        Ok(())
    }

    fn old_list<const BIG: bool>(
        &mut self,
        mut cursor: Cursor<'_, BIG>,
        encoding: Encoding,
        budget: &mut usize,
    ) -> Result<(), Truncated> {
        let last = u64::MAX >> (64 - u32::from(encoding.address_size.clamp(1, 8)) * 8);
        while !self.is_over() {
            let (begin, end) = (cursor.word(encoding.address_size)?, cursor.word(encoding.address_size)?);
            if (begin, end) == (0, 0) {
                break;
            }
            if begin == last {
                *budget = budget.checked_sub(1).ok_or(Truncated)?;
                continue; // a base address
            }
            let len = cursor.u16()?;
            self.entry(&mut cursor, len.into(), encoding, budget)?;
        }
        Ok(())
    }

    fn list<const BIG: bool>(
        &mut self,
        mut cursor: Cursor<'_, BIG>,
        encoding: Encoding,
        budget: &mut usize,
    ) -> Result<(), Truncated> {
        let address = usize::from(encoding.address_size);
        while !self.is_over() {
            match gimli::DwLle(cursor.u8()?) {
                gimli::DW_LLE_end_of_list => break,
                kind @ (gimli::DW_LLE_base_addressx
                | gimli::DW_LLE_base_address
                | gimli::DW_LLE_GNU_view_pair) => {
                    match kind {
                        gimli::DW_LLE_base_address => cursor.skip(address)?,
                        gimli::DW_LLE_base_addressx => cursor.skip_leb()?,
                        _ => {
                            cursor.skip_leb()?;
                            cursor.skip_leb()?;
                        }
                    }
                    *budget = budget.checked_sub(1).ok_or(Truncated)?;
                    continue;
                }
                gimli::DW_LLE_startx_endx | gimli::DW_LLE_startx_length | gimli::DW_LLE_offset_pair => {
                    cursor.skip_leb()?;
                    cursor.skip_leb()?;
                }
                gimli::DW_LLE_default_location => {}
                gimli::DW_LLE_start_end => cursor.skip(address * 2)?,
                gimli::DW_LLE_start_length => {
                    cursor.skip(address)?;
                    cursor.skip_leb()?;
                }
                _ => return Err(Truncated),
            }
            let len = cursor.uleb()?;
            self.entry(&mut cursor, len, encoding, budget)?;
        }
        Ok(())
    }
}

/// What addresses in a unit's lists are relative to.
pub(crate) struct AddressBase<'a> {
    /// The unit's own address.
    pub(crate) low_pc: u64,
    /// `.debug_addr`.
    pub(crate) addr: &'a [u8],
    /// Where the unit's part of it starts.
    pub(crate) addr_base: u64,
}

/// The first address of a list of ranges.
pub(crate) fn first_address<const BIG: bool>(
    offset: u64,
    lists: &ListSections<'_>,
    encoding: Encoding,
    base: &AddressBase<'_>,
) -> Option<u64> {
    let endian = if BIG { RunTimeEndian::Big } else { RunTimeEndian::Little };
    let slice = |bytes| EndianSlice::new(bytes, endian);
    let ranges = gimli::RangeLists::new(slice(lists.ranges).into(), slice(lists.rnglists).into());
    let offset = gimli::RangeListsOffset(usize::try_from(offset).ok()?);
    let addr = gimli::DebugAddr::from(slice(base.addr));
    let addr_base = gimli::DebugAddrBase(usize::try_from(base.addr_base).ok()?);
    let mut ranges = ranges.ranges(offset, encoding, base.low_pc, &addr, addr_base).ok()?;
    ranges.next().ok()?.map(|range| range.begin)
}

#[cfg(test)]
mod tests {
    use gimli::Format;

    use super::*;

    const REG5: u8 = 0x55;
    const REG4: u8 = 0x54;
    const STACK_VALUE: u8 = 0x9f;

    fn encoding(version: u16) -> Encoding {
        Encoding { format: Format::Dwarf32, version, address_size: 4 }
    }

    fn whole(register: u8) -> Place {
        Place { whole: Some(register), first: Some(register) }
    }

    fn place(location: Value<'_>, section: &[u8], version: u16, budget: usize) -> Place {
        let lists = ListSections { loc: section, loclists: section, ranges: &[], rnglists: &[] };
        place_at_entry::<false>(location, &lists, encoding(version), &mut { budget })
    }

    /// Check what single expressions tell: registers, values computed from them, what they held at the entry, and pieces.
    #[test]
    fn expressions() {
        let of = |expression: &[u8]| place(Value::Block(expression), &[], 5, 0);
        assert_eq!(of(&[REG5]), whole(5));
        assert_eq!(of(&[0x90, 6]), Place { whole: Some(6), first: None }, "DW_OP_regx");
        assert_eq!(of(&[0x75, 1, STACK_VALUE]), whole(5), "DW_OP_breg5 1");
        assert_eq!(of(&[0x75, 1]), Place::default(), "in memory");
        assert_eq!(of(&[0x91, 0]), Place::default(), "DW_OP_fbreg: on the stack");
        assert_eq!(of(&[0xa3, 1, REG4, STACK_VALUE]), whole(4), "DW_OP_entry_value");
        // DW_OP_piece 8 of nothing, then a register for the rest.
        assert_eq!(of(&[0x93, 8, REG4, 0x93, 8]), Place { whole: None, first: Some(4) });
        assert_eq!(of(&[REG5, 0x93, 8, REG4, 0x93, 8]), whole(5));
        assert_eq!(of(&[]), Place::default());
        assert_eq!(of(&[0xa3]), Place::default(), "cut off");
    }

    /// Check that of a list the first entry counts, and entry values wherever they stand, in both versions of lists.
    #[test]
    fn lists() {
        let old = |entries: &[(u32, &[u8])]| {
            let mut bytes = vec![0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];
            for &(begin, expression) in entries {
                bytes.extend(begin.to_le_bytes());
                bytes.extend((begin + 1).to_le_bytes());
                bytes.extend((expression.len() as u16).to_le_bytes());
                bytes.extend(expression);
            }
            bytes.extend([0; 8]);
            bytes
        };
        let new = |entries: &[(u32, &[u8])]| {
            // A base address, a base by index, and a pair of views.
            let mut bytes = vec![6, 0, 0, 0, 0, 1, 0x80, 1, 9, 1, 2];
            for (number, &(begin, expression)) in entries.iter().enumerate() {
                match number % 4 {
                    0 => bytes.extend([4, begin as u8, 9]),
                    1 => bytes.extend([7, 0, 0, 0, 0, 9, 0, 0, 0]),
                    2 => bytes.extend([8, 0, 0, 0, 0, 9]),
                    _ => bytes.push(5),
                }
                bytes.push(expression.len() as u8);
                bytes.extend(expression);
            }
            bytes.push(0);
            bytes
        };
        let stack: &[u8] = &[0x91, 0];
        let entry_value: &[u8] = &[0xa3, 1, REG4, STACK_VALUE];
        let (reg5, reg4): (&[u8], &[u8]) = (&[REG5], &[REG4]);
        let cases = [
            (vec![(1, reg5), (2, reg4)], whole(5)),
            (vec![(1, stack), (2, reg4)], Place::default()),
            (vec![(1, stack), (2, stack), (3, stack), (4, entry_value)], whole(4)),
            (vec![], Place::default()),
        ];
        for (entries, expected) in cases {
            for (version, bytes) in [(4, old(&entries)), (5, new(&entries))] {
                assert_eq!(
                    place(Value::Unsigned(0), &bytes, version, 1000),
                    expected,
                    "{entries:?} {version}"
                );
                for len in 0..bytes.len() {
                    place(Value::Unsigned(0), &bytes[..len], version, 1000);
                }
                assert_eq!(place(Value::Unsigned(0), &bytes, version, 0), Place::default(), "no budget");
            }
        }
        assert_eq!(place(Value::Unsigned(u64::MAX), &[], 5, 1000), Place::default());
    }
}
