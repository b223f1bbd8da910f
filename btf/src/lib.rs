//! The BPF Type Format (BTF): read, validate, build, deduplicate, write.
//!
//! BTF describes the types of a kernel, a kernel module or a BPF object (`Documentation/bpf/btf.rst` in the kernel). This
//! crate is the format itself: functions over byte slices, without I/O, async or logging. Parsers never panic and never allocate
//! more than the input justifies, on any input, and errors say at which byte what was wrong.
//!
//! - [`Btf`] is a borrowed view of a blob of either byte order; [`Type`] is one of its types.
//! - [`Builder`] collects types and strings and writes a blob.
//! - [`validate()`] checks a blob by the rules of the kernel's own checker.
//! - [`dedup`] makes one graph of many units' types; [`split`] puts a module's on top of its kernel's, [`merge`] puts all into one.
//! - [`Form`] rewrites BTF for readers that do not know its newer kinds.
//! - [`c`] writes types as C.
//! - [`compare()`] tells what two blobs do not agree on, [`diff`] how, member by member; [`describe()`] says a type in words.

pub mod build;
pub mod c;
mod compare;
pub mod dedup;
mod describe;
pub mod diff;
mod endian;
mod error;
mod form;
pub mod kind;
mod merge;
mod read;
mod refs;
pub mod split;
mod types;
mod validate;

use std::fmt;

pub use bstr::BStr;
pub use build::Builder;
pub use compare::{Comparison, Difference, KindCounts, compare};
pub use describe::describe;
pub use endian::Endian;
pub use error::{Error, Result};
pub use form::Form;
pub use kind::Kind;
pub use merge::{flatten, merge};
pub use read::{Btf, HEADER_LEN, MAGIC};
pub use refs::{Ref, visit_refs, visit_type_refs};
pub use split::{BaseIndex, Distilled, Split, distill};
pub use types::{Array, Enumerator, Int, Member, Param, SectionVar, Type};
pub use validate::{ValidateOptions, validate};

/// A type's number in a blob; 0 is void.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TypeId(pub u32);

impl TypeId {
    /// `void`.
    pub const VOID: TypeId = TypeId(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// An offset into a blob's string section, in bytes; 0 is the empty string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StrOffset(pub u32);
