//! vmlinux kept in memory, compressed, readable at any offset.
//!
//! An ELF file's section table is at its end, so nothing can be thrown away while it streams by, and a kernel with its
//! debug information is 200 to 650 MB. The store keeps it as zstd level 1 in pieces of 1 MiB, about half of that or
//! less, and unpacks only what is read. `docs/decisions/0010-vmlinux-in-memory.md` compares the alternatives.

use std::borrow::Cow;
use std::io::{self, Read};

use rayon::prelude::*;

use super::Error;
use crate::elf::ReadAt;

/// Bytes in a piece before compression. Smaller pieces compress worse, larger ones cost more per scattered read.
const PIECE: usize = 1 << 20;
const LEVEL: i32 = 1;

/// A file in memory.
pub struct ChunkStore {
    len: u64,
    /// All but the last hold [`PIECE`] bytes.
    pieces: Vec<Piece>,
}

enum Piece {
    Raw(Box<[u8]>),
    Zstd(Box<[u8]>),
}

impl Piece {
    fn held(&self) -> usize {
        match self {
            Self::Raw(bytes) | Self::Zstd(bytes) => bytes.len(),
        }
    }
}

impl ChunkStore {
    /// Reads a whole file of at most `limit` bytes, as long as it takes no more than `memory` bytes compressed.
    pub(crate) fn read(mut file: impl Read, limit: u64, memory: u64) -> Result<Self, Error> {
        let input = |offset| move |source| Error::Input { offset, source };
        let mut builder = Builder::new().map_err(input(0))?;
        let mut buffer = vec![0; 128 << 10];
        let mut offset = 0;
        loop {
            let count = file.read(&mut buffer).map_err(input(offset))?;
            if count == 0 {
                return Ok(builder.finish());
            }
            builder.push(&buffer[..count]);
            offset += count as u64;
            if offset > limit || builder.held() > memory {
                let what = format!("more than {} MiB, or {} MiB compressed", limit >> 20, memory >> 20);
                return Err(Error::limit("the file", offset, what));
            }
        }
    }

    /// Bytes of memory that the file takes.
    pub fn held(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.held() as u64).sum()
    }

    /// Copies what piece `index` has from `skip` on to `target`, which ends within the piece.
    fn copy(&self, index: usize, skip: usize, target: &mut [u8]) -> io::Result<()> {
        match &self.pieces[index] {
            Piece::Raw(bytes) => target.copy_from_slice(&bytes[skip..skip + target.len()]),
            Piece::Zstd(bytes) if skip == 0 && target.len() == self.piece_len(index) => {
                let len = zstd::bulk::decompress_to_buffer(bytes, target)?;
                debug_assert_eq!(len, target.len());
            }
            Piece::Zstd(bytes) => {
                let whole = zstd::bulk::decompress(bytes, PIECE)?;
                target.copy_from_slice(&whole[skip..skip + target.len()]);
            }
        }
        Ok(())
    }

    fn piece_len(&self, index: usize) -> usize {
        // What is left of `len` from this piece on; the last piece may be short.
        let left = self.len - index as u64 * PIECE as u64;
        usize::try_from(left).unwrap_or(usize::MAX).min(PIECE)
    }
}

impl ReadAt for ChunkStore {
    fn len(&self) -> u64 {
        self.len
    }

    /// Large ranges are unpacked by several threads.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.len);
        let (Some(_), Ok(start)) = (end, usize::try_from(offset)) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if len == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let (first, skip) = (start / PIECE, start % PIECE);
        if let Piece::Raw(bytes) = &self.pieces[first]
            && skip + len <= bytes.len()
        {
            return Ok(Cow::Borrowed(&bytes[skip..skip + len]));
        }
        let mut bytes = vec![0; len];
        let (head, rest) = bytes.split_at_mut(len.min(PIECE - skip));
        self.copy(first, skip, head)?;
        rest.par_chunks_mut(PIECE)
            .enumerate()
            .try_for_each(|(index, target)| self.copy(first + 1 + index, 0, target))?;
        Ok(Cow::Owned(bytes))
    }
}

impl std::fmt::Debug for ChunkStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkStore").field("len", &self.len).field("held", &self.held()).finish()
    }
}

/// Fills a [`ChunkStore`] from the beginning.
pub(super) struct Builder {
    compressor: zstd::bulk::Compressor<'static>,
    /// The piece being filled.
    buffer: Vec<u8>,
    /// Where a piece is compressed to, before it is known how long it becomes.
    scratch: Vec<u8>,
    store: ChunkStore,
    held: u64,
}

impl Builder {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            compressor: zstd::bulk::Compressor::new(LEVEL)?,
            buffer: Vec::with_capacity(PIECE),
            scratch: Vec::with_capacity(PIECE),
            store: ChunkStore { len: 0, pieces: Vec::new() },
            held: 0,
        })
    }

    /// Bytes of memory that the pieces take so far.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.len().min(PIECE - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.buffer.len() == PIECE {
                self.seal();
            }
        }
    }

    pub(super) fn finish(mut self) -> ChunkStore {
        if !self.buffer.is_empty() {
            self.seal();
        }
        self.store
    }

    fn seal(&mut self) {
        self.scratch.clear();
        // The scratch space is as long as the piece: what does not get shorter does not fit, and is kept raw.
        let piece = match self.compressor.compress_to_buffer(&self.buffer, &mut self.scratch) {
            Ok(len) => Piece::Zstd(self.scratch[..len].into()),
            Err(_) => Piece::Raw(self.buffer.as_slice().into()),
        };
        self.held += piece.held() as u64;
        self.store.len += self.buffer.len() as u64;
        self.store.pieces.push(piece);
        self.buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that any range reads as from a plain slice, across compressible, incompressible and short pieces.
    #[test]
    fn ranges() {
        let mut state = 1_u64;
        let file: Vec<u8> = (0..3 * PIECE + 1234)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if i / PIECE == 1 { (state >> 56) as u8 } else { (i >> 9) as u8 }
            })
            .collect();
        let mut builder = Builder::new().unwrap();
        for (at, piece) in file.chunks(700_001).enumerate() {
            builder.push(&piece[..at]);
            builder.push(&piece[at..]);
        }
        let held = builder.held();
        let store = builder.finish();
        assert_eq!(store.len(), file.len() as u64);
        assert!(
            held >= PIECE as u64 && store.held() >= held && store.held() < file.len() as u64 / 2,
            "{store:?}"
        );
        let edges = [
            0,
            1,
            PIECE - 1,
            PIECE,
            PIECE + 1,
            2 * PIECE,
            3 * PIECE,
            3 * PIECE + 1,
            file.len() - 1,
            file.len(),
        ];
        for start in edges {
            for end in edges.into_iter().filter(|&end| end >= start) {
                let read = store.read_at(start as u64, end - start).unwrap();
                assert!(*read == file[start..end], "{start}..{end}");
            }
        }
        for (offset, len) in [(file.len() as u64, 1), (0, file.len() + 1), (u64::MAX, 2), (1, usize::MAX)] {
            assert_eq!(store.read_at(offset, len).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    /// Check that nothing at all can be stored.
    #[test]
    fn nothing() {
        let store = Builder::new().unwrap().finish();
        assert_eq!(store.len(), 0);
        assert!(store.read_at(0, 0).unwrap().is_empty());
        assert!(store.read_at(0, 1).is_err());
    }
}
