//! An archive as a tree of files: a directory on disk, or any web server that has one, without our service.
//!
//! `latest.json` names the newest snapshot and its digest, the snapshot names its parts by theirs, a part names the digest
//! of each kernel's BTF, and the blob must have that: each step is checked against the one before it. Only the part that
//! the kernel's key belongs to is read; all of them only for a kernel that has another key there, or none here.

use btf_archive::snapshot::{self, Head, Index, Latest, part};
use btf_archive::{Digest, KernelRecord, blob};

use crate::local::same_build_id;
use crate::{Kernel, Reason};

/// Reads a file of at most so many bytes; `None` if there is no such file.
pub(crate) type Get<'a> = &'a dyn Fn(&str, usize) -> Result<Option<Vec<u8>>, Reason>;

/// A tree of files.
pub(crate) struct Tree<'a> {
    get: Get<'a>,
    head: Head,
}

impl<'a> Tree<'a> {
    /// The newest snapshot of a tree; `None` if it is no archive.
    pub(crate) fn open(get: Get<'a>) -> Result<Option<Self>, Reason> {
        let Some(latest) = get(snapshot::LATEST, snapshot::MAX_LATEST)? else { return Ok(None) };
        let latest = Latest::decode(&latest)?;
        let head = need(get, &snapshot::path(latest.number), snapshot::MAX_RAW)?;
        latest.digest.check(&head)?;
        Ok(Some(Self { get, head: Head::decode(&head)? }))
    }

    /// The record of a kernel: the one with its build-id, else the one with its key if that has no other build-id.
    pub(crate) fn record(&self, kernel: &Kernel) -> Result<KernelRecord, Reason> {
        let wanted = kernel.build_id();
        let same = |record: &KernelRecord| wanted.is_some() && record.build_id.as_ref() == wanted;
        let named: Vec<KernelRecord> = kernel
            .keys()
            .iter()
            .map(|key| self.by_key(key))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect();
        if let Some(record) = named.iter().find(|record| same(record)) {
            return Ok(record.clone());
        }
        if wanted.is_some()
            && let Some(record) = self.find(&same)?
        {
            return Ok(record);
        }
        let record = named.into_iter().next();
        let record = record.ok_or(Reason::NotInArchive { nearest: Vec::new(), remembered: false })?;
        if let (Some(wanted), Some(found)) = (wanted, &record.build_id) {
            same_build_id(wanted, found)?;
        }
        Ok(record)
    }

    /// A blob's raw bytes, at most `max_size` of them.
    pub(crate) fn blob(&self, digest: &Digest, max_size: usize) -> Result<Vec<u8>, Reason> {
        // What cannot be compressed grows by less than that.
        let max = max_size.saturating_add(max_size / 64 + 1024);
        let zst = need(self.get, &blob::path(digest), max)?;
        Ok(blob::decompress_verified(&zst, max_size, digest)?)
    }

    fn by_key(&self, key: &btf_archive::Key) -> Result<Option<KernelRecord>, Reason> {
        match &self.head {
            Head::Whole(snapshot) => Ok(snapshot.kernel(key).cloned()),
            Head::Index(index) => match index.part_of(key) {
                Some(place) => Ok(self.part(index, place)?.into_iter().find(|record| record.key == *key)),
                None => Ok(None),
            },
        }
    }

    /// Reads everything until a record is the one.
    fn find(&self, wanted: &dyn Fn(&KernelRecord) -> bool) -> Result<Option<KernelRecord>, Reason> {
        match &self.head {
            Head::Whole(snapshot) => Ok(snapshot.kernels.iter().find(|record| wanted(record)).cloned()),
            Head::Index(index) => {
                for place in 0..index.parts.len() {
                    if let Some(record) = self.part(index, place)?.into_iter().find(wanted) {
                        return Ok(Some(record));
                    }
                }
                Ok(None)
            }
        }
    }

    fn part(&self, index: &Index, place: usize) -> Result<Vec<KernelRecord>, Reason> {
        let digest = &index.parts[place].digest;
        let max = usize::try_from(part::MAX_ZST).unwrap_or(usize::MAX);
        Ok(index.read_part(place, &need(self.get, &part::path(digest), max)?)?)
    }
}

/// A file that something else of the archive names.
fn need(get: Get<'_>, path: &str, max: usize) -> Result<Vec<u8>, Reason> {
    get(path, max)?.ok_or_else(|| Reason::BadAnswer(format!("{path}, which the archive names, is not there")))
}
