//! The xz stream in a package.
#![no_main]

use libfuzzer_sys::fuzz_target;

mod member;

fuzz_target!(|data: &[u8]| member::read("data.tar.xz", data));
