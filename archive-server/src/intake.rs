//! BTF that a person hands in: raw, or inside an ELF file (a vmlinux). Checked before it may enter an archive, since the
//! wrong bytes would load on a host without an error and read garbage.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use btf::{Btf, Kind, ValidateOptions};
use btf_archive::{BuildId, blob};
use object::read::{Object as _, ObjectSection as _, ReadCache};

/// BTF as it was handed in.
#[derive(Debug)]
pub struct Intake {
    /// The raw BTF.
    pub btf: Vec<u8>,
    /// The build-id of the ELF file it was in, if it was in one that has one.
    pub build_id: Option<BuildId>,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be read.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// It is an ELF file that cannot be understood.
    #[error("broken ELF file")]
    Elf(#[from] object::read::Error),
    /// It is an ELF file without BTF.
    #[error("this ELF file has no .BTF section; `btfgen vmlinux` makes BTF of its DWARF")]
    NoBtf,
    /// Its build-id is none.
    #[error("the ELF file's build-id")]
    BuildId(#[source] btf_archive::Error),
    /// It has more bytes than a blob may hold.
    #[error("{size} bytes of BTF are more than the {limit} a blob may hold", limit = blob::MAX_RAW)]
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// It is not BTF, or the kernel would refuse it.
    #[error("not valid BTF")]
    Btf(#[from] btf::Error),
    /// It is BTF, but not that of a whole kernel.
    #[error("this is not the BTF of a kernel: it has no struct task_struct")]
    NotAKernel,
}

/// Reads and checks a file.
///
/// # Errors
/// Any [`Error`]; the bytes must be valid BTF as the kernel's own checker sees it, with a `struct task_struct`.
pub fn read(path: &Path) -> Result<Intake, Error> {
    let mut file = File::open(path)?;
    let mut magic = [0; 4];
    let elf = match file.read_exact(&mut magic) {
        Ok(()) => magic == object::elf::ELFMAG,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(error.into()),
    };
    file.rewind()?;
    let intake = if elf { from_elf(file)? } else { Intake { btf: raw(file)?, build_id: None } };
    check(&intake.btf)?;
    Ok(intake)
}

/// The whole file, unless it is too large.
fn raw(file: File) -> Result<Vec<u8>, Error> {
    let mut btf = Vec::new();
    // Not by the file's length: sysfs files need not tell it.
    file.take(blob::MAX_RAW as u64 + 1).read_to_end(&mut btf)?;
    small_enough(btf.len() as u64)?;
    Ok(btf)
}

/// The `.BTF` section of a vmlinux, whose other gigabyte is not read.
fn from_elf(file: File) -> Result<Intake, Error> {
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache)?;
    let section = elf.section_by_name(".BTF").ok_or(Error::NoBtf)?;
    small_enough(section.size())?;
    let build_id = elf.build_id()?.map(BuildId::new).transpose().map_err(Error::BuildId)?;
    Ok(Intake { btf: section.data()?.to_vec(), build_id })
}

fn small_enough(size: u64) -> Result<(), Error> {
    if size > blob::MAX_RAW as u64 { Err(Error::TooLarge { size }) } else { Ok(()) }
}

/// Checks that the bytes are the BTF of a whole kernel.
fn check(bytes: &[u8]) -> Result<(), Error> {
    let btf = Btf::parse(bytes)?;
    btf::validate(&btf, &ValidateOptions::default())?;
    for ty in btf.types() {
        let ty = ty?;
        if ty.kind() == Kind::Struct && btf.name(&ty)? == "task_struct" {
            return Ok(());
        }
    }
    Err(Error::NotAKernel)
}
