//! Reading an ELF file (System V ABI, chapter 4) by offset, wherever its bytes are kept.
//!
//! Only what BTF needs: the table of sections, their data (decompressed where it is compressed), the build-id, and symbols. Nothing is
//! read but what is asked for, so that a vmlinux of 600 MB inside a package costs the memory of its debug sections only.

mod compressed;
mod file;
mod image;
mod read_at;
mod relocate;
mod symbols;

pub use file::{Contents, OpenError};
pub use image::{Class, ElfError, Image, Section};
pub use read_at::ReadAt;
pub use symbols::Symbol;
