//! What can be wrong with an object, a kernel's BTF, or (never, we hope) with this library.

use crate::Reason;

/// Why an input cannot be read, or a result cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not ELF, or its headers are damaged.
    #[error("cannot be read as an ELF file: {reason}")]
    Elf {
        /// What the ELF reader says.
        reason: String,
    },
    /// An ELF file for a processor, where a BPF object belongs.
    #[error("is an ELF file for machine {machine}, not a BPF object (247)")]
    NotBpf {
        /// `e_machine`.
        machine: u16,
    },
    /// An ELF file without a `.BTF` section, given as a kernel.
    #[error("is an ELF file without a .BTF section; make its BTF first with `btfgen vmlinux`")]
    NoBtf,
    /// An ELF section that cannot be read.
    #[error("section {section} cannot be read: {reason}")]
    Section {
        /// Its name.
        section: &'static str,
        /// What the ELF reader says.
        reason: String,
    },
    /// BTF that cannot be read; offsets are from the start of the BTF (the `.BTF` section of an ELF file).
    #[error(transparent)]
    Btf(#[from] btf::Error),
    /// A `.BTF.ext` section that breaks its format.
    #[error(".BTF.ext at offset {offset}: {reason}")]
    Ext {
        /// Bytes from the start of the section.
        offset: u64,
        /// The rule it breaks.
        reason: String,
    },
    /// A module's BTF that cannot be put together with its kernel's.
    #[error("module {index}: {reason}")]
    Module {
        /// Index of the module.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel's pointers have a size that its minimised BTF could not express, because no type `long` tells it.
    #[error("pointers of the kernel are {size} bytes, but it has no type `long` that would tell a loader so")]
    PointerSize {
        /// The size in bytes.
        size: u32,
    },
    /// The minimised BTF was made and then found to resolve a relocation otherwise than the full BTF. This is a bug in this library; there is no output.
    #[error(
        "the minimised BTF would resolve a relocation otherwise than the full BTF (object {object}, {relocation}: {full} became {minimized}); this is a bug, please report it"
    )]
    SelfCheck {
        /// Index of the object.
        object: usize,
        /// The relocation.
        relocation: String,
        /// What it is on the full BTF.
        full: String,
        /// What it would have been.
        minimized: String,
    },
}

impl Error {
    /// The fault of a relocation that makes the whole kernel's BTF unusable.
    pub(crate) fn of_kernel(reason: &Reason) -> Option<Error> {
        match reason {
            Reason::KernelBtf(error) => Some(Error::Btf(error.clone())),
            _ => None,
        }
    }
}

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
