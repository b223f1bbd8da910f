//! Doors for the fuzzer to readers that otherwise lie behind checksums and servers.

use std::ops::Range;

use super::cpio::Cpio;
use super::rpm::Listed;
use super::sparse::{Parts, Sparse, SparseFile};
use super::{Error, Places};
use crate::elf::ReadAt as _;

/// A package in memory, as if a server had it.
struct Slice<'p>(&'p [u8]);

impl Parts for Slice<'_> {
    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.0.len());
        Ok(self.0[within(range.start)..within(range.end).max(within(range.start))].to_vec())
    }

    fn tail(&self, count: u64) -> Result<(u64, Vec<u8>), Error> {
        let start = self.0.len() - usize::try_from(count).unwrap_or(usize::MAX).min(self.0.len());
        Ok((start as u64, self.0[start..].to_vec()))
    }
}

/// Path and bytes of the vmlinux in a Debian package, read in parts.
///
/// # Errors
/// What the reader says.
pub fn in_parts(package: &[u8]) -> Result<(String, Vec<u8>), Error> {
    let parts = Slice(package);
    let sparse = Sparse::open(&parts)?;
    let located = sparse.vmlinux(None, &Places::default())?;
    let path = located.path.clone();
    let file = SparseFile::new(&sparse, located);
    let len = usize::try_from(file.len().min(64 << 20)).unwrap_or(0);
    let bytes = file.read_at(0, len).map_err(|source| Error::Input { offset: 0, source })?;
    Ok((path, bytes.into_owned()))
}

/// Number of members and of bytes in a cpio archive, whose package's header lists files of these sizes.
///
/// # Errors
/// What the reader says.
pub fn cpio(archive: &[u8], sizes: &[u32]) -> Result<(usize, u64), Error> {
    let listed = |(number, &size): (usize, &u32)| Listed {
        path: format!("boot/vmlinux-{number}").into_bytes(),
        size: u64::from(size),
        mode: 0o100_644,
        ghost: number % 5 == 4,
    };
    let mut cpio = Cpio::new(archive, sizes.iter().enumerate().map(listed).collect());
    let (mut members, mut read) = (0, 0);
    let mut buffer = [0; 4096];
    while cpio.next_member()?.is_some() {
        members += 1;
        loop {
            match cpio.read_data(&mut buffer)? {
                0 => break,
                count => read += count as u64,
            }
        }
    }
    Ok((members, read))
}
