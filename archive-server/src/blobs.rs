//! Blobs in the forms that clients want, each kept in memory as long as there is room.
//!
//! - *stored*: a zstd frame, for clients that take zstd: the archive's own, sent as it is, or one made of a blob that is stored as a delta;
//! - *raw*: decoded and checked against the digest, for the others;
//! - *packed*: BTFHub's `.tar.xz`.
//!
//! A blob never changes, so nothing here goes stale. The caches are bounded in bytes, and of many requests for a form
//! that is not there, one makes it and the others wait for that one. A client that leaves does not undo the work: it
//! goes on beside the requests and fills the cache.

use std::sync::Arc;

use btf_archive::store::Archive;
use btf_archive::{Digest, blob};
use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use tokio::sync::Semaphore;

use crate::http::encoding::Coding;
use crate::metrics::Metrics;
use crate::txz;

/// How many bytes each cache may hold: about 40 kernels stored, 6 raw, 15 packed.
const STORED: u64 = 48 << 20;
const RAW: u64 = 32 << 20;
const PACKED: u64 = 16 << 20;

/// Why a form of a blob cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The archive has not got it, or what it has is damaged.
    #[error(transparent)]
    Archive(#[from] btf_archive::store::Error),
    /// The bytes in the archive are not those of the digest.
    #[error("blob {0}")]
    Damaged(Digest, #[source] btf_archive::Error),
    /// It could not be packed.
    #[error("packing {0} as tar.xz")]
    Packing(Digest, #[source] std::io::Error),
    /// The work was given up: it panicked, or the service is stopping.
    #[error("work on a blob was given up")]
    GivenUp(#[from] tokio::task::JoinError),
}

#[derive(Clone)]
struct ByLength;

impl<K> Weighter<K, Bytes> for ByLength {
    fn weight(&self, _: &K, bytes: &Bytes) -> u64 {
        bytes.len() as u64
    }
}

type Forms<K> = Cache<K, Bytes, ByLength>;

/// A cache of that many bytes. One shard: a blob may need a good part of the room.
fn cache<K: Eq + std::hash::Hash>(capacity: u64) -> Forms<K> {
    let (items, shards) = (64, 1);
    let options = OptionsBuilder::new()
        .shards(shards)
        .estimated_items_capacity(items)
        .weight_capacity(capacity)
        .build();
    // Every option without a default is set above.
    let options = options.unwrap_or_else(|error| unreachable!("{error}"));
    Cache::with_options(options, ByLength, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

/// The blobs of an archive in every form.
pub(crate) struct Blobs {
    archive: Arc<Archive>,
    metrics: Arc<Metrics>,
    stored: Forms<Digest>,
    raw: Forms<Digest>,
    packed: Forms<(Digest, String)>,
    /// Decompressing takes memory; this bounds how much.
    decoders: Semaphore,
    /// Packing takes a core for seconds; this leaves cores to the other requests.
    packers: Semaphore,
}

impl Blobs {
    pub(crate) fn new(archive: Arc<Archive>, metrics: Arc<Metrics>) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            archive,
            metrics,
            stored: cache(STORED),
            raw: cache(RAW),
            packed: cache(PACKED),
            decoders: Semaphore::new(cores),
            packers: Semaphore::new(cores.div_ceil(2)),
        })
    }

    /// A blob's bytes in this coding.
    pub(crate) async fn coded(self: &Arc<Self>, digest: Digest, coding: Coding) -> Result<Bytes, Error> {
        match coding {
            Coding::Zstd => self.stored(digest).await,
            Coding::Identity => self.raw(digest).await,
        }
    }

    /// A zstd frame: the archive's own, if it has the blob whole.
    pub(crate) async fn stored(self: &Arc<Self>, digest: Digest) -> Result<Bytes, Error> {
        if let Some(bytes) = self.stored.get(&digest) {
            return Ok(bytes);
        }
        let this = Arc::clone(self);
        let make = async move {
            let read = async {
                this.metrics.missed("stored");
                let _permit = this.decoders.acquire().await;
                Ok(this.archive.blob_zst(&digest).await?)
            };
            this.stored.get_or_insert_async(&digest, read).await
        };
        tokio::spawn(make).await?
    }

    /// The raw BTF, which has this digest.
    pub(crate) async fn raw(self: &Arc<Self>, digest: Digest) -> Result<Bytes, Error> {
        if let Some(bytes) = self.raw.get(&digest) {
            return Ok(bytes);
        }
        let this = Arc::clone(self);
        let make = async move {
            let decode = async {
                this.metrics.missed("raw");
                // The semaphore is never closed; without a permit the work would still be right.
                let _permit = this.decoders.acquire().await;
                let Some(zst) = this.stored.get(&digest) else {
                    return Ok(this.archive.blob(&digest).await?);
                };
                let decode = move || blob::decompress_verified(&zst, blob::MAX_RAW, &digest);
                let raw = tokio::task::spawn_blocking(decode).await?;
                raw.map(Bytes::from).map_err(|error| Error::Damaged(digest, error))
            };
            this.raw.get_or_insert_async(&digest, decode).await
        };
        tokio::spawn(make).await?
    }

    /// BTFHub's `.tar.xz` for a kernel of this release.
    pub(crate) async fn packed(self: &Arc<Self>, digest: Digest, release: &str) -> Result<Bytes, Error> {
        let key = (digest, release.to_owned());
        if let Some(bytes) = self.packed.get(&key) {
            return Ok(bytes);
        }
        let this = Arc::clone(self);
        let make = async move {
            let pack = async {
                this.metrics.missed("packed");
                let _permit = this.packers.acquire().await;
                let raw = this.raw(digest).await?;
                let release = key.1.clone();
                let packed = tokio::task::spawn_blocking(move || txz::encode(&release, &raw)).await?;
                packed.map(Bytes::from).map_err(|error| Error::Packing(digest, error))
            };
            this.packed.get_or_insert_async(&key, pack).await
        };
        tokio::spawn(make).await?
    }
}
