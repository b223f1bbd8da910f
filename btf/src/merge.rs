//! Self-contained BTF out of split BTF: one module's with what it needs of its base, or a kernel with all its modules.
//!
//! Loaders that take one BTF for the whole kernel (cilium/ebpf's `KernelTypes`, libbpf's `btf_custom_path`) find modules' types in merged BTF.

use std::collections::BTreeSet;

use crate::TypeId;
use crate::build::Builder;
use crate::dedup::dedup;
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::read::Btf;
use crate::refs::visit_type_refs;

/// Makes self-contained BTF of split BTF: the types of the base that it reaches, in the base's order, then its own. Self-contained
/// BTF comes back with the strings that it uses. Tags (DECL_TAG) of the base's types stay behind.
///
/// # Errors
/// What reading a type or string may answer, and [`Error::NoSuchType`] for a reference to a type that is not there.
pub fn flatten(btf: &Btf<'_>) -> Result<Builder> {
    let first = btf.first_id();
    let mut needed = BTreeSet::new();
    let mut pending = Vec::new();
    for ty in btf.types() {
        let words: Vec<u32> = ty?.words().collect();
        visit_type_refs(&words, |id| pending.push(TypeId(id)));
        while let Some(id) = pending.pop() {
            if id != TypeId::VOID && id < first && needed.insert(id) {
                let words: Vec<u32> = btf.ty(id)?.words().collect();
                visit_type_refs(&words, |id| pending.push(TypeId(id)));
            }
        }
    }
    let mut ids = vec![TypeId::VOID; first.0 as usize];
    for (&id, next) in needed.iter().zip(1..) {
        ids[id.0 as usize] = TypeId(next);
    }
    let own = needed.len() as u32 + 1;
    let renumber = |id: TypeId| match id.0.checked_sub(first.0) {
        Some(at) => TypeId(own + at),
        None => ids[id.0 as usize],
    };
    let mut builder = Builder::new();
    for &id in &needed {
        builder.add_copy(btf, &btf.ty(id)?, renumber)?;
    }
    for ty in btf.types() {
        builder.add_copy(btf, &ty?, renumber)?;
    }
    Ok(builder)
}

/// Merges a kernel's BTF and its modules' into self-contained BTF in which no type stands twice.
///
/// Each module is split BTF on `kernel`, or self-contained. The kernel's types come first, in their order, then each module's in the order given;
/// variables and sections come last. Forward declarations of the kernel become a module's definition where there is only one. Structs of one name that
/// differ are all kept. Functions are merged where name and prototype agree.
///
/// Variables and sections of modules are left out, with their tags: their offsets are in sections of their own, whose names are the kernel's
/// too (`.data..percpu`), so nobody could tell them apart.
///
/// # Errors
/// [`Error::BaseEndian`] for a module of the other byte order, [`Error::OtherBase`] for split BTF on another base, and what reading types or
/// strings may answer.
pub fn merge<'a>(kernel: &Btf<'_>, modules: impl IntoIterator<Item = &'a Btf<'a>>) -> Result<Builder> {
    if kernel.base().is_some() {
        return Err(Error::NotSelfContained { what: "merging modules into a kernel's BTF" });
    }
    let mut all = Builder::new();
    for ty in kernel.types() {
        all.add_copy(kernel, &ty?, |id| id)?;
    }
    for module in modules {
        append(&mut all, kernel, module)?;
    }
    let all = all.finish(kernel.endian())?;
    dedup(&Btf::parse(&all)?)
}

/// Adds a module's own types to those of the kernel and of other modules.
fn append(all: &mut Builder, kernel: &Btf<'_>, module: &Btf<'_>) -> Result<()> {
    if module.endian() != kernel.endian() {
        return Err(Error::BaseEndian);
    }
    if let Some(base) = module.base()
        // Usually it is the very same one, which is quicker to see than four equal megabytes.
        && !(std::ptr::eq(base.bytes(), kernel.bytes()) || base.bytes() == kernel.bytes())
    {
        return Err(Error::OtherBase);
    }
    let (first, count) = (module.first_id().0, module.type_count());
    // Where each of the module's own types goes; void for those left out.
    let mut ids = Vec::with_capacity(module.types().len());
    let mut next = all.next_id().0;
    for ty in module.types() {
        let ty = ty?;
        let of_variable = |id: TypeId| {
            id.0.checked_sub(first).is_some() && module.ty(id).is_ok_and(|ty| is_variable(ty.kind()))
        };
        let left_out =
            is_variable(ty.kind()) || (ty.kind() == Kind::DeclTag && ty.target().is_some_and(of_variable));
        ids.push(if left_out { TypeId::VOID } else { TypeId(next) });
        next += u32::from(!left_out);
    }
    for (ty, &new) in module.types().zip(&ids) {
        if new == TypeId::VOID {
            continue;
        }
        let ty = ty?;
        let mut unknown = None;
        all.add_copy(module, &ty, |id| match id.0.checked_sub(first) {
            None => id,
            Some(own) => ids.get(own as usize).copied().unwrap_or_else(|| {
                unknown = Some(id);
                TypeId::VOID
            }),
        })?;
        if let Some(id) = unknown {
            return Err(Error::NoSuchType { id, count });
        }
    }
    Ok(())
}

fn is_variable(kind: Kind) -> bool {
    matches!(kind, Kind::Var | Kind::Datasec)
}
