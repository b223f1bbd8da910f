//! The sections that units are in and refer to, put together so that one offset tells a DIE.

use gimli::Encoding;

use super::convert::FastMap;
use super::locations::ListSections;
use super::names::StringSections;

/// Where a unit lies and how it is encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitPlace {
    /// The section that it is in.
    pub(crate) section: &'static str,
    /// Whether that is one of the supplementary file.
    pub(crate) supplementary: bool,
    /// Offset of its header in that section.
    pub(crate) offset: usize,
    /// Offset of its header in what is converted, in which `.debug_types` follows `.debug_info`, and the supplementary file's `.debug_info`
    /// both; so are the other offsets.
    pub(crate) start: usize,
    /// Offset of its first DIE.
    pub(crate) entries: usize,
    /// Offset of its end.
    pub(crate) end: usize,
    /// Offset of its abbreviation table in `.debug_abbrev`, which the supplementary file's follows.
    pub(crate) abbrev: usize,
    pub(crate) encoding: Encoding,
}

/// The sections that a unit's DIEs refer to.
#[derive(Clone, Copy)]
pub(crate) struct Sections<'a> {
    /// `.debug_info`, `.debug_types` after it, and then the supplementary file's `.debug_info`.
    pub(crate) info: &'a [u8],
    /// Where in `info` the `.debug_info` of the unit's own file starts and ends.
    pub(crate) own_info: (usize, usize),
    /// The supplementary file's sections.
    pub(crate) supplementary: Option<&'a Sections<'a>>,
    /// `.debug_addr`.
    pub(crate) addr: &'a [u8],
    pub(crate) strings: StringSections<'a>,
    pub(crate) lists: ListSections<'a>,
    /// Where the types of type units are, by signature, as offsets in `info`.
    pub(crate) signatures: &'a FastMap<u64, u64>,
}

impl<'a> Sections<'a> {
    /// The sections of the file that a unit is in.
    #[inline]
    pub(crate) fn of(&'a self, place: &UnitPlace) -> &'a Sections<'a> {
        self.supplementary.filter(|_| place.supplementary).unwrap_or(self)
    }

    /// The place in `info` of a DIE, by offset in the file's `.debug_info`.
    pub(crate) fn die(&self, offset: u64) -> Option<u64> {
        let (start, end) = self.own_info;
        (start as u64).checked_add(offset).filter(|&place| place < end as u64)
    }
}
