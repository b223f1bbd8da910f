//! Whole archives: a directory of blobs and snapshots, with the catalog beside them.
//!
//! ```text
//! blobs/sha256/ab/abcd….zst    one blob, named by the digest of its raw BTF
//! snapshots/000042.json.zst    a snapshot: which parts hold everything the catalog knew
//! snapshots/parts/ab/….json.zst  those parts, which snapshots share
//! latest.json                  which snapshot is the newest
//! catalog.sqlite               what is known now, for lookups; or a PostgreSQL database by URL in its place
//! ```
//!
//! The order of writes makes every crash harmless: a blob is on disk before the catalog names it, a snapshot holds only
//! what the catalog has, its parts are there before it, and `latest.json` comes last. Whatever a killed process leaves undone, doing it again does it
//! once: blobs are named by content, a catalog row that is there is left alone, a snapshot that was written but not
//! announced is announced by the next [`Archive::publish`]. The tree alone is enough: a catalog that is missing or
//! older than the tree is brought up to date from the newest snapshot when the archive is opened.

mod add;
mod catalog;
mod error;
mod publish;
mod tree;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt as _;

pub use add::{Added, Beside, KernelDraft};
pub use catalog::{
    Backlog, Catalog, Failure, FailureClass, FailureReport, Failures, Filter, Job, Lookup, LookupQuery,
    MAX_PAGE, Page, Retry, Subject, Worker,
};
pub use error::{Error, Result};
pub use publish::Published;

use crate::snapshot::{self, Head, Index, Latest, Snapshot, part};
use crate::{Digest, KernelRecord, Provenance, blob};
use tree::Tree;

/// The catalog's file in an archive's directory.
const CATALOG: &str = "catalog.sqlite";

/// How many parts of a snapshot are read at once.
const PARTS_AT_ONCE: usize = 16;

/// One archive, open for reading and writing. Cheap to share behind an `Arc`; several processes may have it open.
#[derive(Debug)]
pub struct Archive {
    root: PathBuf,
    tree: Tree,
    catalog: Catalog,
}

impl Archive {
    /// Opens an archive: a directory, by path or `file://` URL.
    ///
    /// A tree without a catalog (a copy, a mirror) gets one, made from its newest snapshot.
    ///
    /// # Errors
    /// [`Error::NotAnArchive`] for a directory that is none; nothing is made then.
    pub async fn open(location: impl AsRef<OsStr>) -> Result<Self> {
        Self::open_with(location, None).await
    }

    /// Opens an archive whose catalog is elsewhere: `postgres://…`. Several machines may share both.
    ///
    /// # Errors
    /// Those of [`Archive::open`], and [`Error::UnsupportedCatalog`].
    pub async fn open_with(location: impl AsRef<OsStr>, catalog: Option<&str>) -> Result<Self> {
        let root = directory(location.as_ref())?;
        if !is_archive(&root) && (catalog.is_none() || !root.join(tree::LOCK).is_file()) {
            return Err(Error::NotAnArchive { path: root });
        }
        Self::open_directory(root, catalog).await
    }

    /// Opens an archive, or makes one where there is none: in a new or empty directory.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] for a directory with other things in it.
    pub async fn create(location: impl AsRef<OsStr>) -> Result<Self> {
        Self::create_with(location, None).await
    }

    /// Opens or makes an archive whose catalog is elsewhere: `postgres://…`.
    ///
    /// # Errors
    /// Those of [`Archive::create`], and [`Error::UnsupportedCatalog`].
    pub async fn create_with(location: impl AsRef<OsStr>, catalog: Option<&str>) -> Result<Self> {
        let root = directory(location.as_ref())?;
        let io = |source| Error::Io { path: root.clone(), source };
        std::fs::create_dir_all(&root).map_err(io)?;
        if !is_archive(&root) {
            for entry in std::fs::read_dir(&root).map_err(io)? {
                // Another process may be at the same: the lock is its first file.
                let name = entry.map_err(io)?.file_name();
                let ours = name == tree::LOCK || catalog.is_some() && name == "blobs";
                if !ours && !is_archive(&root) {
                    return Err(Error::NotEmpty { path: root });
                }
            }
        }
        Self::open_directory(root, catalog).await
    }

    async fn open_directory(root: PathBuf, catalog: Option<&str>) -> Result<Self> {
        let tree = Tree::open(&root)?;
        let lock = tree.lock().await?;
        let catalog = match catalog {
            Some(url) => Catalog::connect(url).await?,
            None => Catalog::open(&root.join(CATALOG)).await?,
        };
        let alone = catalog.alone().await?;
        let archive = Self { root, tree, catalog };
        archive.catch_up().await?;
        drop((alone, lock));
        Ok(archive)
    }

    /// Closes the catalog, so that its file alone is whole, without the write-ahead log beside it.
    ///
    /// Dropping an archive loses nothing either: whoever opens it next takes the log into account.
    pub async fn close(self) {
        self.catalog.close().await;
    }

    /// The archive's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is known, for lookups.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// A blob's raw bytes, checked against its digest.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Object`] if the stored bytes have rotted.
    pub async fn blob(&self, digest: &Digest) -> Result<Bytes> {
        let zst = self.blob_zst(digest).await?;
        let digest = *digest;
        let raw = tree::run(move || blob::decompress_verified(&zst, blob::MAX_RAW, &digest)).await;
        raw.map(Bytes::from).map_err(|source| Error::Object { path: blob::path(&digest), source })
    }

    /// A blob as stored: one zstd frame, not checked.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub async fn blob_zst(&self, digest: &Digest) -> Result<Bytes> {
        self.tree.get(&blob::path(digest), blob::MAX_ZST).await
    }

    /// A kernel's configuration, if it is known.
    ///
    /// # Errors
    /// Those of [`Archive::blob`].
    pub async fn config(&self, kernel: &KernelRecord) -> Result<Option<Bytes>> {
        match &kernel.config {
            Some(digest) => self.blob(digest).await.map(Some),
            None => Ok(None),
        }
    }

    /// The split BTF of a kernel's modules, if it was made: to be read with [`Modules::parse`](crate::modules::Modules::parse).
    ///
    /// # Errors
    /// Those of [`Archive::blob`].
    pub async fn modules(&self, kernel: &KernelRecord) -> Result<Option<Bytes>> {
        match &kernel.modules {
            Some(digest) => self.blob(digest).await.map(Some),
            None => Ok(None),
        }
    }

    /// `latest.json`, if anything was ever published.
    pub async fn latest(&self) -> Result<Option<Latest>> {
        let object = |source| Error::Object { path: snapshot::LATEST.to_owned(), source };
        match self.tree.get(snapshot::LATEST, snapshot::MAX_LATEST as u64).await {
            Ok(json) => Latest::decode(&json).map(Some).map_err(object),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `latest.json` as stored.
    ///
    /// # Errors
    /// [`Error::Missing`] if nothing was ever published.
    pub async fn latest_json(&self) -> Result<Bytes> {
        self.tree.get(snapshot::LATEST, snapshot::MAX_LATEST as u64).await
    }

    /// A published snapshot, by number, with all its kernels.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Object`].
    pub async fn snapshot(&self, number: u64) -> Result<Snapshot> {
        match self.head(number).await? {
            Head::Whole(snapshot) => Ok(snapshot),
            Head::Index(index) => self.assemble(index).await,
        }
    }

    /// The file of a published snapshot, by number: its index, or all of it in format 1.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Object`].
    pub async fn head(&self, number: u64) -> Result<Head> {
        let path = snapshot::path(number);
        let zst = self.snapshot_zst(number).await?;
        let decoded = tree::run(move || Head::decode(&zst)).await;
        decoded.map_err(|source| Error::Object { path, source })
    }

    /// A part of a snapshot as stored, not checked.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub async fn part_zst(&self, digest: &Digest) -> Result<Bytes> {
        self.tree.get(&part::path(digest), part::MAX_ZST).await
    }

    /// All of a snapshot, of its index and parts.
    async fn assemble(&self, index: Index) -> Result<Snapshot> {
        let fetch = |place: usize| {
            let digest = index.parts[place].digest;
            async move { self.part_zst(&digest).await }
        };
        let mut parts = futures::stream::iter(0..index.parts.len()).map(fetch).buffered(PARTS_AT_ONCE);
        let mut assembly = index.assemble();
        for part in &index.parts {
            let Some(zst) = parts.next().await else { break };
            let object = |source| Error::Object { path: part.path(), source };
            assembly.add(&zst?).map_err(object)?;
        }
        assembly.finish().map_err(|source| Error::Object { path: snapshot::path(index.number), source })
    }

    /// The file of a published snapshot as stored.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub async fn snapshot_zst(&self, number: u64) -> Result<Bytes> {
        self.tree.get(&snapshot::path(number), snapshot::MAX_RAW as u64).await
    }
}

/// The directory that a path or a `file://` URL names.
fn directory(location: &OsStr) -> Result<PathBuf> {
    let Some((scheme, _)) = location.to_str().and_then(|text| text.split_once("://")) else {
        return Ok(PathBuf::from(location));
    };
    let text = location.to_string_lossy();
    let unsupported = || Error::Unsupported { location: Provenance::public_url(&text) };
    if !scheme.eq_ignore_ascii_case("file") {
        return Err(unsupported());
    }
    url::Url::parse(&text).ok().and_then(|url| url.to_file_path().ok()).ok_or_else(unsupported)
}

fn is_archive(root: &Path) -> bool {
    root.join(CATALOG).is_file() || root.join(snapshot::LATEST).is_file()
}

/// Seconds since 1970 (UTC).
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
