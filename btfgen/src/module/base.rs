//! The kernel's BTF, which modules' split BTF continues: a raw file, or the `.BTF` section of a vmlinux.

use std::borrow::Cow;

use btf::{Btf, ValidateOptions};

use super::MAX_BTF;
use crate::elf::{Contents, ElfError, Image};

/// Why a file has no base.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// It is an ELF file that cannot be read.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// It is an ELF file without BTF.
    #[error("it has no .BTF section; make its BTF first (btfgen vmlinux) and give that")]
    NoSection,
    /// It is not valid BTF.
    #[error("{0}")]
    Btf(#[from] btf::Error),
}

/// The raw BTF in a file, valid and self-contained.
pub fn base(file: &Contents) -> Result<Cow<'_, [u8]>, BaseError> {
    let mut options = ValidateOptions::default();
    let bytes = if file.bytes().starts_with(b"\x7fELF") {
        let image = Image::parse(file)?;
        let section = image.section_named(".BTF").ok_or(BaseError::NoSection)?;
        options.pointer_size = Some(image.class.address_size().into());
        image.data_of(section, MAX_BTF)?
    } else {
        Cow::Borrowed(file.bytes())
    };
    btf::validate(&Btf::parse(&bytes)?, &options)?;
    Ok(bytes)
}
