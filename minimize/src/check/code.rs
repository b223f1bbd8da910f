//! The programs of an object: instructions, which function each belongs to, what each calls.
//!
//! Source: `include/uapi/linux/bpf.h` for instructions, `Documentation/bpf/llvm_reloc.rst` for how clang links functions, libbpf's
//! `bpf_object__init_prog` for what is a program: every global function in a section of code other than `.text`.

use std::sync::Arc;

use btf::Endian;
use hashbrown::HashMap;
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SectionKind,
};

use crate::error::{Error, Result};
use crate::object::open_elf;

/// Bytes of an instruction; a wide one (`BPF_LD | BPF_IMM | BPF_DW`) takes two of them.
pub(crate) const INSTRUCTION: usize = 8;
/// Most instructions of an object that are looked at; the verifier takes a million for a program.
const MAX_INSTRUCTIONS: usize = 4 << 20;

/// One instruction (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) opcode: u8,
    pub(crate) dst: u8,
    pub(crate) src: u8,
    pub(crate) offset: i16,
    pub(crate) imm: i32,
}

/// A place in an object's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Index in [`Code::sections`].
    pub(crate) section: u32,
    /// Number of the instruction in the section.
    pub(crate) instruction: u32,
}

/// What an instruction is linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// A function of the object.
    Function(Place),
    /// Something that is not in the object: a kernel function, a kernel variable, a configuration value.
    Extern {
        /// Its name.
        name: Arc<str>,
        /// Whether the program can do without.
        weak: bool,
    },
}

/// A section with instructions.
#[derive(Debug)]
pub(crate) struct CodeSection<'a> {
    pub(crate) name: &'a str,
    pub(crate) instructions: Vec<Instruction>,
    /// By number of the instruction.
    pub(crate) links: HashMap<u32, Link, foldhash::fast::FixedState>,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) start: Place,
    /// Instructions in it.
    pub(crate) len: u32,
    /// Visible to the linker: the verifier checks it by itself, knowing nothing of its arguments.
    pub(crate) global: bool,
}

/// All code of an object.
#[derive(Debug, Default)]
pub(crate) struct Code<'a> {
    pub(crate) sections: Vec<CodeSection<'a>>,
    /// In the order of their places.
    pub(crate) functions: Vec<Function<'a>>,
}

impl<'a> Code<'a> {
    /// Reads the code of an object that [`crate::Object::parse`] has accepted.
    pub(crate) fn parse(data: &'a [u8]) -> Result<Code<'a>> {
        let elf = |error: object::Error| Error::Elf { reason: error.to_string() };
        let file = open_elf(data)?;
        let endian = if file.is_little_endian() { Endian::Little } else { Endian::Big };
        let mut code = Code::default();
        let mut place_of = HashMap::with_hasher(foldhash::fast::FixedState::default());
        let mut left = MAX_INSTRUCTIONS;
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            let bytes = section.data().map_err(elf)?;
            left = left.checked_sub(bytes.len() / INSTRUCTION).ok_or_else(|| Error::Elf {
                reason: format!("there are more than {MAX_INSTRUCTIONS} instructions"),
            })?;
            place_of.insert(section.index(), code.sections.len() as u32);
            code.sections.push(CodeSection {
                name: section.name().map_err(elf)?,
                instructions: decode(bytes, endian),
                links: HashMap::default(),
            });
        }
        for symbol in file.symbols().filter(|symbol| symbol.kind() == object::SymbolKind::Text) {
            let place = symbol.section_index().and_then(|index| place_of.get(&index));
            let (Some(&section), Ok(name)) = (place, symbol.name()) else { continue };
            let instruction = (symbol.address() / INSTRUCTION as u64) as u32;
            let len = (symbol.size() / INSTRUCTION as u64) as u32;
            let end = code.sections[section as usize].instructions.len() as u64;
            if len > 0 && u64::from(instruction) + u64::from(len) <= end {
                let start = Place { section, instruction };
                code.functions.push(Function { name, start, len, global: symbol.is_global() });
            }
        }
        code.functions.sort_by_key(|function| (function.start, function.name));
        code.functions.dedup_by_key(|function| function.start);
        code.link(&file, &place_of)?;
        Ok(code)
    }

    fn link(
        &mut self,
        file: &object::File<'a>,
        place_of: &HashMap<SectionIndex, u32, foldhash::fast::FixedState>,
    ) -> Result<()> {
        // A symbol's name is read once, however many instructions it is linked to.
        let mut names: HashMap<_, Arc<str>, foldhash::fast::FixedState> = HashMap::default();
        for section in file.sections() {
            let Some(&index) = place_of.get(&section.index()) else { continue };
            let code = &mut self.sections[index as usize];
            for (offset, relocation) in section.relocations() {
                let number = (offset / INSTRUCTION as u64) as u32;
                let (Some(instruction), RelocationTarget::Symbol(symbol)) =
                    (code.instructions.get(number as usize), relocation.target())
                else {
                    continue;
                };
                let (number_of_symbol, Ok(symbol)) = (symbol, file.symbol_by_index(symbol)) else { continue };
                let link = match symbol.section_index() {
                    None => {
                        let name = names.entry(number_of_symbol);
                        let name = name.or_insert_with(|| symbol.name().unwrap_or_default().into());
                        Link::Extern { name: name.clone(), weak: symbol.is_weak() }
                    }
                    Some(target) => {
                        let Some(&target) = place_of.get(&target) else { continue };
                        // A call counts from the next instruction, an address in bytes.
                        let base = (symbol.address() / INSTRUCTION as u64) as i64;
                        let imm = i64::from(instruction.imm);
                        let at = if instruction.is_call() {
                            base + imm + 1
                        } else {
                            base + imm / INSTRUCTION as i64
                        };
                        let Ok(at) = u32::try_from(at) else { continue };
                        Link::Function(Place { section: target, instruction: at })
                    }
                };
                code.links.insert(number, link);
            }
        }
        Ok(())
    }

    /// The programs: what a loader loads by itself.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Function<'a>> {
        self.functions
            .iter()
            .filter(|function| function.global && self.section(function.start).name != ".text")
    }

    pub(crate) fn section(&self, place: Place) -> &CodeSection<'a> {
        &self.sections[place.section as usize]
    }

    /// The function that starts at a place.
    pub(crate) fn function_at(&self, place: Place) -> Option<&Function<'a>> {
        let found = self.functions.binary_search_by_key(&place, |function| function.start).ok()?;
        Some(&self.functions[found])
    }

    /// The section of this name.
    pub(crate) fn section_named(&self, name: &[u8]) -> Option<u32> {
        self.sections.iter().position(|section| section.name.as_bytes() == name).map(|at| at as u32)
    }
}

impl Instruction {
    /// The class (`BPF_CLASS`).
    pub(crate) fn class(self) -> u8 {
        self.opcode & 7
    }

    pub(crate) fn is_call(self) -> bool {
        matches!(self.class(), 5 | 6) && self.opcode & 0xf0 == 0x80
    }

    /// `BPF_LD | BPF_IMM | BPF_DW`, which takes two instructions.
    pub(crate) fn is_wide(self) -> bool {
        self.opcode == 0x18
    }
}

fn decode(bytes: &[u8], endian: Endian) -> Vec<Instruction> {
    let decode = |raw: &[u8; INSTRUCTION]| {
        let imm = [raw[4], raw[5], raw[6], raw[7]];
        let offset = [raw[2], raw[3]];
        // Which half of the byte is which register depends on the byte order.
        let (low, high) = (raw[1] & 15, raw[1] >> 4);
        match endian {
            Endian::Little => Instruction {
                opcode: raw[0],
                dst: low,
                src: high,
                offset: i16::from_le_bytes(offset),
                imm: i32::from_le_bytes(imm),
            },
            Endian::Big => Instruction {
                opcode: raw[0],
                dst: high,
                src: low,
                offset: i16::from_be_bytes(offset),
                imm: i32::from_be_bytes(imm),
            },
        }
    };
    bytes.as_chunks::<INSTRUCTION>().0.iter().map(decode).collect()
}
