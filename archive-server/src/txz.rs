//! BTFHub's form of a kernel's BTF: a `.tar.xz` with one member, `{release}.btf`.
//!
//! The tar is what GNU tar writes for `tar -c --sort=name --owner=root:0 --group=root:0 --mode=a=r --mtime=@0`, the xz
//! stream what liblzma writes for `xz -6`: the same input always gives the same bytes.

use std::io::{self, Write};
use std::ops::Range;

use liblzma::write::XzEncoder;

/// Changes whenever the same input would give other bytes, which a new liblzma may do: it is part of the entity tag.
/// A test pins the bytes and tells when.
pub(crate) const EDITION: &str = "txz1";

/// `xz` without an option.
const PRESET: u32 = 6;

/// GNU tar writes records of 20 blocks.
const RECORD: usize = 20 * 512;

/// Where a header has the sum of its bytes.
const CHECKSUM: Range<usize> = 148..156;

/// Encodes raw BTF for this kernel release. Takes about half a second for every MiB.
///
/// # Errors
/// A release of more than 96 bytes, for which the tar format has no room (`uname -r` has at most 64); those of liblzma.
pub(crate) fn encode(release: &str, btf: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(btf.len() as u64);
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    header.set_mtime(0);
    header.set_path(format!("{release}.btf"))?;
    header.set_cksum();
    // The same number as GNU tar writes it: six digits, a zero byte, a space.
    let sum = format!("{:06o}\0 ", header.cksum()?);
    header.as_mut_bytes()[CHECKSUM].copy_from_slice(sum.as_bytes());
    let mut counted = Counted { inner: XzEncoder::new(Vec::new(), PRESET), written: 0 };
    let mut tar = tar::Builder::new(&mut counted);
    tar.append(&header, btf)?;
    tar.finish()?;
    drop(tar);
    let padding = counted.written.next_multiple_of(RECORD) - counted.written;
    counted.write_all(&vec![0; padding])?;
    counted.inner.finish()
}

struct Counted<W> {
    inner: W,
    written: usize,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.written += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use btf_archive::Digest;

    use super::*;

    /// Check that the bytes are those of this edition. If liblzma changed them, count [`EDITION`] up and pin the new ones.
    #[test]
    fn edition() {
        let btf: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7 * 31).to_le_bytes()).collect();
        let encoded = encode("6.1.0-1-686-pae", &btf).unwrap();
        insta::assert_snapshot!(format!("{EDITION} {} {}", encoded.len(), Digest::of(&encoded)), @"txz1 16520 8fd8c34aa12953c7821985a52d438c6fbc94f8cb976c968278e87aa3ca5486ac");
    }
}
