//! What is read and built again, in either byte order, says the same, and is valid if and only if the original was.

#![no_main]

use btf::{Btf, Builder, Endian, Ref, StrOffset, ValidateOptions, validate, visit_refs};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(btf) = Btf::parse(data) else { return };
    let mut builder = Builder::new();
    for ty in btf.types() {
        let Ok(ty) = ty else { return };
        if builder.add_copy(&btf, &ty, |id| id).is_err() {
            return;
        }
    }
    let valid = validate(&btf, &ValidateOptions::default());
    for endian in [Endian::Little, Endian::Big] {
        let blob = builder.finish(endian).expect("what fits into memory fits into a blob");
        let again = Btf::parse(&blob).expect("what was built can be read");
        assert_eq!(again.types().len(), btf.types().len());
        for (old, new) in btf.types().zip(again.types()) {
            assert_eq!(record(&btf, &old.unwrap()), record(&again, &new.unwrap()));
        }
        let valid_again = validate(&again, &ValidateOptions::default());
        // Names are written anew, so that an empty name that is not offset 0 becomes offset 0, and strings come last.
        if valid.is_ok() {
            valid_again.expect("what was valid stays valid");
        }
    }
});

/// A type's words and texts, whatever byte order and string offsets it has.
fn record(btf: &Btf<'_>, ty: &btf::Type<'_>) -> (Vec<u32>, Vec<Vec<u8>>) {
    let mut words: Vec<u32> = ty.words().collect();
    let mut texts = Vec::new();
    visit_refs(&mut words, |what, word| {
        if what == Ref::String {
            texts.push(btf.string(StrOffset(*word)).unwrap().to_vec());
            *word = 0;
        }
    });
    (words, texts)
}
