//! Records once all types are known: what they lost (by damage, or by a unit that could not be read) and cannot be without.

use btf::Kind;
use btf::dedup::{LocalId, Unit};
use btf::kind::{INT_SIGNED, Info};

use super::references::MAX_ALIASES;

/// Whether a record refers to void where BTF does not allow it.
pub(crate) fn needs_type(record: &[u32]) -> bool {
    let &[_, info, _, ref payload @ ..] = record else { return false };
    match Kind::from_number(Info(info).kind_number()) {
        Some(Kind::Struct | Kind::Union) => payload.as_chunks().0.iter().any(|&[_, ty, _]| ty == 0),
        Some(Kind::Array) => payload.first() == Some(&0),
        // The last one may be an ellipsis.
        Some(Kind::FuncProto) => match payload.as_chunks().0 {
            [fixed @ .., [name, _]] => {
                fixed.iter().any(|&[_, ty]| ty == 0) || (*name != 0 && payload.last() == Some(&0))
            }
            [] => false,
        },
        _ => false,
    }
}

/// Takes out what such a record cannot say: all members, all parameters, an array's elements. Its name and size remain.
pub(crate) fn strip(unit: &mut Unit<'_>, id: LocalId, int: LocalId) {
    let &[name, info, third, ..] = unit.record(id) else { return };
    match Kind::from_number(Info(info).kind_number()) {
        Some(Kind::Array) => unit.define(id, [name, info, third], &[int.0, int.0, 0]),
        Some(kind) => unit.define(id, [name, Info::new(kind, 0, false).0, third], &[]),
        None => {}
    }
}

/// Whether a type is a signed integer, typedefs looked through.
pub(crate) fn is_signed(unit: &Unit<'_>, id: LocalId) -> bool {
    let mut id = id;
    for _ in 0..MAX_ALIASES {
        let &[_, info, third, ref payload @ ..] = unit.record(id) else { return false };
        match Kind::from_number(Info(info).kind_number()) {
            Some(Kind::Typedef) => id = LocalId(third),
            Some(Kind::Int) => {
                return payload.first().is_some_and(|&word| word >> 24 & u32::from(INT_SIGNED) != 0);
            }
            _ => return false,
        }
    }
    false
}
