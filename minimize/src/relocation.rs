//! One CO-RE relocation as the object records it.

use std::fmt;

use btf::{BStr, TypeId};

/// What a relocation asks for (`enum bpf_core_relo_kind`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum RelocationKind {
    /// Offset of a field in bytes.
    FieldByteOffset = 0,
    /// Size of a field in bytes.
    FieldByteSize = 1,
    /// Whether there is such a field.
    FieldExists = 2,
    /// Whether a field is signed.
    FieldSigned = 3,
    /// By how many bits to shift a bitfield left after loading it as 64 bits.
    FieldLshiftU64 = 4,
    /// By how many bits to shift a bitfield right after that.
    FieldRshiftU64 = 5,
    /// Id of a type in the object's own BTF.
    TypeIdLocal = 6,
    /// Id of a type in the kernel's BTF.
    TypeIdTarget = 7,
    /// Whether there is such a type.
    TypeExists = 8,
    /// Size of a type in bytes.
    TypeSize = 9,
    /// Whether there is such an enumerator.
    EnumvalExists = 10,
    /// Value of an enumerator.
    EnumvalValue = 11,
    /// Whether there is a type with the same members, all the way down.
    TypeMatches = 12,
}

impl RelocationKind {
    /// Every kind, in numeric order.
    pub const ALL: [RelocationKind; 13] = [
        RelocationKind::FieldByteOffset,
        RelocationKind::FieldByteSize,
        RelocationKind::FieldExists,
        RelocationKind::FieldSigned,
        RelocationKind::FieldLshiftU64,
        RelocationKind::FieldRshiftU64,
        RelocationKind::TypeIdLocal,
        RelocationKind::TypeIdTarget,
        RelocationKind::TypeExists,
        RelocationKind::TypeSize,
        RelocationKind::EnumvalExists,
        RelocationKind::EnumvalValue,
        RelocationKind::TypeMatches,
    ];

    /// The kind with this number; `None` if it is newer than this library.
    pub fn from_number(number: u32) -> Option<RelocationKind> {
        Self::ALL.get(number as usize).copied()
    }

    /// The kind as libbpf's log names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            RelocationKind::FieldByteOffset => "byte_off",
            RelocationKind::FieldByteSize => "byte_sz",
            RelocationKind::FieldExists => "field_exists",
            RelocationKind::FieldSigned => "signed",
            RelocationKind::FieldLshiftU64 => "lshift_u64",
            RelocationKind::FieldRshiftU64 => "rshift_u64",
            RelocationKind::TypeIdLocal => "local_type_id",
            RelocationKind::TypeIdTarget => "target_type_id",
            RelocationKind::TypeExists => "type_exists",
            RelocationKind::TypeSize => "type_size",
            RelocationKind::EnumvalExists => "enumval_exists",
            RelocationKind::EnumvalValue => "enumval_value",
            RelocationKind::TypeMatches => "type_matches",
        }
    }

    /// Whether it is about a field, reached by an access string.
    pub const fn is_field(self) -> bool {
        (self as u32) <= RelocationKind::FieldRshiftU64 as u32
    }

    /// Whether it is about an enumerator.
    pub const fn is_enumerator(self) -> bool {
        matches!(self, RelocationKind::EnumvalExists | RelocationKind::EnumvalValue)
    }

    /// Whether it is about a type as a whole.
    pub const fn is_type(self) -> bool {
        !self.is_field() && !self.is_enumerator()
    }

    /// Whether a kernel without the thing asked for is an answer in itself (0), where for the others the instruction is poisoned.
    pub const fn answers_absence(self) -> bool {
        self.is_type() || matches!(self, RelocationKind::FieldExists | RelocationKind::EnumvalExists)
    }
}

impl fmt::Display for RelocationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One relocation (`struct bpf_core_relo`): an instruction and what of the kernel's types goes into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relocation<'a> {
    /// The ELF section of the instruction.
    pub section: &'a BStr,
    /// Where the instruction starts, in bytes from the start of the section. An instruction has 8 bytes.
    pub instruction_offset: u32,
    /// Whether the instruction is a load or a store, whose size then follows that of the field. True where the instruction cannot be seen.
    pub is_memory_access: bool,
    /// The type, in the object's BTF.
    pub root: TypeId,
    /// Which part of the type: indices separated by colons.
    pub access: &'a BStr,
    /// The number of what is asked for; see [`Relocation::kind`].
    pub kind_number: u32,
}

impl Relocation<'_> {
    /// What is asked for; `None` if it is newer than this library.
    pub fn kind(&self) -> Option<RelocationKind> {
        RelocationKind::from_number(self.kind_number)
    }

    /// Number of the instruction in its section.
    pub fn instruction(&self) -> u32 {
        self.instruction_offset / 8
    }
}
