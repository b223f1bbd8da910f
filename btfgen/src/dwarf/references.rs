//! What the values of attributes refer to: other DIEs, strings and addresses by index.

use btf::dedup::LocalId;
use gimli::DwForm;

use super::cursor::Cursor;
use super::form::Value;
use super::locations::{AddressBase, first_address};
use super::sections::{Sections, UnitPlace};
use super::unit_error::UnitError;

/// Finds the local id of a DIE.
pub(crate) struct Finder<'a> {
    pub(crate) slots: &'a [u32],
    pub(crate) offsets: &'a [u32],
    pub(crate) aliases: &'a [(u32, u32)],
}

/// A chain of aliases longer than this is a loop.
pub(crate) const MAX_ALIASES: usize = 16;

impl Finder<'_> {
    /// The type at a DIE offset; void for 0 and for what is no type.
    #[inline]
    pub(crate) fn find(&self, offset: u32) -> LocalId {
        if let Some(&id) = self.slots.get(offset as usize)
            // A slot may be left from an earlier unit; the offsets tell.
            && self.offsets.get((id as usize).wrapping_sub(1)) == Some(&offset)
        {
            return LocalId(id);
        }
        self.search(offset)
    }

    fn search(&self, offset: u32) -> LocalId {
        let mut offset = offset;
        for _ in 0..MAX_ALIASES {
            if offset == 0 {
                break;
            }
            if let Some(id) = self.direct(offset) {
                return id;
            }
            match self.aliases.binary_search_by_key(&offset, |&(at, _)| at) {
                Ok(alias) => offset = self.aliases[alias].1,
                Err(_) => break,
            }
        }
        LocalId(0)
    }

    fn direct(&self, offset: u32) -> Option<LocalId> {
        if let Some(&id) = self.slots.get(offset as usize) {
            let known = id.checked_sub(1).and_then(|slot| self.offsets.get(slot as usize));
            return (known == Some(&offset)).then_some(LocalId(id));
        }
        let slot = self.offsets.partition_point(|&known| known < offset);
        (self.offsets.get(slot) == Some(&offset)).then_some(LocalId(slot as u32 + 1))
    }
}

/// How many bytes of location lists are read for each byte of a unit. Kernels have about one.
const MAX_LISTS: usize = 64;

/// What the values of a unit's attributes depend on.
pub(crate) struct UnitContext<'a, 'u> {
    pub(crate) sections: &'u Sections<'a>,
    pub(crate) place: &'u UnitPlace,
    pub(crate) base: usize,
    pub(crate) end: usize,
    pub(crate) str_offsets_base: Option<u64>,
    pub(crate) addr_base: Option<u64>,
    pub(crate) loclists_base: Option<u64>,
    pub(crate) rnglists_base: Option<u64>,
    /// `DW_AT_low_pc` and `DW_AT_producer` of the unit; what they mean may depend on attributes after them.
    pub(crate) low_pc: Option<Value<'a>>,
    pub(crate) producer: Option<Value<'a>>,
    /// Whether clang compiled it.
    pub(crate) is_clang: bool,
    /// DIEs of the supplementary file that the unit refers to, from outside of their units.
    pub(crate) reached: Vec<u32>,
    /// How many more bytes of location lists may be read.
    pub(crate) lists_budget: usize,
}

impl<'a, 'u> UnitContext<'a, 'u> {
    pub(crate) fn new(sections: &'u Sections<'a>, place: &'u UnitPlace, base: usize, end: usize) -> Self {
        UnitContext {
            sections,
            place,
            base,
            end,
            str_offsets_base: None,
            addr_base: None,
            loclists_base: None,
            rnglists_base: None,
            low_pc: None,
            producer: None,
            is_clang: false,
            reached: Vec::new(),
            lists_budget: MAX_LISTS.saturating_mul(place.end - place.start),
        }
    }

    /// Whether the unit is converted by itself.
    pub(crate) fn is_alone(&self) -> bool {
        (self.base, self.end) == (self.place.start, self.place.end)
    }

    /// Notes whether clang compiled the unit, once the attributes of its root are read.
    pub(crate) fn see_producer<const BIG: bool>(&mut self) {
        let index = |index| self.str_offset::<BIG>(index);
        let text = self.producer.and_then(|value| self.sections.strings.text(index, value));
        self.is_clang = text.is_some_and(|text| text.windows(5).any(|word| word == b"clang"));
    }

    /// A value that may be an index into a unit's part of `.debug_loclists` or `.debug_rnglists`, as an offset in the section.
    #[inline]
    pub(crate) fn list<const BIG: bool>(&self, value: Value<'a>, form: DwForm) -> Value<'a> {
        let (base, section) = match form {
            gimli::DW_FORM_loclistx => (self.loclists_base, self.sections.lists.loclists),
            gimli::DW_FORM_rnglistx => (self.rnglists_base, self.sections.lists.rnglists),
            _ => return value,
        };
        let Value::Unsigned(index) = value else { return value };
        let size = if self.place.encoding.format == gimli::Format::Dwarf64 { 8 } else { 4 };
        // Without a base the first table is meant, which starts after its header.
        let base = base.unwrap_or(u64::from(size) * 2 + 4);
        let offset = entry::<BIG>(section, base, index, size).and_then(|offset| base.checked_add(offset));
        Value::Unsigned(offset.unwrap_or(u64::MAX))
    }

    /// The address that an attribute gives.
    pub(crate) fn code_address<const BIG: bool>(&self, value: Value<'_>) -> Option<u64> {
        match value {
            Value::Unsigned(address) => Some(address),
            Value::AddressIndex(index) => self.address::<BIG>(index),
            _ => None,
        }
    }

    /// The first address of a function's ranges.
    pub(crate) fn first_address<const BIG: bool>(&self, ranges: Option<u64>) -> Option<u64> {
        let base = AddressBase {
            low_pc: self.low_pc.and_then(|value| self.code_address::<BIG>(value)).unwrap_or(0),
            addr: self.sections.addr,
            addr_base: self.addr_base.unwrap_or(if self.place.encoding.version < 5 { 0 } else { 8 }),
        };
        first_address::<BIG>(ranges?, &self.sections.lists, self.place.encoding, &base)
    }

    /// A reference by offset from the start of the unit, 0 standing for none, as [`Self::offset`] gives it.
    #[inline(always)]
    pub(crate) fn plain_offset(&self, offset: u32) -> Result<u32, UnitError> {
        let global = (self.place.start - self.base) as u64 + u64::from(offset);
        if global >= (self.end - self.base) as u64 {
            return Err(UnitError::Foreign);
        }
        Ok(if offset == 0 { 0 } else { global as u32 })
    }

    /// A reference as an offset from the start of what is converted in one piece; 0, where no DIE can be, stands for none.
    #[inline]
    pub(crate) fn offset(&mut self, value: Value<'_>) -> Result<u32, UnitError> {
        let global = match value {
            Value::UnitRef(offset) => (self.place.start as u64).checked_add(offset),
            Value::InfoRef(offset) => self.sections.die(offset),
            Value::Signature(signature) => {
                let place = self.sections.signatures.get(&signature);
                Some(*place.ok_or(UnitError::NoTypeUnit(signature))?)
            }
            Value::SupplementaryRef(offset) => {
                let file = self.sections.supplementary.ok_or(UnitError::Supplementary)?;
                Some(file.die(offset).ok_or(UnitError::Truncated)?)
            }
            _ => return Ok(0),
        };
        let global = global.ok_or(UnitError::Foreign)?;
        if global < self.base as u64 || global >= self.end as u64 {
            return Err(UnitError::Foreign);
        }
        let offset = (global - self.base as u64) as u32;
        let is_supplementary = matches!(value, Value::SupplementaryRef(_));
        if is_supplementary || (self.place.supplementary && matches!(value, Value::InfoRef(_))) {
            self.reached.push(offset);
        }
        Ok(offset)
    }

    /// The string offset at an index of the unit's part of `.debug_str_offsets`.
    pub(crate) fn str_offset<const BIG: bool>(&self, index: u64) -> Option<u64> {
        let size = if self.place.encoding.format == gimli::Format::Dwarf64 { 8 } else { 4 };
        // Without a base the first table is meant, which starts after its header.
        let base = self.str_offsets_base.unwrap_or(u64::from(size) * 2);
        entry::<BIG>(self.sections.strings.str_offsets, base, index, size)
    }

    /// The address at an index of the unit's part of `.debug_addr`.
    pub(crate) fn address<const BIG: bool>(&self, index: u64) -> Option<u64> {
        let base = self.addr_base.unwrap_or(if self.place.encoding.version < 5 { 0 } else { 8 });
        entry::<BIG>(self.sections.addr, base, index, self.place.encoding.address_size)
    }
}

fn entry<const BIG: bool>(table: &[u8], base: u64, index: u64, size: u8) -> Option<u64> {
    let at = base.checked_add(index.checked_mul(size.into())?)?;
    Cursor::<BIG>::new(table, usize::try_from(at).ok()?).word(size).ok()
}
