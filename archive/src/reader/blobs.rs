//! Blobs, whole or as deltas.

use std::sync::atomic::Ordering::Relaxed;

use super::{Error, Reader};
use crate::delta::{self, Header, MAX_DEPTH};
use crate::{Digest, blob};

/// How many bases are kept for the next blob: the keyframe of a series and two that are made on it.
const KEPT: usize = 3;

/// Memory for a blob, compressed and raw, to be used again; and blobs that the next one may be made on.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// The last one first.
    bases: Vec<(Digest, Vec<u8>)>,
}

impl Reader {
    /// A blob's raw bytes, checked against its digest.
    ///
    /// # Errors
    /// [`Error::Object`], [`Error::Refused`].
    pub fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let mut buffers = Buffers::default();
        self.blob_in(digest, &mut buffers)?;
        Ok(buffers.raw)
    }

    /// As [`Self::blob`], in memory that is used again: for whoever goes over hundreds of blobs.
    ///
    /// # Errors
    /// Those of [`Self::blob`].
    pub fn blob_in<'b>(&self, digest: &Digest, buffers: &'b mut Buffers) -> Result<&'b [u8], Error> {
        let Buffers { stored, raw, bases } = buffers;
        // The deltas on the way to what is whole or known, the blob's own first.
        let mut chain: Vec<(Digest, Header, Vec<u8>)> = Vec::new();
        let mut next = *digest;
        let known = loop {
            if let Some(known) = bases.iter().position(|(base, _)| *base == next) {
                break Some(known);
            }
            if !self.stored(&next, stored)? {
                let path = blob::path(&next);
                let frame = blob::decompress_into(stored, blob::MAX_RAW, raw);
                // Of a chain only the end is checked: on a wrong base it is wrong, too.
                let checked = frame.and_then(|()| if chain.is_empty() { digest.check(raw) } else { Ok(()) });
                checked.map_err(|source| self.refused(&path, source))?;
                break None;
            }
            let refused = |source| self.refused(&blob::delta_path(&next), source);
            let header = Header::parse(stored).map_err(refused)?;
            let before = chain.last().map_or(MAX_DEPTH + 1, |(_, before, _)| before.depth);
            // Each is less deep than what is made on it, so no chain goes in a circle.
            if header.depth >= before {
                let reason = "is as deep as what is made on it";
                return Err(refused(crate::Error::Delta { part: "header", offset: 10, reason }));
            }
            let base = header.base;
            chain.push((next, header, std::mem::take(stored)));
            next = base;
        };
        if chain.is_empty() {
            if let Some(known) = known {
                raw.clone_from(&bases[known].1);
                digest.check(raw).map_err(|source| self.refused(&blob::path(digest), source))?;
            }
            return Ok(raw);
        }
        match known {
            Some(known) => bases[..=known].rotate_right(1),
            None => keep(bases, next, std::mem::take(raw)),
        }
        while let Some((named, _, delta)) = chain.pop() {
            let is_last = chain.is_empty();
            let decode = if is_last { delta::decode } else { delta::unverified };
            let decoded = decode(&bases[0].1, &delta, blob::MAX_RAW).and_then(|raw| {
                // What was asked for is not what the delta says of itself.
                if is_last && Header::parse(&delta)?.digest != *digest {
                    digest.check(&raw)?;
                }
                Ok(raw)
            });
            match decoded {
                Ok(decoded) if is_last => *raw = decoded,
                Ok(decoded) => keep(bases, named, decoded),
                Err(source) => {
                    // Whatever is wrong may be a base that was not checked.
                    bases.clear();
                    return Err(self.refused(&blob::delta_path(&named), source));
                }
            }
        }
        Ok(raw)
    }

    /// Reads a blob's file; tells whether it is a delta. Of the two forms the one is tried first that the last blob had.
    fn stored(&self, digest: &Digest, bytes: &mut Vec<u8>) -> Result<bool, Error> {
        let first = self.deltas.load(Relaxed);
        for is_delta in [first, !first] {
            let path = if is_delta { blob::delta_path(digest) } else { blob::path(digest) };
            if self.place.get_in(&path, blob::MAX_ZST, bytes)? {
                self.deltas.store(is_delta, Relaxed);
                return Ok(is_delta);
            }
        }
        Err(self.missing(&blob::path(digest)))
    }
}

fn keep(bases: &mut Vec<(Digest, Vec<u8>)>, digest: Digest, raw: Vec<u8>) {
    bases.truncate(KEPT - 1);
    bases.insert(0, (digest, raw));
}
