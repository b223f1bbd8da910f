//! LZ4's legacy format, which the kernel's build still writes (`lz4 -l`): a magic number, then blocks of a length in 4 bytes,
//! little-endian, each unpacking to 8 MiB, the last to what is left.
//!
//! The format has no end of its own. Behind its last block a kernel image has the unpacked size in 4 bytes, which cannot be told
//! from a length; so the input ends it: where no whole block follows, there is none.

use std::io::{self, BufRead, Read};

const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// Bytes that a block unpacks to, the last one excepted.
const BLOCK: usize = 8 << 20;
/// The longest that LZ4 can make of them.
const PACKED: usize = BLOCK + BLOCK / 255 + 16;

/// A decoder of the legacy format.
pub(crate) struct Legacy<R> {
    input: R,
    block: Vec<u8>,
    read: usize,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Beginning,
    Between,
    /// A short block was the last.
    End,
}

impl<R: BufRead> Legacy<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, block: Vec::new(), read: 0, state: State::Beginning }
    }

    pub(crate) fn get_ref(&self) -> &R {
        &self.input
    }

    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// Unpacks the next block; `false` at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let broken = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
        let mut word = [0; 4];
        if self.state == State::Beginning {
            self.input.read_exact(&mut word)?;
            if word != MAGIC {
                return Err(broken("it has not the magic number of legacy LZ4"));
            }
            self.state = State::Between;
        }
        if self.state == State::End || self.input.fill_buf()?.is_empty() {
            return Ok(false);
        }
        self.input.read_exact(&mut word)?;
        let len = u32::from_le_bytes(word) as usize;
        // Files can be appended to each other; kernels never are.
        if len > PACKED || len == 0 {
            return Err(broken("a block is longer than the format allows"));
        }
        let mut packed = Vec::new();
        self.input.by_ref().take(len as u64).read_to_end(&mut packed)?;
        if packed.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.block.resize(BLOCK, 0);
        let unpacked = lz4_flex::block::decompress_into(&packed, &mut self.block)
            .map_err(|error| broken(&format!("a block cannot be decoded: {error}")))?;
        self.block.truncate(unpacked);
        self.read = 0;
        if unpacked < BLOCK {
            self.state = State::End;
        }
        Ok(true)
    }
}

impl<R: BufRead> Read for Legacy<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.block.len() - self.read);
        buffer[..count].copy_from_slice(&self.block[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}
