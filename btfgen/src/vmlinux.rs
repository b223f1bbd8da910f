//! From one vmlinux to BTF: the embedded `.BTF` section, or DWARF converted.

use btf::{Btf, Kind, ValidateOptions};
use btf_archive::{BuildId, Source};

use crate::dwarf::{self, DwarfError, LostUnit};
use crate::elf::{ElfError, Image, ReadAt};

/// Where the BTF is to come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum From {
    /// The embedded section where there is one, else DWARF.
    #[default]
    Auto,
    /// The embedded section only.
    Embedded,
    /// DWARF only.
    Dwarf,
}

/// A kernel's BTF and what is known of how it was got.
#[derive(Debug)]
pub struct Extracted {
    /// Raw BTF in the kernel's byte order, read back and validated.
    pub btf: Vec<u8>,
    /// What it was made of.
    pub source: Source,
    /// The kernel's build-id.
    pub build_id: Option<BuildId>,
    /// What the conversion could not do exactly; empty for embedded BTF.
    pub report: Report,
}

/// What a conversion did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Number of types.
    pub types: usize,
    /// Units that were converted.
    pub units: usize,
    /// Units of other languages than C, which have no BTF.
    pub other_languages: usize,
    /// Units that could not be read and are missing.
    pub lost: Vec<LostUnit>,
    /// Types that could not be expressed exactly.
    pub degraded: u64,
}

/// Why there is no BTF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The file cannot be read as ELF.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// Embedded BTF was asked for and there is none.
    #[error("it has no .BTF section; convert its DWARF instead (--from dwarf)")]
    NoEmbedded,
    /// DWARF cannot be converted.
    #[error(transparent)]
    Dwarf(#[from] DwarfError),
    /// The BTF, embedded or made, is not valid.
    #[error("{}: {error}", if *.source_is_embedded { "its embedded .BTF section" } else { "the BTF made from its DWARF is not valid (its debug information is damaged, or this is a bug)" })]
    Invalid {
        /// Whether it was embedded.
        source_is_embedded: bool,
        /// What is wrong with it.
        error: btf::Error,
    },
}

/// The limit on the size of an embedded section, in bytes. The largest kernels' are a tenth of it.
const MAX_BTF: u64 = 64 << 20;

/// Takes or makes the BTF of the ELF file in `data`, on `threads` threads, and validates it.
pub fn extract(data: &dyn ReadAt, from: From, threads: usize) -> Result<Extracted, ExtractError> {
    extract_with(data, None, from, threads)
}

/// [`extract`] with the supplementary file (`dwz -m`) that the DWARF refers to; see [`crate::dwarf::Link`].
pub fn extract_with(
    data: &dyn ReadAt,
    supplementary: Option<&dyn ReadAt>,
    from: From,
    threads: usize,
) -> Result<Extracted, ExtractError> {
    let image = Image::parse(data)?;
    let embedded = image.section_named(".BTF");
    let (btf, source, mut report) = match (from, embedded) {
        (From::Auto | From::Embedded, Some(section)) => {
            (image.data_of(section, MAX_BTF)?.into_owned(), Source::Embedded, Report::default())
        }
        (From::Embedded, None) => return Err(ExtractError::NoEmbedded),
        (From::Auto | From::Dwarf, _) => {
            let supplementary = supplementary.map(Image::parse).transpose()?;
            let made = dwarf::convert(&image, supplementary.as_ref(), threads)?;
            let report = Report {
                types: 0,
                units: made.units,
                other_languages: made.other_languages,
                lost: made.lost,
                degraded: made.degraded,
            };
            (made.btf, Source::Dwarf, report)
        }
    };
    let invalid = |error| ExtractError::Invalid { source_is_embedded: source == Source::Embedded, error };
    let view = Btf::parse(&btf).map_err(invalid)?;
    let mut options = ValidateOptions::default();
    options.pointer_size = Some(image.class.address_size().into());
    options.threads = threads;
    btf::validate(&view, &options).map_err(invalid)?;
    report.types = view.type_count() as usize - 1;
    Ok(Extracted { source, build_id: image.build_id(), report, btf })
}

/// Whether BTF can be a whole kernel's: it has a `struct task_struct` with members.
pub fn is_plausible_kernel(btf: &Btf<'_>) -> bool {
    btf.types().flatten().any(|ty| {
        ty.kind() == Kind::Struct && ty.vlen() > 0 && btf.name(&ty).is_ok_and(|name| name == "task_struct")
    })
}
