//! A Debian package read in parts. The first byte says what the rest is: a tar, which is compressed in blocks as dpkg-deb does (the more, the smaller), or,
//! for 0, an xz stream. What is found is vmlinux, and lies in the tar.
#![no_main]

use std::io::Write as _;

use btfgen::package;
use libfuzzer_sys::fuzz_target;
use liblzma::stream::MtStreamBuilder;
use liblzma::write::XzEncoder;

mod member;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, rest)) = data.split_first() else { return };
    let package = match cut {
        0 => member::package("data.tar.xz", rest),
        _ => member::package("data.tar.xz", &blocks(rest, u64::from(cut) * 64)),
    };
    if let Ok((path, bytes)) = package::fuzzing::in_parts(&package) {
        assert!(path.contains("vmlinux"));
        // All of it is in the tar.
        assert!(cut == 0 || bytes.len() <= rest.len());
    }
});

fn blocks(tar: &[u8], size: u64) -> Vec<u8> {
    let stream = MtStreamBuilder::new().threads(1).block_size(size).preset(0).encoder().unwrap();
    let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}
