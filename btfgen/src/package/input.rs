//! The package as it comes in: counted and hashed.

use std::io::{self, Read};

use btf_archive::Digest;
use sha2::{Digest as _, Sha256};

use super::Error;

/// A reader that knows its offset and the sha256 of what it read.
pub(super) struct Input<R> {
    inner: R,
    offset: u64,
    sha256: Sha256,
    ended: bool,
}

impl<R: Read> Input<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, offset: 0, sha256: Sha256::new(), ended: false }
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The sha256 of the input, if it was read to its end.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.ended.then(|| Digest::from_bytes(self.sha256.clone().finalize().into()))
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = loop {
            match self.inner.read(buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Input { offset: self.offset, source }.into()),
            }
        };
        self.sha256.update(&buffer[..count]);
        self.offset += count as u64;
        self.ended |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}
