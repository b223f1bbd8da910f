//! Deduplicated BTF can be read, is valid if what it was made of was, and has nothing left to deduplicate.

#![no_main]

use btf::{Btf, Endian, ValidateOptions, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(btf) = Btf::parse(data) else { return };
    let Ok(once) = btf::dedup::dedup(&btf) else { return };
    let once = once.finish(Endian::Little).expect("what fits into memory fits into a blob");
    let once = Btf::parse(&once).expect("what was built can be read");
    assert!(once.type_count() <= btf.type_count());
    if validate(&btf, &ValidateOptions::default()).is_ok() {
        validate(&once, &ValidateOptions::default()).expect("what was valid stays valid");
        let twice = btf::dedup::dedup(&once).expect("what is whole stays whole");
        let twice = twice.finish(Endian::Little).expect("what fits into memory fits into a blob");
        let twice = Btf::parse(&twice).expect("what was built can be read");
        assert_eq!(twice.type_count(), once.type_count());
    }
});
