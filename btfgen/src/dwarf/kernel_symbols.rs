//! FUNCs, VARs and the DATASEC: what units declare, checked against the symbol table.

use btf::dedup::{Declaration, DeclarationKind, Handle, Identity, Name, Pool};

use super::convert::{FastMap, FastSet, UnitDeclarations, Variable};
use crate::elf::{ElfError, Image, Symbol};

/// What the symbol table says of functions and per-CPU variables.
pub(super) struct KernelSymbols {
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
    pub(super) fn read(image: &Image<'_>, pool: &Pool) -> Result<KernelSymbols, ElfError> {
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
    pub(super) fn functions(&self, units: &[UnitDeclarations]) -> Vec<Declaration> {
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
