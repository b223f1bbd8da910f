//! What can go wrong with a whole archive.

use std::path::PathBuf;

use crate::{BuildId, Digest, Key};

/// The result of work on a whole archive.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a whole archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes or names that are not what they claim to be; `path` says which object of the archive, if it was one.
    #[error("{path}: {source}")]
    Object {
        /// The object's path in the archive.
        path: String,
        /// What is wrong with it.
        source: crate::Error,
    },
    /// Bytes or names handed in that are not what they claim to be.
    #[error(transparent)]
    Input(#[from] crate::Error),
    /// Bytes handed in as BTF that are not.
    #[error("{key}: {source}")]
    NotBtf {
        /// The kernel they were handed in for.
        key: Box<Key>,
        /// What the format's reader says.
        source: btf::Error,
    },
    /// More raw bytes than a blob may hold.
    #[error("{key}: {size} bytes of BTF are more than the {limit} a blob may hold")]
    TooLarge {
        /// The kernel they were handed in for.
        key: Box<Key>,
        /// Their number.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A key is known with another digest. Nothing was changed; a deliberate change is `Archive::replace`.
    #[error("{key} has BTF {known} in this archive, refusing to change it to {offered}")]
    Conflict {
        /// The kernel.
        key: Box<Key>,
        /// The digest the archive has.
        known: Digest,
        /// The digest that was offered.
        offered: Digest,
    },
    /// A key is known with another build-id: two different kernels of one name.
    #[error("{key} has build-id {known} in this archive, refusing to change it to {offered}")]
    BuildIdConflict {
        /// The kernel.
        key: Box<Key>,
        /// The build-id the archive has.
        known: Box<BuildId>,
        /// The build-id that was offered.
        offered: Box<BuildId>,
    },
    /// A kernel of the newest snapshot that the catalog has lost or changed without a recorded reason.
    #[error(
        "snapshot {number} has {key}, but the catalog {what}: not publishing a snapshot that breaks with it"
    )]
    BreaksWithSnapshot {
        /// The newest snapshot.
        number: u64,
        /// The kernel.
        key: Box<Key>,
        /// How the catalog differs.
        what: String,
    },
    /// A snapshot of that number exists, and is not the one that would follow.
    #[error("{path}: exists already and does not follow the snapshot that latest.json names")]
    AlreadyThere {
        /// The snapshot's path in the archive.
        path: String,
    },
    /// The catalog has seen newer snapshots than the tree has: the tree was put back from a backup.
    #[error(
        "latest.json names snapshot {latest}, but {seen} was published from here: put the newer snapshots back (a mirror \
         has them), for clients refuse numbers that come again"
    )]
    RolledBack {
        /// The number in `latest.json`; 0 if there is none.
        latest: u64,
        /// The newest number the catalog has seen.
        seen: u64,
    },
    /// A snapshot from elsewhere that does not follow what is here.
    #[error(
        "snapshot {number} is offered, but this archive has another snapshot {here}, which it does not follow: keep copies of different archives, \
         and kernels of your own, in archives of their own"
    )]
    Diverged {
        /// The number offered.
        number: u64,
        /// The newest number here.
        here: u64,
    },
    /// No such object in the archive.
    #[error("{path}: not in this archive")]
    Missing {
        /// The object's path in the archive.
        path: String,
    },
    /// An object larger than its kind may be.
    #[error("{path}: {size} bytes are more than the {limit} such an object may have")]
    ObjectTooLarge {
        /// The object's path in the archive.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A directory or bucket that is no archive.
    #[error("{location} is no archive: it has neither catalog.sqlite nor latest.json")]
    NotAnArchive {
        /// Where.
        location: String,
    },
    /// A directory or bucket with other things in it, where an archive was to be made.
    #[error(
        "{location} is not empty and no archive: choose an empty or new directory, or another prefix of the bucket"
    )]
    NotEmpty {
        /// Where.
        location: String,
    },
    /// A kind of location this version cannot open, or one with a password in it.
    #[error(
        "{location}: archives are opened from a directory, or from a bucket: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, \
         az://CONTAINER/PREFIX, with the account in the environment (AWS_ACCESS_KEY_ID, …)"
    )]
    Unsupported {
        /// The location, without credentials.
        location: String,
    },
    /// A bucket cannot hold a catalog.
    #[error(
        "{location}: a bucket holds no catalog: name one, a PostgreSQL database or a local SQLite file (--catalog)"
    )]
    NeedsCatalog {
        /// The bucket.
        location: String,
    },
    /// An archive that was opened to be read.
    #[error("{location} was opened to be read only")]
    ReadOnly {
        /// Where.
        location: String,
    },
    /// Somebody else replaced an object meanwhile, again and again.
    #[error("{path}: others replace it all the time; try again later")]
    Overtaken {
        /// The object's path in the archive.
        path: String,
    },
    /// A kind of catalog this version cannot use.
    #[error(
        "{location}: a catalog is given as postgres://USER@HOST/DATABASE, or as the path of an SQLite file"
    )]
    UnsupportedCatalog {
        /// The location, without credentials.
        location: String,
    },
    /// A cursor, filter or query that makes no sense.
    #[error("{what}: {reason}")]
    Query {
        /// Which part of it.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A signed archive, and no key to sign with.
    #[error("{location} is signed: publishing needs its snapshot key (--signing-key FILE)")]
    NeedsSigningKey {
        /// The archive.
        location: String,
    },
    /// A key to sign with, and no list of keys in which readers find it; or signatures of which the list was lost.
    #[error(
        "{location} has no keys.json, in which readers would find the key that signs: put the root's list there \
         (btf-archive-server keys install)"
    )]
    NoKeyList {
        /// The archive.
        location: String,
    },
    /// A key, list of keys or signature that is not to be trusted.
    #[error(transparent)]
    Trust(#[from] crate::trust::Error),
    /// The system gave no random numbers.
    #[error("no random numbers: {reason}")]
    Random {
        /// Why.
        reason: String,
    },
    /// The file system said no.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The store of blobs and snapshots said no.
    #[error("{path}: {source}")]
    Store {
        /// The object's path in the archive.
        path: String,
        /// The cause.
        source: object_store::Error,
    },
    /// The catalog's database said no.
    #[error("catalog: {0}")]
    Database(#[from] sqlx::Error),
    /// The catalog's schema could not be brought up to date.
    #[error("catalog: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row of the catalog that does not make sense.
    #[error("catalog, {key}: {reason}")]
    Row {
        /// The row's key as stored.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}
