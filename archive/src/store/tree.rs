//! The tree of immutable objects: blobs, snapshots, and `latest.json`, which alone is ever replaced.
//!
//! Objects become visible whole or not at all, and are safe when a write returns. For a directory that is
//! `object_store`'s `LocalFileSystem` with `with_fsync`: it writes `NAME#N` beside the target, syncs it, renames (or
//! links, where nothing may be overwritten), and syncs the directory and every directory it had to make. What a killed
//! process leaves behind is a `NAME#N` that no reader looks at. A bucket makes an object visible when all of it has come.
//!
//! A request to a bucket may be carried out although its answer is lost. So whoever is told that a conditional write failed
//! first looks whether what lies there is what was to be written.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::location::{self, Location};
use super::{Error, Result};

/// The file that processes lock to change what only one may change at a time; its presence marks an archive, in a bucket too.
pub(super) const LOCK: &str = "archive.lock";

/// The objects of one archive.
#[derive(Debug)]
pub(super) struct Tree {
    store: Arc<dyn ObjectStore>,
    /// Whether writing an object can depend on what is there. A directory's lock does the same.
    conditional: bool,
}

/// An object that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path in the archive.
    pub(super) path: String,
    /// Its size in bytes.
    pub(super) size: u64,
    /// When it was written, in seconds since 1970 (UTC), by the store's clock.
    pub(super) modified: u64,
}

/// Which state of an object was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version(UpdateVersion);

/// While it lives, no other process or task publishes or migrates.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Tree {
    /// The tree in an existing directory, or in a bucket.
    pub(super) fn open(location: &Location) -> Result<Self> {
        match location {
            Location::Directory(root) => {
                let store = LocalFileSystem::new_with_prefix(root)
                    .map_err(|source| Error::Store { path: root.display().to_string(), source })?
                    .with_fsync(true);
                Ok(Self { store: Arc::new(store), conditional: false })
            }
            Location::Bucket(url) | Location::Web(url) => Ok(Self::on(location::bucket(url)?)),
            Location::Other(_) => Err(Error::Unsupported { location: location.name() }),
        }
    }

    /// The tree in any store that knows conditional writes.
    pub(super) fn on(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, conditional: true }
    }

    /// The whole object, if it has at most `limit` bytes.
    pub(super) async fn get(&self, path: &str, limit: u64) -> Result<Bytes> {
        self.get_version(path, limit).await.map(|(bytes, _)| bytes)
    }

    /// The whole object and which state of it that is.
    pub(super) async fn get_version(&self, path: &str, limit: u64) -> Result<(Bytes, Version)> {
        let failed = |source| failed(path, source);
        let found = self.store.get(&path.into()).await.map_err(failed)?;
        let size = found.meta.size;
        if size > limit {
            return Err(Error::ObjectTooLarge { path: path.to_owned(), size, limit });
        }
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        Ok((found.bytes().await.map_err(failed)?, Version(version)))
    }

    /// Some of an object's bytes: fewer than asked for, if it ends before.
    pub(super) async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let found =
            self.store.get_opts(&path.into(), options).await.map_err(|source| failed(path, source))?;
        found.bytes().await.map_err(|source| failed(path, source))
    }

    /// The object's size in bytes, if it is there.
    pub(super) async fn size(&self, path: &str) -> Result<Option<u64>> {
        match self.store.head(&path.into()).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(path, source)),
        }
    }

    /// Every object below a directory of the archive (all for an empty name), in no order.
    pub(super) fn list(&self, directory: &str) -> BoxStream<'static, Result<Found>> {
        let name = directory.to_owned();
        let prefix = (!directory.is_empty()).then(|| directory.into());
        let found = self.store.list(prefix.as_ref()).map_ok(|meta| Found {
            path: meta.location.to_string(),
            size: meta.size,
            modified: u64::try_from(meta.last_modified.timestamp()).unwrap_or(0),
        });
        found.map_err(move |source| failed(&name, source)).boxed()
    }

    /// Writes an object, replacing what was there.
    pub(super) async fn put(&self, path: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let put = self.store.put(&path.into(), bytes.into().into()).await;
        put.map(|_| ()).map_err(|source| failed(path, source))
    }

    /// Writes an object unless there is one with other bytes; says whether it is there now as it should be.
    pub(super) async fn put_new(&self, path: &str, bytes: impl Into<Bytes>) -> Result<bool> {
        Ok(self.write_if(path, bytes.into(), PutMode::Create).await?.is_some())
    }

    /// Replaces an object if it is still as it was `before` (none: not there); gives its new state, or nothing if somebody was
    /// faster. In a directory, the caller holds the lock.
    pub(super) async fn swap(
        &self,
        path: &str,
        bytes: impl Into<Bytes>,
        before: Option<&Version>,
    ) -> Result<Option<Version>> {
        let mode = match before {
            _ if !self.conditional => PutMode::Overwrite,
            None => PutMode::Create,
            Some(Version(version)) => PutMode::Update(version.clone()),
        };
        self.write_if(path, bytes.into(), mode).await
    }

    async fn write_if(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<Option<Version>> {
        let put = self.store.put_opts(&path.into(), bytes.clone().into(), PutOptions::from(mode)).await;
        let refused = match put {
            Ok(put) => return Ok(Some(Version(put.into()))),
            Err(
                refused @ (object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotModified { .. }),
            ) => Ok(refused),
            Err(error) => Err(error),
        };
        // Perhaps it was we, and only the answer was lost.
        match (self.get_version(path, bytes.len() as u64).await, refused) {
            (Ok((found, version)), _) if found == bytes => Ok(Some(version)),
            (Ok(_) | Err(Error::ObjectTooLarge { .. }), Ok(_)) => Ok(None),
            (Err(error), Ok(_)) => Err(error),
            (_, Err(source)) => Err(failed(path, source)),
        }
    }

    /// Removes an object; one that is not there is no error.
    pub(super) async fn delete(&self, path: &str) -> Result<()> {
        match self.store.delete(&path.into()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed(path, source)),
        }
    }
}

fn failed(path: &str, source: object_store::Error) -> Error {
    match source {
        object_store::Error::NotFound { .. } => Error::Missing { path: path.to_owned() },
        source => Error::Store { path: path.to_owned(), source },
    }
}

/// Waits until nobody else holds the lock on this file.
pub(super) async fn lock(path: &Path) -> Result<Lock> {
    let path: PathBuf = path.to_owned();
    let lock = move || {
        let io = |source| Error::Io { path: path.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        file.lock().map_err(io)?;
        Ok(Lock { _file: file })
    };
    run(lock).await
}

/// Runs work that blocks beside the async tasks. A panic in it goes on in the caller.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Blocking work is cancelled only when its runtime shuts down, and then nobody waits here.
            Err(cancelled) => unreachable!("{cancelled}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    fn memory() -> Tree {
        Tree::on(Arc::new(InMemory::new()))
    }

    /// Check that of many who replace the same state of an object at once, one does, and that the others are told.
    #[tokio::test(flavor = "multi_thread")]
    async fn tree_swap() {
        let tree = Arc::new(memory());
        let first = tree.swap("latest.json", "1", None).await.unwrap().unwrap();
        assert_eq!(tree.swap("latest.json", "2", None).await.unwrap(), None);
        let swaps = (0..20_u8).map(|number| {
            let (tree, first) = (Arc::clone(&tree), first.clone());
            tokio::spawn(async move { tree.swap("latest.json", vec![number], Some(&first)).await.unwrap() })
        });
        let mut done = 0;
        for swap in swaps.collect::<Vec<_>>() {
            done += u32::from(swap.await.unwrap().is_some());
        }
        assert_eq!(done, 1);
    }

    /// Check that writing what is there already counts as written, and that other bytes do not.
    #[tokio::test]
    async fn tree_put_new() {
        let tree = memory();
        for (bytes, there) in [("one", true), ("one", true), ("two", false), ("three", false), ("", false)] {
            assert_eq!(tree.put_new("a/b", bytes).await.unwrap(), there, "{bytes}");
        }
        assert_eq!(tree.get("a/b", 3).await.unwrap(), "one");
        assert!(matches!(tree.get("a/b", 2).await, Err(Error::ObjectTooLarge { size: 3, limit: 2, .. })));
        assert_eq!(tree.get_range("a/b", 1..9).await.unwrap(), "ne");
        let found: Vec<_> = tree.list("a").try_collect().await.unwrap();
        assert_eq!((found.len(), found[0].path.as_str(), found[0].size), (1, "a/b", 3));
        for _ in 0..2 {
            tree.delete("a/b").await.unwrap();
        }
        assert_eq!(tree.size("a/b").await.unwrap(), None);
    }
}
