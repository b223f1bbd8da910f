//! DIEs in which all that matters has a fixed place. Nearly all are of this sort, and are read without looking at forms one by one.

use gimli::{DwForm, Encoding, Format};

use super::cursor::Cursor;
use super::plan::{Attr, Role};

/// Where the name, the type and the number of a DIE lie. Reading one is a load and a mask: there are no branches for what a DIE has not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Whether the name stands before all else (`DW_FORM_string`); places count from its end.
    leading_name: bool,
    /// Whether there is an offset of a name in `.debug_str`.
    str_name: bool,
    /// Whether it is a declaration.
    pub(crate) declaration: bool,
    /// Whether there is a number.
    pub(crate) has_number: bool,
    /// Length in bytes of all attributes, but for a leading name.
    len: u8,
    /// Place of a name's offset in `.debug_str`.
    name: u8,
    /// Place of an offset of the type from the start of the unit.
    ty: u8,
    number: u8,
    /// Zero if there is no type.
    ty_mask: u32,
    /// The role's attribute that is a number.
    number_attr: Option<Attr>,
    /// Bits to shift eight big-endian bytes right by so that the number remains.
    number_shift: u8,
    /// Zero if the number is no part of the DIE.
    number_mask: u64,
    /// The number, if it is in the abbreviation.
    constant: u64,
    /// Place of the number of the line that declares it, its length in bytes, and the number itself if it is in the abbreviation.
    line: u8,
    line_len: u8,
    line_constant: u32,
}

/// What is looked at of a DIE at once.
const WINDOW: usize = 40;
/// DIEs whose attributes are longer have no layout.
const MAX_LEN: u8 = 31;

/// What a DIE says, as it stands there.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'l, 'a> {
    layout: &'l Layout,
    window: &'a [u8; WINDOW],
    leading: &'a [u8],
}

/// A name as it stands in a DIE.
#[derive(Clone, Copy)]
pub(crate) enum PlainName<'a> {
    None,
    /// An offset in `.debug_str`.
    Str(u32),
    Inline(&'a [u8]),
}

/// A constant of up to 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) bits: u64,
    /// Whether `bits` are those of a negative number.
    pub(crate) negative: bool,
}

impl Number {
    /// The number, if it is not negative.
    #[inline]
    pub(crate) fn unsigned(self) -> Option<u64> {
        (!self.negative).then_some(self.bits)
    }
}

impl Layout {
    /// The layout of a DIE without attributes, for roles whose DIEs can have one.
    pub(crate) fn begin(role: Role, encoding: Encoding) -> Option<Layout> {
        let number_attr = match role {
            Role::Struct | Role::Union | Role::Enumeration => Some(Attr::ByteSize),
            Role::Member => Some(Attr::MemberLocation),
            Role::Enumerator => Some(Attr::ConstValue),
            Role::Subrange => Some(Attr::UpperBound),
            Role::BaseType
            | Role::Annotation
            | Role::Subprogram
            | Role::Variable
            | Role::Transparent
            | Role::Opaque
            | Role::Unit
            | Role::Missing => {
                return None;
            }
            _ => None,
        };
        (encoding.format == Format::Dwarf32).then_some(Layout {
            leading_name: false,
            str_name: false,
            declaration: false,
            has_number: false,
            len: 0,
            name: 0,
            ty: 0,
            number: 0,
            ty_mask: 0,
            number_attr,
            number_shift: 0,
            number_mask: 0,
            constant: 0,
            line: 0,
            line_len: 0,
            line_constant: 0,
        })
    }

    /// Adds an attribute: what it means to its role, its form, and the length of that; `None` if it has no fixed place.
    #[inline]
    pub(crate) fn add(
        &mut self,
        attr: Option<Attr>,
        form: DwForm,
        implicit: i64,
        len: Option<u32>,
    ) -> Option<()> {
        let place = self.len;
        let has_name = self.leading_name || self.str_name;
        match (attr, form) {
            (Some(Attr::Name), gimli::DW_FORM_string) if place == 0 && !has_name => {
                self.leading_name = true;
                return Some(());
            }
            (None, _) => {}
            (Some(Attr::Name), gimli::DW_FORM_strp) if !has_name => {
                (self.str_name, self.name) = (true, place);
            }
            (Some(Attr::Type), gimli::DW_FORM_ref4) if self.ty_mask == 0 => {
                (self.ty_mask, self.ty) = (u32::MAX, place);
            }
            (Some(Attr::Declaration), gimli::DW_FORM_flag_present) => self.declaration = true,
            // It only helps to tell types apart, and is passed over in other forms.
            (Some(Attr::Line), _) => match form {
                gimli::DW_FORM_implicit_const => self.line_constant = implicit as u32,
                gimli::DW_FORM_data1 | gimli::DW_FORM_data2 | gimli::DW_FORM_data4 => {
                    (self.line, self.line_len) = (place, len? as u8);
                }
                _ => {}
            },
            (Some(attr), _) if Some(attr) == self.number_attr && !self.has_number => {
                (self.has_number, self.number) = (true, place);
                match form {
                    gimli::DW_FORM_implicit_const => self.constant = implicit as u64,
                    gimli::DW_FORM_data1
                    | gimli::DW_FORM_data2
                    | gimli::DW_FORM_data4
                    | gimli::DW_FORM_data8 => {
                        self.number_shift = 64 - 8 * len? as u8;
                        self.number_mask = u64::MAX >> self.number_shift;
                    }
                    _ => return None,
                }
            }
            _ => return None,
        }
        self.len = self.len.checked_add(u8::try_from(len?).ok()?).filter(|&len| len <= MAX_LEN)?;
        Some(())
    }

    /// Reads a DIE's attributes and passes over them; `None` where the section ends so soon that they have to be read one by one.
    #[inline(always)] // see `Reader::plain_entry`
    pub(crate) fn read<'l, 'a, const BIG: bool>(
        &'l self,
        cursor: &mut Cursor<'a, BIG>,
    ) -> Option<Plain<'l, 'a>> {
        let mut after = *cursor;
        let leading = if self.leading_name { after.string().ok()? } else { &[] };
        let window = after.window()?;
        after.skip(self.len.into()).ok()?;
        *cursor = after;
        Some(Plain { layout: self, window, leading })
    }
}

impl<'a> Plain<'_, 'a> {
    #[inline(always)]
    pub(crate) fn name(&self, big: bool) -> PlainName<'a> {
        if self.layout.str_name {
            let bytes = self.load::<4>(self.layout.name);
            PlainName::Str(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
        } else if self.layout.leading_name {
            PlainName::Inline(self.leading)
        } else {
            PlainName::None
        }
    }

    /// The type's DIE, by offset from the start of the unit; 0 if there is none.
    #[inline(always)]
    pub(crate) fn ty(&self, big: bool) -> u32 {
        let bytes = self.load::<4>(self.layout.ty);
        (if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }) & self.layout.ty_mask
    }

    /// The number, if there is one.
    #[inline(always)]
    pub(crate) fn number(&self, big: bool) -> Option<Number> {
        let bytes = self.load::<8>(self.layout.number);
        let Layout { has_number, number_shift, number_mask, constant, .. } = *self.layout;
        let word =
            if big { u64::from_be_bytes(bytes) >> (number_shift & 63) } else { u64::from_le_bytes(bytes) };
        let bits = word & number_mask | constant;
        has_number.then_some(Number { bits, negative: (constant as i64) < 0 })
    }

    /// The number of the line that declares it; 0 if that is not known.
    pub(crate) fn line(&self, big: bool) -> u32 {
        let bytes = self.load::<4>(self.layout.line);
        let word = match (self.layout.line_len, big) {
            (0, _) => 0,
            (len, true) => u32::from_be_bytes(bytes) >> (32 - 8 * u32::from(len)),
            (len, false) => u32::from_le_bytes(bytes) & u32::MAX >> (32 - 8 * u32::from(len)),
        };
        word | self.layout.line_constant
    }

    /// Bytes of the window.
    #[inline(always)]
    fn load<const N: usize>(&self, place: u8) -> [u8; N] {
        // No place is past `MAX_LEN`; saying so once more spares the check of the window's bounds.
        let place = usize::from(place) & 31;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.window[place..place + N]);
        bytes
    }

    pub(crate) fn declaration(&self) -> bool {
        self.layout.declaration
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DWARF4: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };

    fn member(attributes: &[(Option<Attr>, DwForm, u32)]) -> Option<Layout> {
        let mut layout = Layout::begin(Role::Member, DWARF4)?;
        for &(attr, form, len) in attributes {
            layout.add(attr, form, 0, (len != u32::MAX).then_some(len))?;
        }
        Some(layout)
    }

    /// Check a member as gcc writes it, with its name elsewhere and with it before all else.
    #[test]
    fn members() {
        let rest = [
            (None, gimli::DW_FORM_data1, 1),
            (Some(Attr::Type), gimli::DW_FORM_ref4, 4),
            (Some(Attr::MemberLocation), gimli::DW_FORM_data2, 2),
        ];
        let long =
            member(&[&[(Some(Attr::Name), gimli::DW_FORM_strp, 4)], rest.as_slice()].concat()).unwrap();
        let mut bytes = [99; 60];
        bytes[..11].copy_from_slice(&[9, 0, 0, 0, 77, 5, 1, 0, 0, 0x34, 0x12]);
        let mut cursor = Cursor::<false>::new(&bytes, 0);
        let plain = long.read(&mut cursor).unwrap();
        assert!(matches!(plain.name(false), PlainName::Str(9)));
        assert_eq!((plain.ty(false), plain.number(false).unwrap().bits), (261, 0x1234));
        assert_eq!(cursor.position(), 11);
        assert!(long.read(&mut Cursor::<false>::new(&bytes[..10], 0)).is_none());
        assert!(long.read(&mut Cursor::<false>::new(&bytes[..39], 0)).is_none());

        let short =
            member(&[&[(Some(Attr::Name), gimli::DW_FORM_string, u32::MAX)], rest.as_slice()].concat())
                .unwrap();
        bytes[..10].copy_from_slice(&[b'a', b'b', 0, 77, 0, 0, 1, 5, 0x12, 0x34]);
        let mut cursor = Cursor::<true>::new(&bytes, 0);
        let plain = short.read(&mut cursor).unwrap();
        assert!(matches!(plain.name(true), PlainName::Inline(b"ab")));
        assert_eq!((plain.ty(true), plain.number(true).unwrap().bits), (261, 0x1234));
        assert_eq!(cursor.position(), 10);
    }

    /// Check that what is not in the DIE is not read from it: no type, and numbers of the abbreviation, of all lengths, or none.
    #[test]
    fn numbers() {
        let bytes = [0xff; 60];
        let layout = |form, implicit, len| {
            let mut layout = Layout::begin(Role::Enumerator, DWARF4).unwrap();
            layout.add(Some(Attr::ConstValue), form, implicit, Some(len)).unwrap();
            layout
        };
        let number = |layout: Layout| {
            let plain = layout.read(&mut Cursor::<true>::new(&bytes, 0)).unwrap();
            assert_eq!(plain.ty(true), 0);
            let (big, little) = (plain.number(true), plain.number(false));
            assert_eq!(big.map(|number| number.bits), little.map(|number| number.bits));
            big.map(|number| (number.bits, number.negative))
        };
        assert_eq!(number(layout(gimli::DW_FORM_data1, 0, 1)), Some((0xff, false)));
        assert_eq!(number(layout(gimli::DW_FORM_data4, 0, 4)), Some((0xffff_ffff, false)));
        assert_eq!(number(layout(gimli::DW_FORM_data8, 0, 8)), Some((u64::MAX, false)));
        assert_eq!(number(layout(gimli::DW_FORM_implicit_const, 7, 0)), Some((7, false)));
        assert_eq!(number(layout(gimli::DW_FORM_implicit_const, -2, 0)), Some((u64::MAX - 1, true)));
        assert_eq!(number(Layout::begin(Role::Enumerator, DWARF4).unwrap()), None);
    }

    /// Check that what has no fixed place, or means more than a name, a type and a number, has no layout.
    #[test]
    fn no_layout() {
        let ty = (Some(Attr::Type), gimli::DW_FORM_ref4, 4);
        let name = (Some(Attr::Name), gimli::DW_FORM_string, u32::MAX);
        assert!(member(&[ty, name]).is_none());
        assert!(member(&[name, name]).is_none());
        assert!(member(&[ty, ty]).is_none());
        assert!(member(&[ty, (Some(Attr::BitSize), gimli::DW_FORM_data1, 1)]).is_none());
        assert!(member(&[(Some(Attr::MemberLocation), gimli::DW_FORM_exprloc, u32::MAX)]).is_none());
        assert!(member(&[(None, gimli::DW_FORM_exprloc, u32::MAX)]).is_none());
        assert!(member(&[(None, gimli::DW_FORM_data16, 16); 2]).is_none());
        assert!(Layout::begin(Role::Subprogram, DWARF4).is_none());
    }
}
