//! The tree of immutable objects: blobs, snapshots, `latest.json`.
//!
//! Objects become visible whole or not at all, and are on disk when a write returns. For a directory that is
//! `object_store`'s `LocalFileSystem` with `with_fsync`: it writes `NAME#N` beside the target, syncs it, renames (or
//! links, where nothing may be overwritten), and syncs the directory and every directory it had to make. What a killed
//! process leaves behind is a `NAME#N` that no reader looks at.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{Error, Result};

/// The file that processes lock to change what only one may change at a time.
pub(super) const LOCK: &str = "archive.lock";

/// The objects of one archive.
#[derive(Debug)]
pub(super) struct Tree {
    store: Arc<dyn ObjectStore>,
    root: PathBuf,
}

/// While it lives, no other process or task publishes or migrates.
pub(super) struct Lock {
    _file: File,
}

impl Tree {
    /// The tree in an existing directory.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let store = LocalFileSystem::new_with_prefix(root)
            .map_err(|source| Error::Store { path: root.display().to_string(), source })?
            .with_fsync(true);
        Ok(Self { store: Arc::new(store), root: root.to_owned() })
    }

    /// Waits until nobody else holds the lock.
    pub(super) async fn lock(&self) -> Result<Lock> {
        let path = self.root.join(LOCK);
        let lock = move || {
            let io = |source| Error::Io { path: path.clone(), source };
            let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
            file.lock().map_err(io)?;
            Ok(Lock { _file: file })
        };
        run(lock).await
    }

    /// The whole object, if it has at most `limit` bytes.
    pub(super) async fn get(&self, path: &str, limit: u64) -> Result<Bytes> {
        let failed = |source| match source {
            object_store::Error::NotFound { .. } => Error::Missing { path: path.to_owned() },
            source => Error::Store { path: path.to_owned(), source },
        };
        let found = self.store.get(&path.into()).await.map_err(failed)?;
        let size = found.meta.size;
        if size > limit {
            return Err(Error::ObjectTooLarge { path: path.to_owned(), size, limit });
        }
        found.bytes().await.map_err(failed)
    }

    /// The object's size in bytes, if it is there.
    pub(super) async fn size(&self, path: &str) -> Result<Option<u64>> {
        match self.store.head(&path.into()).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::Store { path: path.to_owned(), source }),
        }
    }

    /// Writes an object, replacing what was there.
    pub(super) async fn put(&self, path: &str, bytes: impl Into<Bytes>) -> Result<()> {
        self.write(path, bytes.into(), PutMode::Overwrite).await.map(|_| ())
    }

    /// Writes an object unless there is one; says whether it did.
    pub(super) async fn put_new(&self, path: &str, bytes: impl Into<Bytes>) -> Result<bool> {
        self.write(path, bytes.into(), PutMode::Create).await
    }

    async fn write(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<bool> {
        match self.store.put_opts(&path.into(), bytes.into(), PutOptions::from(mode)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(source) => Err(Error::Store { path: path.to_owned(), source }),
        }
    }
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
