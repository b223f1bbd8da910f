//! Any bytes as the sections `.BTF` and `.BTF.ext` of an object that is well-formed otherwise: an error, or relocations that can be told and resolved against the
//! object's own types.
//!
//! The first two bytes are the length of `.BTF`, little-endian; `.BTF.ext` follows it.

#![no_main]

use btf_minimize::{Kernel, Object, minimize, resolve};
use libfuzzer_sys::fuzz_target;

const NAMES: &[u8] = b"\0.BTF\0.BTF.ext\0.shstrtab\0";
const HEADER: usize = 64;

/// An ELF file for BPF with these sections.
fn elf(btf: &[u8], ext: &[u8]) -> Vec<u8> {
    let sections = HEADER + btf.len() + ext.len() + NAMES.len();
    let mut file = vec![0; HEADER];
    file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    for (at, half) in [(16, 1u16), (18, 247), (20, 1), (52, 64), (58, 64), (60, 4), (62, 3)] {
        file[at..at + 2].copy_from_slice(&half.to_le_bytes());
    }
    file[40..48].copy_from_slice(&(sections as u64).to_le_bytes());
    file.extend([btf, ext, NAMES].concat());
    file.extend([0; 64]);
    let mut place = HEADER;
    for (name, kind, len) in [(1u32, 1u32, btf.len()), (6, 1, ext.len()), (15, 3, NAMES.len())] {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[24..32].copy_from_slice(&(place as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(len as u64).to_le_bytes());
        file.extend(header);
        place += len;
    }
    file
}

fuzz_target!(|data: &[u8]| {
    let Some((len, data)) = data.split_first_chunk() else { return };
    let Some((btf, ext)) = data.split_at_checked(u16::from_le_bytes(*len).into()) else { return };
    let file = elf(btf, ext);
    let Ok(object) = Object::parse(&file) else { return };
    for relocation in object.relocations() {
        let _ = (object.describe(relocation), object.function(relocation), object.source_line(relocation));
    }
    let Ok(kernel) = Kernel::open(btf) else { return };
    let whole = resolve(&kernel, &object);
    let hinted = Kernel::open_for(btf, std::slice::from_ref(&object)).unwrap();
    assert_eq!(whole, resolve(&hinted, &object));
    if let Ok(minimized) = minimize(&kernel, std::slice::from_ref(&object)) {
        let small = Kernel::open(&minimized.btf).unwrap();
        assert_eq!(resolve(&small, &object).len(), whole.len());
    }
});
