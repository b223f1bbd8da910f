//! A whole package from the fuzzer: error or kernel, never a panic, never more memory than the limits say.
//!
//! `cargo +nightly fuzz run deb`, with real packages as a corpus to begin with.
#![no_main]

use btfgen::package::{self, Options};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|package: &[u8]| {
    let options = Options { threads: 2, whole: true, memory: 16 << 20, ..Options::default() };
    if let Ok(kernel) = package::read(package, &options) {
        assert_eq!(kernel.bytes_read, package.len() as u64);
        assert!(kernel.file.held() <= (16 << 20) + (1 << 20));
    }
});
