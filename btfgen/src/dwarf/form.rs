//! Reading one attribute's value, by its form (DWARF 5, section 7.5.6).

use gimli::{DwForm, Encoding, Format};

use super::cursor::{Cursor, Truncated};

/// A value, as far as types need to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// A constant that is not negative, or a flag, an address, or an offset into another section.
    Unsigned(u64),
    /// A constant of a signed form.
    Signed(i64),
    /// A block, location expression or 16-byte constant.
    Block(&'a [u8]),
    /// A DIE, by offset from the start of its unit.
    UnitRef(u64),
    /// A DIE, by offset from the start of `.debug_info`.
    InfoRef(u64),
    /// A type in a type unit, by signature.
    Signature(u64),
    /// A string that stands in the DIE.
    Inline(&'a [u8]),
    /// A string, by offset in `.debug_str`.
    Str(u64),
    /// A string, by offset in `.debug_line_str`.
    LineStr(u64),
    /// A string, by index in `.debug_str_offsets`.
    StrIndex(u64),
    /// An address, by index in `.debug_addr`.
    AddressIndex(u64),
    /// A DIE or string of a supplementary file (`.gnu_debugaltlink`).
    Supplementary,
}

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormError {
    Truncated,
    Unknown(DwForm),
}

impl From<Truncated> for FormError {
    fn from(_: Truncated) -> Self {
        FormError::Truncated
    }
}

fn offset_size(encoding: Encoding) -> u8 {
    match encoding.format {
        Format::Dwarf32 => 4,
        Format::Dwarf64 => 8,
    }
}

/// Reads a value. `implicit` is what the abbreviation holds for `DW_FORM_implicit_const`.
#[inline]
pub(crate) fn read<'a, const BIG: bool>(
    cursor: &mut Cursor<'a, BIG>,
    form: DwForm,
    implicit: i64,
    encoding: Encoding,
) -> Result<Value<'a>, FormError> {
    Ok(match form {
        gimli::DW_FORM_strp => Value::Str(cursor.word(offset_size(encoding))?),
        gimli::DW_FORM_ref4 => Value::UnitRef(cursor.u32()?.into()),
        gimli::DW_FORM_data1 => Value::Unsigned(cursor.u8()?.into()),
        gimli::DW_FORM_data2 => Value::Unsigned(cursor.u16()?.into()),
        gimli::DW_FORM_data4 => Value::Unsigned(cursor.u32()?.into()),
        gimli::DW_FORM_data8 => Value::Unsigned(cursor.u64()?),
        gimli::DW_FORM_string => Value::Inline(cursor.string()?),
        gimli::DW_FORM_implicit_const => Value::Signed(implicit),
        gimli::DW_FORM_flag_present => Value::Unsigned(1),
        gimli::DW_FORM_flag => Value::Unsigned(cursor.u8()?.into()),
        gimli::DW_FORM_udata => Value::Unsigned(cursor.uleb()?),
        gimli::DW_FORM_sdata => Value::Signed(cursor.sleb()?),
        gimli::DW_FORM_data16 => Value::Block(cursor.bytes(16)?),
        gimli::DW_FORM_exprloc | gimli::DW_FORM_block => {
            let len = cursor.uleb()?;
            Value::Block(cursor.bytes(len)?)
        }
        gimli::DW_FORM_block1 => {
            let len = cursor.u8()?;
            Value::Block(cursor.bytes(len.into())?)
        }
        gimli::DW_FORM_block2 => {
            let len = cursor.u16()?;
            Value::Block(cursor.bytes(len.into())?)
        }
        gimli::DW_FORM_block4 => {
            let len = cursor.u32()?;
            Value::Block(cursor.bytes(len.into())?)
        }
        gimli::DW_FORM_line_strp => Value::LineStr(cursor.word(offset_size(encoding))?),
        gimli::DW_FORM_strx | gimli::DW_FORM_GNU_str_index => Value::StrIndex(cursor.uleb()?),
        gimli::DW_FORM_strx1 => Value::StrIndex(cursor.u8()?.into()),
        gimli::DW_FORM_strx2 => Value::StrIndex(cursor.u16()?.into()),
        gimli::DW_FORM_strx3 => Value::StrIndex(cursor.u24()?.into()),
        gimli::DW_FORM_strx4 => Value::StrIndex(cursor.u32()?.into()),
        gimli::DW_FORM_addr => Value::Unsigned(cursor.word(encoding.address_size)?),
        gimli::DW_FORM_addrx | gimli::DW_FORM_GNU_addr_index => Value::AddressIndex(cursor.uleb()?),
        gimli::DW_FORM_addrx1 => Value::AddressIndex(cursor.u8()?.into()),
        gimli::DW_FORM_addrx2 => Value::AddressIndex(cursor.u16()?.into()),
        gimli::DW_FORM_addrx3 => Value::AddressIndex(cursor.u24()?.into()),
        gimli::DW_FORM_addrx4 => Value::AddressIndex(cursor.u32()?.into()),
        gimli::DW_FORM_ref1 => Value::UnitRef(cursor.u8()?.into()),
        gimli::DW_FORM_ref2 => Value::UnitRef(cursor.u16()?.into()),
        gimli::DW_FORM_ref8 => Value::UnitRef(cursor.u64()?),
        gimli::DW_FORM_ref_udata => Value::UnitRef(cursor.uleb()?),
        gimli::DW_FORM_ref_addr if encoding.version == 2 => {
            Value::InfoRef(cursor.word(encoding.address_size)?)
        }
        gimli::DW_FORM_ref_addr => Value::InfoRef(cursor.word(offset_size(encoding))?),
        gimli::DW_FORM_ref_sig8 => Value::Signature(cursor.u64()?),
        gimli::DW_FORM_sec_offset => Value::Unsigned(cursor.word(offset_size(encoding))?),
        gimli::DW_FORM_loclistx | gimli::DW_FORM_rnglistx => Value::Unsigned(cursor.uleb()?),
        gimli::DW_FORM_GNU_ref_alt | gimli::DW_FORM_GNU_strp_alt | gimli::DW_FORM_strp_sup => {
            cursor.word(offset_size(encoding))?;
            Value::Supplementary
        }
        gimli::DW_FORM_ref_sup4 => {
            cursor.u32()?;
            Value::Supplementary
        }
        gimli::DW_FORM_ref_sup8 => {
            cursor.u64()?;
            Value::Supplementary
        }
        gimli::DW_FORM_indirect => {
            let form = DwForm(cursor.uleb()?.try_into().map_err(|_| FormError::Truncated)?);
            // An indirect form that is indirect again could go on for ever, and an implicit constant has no place here.
            if form == gimli::DW_FORM_indirect || form == gimli::DW_FORM_implicit_const {
                return Err(FormError::Unknown(form));
            }
            read(cursor, form, 0, encoding)?
        }
        form => return Err(FormError::Unknown(form)),
    })
}

/// Passes over a value whose form has no fixed length.
#[inline]
pub(crate) fn skip<const BIG: bool>(
    cursor: &mut Cursor<'_, BIG>,
    form: DwForm,
    encoding: Encoding,
) -> Result<(), FormError> {
    match form {
        gimli::DW_FORM_udata
        | gimli::DW_FORM_sdata
        | gimli::DW_FORM_ref_udata
        | gimli::DW_FORM_strx
        | gimli::DW_FORM_addrx
        | gimli::DW_FORM_loclistx
        | gimli::DW_FORM_rnglistx => cursor.skip_leb()?,
        gimli::DW_FORM_string => {
            cursor.string()?;
        }
        form => {
            read(cursor, form, 0, encoding)?;
        }
    }
    Ok(())
}
