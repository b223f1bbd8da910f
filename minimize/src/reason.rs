//! Why one relocation cannot be resolved.

use btf::{Kind, TypeId};

/// Why a loader refuses a relocation.
///
/// This is not about a field or type that the kernel lacks, which has an answer (see [`crate::Resolution`]); it is about relocations that make libbpf give up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// `bpf_core_relo.kind` is newer than this library.
    #[error("relocation kind {0} is unknown (0 to 12 are known)")]
    UnknownKind(u32),
    /// The access string is not numbers separated by colons, or not what its kind demands.
    #[error("the access string {0}")]
    AccessString(&'static str),
    /// The access string names a member, element or enumerator that the object's own type does not have.
    #[error("the access string asks for index {index} of {of}, which has {len}")]
    Index {
        /// The index.
        index: i32,
        /// What it is an index into.
        of: Kind,
        /// How many there are.
        len: u32,
    },
    /// The access string goes on into a type that has no members or elements.
    #[error("the access string goes into a type ({}) that has neither members nor elements", spell(.0))]
    NoMembers(Option<Kind>),
    /// A relocation about an enumerator whose type is no enum.
    #[error("an enumerator is asked for, but the type is no enum")]
    NotAnEnum,
    /// Types without a name cannot be looked up in the kernel.
    #[error("the type has no name")]
    Anonymous,
    /// A type without a size (void, a function, a forward declaration), or behind more than 31 typedefs and arrays.
    #[error("the type {0} has no size")]
    NoSize(TypeId),
    /// An array of more bytes than a relocation can express.
    #[error("the size of type {0} is too large")]
    SizeTooLarge(TypeId),
    /// A bitfield that no single load of up to eight bytes covers.
    #[error("the bitfield cannot be read with one load of up to 8 bytes")]
    Bitfield,
    /// Signedness or shifts of an array element.
    #[error("only offset, size and existence can be asked of an array element")]
    ArrayElement,
    /// More than 64 levels of members and elements, or more than 32 of pointers, functions and arrays.
    #[error("the types are nested too deeply")]
    TooDeep,
    /// Typedefs or arrays that lead back to themselves.
    #[error("type {0} leads back to itself")]
    Cyclic(TypeId),
    /// Matching takes more steps than the size of the object justifies.
    #[error("the types are too complex to compare")]
    TooComplex,
    /// Several types of the kernel match, and they disagree.
    #[error(
        "ambiguous: the kernel's types {first} and {second} both match and give {first_value} and {second_value}"
    )]
    Ambiguous {
        /// The first type that matches.
        first: TypeId,
        /// The one that disagrees with it.
        second: TypeId,
        /// What the first gives.
        first_value: String,
        /// What the other gives.
        second_value: String,
    },
    /// The object's own BTF is damaged.
    #[error("in the object's BTF: {0}")]
    ObjectBtf(btf::Error),
    /// The kernel's BTF is damaged.
    #[error("in the kernel's BTF: {0}")]
    KernelBtf(btf::Error),
}

fn spell(kind: &Option<Kind>) -> &'static str {
    kind.map_or("void", Kind::as_str)
}
