//! An ELF file with DWARF and the supplementary file that it refers to, behind each other: BTF or an error, never a panic. The first four
//! bytes are the length of the first file, little-endian.
#![no_main]

use btfgen::vmlinux::{self, From};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((len, files)) = data.split_first_chunk() else { return };
    let Some((file, supplementary)) = files.split_at_checked(u32::from_le_bytes(*len) as usize) else { return };
    let _ = vmlinux::extract_with(&file, Some(&supplementary), From::Dwarf, 1);
});
