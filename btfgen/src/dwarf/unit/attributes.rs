//! The attributes of DIEs that have no layout, read one by one.

use btf::dedup::Name;

use super::Reader;
use crate::dwarf::cursor::Cursor;
use crate::dwarf::form::{self, Value};
use crate::dwarf::functions::Code;
use crate::dwarf::layout::Number;
use crate::dwarf::members::Bits;
use crate::dwarf::names::{Found, Text};
use crate::dwarf::plan::{Attr, Role, Step};
use crate::dwarf::references::UnitContext;
use crate::dwarf::unit_error::UnitError;

/// The attributes of one DIE that matter, with types as offsets from the start of what is converted in one piece.
#[derive(Default, Clone, Copy)]
pub(in crate::dwarf) struct Attrs<'a> {
    pub(in crate::dwarf) name: Name,
    /// The name of a function or variable.
    pub(super) text: Text,
    pub(super) ty: u32,
    pub(super) origin: u32,
    /// The definition in a type unit.
    pub(super) signature: u32,
    pub(in crate::dwarf) byte_size: Option<u64>,
    pub(in crate::dwarf) encoding: u64,
    pub(super) declaration: bool,
    pub(super) external: bool,
    pub(super) bits: Bits,
    pub(super) const_value: Option<Number>,
    /// Number of elements of an array's dimension.
    pub(super) bound: Option<u64>,
    pub(super) location: Option<Value<'a>>,
    pub(super) language: u64,
    pub(super) dwo_name: bool,
}

/// What few DIEs have: kept apart, so that it costs the others nothing.
#[derive(Default, Clone, Copy)]
pub(super) struct Rare {
    /// Whether anything else is set.
    pub(super) is_set: bool,
    pub(super) artificial: bool,
    /// The first tag of gcc's.
    pub(super) annotation: u32,
    /// What a tag says.
    pub(super) text: Name,
    pub(super) code: Code,
}

impl Rare {
    pub(super) fn set(&mut self) -> &mut Rare {
        self.is_set = true;
        self
    }
}

impl Reader<'_> {
    /// Reads the attributes of a DIE that has no layout, one by one.
    #[inline]
    pub(super) fn attributes<'a, const BIG: bool>(
        &mut self,
        cursor: &mut Cursor<'a, BIG>,
        steps: &[Step],
        role: Role,
        context: &mut UnitContext<'a, '_>,
    ) -> Result<Attrs<'a>, UnitError> {
        let mut attrs = Attrs::default();
        let encoding = context.place.encoding;
        for &step in steps {
            let (attr, form, implicit) = match step {
                Step::Skip(len) => {
                    cursor.skip(len as usize)?;
                    continue;
                }
                Step::SkipForm(form) => {
                    form::skip(cursor, form, encoding)?;
                    continue;
                }
                Step::Read(attr, form, implicit) => (attr, form, implicit),
            };
            let value = form::read(cursor, form, implicit, encoding)?;
            match attr {
                Attr::Name
                    if let (Role::Subprogram | Role::Variable, Value::Str(offset)) = (role, value)
                        && context.is_alone()
                        && let Ok(offset) = u32::try_from(offset) =>
                {
                    attrs.text = Text::Str(offset);
                }
                Attr::Name => {
                    let index = |index| context.str_offset::<BIG>(index);
                    let name = self.names.get(self.pool, &context.sections.strings, index, value);
                    let strings = &context.sections.strings;
                    if matches!(value, Value::SupplementaryStr(_)) && strings.supplementary.is_none() {
                        return Err(UnitError::Supplementary);
                    }
                    let Found { name, identifier } = name.unwrap_or_default();
                    attrs.name = if role == Role::BaseType { name } else { identifier };
                    attrs.text = Text::Name(identifier);
                    self.degraded += u32::from(attrs.name != name);
                }
                Attr::Line => {}
                Attr::Type => attrs.ty = context.offset(value)?,
                Attr::Origin => attrs.origin = context.offset(value)?,
                Attr::ByteSize => attrs.byte_size = unsigned(value),
                Attr::BitSize => attrs.bits.size = unsigned(value),
                Attr::BitOffset => attrs.bits.old_offset = signed(value),
                Attr::DataBitOffset => attrs.bits.data_bit_offset = unsigned(value),
                Attr::MemberLocation => attrs.bits.set_location::<BIG>(value),
                Attr::Encoding => attrs.encoding = unsigned(value).unwrap_or(0),
                Attr::Declaration => attrs.declaration = unsigned(value) != Some(0),
                Attr::External => attrs.external = unsigned(value) != Some(0),
                Attr::ConstValue => attrs.const_value = number(value),
                Attr::UpperBound => attrs.bound = attrs.bound.or(number(value).map(elements)),
                Attr::Count => {
                    attrs.bound = match value {
                        Value::Unsigned(count) => Some(count),
                        Value::Signed(count) => Some(count.max(0) as u64),
                        _ => None,
                    }
                }
                Attr::Location => attrs.location = Some(context.list::<BIG>(value, form)),
                Attr::Text => {
                    let index = |index| context.str_offset::<BIG>(index);
                    let text = self.names.get(self.pool, &context.sections.strings, index, value);
                    self.rare.set().text = text.unwrap_or_default().name;
                }
                Attr::Annotation => self.rare.set().annotation = context.offset(value)?,
                Attr::LowPc if role == Role::Unit => context.low_pc = Some(value),
                Attr::LowPc => self.rare.set().code.address = context.code_address::<BIG>(value),
                Attr::Ranges => self.rare.set().code.ranges = unsigned(context.list::<BIG>(value, form)),
                Attr::Inline => self.rare.set().code.is_abstract = unsigned(value) != Some(0),
                Attr::CallingConvention => {
                    self.rare.set().code.no_call = unsigned(value) == Some(gimli::DW_CC_nocall.0.into());
                }
                Attr::Artificial => self.rare.set().artificial = unsigned(value) != Some(0),
                Attr::Language => attrs.language = unsigned(value).unwrap_or(0),
                Attr::Producer => context.producer = Some(value),
                Attr::StrOffsetsBase => context.str_offsets_base = unsigned(value),
                Attr::AddrBase => context.addr_base = unsigned(value),
                Attr::LocListsBase => context.loclists_base = unsigned(value),
                Attr::RngListsBase => context.rnglists_base = unsigned(value),
                Attr::DwoName => attrs.dwo_name = true,
                // Within a file nothing is lost without: all of its units are read.
                Attr::Import
                    if context.place.supplementary || matches!(value, Value::SupplementaryRef(_)) =>
                {
                    context.offset(value)?;
                }
                Attr::Import => {}
                Attr::Signature => attrs.signature = context.offset(value)?,
            }
        }
        Ok(attrs)
    }
}

fn unsigned(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Unsigned(value) => Some(value),
        Value::Signed(value) => u64::try_from(value).ok(),
        _ => None,
    }
}

fn number(value: Value<'_>) -> Option<Number> {
    match value {
        Value::Unsigned(bits) => Some(Number { bits, negative: false }),
        Value::Signed(value) => Some(Number { bits: value as u64, negative: value < 0 }),
        _ => None,
    }
}

/// How many elements an array has up to an upper bound. Negative ones mean an unknown number, and so do bounds that are no constants (of VLAs).
pub(super) fn elements(upper_bound: Number) -> u64 {
    match upper_bound.bits {
        // -1, as gcc writes it for an array of no elements
        0xffff_ffff | u64::MAX => 0,
        _ if upper_bound.negative => 0,
        bound => bound + 1,
    }
}

/// A constant that may be negative; clang writes those of `DW_AT_bit_offset` as 64 bits without a sign.
fn signed(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Unsigned(value) => Some(value as i64),
        Value::Signed(value) => Some(value),
        _ => None,
    }
}
