//! A module on a base, both from the same bytes: split, distilled, flattened and merged, each an error or BTF that can be read and says what the
//! module's said. The first two bytes tell the length of the base.

#![no_main]

#[path = "../../tests/meaning/mod.rs"]
mod meaning;

use btf::{BaseIndex, Btf, distill, flatten, merge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((len, data)) = data.split_first_chunk::<2>() else { return };
    let len = usize::from(u16::from_le_bytes(*len)).min(data.len());
    let Ok(base) = Btf::parse(&data[..len]) else { return };
    if let Ok(split) = Btf::parse_split(&data[len..], &base) {
        if let Ok(distilled) = distill(&split) {
            let base = Btf::parse(&distilled.base).expect("a distilled base can be read");
            Btf::parse_split(&distilled.split, &base).expect("split BTF on a distilled base can be read");
        }
        if let Ok(flat) = flatten(&split) {
            let flat = flat.finish(base.endian()).unwrap();
            let flat = Btf::parse(&flat).expect("flattened BTF can be read");
            split_on(&base, &flat);
        }
        let _ = merge(&base, [&split]);
    }
    if let Ok(module) = Btf::parse(&data[len..]) {
        split_on(&base, &module);
        let _ = merge(&base, [&module]);
    }
    split_on(&base, &base);
});

fn split_on(base: &Btf<'_>, module: &Btf<'_>) {
    let Ok(index) = BaseIndex::of(base) else { return };
    let Ok(split) = index.split(module) else { return };
    let data = split.builder.finish(base.endian()).unwrap();
    let read = Btf::parse_split(&data, base).expect("split BTF can be read");
    assert_eq!(split.builder.len(), read.types().len());
    meaning::assert_kept(module, &read, &split.ids);
}
