//! Any bytes as a BPF object: an error or relocations that can be told, never a panic.
//!
//! `cargo +nightly fuzz run object`, from `minimize/`; the sample programs under `data/bpf`, compiled, are good seeds.

#![no_main]

use btf_minimize::Object;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(object) = Object::parse(data) {
        for relocation in object.relocations() {
            let _ = (object.describe(relocation), object.function(relocation), object.source_line(relocation));
        }
    }
});
