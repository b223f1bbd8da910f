//! Whether a blob obeys every rule of the kernel's own BTF checker (`kernel/bpf/btf.c`, Linux 6.18, as `BPF_BTF_LOAD` applies it).
//!
//! As in the kernel there are three passes, each linear in the size of the blob:
//!
//! 1. `meta`: every type by itself (flags, names, sizes, encodings, offsets);
//! 2. `resolve`: what types refer to: existing types of fitting kinds, no endless types, members and variables that fit (`members`);
//! 3. `tags`: type tags precede the qualifiers that they stand with, and chains of qualifiers are not too long.
//!
//! The second pass follows the kernel's own order of resolution, because its limit on depth and some of its verdicts depend on that order.
//! No pass recurses. Where kernels differ from each other, [`ValidateOptions`] says which one is meant.

mod members;
mod meta;
mod names;
mod resolve;
mod tags;

use crate::error::{Error, Result};
use crate::kind::{Kind, MAX_NAME_OFFSET, MAX_VLEN};
use crate::read::Btf;
use crate::types::Type;

/// What the verdict of a kernel depends on besides the blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ValidateOptions {
    /// Size of a pointer in bytes, 4 or 8; `None` takes [`Btf::pointer_size`], and 8 where that cannot tell. A kernel uses its own, so it cannot
    /// judge the BTF of a kernel with another.
    pub pointer_size: Option<u32>,
    /// Most members, enumerators, parameters or variables that a type may have: [`MAX_VLEN`] by default, 2²⁴ − 1 since Linux 7.1. A blob with a
    /// layout section needs such a kernel anyway, and this limit is not applied to it.
    pub max_vlen: u32,
    /// With more than one thread the first two passes take place at the same time. The verdict is the same.
    pub threads: usize,
}

impl Default for ValidateOptions {
    fn default() -> Self {
        ValidateOptions { pointer_size: None, max_vlen: MAX_VLEN, threads: 1 }
    }
}

/// Checks a blob as the kernel would; its base, for split BTF, is taken to be valid.
///
/// # Errors
/// The first rule that is broken, with the type and its offset.
pub fn validate(btf: &Btf<'_>, options: &ValidateOptions) -> Result<()> {
    let pointer_size = options.pointer_size.or_else(|| btf.pointer_size()).unwrap_or(8);
    let max_vlen = if btf.has_layout() { u32::MAX } else { options.max_vlen };
    check_sections(btf)?;
    if options.threads > 1 {
        let (alone, together) = std::thread::scope(|scope| {
            let alone = scope.spawn(|| meta::check(btf, max_vlen));
            let together = resolve::check(btf, pointer_size);
            (alone.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), together)
        });
        alone.and(together)?;
    } else {
        meta::check(btf, max_vlen)?;
        resolve::check(btf, pointer_size)?;
    }
    tags::check(btf)
}

/// Rules of whole sections that reading does not need.
fn check_sections(btf: &Btf<'_>) -> Result<()> {
    if btf.base().is_none() && btf.types().len() == 0 {
        return Err(btf.section_error("type", "holds no type"));
    }
    if !btf.strings_are_last() && !btf.has_layout() {
        return Err(btf.section_error("string", "is not the last section"));
    }
    let len = btf.string_section().len() as u64;
    let limit = u64::from(MAX_NAME_OFFSET) + 1;
    if len > limit {
        return Err(Error::TooLarge { what: "strings, in bytes", value: len, limit });
    }
    Ok(())
}

/// A type that breaks a rule.
fn invalid(ty: &Type<'_>, reason: impl Into<String>) -> Error {
    Error::Invalid { id: ty.id(), kind: ty.kind(), offset: ty.offset(), reason: reason.into() }
}

/// Qualifiers, type tags and typedefs: types that are what they refer to, with the same size.
fn is_link(kind: Kind) -> bool {
    kind.is_modifier() || kind == Kind::Typedef
}
