//! A base reduced to what one split BTF needs to be put on another base (`.BTF.base`; libbpf's `btf__distill_base`).
//!
//! Split BTF is bound to the ids of the very base it was made for, and a module must be rebuilt with its kernel. A distilled base holds only
//! what identifies the base's types by name: integers, floating-point numbers and forward declarations whole; named structs and unions
//! with their size but without members; named enums, of either kind, as ENUM with their size but without enumerators. Everything else
//! that the split BTF takes from its base (pointers, typedefs, arrays, prototypes, anonymous types, …) moves into the split BTF. The kernel (since
//! 6.11) and libbpf's `btf__relocate` (since 1.5) find the same names in the base that is there.

use std::collections::{BTreeMap, BTreeSet};

use super::texts::Texts;
use crate::build::Builder;
use crate::error::{Error, Result};
use crate::kind::{Info, Kind};
use crate::read::Btf;
use crate::refs::{Ref, visit_refs};
use crate::types::Type;
use crate::{StrOffset, TypeId};

/// Split BTF and the distilled base that it stands on, in the byte order that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distilled {
    /// Content of the section `.BTF.base`.
    pub base: Vec<u8>,
    /// Content of the section `.BTF`.
    pub split: Vec<u8>,
}

/// Distils the base of split BTF.
///
/// The distilled base is in the base's order. The split BTF keeps its own types first, in their order; those that move into it come after
/// them, in the base's order. The kernel refuses a base without types; if nothing is needed, the base's first INT stands in it.
///
/// # Errors
/// [`Error::NotSplit`] for BTF without a base, [`Error::Invalid`] where it refers to a FUNC, VAR, DATASEC or DECL_TAG of its base, which have no
/// identity outside it, and what reading types or strings may answer.
pub fn distill(split: &Btf<'_>) -> Result<Distilled> {
    let base = split.base().ok_or(Error::NotSplit { what: "distilling its base" })?;
    let needed = needed(split)?;
    let mut kept = Builder::new();
    let mut moved = Vec::new();
    let mut ids: BTreeMap<TypeId, TypeId> = BTreeMap::new();
    for &id in &needed {
        let ty = base.ty(id)?;
        if is_identified_by_name(&ty) {
            ids.insert(id, add_identity(&mut kept, base, &ty)?);
        } else {
            moved.push(ty);
        }
    }
    if kept.is_empty()
        && let Some(int) = base.types().flatten().find(|ty| ty.kind() == Kind::Int)
    {
        add_identity(&mut kept, base, &int)?;
    }
    let endian = split.endian();
    let new_base = kept.finish(endian)?;
    let new_split = {
        let new_base = Btf::parse(&new_base)?;
        let texts = Texts::of(&new_base);
        let mut builder = Builder::split(&new_base);
        let first = builder.next_id().0;
        let own = split.types().len() as u32;
        for (moved, at) in moved.iter().zip(first + own..) {
            ids.insert(moved.id(), TypeId(at));
        }
        let renumber = |id: TypeId| match id.0.checked_sub(split.first_id().0) {
            Some(own) => TypeId(first + own),
            None => ids.get(&id).copied().unwrap_or_default(),
        };
        for ty in split.types() {
            texts.add_copy(&mut builder, split, &ty?, renumber)?;
        }
        for ty in &moved {
            texts.add_copy(&mut builder, split, ty, renumber)?;
        }
        builder.finish(endian)?
    };
    Ok(Distilled { base: new_base, split: new_split })
}

/// The base's types that the split BTF needs, sorted: what it refers to, and what those refer to, but for what a name is enough of.
fn needed(split: &Btf<'_>) -> Result<BTreeSet<TypeId>> {
    let first = split.first_id();
    let mut needed = BTreeSet::new();
    let mut pending = Vec::new();
    let mut note = |ty: &Type<'_>, pending: &mut Vec<TypeId>| {
        let mut words: Vec<u32> = ty.words().collect();
        visit_refs(&mut words, |what, word| {
            if what == Ref::Type && *word != 0 && TypeId(*word) < first && needed.insert(TypeId(*word)) {
                pending.push(TypeId(*word));
            }
        });
    };
    for ty in split.types() {
        note(&ty?, &mut pending);
        while let Some(id) = pending.pop() {
            let ty = split.ty(id)?;
            if matches!(ty.kind(), Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag) {
                let reason = "is of the base, is referred to by split BTF, and cannot be found by name in another base";
                return Err(Error::Invalid {
                    id,
                    kind: ty.kind(),
                    offset: ty.offset(),
                    reason: reason.to_owned(),
                });
            }
            if !is_identified_by_name(&ty) {
                note(&ty, &mut pending);
            }
        }
    }
    Ok(needed)
}

/// Whether a type stays in the base.
fn is_identified_by_name(ty: &Type<'_>) -> bool {
    match ty.kind() {
        Kind::Int | Kind::Float | Kind::Fwd => true,
        Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => ty.name_offset() != StrOffset(0),
        _ => false,
    }
}

/// Adds what identifies a type.
fn add_identity(builder: &mut Builder, base: &Btf<'_>, ty: &Type<'_>) -> Result<TypeId> {
    let kind = match ty.kind() {
        Kind::Int | Kind::Float | Kind::Fwd => return builder.add_copy(base, ty, |id| id),
        Kind::Enum64 => Kind::Enum,
        kind => kind,
    };
    let name = builder.string(base.copied_string(ty.name_offset())?);
    Ok(builder.add_record(&[name.0, Info::new(kind, 0, false).0, ty.size_or_type()]))
}
