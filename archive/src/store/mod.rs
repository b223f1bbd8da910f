//! Whole archives: a directory or bucket of blobs and snapshots, with the catalog beside them.
//!
//! ```text
//! blobs/sha256/ab/abcd….zst    one blob, named by the digest of its raw BTF
//! blobs/sha256/ab/abcd….delta  another one, as what differs from a third
//! snapshots/000042.json.zst    a snapshot: which parts hold everything the catalog knew
//! snapshots/parts/ab/….json.zst  those parts, which snapshots share
//! latest.json                  which snapshot is the newest
//! keys.json                    which keys sign snapshots; an archive without has no signatures
//! catalog.sqlite               what is known now, for lookups; or a PostgreSQL database by URL in its place
//! ```
//!
//! The order of writes makes every crash harmless: a blob is on disk before the catalog names it, a snapshot holds only
//! what the catalog has, its parts are there before it, and `latest.json` comes last. Whatever a killed process leaves undone, doing it again does it
//! once: blobs are named by content, a catalog row that is there is left alone, a snapshot that was written but not
//! announced is announced by the next [`Archive::publish`]. The tree alone is enough: a catalog that is missing or
//! older than the tree is brought up to date from the newest snapshot when the archive is opened.

mod add;
mod arrive;
mod bases;
mod blobs;
mod catalog;
mod error;
mod gc;
mod location;
mod publish;
mod scrub;
mod sign;
mod tree;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tempfile::TempDir;

pub use add::{Added, Beside, KernelDraft};
pub use arrive::Arrival;
pub use blobs::Stored;
pub use catalog::{
    AuditEntry, Backlog, Catalog, Failure, FailureClass, FailureReport, Failures, Filter, Job, Lookup,
    LookupQuery, MAX_PAGE, Page, Permission, Retry, Scope, Subject, Token, Worker,
};
pub use error::{Error, Result};
pub use gc::{Garbage, Retention};
pub use publish::Published;
pub use scrub::{Damage, Pace, Scrubbed};

use crate::snapshot::{self, Head, Index, Latest, Snapshot, part};
use crate::trust::SigningKey;
use crate::{Digest, KernelRecord};
use blobs::Bases;
use location::Location;
use tree::Tree;

/// The catalog's file in an archive's directory.
const CATALOG: &str = "catalog.sqlite";

/// How many parts of a snapshot are read at once.
const PARTS_AT_ONCE: usize = 16;

/// One archive, open for reading and writing. Cheap to share behind an `Arc`; several processes may have it open.
#[derive(Debug)]
pub struct Archive {
    location: Location,
    tree: Tree,
    catalog: Catalog,
    /// The file that is locked to publish.
    lock: Option<PathBuf>,
    /// The scratch directory of the catalog, if nothing may be changed.
    read_only: Option<TempDir>,
    /// The key that signs what is published.
    signing: Option<SigningKey>,
    bases: Bases,
}

/// While it lives, nobody else publishes.
#[derive(Debug)]
struct Alone {
    _lock: Option<tree::Lock>,
    _catalog: catalog::Alone,
}

impl Archive {
    /// Opens an archive in a directory, by path or `file://` URL, with its catalog there.
    ///
    /// A tree without a catalog (a copy, a mirror) gets one, made from its newest snapshot.
    ///
    /// # Errors
    /// [`Error::NotAnArchive`] for a directory that is none; nothing is made then.
    pub async fn open(location: impl AsRef<OsStr>) -> Result<Self> {
        Self::open_with(location, None).await
    }

    /// Opens an archive in a directory or a bucket (`s3://BUCKET/PREFIX`, `gs://…`, `az://…`; accounts come from the environment), whose catalog may
    /// be elsewhere: `postgres://…`, or the path of an SQLite file. Several machines may share bucket and PostgreSQL database.
    ///
    /// # Errors
    /// Those of [`Archive::open`], [`Error::Unsupported`], [`Error::UnsupportedCatalog`], and [`Error::NeedsCatalog`] for a bucket without one.
    pub async fn open_with(location: impl AsRef<OsStr>, catalog: Option<&str>) -> Result<Self> {
        let archive = Self::open_damaged(location, catalog).await?;
        archive.refresh().await?;
        Ok(archive)
    }

    /// As [`Archive::open_with`], whatever state its snapshots are in: to find and mend what is damaged.
    ///
    /// # Errors
    /// Those of [`Archive::open_with`] but [`Error::Object`].
    pub async fn open_damaged(location: impl AsRef<OsStr>, catalog: Option<&str>) -> Result<Self> {
        let location = Location::parse(location.as_ref())?;
        let none = || Error::NotAnArchive { location: location.name() };
        let place = CatalogPlace::of(&location, catalog)?;
        let tree = match &location {
            Location::Directory(root) => {
                if !is_archive(root) && (catalog.is_none() || !root.join(tree::LOCK).is_file()) {
                    return Err(none());
                }
                Tree::open(&location)?
            }
            Location::Bucket(_) | Location::Web(_) | Location::Other(_) => {
                let tree = Tree::open(&location)?;
                if tree.size(tree::LOCK).await?.is_none() && tree.size(snapshot::LATEST).await?.is_none() {
                    return Err(none());
                }
                tree
            }
        };
        Self::open_at(location, tree, place).await
    }

    /// Opens an archive, or makes one where there is none: in a new or empty directory.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] for a directory with other things in it.
    pub async fn create(location: impl AsRef<OsStr>) -> Result<Self> {
        Self::create_with(location, None).await
    }

    /// Opens or makes an archive where [`Archive::open_with`] opens one. In a bucket it gets an empty prefix to itself.
    ///
    /// # Errors
    /// Those of [`Archive::create`] and [`Archive::open_with`].
    pub async fn create_with(location: impl AsRef<OsStr>, catalog: Option<&str>) -> Result<Self> {
        let location = Location::parse(location.as_ref())?;
        let place = CatalogPlace::of(&location, catalog)?;
        let occupied = || Error::NotEmpty { location: location.name() };
        let tree = match &location {
            Location::Directory(root) => {
                let io = |source| Error::Io { path: root.clone(), source };
                std::fs::create_dir_all(root).map_err(io)?;
                if !is_archive(root) {
                    for entry in std::fs::read_dir(root).map_err(io)? {
                        // Another process may be at the same: the lock is its first file.
                        let name = entry.map_err(io)?.file_name();
                        let ours = name == tree::LOCK || catalog.is_some() && name == "blobs";
                        if !ours && !is_archive(root) {
                            return Err(occupied());
                        }
                    }
                }
                Tree::open(&location)?
            }
            Location::Bucket(_) | Location::Web(_) | Location::Other(_) => {
                let tree = Tree::open(&location)?;
                if !mark(&tree).await? {
                    return Err(occupied());
                }
                tree
            }
        };
        let archive = Self::open_at(location, tree, place).await?;
        archive.refresh().await?;
        Ok(archive)
    }

    /// Opens an archive of which nothing may be changed, not even its catalog: a directory without the right to write, a static tree, a
    /// bucket. What is known comes from the newest snapshot, and [`Archive::refresh`] takes over what is published later.
    ///
    /// # Errors
    /// [`Error::NotAnArchive`] where nothing was published, [`Error::Object`] if that cannot be read.
    pub async fn open_read_only(location: impl AsRef<OsStr>) -> Result<Self> {
        let archive = Self::look_at(location).await?;
        if archive.latest().await?.is_none() {
            return Err(Error::NotAnArchive { location: archive.location() });
        }
        archive.catch_up().await?;
        Ok(archive)
    }

    /// As [`Archive::open_read_only`], also on a web server (`https://…`), but reads nothing yet: its catalog stays empty until
    /// [`Archive::refresh`], and whatever state its objects are in is no obstacle.
    ///
    /// # Errors
    /// [`Error::NotAnArchive`] for a directory that is none, [`Error::Unsupported`].
    pub async fn look_at(location: impl AsRef<OsStr>) -> Result<Self> {
        let location = Location::parse_readable(location.as_ref())?;
        let none = Error::NotAnArchive { location: location.name() };
        if matches!(&location, Location::Directory(root) if !is_archive(root)) {
            return Err(none);
        }
        let tree = Tree::open(&location)?;
        let io = |source| Error::Io { path: std::env::temp_dir(), source };
        let scratch = tempfile::Builder::new().prefix("btf-archive-").tempdir().map_err(io)?;
        let catalog = Catalog::open(&scratch.path().join(CATALOG)).await?;
        let (bases, signing) = (Bases::default(), None);
        Ok(Self { location, tree, catalog, lock: None, read_only: Some(scratch), bases, signing })
    }

    /// Opens or makes an archive in any store of the crate `object_store` that knows conditional writes, with its catalog at `catalog`.
    ///
    /// # Errors
    /// Those of [`Archive::create_with`].
    pub async fn on_store(store: Arc<dyn object_store::ObjectStore>, catalog: &str) -> Result<Self> {
        let location = Location::Other(store.to_string());
        let place = CatalogPlace::of(&location, Some(catalog))?;
        let tree = Tree::on(store);
        if !mark(&tree).await? {
            return Err(Error::NotEmpty { location: location.name() });
        }
        let archive = Self::open_at(location, tree, place).await?;
        archive.refresh().await?;
        Ok(archive)
    }

    async fn open_at(location: Location, tree: Tree, place: CatalogPlace) -> Result<Self> {
        let lock = match (&location, &place) {
            (Location::Directory(root), _) => Some(root.join(tree::LOCK)),
            (_, CatalogPlace::File(path)) => Some(path.with_added_extension("lock")),
            // PostgreSQL has locks of its own.
            (_, CatalogPlace::Url(_)) => None,
        };
        let held = match &lock {
            Some(path) => Some(tree::lock(path).await?),
            None => None,
        };
        let catalog = match &place {
            CatalogPlace::Url(url) => Catalog::connect(url).await?,
            CatalogPlace::File(path) => Catalog::open(path).await?,
        };
        let alone = catalog.alone().await?;
        drop((alone, held));
        let (bases, signing) = (Bases::default(), None);
        Ok(Self { location, tree, catalog, lock, read_only: None, bases, signing })
    }

    /// Waits until nobody else publishes, and keeps it so as long as the answer lives. Those who have other catalogs for the same bucket are
    /// not kept away: whoever replaces `latest.json` first is the first.
    async fn alone(&self) -> Result<Alone> {
        self.writable()?;
        let lock = match &self.lock {
            Some(path) => Some(tree::lock(path).await?),
            None => None,
        };
        Ok(Alone { _catalog: self.catalog.alone().await?, _lock: lock })
    }

    /// Refuses to change what was opened to be read.
    fn writable(&self) -> Result<()> {
        match &self.read_only {
            None => Ok(()),
            Some(_) => Err(Error::ReadOnly { location: self.location.name() }),
        }
    }

    /// Whether it was opened with [`Archive::open_read_only`].
    pub fn is_read_only(&self) -> bool {
        self.read_only.is_some()
    }

    /// The size in bytes of every object, by path; none on a web server, which tells nobody what it has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self) -> Result<Option<BTreeMap<String, u64>>> {
        if let Location::Web(_) = &self.location {
            return Ok(None);
        }
        let sizes = self.tree.list("").map_ok(|found| (found.path, found.size));
        Ok(Some(sizes.try_collect().await?))
    }

    /// Takes over what others published since, if their catalog is not this one; says whether there was anything.
    ///
    /// # Errors
    /// [`Error::Object`] for a snapshot that is not what `latest.json` says. The catalog stays as it was.
    pub async fn refresh(&self) -> Result<bool> {
        let Some(latest) = self.latest().await? else { return Ok(false) };
        let seen = async || self.catalog.newest_snapshot().await;
        if seen().await? >= Some(latest.number) {
            return Ok(false);
        }
        let _alone = if self.is_read_only() { None } else { Some(self.alone().await?) };
        if seen().await? >= Some(latest.number) {
            return Ok(false);
        }
        self.catch_up().await?;
        Ok(true)
    }

    /// Closes the catalog, so that its file alone is whole, without the write-ahead log beside it.
    ///
    /// Dropping an archive loses nothing either: whoever opens it next takes the log into account.
    pub async fn close(self) {
        self.catalog.close().await;
    }

    /// Where it is, for messages: a directory, or a URL without secrets.
    pub fn location(&self) -> String {
        self.location.name()
    }

    /// What is known, for lookups.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
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
        Ok(self.latest_version().await?.map(|(latest, _)| latest))
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

/// Where a catalog is.
enum CatalogPlace {
    /// In PostgreSQL.
    Url(String),
    /// In SQLite.
    File(PathBuf),
}

impl CatalogPlace {
    fn of(location: &Location, given: Option<&str>) -> Result<Self> {
        match (given, location) {
            (Some(url), _) if url.contains("://") => Ok(Self::Url(url.to_owned())),
            (Some(path), _) => Ok(Self::File(path.into())),
            (None, Location::Directory(root)) => Ok(Self::File(root.join(CATALOG))),
            (None, _) => Err(Error::NeedsCatalog { location: location.name() }),
        }
    }
}

/// Marks a bucket as an archive, unless there are other things in it; says whether it is one.
async fn mark(tree: &Tree) -> Result<bool> {
    if tree.size(tree::LOCK).await?.is_some() || tree.size(snapshot::LATEST).await?.is_some() {
        return Ok(true);
    }
    if tree.list("").next().await.transpose()?.is_some() {
        return Ok(tree.size(tree::LOCK).await?.is_some());
    }
    tree.put_new(tree::LOCK, Bytes::new()).await
}

fn is_archive(root: &Path) -> bool {
    root.join(CATALOG).is_file() || root.join(snapshot::LATEST).is_file()
}

/// Seconds since 1970 (UTC).
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
