//! Where type tags may stand (the kernel's `btf_check_type_tags`): in a chain of qualifiers and typedefs, tags come first.

use super::{invalid, is_link};
use crate::TypeId;
use crate::error::Result;
use crate::kind::Kind;
use crate::read::Btf;
use crate::types::Type;

/// How many links a chain may have.
const MAX_CHAIN: usize = 32;

pub(super) fn check(btf: &Btf<'_>) -> Result<()> {
    // Chains that start at or before this id were found good, so each link is walked at most a few times.
    let mut good = TypeId(btf.first_id().0 - 1);
    for ty in btf.types() {
        let ty = ty?;
        if is_link(ty.kind()) {
            check_chain(btf, ty, good)?;
            good = ty.id();
        }
    }
    Ok(())
}

fn check_chain(btf: &Btf<'_>, first: Type<'_>, good: TypeId) -> Result<()> {
    let mut link = first;
    let mut in_tags = first.kind() == Kind::TypeTag;
    for _ in 0..MAX_CHAIN {
        let is_tag = link.kind() == Kind::TypeTag;
        if is_tag && !in_tags {
            return Err(invalid(
                &first,
                format!("type tag {} comes after a qualifier or typedef", link.id()),
            ));
        }
        in_tags = is_tag;
        let next = TypeId(link.size_or_type());
        if link.id() <= good || next == TypeId::VOID {
            return Ok(());
        }
        link = btf.ty(next)?;
        if !is_link(link.kind()) {
            return Ok(());
        }
    }
    Err(invalid(&first, format!("a chain of more than {MAX_CHAIN} qualifiers, typedefs and tags")))
}
