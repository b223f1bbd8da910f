//! Any bytes as a bundle: refused, or everything in it can be asked for, and what comes out has the digest it should have.
//!
//! `cargo +nightly fuzz run bundle`, from `archive/`; what `btf-minimize bundle` writes is a good seed.

#![no_main]

use btf_archive::Digest;
use btf_archive::bundle::Bundle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The length is no riddle that a fuzzer should have to solve.
    let mut data = data.to_vec();
    let len = data.len() as u32;
    if let Some(word) = data.get_mut(12..16) {
        word.copy_from_slice(&len.to_le_bytes());
    }
    let Ok(bundle) = Bundle::open(&data) else { return };
    for kernel in bundle.kernels() {
        let found = bundle.by_key(&kernel.key().parse().unwrap()).unwrap();
        assert_eq!((found.key(), found.blob()), (kernel.key(), kernel.blob()));
        for build_id in kernel.build_ids() {
            assert!(bundle.by_build_id(&build_id).is_some());
        }
        if let Ok(btf) = kernel.btf() {
            assert_eq!(Digest::of(&btf), kernel.digest());
        }
    }
});
