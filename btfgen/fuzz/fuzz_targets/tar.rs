//! The tar archive in a package, not compressed.
#![no_main]

use libfuzzer_sys::fuzz_target;

mod member;

fuzz_target!(|data: &[u8]| member::read("data.tar", data));
