//! The validator and the running kernel (Linux 6.18) agree on any blob of the machine's byte order. Needs root.

#![no_main]

#[path = "../../tests/judge/mod.rs"]
mod judge;

use btf::{Btf, Endian, ValidateOptions, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(btf) = Btf::parse(data) else {
        // Headers shorter than 24 bytes can be valid to the kernel in theory; nobody writes them.
        if data.get(4..8).is_some_and(|len| u32::from_ne_bytes(len.try_into().unwrap()) >= 24) {
            assert!(!judge::kernel_accepts(data), "the kernel accepts what cannot be read: {:?}", Btf::parse(data));
        }
        return;
    };
    if btf.endian() != Endian::NATIVE || btf.has_layout() || sums_wrap(&btf) || pointer_size_differs(&btf) {
        return;
    }
    let ours = validate(&btf, &ValidateOptions::default());
    let agree = judge::kernel_accepts(data) == ours.is_ok();
    assert!(agree, "the kernel says {:?}, the validator {ours:?}", judge::kernel_says(data));
});

/// The kernel adds offset and size of a variable in 32 bits; the validator is stricter on purpose.
fn sums_wrap(btf: &Btf<'_>) -> bool {
    btf.types().flatten().any(|ty| ty.section_vars().any(|var| var.offset.checked_add(var.size).is_none()))
}

fn pointer_size_differs(btf: &Btf<'_>) -> bool {
    btf.pointer_size().is_some_and(|size| size as usize != size_of::<usize>())
}
