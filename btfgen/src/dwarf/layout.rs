//! DIEs in which all that matters has a fixed place. Nearly all are of this sort, and are read without looking at forms one by one.

use gimli::{DwForm, Encoding, Format};

use super::cursor::{Cursor, Truncated};
use super::plan::{Attr, Role};

/// Where the name, the type and the number of a DIE lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The role's attribute that is a number.
    number_attr: Option<Attr>,
    /// Whether the name stands before all else (`DW_FORM_string`); places count from its end.
    leading_name: bool,
    /// Whether it is a declaration.
    pub(crate) declaration: bool,
    /// Length in bytes of all attributes, but for a leading name.
    len: u16,
    /// Place of a name's offset in `.debug_str`.
    name: u8,
    /// Place of an offset of the type from the start of the unit.
    ty: u8,
    number: u8,
    /// Length of the number in bytes; 0 if it is `constant`.
    number_len: u8,
    constant: i64,
}

/// There is no such attribute.
const NONE: u8 = u8::MAX;

/// What a DIE says, as it stands there.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'a> {
    pub(crate) name: PlainName<'a>,
    /// The type's DIE, by offset from the start of the unit.
    pub(crate) ty: Option<u32>,
    pub(crate) number: Option<Number>,
    pub(crate) declaration: bool,
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
            | Role::Subprogram
            | Role::Variable
            | Role::Transparent
            | Role::Opaque
            | Role::Unit => {
                return None;
            }
            _ => None,
        };
        (encoding.format == Format::Dwarf32).then_some(Layout {
            number_attr,
            leading_name: false,
            declaration: false,
            len: 0,
            name: NONE,
            ty: NONE,
            number: NONE,
            number_len: 0,
            constant: 0,
        })
    }

    /// The layout with one more attribute: what it means to its role, its form, and the length of that; `None` if it has no fixed place.
    pub(crate) fn with(
        self,
        attr: Option<Attr>,
        form: DwForm,
        implicit: i64,
        len: Option<u32>,
    ) -> Option<Layout> {
        let mut layout = self;
        let place = u8::try_from(self.len).ok().filter(|&place| place < NONE)?;
        match (attr, form) {
            (Some(Attr::Name), gimli::DW_FORM_string) if place == 0 && !self.has_name() => {
                layout.leading_name = true;
                return Some(layout);
            }
            (None, _) => {}
            (Some(Attr::Name), gimli::DW_FORM_strp) if !self.has_name() => layout.name = place,
            (Some(Attr::Type), gimli::DW_FORM_ref4) if self.ty == NONE => layout.ty = place,
            (Some(Attr::Declaration), gimli::DW_FORM_flag_present) => layout.declaration = true,
            (Some(attr), _) if Some(attr) == self.number_attr && self.number == NONE => {
                layout.number = place;
                match form {
                    gimli::DW_FORM_implicit_const => layout.constant = implicit,
                    gimli::DW_FORM_data1
                    | gimli::DW_FORM_data2
                    | gimli::DW_FORM_data4
                    | gimli::DW_FORM_data8 => {
                        layout.number_len = len? as u8;
                    }
                    _ => return None,
                }
            }
            _ => return None,
        }
        layout.len = self.len.checked_add(u16::try_from(len?).ok()?)?;
        Some(layout)
    }

    fn has_name(&self) -> bool {
        self.leading_name || self.name != NONE
    }

    /// Reads a DIE's attributes and passes over them.
    #[inline(always)] // see `Reader::plain_entry`
    pub(crate) fn read<'a, const BIG: bool>(
        &self,
        cursor: &mut Cursor<'a, BIG>,
    ) -> Result<Plain<'a>, Truncated> {
        let mut name = PlainName::None;
        if self.leading_name {
            name = PlainName::Inline(cursor.string()?);
        }
        let die = cursor.slice(self.len.into())?;
        let at = |place: u8| Cursor::<BIG>::new(die, place.into());
        if self.name != NONE {
            name = PlainName::Str(at(self.name).u32()?);
        }
        let ty = if self.ty != NONE { Some(at(self.ty).u32()?) } else { None };
        let number = if self.number == NONE {
            None
        } else if self.number_len == 0 {
            Some(Number { bits: self.constant as u64, negative: self.constant < 0 })
        } else {
            Some(Number { bits: at(self.number).word(self.number_len)?, negative: false })
        };
        Ok(Plain { name, ty, number, declaration: self.declaration })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DWARF4: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };

    fn member(attributes: &[(Option<Attr>, DwForm, u32)]) -> Option<Layout> {
        attributes.iter().try_fold(Layout::begin(Role::Member, DWARF4)?, |layout, &(attr, form, len)| {
            layout.with(attr, form, 0, (len != u32::MAX).then_some(len))
        })
    }

    /// Check a member as gcc writes it, with its name elsewhere and with it before all else.
    #[test]
    fn members() {
        let rest = [
            (None, gimli::DW_FORM_data1, 1),
            (Some(Attr::Type), gimli::DW_FORM_ref4, 4),
            (Some(Attr::MemberLocation), gimli::DW_FORM_data2, 2),
        ];
        let long = member(&[&[(Some(Attr::Name), gimli::DW_FORM_strp, 4)], rest.as_slice()].concat()).unwrap();
        let bytes = [9, 0, 0, 0, 77, 5, 1, 0, 0, 0x34, 0x12, 99];
        let mut cursor = Cursor::<false>::new(&bytes, 0);
        let plain = long.read(&mut cursor).unwrap();
        assert!(matches!(plain.name, PlainName::Str(9)));
        assert_eq!((plain.ty, plain.number.unwrap().bits), (Some(261), 0x1234));
        assert_eq!(cursor.position(), 11);
        assert!(long.read(&mut Cursor::<false>::new(&bytes[..10], 0)).is_err());

        let short =
            member(&[&[(Some(Attr::Name), gimli::DW_FORM_string, u32::MAX)], rest.as_slice()].concat()).unwrap();
        let bytes = [b'a', b'b', 0, 77, 0, 0, 1, 5, 0x12, 0x34];
        let plain = short.read(&mut Cursor::<true>::new(&bytes, 0)).unwrap();
        assert!(matches!(plain.name, PlainName::Inline(b"ab")));
        assert_eq!((plain.ty, plain.number.unwrap().bits), (Some(261), 0x1234));
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
        assert!(member(&[(None, gimli::DW_FORM_data16, 16); 17]).is_none());
        assert!(Layout::begin(Role::Subprogram, DWARF4).is_none());
    }
}
