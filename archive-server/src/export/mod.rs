//! Exports: an archive, or what is new in it, as files to be carried where no network goes.
//!
//! - `plan`: which objects an export has, and in which volume each lies;
//! - [`volumes`]: tar files ([`btf_archive::volume`]), which `import` reads;
//! - [`oci`]: the same volumes as layers of an OCI image layout, for registries;
//! - [`tree`]: the archive as plain files with every blob whole, for web servers and loaders that know nothing of deltas;
//! - [`btfhub`]: the tree of `.btf.tar.xz` files that BTFHub's consumers expect.
//!
//! All are deterministic: the same snapshot gives the same bytes.

pub mod btfhub;
pub mod oci;
mod plan;
pub mod tree;
pub mod volumes;

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use btf_archive::select::{Host, Selection};
use btf_archive::snapshot::Link;
use btf_archive::store;
use serde::Serialize;

pub use plan::{Plan, Request};

/// What was written.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Written {
    /// The snapshot that is in it.
    pub snapshot: Link,
    /// The snapshot that it builds on.
    pub since: Option<Link>,
    /// Kernels of the snapshot that are selected.
    pub kernels: u64,
    /// The files, or the directory.
    pub files: Vec<String>,
    /// The bytes of all files that were written.
    pub bytes: u64,
    /// Hosts of the inventory for whose kernel the archive has no BTF.
    pub lacking: Vec<String>,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive could not be read.
    #[error(transparent)]
    Archive(#[from] store::Error),
    /// An object that is not what it should be.
    #[error("{path}: {source}")]
    Object {
        /// Its path.
        path: String,
        /// What is wrong.
        source: btf_archive::Error,
    },
    /// Nothing was ever published.
    #[error("there is no snapshot in this archive: publish one first")]
    NoSnapshot,
    /// A snapshot that should be built on and is none before the one to be exported.
    #[error("--since {since}: the newest snapshot is {newest}, nothing is new since then")]
    NothingNew {
        /// The number given.
        since: u64,
        /// The newest.
        newest: u64,
    },
    /// Blobs that the selection needs and the archive has not.
    #[error("{} blobs are missing, such as the {}: `btf-archive-server verify` names all, `repair` fetches them; or export less (--select)", .0.len(), .0.first().map_or("", String::as_str))]
    Missing(Vec<String>),
    /// Volumes that are too small.
    #[error("--max-size {limit}: the {what} alone needs a volume of {needed} bytes")]
    TooSmall {
        /// The limit given.
        limit: u64,
        /// What does not fit.
        what: String,
        /// The bytes it needs.
        needed: u64,
    },
    /// A directory with other things in it.
    #[error("{} is not empty and no {what}: choose an empty or new directory", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// The files could not be written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The hosts of a selection's inventory for whose kernel there is none.
fn lacking(selection: &Selection, kernels: &[btf_archive::KernelRecord]) -> Vec<String> {
    let hosts = selection.inventory.iter().flat_map(|inventory| inventory.lacking(kernels));
    hosts.map(Host::name).collect()
}

/// A file that gets its name when it is whole, and leaves nothing behind before that.
struct Output {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Output {
    fn beside(path: &Path) -> Result<Self, Error> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let io = |source| Error::Io { path: path.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(io)?;
        let file = tempfile::Builder::new().prefix(".export-").tempfile_in(directory).map_err(io)?;
        Ok(Self { file, path: path.to_owned() })
    }

    fn writer(&self) -> Result<BufWriter<File>, Error> {
        let file = self.file.reopen().map_err(|source| Error::Io { path: self.path.clone(), source })?;
        Ok(BufWriter::with_capacity(1 << 20, file))
    }

    /// Gives the file its name; gives its size in bytes.
    fn finish(self) -> Result<u64, Error> {
        self.finish_as(None)
    }

    /// Gives the file this name, or the one it was made for.
    fn finish_as(self, name: Option<&Path>) -> Result<u64, Error> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = name.unwrap_or(&self.path).to_owned();
        let io = |source| Error::Io { path: path.clone(), source };
        let file = self.file.as_file();
        file.set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
        file.sync_all().map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        self.file.persist(&path).map_err(|error| io(error.error))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|directory| directory.sync_all()).map_err(io)?;
        Ok(size)
    }
}

/// Writes a whole file safely; gives its size in bytes.
fn write(path: &Path, bytes: &[u8]) -> Result<u64, Error> {
    use std::io::Write as _;
    let output = Output::beside(path)?;
    let io = |source| Error::Io { path: path.to_owned(), source };
    output.file.as_file().write_all(bytes).map_err(io)?;
    output.finish()
}

/// Checks that a directory may be written into: new, empty, or with this file in it.
fn check_directory(path: &Path, mark: &str, what: &'static str) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(io)?;
    let empty = std::fs::read_dir(path).map_err(io)?.next().is_none();
    if empty || path.join(mark).is_file() {
        Ok(())
    } else {
        Err(Error::Occupied { path: path.to_owned(), what })
    }
}
