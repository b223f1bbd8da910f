//! Reading an archive from outside: a directory on disk, or any web server that has one.
//!
//! Needs neither the catalog nor the service: `latest.json` names a snapshot, its index names parts, the records there name
//! blobs, and every step is checked against the digest that the one before it gave. A reader that pins a root
//! ([`Reader::open_with`]) also checks who signed that snapshot, and that it is not older than what it saw before.
//!
//! A reader sees one snapshot: the newest when it first asked. To see a newer one, open another reader.

#[cfg(feature = "args")]
mod args;
mod blobs;
mod newest;
mod place;

use std::panic::resume_unwind;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::snapshot::{self, Head, Index, PartRef, Snapshot, part};
use crate::trust::{self, Policy, SeenFile};
use crate::{KernelRecord, Key};
#[cfg(feature = "args")]
pub use args::RootArgs;
pub use blobs::Buffers;
pub use newest::Newest;
use place::Place;

/// How many parts of a snapshot are fetched at once.
const PARTS_AT_ONCE: usize = 8;

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A location that is neither a directory nor an http(s) address.
    #[error("{location}: an archive is a directory, or an http or https address")]
    Location {
        /// What was given, without secrets.
        location: String,
    },
    /// There is no `latest.json`: nothing was ever published there, or it is no archive.
    #[error("{location}: no archive, or nothing has been published in it yet: there is no latest.json")]
    NotAnArchive {
        /// The archive.
        location: String,
    },
    /// An object that the archive should have could not be had.
    #[error("{object}: {reason}")]
    Object {
        /// Its path or address.
        object: String,
        /// Why not.
        reason: String,
    },
    /// An object is not what it should be.
    #[error("{object}: {source}")]
    Refused {
        /// Its path or address.
        object: String,
        /// What is wrong with it.
        source: crate::Error,
    },
    /// The archive is not what the pinned root vouches for.
    #[error("{location}: {source}")]
    Untrusted {
        /// The archive.
        location: String,
        /// Why not.
        source: trust::Error,
    },
}

impl Error {
    /// Whether something does not stand up to checking, rather than that it cannot be had.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Untrusted { source, .. } => {
                !matches!(source, trust::Error::Key { .. } | trust::Error::Seen { .. })
            }
            _ => false,
        }
    }
}

/// An archive, open for reading. Cheap to share between threads.
#[derive(Debug)]
pub struct Reader {
    place: Place,
    /// Whom it believes; everybody, without.
    policy: Option<Policy>,
    /// Where it remembers what it saw.
    seen: Option<SeenFile>,
    newest: Mutex<Option<Arc<Newest>>>,
    /// Whether the blob that was read last is stored as a delta: so probably is the next.
    deltas: AtomicBool,
}

impl Reader {
    /// Opens an archive at a directory, a `file://` or an http(s) address. Proxies and authorities come from the environment and the system.
    ///
    /// # Errors
    /// [`Error::Location`]; that there is an archive shows when something is read.
    pub fn open(location: &str) -> Result<Self, Error> {
        let place = Place::open(location)?;
        Ok(Self { place, policy: None, seen: None, newest: Mutex::new(None), deltas: AtomicBool::new(false) })
    }

    /// As [`Self::open`], for an archive that must be signed as the policy asks. What was seen of it is remembered in `seen`,
    /// if there is one, and nothing older is taken.
    ///
    /// # Errors
    /// Those of [`Self::open`]; whether the archive is trusted shows when something is read.
    pub fn open_with(location: &str, policy: Policy, seen: Option<SeenFile>) -> Result<Self, Error> {
        Ok(Self { policy: Some(policy), seen, ..Self::open(location)? })
    }

    /// The newest snapshot, checked: what it is, but for the records of its kernels.
    ///
    /// # Errors
    /// [`Error::NotAnArchive`], [`Error::Untrusted`], and what reading and checking the files may answer.
    pub fn newest(&self) -> Result<Arc<Newest>, Error> {
        let mut known = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(newest) => Ok(Arc::clone(newest)),
            None => Ok(Arc::clone(known.insert(Arc::new(self.find_newest()?)))),
        }
    }

    /// Everything that the newest snapshot says.
    ///
    /// # Errors
    /// Those of [`Self::newest`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        match &self.newest()?.head {
            Head::Whole(snapshot) => Ok(snapshot.clone()),
            Head::Index(index) => self.assemble(index),
        }
    }

    /// What the newest snapshot says about one kernel. Reads no more of it than that takes.
    ///
    /// # Errors
    /// Those of [`Self::snapshot`].
    pub fn kernel(&self, key: &Key) -> Result<Option<KernelRecord>, Error> {
        let newest = self.newest()?;
        let index = match &newest.head {
            Head::Whole(snapshot) => return Ok(snapshot.kernel(key).cloned()),
            Head::Index(index) => index,
        };
        let Some(place) = index.part_of(key) else { return Ok(None) };
        let part = &index.parts[place];
        let zst = self.need(&part.path(), part.size.min(part::MAX_ZST))?;
        let kernels = index.read_part(place, &zst).map_err(|source| self.refused(&part.path(), source))?;
        Ok(kernels.into_iter().find(|kernel| kernel.key == *key))
    }

    /// The whole snapshot of an index. Some parts are fetched at once, as each costs a way there and back.
    fn assemble(&self, index: &Index) -> Result<Snapshot, Error> {
        let mut assembly = index.assemble();
        for parts in index.parts.chunks(PARTS_AT_ONCE) {
            let fetched: Vec<_> = thread::scope(|scope| {
                let fetch = |part: &PartRef| self.need(&part.path(), part.size.min(part::MAX_ZST));
                let threads: Vec<_> = parts.iter().map(|part| scope.spawn(move || fetch(part))).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                    .collect()
            });
            for (part, zst) in parts.iter().zip(fetched) {
                assembly.add(&zst?).map_err(|source| self.refused(&part.path(), source))?;
            }
        }
        assembly.finish().map_err(|source| self.refused(&snapshot::path(index.number), source))
    }

    /// An object as stored, by its path in the archive, if it is there; not checked.
    ///
    /// # Errors
    /// [`Error::Object`], also for one of more than `limit` bytes.
    pub fn object(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        self.place.get(path, limit)
    }

    fn need(&self, path: &str, limit: u64) -> Result<Vec<u8>, Error> {
        self.place.get(path, limit)?.ok_or_else(|| self.missing(path))
    }

    fn missing(&self, path: &str) -> Error {
        Error::Object { object: self.place.name(path), reason: "it is not there".to_owned() }
    }

    fn refused(&self, path: &str, source: crate::Error) -> Error {
        Error::Refused { object: self.place.name(path), source }
    }
}
