//! Any bytes as a kernel, a module and an object: an error, or minimised BTF on which the object resolves as with the module.
//!
//! Lengths of kernel and module come first, two bytes each, little-endian.

#![no_main]

use btf_minimize::{Error, Kernel, Object, WithModules, minimize, resolve};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&[a, b, c, d], data)) = data.split_first_chunk() else { return };
    let Some((kernel, data)) = data.split_at_checked(u16::from_le_bytes([a, b]).into()) else { return };
    let Some((module, object)) = data.split_at_checked(u16::from_le_bytes([c, d]).into()) else { return };
    let (Ok(both), Ok(object)) = (WithModules::new(kernel, &[module]), Object::parse(object)) else { return };
    let kernel = both.open().unwrap();
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
