//! A BPF object: its relocations, read from ELF, `.BTF` and `.BTF.ext`, and prepared for any number of kernels.

use std::sync::OnceLock;

use btf::{BStr, Btf, Kind, TypeId};
use hashbrown::HashMap;
use object::elf::{EM_BPF, EM_NONE, Machine};
use object::read::elf::FileHeader as _;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::error::{Error, Result};
use crate::ext::{Ext, Table};
use crate::reason::Reason;
use crate::relocation::{Relocation, RelocationKind};
use crate::spec::Spec;
use crate::types::{MAX_NAME, Types};

type FixedHash = foldhash::fast::FixedState;

/// A BPF object and its relocations, borrowed from the file's bytes.
#[derive(Debug)]
pub struct Object<'a> {
    btf: Option<Btf<'a>>,
    ext: Option<Ext<'a>>,
    relocations: Vec<Relocation<'a>>,
    /// Which of `specs` each relocation is.
    spec_of: Vec<u32>,
    /// What the relocations mean; the same one twice is here once.
    pub(crate) specs: Vec<Result<Spec<'a>, Reason>>,
    pub(crate) roots: Vec<Root<'a>>,
    /// What `.BTF.ext` tells of the code, once somebody asks.
    told: OnceLock<Told<'a>>,
}

/// Records of an ELF section's code, in the order of the instructions that they begin with.
type Records<'a, const WORDS: usize> = HashMap<&'a BStr, Vec<[u32; WORDS]>, FixedHash>;

/// What `.BTF.ext` tells of the code.
#[derive(Debug)]
struct Told<'a> {
    /// `struct bpf_func_info`.
    functions: Records<'a, 2>,
    /// `struct bpf_line_info`.
    lines: Records<'a, 4>,
}

/// The relocations that share a type, and therefore its candidates in the kernel.
#[derive(Debug)]
pub(crate) struct Root<'a> {
    /// Name without flavour.
    pub(crate) name: &'a [u8],
    pub(crate) kind: Kind,
    /// Indices of their specs, without repetitions, in the order of their first relocations.
    pub(crate) specs: Vec<u32>,
    /// All relocations in their order: index, and position in `specs`.
    pub(crate) sequence: Vec<(u32, u32)>,
}

impl<'a> Object<'a> {
    /// Reads an ELF file for BPF, of either byte order. One without `.BTF` or `.BTF.ext` has no relocations.
    ///
    /// Damage of a single relocation (an access string that makes no sense, say) is not an error here but of that relocation, when it is resolved.
    ///
    /// # Errors
    /// When it is not a BPF object, or `.BTF` or `.BTF.ext` are damaged.
    pub fn parse(data: &'a [u8]) -> Result<Object<'a>> {
        let file = open_elf(data)?;
        match machine(&file) {
            Some(EM_BPF | EM_NONE) => {} // compilers before EM_BPF wrote none
            machine => return Err(Error::NotBpf { machine: machine.map_or(0, |machine| machine.0) }),
        }
        let section = |name: &'static str| match file.section_by_name(name) {
            Some(section) => section
                .data()
                .map(Some)
                .map_err(|error| Error::Section { section: name, reason: error.to_string() }),
            None => Ok(None),
        };
        let btf = section(".BTF")?.map(Btf::parse).transpose()?;
        let ext = section(".BTF.ext")?.map(Ext::parse).transpose()?;
        let (Some(btf), Some(ext)) = (btf, ext) else {
            return Ok(Object {
                btf: None,
                ext: None,
                relocations: Vec::new(),
                spec_of: Vec::new(),
                specs: Vec::new(),
                roots: Vec::new(),
                told: OnceLock::new(),
            });
        };
        if btf.endian() != ext.endian {
            return Err(Error::Ext { offset: 0, reason: "the byte order differs from that of .BTF".into() });
        }
        let sections: HashMap<_, _, FixedHash> = file
            .sections()
            .filter_map(|section| Some((section.name_bytes().ok()?, section.index())))
            .collect();
        Self::prepare(btf, ext, |name| {
            let section = file.section_by_index(*sections.get(name)?).ok()?;
            section.data().ok()
        })
    }

    /// Understands the relocations; `code` gives the instructions of an ELF section.
    fn prepare(btf: Btf<'a>, ext: Ext<'a>, code: impl Fn(&[u8]) -> Option<&'a [u8]>) -> Result<Object<'a>> {
        let types = types(&btf);
        let mut relocations = Vec::new();
        let mut spec_of = Vec::new();
        let mut specs: Vec<Result<Spec<'a>, Reason>> = Vec::new();
        let mut roots: Vec<Root<'a>> = Vec::new();
        let mut known_specs = HashMap::with_hasher(FixedHash::default());
        let mut known_roots = HashMap::with_hasher(FixedHash::default());
        let mut root_of_spec: Vec<Option<(u32, u32)>> = Vec::new();
        for group in ext.relocations.groups(ext.endian) {
            let group = group?;
            let section = btf.string_within(group.section, MAX_NAME)?;
            let code = code(section).unwrap_or_default();
            for [instruction_offset, root, access, kind] in group.records() {
                let index = relocations.len() as u32;
                let relocation = Relocation {
                    section,
                    instruction_offset,
                    is_memory_access: code
                        .get(instruction_offset as usize)
                        .is_none_or(|&opcode| accesses_memory(opcode)),
                    root: TypeId(root),
                    access: btf.string_within(btf::StrOffset(access), MAX_NAME)?,
                    kind_number: kind,
                };
                let spec = *known_specs
                    .entry((root, access, kind, relocation.is_memory_access))
                    .or_insert_with(|| {
                        let spec = Spec::parse(types, &relocation);
                        let place = spec.as_ref().ok().and_then(|spec| {
                            let kind = types.get(spec.root).ok()?.kind()?;
                            let fresh =
                                Root { name: spec.root_name, kind, specs: Vec::new(), sequence: Vec::new() };
                            if spec.kind == RelocationKind::TypeIdLocal {
                                return None;
                            }
                            let root = *known_roots.entry(spec.root).or_insert_with(|| {
                                roots.push(fresh);
                                roots.len() as u32 - 1
                            });
                            let members = &mut roots[root as usize].specs;
                            members.push(specs.len() as u32);
                            Some((root, members.len() as u32 - 1))
                        });
                        root_of_spec.push(place);
                        specs.push(spec);
                        specs.len() as u32 - 1
                    });
                if let Some((root, position)) = root_of_spec[spec as usize] {
                    roots[root as usize].sequence.push((index, position));
                }
                relocations.push(relocation);
                spec_of.push(spec);
            }
        }
        Ok(Object {
            btf: Some(btf),
            ext: Some(ext),
            relocations,
            spec_of,
            specs,
            roots,
            told: OnceLock::new(),
        })
    }

    /// The relocations, in the order of `.BTF.ext`, which is the order in which a loader resolves them.
    pub fn relocations(&self) -> &[Relocation<'a>] {
        &self.relocations
    }

    /// The object's own BTF; `None` if it has no relocations for want of `.BTF` or `.BTF.ext`.
    pub fn btf(&self) -> Option<&Btf<'a>> {
        self.btf.as_ref()
    }

    /// The function that a relocation's instruction belongs to, where `.BTF.ext` tells.
    pub fn function(&self, relocation: &Relocation<'_>) -> Option<&'a BStr> {
        let [_, id] = nearest(&self.told()?.functions, relocation)?;
        let btf = self.btf.as_ref()?;
        btf.name(&btf.ty(TypeId(id)).ok()?).ok()
    }

    /// The source file and line of a relocation's instruction, where `.BTF.ext` tells.
    pub fn source_line(&self, relocation: &Relocation<'_>) -> Option<(&'a BStr, u32)> {
        let [_, file, _, position] = nearest(&self.told()?.lines, relocation)?;
        let file = self.btf.as_ref()?.string_within(btf::StrOffset(file), MAX_NAME).ok()?;
        Some((file, position >> 10))
    }

    /// What a relocation is about, as C would say it: `struct task_struct.comm[3]`, `enum bpf_func_id::BPF_FUNC_timer_init`.
    pub fn describe(&self, relocation: &Relocation<'_>) -> String {
        let Some(types) = self.types() else { return String::new() };
        let Ok(root) = types.get(relocation.root) else { return format!("type {}", relocation.root) };
        let name = types.name(root).unwrap_or_default();
        let prefix = match root.kind() {
            None => "void",
            Some(Kind::Struct) => "struct ",
            Some(Kind::Union) => "union ",
            Some(Kind::Enum | Kind::Enum64) => "enum ",
            Some(Kind::Fwd) => "forward ",
            _ => "",
        };
        let mut text = format!("{prefix}{}", if name.is_empty() { BStr::new("(anonymous)") } else { name });
        let Ok(spec) = Spec::parse(types, relocation) else { return text };
        for (depth, step) in spec.accessors.iter().enumerate() {
            match step.name {
                Some(name) if spec.kind.is_enumerator() => text += &format!("::{name}"),
                Some(name) => text += &format!(".{name}"),
                None if depth > 0 || step.index > 0 => text += &format!("[{}]", step.index),
                None => {}
            }
        }
        text
    }

    pub(crate) fn types(&self) -> Option<Types<'_, 'a>> {
        self.btf.as_ref().map(types)
    }

    /// What a relocation means.
    pub(crate) fn spec(&self, relocation: usize) -> &Result<Spec<'a>, Reason> {
        &self.specs[self.spec_of[relocation] as usize]
    }

    fn told(&self) -> Option<&Told<'a>> {
        let (btf, ext) = (self.btf.as_ref()?, self.ext.as_ref()?);
        Some(self.told.get_or_init(|| Told {
            functions: records(btf, ext.functions, ext.endian),
            lines: records(btf, ext.lines, ext.endian),
        }))
    }
}

/// A table's records by section, up to the first damaged one.
fn records<'a, const WORDS: usize>(
    btf: &Btf<'a>,
    table: Table<'a>,
    endian: btf::Endian,
) -> Records<'a, WORDS> {
    let mut records = Records::default();
    for group in table.groups(endian).map_while(Result::ok) {
        if let Ok(section) = btf.string_within(group.section, MAX_NAME) {
            records.entry(section).or_default().extend(group.records::<WORDS>());
        }
    }
    records.values_mut().for_each(|records| records.sort_by_key(|record| record[0]));
    records
}

/// The last record at or before a relocation's instruction.
fn nearest<const WORDS: usize>(
    records: &Records<'_, WORDS>,
    relocation: &Relocation<'_>,
) -> Option<[u32; WORDS]> {
    let records = records.get(relocation.section)?;
    let after = records.partition_point(|record| record[0] <= relocation.instruction_offset);
    Some(records[after.checked_sub(1)?])
}

/// Most bytes of names in an ELF file: they may overlap, and be looked at as often as there are sections and symbols.
const MAX_ELF_NAMES: usize = 1 << 26;

/// Opens an ELF file whose names are not more than there is time for.
pub(crate) fn open_elf(data: &[u8]) -> Result<object::File<'_>> {
    let file = object::File::parse(data).map_err(|error| Error::Elf { reason: error.to_string() })?;
    let sections = file.sections().map(|section| section.name_bytes().map_or(0, <[u8]>::len));
    let symbols = file.symbols().map(|symbol| symbol.name_bytes().map_or(0, <[u8]>::len));
    let mut left = MAX_ELF_NAMES;
    for len in sections.chain(symbols) {
        left = left.checked_sub(len).ok_or_else(|| Error::Elf {
            reason: format!("names of sections and symbols have more than {MAX_ELF_NAMES} bytes"),
        })?;
    }
    Ok(file)
}

/// Whether an instruction is of the classes `BPF_LDX`, `BPF_ST` or `BPF_STX`.
fn accesses_memory(opcode: u8) -> bool {
    matches!(opcode & 7, 1..=3)
}

/// The types of an object. Pointers are 8 bytes wherever BPF runs.
fn types<'m, 'a>(btf: &'m Btf<'a>) -> Types<'m, 'a> {
    Types { btf, pointer_size: 8, fault: Reason::ObjectBtf }
}

/// `e_machine`.
fn machine(file: &object::File<'_>) -> Option<Machine> {
    match file {
        object::File::Elf32(file) => Some(file.elf_header().e_machine(file.endian())),
        object::File::Elf64(file) => Some(file.elf_header().e_machine(file.endian())),
        _ => None,
    }
}
