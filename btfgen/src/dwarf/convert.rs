//! Converting all units of a file, on as many threads as are given.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use btf::dedup::{Declaration, DeclarationKind, Handle, Identity, LocalId, Name, Pool, UnitTypes};
use gimli::{EndianSlice, RunTimeEndian};
use hashbrown::{HashMap, HashSet};

use super::names::StringSections;
use super::unit::{Content, Reader, Sections, UnitError, UnitPlace};
use crate::elf::{ElfError, Image, Symbol};

type FastMap<K, V> = HashMap<K, V, foldhash::fast::FixedState>;
type FastSet<K> = HashSet<K, foldhash::fast::FixedState>;

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
    /// Offset of its header in `.debug_info`, in bytes.
    pub offset: u64,
    /// Why.
    pub reason: UnitError,
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
    #[error(".debug_info: the unit header at offset 0x{offset:x} cannot be read: {reason}")]
    Header {
        /// Offset in `.debug_info`, in bytes.
        offset: u64,
        /// Why.
        reason: String,
    },
    /// No unit could be converted.
    #[error(
        "none of its {units} units could be converted; the first, at offset 0x{offset:x} of .debug_info: {reason}"
    )]
    AllLost {
        /// Number of units.
        units: usize,
        /// Offset of the first.
        offset: u64,
        /// Why it could not be read.
        reason: UnitError,
    },
    /// The result cannot be written.
    #[error(transparent)]
    Btf(#[from] btf::Error),
}

/// The limit on the decompressed size of one debug section, in bytes. The largest kernels' are a tenth of it.
const MAX_SECTION: u64 = 4 << 30;

/// Converts the DWARF of `image` on `threads` threads (at least one).
pub fn convert(image: &Image<'_>, threads: usize) -> Result<Conversion, DwarfError> {
    let Some(info) = image.debug_section("info", MAX_SECTION)? else { return Err(DwarfError::Missing) };
    let section = |name| -> Result<Cow<'_, [u8]>, ElfError> {
        Ok(image.debug_section(name, MAX_SECTION)?.unwrap_or_default())
    };
    let abbrev = section("abbrev")?;
    let (str, line_str) = (section("str")?, section("line_str")?);
    let (str_offsets, addr) = (section("str_offsets")?, section("addr")?);
    let sections = Sections {
        info: &info,
        addr: &addr,
        strings: StringSections { str: &str, line_str: &line_str, str_offsets: &str_offsets },
    };
    match image.endian {
        btf::Endian::Little => convert_sections::<false>(image, &sections, &abbrev, threads),
        btf::Endian::Big => convert_sections::<true>(image, &sections, &abbrev, threads),
    }
}

fn convert_sections<const BIG: bool>(
    image: &Image<'_>,
    sections: &Sections<'_>,
    abbrev: &[u8],
    threads: usize,
) -> Result<Conversion, DwarfError> {
    let places = places::<BIG>(sections.info)?;
    let mut input = Input::<BIG> {
        sections,
        abbrev,
        places: &places,
        address_size: image.class.address_size(),
        index_type: b"int",
    };
    let (mut pool, mut units) = input.all(threads);
    if units.declarations.iter().all(|unit| !unit.has_int) {
        // Without any `int`, an artificial type indexes arrays. Kernels never come here.
        input.index_type = ARTIFICIAL_INDEX;
        (pool, units) = input.all(threads);
    }
    let lost = lost_units(&places, &units.outcomes);
    let other_languages = units.outcomes.iter().filter(|&outcome| *outcome == Outcome::OtherLanguage).count();
    if let Some(first) = lost.first()
        && lost.len() + other_languages == places.len()
    {
        let (offset, reason) = (first.offset, first.reason.clone());
        return Err(DwarfError::AllLost { units: places.len(), offset, reason });
    }
    let symbols = KernelSymbols::read(image, &pool)?;
    let mut declarations = symbols.functions(&units.declarations);
    symbols.add_per_cpu(&units.declarations, &mut declarations);
    let btf = pool.finish(&units.types, &declarations)?.finish(image.endian)?;
    Ok(Conversion {
        btf,
        units: places.len() - lost.len() - other_languages,
        other_languages,
        lost,
        degraded: units.declarations.iter().map(|unit| u64::from(unit.degraded)).sum(),
    })
}

/// Where the units of `.debug_info` lie.
fn places<const BIG: bool>(info: &[u8]) -> Result<Vec<UnitPlace>, DwarfError> {
    let order = if BIG { RunTimeEndian::Big } else { RunTimeEndian::Little };
    let section = gimli::DebugInfo::from(EndianSlice::new(info, order));
    let mut headers = section.units();
    let mut places: Vec<UnitPlace> = Vec::new();
    loop {
        let offset = places.last().map_or(0, |place| place.end as u64);
        match headers.next() {
            Ok(None) => return Ok(places),
            Ok(Some(header)) => {
                let start = header.debug_info_offset().map_or(0, |offset| offset.0);
                places.push(UnitPlace {
                    start,
                    entries: start + header.size_of_header(),
                    end: start + header.length_including_self(),
                    abbrev: header.debug_abbrev_offset().0,
                    encoding: header.encoding(),
                });
            }
            Err(error) => return Err(DwarfError::Header { offset, reason: error.to_string() }),
        }
    }
}

fn lost_units(places: &[UnitPlace], outcomes: &[Outcome]) -> Vec<LostUnit> {
    let lost = |(place, outcome): (&UnitPlace, &Outcome)| match outcome {
        Outcome::Lost(reason) => Some(LostUnit { offset: place.start as u64, reason: reason.clone() }),
        _ => None,
    };
    places.iter().zip(outcomes).filter_map(lost).collect()
}

/// What became of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Converted,
    OtherLanguage,
    Lost(UnitError),
}

/// What is kept of all units. The three lists have an entry for each unit, or the latter two a single one for all units together.
#[derive(Default)]
struct Units {
    outcomes: Vec<Outcome>,
    types: Vec<UnitTypes>,
    declarations: Vec<UnitDeclarations>,
}

/// What a unit declares besides types.
#[derive(Default)]
struct UnitDeclarations {
    functions: Vec<Function>,
    variables: Vec<Variable>,
    degraded: u32,
    has_int: bool,
}

struct Function {
    name: Name,
    prototype: Handle,
    /// Equal for functions with the same types of parameters and result.
    signature: Identity,
}

struct Variable {
    name: Name,
    ty: Handle,
    /// Size of the type in bytes.
    size: u32,
    address: u64,
    external: bool,
}

/// The input of the conversion.
struct Input<'a, const BIG: bool> {
    sections: &'a Sections<'a>,
    abbrev: &'a [u8],
    places: &'a [UnitPlace],
    address_size: u8,
    /// Name of the type that indexes the arrays of units without `int`.
    index_type: &'static [u8],
}

/// The name that pahole gives to the type that indexes arrays where there is no `int`.
const ARTIFICIAL_INDEX: &[u8] = b"__ARRAY_SIZE_TYPE__";

impl<const BIG: bool> Input<'_, BIG> {
    /// Converts all units, each by itself where that is possible.
    fn all(&self, threads: usize) -> (Pool, Units) {
        let mut pool = Pool::new();
        let mut units = self.each_alone(&pool, threads);
        if units.outcomes.contains(&Outcome::Lost(UnitError::Foreign)) {
            let pool = Pool::new();
            let units = self.all_as_one(&pool);
            return (pool, units);
        }
        let again = pool.units_needing_edges(&units.types);
        self.read_again(&pool, &mut units, &again);
        (pool, units)
    }

    /// Converts each unit by itself.
    fn each_alone(&self, pool: &Pool, threads: usize) -> Units {
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut reader = Reader::new(pool, self.index_type);
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.places.len() {
                    return done;
                }
                let (outcome, types, declarations) = self.alone(pool, &mut reader, index, false);
                done.push((index, outcome, types, declarations));
            }
        };
        let mut all = if threads <= 1 {
            worker()
        } else {
            std::thread::scope(|scope| {
                let workers: Vec<_> =
                    (0..threads.min(self.places.len())).map(|_| scope.spawn(worker)).collect();
                let joined = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
                // A panic of a worker is a bug; it goes on in the caller's thread.
                joined
                    .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            })
        };
        all.sort_unstable_by_key(|&(index, ..)| index);
        let mut units = Units::default();
        for (_, outcome, types, declarations) in all {
            units.outcomes.push(outcome);
            units.types.push(types);
            units.declarations.push(declarations);
        }
        units
    }

    /// Reads units once more, keeping their edges.
    fn read_again(&self, pool: &Pool, units: &mut Units, which: &[usize]) {
        let mut reader = Reader::new(pool, self.index_type);
        for &index in which {
            let (_, types, declarations) = self.alone(pool, &mut reader, index, true);
            units.types[index] = types;
            units.declarations[index] = declarations;
        }
    }

    fn alone(
        &self,
        pool: &Pool,
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
        reader.resolve(self.address_size, BIG);
        let types = reader.unit.intern(pool, keep_edges);
        let declarations = self.declarations(reader, keep_edges);
        (outcome, types, declarations)
    }

    /// Converts all units as one, so that they may refer to each other's types.
    fn all_as_one(&self, pool: &Pool) -> Units {
        let mut reader = Reader::new(pool, self.index_type);
        let end = self.sections.info.len();
        let outcomes = self.places.iter().map(|place| self.read(&mut reader, place, (0, end))).collect();
        reader.resolve(self.address_size, BIG);
        let types = reader.unit.intern(pool, true);
        let declarations = self.declarations(&reader, true);
        Units { outcomes, types: vec![types], declarations: vec![declarations] }
    }

    fn read(&self, reader: &mut Reader<'_>, place: &UnitPlace, bounds: (usize, usize)) -> Outcome {
        let order = if BIG { RunTimeEndian::Big } else { RunTimeEndian::Little };
        let tables = gimli::DebugAbbrev::from(EndianSlice::new(self.abbrev, order));
        let table = match tables.abbreviations(gimli::DebugAbbrevOffset(place.abbrev)) {
            Ok(table) => table,
            Err(error) => return Outcome::Lost(UnitError::Table(place.abbrev, error.to_string())),
        };
        match reader.read::<BIG>(self.sections, &table, place, bounds) {
            Ok(Content::Types) => Outcome::Converted,
            Ok(Content::OtherLanguage) => Outcome::OtherLanguage,
            Err(error) => Outcome::Lost(error),
        }
    }

    fn declarations(&self, reader: &Reader<'_>, keep_edges: bool) -> UnitDeclarations {
        let handle = |id| reader.unit.handle(id, keep_edges);
        let functions = reader.functions.candidates.iter().map(|candidate| Function {
            name: candidate.name,
            prototype: handle(candidate.prototype),
            signature: reader.unit.identity(candidate.signature),
        });
        let variables = reader.variables.iter().filter_map(|variable| {
            let size = u32::try_from(variable.size).ok().filter(|&size| size != 0)?;
            let (name, external) = (variable.name, variable.external);
            Some(Variable {
                name,
                ty: handle(LocalId(variable.ty)),
                size,
                address: variable.address?,
                external,
            })
        });
        UnitDeclarations {
            functions: functions.collect(),
            variables: variables.collect(),
            degraded: reader.degraded,
            has_int: reader.has_int(),
        }
    }
}

/// What the symbol table says of functions and per-CPU variables.
struct KernelSymbols {
    functions: FastSet<Name>,
    per_cpu: FastMap<u64, FastSet<Name>>,
    /// Address and size of the per-CPU section, in bytes.
    section: Option<(u64, u64)>,
    section_name: Name,
    /// Variables that tools leave out.
    special: FastSet<Name>,
}

const PER_CPU_SECTION: &str = ".data..percpu";

/// Variables that are made by macros for the linker, not by people.
const SPECIAL_VARIABLES: [&[u8]; 5] = [
    b"__UNIQUE_ID",
    b"__tpstrtab_",
    b"__exitcall_",
    b"__gendwarfksyms_ptr_",
    b"__func_stack_frame_non_standard_",
];

impl KernelSymbols {
    fn read(image: &Image<'_>, pool: &Pool) -> Result<KernelSymbols, ElfError> {
        let place = image.sections.iter().position(|section| section.name == PER_CPU_SECTION);
        let section =
            place.map(|index| &image.sections[index]).map(|section| (section.address, section.size));
        let mut symbols = KernelSymbols {
            functions: FastSet::default(),
            per_cpu: FastMap::default(),
            section,
            section_name: pool.name(PER_CPU_SECTION.as_bytes()),
            special: FastSet::default(),
        };
        image.visit_symbols(|symbol| {
            let name = symbol.name;
            if symbol.kind == Symbol::FUNC && !name.contains(&b'.') {
                symbols.functions.insert(pool.name(name));
            } else if symbol.kind == Symbol::OBJECT && place == Some(symbol.section.into()) {
                let name_in_pool = pool.name(name);
                if SPECIAL_VARIABLES.iter().any(|special| name.starts_with(special)) {
                    symbols.special.insert(name_in_pool);
                }
                symbols.per_cpu.entry(symbol.value).or_default().insert(name_in_pool);
            }
        })?;
        Ok(symbols)
    }

    /// A FUNC for each function of the symbol table whose definitions agree on its prototype.
    fn functions(&self, units: &[UnitDeclarations]) -> Vec<Declaration> {
        let mut place: FastMap<Name, usize> = FastMap::default();
        let mut found: Vec<(Declaration, Identity, bool)> = Vec::new();
        for (unit, declarations) in units.iter().enumerate() {
            for function in &declarations.functions {
                if !self.functions.contains(&function.name) {
                    continue;
                }
                if let Some(&at) = place.get(&function.name) {
                    let (_, signature, consistent) = &mut found[at];
                    *consistent &= *signature == function.signature;
                    continue;
                }
                place.insert(function.name, found.len());
                let kind = DeclarationKind::Func { linkage: 0 };
                let declaration =
                    Declaration { unit: unit as u32, name: function.name, ty: function.prototype, kind };
                found.push((declaration, function.signature, true));
            }
        }
        found
            .into_iter()
            .filter(|(_, _, consistent)| *consistent)
            .map(|(declaration, ..)| declaration)
            .collect()
    }

    /// A VAR for each per-CPU variable, and the DATASEC that says where they are.
    fn add_per_cpu(&self, units: &[UnitDeclarations], declarations: &mut Vec<Declaration>) {
        let Some((section_start, section_size)) = self.section else { return };
        let Ok(section_size) = u32::try_from(section_size) else { return };
        let mut found: Vec<(u32, u32, &Variable)> = Vec::new();
        for (unit, one) in units.iter().enumerate() {
            for variable in &one.variables {
                let known =
                    self.per_cpu.get(&variable.address).is_some_and(|names| names.contains(&variable.name));
                let offset =
                    variable.address.checked_sub(section_start).and_then(|offset| u32::try_from(offset).ok());
                if let Some(offset) = offset
                    && known
                    && !self.special.contains(&variable.name)
                    && offset.checked_add(variable.size).is_some_and(|end| end <= section_size)
                {
                    found.push((offset, unit as u32, variable));
                }
            }
        }
        found.sort_by_key(|&(offset, unit, _)| (offset, unit));
        let mut end = 0;
        let mut vars = Vec::new();
        for (offset, unit, variable) in found {
            // The same variable defined twice, or one inside another: the first stands.
            if offset < end {
                continue;
            }
            end = offset + variable.size;
            vars.push((declarations.len() as u32, offset, variable.size));
            let kind = DeclarationKind::Var { linkage: u32::from(variable.external) };
            declarations.push(Declaration { unit, name: variable.name, ty: variable.ty, kind });
        }
        if !vars.is_empty() {
            // The section may be longer, by padding; what it is for readers ends with its last variable.
            let kind = DeclarationKind::Datasec { size: end, vars };
            declarations.push(Declaration { unit: 0, name: self.section_name, ty: Handle::VOID, kind });
        }
    }
}
