//! A whole RPM package from the fuzzer: error or kernel, never a panic, never more memory than the limits say.
#![no_main]

use btfgen::package::{self, Options};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|package: &[u8]| {
    // Behind the lead, which says nothing.
    let mut bytes = vec![0; 96];
    bytes[..4].copy_from_slice(b"\xed\xab\xee\xdb");
    bytes.extend_from_slice(package);
    let options = Options { threads: 2, whole: true, memory: 16 << 20, ..Options::default() };
    if let Ok(kernel) = package::read(&bytes[..], &options) {
        assert!(kernel.file.held() <= (16 << 20) + (1 << 20));
    }
});
