//! Reading blobs: whole ones, and deltas with the blobs that they are made on.
//!
//! A base is needed for many blobs, one behind another: some are kept in memory, checked.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;

use super::tree::run;
use super::{Archive, Error, Result};
use crate::delta::{self, Header, MAX_DEPTH};
use crate::{Digest, blob};

/// Raw bytes of bases that are kept at most: a few kernels of as many series.
const KEPT: usize = 48 << 20;

/// At what level a delta's blob is compressed for those who want it whole, at once.
const QUICK: i32 = 3;

/// How a blob is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// As one zstd frame.
    Whole(Bytes),
    /// As what differs from another blob.
    Delta(Bytes),
}

impl Stored {
    /// The file's bytes.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Whole(bytes) | Self::Delta(bytes) => bytes,
        }
    }

    /// What it is made on; none for a whole blob.
    ///
    /// # Errors
    /// Those of [`Header::parse`].
    pub fn base(&self) -> crate::Result<Option<Digest>> {
        match self {
            Self::Whole(_) => Ok(None),
            Self::Delta(delta) => Header::parse(delta).map(|header| Some(header.base)),
        }
    }
}

/// A blob that others may be made on.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) digest: Digest,
    /// How many deltas it is made of.
    pub(super) depth: u8,
    /// What it is made on itself.
    pub(super) base: Option<Digest>,
    pub(super) raw: Bytes,
}

/// Bases that were used lately, the last one first.
#[derive(Debug, Default)]
pub(super) struct Bases(Mutex<VecDeque<Base>>);

impl Bases {
    fn get(&self, digest: &Digest) -> Option<Base> {
        let mut kept = self.0.lock().ok()?;
        let place = kept.iter().position(|base| base.digest == *digest)?;
        let base = kept.remove(place)?;
        kept.push_front(base.clone());
        Some(base)
    }

    fn keep(&self, base: &Base) {
        let Ok(mut kept) = self.0.lock() else { return };
        kept.retain(|other| other.digest != base.digest);
        kept.push_front(base.clone());
        let mut size = 0;
        kept.retain(|base| {
            size += base.raw.len();
            size <= KEPT
        });
    }
}

impl Archive {
    /// A blob's raw bytes, checked against its digest.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Object`] if the stored bytes, or those of a blob that they are made on, have rotted.
    pub async fn blob(&self, digest: &Digest) -> Result<Bytes> {
        if let Some(base) = self.bases.get(digest) {
            return Ok(base.raw);
        }
        let stored = self.stored(digest).await?;
        self.decode(digest, stored).await.map(|base| base.raw)
    }

    /// A blob as one zstd frame: as stored, not checked; or made now of what is stored as a delta.
    ///
    /// # Errors
    /// Those of [`Archive::blob`].
    pub async fn blob_zst(&self, digest: &Digest) -> Result<Bytes> {
        match self.stored(digest).await? {
            Stored::Whole(zst) => Ok(zst),
            delta @ Stored::Delta(_) => {
                let raw = self.decode(digest, delta).await?.raw;
                Ok(run(move || blob::encode(&raw, QUICK)).await.into())
            }
        }
    }

    /// A blob as it is stored, not checked.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub async fn stored(&self, digest: &Digest) -> Result<Stored> {
        // The catalog knows which form it has, but perhaps not since another process gave it that one.
        let is_delta = self.catalog.base_of(digest).await?.is_some();
        for form in [is_delta, !is_delta] {
            let path = if form { blob::delta_path(digest) } else { blob::path(digest) };
            match self.tree.get(&path, blob::MAX_ZST).await {
                Ok(bytes) if form => return Ok(Stored::Delta(bytes)),
                Ok(bytes) => return Ok(Stored::Whole(bytes)),
                Err(Error::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Missing { path: if is_delta { blob::delta_path(digest) } else { blob::path(digest) } })
    }

    /// A blob's file as a delta, not checked.
    ///
    /// # Errors
    /// [`Error::Missing`] for one that is whole or not there.
    pub async fn blob_delta(&self, digest: &Digest) -> Result<Bytes> {
        self.tree.get(&blob::delta_path(digest), blob::MAX_ZST).await
    }

    /// The raw bytes of what is said to be stored for a blob, checked against its digest.
    ///
    /// # Errors
    /// Those of [`Archive::blob`].
    pub async fn decode_stored(&self, digest: &Digest, stored: Stored) -> Result<Bytes> {
        self.decode(digest, stored).await.map(|base| base.raw)
    }

    /// A blob to make others on, checked.
    pub(super) async fn base(&self, digest: &Digest) -> Result<Base> {
        if let Some(base) = self.bases.get(digest) {
            return Ok(base);
        }
        let stored = self.stored(digest).await?;
        let base = self.decode(digest, stored).await?;
        self.bases.keep(&base);
        Ok(base)
    }

    async fn decode(&self, digest: &Digest, stored: Stored) -> Result<Base> {
        let digest = *digest;
        // What is read on the way down the chain, the blob itself first.
        let mut chain = Vec::new();
        let (mut named, mut next) = (digest, stored);
        let bottom = loop {
            let delta = match next {
                Stored::Delta(delta) => delta,
                Stored::Whole(zst) => {
                    let decode = move || blob::decompress_verified(&zst, blob::MAX_RAW, &named);
                    let raw = run(decode).await;
                    let object = |source| Error::Object { path: blob::path(&named), source };
                    let raw = raw.map(Bytes::from).map_err(object)?;
                    break Base { digest: named, depth: 0, base: None, raw };
                }
            };
            let object = |source| Error::Object { path: blob::delta_path(&named), source };
            let header = Header::parse(&delta).map_err(object)?;
            if header.digest != named {
                let (expected, found) = (named, header.digest);
                return Err(object(crate::Error::DigestMismatch { expected, found }));
            }
            let (base, depth) = (header.base, header.depth);
            chain.push((named, header, delta));
            // Each is less deep than what is made on it, so no chain goes in a circle.
            if chain.len() > usize::from(MAX_DEPTH)
                || chain.iter().rev().skip(1).any(|before| before.1.depth <= depth)
            {
                let reason = "is made on deltas that are as deep as itself";
                return Err(object(crate::Error::Delta { part: "header", offset: 10, reason }));
            }
            if let Some(base) = self.bases.get(&base) {
                break base;
            }
            (named, next) = (base, self.stored(&base).await?);
        };
        if !chain.is_empty() {
            self.bases.keep(&bottom);
        }
        let mut base = bottom;
        while let Some((named, header, delta)) = chain.pop() {
            let raw = base.raw;
            let decoded = run(move || delta::decode(&raw, &delta, blob::MAX_RAW)).await;
            let object = |source| Error::Object { path: blob::delta_path(&named), source };
            let raw = decoded.map(Bytes::from).map_err(object)?;
            base = Base { digest: named, depth: header.depth, base: Some(header.base), raw };
            if !chain.is_empty() {
                self.bases.keep(&base);
            }
        }
        Ok(base)
    }
}
