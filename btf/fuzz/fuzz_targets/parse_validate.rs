//! Any bytes give an error or a view of which every part can be read, described and compared, without a panic and in little memory.

#![no_main]

use btf::{Btf, TypeId, ValidateOptions, compare, describe, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(btf) = Btf::parse(data) else { return };
    let valid = validate(&btf, &ValidateOptions::default());
    for ty in btf.types() {
        let Ok(ty) = ty else {
            assert!(valid.is_err(), "a type of unknown kind is valid");
            continue;
        };
        let elements = ty.members().len() + ty.enumerators().len() + ty.params().len() + ty.section_vars().len();
        let mut vlen = ty.vlen() as usize;
        if ty.kind().payload().element == 0 {
            vlen = 0;
        }
        assert_eq!(elements, vlen);
        let described = describe(&btf, ty.id());
        if valid.is_ok() {
            described.expect("a valid type can be described");
        }
    }
    assert!(btf.ty(TypeId(btf.type_count())).is_err());
    match compare(&btf, &btf) {
        Ok(comparison) => assert!(comparison.is_equal(), "{comparison}"),
        Err(_) => assert!(compare(&btf, &btf).is_err()),
    }
});
