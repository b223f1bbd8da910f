//! Converting all units of a file, on as many threads as are given.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use btf::dedup::{Declaration, DeclarationKind, Handle, LocalId, Name, Pool, UnitTypes};
use hashbrown::{HashMap, HashSet};

use super::calling::Convention;
use super::functions::{Candidate, Doubts};
use super::kernel_symbols::KernelSymbols;
use super::locations::ListSections;
use super::names::{Names, StringSections};
use super::sections::{Sections, UnitPlace};
use super::supplementary::{Link, Supplementary, SupplementaryError};
use super::tables::Tables;
use super::unit::{Content, Reader};
use super::unit_error::UnitError;
use super::units;
use crate::elf::{ElfError, Image};

/// Seeded at random: hostile names and offsets cannot be chosen to collide. No result depends on their order.
pub(super) type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
pub(super) type FastSet<K> = HashSet<K, foldhash::fast::RandomState>;

/// A kernel's BTF, made from its DWARF.
#[derive(Debug)]
pub struct Conversion {
    /// The BTF, in the byte order of the file.
    pub btf: Vec<u8>,
    /// Number of units that were converted.
    pub units: usize,
    /// Units of other languages than C, which have no BTF.
    pub other_languages: usize,
    /// Units that could not be read.
    pub lost: Vec<LostUnit>,
    /// Types that BTF or this conversion cannot express exactly and that were replaced by something simpler.
    pub degraded: u64,
}

/// A unit that could not be converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostUnit {
    /// The section that it is in: `.debug_info` or `.debug_types`.
    pub section: &'static str,
    /// Offset of its header in that section, in bytes.
    pub offset: u64,
    /// Why.
    pub reason: UnitError,
}

impl std::fmt::Display for LostUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the unit at offset 0x{:x} of {}: {}", self.offset, self.section, self.reason)
    }
}

/// Why a file's DWARF cannot be converted at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DwarfError {
    /// There is nothing to convert.
    #[error(
        "it has no DWARF debug information (no .debug_info section): it is stripped, or its debug information is in another file"
    )]
    Missing,
    /// A debug section cannot be read.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The chain of unit headers is broken, so that later units cannot be found.
    #[error("{section}: the unit header at offset 0x{offset:x} cannot be read: {reason}")]
    Header {
        /// The section: `.debug_info` or `.debug_types`.
        section: &'static str,
        /// Offset in the section, in bytes.
        offset: u64,
        /// Why.
        reason: String,
    },
    /// No unit could be converted.
    #[error("none of its {units} units could be converted; {first}")]
    AllLost {
        /// Number of units.
        units: usize,
        /// The first that is lost, and why.
        first: LostUnit,
    },
    /// There are units, but no types in them that BTF could have.
    #[error(
        "its DWARF describes no types of C: of {units} units {other_languages} are in other languages and the others hold no types"
    )]
    NoTypes {
        /// Number of units.
        units: usize,
        /// Units of other languages than C.
        other_languages: usize,
    },
    /// The supplementary file that its units refer to cannot be used.
    #[error("its supplementary file {link}: {reason}")]
    Supplementary {
        /// What the file says of it.
        link: Link,
        /// What is wrong with it.
        reason: SupplementaryError,
    },
    /// A supplementary file was given to a file that has none.
    #[error(
        "it names no supplementary file (it has neither .gnu_debugaltlink nor .debug_sup), and one was given"
    )]
    NoLink,
    /// The result cannot be written.
    #[error(transparent)]
    Btf(#[from] btf::Error),
}

/// The limit on the size of one debug section, in bytes. The largest kernels' are a fifth of it.
pub(super) const MAX_SECTION: u64 = 1 << 30;

/// Whether [`convert`] reads a section of that name: to fetch no others of a file that is far away.
pub(crate) fn reads(image: &Image<'_>, section: &str) -> bool {
    let debug = section.strip_prefix(".debug_").or_else(|| section.strip_prefix(".zdebug_"));
    match debug {
        Some(
            "info" | "types" | "abbrev" | "str" | "line_str" | "str_offsets" | "addr" | "ranges" | "rnglists",
        ) => true,
        Some("loc" | "loclists") => Convention::of(image.machine, image.class.address_size()).needs_places(),
        _ => matches!(section, ".symtab" | ".strtab" | ".BTF_ids"),
    }
}

/// Converts the DWARF of `image` on `threads` threads (at least one), with what it needs of its supplementary file.
pub fn convert(
    image: &Image<'_>,
    supplementary: Option<&Image<'_>>,
    threads: usize,
) -> Result<Conversion, DwarfError> {
    let section = |name| -> Result<Cow<'_, [u8]>, ElfError> {
        Ok(image.debug_section(name, MAX_SECTION)?.unwrap_or_default())
    };
    let (mut info, types) = (section("info")?, section("types")?);
    if info.is_empty() {
        return Err(DwarfError::Missing);
    }
    // The headers of units are far apart in memory, and so are symbols.
    let find = || units::find(&info, &types, image.endian);
    let (units, begun) = match threads {
        0 | 1 => (find(), None),
        _ => std::thread::scope(|scope| {
            let units = scope.spawn(find);
            let begun = begin(image, info.len());
            (units.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), Some(begun))
        }),
    };
    let (mut units, begun) = (units?, begun.transpose()?);
    let own_info = (0, info.len());
    if !types.is_empty() {
        info.to_mut().extend_from_slice(&types);
    }
    let mut abbrev = section("abbrev")?;
    let supplementary = supplementary.map(|file| read_supplementary(image, file)).transpose()?;
    if let Some(file) = &supplementary {
        let found = units::find(&file.info, &[], image.endian)?;
        units.add_supplementary(found, info.len(), abbrev.len());
        info.to_mut().extend_from_slice(&file.info);
        abbrev.to_mut().extend_from_slice(&file.abbrev);
    }
    let (str, line_str) = (section("str")?, section("line_str")?);
    let (str_offsets, addr) = (section("str_offsets")?, section("addr")?);
    let convention = Convention::of(image.machine, image.class.address_size());
    // Tens of megabytes, which may be compressed.
    let places = |name| if convention.needs_places() { section(name) } else { Ok(Cow::default()) };
    let (loc, loclists) = (places("loc")?, places("loclists")?);
    let (ranges, rnglists) = (section("ranges")?, section("rnglists")?);
    let supplementary = supplementary.as_ref().map(|file| Sections {
        info: &info,
        own_info: (info.len() - file.info.len(), info.len()),
        supplementary: None,
        addr: &[],
        strings: StringSections {
            str: &file.str,
            line_str: &file.line_str,
            str_offsets: &file.str_offsets,
            supplementary: None,
        },
        lists: ListSections::default(),
        signatures: &units.signatures,
    });
    let sections = Sections {
        info: &info,
        own_info,
        supplementary: supplementary.as_ref(),
        addr: &addr,
        strings: StringSections {
            str: &str,
            line_str: &line_str,
            str_offsets: &str_offsets,
            supplementary: supplementary.as_ref().map(|file| file.strings.str),
        },
        lists: ListSections { loc: &loc, loclists: &loclists, ranges: &ranges, rnglists: &rnglists },
        signatures: &units.signatures,
    };
    let tables = Tables::new(&abbrev, &units.places);
    match image.endian {
        btf::Endian::Little => {
            convert_sections::<false>(image, &sections, &tables, &units.places, convention, threads, begun)
        }
        btf::Endian::Big => {
            convert_sections::<true>(image, &sections, &tables, &units.places, convention, threads, begun)
        }
    }
}

fn read_supplementary<'d>(image: &Image<'_>, file: &Image<'d>) -> Result<Supplementary<'d>, DwarfError> {
    let link = Link::of(image)?.ok_or(DwarfError::NoLink)?;
    Supplementary::read(&link, image, file).map_err(|reason| DwarfError::Supplementary { link, reason })
}

/// A pool with the kernel's symbols in it.
type Begun = (Pool, KernelSymbols);

fn begin(image: &Image<'_>, info_len: usize) -> Result<Begun, ElfError> {
    let mut pool = Pool::new();
    // What modules need, roughly; a kernel's pool grows from there.
    pool.reserve((info_len / 256).min(1 << 15), (info_len / 256).min(1 << 14));
    let symbols = KernelSymbols::read(image, &pool)?;
    Ok((pool, symbols))
}

fn convert_sections<const BIG: bool>(
    image: &Image<'_>,
    sections: &Sections<'_>,
    tables: &Tables<'_>,
    places: &[UnitPlace],
    convention: Convention,
    threads: usize,
    begun: Option<Begun>,
) -> Result<Conversion, DwarfError> {
    let address_size = image.class.address_size();
    let mut input =
        Input::<BIG> { image, sections, tables, places, address_size, convention, index_type: b"int" };
    let Converted { mut pool, mut symbols, mut units } = input.all(threads, begun)?;
    if units.declarations.iter().all(|unit| !unit.has_int) {
        // Without any `int`, an artificial type indexes arrays. Kernels never come here.
        input.index_type = ARTIFICIAL_INDEX;
        Converted { pool, symbols, units } = input.all(threads, None)?;
    }
    let lost = lost_units(places, &units.outcomes);
    if lost.iter().any(|unit| unit.reason == UnitError::Supplementary)
        && let Some(link) = Link::of(image)?
    {
        return Err(DwarfError::Supplementary { link, reason: SupplementaryError::Missing });
    }
    let count = |which| units.outcomes.iter().filter(|&outcome| *outcome == which).count();
    let (converted, other_languages) = (count(Outcome::Converted), count(Outcome::OtherLanguage));
    if let Some(first) = lost.first()
        && converted == 0
    {
        return Err(DwarfError::AllLost { units: lost.len() + other_languages, first: first.clone() });
    }
    let declare = || {
        let mut declarations = symbols.functions(&units.declarations);
        symbols.add_per_cpu(&units.declarations, &mut declarations);
        declarations
    };
    let btf = std::thread::scope(|scope| {
        // What is left to do is done by one thread for the most part, and without the sections.
        if threads > 1 {
            scope.spawn(|| image.release());
        }
        pool.finish_with(&units.types, threads, declare)
    })?;
    if btf.next_id() == btf::TypeId(1) {
        return Err(DwarfError::NoTypes { units: converted + other_languages, other_languages });
    }
    Ok(Conversion {
        btf: btf.finish(image.endian)?,
        units: converted,
        other_languages,
        lost,
        degraded: units.declarations.iter().map(|unit| u64::from(unit.degraded)).sum(),
    })
}

fn lost_units(places: &[UnitPlace], outcomes: &[Outcome]) -> Vec<LostUnit> {
    let lost = |(place, outcome): (&UnitPlace, &Outcome)| match outcome {
        Outcome::Lost(reason) => {
            Some(LostUnit { section: place.section, offset: place.offset as u64, reason: reason.clone() })
        }
        _ => None,
    };
    places.iter().zip(outcomes).filter_map(lost).collect()
}

/// What became of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Converted,
    /// Of a supplementary file, for other files than this.
    Unused,
    OtherLanguage,
    Lost(UnitError),
}

/// What is kept of all units. The three lists have an entry for each unit, or the latter two a single one for all units together.
#[derive(Default)]
pub(super) struct Units {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) types: Vec<UnitTypes>,
    pub(super) declarations: Vec<UnitDeclarations>,
}

/// What a unit declares besides types.
#[derive(Default)]
pub(super) struct UnitDeclarations {
    pub(super) functions: Vec<Function>,
    pub(super) variables: Vec<Variable>,
    /// Tags of both.
    tags: Vec<Tag>,
    pub(super) degraded: u32,
    pub(super) has_int: bool,
}

impl UnitDeclarations {
    /// The tags of a function or variable of this unit.
    pub(super) fn tags(&self, place: &Range<u32>) -> &[Tag] {
        self.tags.get(place.start as usize..place.end as usize).unwrap_or_default()
    }

    fn add_tags(&mut self, tags: impl Iterator<Item = Tag>) -> Range<u32> {
        let start = self.tags.len() as u32;
        for tag in tags {
            if !self.tags[start as usize..].contains(&tag) {
                self.tags.push(tag);
            }
        }
        start..self.tags.len() as u32
    }
}

/// A tag on a function, its parameter, or a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag {
    pub(super) text: Name,
    /// Number of the parameter, or −1.
    pub(super) component: i32,
}

impl Tag {
    /// Its DECL_TAG, on the declaration of this number.
    pub(super) fn on(self, declaration: u32) -> Declaration {
        let kind = DeclarationKind::DeclTag { on: Some(declaration), component: self.component };
        Declaration { unit: 0, name: self.text, ty: Handle::VOID, kind }
    }
}

pub(super) struct Function {
    pub(super) name: Name,
    pub(super) prototype: Handle,
    /// Equal for functions with the same types of parameters and result.
    pub(super) signature: u64,
    /// Where its code starts.
    pub(super) address: Option<u64>,
    pub(super) doubts: Doubts,
    pub(super) tags: Range<u32>,
}

pub(super) struct Variable {
    pub(super) name: Name,
    pub(super) ty: Handle,
    /// Size of the type in bytes.
    pub(super) size: u32,
    pub(super) address: u64,
    pub(super) external: bool,
    pub(super) tags: Range<u32>,
}

/// What all units come to.
struct Converted {
    pool: Pool,
    symbols: KernelSymbols,
    units: Units,
}

/// The input of the conversion.
pub(super) struct Input<'a, const BIG: bool> {
    image: &'a Image<'a>,
    pub(super) sections: &'a Sections<'a>,
    tables: &'a Tables<'a>,
    pub(super) places: &'a [UnitPlace],
    pub(super) address_size: u8,
    convention: Convention,
    /// Name of the type that indexes the arrays of units without `int`.
    index_type: &'static [u8],
}

/// The name that pahole gives to the type that indexes arrays where there is no `int`.
const ARTIFICIAL_INDEX: &[u8] = b"__ARRAY_SIZE_TYPE__";

impl<const BIG: bool> Input<'_, BIG> {
    /// Converts all units, each by itself where that is possible.
    fn all(&self, threads: usize, begun: Option<Begun>) -> Result<Converted, ElfError> {
        let info_len = self.sections.info.len();
        let (pool, symbols) = begun.map_or_else(|| begin(self.image, info_len), Ok)?;
        let names = Names::new(self.sections.strings.str.len(), self.sections.supplementary.is_some());
        if self.sections.supplementary.is_none() {
            let threads = threads.clamp(1, self.places.len().max(1));
            let mut readers: Vec<_> = (0..threads).map(|_| self.reader(&pool, &names)).collect();
            let all: Vec<usize> = (0..self.places.len()).collect();
            let mut units = Units::default();
            for (_, outcome, types, declarations) in self.spread(&symbols, &mut readers, &all, false) {
                units.outcomes.push(outcome);
                units.types.push(types);
                units.declarations.push(declarations);
            }
            if !units.outcomes.contains(&Outcome::Lost(UnitError::Foreign)) {
                // Some are read once more, keeping their edges.
                let again = pool.units_needing_edges(&units.types, threads);
                for (index, _, types, declarations) in self.spread(&symbols, &mut readers, &again, true) {
                    units.types[index] = types;
                    units.declarations[index] = declarations;
                }
                drop(readers);
                return Ok(Converted { pool, symbols, units });
            }
        }
        let (pool, symbols) = begin(self.image, info_len)?;
        let names = Names::new(self.sections.strings.str.len(), self.sections.supplementary.is_some());
        let units = self.all_as_one(&pool, &names, &symbols);
        Ok(Converted { pool, symbols, units })
    }

    pub(super) fn reader<'p>(&self, pool: &'p Pool, names: &'p Names) -> Reader<'p> {
        Reader::new(pool, names, self.index_type, self.convention)
    }

    /// Converts units by themselves, each of `readers` in a thread of its own. The result is in the order of `which`.
    fn spread(
        &self,
        symbols: &KernelSymbols,
        readers: &mut [Reader<'_>],
        which: &[usize],
        keep_edges: bool,
    ) -> Vec<(usize, Outcome, UnitTypes, UnitDeclarations)> {
        let next = AtomicUsize::new(0);
        let work = |reader: &mut Reader<'_>| {
            let mut done = Vec::new();
            while let Some(&index) = which.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (outcome, types, declarations) = self.alone(symbols, reader, index, keep_edges);
                done.push((index, outcome, types, declarations));
            }
            done
        };
        let mut all: Vec<_> = match readers {
            [only] => work(only),
            readers => std::thread::scope(|scope| {
                let workers: Vec<_> = readers.iter_mut().map(|reader| scope.spawn(|| work(reader))).collect();
                let joined = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
                // A panic of a worker is a bug; it goes on in the caller's thread.
                joined
                    .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            }),
        };
        all.sort_unstable_by_key(|&(index, ..)| index);
        all
    }

    fn alone(
        &self,
        symbols: &KernelSymbols,
        reader: &mut Reader<'_>,
        index: usize,
        keep_edges: bool,
    ) -> (Outcome, UnitTypes, UnitDeclarations) {
        let place = &self.places[index];
        reader.clear();
        let outcome = self.read(reader, place, (place.start, place.end));
        if outcome != Outcome::Converted {
            return (outcome, UnitTypes::default(), UnitDeclarations::default());
        }
        reader.resolve(&self.sections.strings, self.address_size, BIG, |name| symbols.knows(name));
        let types = reader.intern(keep_edges);
        let declarations = self.declarations(symbols, reader, keep_edges);
        (outcome, types, declarations)
    }

    pub(super) fn read(&self, reader: &mut Reader<'_>, place: &UnitPlace, bounds: (usize, usize)) -> Outcome {
        let before = reader.mark();
        let mut own = std::mem::take(&mut reader.plans);
        let content = self
            .tables
            .get(place, &mut own)
            .and_then(|plans| reader.read::<BIG>(self.sections.of(place), plans, place, bounds));
        reader.plans = own;
        match content {
            Ok(Content::Types) => Outcome::Converted,
            Ok(Content::OtherLanguage) => Outcome::OtherLanguage,
            Err(error) => {
                reader.forget_since(before);
                Outcome::Lost(error)
            }
        }
    }

    pub(super) fn declarations(
        &self,
        symbols: &KernelSymbols,
        reader: &Reader<'_>,
        keep_edges: bool,
    ) -> UnitDeclarations {
        let handle = |id| reader.unit.handle(id, keep_edges);
        let mut declarations = UnitDeclarations {
            degraded: reader.degraded,
            has_int: reader.has_int(),
            ..UnitDeclarations::default()
        };
        for candidate in &reader.functions.candidates {
            let &Candidate { name, params, signature, address, doubts, .. } = candidate;
            // An instance has the tags of what it is an instance of.
            let origins = reader.functions.with_origins(candidate.function);
            let tags = origins.flat_map(|function| reader.tags.of_function(function));
            let fits = |tag: &Tag| tag.component < params as i32;
            let tags = declarations.add_tags(tags.filter(fits));
            let prototype = handle(candidate.prototype);
            declarations.functions.push(Function { name, prototype, signature, address, doubts, tags });
        }
        for (index, variable) in reader.variables.iter().enumerate() {
            let size = u32::try_from(variable.size).ok().filter(|&size| size != 0);
            let address = variable.address.filter(|&address| symbols.has_per_cpu(address));
            let (Some(size), Some(address)) = (size, address) else { continue };
            let tags = declarations.add_tags(reader.tags.of_variable(index));
            let name = reader.names.look_up(reader.pool, self.sections.strings.str, variable.name);
            let (ty, external) = (handle(LocalId(variable.ty)), variable.external);
            declarations.variables.push(Variable { name, ty, size, address, external, tags });
        }
        declarations
    }
}
