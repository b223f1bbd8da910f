//! Any bytes as a kernel and an object: the check, with its walk through the programs, ends with a report.
//!
//! The first four bytes are the length of the kernel's BTF, little-endian; the object follows it.

#![no_main]

use btf_minimize::Kernel;
use btf_minimize::check::{Checker, Facts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((len, data)) = data.split_first_chunk() else { return };
    let Some((kernel, object)) = data.split_at_checked(u32::from_le_bytes(*len) as usize) else { return };
    let (Ok(kernel), Ok(checker)) = (Kernel::open(kernel), Checker::parse(object)) else { return };
    let _ = checker.check(&kernel, &Facts { own_btf: Some(false), config: None });
});
