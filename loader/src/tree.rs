//! An archive as a tree of files: a directory on disk, or any web server that has one, without our service.
//!
//! `latest.json` names the newest snapshot and its digest, the snapshot names its parts by theirs, a part names the digest
//! of each kernel's BTF, and the blob must have that: each step is checked against the one before it. Where the caller
//! pinned a root key, the snapshot must be signed by a key that the root vouches for, and not be older than one that was seen
//! before ([`btf_archive::trust`]).
//!
//! Only the part that the kernel's key belongs to is read; all of them only for a kernel that has another key there, or none
//! here.

use std::time::{SystemTime, UNIX_EPOCH};

use btf_archive::snapshot::{self, Head, Index, Latest, part};
use btf_archive::trust::{self, KEYS, MAX_KEYS, MAX_SIGNATURE, Policy, Seen, SeenFile};
use btf_archive::trust::{keys_signature_path, signature_path};
use btf_archive::{Digest, KernelRecord, Key, blob, delta};

use crate::local::same_build_id;
use crate::{Kernel, Reason};

/// Reads a file of at most so many bytes; `None` if there is no such file.
pub(crate) type Get<'a> = &'a dyn Fn(&str, usize) -> Result<Option<Vec<u8>>, Reason>;

/// Who must have signed, and what is remembered about it.
#[derive(Clone, Copy)]
pub(crate) struct Believed<'a> {
    /// The roots that the caller pinned.
    pub(crate) policy: &'a Policy,
    /// Where the newest that was seen is remembered; without it an old copy can be passed off as the newest.
    pub(crate) seen: Option<&'a SeenFile>,
    /// The archive's name in that file.
    pub(crate) location: &'a str,
}

/// A tree of files.
pub(crate) struct Tree<'a> {
    get: Get<'a>,
    head: Head,
    /// What the policy let pass, to be told.
    pub(crate) warning: Option<String>,
}

impl<'a> Tree<'a> {
    /// The newest snapshot of a tree; `None` if it is no archive.
    pub(crate) fn open(get: Get<'a>, believed: Option<Believed<'_>>) -> Result<Option<Self>, Reason> {
        let Some(believed) = believed else {
            let Some((_, latest, file)) = newest(get)? else { return Ok(None) };
            let head = Head::decode(&file)?;
            if head.number() != latest.number {
                return Err(Reason::BadAnswer("latest.json names a snapshot of another number".to_owned()));
            }
            return Ok(Some(Self { get, head, warning: None }));
        };
        match Self::signed(get, believed) {
            // Perhaps some files were read before new ones were put there, and some after.
            Err(Reason::Untrusted(trust::Error::UnknownKey { .. } | trust::Error::Forged { .. })) => {
                Self::signed(get, believed)
            }
            tree => tree,
        }
    }

    fn signed(get: Get<'a>, believed: Believed<'_>) -> Result<Option<Self>, Reason> {
        let Believed { policy, seen, location } = believed;
        let before = seen.map(|file| file.read(location)).transpose()?.unwrap_or_default();
        let Some(json) = get(KEYS, MAX_KEYS)? else {
            // Nothing at all is no archive; an archive without keys is not signed.
            return match get(snapshot::LATEST, snapshot::MAX_LATEST)? {
                Some(_) => Err(trust::Error::Unsigned { what: "the archive" }.into()),
                None => Ok(None),
            };
        };
        let keys = match policy.check_keys(&json, &signature(get, &signature_path(KEYS), KEYS)?, &before) {
            // A new list may be on its way, its signature there already: the list's own has another name, too.
            Err(trust::Error::Forged { .. }) => {
                let path = keys_signature_path(trust::KeyList::decode(&json)?.version);
                policy.check_keys(&json, &signature(get, &path, KEYS)?, &before)?
            }
            keys => keys?,
        };
        let Some((latest_json, latest, file)) = newest(get)? else { return Ok(None) };
        let path = signature_path(&snapshot::path(latest.number));
        let signature = signature(get, &path, "the snapshot")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let checked = policy.check_snapshot(&keys, &latest_json, &file, &signature, now, &before)?;
        if let Some(seen) = seen {
            remember(seen, location, checked.seen)?;
        }
        Ok(Some(Self { get, head: checked.head, warning: checked.warning }))
    }

    /// The record of a kernel: the one with its build-id, else the one with its key if that has no other build-id.
    pub(crate) fn record(&self, kernel: &Kernel) -> Result<KernelRecord, Reason> {
        let wanted = kernel.build_id();
        let same = |record: &KernelRecord| wanted.is_some() && record.build_id.as_ref() == wanted;
        let mut named = Vec::new();
        for key in kernel.keys() {
            named.extend(self.by_key(key)?);
        }
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
        self.blob_within(digest, max_size, delta::MAX_DEPTH)
    }

    /// A blob that is made of at most `depth` deltas.
    fn blob_within(&self, digest: &Digest, max_size: usize, depth: u8) -> Result<Vec<u8>, Reason> {
        // What cannot be compressed grows by less than that.
        let max = max_size.saturating_add(max_size / 64 + 1024);
        let path = blob::path(digest);
        if let Some(zst) = (self.get)(&path, max)? {
            return Ok(blob::decompress_verified(&zst, max_size, digest)?);
        }
        let path = blob::delta_path(digest);
        let stored = need(self.get, &path, max)?;
        let header = delta::Header::parse(&stored)?;
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Reason::BadAnswer(format!("{path} is a delta on too many deltas")));
        };
        // Kernels of a series differ by little, but the base may be the larger one.
        let base = self.blob_within(&header.base, max_size.saturating_mul(2), depth)?;
        let raw = delta::unverified(&base, &stored, max_size)?;
        digest.check(&raw)?;
        Ok(raw)
    }

    fn by_key(&self, key: &Key) -> Result<Option<KernelRecord>, Reason> {
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
        let part = &index.parts[place];
        let max = usize::try_from(part.size.min(part::MAX_ZST)).unwrap_or(usize::MAX);
        Ok(index.read_part(place, &need(self.get, &part.path(), max)?)?)
    }
}

/// `latest.json`, as it is and as it was read, and the file that it names, which has the digest that it says.
type Newest = (Vec<u8>, Latest, Vec<u8>);

fn newest(get: Get<'_>) -> Result<Option<Newest>, Reason> {
    let Some(json) = get(snapshot::LATEST, snapshot::MAX_LATEST)? else { return Ok(None) };
    let latest = Latest::decode(&json)?;
    let file = need(get, &snapshot::path(latest.number), snapshot::MAX_RAW)?;
    latest.digest.check(&file)?;
    Ok(Some((json, latest, file)))
}

fn signature(get: Get<'_>, path: &str, what: &'static str) -> Result<Vec<u8>, Reason> {
    get(path, MAX_SIGNATURE)?.ok_or_else(|| trust::Error::Unsigned { what }.into())
}

/// Remembers the newest that was seen. Where nothing can be written it is not remembered, as without a file.
fn remember(file: &SeenFile, location: &str, seen: Seen) -> Result<(), Reason> {
    match file.remember(location, seen) {
        Err(trust::Error::Seen { .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A file that something else of the archive names.
fn need(get: Get<'_>, path: &str, max: usize) -> Result<Vec<u8>, Reason> {
    get(path, max)?.ok_or_else(|| Reason::BadAnswer(format!("{path}, which the archive names, is not there")))
}
