//! An ELF file with DWARF from the fuzzer: BTF or an error, never a panic, and the same on two threads as on one.
#![no_main]

use btfgen::vmlinux::{self, From};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    if let Ok(alone) = vmlinux::extract(&file, From::Dwarf, 1) {
        let together = vmlinux::extract(&file, From::Dwarf, 2).expect("what one thread converts, two do");
        assert_eq!((alone.btf, alone.report), (together.btf, together.report));
    }
});
