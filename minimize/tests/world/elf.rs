//! A BPF object around given BTF and relocations: each relocation is on the first instruction of a program of its own.

use btf::{Builder, Endian, MAGIC};

use super::World;
use super::rules::{Relo, Rules};

/// `r0 = imm`, `r0 = *(size *)(r1 + off)`, `exit`.
const MOV: u8 = 0xb7;
const LDX: u8 = 0x61;
const EXIT: u8 = 0x95;

/// Name of the section of all programs.
pub(crate) const SECTION: &str = "raw_tp/test";

/// Writes an ELF file for BPF with a program `p0`, `p1`, … for each relocation.
pub(crate) fn object(world: &World, relos: &[Relo], endian: Endian) -> Vec<u8> {
    let own = Rules { local: world, target: world, target_pointer: 8, endian };
    let mut code = Vec::new();
    for relo in relos {
        let (value, size, _) = own.local_value(relo).unwrap_or_default();
        code.extend(instruction(relo, value, size, endian));
        code.extend([EXIT, 0, 0, 0, 0, 0, 0, 0]);
    }
    let (btf, ext) = btf_sections(world, relos, endian);
    let names: Vec<String> = (0..relos.len()).map(|at| format!("p{at}")).collect();
    elf(&code, &names, &btf, &ext, endian)
}

fn instruction(relo: &Relo, value: u64, size: u32, endian: Endian) -> Vec<u8> {
    if relo.load && relo.kind == 0 {
        let code = match size {
            1 => 0x71,
            2 => 0x69,
            8 => 0x79,
            _ => LDX,
        };
        let registers = if endian == Endian::Little { 0x10 } else { 0x01 };
        let offset = endian.u16_bytes(value as u16);
        [vec![code, registers], offset.to_vec(), vec![0; 4]].concat()
    } else {
        [vec![MOV, 0, 0, 0], endian.u32_bytes(value as u32).to_vec()].concat()
    }
}

/// `.BTF` and `.BTF.ext`. The access strings are strings of the BTF, so it is built twice: a struct at its end holds them.
fn btf_sections(world: &World, relos: &[Relo], endian: Endian) -> (Vec<u8>, Vec<u8>) {
    let plain = world.encode(endian);
    let btf = btf::Btf::parse(&plain).unwrap();
    let mut builder = Builder::new();
    for ty in btf.types() {
        builder.add_copy(&btf, &ty.unwrap(), |id| id).unwrap();
    }
    let section = builder.string(SECTION.as_bytes()).0;
    let mut words = vec![16, section, relos.len() as u32];
    for (at, relo) in relos.iter().enumerate() {
        let access = relo.access.iter().map(ToString::to_string).collect::<Vec<_>>().join(":");
        words.extend([at as u32 * 16, relo.root as u32, builder.string(access.as_bytes()).0, relo.kind]);
    }
    let mut ext = endian.u16_bytes(MAGIC).to_vec();
    ext.extend([1, 0]);
    let len = words.len() as u32 * 4;
    // libbpf wants the tables of functions and lines to be there or to have no bytes.
    for word in [32, 0, 0, 0, 0, 0, len].into_iter().chain(words) {
        ext.extend(endian.u32_bytes(word));
    }
    (builder.finish(endian).unwrap(), ext)
}

/// A section, as its header tells it.
struct Section<'s> {
    name: u32,
    kind: u32,
    flags: u64,
    bytes: &'s [u8],
    link: [u32; 2],
    entry: u64,
}

fn elf(code: &[u8], functions: &[String], btf: &[u8], ext: &[u8], endian: Endian) -> Vec<u8> {
    let (u16b, u32b) = (|value| endian.u16_bytes(value), |value| endian.u32_bytes(value));
    let u64b = |value: u64| match endian {
        Endian::Little => value.to_le_bytes(),
        Endian::Big => value.to_be_bytes(),
    };
    let mut strings = vec![0];
    let mut string = |text: &str| {
        let at = strings.len() as u32;
        strings.extend(text.bytes());
        strings.push(0);
        at
    };
    let mut symbols = vec![0u8; 24];
    for (at, name) in functions.iter().enumerate() {
        symbols.extend(u32b(string(name)));
        symbols.extend([0x12, 0]); // global function
        symbols.extend(u16b(1));
        symbols.extend(u64b(at as u64 * 16));
        symbols.extend(u64b(16));
    }
    let names = [SECTION, ".BTF", ".BTF.ext", ".symtab", ".strtab"].map(&mut string);
    let section =
        |at: usize, kind, bytes| Section { name: names[at], kind, flags: 0, bytes, link: [0, 0], entry: 0 };
    let sections = [
        Section { flags: 6, ..section(0, 1, code) },
        section(1, 1, btf),
        section(2, 1, ext),
        Section { link: [5, 1], entry: 24, ..section(3, 2, &symbols) },
        section(4, 3, &strings),
    ];
    let mut file = vec![0u8; 64];
    let mut headers = vec![0u8; 64];
    for Section { name, kind, flags, bytes, link, entry } in sections {
        file.resize(file.len().next_multiple_of(8), 0);
        headers.extend([u32b(name), u32b(kind)].concat());
        headers.extend([flags, 0, file.len() as u64, bytes.len() as u64].map(u64b).concat());
        headers.extend(link.map(u32b).concat());
        headers.extend([1, entry].map(u64b).concat());
        file.extend(bytes);
    }
    file.resize(file.len().next_multiple_of(8), 0);
    let table = file.len() as u64;
    file.extend(headers);
    let order = if endian == Endian::Little { 1 } else { 2 };
    let mut header = b"\x7fELF\x02".to_vec();
    header.extend([order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    header.extend([u16b(1), u16b(247)].concat());
    header.extend(u32b(1));
    header.extend([u64b(0), u64b(0), u64b(table)].concat());
    header.extend(u32b(0));
    header.extend([64u16, 0, 0, 64, 6, 5].map(u16b).concat());
    file[..64].copy_from_slice(&header);
    file
}
