//! The kinds of BTF types and how long each one's record is.
//!
//! Source: `include/uapi/linux/btf.h` and `Documentation/bpf/btf.rst` of the kernel. A type record is
//! `struct btf_type` (three 32-bit words: `name_off`, `info`, `size` or `type`) and a payload whose size depends on
//! the kind and on `vlen`. Every field of every kind known so far is a whole 32-bit word, so a record is a sequence of words
//! and byte order is a property of the word.

use std::fmt;

/// Length in bytes of `struct btf_type`, the fixed part of every type record.
pub const TYPE_HEADER_LEN: usize = 12;

/// Largest `vlen` that every kernel accepts (`BTF_MAX_VLEN` before Linux 7.1; newer ones take 24 bits).
pub const MAX_VLEN: u32 = 0xffff;

/// Largest type id that a kernel accepts (`BTF_MAX_TYPE`).
pub const MAX_TYPE_ID: u32 = 0x000f_ffff;

/// Largest string offset that a kernel accepts (`BTF_MAX_NAME_OFFSET`).
pub const MAX_NAME_OFFSET: u32 = 0x00ff_ffff;

/// `BTF_INT_SIGNED`: the integer is signed.
pub const INT_SIGNED: u8 = 1;
/// `BTF_INT_CHAR`: the integer is a character.
pub const INT_CHAR: u8 = 2;
/// `BTF_INT_BOOL`: the integer is a boolean.
pub const INT_BOOL: u8 = 4;

/// A kind of BTF type (`BTF_KIND_*`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// An integer.
    Int = 1,
    /// A pointer.
    Ptr = 2,
    /// An array of a fixed number of elements; 0 elements for a flexible array.
    Array = 3,
    /// A struct.
    Struct = 4,
    /// A union.
    Union = 5,
    /// An enumeration with 32-bit values.
    Enum = 6,
    /// A forward declaration of a struct, or of a union when the kind flag is set.
    Fwd = 7,
    /// A typedef.
    Typedef = 8,
    /// The `volatile` qualifier.
    Volatile = 9,
    /// The `const` qualifier.
    Const = 10,
    /// The `restrict` qualifier.
    Restrict = 11,
    /// A function; `vlen` is its linkage and the type its [`Kind::FuncProto`].
    Func = 12,
    /// A function's return type and parameters.
    FuncProto = 13,
    /// A variable.
    Var = 14,
    /// The variables of one ELF section.
    Datasec = 15,
    /// A floating-point number.
    Float = 16,
    /// `__attribute__((btf_decl_tag("…")))` on a declaration, a member or a parameter.
    DeclTag = 17,
    /// `__attribute__((btf_type_tag("…")))` on a pointee.
    TypeTag = 18,
    /// An enumeration with 64-bit values.
    Enum64 = 19,
}

impl Kind {
    /// Every kind, in numeric order.
    pub const ALL: [Kind; 19] = [
        Kind::Int,
        Kind::Ptr,
        Kind::Array,
        Kind::Struct,
        Kind::Union,
        Kind::Enum,
        Kind::Fwd,
        Kind::Typedef,
        Kind::Volatile,
        Kind::Const,
        Kind::Restrict,
        Kind::Func,
        Kind::FuncProto,
        Kind::Var,
        Kind::Datasec,
        Kind::Float,
        Kind::DeclTag,
        Kind::TypeTag,
        Kind::Enum64,
    ];

    /// The kind with this number, or `None` for 0 (`BTF_KIND_UNKN`) and for kinds newer than this library.
    pub const fn from_number(number: u8) -> Option<Kind> {
        if number >= 1 && number <= 19 { Some(Self::ALL[number as usize - 1]) } else { None }
    }

    /// The kind's number in the format.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Payload size in bytes: the fixed part after `struct btf_type`, and that of each of the `vlen` elements.
    pub const fn payload(self) -> Payload {
        let (fixed, element) = match self {
            Kind::Int | Kind::Var | Kind::DeclTag => (4, 0),
            Kind::Array => (12, 0),
            Kind::Struct | Kind::Union | Kind::Datasec | Kind::Enum64 => (0, 12),
            Kind::Enum | Kind::FuncProto => (0, 8),
            Kind::Ptr
            | Kind::Fwd
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::Float
            | Kind::TypeTag => (0, 0),
        };
        Payload { fixed, element }
    }

    /// Whether the third word is a type id (`btf_type.type`) rather than a size or unused.
    pub const fn refers(self) -> bool {
        matches!(
            self,
            Kind::Ptr
                | Kind::Typedef
                | Kind::Volatile
                | Kind::Const
                | Kind::Restrict
                | Kind::Func
                | Kind::FuncProto
                | Kind::Var
                | Kind::DeclTag
                | Kind::TypeTag
        )
    }

    /// Whether the third word is a size in bytes (`btf_type.size`).
    pub const fn is_sized(self) -> bool {
        matches!(
            self,
            Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float | Kind::Datasec
        )
    }

    /// `const`, `volatile`, `restrict` and type tags: what C's type compatibility looks through.
    pub const fn is_modifier(self) -> bool {
        matches!(self, Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag)
    }

    /// Struct or union.
    pub const fn is_composite(self) -> bool {
        matches!(self, Kind::Struct | Kind::Union)
    }

    /// Enum or enum64.
    pub const fn is_any_enum(self) -> bool {
        matches!(self, Kind::Enum | Kind::Enum64)
    }

    /// The kind as bpftool prints it: `STRUCT`, `DECL_TAG`, …
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Int => "INT",
            Kind::Ptr => "PTR",
            Kind::Array => "ARRAY",
            Kind::Struct => "STRUCT",
            Kind::Union => "UNION",
            Kind::Enum => "ENUM",
            Kind::Fwd => "FWD",
            Kind::Typedef => "TYPEDEF",
            Kind::Volatile => "VOLATILE",
            Kind::Const => "CONST",
            Kind::Restrict => "RESTRICT",
            Kind::Func => "FUNC",
            Kind::FuncProto => "FUNC_PROTO",
            Kind::Var => "VAR",
            Kind::Datasec => "DATASEC",
            Kind::Float => "FLOAT",
            Kind::DeclTag => "DECL_TAG",
            Kind::TypeTag => "TYPE_TAG",
            Kind::Enum64 => "ENUM64",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long a kind's payload is, in bytes (`struct btf_layout` of newer headers).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload {
    /// Bytes once, after `struct btf_type`.
    pub fixed: u8,
    /// Bytes for each of the `vlen` elements.
    pub element: u8,
}

impl Payload {
    /// Bytes of a payload with `vlen` elements.
    pub const fn len(self, vlen: u32) -> u64 {
        self.fixed as u64 + self.element as u64 * vlen as u64
    }
}

/// The `info` word of a type: kind, kind flag and number of elements.
///
/// Bits 0–23 are `vlen` (0–15 until Linux 7.1, which widened it), 24–30 the kind (24–28 until then), 31 the kind flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info(pub u32);

impl Info {
    /// An `info` word.
    pub const fn new(kind: Kind, vlen: u32, kind_flag: bool) -> Info {
        Info((kind_flag as u32) << 31 | (kind as u32) << 24 | (vlen & 0x00ff_ffff))
    }

    /// The kind's number, which may be unknown to this library.
    pub const fn kind_number(self) -> u8 {
        (self.0 >> 24) as u8 & 0x7f
    }

    /// Number of elements; for [`Kind::Func`] the linkage.
    pub const fn vlen(self) -> u32 {
        self.0 & 0x00ff_ffff
    }

    /// The kind flag.
    pub const fn kind_flag(self) -> bool {
        self.0 >> 31 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that numbers and kinds map both ways and that neighbours of the range are unknown.
    #[test]
    fn kind_numbers() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind.number()), Some(kind));
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(20), None);
    }

    /// Check that the info word keeps its three parts apart.
    #[test]
    fn info_parts() {
        let info = Info::new(Kind::Enum64, 0xffff, true);
        assert_eq!((info.kind_number(), info.vlen(), info.kind_flag()), (19, 0xffff, true));
        let info = Info::new(Kind::Ptr, 0, false);
        assert_eq!(info.0, 2 << 24);
    }
}
