//! The two sections of a vmlinux that matter here: its build-id and its BTF.
//!
//! A vmlinux with debug information has hundreds of megabytes, so the file is read in pieces: headers, section names
//! and the two sections, each bounded.

use std::fs::File;

use btf_archive::BuildId;
use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, SHF_COMPRESSED, SHT_NOBITS};
use object::read::elf::{FileHeader, SectionHeader as _};
use object::read::{ReadCache, ReadRef as _};

use crate::Reason;

/// The most sections a file may have; a vmlinux has fewer than 100.
const MAX_SECTIONS: u32 = 1 << 12;
/// The largest note section looked at, in bytes; a vmlinux's has a few hundred.
const MAX_NOTES: u64 = 1 << 14;

/// What a vmlinux says about itself.
pub(crate) struct Vmlinux {
    /// Its GNU build-id.
    pub(crate) build_id: Option<BuildId>,
    /// Its `.BTF` section.
    pub(crate) btf: Option<Vec<u8>>,
}

/// Reads build-id and BTF of an ELF file of either class and byte order.
///
/// # Errors
/// [`Reason::NotBtf`] for a file that is no ELF file or does not hold together, [`Reason::TooLarge`] for a `.BTF`
/// section over `max_size` bytes.
pub(crate) fn read(file: File, max_size: usize) -> Result<Vmlinux, Reason> {
    let cache = ReadCache::new(file);
    let class = (&cache).read_bytes_at(0, 5).map_or(0, |ident| ident[4]);
    match class {
        1 => sections::<FileHeader32<Endianness>>(&cache, max_size),
        2 => sections::<FileHeader64<Endianness>>(&cache, max_size),
        _ => Err(malformed(&"the header names neither the 32-bit nor the 64-bit class")),
    }
}

fn sections<Elf: FileHeader<Endian = Endianness>>(
    data: &ReadCache<File>,
    max_size: usize,
) -> Result<Vmlinux, Reason> {
    let elf = Elf::parse(data).map_err(|error| malformed(&error))?;
    let endian = elf.endian().map_err(|error| malformed(&error))?;
    if elf.shnum(endian, data).map_err(|error| malformed(&error))? > MAX_SECTIONS {
        return Err(malformed(&"more than 4096 sections"));
    }
    let table = elf.sections(endian, data).map_err(|error| malformed(&error))?;
    let mut out = Vmlinux { build_id: None, btf: None };
    for section in table.iter() {
        let name = table.section_name(endian, section).map_err(|error| malformed(&error))?;
        let size: u64 = section.sh_size(endian).into();
        // A debug file split off a vmlinux keeps the names of sections whose bytes stayed behind.
        if section.sh_type(endian) == SHT_NOBITS {
            continue;
        }
        let bytes = || section.data(endian, data).map_err(|error| malformed(&error));
        match name {
            b".BTF" => {
                if section.sh_flags(endian).contains(SHF_COMPRESSED) {
                    return Err(malformed(&"its .BTF section is compressed, which no reader of BTF knows"));
                }
                if out.btf.is_some() {
                    return Err(malformed(&"it has two .BTF sections"));
                }
                if size > max_size as u64 {
                    return Err(Reason::TooLarge { limit: max_size });
                }
                out.btf = Some(bytes()?.to_vec());
            }
            b".notes" | b".note.gnu.build-id" if size <= MAX_NOTES && out.build_id.is_none() => {
                out.build_id = BuildId::from_notes(bytes()?).map_err(|error| malformed(&error))?;
            }
            _ => {}
        }
    }
    Ok(out)
}

fn malformed(error: &dyn std::fmt::Display) -> Reason {
    Reason::NotBtf(format!("malformed ELF file: {error}"))
}
