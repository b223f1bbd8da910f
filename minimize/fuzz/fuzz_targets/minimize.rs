//! Any bytes as a kernel and an object: what is minimised resolves as the whole does.
//!
//! The first four bytes are the length of the kernel's BTF, little-endian; the object follows it.

#![no_main]

use btf_minimize::{Error, Kernel, Object, minimize, resolve};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((len, data)) = data.split_first_chunk() else { return };
    let Some((kernel, object)) = data.split_at_checked(u32::from_le_bytes(*len) as usize) else { return };
    let (Ok(kernel), Ok(object)) = (Kernel::open(kernel), Object::parse(object)) else { return };
    let whole = resolve(&kernel, &object);
    match minimize(&kernel, std::slice::from_ref(&object)) {
        Ok(minimized) => {
            let small = Kernel::open(&minimized.btf).unwrap();
            for (whole, minimal) in whole.iter().zip(resolve(&small, &object)) {
                assert_eq!(whole.is_ok(), minimal.is_ok());
            }
        }
        Err(error) => assert!(!matches!(error, Error::SelfCheck { .. }), "{error}"),
    }
});
