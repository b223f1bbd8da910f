//! A kernel's BTF, opened once for any number of objects: the view and an index of its names.

use std::hash::BuildHasher;
use std::sync::OnceLock;

use btf::{Btf, Kind, StrOffset, TypeId};
use object::{Object as _, ObjectSection as _};

use crate::error::{Error, Result};
use crate::flavour::essential_name;
use crate::object::Object;
use crate::reason::Reason;
use crate::types::{MAX_NAME, Types, kinds_compatible};

/// The BTF of a kernel, ready for lookups by name.
#[derive(Debug)]
pub struct Kernel<'a> {
    btf: Btf<'a>,
    /// Of all names, or of those in `wanted`.
    index: NameIndex,
    wanted: Option<Wanted>,
    /// Of all names, where `wanted` turned out not to be enough.
    whole: OnceLock<NameIndex>,
    /// The first id that is a module's, if there are modules.
    modules_from: Option<TypeId>,
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
        Self::read(raw(data)?, None)
    }

    /// As [`Kernel::open`], for these objects, in half the time: of the kernel's names only theirs are looked up in advance. Other objects may be asked about
    /// too; the first one with other names makes up for it.
    ///
    /// # Errors
    /// Those of [`Kernel::open`].
    pub fn open_for(data: &'a [u8], objects: &[Object<'_>]) -> Result<Kernel<'a>> {
        Self::read(raw(data)?, Some(Wanted::of(objects)))
    }

    /// Indexes BTF that is already read.
    ///
    /// # Errors
    /// When a name is outside the string section, or longer than any compiler's.
    pub fn new(btf: Btf<'a>) -> Result<Kernel<'a>> {
        let index = NameIndex::of_all(&btf)?;
        Ok(Self::indexed(btf, index, None))
    }

    fn read(data: &'a [u8], wanted: Option<Wanted>) -> Result<Kernel<'a>> {
        let mut named = Vec::with_capacity(if wanted.is_some() { 64 } else { data.len() / 64 });
        let btf = Btf::parse_seeing(data, |strings, id, kind, name| {
            if may_be_asked_for(kind, name)
                && wanted.as_ref().is_none_or(|wanted| wanted.may_be(strings, name))
            {
                named.push((id, name));
            }
        })?;
        let index = NameIndex::build(&btf, &named, wanted.as_ref())?;
        Ok(Self::indexed(btf, index, wanted))
    }

    fn indexed(btf: Btf<'a>, index: NameIndex, wanted: Option<Wanted>) -> Kernel<'a> {
        let long = btf.long_type();
        let pointer_size = long.and_then(|ty| ty.size()).unwrap_or(8);
        let long = long.map(|ty| ty.id());
        Kernel { index, wanted, whole: OnceLock::new(), modules_from: None, pointer_size, long, btf }
    }

    /// Says which types are modules'.
    pub(crate) fn with_modules_from(self, first: TypeId) -> Kernel<'a> {
        Kernel { modules_from: Some(first), ..self }
    }

    /// The BTF.
    pub fn btf(&self) -> &Btf<'a> {
        &self.btf
    }

    /// Size of a pointer in bytes, told by the type `long`; 8 if there is none, as loaders assume.
    pub fn pointer_size(&self) -> u32 {
        self.pointer_size
    }

    /// The types that an object's type of this essential name and kind may mean, in ascending order of their ids: the kernel's, or if it has none those of its
    /// modules.
    pub fn candidates(&self, essential: &[u8], kind: Kind) -> impl Iterator<Item = TypeId> {
        let hash = hash(essential);
        let index = match &self.wanted {
            // Reading the names again finds no fault that opening the kernel did not.
            Some(wanted) if !wanted.contains(hash) => {
                let build = || NameIndex::of_all(&self.btf).unwrap_or_else(|_| NameIndex::of(Vec::new()));
                self.whole.get_or_init(build)
            }
            _ => &self.index,
        };
        let found = index.entries(hash).filter(move |&id| {
            self.btf.ty(id).is_ok_and(|ty| {
                kinds_compatible(Some(ty.kind()), Some(kind))
                    && self
                        .btf
                        .string_within(ty.name_offset(), MAX_NAME)
                        .is_ok_and(|name| essential_name(name) == essential)
            })
        });
        let end = self.modules_from.filter(|&first| found.clone().next().is_some_and(|id| id < first));
        found.take_while(move |&id| end.is_none_or(|end| id < end))
    }

    /// Whether the objects ask for types that this kernel has none of: those may be modules'.
    pub fn lacks_any(&self, objects: &[Object<'_>]) -> bool {
        self.lacking(objects).next().is_some()
    }

    /// The names of those types.
    pub(crate) fn lacking<'o>(&self, objects: &'o [Object<'_>]) -> impl Iterator<Item = &'o [u8]> {
        let roots = objects.iter().flat_map(|object| &object.roots);
        roots.filter(|root| self.candidates(root.name, root.kind).next().is_none()).map(|root| root.name)
    }

    pub(crate) fn types(&self) -> Types<'_, 'a> {
        Types { btf: &self.btf, pointer_size: self.pointer_size, fault: Reason::KernelBtf }
    }

    pub(crate) fn long(&self) -> Option<TypeId> {
        self.long
    }
}

/// The raw BTF in a file.
pub(crate) fn raw(data: &[u8]) -> Result<&[u8]> {
    if !data.starts_with(b"\x7fELF") {
        return Ok(data);
    }
    let file = object::File::parse(data).map_err(|error| Error::Elf { reason: error.to_string() })?;
    let section = file.section_by_name(".BTF").ok_or(Error::NoBtf)?;
    section.data().map_err(|error| Error::Section { section: ".BTF", reason: error.to_string() })
}

/// The names that some objects ask about.
#[derive(Debug)]
struct Wanted {
    /// The hashes of their essential names, sorted.
    hashes: Vec<u32>,
    /// Which beginnings of names are worth a closer look: a bit for each value of [`Self::bit`].
    beginnings: Box<[u64; 1 << 10]>,
}

impl Wanted {
    fn of(objects: &[Object<'_>]) -> Wanted {
        Self::of_names(objects.iter().flat_map(|object| &object.roots).map(|root| root.name))
    }

    fn of_names<'n>(names: impl IntoIterator<Item = &'n [u8]>) -> Wanted {
        let mut wanted = Wanted { hashes: Vec::new(), beginnings: Box::new([0; 1 << 10]) };
        for name in names {
            wanted.hashes.push(hash(name));
            // A short name is followed by its end, or by the underscores of a flavour.
            for filler in [0, b'_'] {
                let beginning = std::array::from_fn(|at| name.get(at).copied().unwrap_or(filler));
                let bit = Self::bit(beginning);
                wanted.beginnings[bit / 64] |= 1 << (bit % 64);
            }
        }
        wanted.hashes.sort_unstable();
        wanted.hashes.dedup();
        wanted
    }

    fn contains(&self, hash: u32) -> bool {
        self.hashes.binary_search(&hash).is_ok()
    }

    /// Whether a name may be one of them, as far as its first bytes tell.
    fn may_be(&self, strings: &[u8], name: StrOffset) -> bool {
        let beginning = strings.get(name.0 as usize..).and_then(|rest| rest.first_chunk());
        beginning.is_none_or(|&beginning| self.may_begin(beginning))
    }

    /// Whether a name with this beginning, and then its end and anything, may be one of them.
    fn may_begin(&self, beginning: [u8; 4]) -> bool {
        let word = u32::from_le_bytes(beginning);
        // The lowest bit that is set is in the first zero byte.
        let zeros = word.wrapping_sub(0x0101_0101) & !word & 0x8080_8080;
        let ended = if zeros == 0 { word } else { word & ((1 << (zeros.trailing_zeros() / 8 * 8)) - 1) };
        let bit = Self::bit(ended.to_le_bytes());
        self.beginnings[bit / 64] & 1 << (bit % 64) != 0
    }

    fn bit(beginning: [u8; 4]) -> usize {
        (u32::from_le_bytes(beginning).wrapping_mul(0x9e37_79b1) >> 16) as usize
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
    /// Of all names of a blob.
    fn of_all(btf: &Btf<'_>) -> Result<NameIndex> {
        let named = btf.headers().filter(|&(_, kind, name)| may_be_asked_for(kind, name));
        Self::build(btf, &named.map(|(id, _, name)| (id, name)).collect::<Vec<_>>(), None)
    }

    /// Of these types and where their names are, in ascending order of ids.
    fn build(btf: &Btf<'_>, named: &[(TypeId, StrOffset)], wanted: Option<&Wanted>) -> Result<NameIndex> {
        let mut entries = Vec::with_capacity(named.len());
        for &(id, name) in named {
            let name = btf.string_within(name, MAX_NAME)?;
            if !name.is_empty() {
                let hash = hash(essential_name(name));
                if wanted.is_none_or(|wanted| wanted.contains(hash)) {
                    entries.push(Entry { hash, id });
                }
            }
        }
        Ok(Self::of(entries))
    }

    fn of(named: Vec<Entry>) -> NameIndex {
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
        NameIndex { starts, entries }
    }

    fn entries(&self, hash: u32) -> impl Iterator<Item = TypeId> + Clone {
        let bucket = hash as usize & (self.starts.len() - 2);
        let entries = &self.entries[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        entries.iter().filter(move |entry| entry.hash == hash).map(|entry| entry.id)
    }
}

/// Whether a type is one that a relocation may mean. Functions are half of a kernel's types, and no relocation about a function has an answer; no object of
/// today can mean a kind that is not known.
pub(crate) fn may_be_asked_for(kind: Option<Kind>, name: StrOffset) -> bool {
    !matches!(kind, None | Some(Kind::Func)) && name.0 != 0
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

    /// Check that a kernel opened for an object gives the same candidates as one opened for all, for the object's names and for others: short and
    /// long ones, with flavours, with a common beginning, and at the end of the strings.
    #[test]
    fn candidates_when_opened_for_objects() {
        let names = [
            "a",
            "a___1",
            "ab",
            "ab___2",
            "abc",
            "abc___3",
            "abcd",
            "abcd___4",
            "abcde",
            "task",
            "task_struct",
        ];
        let mut builder = Builder::new();
        for name in names {
            builder.composite(Kind::Struct, name.as_bytes(), 4, &[]).unwrap();
        }
        let blob = builder.finish(Endian::Little).unwrap();
        let whole = Kernel::open(&blob).unwrap();
        for wanted in names {
            let wanted = Wanted::of_names([essential_name(wanted.as_bytes())]);
            let kernel = Kernel::read(&blob, Some(wanted)).unwrap();
            for name in names {
                let name = essential_name(name.as_bytes());
                let found = |kernel: &Kernel<'_>| kernel.candidates(name, Kind::Struct).collect::<Vec<_>>();
                assert!(!found(&whole).is_empty());
                assert_eq!(found(&kernel), found(&whole));
            }
        }
    }

    /// Check that a kernel without types has no candidates.
    #[test]
    fn no_types() {
        let blob = Builder::new().finish(Endian::Little).unwrap();
        assert_eq!(Kernel::open(&blob).unwrap().candidates(b"a", Kind::Struct).count(), 0);
    }
}
