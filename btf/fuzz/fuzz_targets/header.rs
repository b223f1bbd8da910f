//! Types as C: an answer or an error, for any BTF, and no more C than a multiple of it.

#![no_main]

use btf::Btf;
use btf::c::{HeaderOptions, header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(btf) = Btf::parse(data) else { return };
    let Ok(text) = header(&btf, &HeaderOptions::default()) else { return };
    assert!(text.len() <= (1 << 16) * 600 + data.len() * 300, "{} bytes of C for {} bytes", text.len(), data.len());
    assert!(text.is_ascii());
});
