//! A package whose data member comes from the fuzzer, so that it need not find out how to build the rest.

use btfgen::package::{self, Options};

/// A package with a member of this name and these bytes; the rest of it is good.
pub fn package(name: &str, data: &[u8]) -> Vec<u8> {
    let control = control_tar();
    let mut package = b"!<arch>\n".to_vec();
    for (name, data) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), (name, data)] {
        package.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", data.len()).bytes());
        package.extend_from_slice(data);
        package.resize(package.len().next_multiple_of(2), b'\n');
    }
    package
}

/// Reads such a package.
#[allow(dead_code, reason = "some targets read it otherwise")]
pub fn read(name: &str, data: &[u8]) {
    let options = Options { threads: 2, whole: true, memory: 16 << 20, ..Options::default() };
    let _ = package::read(&package(name, data)[..], &options);
}

/// One file, `control`, and the end of the archive.
fn control_tar() -> Vec<u8> {
    let text = b"Package: linux-image-1-dbg\nVersion: 1\nArchitecture: all\n";
    let mut tar = vec![0; 4 * 512];
    tar[..7].copy_from_slice(b"control");
    tar[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
    tar[148..157].copy_from_slice(b"        0");
    tar[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = tar[..512].iter().copied().map(u32::from).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar[512..512 + text.len()].copy_from_slice(text);
    tar
}
