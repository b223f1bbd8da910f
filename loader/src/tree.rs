//! An archive as a tree of files: a directory on disk, or any web server that has one, without our service.
//!
//! `latest.json` names the newest snapshot and its digest, the snapshot names the digest of each kernel's BTF, and the
//! blob must have that: each step is checked against the one before it.

use btf_archive::snapshot::{self, Latest, Snapshot};
use btf_archive::{BuildId, Digest, KernelRecord, Key, blob};

use crate::local::same_build_id;
use crate::{Kernel, Reason};

/// BTF out of a tree, its digest checked.
pub(crate) struct Blob {
    pub(crate) raw: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) key: Key,
    pub(crate) build_id: Option<BuildId>,
}

/// The BTF of a kernel in a tree; `None` if it is no archive. `get` reads a file of at most so many bytes, `None` if
/// there is no such file.
pub(crate) fn fetch(
    get: &dyn Fn(&str, usize) -> Result<Option<Vec<u8>>, Reason>,
    kernel: &Kernel,
    max_size: usize,
) -> Result<Option<Blob>, Reason> {
    let Some(latest) = get(snapshot::LATEST, snapshot::MAX_LATEST)? else { return Ok(None) };
    let latest = Latest::decode(&latest)?;
    let path = snapshot::path(latest.number);
    let missing = |path: &str| Reason::BadAnswer(format!("{path}, which the archive names, is not there"));
    let zst = get(&path, snapshot::MAX_RAW)?.ok_or_else(|| missing(&path))?;
    latest.digest.check(&zst)?;
    let snapshot = Snapshot::decode(&zst)?;
    let record = choose(&snapshot, kernel)?;
    let path = blob::path(&record.digest);
    // Incompressible bytes grow by less than that.
    let zst = get(&path, max_size.saturating_add(max_size / 64 + 1024))?.ok_or_else(|| missing(&path))?;
    let raw = blob::decompress_verified(&zst, max_size, &record.digest)?;
    Ok(Some(Blob { raw, digest: record.digest, key: record.key.clone(), build_id: record.build_id }))
}

/// The record of a kernel: by its build-id, else by its key if that has no other build-id.
fn choose<'a>(snapshot: &'a Snapshot, kernel: &Kernel) -> Result<&'a KernelRecord, Reason> {
    let wanted = kernel.build_id();
    let by_build_id =
        || snapshot.kernels.iter().find(|record| wanted.is_some() && record.build_id.as_ref() == wanted);
    let by_key = || kernel.keys().iter().find_map(|key| snapshot.kernel(key));
    let record = by_build_id()
        .or_else(by_key)
        .ok_or(Reason::NotInArchive { nearest: Vec::new(), remembered: false })?;
    if let (Some(wanted), Some(found)) = (wanted, &record.build_id) {
        same_build_id(wanted, found)?;
    }
    Ok(record)
}
