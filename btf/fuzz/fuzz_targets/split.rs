//! Split BTF on a base, both from the same bytes: an error or a view, without a panic. The first two bytes tell the length of the base.

#![no_main]

use btf::{Btf, ValidateOptions, compare, describe, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((len, data)) = data.split_first_chunk::<2>() else { return };
    let len = usize::from(u16::from_le_bytes(*len)).min(data.len());
    let Ok(base) = Btf::parse(&data[..len]) else { return };
    let Ok(split) = Btf::parse_split(&data[len..], &base) else { return };
    let valid_base = validate(&base, &ValidateOptions::default());
    let valid = validate(&split, &ValidateOptions::default());
    for ty in split.types().flatten() {
        let described = describe(&split, ty.id());
        if valid.is_ok() && valid_base.is_ok() {
            described.expect("a valid type can be described");
        }
    }
    if let Ok(comparison) = compare(&split, &split) {
        assert!(comparison.is_equal(), "{comparison}");
    }
});
