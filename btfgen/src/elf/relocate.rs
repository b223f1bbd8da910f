//! Relocations of debug sections in object files (`ET_REL`), such as kernel modules.
//!
//! A linked vmlinux has relocation sections too when it was linked with `--emit-relocs`, but there the results are in place already; applying
//! them again would damage it. `object` knows what each machine's relocation types mean.

use std::borrow::Cow;

use object::{Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget};

use super::image::{ElfError, Image};
use btf::Endian;

/// Applies the relocations of the section with this index to its (decompressed) bytes.
pub(super) fn apply<'d>(
    image: &Image<'d>,
    index: usize,
    bytes: Cow<'d, [u8]>,
) -> Result<Cow<'d, [u8]>, ElfError> {
    let failed =
        |reason: String| ElfError::Relocation { section: image.sections[index].name.clone(), reason };
    let whole = image.whole_file()?;
    let file = object::File::parse(&*whole).map_err(|error| failed(error.to_string()))?;
    let section =
        file.section_by_index(object::SectionIndex(index)).map_err(|error| failed(error.to_string()))?;
    let mut bytes = bytes;
    for (offset, relocation) in section.relocations() {
        // What is not a plain address or offset (RISC-V's sums and differences over code) stands in location lists and line tables,
        // which types do not need.
        if relocation.kind() != RelocationKind::Absolute {
            continue;
        }
        let symbol = match relocation.target() {
            RelocationTarget::Symbol(index) => {
                let symbol = file.symbol_by_index(index).map_err(|error| failed(error.to_string()))?;
                symbol.address()
            }
            _ => 0,
        };
        let len = usize::from(relocation.size()) / 8;
        let place = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(len)?));
        let Some(place) = place.filter(|place| place.end <= bytes.len() && matches!(len, 4 | 8)) else {
            return Err(failed(format!(
                "a relocation of {len} bytes at offset 0x{offset:x} is outside of it"
            )));
        };
        let target = &mut bytes.to_mut()[place];
        let implicit = if relocation.has_implicit_addend() { word(target, image.endian) } else { 0 };
        let value = symbol.wrapping_add_signed(relocation.addend()).wrapping_add(implicit);
        match image.endian {
            Endian::Little => target.copy_from_slice(&value.to_le_bytes()[..len]),
            Endian::Big => target.copy_from_slice(&value.to_be_bytes()[8 - len..]),
        }
    }
    Ok(bytes)
}

fn word(bytes: &[u8], endian: Endian) -> u64 {
    let push = |word: u64, &byte: &u8| word << 8 | u64::from(byte);
    match endian {
        Endian::Little => bytes.iter().rev().fold(0, push),
        Endian::Big => bytes.iter().fold(0, push),
    }
}
