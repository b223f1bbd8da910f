//! What each type must be by itself (the kernel's `btf_check_all_metas`).

use super::names::Names;
use super::{invalid, is_link};
use crate::error::Result;
use crate::kind::{INT_BOOL, INT_CHAR, INT_SIGNED, Kind, MAX_TYPE_ID};
use crate::read::Btf;
use crate::types::Type;
use crate::{StrOffset, TypeId};

/// What a kind demands of its name.
enum NameRule {
    /// Must be offset 0.
    None,
    /// Any string, even an empty one.
    Any,
    /// Any string that is not empty.
    Text,
    /// Offset 0 or an identifier.
    OptionalIdentifier,
    /// An identifier.
    Identifier,
    /// A section's name.
    Section,
}

fn name_rule(kind: Kind) -> NameRule {
    match kind {
        Kind::Int | Kind::Float => NameRule::Any,
        Kind::Ptr | Kind::Array | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::FuncProto => {
            NameRule::None
        }
        Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => NameRule::OptionalIdentifier,
        Kind::Fwd | Kind::Typedef | Kind::Func | Kind::Var => NameRule::Identifier,
        Kind::Datasec => NameRule::Section,
        Kind::DeclTag | Kind::TypeTag => NameRule::Text,
    }
}

const OUT_OF_RANGE: &str = "refers to a type id above 0xfffff";

/// Whether the kind flag may be set.
fn may_have_flag(kind: Kind) -> bool {
    use Kind::{DeclTag, Enum, Enum64, Fwd, Struct, TypeTag, Union};
    matches!(kind, Struct | Union | Fwd | Enum | Enum64 | DeclTag | TypeTag)
}

pub(super) fn check(btf: &Btf<'_>, max_vlen: u32) -> Result<()> {
    let mut names = Names::new(btf);
    for ty in btf.types() {
        let ty = ty?;
        check_common(&ty, &mut names, max_vlen)?;
        match ty.kind() {
            Kind::Int => check_int(&ty)?,
            Kind::Array => check_array(&ty)?,
            Kind::Struct | Kind::Union => check_composite(&ty, &mut names)?,
            Kind::Enum | Kind::Enum64 => check_enum(&ty, &mut names)?,
            Kind::FuncProto => check_params(&ty, &mut names)?,
            Kind::Fwd if ty.size_or_type() != 0 => {
                return Err(invalid(&ty, "a forward declaration refers to no type"));
            }
            Kind::Func if ty.vlen() > 1 => {
                return Err(invalid(
                    &ty,
                    format!("linkage {} is neither static (0) nor global (1)", ty.vlen()),
                ));
            }
            Kind::Var => check_var(&ty)?,
            Kind::Datasec => check_datasec(&ty)?,
            Kind::Float if !matches!(ty.size_or_type(), 2 | 4 | 8 | 12 | 16) => {
                return Err(invalid(
                    &ty,
                    format!("size {} is none of 2, 4, 8, 12 and 16", ty.size_or_type()),
                ));
            }
            Kind::DeclTag if ty.component_index().is_some_and(|index| index < -1) => {
                return Err(invalid(&ty, "the component index is below -1"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A blob may have more types than this, but only functions and declaration tags may refer to them.
fn in_range(id: TypeId) -> bool {
    id.0 <= MAX_TYPE_ID
}

/// Name, number of elements, kind flag, and the type referred to.
fn check_common(ty: &Type<'_>, names: &mut Names<'_>, max_vlen: u32) -> Result<()> {
    let kind = ty.kind();
    let name = ty.name_offset();
    if !names.exists(name) {
        return Err(invalid(ty, format!("its name's offset {} is outside the strings", name.0)));
    }
    let (fits, rule) = match name_rule(kind) {
        NameRule::None => (name == StrOffset(0), "must have no name"),
        NameRule::Any => (true, ""),
        NameRule::Text => (names.is_text(name), "must have a text"),
        NameRule::OptionalIdentifier => {
            (name == StrOffset(0) || names.is_identifier(name), "has a name that is no identifier")
        }
        NameRule::Identifier => (names.is_identifier(name), "must have an identifier as its name"),
        NameRule::Section => (names.is_section(name), "must have a printable name"),
    };
    if !fits {
        return Err(invalid(ty, rule));
    }
    if kind != Kind::Func {
        let most = if kind.payload().element == 0 { 0 } else { max_vlen };
        if ty.vlen() > most {
            return Err(invalid(ty, format!("{} elements are over the limit of {most}", ty.vlen())));
        }
    }
    if (is_link(kind) || matches!(kind, Kind::Ptr | Kind::Var)) && !in_range(TypeId(ty.size_or_type())) {
        return Err(invalid(ty, OUT_OF_RANGE));
    }
    if ty.kind_flag() && !may_have_flag(kind) {
        return Err(invalid(ty, "the kind flag is set, which has no meaning for this kind"));
    }
    Ok(())
}

fn check_int(ty: &Type<'_>) -> Result<()> {
    let Some(int) = ty.int() else { return Ok(()) };
    if ty.word(3) >> 28 != 0 {
        return Err(invalid(ty, "reserved bits of the encoding are set"));
    }
    let bits = u32::from(int.bits) + u32::from(int.bit_offset);
    if bits > 128 || bits.div_ceil(8) > ty.size_or_type() {
        return Err(invalid(
            ty,
            format!("{bits} bits do not fit into its {} bytes or are over 128", ty.size_or_type()),
        ));
    }
    if !matches!(int.encoding, 0 | INT_SIGNED | INT_CHAR | INT_BOOL) {
        return Err(invalid(
            ty,
            format!("encoding {} is not exactly one of signed, char and bool", int.encoding),
        ));
    }
    Ok(())
}

fn check_array(ty: &Type<'_>) -> Result<()> {
    if ty.size_or_type() != 0 {
        return Err(invalid(ty, "the size field of an array must be 0"));
    }
    match ty.array() {
        Some(array) if !in_range(array.element) || !in_range(array.index) => Err(invalid(ty, OUT_OF_RANGE)),
        Some(array) if array.element.0 == 0 || array.index.0 == 0 => {
            Err(invalid(ty, "elements and index must not be void"))
        }
        _ => Ok(()),
    }
}

fn check_composite(ty: &Type<'_>, names: &mut Names<'_>) -> Result<()> {
    let size = ty.size_or_type();
    let mut last = 0;
    for (place, member) in ty.members().enumerate() {
        let fail = |reason: &str| Err(invalid(ty, format!("member {place}: {reason}")));
        if member.name != StrOffset(0) && !names.is_identifier(member.name) {
            return fail("has a name that is no identifier");
        }
        if member.ty.0 == 0 || !in_range(member.ty) {
            return fail("is void, or its type's id is too large");
        }
        if ty.kind() == Kind::Union && member.bit_offset != 0 {
            return fail("does not start at offset 0 of its union");
        }
        if member.bit_offset < last {
            return fail("starts before the member before it");
        }
        if member.bit_offset.div_ceil(8) > size {
            return fail("starts after the end of its struct");
        }
        last = member.bit_offset;
    }
    Ok(())
}

fn check_enum(ty: &Type<'_>, names: &mut Names<'_>) -> Result<()> {
    if !matches!(ty.size_or_type(), 1 | 2 | 4 | 8) {
        return Err(invalid(ty, format!("size {} is none of 1, 2, 4 and 8", ty.size_or_type())));
    }
    match ty.enumerators().position(|enumerator| !names.is_identifier(enumerator.name)) {
        Some(place) => Err(invalid(ty, format!("enumerator {place}: must have an identifier as its name"))),
        None => Ok(()),
    }
}

fn check_params(ty: &Type<'_>, names: &mut Names<'_>) -> Result<()> {
    match ty.params().position(|param| param.name != StrOffset(0) && !names.is_identifier(param.name)) {
        Some(place) => Err(invalid(ty, format!("parameter {place}: has a name that is no identifier"))),
        None => Ok(()),
    }
}

fn check_var(ty: &Type<'_>) -> Result<()> {
    if ty.size_or_type() == 0 {
        return Err(invalid(ty, "a variable must not be void"));
    }
    match ty.linkage() {
        Some(linkage) if linkage > 1 => {
            Err(invalid(ty, format!("linkage {linkage} is neither static (0) nor global (1)")))
        }
        _ => Ok(()),
    }
}

fn check_datasec(ty: &Type<'_>) -> Result<()> {
    let size = u64::from(ty.size_or_type());
    if size == 0 {
        return Err(invalid(ty, "the section is empty"));
    }
    let mut end = 0;
    for (place, var) in ty.section_vars().enumerate() {
        let fail = |reason: &str| Err(invalid(ty, format!("variable {place}: {reason}")));
        if var.ty.0 == 0 || !in_range(var.ty) {
            return fail("is void, or its type's id is too large");
        }
        if u64::from(var.offset) < end {
            return fail("starts before the end of the variable before it");
        }
        if var.size == 0 {
            return fail("has size 0");
        }
        end = u64::from(var.offset) + u64::from(var.size);
        if end > size {
            return fail("reaches past the end of its section");
        }
    }
    Ok(())
}
