//! Any bytes as a base and a delta on it: an error, or a blob of the promised digest and no more than the allowed size.
//!
//! `cargo +nightly fuzz run delta`, from `archive/`. The first two bytes tell the length of the base; the header is made good, since digests
//! are no riddle that a fuzzer should have to solve, and frames may be stored as they are.

#![no_main]

use btf_archive::Digest;
use btf_archive::delta::{self, Header};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((len, data)) = data.split_first_chunk::<2>() else { return };
    let len = usize::from(u16::from_le_bytes(*len)).min(data.len());
    let (base, data) = data.split_at(len);
    if let Ok(raw) = delta::decode(base, data, LIMIT) {
        assert_eq!(Digest::of(&raw), Header::parse(data).unwrap().digest);
    }
    let mut made = b"BTFDELTA\x01\x01\x01\0".to_vec();
    let Some((method, rest)) = data.split_first() else { return };
    made[9] = 1 + method % 2;
    let Some((size, rest)) = rest.split_first_chunk::<2>() else { return };
    made.extend([size[0], size[1], 0, 0]);
    made.extend([0; 64]);
    // One frame, as it is.
    made.push(1);
    for _ in 0..2 {
        made.extend([rest.len() as u8 | 0x80, (rest.len() >> 7) as u8 | 0x80, (rest.len() >> 14) as u8 & 0x7f]);
    }
    made.extend_from_slice(rest);
    if let Ok(raw) = delta::unverified(base, &made, LIMIT) {
        assert_eq!(raw.len(), usize::from(u16::from_le_bytes(*size)));
    }
});
