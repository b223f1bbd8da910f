//! Any two blobs: the delta of one on the other, if there is one, gives it back.
//!
//! `cargo +nightly fuzz run -s none delta_pairs`, from `archive/` (address sanitizers of gcc and LLVM do not agree about zstd's C); two small kernels' BTF behind the length of the first are a good seed.

#![no_main]

use btf_archive::Digest;
use btf_archive::delta::{self, Base};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((len, data)) = data.split_first_chunk::<2>() else { return };
    let len = usize::from(u16::from_le_bytes(*len)).min(data.len());
    let (base, raw) = data.split_at(len);
    let on = Base { digest: Digest::of(base), depth: 0, raw: base };
    if let Some(delta) = delta::encode(on, &Digest::of(raw), raw) {
        assert_eq!(delta::decode(base, &delta, raw.len()).expect("it was decoded before"), raw);
    }
});
