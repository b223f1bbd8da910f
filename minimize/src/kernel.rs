//! A kernel's BTF, opened once for any number of objects: the view and an index of its names.

use std::hash::BuildHasher;

use btf::{Btf, Kind, TypeId};
use object::{Object as _, ObjectSection as _};

use crate::error::{Error, Result};
use crate::flavour::essential_name;
use crate::reason::Reason;
use crate::types::{Types, kinds_compatible};

/// The BTF of a kernel, ready for lookups by name.
#[derive(Debug)]
pub struct Kernel<'a> {
    btf: Btf<'a>,
    index: NameIndex,
    pointer_size: u32,
    /// The INT that tells a loader the size of pointers.
    long: Option<TypeId>,
}

impl<'a> Kernel<'a> {
    /// Opens raw BTF, or an ELF file (a vmlinux) with a `.BTF` section. Either byte order.
    ///
    /// # Errors
    /// When it is neither, or the BTF is damaged. The types are not checked beyond that ([`btf`]'s validation does so); relocations that
    /// meet a damaged type fail.
    pub fn open(data: &'a [u8]) -> Result<Kernel<'a>> {
        if !data.starts_with(b"\x7fELF") {
            return Self::new(Btf::parse(data)?);
        }
        let file = object::File::parse(data).map_err(|error| Error::Elf { reason: error.to_string() })?;
        let section = file.section_by_name(".BTF").ok_or(Error::NoBtf)?;
        let data =
            section.data().map_err(|error| Error::Section { section: ".BTF", reason: error.to_string() })?;
        Self::new(Btf::parse(data)?)
    }

    /// Indexes BTF that is already read.
    ///
    /// # Errors
    /// When a name is outside the string section.
    pub fn new(btf: Btf<'a>) -> Result<Kernel<'a>> {
        let index = NameIndex::build(&btf)?;
        let long = btf.long_type();
        let pointer_size = long.and_then(|ty| ty.size()).unwrap_or(8);
        Ok(Kernel { index, pointer_size, long: long.map(|ty| ty.id()), btf })
    }

    /// The BTF.
    pub fn btf(&self) -> &Btf<'a> {
        &self.btf
    }

    /// Size of a pointer in bytes, told by the type `long`; 8 if there is none, as loaders assume.
    pub fn pointer_size(&self) -> u32 {
        self.pointer_size
    }

    /// The types that an object's type of this essential name and kind may mean, in ascending order of their ids.
    pub fn candidates(&self, essential: &[u8], kind: Kind) -> impl Iterator<Item = TypeId> {
        self.index.entries(essential).filter(move |&id| {
            self.btf.ty(id).is_ok_and(|ty| {
                kinds_compatible(Some(ty.kind()), Some(kind))
                    && self.btf.name(&ty).is_ok_and(|name| essential_name(name) == essential)
            })
        })
    }

    pub(crate) fn types(&self) -> Types<'_, 'a> {
        Types { btf: &self.btf, pointer_size: self.pointer_size, fault: Reason::KernelBtf }
    }

    pub(crate) fn long(&self) -> Option<TypeId> {
        self.long
    }
}

/// Named types by the hash of their essential names: a bucket's entries lie together, in ascending order of ids.
#[derive(Debug)]
struct NameIndex {
    /// Where each bucket starts in `entries`, and where the last one ends. Their number is a power of two, and one more.
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

/// A named type.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    id: TypeId,
}

impl NameIndex {
    fn build(btf: &Btf<'_>) -> Result<NameIndex> {
        let mut named = Vec::with_capacity(btf.type_count() as usize / 2);
        for ty in btf.types() {
            let ty = match ty {
                Ok(ty) => ty,
                Err(btf::Error::UnknownKind { .. }) => continue, // no object of today can mean it
                Err(error) => return Err(error.into()),
            };
            // Functions are half of a kernel's types, and no relocation about a function has an answer.
            if ty.kind() == Kind::Func || ty.name_offset().0 == 0 {
                continue;
            }
            let name = btf.name(&ty)?;
            if !name.is_empty() {
                named.push(Entry { hash: hash(essential_name(name)), id: ty.id() });
            }
        }
        // Counting sort by bucket: first where each one ends, then each entry from the last to the first before the end that is left.
        let buckets = named.len().next_power_of_two();
        let bucket = |entry: &Entry| entry.hash as usize & (buckets - 1);
        let mut starts = vec![0u32; buckets + 1];
        for entry in &named {
            starts[bucket(entry)] += 1;
        }
        let mut end = 0;
        for start in &mut starts {
            end += *start;
            *start = end;
        }
        let mut entries = vec![Entry { hash: 0, id: TypeId::VOID }; named.len()];
        for entry in named.iter().rev() {
            let start = &mut starts[bucket(entry)];
            *start -= 1;
            entries[*start as usize] = *entry;
        }
        Ok(NameIndex { starts, entries })
    }

    fn entries(&self, essential: &[u8]) -> impl Iterator<Item = TypeId> {
        let hash = hash(essential);
        let bucket = hash as usize & (self.starts.len() - 2);
        let entries = &self.entries[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        entries.iter().filter(move |entry| entry.hash == hash).map(|entry| entry.id)
    }
}

fn hash(name: &[u8]) -> u32 {
    // A fixed seed: a kernel that makes all its names collide only slows down its own lookups.
    foldhash::fast::FixedState::default().hash_one(name) as u32
}

#[cfg(test)]
mod tests {
    use btf::{Builder, Endian};

    use super::*;

    /// Check that candidates share the essential name and kind, that enums of both widths count as one kind, and that they come in the order
    /// of their ids.
    #[test]
    fn candidates() {
        let mut builder = Builder::new();
        let first = builder.composite(Kind::Struct, b"a", 4, &[]).unwrap();
        let union = builder.composite(Kind::Union, b"a", 4, &[]).unwrap();
        builder.fwd(b"a", false);
        let flavour = builder.composite(Kind::Struct, b"a___2", 8, &[]).unwrap();
        builder.composite(Kind::Struct, b"", 8, &[]).unwrap();
        let narrow = builder.enumeration(b"e", 4, false, &[]).unwrap();
        let wide = builder.enumeration(b"e", 8, false, &[]).unwrap();
        let blob = builder.finish(Endian::Big).unwrap();
        let kernel = Kernel::open(&blob).unwrap();
        let found = |name: &str, kind| kernel.candidates(name.as_bytes(), kind).collect::<Vec<_>>();
        assert_eq!(found("a", Kind::Struct), [first, flavour]);
        assert_eq!(found("a", Kind::Union), [union]);
        assert_eq!(found("a", Kind::Typedef), []);
        assert_eq!(found("e", Kind::Enum), [narrow, wide]);
        assert_eq!(found("e", Kind::Enum64), [narrow, wide]);
        assert_eq!(found("", Kind::Struct), []);
    }

    /// Check that a kernel without types has no candidates.
    #[test]
    fn no_types() {
        let blob = Builder::new().finish(Endian::Little).unwrap();
        assert_eq!(Kernel::open(&blob).unwrap().candidates(b"a", Kind::Struct).count(), 0);
    }
}
