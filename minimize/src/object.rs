//! A BPF object: its relocations, read from ELF, `.BTF` and `.BTF.ext`, and prepared for any number of kernels.

use btf::{BStr, Btf, Kind, TypeId};
use hashbrown::HashMap;
use object::elf::{EM_BPF, EM_NONE, Machine};
use object::read::elf::FileHeader as _;
use object::{Object as _, ObjectSection as _};

use crate::error::{Error, Result};
use crate::ext::{Ext, Table};
use crate::reason::Reason;
use crate::relocation::{Relocation, RelocationKind};
use crate::spec::Spec;
use crate::types::Types;

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
        let file = object::File::parse(data).map_err(|error| Error::Elf { reason: error.to_string() })?;
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
            let section = btf.string(group.section)?;
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
                    access: btf.string(btf::StrOffset(access))?,
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
        Ok(Object { btf: Some(btf), ext: Some(ext), relocations, spec_of, specs, roots })
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
        let [_, id] = self.nearest(self.ext?.functions, relocation)?;
        let btf = self.btf.as_ref()?;
        btf.name(&btf.ty(TypeId(id)).ok()?).ok()
    }

    /// The source file and line of a relocation's instruction, where `.BTF.ext` tells.
    pub fn source_line(&self, relocation: &Relocation<'_>) -> Option<(&'a BStr, u32)> {
        let [_, file, _, position] = self.nearest(self.ext?.lines, relocation)?;
        let file = self.btf.as_ref()?.string(btf::StrOffset(file)).ok()?;
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

    /// The last record at or before an instruction.
    fn nearest<const WORDS: usize>(
        &self,
        table: Table<'a>,
        relocation: &Relocation<'_>,
    ) -> Option<[u32; WORDS]> {
        let (btf, endian) = (self.btf.as_ref()?, self.ext?.endian);
        table
            .groups(endian)
            .map_while(Result::ok)
            .filter(|group| btf.string(group.section).is_ok_and(|name| name == relocation.section))
            .flat_map(|group| group.records::<WORDS>().collect::<Vec<_>>())
            .filter(|record| record[0] <= relocation.instruction_offset)
            .max_by_key(|record| record[0])
    }
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
