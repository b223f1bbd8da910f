//! Where the units of `.debug_info` and `.debug_types` lie.

use btf::Endian;
use gimli::{EndianSlice, RunTimeEndian, UnitHeader, UnitType};

use super::convert::{DwarfError, FastMap};
use super::sections::UnitPlace;

/// The units of a file.
pub(super) struct UnitList {
    /// In the order of the sections.
    pub(super) places: Vec<UnitPlace>,
    /// Where the types of type units are, by signature: offsets in `.debug_info` with `.debug_types` after it.
    pub(super) signatures: FastMap<u64, u64>,
}

/// Reads the headers of all units of a file.
pub(super) fn find(info: &[u8], types: &[u8], endian: Endian) -> Result<UnitList, DwarfError> {
    let order = if endian == Endian::Big { RunTimeEndian::Big } else { RunTimeEndian::Little };
    let mut list = UnitList { places: Vec::new(), signatures: FastMap::default() };
    let mut headers = gimli::DebugInfo::from(EndianSlice::new(info, order)).units();
    list.take(".debug_info", 0, || headers.next())?;
    let mut headers = gimli::DebugTypes::from(EndianSlice::new(types, order)).units();
    list.take(".debug_types", info.len(), || headers.next())?;
    Ok(list)
}

impl UnitList {
    /// Adds the units of a supplementary file, whose `.debug_info` and `.debug_abbrev` follow the first `info` and `abbrev` bytes of these.
    pub(super) fn add_supplementary(&mut self, other: UnitList, info: usize, abbrev: usize) {
        self.places.extend(other.places.into_iter().map(|place| UnitPlace {
            section: ".debug_info of the supplementary file",
            supplementary: true,
            start: info + place.start,
            entries: info + place.entries,
            end: info + place.end,
            abbrev: abbrev.saturating_add(place.abbrev),
            ..place
        }));
        for (signature, at) in other.signatures {
            self.signatures.entry(signature).or_insert(info as u64 + at);
        }
    }

    /// Takes in the units of a section that begins at `base`.
    fn take<'i>(
        &mut self,
        section: &'static str,
        base: usize,
        mut next: impl FnMut() -> gimli::Result<Option<UnitHeader<EndianSlice<'i, RunTimeEndian>>>>,
    ) -> Result<(), DwarfError> {
        let mut offset = 0;
        loop {
            let header = match next() {
                Ok(Some(header)) => header,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let (offset, reason) = (offset as u64, error.to_string());
                    return Err(DwarfError::Header { section, offset, reason });
                }
            };
            let start = base + offset;
            let place = UnitPlace {
                section,
                supplementary: false,
                offset,
                start,
                entries: start + header.size_of_header(),
                end: start + header.length_including_self(),
                abbrev: header.debug_abbrev_offset().0,
                encoding: header.encoding(),
            };
            if let UnitType::Type { type_signature, type_offset } = header.type_() {
                // Linkers keep one of each; where there are more, the first is as good as any.
                let at = start as u64 + type_offset.0 as u64;
                self.signatures.entry(type_signature.0).or_insert(at);
            }
            offset = place.end - base;
            self.places.push(place);
        }
    }
}
