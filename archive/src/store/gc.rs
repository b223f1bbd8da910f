//! Removing what nobody needs: objects that neither the catalog nor a retained snapshot names, directly or as the base of a delta.
//!
//! Whoever adds a kernel first says so in the catalog (`Catalog::touch`), then looks whether the blob is there. What is to be
//! removed is asked for once more in the transaction in which it is removed, so the two cannot pass each other: either the adder was first, and
//! the blob stays, or the blob is gone before the adder looks, and is written anew. Mirrors and imports, which write blobs before a catalog hears
//! of them, are protected by the age of what they write. Publishing waits meanwhile.
//!
//! Nothing is removed unless everything that is retained could be read: one snapshot that cannot be read would take its blobs with it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use futures::{StreamExt as _, TryStreamExt as _};

use super::location::Location;
use super::tree::{Found, run};
use super::{Archive, Error, Result, now};
use crate::delta::Header;
use crate::snapshot::{self, Head, Link, part};
use crate::{Digest, KernelRecord, blob};

/// How many objects are asked for at once.
const AT_ONCE: usize = 16;
/// How many blobs are removed in one transaction of the catalog, which others who write wait for.
const BATCH: usize = 64;

/// What to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many snapshots to keep, the newest first; none: all. Pinned ones stay in any case, and so does the newest.
    pub snapshots: Option<u64>,
    /// What was written or used within this time stays: somebody may be about to name it.
    pub grace: Duration,
}

/// What nobody needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Numbers of the snapshots that are not retained, the oldest first.
    pub snapshots: Vec<u64>,
    /// The objects, by path, with their sizes in bytes: of those snapshots, and blobs.
    pub objects: BTreeMap<String, u64>,
    /// Files that were being written when a process was killed, below the archive's directory, with their sizes in bytes.
    pub torn: BTreeMap<PathBuf, u64>,
    /// How many objects nobody names, but too young to be removed.
    pub young: u64,
    /// How many objects are needed.
    pub needed: u64,
}

impl Garbage {
    /// What would be free without it, in bytes.
    pub fn bytes(&self) -> u64 {
        self.objects.values().chain(self.torn.values()).sum()
    }

    fn judge(&mut self, found: Found, is_needed: bool, cutoff: u64) {
        if is_needed {
            self.needed += 1;
        } else if found.modified > cutoff {
            self.young += 1;
        } else {
            self.objects.insert(found.path, found.size);
        }
    }
}

/// What is needed.
#[derive(Default)]
struct Needed {
    snapshots: BTreeSet<u64>,
    parts: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

impl Archive {
    /// Finds what nobody needs, and changes nothing.
    ///
    /// # Errors
    /// [`Error::Object`] or [`Error::Missing`] if a retained snapshot cannot be read.
    pub async fn garbage(&self, retention: Retention) -> Result<Garbage> {
        let _alone = self.alone().await?;
        Ok(self.find_garbage(retention).await?.0)
    }

    /// Removes what nobody needs; gives what was removed. `progress` is told how many objects are done, and of how many.
    ///
    /// # Errors
    /// Those of [`Archive::garbage`]; what was removed until then stays removed, and nothing of it was needed.
    pub async fn collect_garbage(
        &self,
        retention: Retention,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Garbage> {
        let _alone = self.alone().await?;
        let (mut garbage, bases) = self.find_garbage(retention).await?;
        let total = (garbage.objects.len() + garbage.torn.len()) as u64;
        let mut done = 0;
        // The index of a snapshot before its parts, and a snapshot before the blobs that only it has.
        let removed: Vec<_> = garbage.snapshots.clone();
        self.catalog.snapshots_removed(&removed).await?;
        let (mut blobs, mut parts) = (Vec::new(), Vec::new());
        for path in garbage.objects.keys() {
            if let Some((digest, _)) = blob_of_path(path) {
                blobs.push((chain(&bases, digest), digest, path.clone()));
            } else if part::digest_of_path(path).is_some() {
                parts.push(path.clone());
            } else {
                self.tree.delete(path).await?;
                done += 1;
                progress(done, total);
            }
        }
        for path in parts {
            self.tree.delete(&path).await?;
            done += 1;
            progress(done, total);
        }
        // What is made on something goes before that.
        blobs.sort_by(|a, b| b.cmp(a));
        for batch in blobs.chunks(BATCH) {
            let kept = self.discard(batch, retention.grace).await?;
            for path in kept {
                garbage.objects.remove(&path);
                garbage.young += 1;
            }
            done += batch.len() as u64;
            progress(done, total);
        }
        for path in garbage.torn.keys().cloned().collect::<Vec<_>>() {
            let io = |source| Error::Io { path: path.clone(), source };
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
                _ => {}
            }
            done += 1;
            progress(done, total);
        }
        Ok(garbage)
    }

    /// Removes blobs that still nobody names; gives the paths of the others.
    async fn discard(&self, batch: &[(usize, Digest, String)], grace: Duration) -> Result<Vec<String>> {
        let digests: Vec<_> = batch.iter().map(|(_, digest, _)| *digest).collect();
        let (transaction, free) = self.catalog.discard(&digests, grace).await?;
        let (gone, kept): (Vec<_>, Vec<_>) = batch.iter().partition(|(_, digest, _)| free.contains(digest));
        let removals = gone.into_iter().map(|(.., path)| self.tree.delete(path));
        futures::stream::iter(removals).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        transaction.commit().await?;
        Ok(kept.into_iter().map(|(.., path)| path.clone()).collect())
    }

    /// What nobody needs, and the bases of the deltas that were looked at.
    async fn find_garbage(&self, retention: Retention) -> Result<(Garbage, HashMap<Digest, Digest>)> {
        let mut blobs: HashMap<Digest, Vec<Found>> = HashMap::new();
        let mut others = Vec::new();
        let mut deltas = HashSet::new();
        let mut list = self.tree.list("blobs").chain(self.tree.list(snapshot::DIRECTORY));
        while let Some(found) = list.try_next().await? {
            match blob_of_path(&found.path) {
                Some((digest, delta)) => {
                    if delta {
                        deltas.insert(digest);
                    }
                    blobs.entry(digest).or_default().push(found);
                }
                None => others.push(found),
            }
        }
        let mut needed = self.needed_by_snapshots(retention.snapshots).await?;
        needed.blobs.extend(self.catalog.all().await?.iter().flat_map(KernelRecord::blobs));
        let bases = self.bases(&deltas).await?;
        // Bases of bases, too; a list of one's own digests ends even if they go in a circle.
        let mut left: Vec<_> = needed.blobs.iter().copied().collect();
        while let Some(digest) = left.pop() {
            if let Some(base) = bases.get(&digest)
                && needed.blobs.insert(*base)
            {
                left.push(*base);
            }
        }

        let mut garbage = Garbage::default();
        let cutoff = now().saturating_sub(retention.grace.as_secs());
        for (digest, found) in blobs {
            let is_needed = needed.blobs.contains(&digest);
            found.into_iter().for_each(|found| garbage.judge(found, is_needed, cutoff));
        }
        let mut gone = BTreeSet::new();
        for found in others {
            // A signature goes with what it signs.
            let name = found.path.strip_suffix(".minisig").unwrap_or(&found.path);
            if let Some(number) = snapshot::number_of_path(name) {
                // What was announced by others meanwhile has a higher number than all that were read.
                let newer = needed.snapshots.last().is_none_or(|newest| number > *newest);
                let is_needed = newer || needed.snapshots.contains(&number);
                if !is_needed {
                    gone.insert(number);
                }
                // Its age does not matter: nobody is about to name an old snapshot.
                garbage.judge(Found { modified: 0, ..found }, is_needed, cutoff);
            } else if let Some(digest) = part::digest_of_path(name) {
                garbage.judge(found, needed.parts.contains(&digest), cutoff);
            }
            // What has another name is not ours.
        }
        garbage.snapshots = gone.into_iter().collect();
        if let Location::Directory(root) = &self.location {
            let root = root.clone();
            garbage.torn = run(move || torn(&root, cutoff)).await?;
        }
        Ok((garbage, bases))
    }

    /// What the retained snapshots name.
    async fn needed_by_snapshots(&self, keep: Option<u64>) -> Result<Needed> {
        let mut needed = Needed::default();
        let Some(latest) = self.latest().await? else { return Ok(needed) };
        let pinned = self.catalog.pinned_snapshots().await?;
        let removed = self.catalog.removed_snapshots().await?;
        let oldest = keep.map_or(1, |keep| latest.number.saturating_sub(keep.max(1)) + 1);
        let mut link = Some(latest.link());
        for number in (1..=latest.number).rev() {
            let wanted = number >= oldest || pinned.contains_key(&number);
            if !wanted || removed.contains(&number) {
                link = None;
                continue;
            }
            needed.snapshots.insert(number);
            let head = self.checked_head(number, link.take()).await?;
            link = head.previous();
            match head {
                Head::Whole(snapshot) => {
                    needed.blobs.extend(snapshot.kernels.iter().flat_map(KernelRecord::blobs));
                }
                Head::Index(index) => {
                    for (place, part) in index.parts.iter().enumerate() {
                        if needed.parts.insert(part.digest) {
                            let zst = self.part_zst(&part.digest).await?;
                            let object = |source| Error::Object { path: part.path(), source };
                            let kernels = index.read_part(place, &zst).map_err(object)?;
                            needed.blobs.extend(kernels.iter().flat_map(KernelRecord::blobs));
                        }
                    }
                }
            }
        }
        Ok(needed)
    }

    /// The index of a snapshot, checked against what its successor says of it, if that was read.
    async fn checked_head(&self, number: u64, link: Option<Link>) -> Result<Head> {
        if let Some(link) = link {
            let path = snapshot::path(number);
            let zst = self.snapshot_zst(number).await?;
            link.digest.check(&zst).map_err(|source| Error::Object { path, source })?;
        }
        self.head(number).await
    }

    /// The base of each of these deltas.
    async fn bases(&self, deltas: &HashSet<Digest>) -> Result<HashMap<Digest, Digest>> {
        let read = |digest: Digest| async move {
            let path = blob::delta_path(&digest);
            let header = self.tree.get_range(&path, 0..Header::LEN as u64).await?;
            let header = Header::parse(&header).map_err(|source| Error::Object { path, source })?;
            Ok((digest, header.base))
        };
        futures::stream::iter(deltas.iter().copied()).map(read).buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// The blob that lies there, and whether as a delta.
pub(super) fn blob_of_path(path: &str) -> Option<(Digest, bool)> {
    let whole = blob::digest_of_path(path).map(|digest| (digest, false));
    whole.or_else(|| Some((blob::digest_of_delta_path(path)?, true)))
}

/// How many bases a delta lies above a whole blob.
fn chain(bases: &HashMap<Digest, Digest>, digest: Digest) -> usize {
    let base = |digest: &Digest| bases.get(digest).copied();
    std::iter::successors(Some(digest), base).take(16).count()
}

/// The files `NAME#N` of a directory's archive that were last written before `cutoff`.
fn torn(root: &Path, cutoff: u64) -> Result<BTreeMap<PathBuf, u64>> {
    let mut torn = BTreeMap::new();
    let mut left = vec![root.join("blobs"), root.join(snapshot::DIRECTORY), root.to_owned()];
    while let Some(directory) = left.pop() {
        let io = |source| Error::Io { path: directory.clone(), source };
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io(error)),
        };
        for entry in entries {
            let entry = entry.map_err(io)?;
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                // What else lies in the archive's directory is not ours.
                if directory != root {
                    left.push(entry.path());
                }
                continue;
            }
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.rsplit_once('#'));
            let is_torn = number.is_some_and(|(_, number)| {
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            });
            let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            if is_torn && modified.is_some_and(|since| since.as_secs() <= cutoff) {
                torn.insert(entry.path(), metadata.len());
            }
        }
    }
    Ok(torn)
}
