//! A bootable kernel from the fuzzer: what is found is valid BTF of a kernel.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|image: &[u8]| {
    if let Ok(found) = btfgen::image::find(image) {
        assert!(found.btf.len() > 24);
    }
});
