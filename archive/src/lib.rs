//! What an archive of kernel BTF *is*.
//!
//! A kernel is identified by its GNU build-id and, second best, by its [`Key`]: `distro/version/arch/release`, one
//! spelling per kernel ([`alias`] knows the others). Its BTF is a *blob*, named by the sha256 of its raw bytes
//! ([`Digest`]) and kept as zstd ([`blob`]). What is known about a kernel is a [`KernelRecord`]; everything an archive
//! knew at one moment is a [`snapshot`]. A [`bundle`] is one file with the BTF of many kernels.
//!
//! [`trust`] says who may say all this.
//!
//! That much is plain data over byte slices, without I/O: it is what a loader on a target machine needs. Cargo features
//! add the rest:
//!
//! - `sign`: secret keys, and signing ([`trust`] checks signatures without it);
//! - `compress`: writing blobs and snapshots (zstd's encoder, compiled from C);
//! - `reader`: `reader::Reader`, an archive read from a directory or a web server;
//! - `store`: `store::Archive`, the tree of blobs and snapshots with its catalog in SQLite or PostgreSQL.
//!
//! The layout on disk is described for other readers in the book, `reference/archive-layout.md`.

pub mod alias;
pub mod blob;
mod build_id;
pub mod bundle;
pub mod delta;
mod digest;
mod error;
mod key;
pub mod mirrored;
pub mod modules;
mod object;
mod os_release;
#[cfg(feature = "reader")]
pub mod reader;
mod record;
mod release;
pub mod select;
pub mod snapshot;
#[cfg(feature = "store")]
pub mod store;
pub mod trust;
pub mod volume;

pub use build_id::BuildId;
pub use digest::Digest;
pub use error::{Error, Result};
pub use key::Key;
pub use object::{Form, ObjectPath};
pub use os_release::OsRelease;
pub use record::{KernelRecord, Provenance, Source, Trust};
pub use release::{Closeness, closeness, order};
