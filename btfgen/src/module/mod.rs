//! From kernel modules to split BTF: the embedded `.BTF` section, or DWARF converted, on top of the kernel's BTF.
//!
//! - [`base()`] finds the kernel's BTF in a file;
//! - [`find()`] finds modules in a folder, and says what the kernel calls them;
//! - [`extract`] makes the split BTF of one module; [`btf::BaseIndex`], which it needs, is made once for all;
//! - `embedded` decides whether a module's own BTF belongs to that kernel's;
//! - [`each()`] spreads modules over threads;
//! - `container` writes the ELF file that holds split BTF and its distilled base.

mod base;
mod container;
mod each;
mod embedded;
mod find;

pub use base::{BaseError, base};
pub use each::each;
pub use embedded::Foreign;
pub use find::{find, name_of};

use std::borrow::Cow;

use btf::{BaseIndex, Btf, ValidateOptions};
use btf_archive::Source;

use crate::dwarf::{self, DwarfError};
use crate::elf::{ElfError, Image, ReadAt, Section};
use crate::vmlinux::{Extracted, From, Report};

/// Why a module has no split BTF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The file cannot be read as ELF.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// An ELF file of another type than object files.
    #[error("it is no kernel module, but a linked file (ELF type {0}); modules are object files (type 1)")]
    Linked(u16),
    /// Module and base were made for machines of different byte orders.
    #[error(
        "it has another byte order than the base, so it is no module of that kernel; give its own with --base"
    )]
    ByteOrder,
    /// Embedded BTF was asked for and there is none.
    #[error("it has no .BTF section; convert its DWARF instead (--from dwarf)")]
    NoEmbedded,
    /// There is nothing to make BTF of.
    #[error(
        "it has neither DWARF debug information (no .debug_info section) nor a .BTF section: give the file from the debug package instead"
    )]
    Nothing,
    /// DWARF cannot be converted.
    #[error(transparent)]
    Dwarf(#[from] DwarfError),
    /// Embedded BTF that was made for another base.
    #[error("its .BTF section was made for another base: {0}; give the BTF that its kernel embeds with --base{hint}", hint = if *.1 { ", or convert its DWARF (--from dwarf)" } else { "" })]
    OtherBase(embedded::Foreign, bool),
    /// Its base cannot be distilled.
    #[error("its base cannot be distilled: {0}")]
    Distil(btf::Error),
    /// The BTF made is not valid.
    #[error(
        "the BTF made from its DWARF is not valid (its debug information is damaged, or this is a bug): {0}"
    )]
    Invalid(btf::Error),
}

/// The limit on the size of an embedded section, in bytes.
const MAX_BTF: u64 = 64 << 20;

/// How a module's BTF relates to its kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum On {
    /// Raw split BTF, for exactly this base.
    #[default]
    Base,
    /// An ELF file with the sections `.BTF` and `.BTF.base`: for every base that has the types it names.
    DistilledBase,
}

/// Takes or makes the split BTF of the module in `data`, on `threads` threads, and validates it.
///
/// [`From::Auto`] takes the embedded section if it belongs to the base of `index`, else DWARF. The report's number of types counts the
/// module's own.
pub fn extract(
    data: &dyn ReadAt,
    index: &BaseIndex<'_>,
    from: From,
    on: On,
    threads: usize,
) -> Result<Extracted, ModuleError> {
    let image = Image::parse(data)?;
    if !image.is_relocatable() {
        return Err(ModuleError::Linked(image.kind));
    }
    if image.endian != index.base().endian() {
        return Err(ModuleError::ByteOrder);
    }
    let mut made = split(&image, index, from, threads)?;
    if on == On::DistilledBase {
        let distilled = Btf::parse_split(&made.btf, index.base()).and_then(|split| btf::distill(&split));
        made.btf = container::container(&distilled.map_err(ModuleError::Distil)?, &image);
    }
    Ok(made)
}

/// Split BTF from where it is to come from.
fn split(
    image: &Image<'_>,
    index: &BaseIndex<'_>,
    from: From,
    threads: usize,
) -> Result<Extracted, ModuleError> {
    let mut options = ValidateOptions::default();
    options.pointer_size = Some(image.class.address_size().into());
    let has_dwarf = image.has_debug_section("info");
    match image.section_named(".BTF").filter(|_| from != From::Dwarf) {
        Some(section) => match embedded(image, section, index, &options)? {
            Ok(embedded) => Ok(embedded),
            Err(_) if from == From::Auto && has_dwarf => converted(image, index, &options, threads),
            Err(foreign) => Err(ModuleError::OtherBase(foreign, has_dwarf)),
        },
        None if from == From::Embedded => Err(ModuleError::NoEmbedded),
        None if from == From::Auto && !has_dwarf => Err(ModuleError::Nothing),
        None => converted(image, index, &options, threads),
    }
}

/// Split BTF made of a module's DWARF.
fn converted(
    image: &Image<'_>,
    index: &BaseIndex<'_>,
    options: &ValidateOptions,
    threads: usize,
) -> Result<Extracted, ModuleError> {
    let made = dwarf::convert(image, None, threads)?;
    let whole = Btf::parse(&made.btf).map_err(ModuleError::Invalid)?;
    let split = index.split(&whole).map_err(ModuleError::Invalid)?;
    let btf = split.builder.finish(image.endian).map_err(ModuleError::Invalid)?;
    let view = Btf::parse_split(&btf, index.base()).map_err(ModuleError::Invalid)?;
    btf::validate(&view, options).map_err(ModuleError::Invalid)?;
    let report = Report {
        types: view.types().len(),
        units: made.units,
        other_languages: made.other_languages,
        lost: made.lost,
        degraded: made.degraded,
    };
    Ok(Extracted { source: Source::Dwarf, build_id: image.build_id(), report, btf })
}

/// A module's own BTF, or why it does not belong to the base.
fn embedded(
    image: &Image<'_>,
    section: &Section,
    index: &BaseIndex<'_>,
    options: &ValidateOptions,
) -> Result<Result<Extracted, Foreign>, ElfError> {
    if image.section_named(".BTF.base").is_some() {
        return Ok(Err(Foreign::Distilled));
    }
    let btf = image.data_of(section, MAX_BTF)?;
    Ok(embedded::check(&btf, index.base(), options).map(|types| Extracted {
        source: Source::Embedded,
        build_id: image.build_id(),
        report: Report { types, ..Report::default() },
        btf: Cow::into_owned(btf),
    }))
}
