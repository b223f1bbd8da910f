//! FUNCs, VARs and the DATASEC: what units declare, checked against the symbol table.

use btf::dedup::{Declaration, DeclarationKind, Handle, Name, Pool};

use super::convert::{FastMap, FastSet, Function, Tag, UnitDeclarations, Variable};
use super::kfuncs::{KFunc, KFuncs};
use crate::elf::{ElfError, Image, Symbol};

/// What the symbol table says of functions and per-CPU variables.
pub(super) struct KernelSymbols {
    functions: Vec<FunctionSymbol>,
    /// Where in `functions` each name is, plus one, by its word; 0 if it is not there.
    places: Vec<u32>,
    /// A bit for each name that is in `functions`, by its word: units ask for every function of every header.
    known: Vec<u64>,
    per_cpu: FastMap<u64, FastSet<Name>>,
    /// Address and size of the per-CPU section, in bytes.
    section: Option<(u64, u64)>,
    section_name: Name,
    /// Variables that tools leave out.
    special: FastSet<Name>,
    kfunc_tag: Name,
    fastcall_tag: Name,
}

/// The symbols of a name, up to its first dot.
struct FunctionSymbol {
    section: u16,
    address: u64,
    /// Whether another one of the name is elsewhere: a tracer that knows only the name could take either.
    ambiguous: bool,
    /// Whether it, or another one at the same address, is called by a name that says that its parameters were changed.
    optimized: bool,
    kfunc: KFunc,
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

/// Endings of symbols that are only parts of functions.
const PARTS: [&[u8]; 2] = [b".cold", b".part"];

/// Endings of functions whose parameters gcc changed.
const OPTIMIZED: [&[u8]; 2] = [b".isra", b".constprop"];

impl KernelSymbols {
    pub(super) fn read(image: &Image<'_>, pool: &Pool) -> Result<KernelSymbols, ElfError> {
        let place = image.sections.iter().position(|section| section.name == PER_CPU_SECTION);
        let section =
            place.map(|index| &image.sections[index]).map(|section| (section.address, section.size));
        let mut symbols = KernelSymbols {
            functions: Vec::new(),
            places: Vec::new(),
            known: Vec::new(),
            per_cpu: FastMap::default(),
            section,
            section_name: pool.name(PER_CPU_SECTION.as_bytes()),
            special: FastSet::default(),
            kfunc_tag: pool.name(b"bpf_kfunc"),
            fastcall_tag: pool.name(b"bpf_fastcall"),
        };
        let mut kfuncs = KFuncs::open(image)?;
        image.visit_symbols(|symbol| {
            let name = symbol.name;
            if symbol.kind == Symbol::FUNC {
                symbols.add_function(&symbol, pool);
            } else if symbol.kind == Symbol::OBJECT && place == Some(symbol.section.into()) {
                let name_in_pool = pool.name(name);
                if SPECIAL_VARIABLES.iter().any(|special| name.starts_with(special)) {
                    symbols.special.insert(name_in_pool);
                }
                symbols.per_cpu.entry(symbol.value).or_default().insert(name_in_pool);
            }
            if let Some(kfuncs) = &mut kfuncs {
                kfuncs.see(&symbol);
            }
        })?;
        for (name, kfunc) in kfuncs.iter_mut().flat_map(KFuncs::find) {
            if let Some(place) = symbols.place(pool.name(name)) {
                symbols.functions[place].kfunc.merge(kfunc);
            }
        }
        let bits = |places: &[u32]| (0..).zip(places).map(|(bit, &place)| u64::from(place != 0) << bit).sum();
        symbols.known = symbols.places.chunks(64).map(bits).collect();
        Ok(symbols)
    }

    fn add_function(&mut self, symbol: &Symbol<'_>, pool: &Pool) {
        let &Symbol { name, section, value: address, .. } = symbol;
        let dot = name.iter().position(|&byte| byte == b'.').unwrap_or(name.len());
        let (name, ending) = name.split_at(dot);
        let says = |what: &[&[u8]]| what.iter().any(|what| ending.windows(what.len()).any(|at| at == *what));
        if name.is_empty() || says(&PARTS) {
            return;
        }
        let optimized = says(&OPTIMIZED);
        let word = pool.name(name).word() as usize;
        if word >= self.places.len() {
            self.places.resize((word + 1).next_power_of_two(), 0);
        }
        let place = &mut self.places[word];
        if *place == 0 {
            let (ambiguous, kfunc) = (false, KFunc::default());
            self.functions.push(FunctionSymbol { section, address, ambiguous, optimized, kfunc });
            *place = self.functions.len() as u32;
        }
        let known = &mut self.functions[*place as usize - 1];
        known.ambiguous |= (known.section, known.address) != (section, address);
        known.optimized |= optimized;
    }

    /// Where in `functions` a name is.
    fn place(&self, name: Name) -> Option<usize> {
        (*self.places.get(name.word() as usize)? as usize).checked_sub(1)
    }

    /// Whether there is a per-CPU variable at this address.
    pub(super) fn has_per_cpu(&self, address: u64) -> bool {
        self.per_cpu.contains_key(&address)
    }

    /// Whether there is a function of this name.
    #[inline]
    pub(super) fn knows(&self, name: Name) -> bool {
        let word = name.word();
        self.known.get(word as usize / 64).is_some_and(|bits| bits >> (word % 64) & 1 == 1)
    }

    /// A FUNC for each function of the symbol table whose definitions agree on its prototype, and whose prototype tells how it is called.
    pub(super) fn functions(&self, units: &[UnitDeclarations]) -> Vec<Declaration> {
        // For each function where in `found` it is, plus one.
        let mut places = vec![0_u32; self.functions.len()];
        let mut found: Vec<Merged<'_>> = Vec::with_capacity(self.functions.len());
        for (unit, declarations) in units.iter().enumerate() {
            for function in &declarations.functions {
                let Some(symbol) = self.place(function.name) else { continue };
                let place = &mut places[symbol];
                let symbol = &self.functions[symbol];
                if symbol.ambiguous {
                    continue;
                }
                let merged = Merged::new(unit as u32, function, symbol);
                match place.checked_sub(1) {
                    Some(at) => found[at as usize].merge(merged),
                    None => {
                        found.push(merged);
                        *place = found.len() as u32;
                    }
                }
            }
        }
        let mut declarations = Vec::new();
        for one in found.into_iter().filter(Merged::is_certain) {
            let (name, index) = (one.function.name, declarations.len() as u32);
            let kind = DeclarationKind::Func { linkage: 0 };
            declarations.push(Declaration { unit: one.unit, name, ty: one.function.prototype, kind });
            let tags = units[one.unit as usize].tags(&one.function.tags);
            tags.iter().for_each(|tag| declarations.push(tag.on(index)));
            let kfunc = one.symbol.kfunc;
            for (tag, is_on) in [(self.kfunc_tag, kfunc.is_kfunc), (self.fastcall_tag, kfunc.is_fastcall)] {
                if is_on {
                    declarations.push(Tag { text: tag, component: -1 }.on(index));
                }
            }
        }
        declarations
    }

    /// A VAR for each per-CPU variable, and the DATASEC that says where they are.
    pub(super) fn add_per_cpu(&self, units: &[UnitDeclarations], declarations: &mut Vec<Declaration>) {
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
            let index = declarations.len() as u32;
            vars.push((index, offset, variable.size));
            let kind = DeclarationKind::Var { linkage: u32::from(variable.external) };
            declarations.push(Declaration { unit, name: variable.name, ty: variable.ty, kind });
            let tags = units[unit as usize].tags(&variable.tags);
            tags.iter().for_each(|tag| declarations.push(tag.on(index)));
        }
        if !vars.is_empty() {
            // The section may be longer, by padding; what it is for readers ends with its last variable.
            let kind = DeclarationKind::Datasec { size: end, vars };
            declarations.push(Declaration { unit: 0, name: self.section_name, ty: Handle::VOID, kind });
        }
    }
}

/// All that units say of one function, and which of them says it best.
struct Merged<'a> {
    unit: u32,
    function: &'a Function,
    symbol: &'a FunctionSymbol,
    /// Whether all agree on the prototype, and nothing tells against it.
    agreed: bool,
    rank: Rank,
}

/// How good a witness a function's DIE is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It is that of other code: a definition that another one overrides.
    Elsewhere,
    /// It has no code: it is a function that was inlined, or that has the code of an equal one.
    Nowhere,
    /// It is that of the code that the symbol names, which does not take the parameters of the prototype.
    Changed,
    /// It is, and the prototype tells how it is called.
    Exact,
}

impl<'a> Merged<'a> {
    fn new(unit: u32, function: &'a Function, symbol: &'a FunctionSymbol) -> Self {
        let doubts = function.doubts;
        let rank = match function.address {
            None => Rank::Nowhere,
            Some(address) if address != symbol.address => Rank::Elsewhere,
            Some(_) if doubts.optimized && (doubts.no_call || symbol.optimized) => Rank::Changed,
            Some(_) => Rank::Exact,
        };
        Merged { unit, function, symbol, agreed: !doubts.moved && !doubts.packed, rank }
    }

    fn merge(&mut self, other: Merged<'a>) {
        self.agreed &= other.agreed && self.function.signature == other.function.signature;
        if other.rank > self.rank {
            *self = Merged { agreed: self.agreed, ..other };
        }
    }

    fn is_certain(&self) -> bool {
        let doubts = self.function.doubts;
        let changed = match self.rank {
            // Of code that no unit has only clang could have told.
            Rank::Elsewhere | Rank::Nowhere => doubts.optimized && doubts.no_call,
            Rank::Changed => true,
            Rank::Exact => false,
        };
        self.agreed && !changed
    }
}
