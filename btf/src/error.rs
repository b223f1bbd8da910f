//! What can be wrong with a BTF blob.

use crate::{Kind, TypeId};

/// Why a blob is not BTF that this library can read. Offsets are bytes from the start of the blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input ends before the structure named does.
    #[error("truncated BTF: {what} at offset {offset} needs {needed} bytes, {have} are left")]
    Truncated {
        /// The structure that does not fit.
        what: &'static str,
        /// Where it starts.
        offset: u64,
        /// Its length in bytes.
        needed: u64,
        /// Bytes from `offset` to the end of its container.
        have: u64,
    },
    /// The first two bytes are not BTF's magic number in either byte order.
    #[error("not BTF: magic is 0x{found:04x}, not 0xeb9f in either byte order")]
    Magic {
        /// The first two bytes, read as little-endian.
        found: u16,
    },
    /// `btf_header.version` is not 1.
    #[error("BTF version {found} is newer than the version this reader knows (1)")]
    Version {
        /// The version found.
        found: u8,
    },
    /// `btf_header.flags` is not 0.
    #[error("BTF header flags 0x{found:02x} are unknown")]
    Flags {
        /// The flags found.
        found: u8,
    },
    /// The header is longer than known and what is new in it is not zero, so skipping it could misread the rest.
    #[error(
        "BTF header is {len} bytes long, {known} are known, and the unknown bytes from offset {offset} are not zero"
    )]
    NewerHeader {
        /// `hdr_len`.
        len: u32,
        /// How many bytes of header this reader knows.
        known: u32,
        /// The first unknown byte that is not zero.
        offset: u64,
    },
    /// A section of the header lies outside the blob, is misaligned, or overlaps another.
    #[error("BTF {section} section (offset {offset}, length {len}): {reason}")]
    Section {
        /// `type`, `string` or `layout`.
        section: &'static str,
        /// Its offset from the start of the blob.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A type of a kind that is newer than this library, in a blob whose layout section does not tell its length either.
    #[error(
        "type {id} at offset {offset} has kind {kind}, which is newer than the kinds this reader knows (1 to 19)"
    )]
    UnknownKind {
        /// The type.
        id: TypeId,
        /// Where its record starts.
        offset: u64,
        /// The kind's number.
        kind: u8,
    },
    /// A type id that no type has.
    #[error("type id {id} is out of range: there are {count} types, counting void")]
    NoSuchType {
        /// The id.
        id: TypeId,
        /// One more than the last id.
        count: u32,
    },
    /// A string offset outside the string section.
    #[error("string offset {offset} is outside the string section of {len} bytes")]
    NoSuchString {
        /// The offset, from the start of the string section (of the base's, for split BTF).
        offset: u32,
        /// Length of the string section (and its base's).
        len: u64,
    },
    /// A type that breaks a rule of the format.
    #[error("{kind} type {id} at offset {offset}: {reason}")]
    Invalid {
        /// The type.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// Where its record starts, in bytes from the start of the blob.
        offset: u64,
        /// The rule it breaks.
        reason: String,
    },
    /// A split BTF of the other byte order than its base.
    #[error("split BTF and its base differ in byte order")]
    BaseEndian,
    /// Split BTF where only self-contained BTF makes sense.
    #[error("split BTF: {what} needs self-contained BTF; put the types it takes from its base into it first")]
    NotSelfContained {
        /// What was to be done with it.
        what: &'static str,
    },
    /// Split BTF that was made for another base than it is used with.
    #[error("split BTF stands on another base than the kernel's BTF it is to be merged with")]
    OtherBase,
    /// Self-contained BTF where only split BTF makes sense.
    #[error("self-contained BTF: {what} needs split BTF and its base")]
    NotSplit {
        /// What was to be done with it.
        what: &'static str,
    },
    /// More different names or types than deduplication has place for: some hundred times what the largest kernels have.
    #[error("too large to deduplicate: too many different names or types")]
    PoolFull,
    /// More than the format, or every kernel, can hold.
    #[error("too large for BTF: {what} ({value} is over the limit of {limit})")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        value: u64,
        /// How much there may be.
        limit: u64,
    },
}

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
