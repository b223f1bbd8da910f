//! Reading everything again to find what has rotted or is missing, and putting good bytes in its place.
//!
//! What should be there is known from the catalog and from all snapshots that are here. Each object is checked against what names it: a blob
//! and a part against the digest in their names, a snapshot against what its successor (or the catalog) says of it. An object from elsewhere
//! takes the place of a bad one only after the same check.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use super::gc::blob_of_path;
use super::tree::run;
use super::{Archive, Error, Result};
use crate::snapshot::{self, Head, Latest, part};
use crate::{Digest, KernelRecord, blob, delta};

/// An object that is not what it should be, or not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its path in the archive.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
    /// Whether it is not there at all.
    pub missing: bool,
    /// The sha256 that its file should have, where its name does not tell.
    digest: Option<Digest>,
}

/// How far a scrub has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Objects that were read.
    pub objects: u64,
    /// Their bytes as stored.
    pub bytes: u64,
    /// How many of them, and of those that are missing, are damaged.
    pub damaged: u64,
}

/// How a scrub goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes (as stored) a second, at most; none: as fast as it goes.
    pub rate: Option<NonZeroU64>,
    /// How many objects are read at once.
    pub parallel: usize,
}

/// One scrub.
struct Pass<'a, F> {
    archive: &'a Archive,
    pace: Pace,
    begun: Instant,
    done: Scrubbed,
    damage: BTreeMap<String, Damage>,
    told: F,
}

impl Archive {
    /// Reads everything that should be here; gives what is damaged, by path. `told` hears after each object how far it is.
    ///
    /// # Errors
    /// Those of the catalog, and of a store that cannot be listed.
    pub async fn scrub(&self, pace: Pace, told: impl FnMut(Scrubbed)) -> Result<Vec<Damage>> {
        let begun = Instant::now();
        let mut pass =
            Pass { archive: self, pace, begun, done: Scrubbed::default(), damage: BTreeMap::new(), told };
        let mut blobs = BTreeSet::new();
        pass.snapshots(&mut blobs).await?;
        blobs.extend(self.catalog.all().await?.iter().flat_map(KernelRecord::blobs));
        pass.blobs(blobs).await?;
        Ok(pass.damage.into_values().collect())
    }

    /// Puts a good object in the place of a damaged one.
    ///
    /// # Errors
    /// [`Error::Object`] if it is not good either, [`Error::Query`] where nothing is known that it could be checked against.
    pub async fn heal(&self, damage: &Damage, bytes: Bytes) -> Result<()> {
        self.writable()?;
        self.check_object(&damage.path, bytes.clone(), damage.digest).await?;
        self.tree.put(&damage.path, bytes).await
    }

    /// Writes a blob whole, over whatever lies there. Its kernels' records say so from the next snapshot on.
    ///
    /// # Errors
    /// [`Error::Input`] if the bytes are not that blob.
    pub async fn restore_blob(&self, digest: &Digest, raw: Bytes) -> Result<()> {
        self.writable()?;
        digest.check(&raw)?;
        let raw_size = raw.len() as u64;
        let zst = run(move || blob::compress(&raw)).await;
        let zst_size = zst.len() as u64;
        self.tree.put(&blob::path(digest), zst).await?;
        self.tree.delete(&blob::delta_path(digest)).await?;
        self.catalog.restored(digest, raw_size, zst_size).await
    }

    /// Checks an object by its path, and by its digest where that is known otherwise.
    async fn check_object(&self, path: &str, bytes: Bytes, digest: Option<Digest>) -> Result<()> {
        let object = |source| Error::Object { path: path.to_owned(), source };
        if let Some((named, is_delta)) = blob_of_path(path) {
            return match is_delta {
                true => self.check_delta(&named, bytes).await,
                false => {
                    let check = move || blob::decompress_verified(&bytes, blob::MAX_RAW, &named).map(|_| ());
                    run(check).await.map_err(object)
                }
            };
        }
        let digest = match (part::digest_of_path(path), snapshot::number_of_path(path)) {
            (Some(named), _) => Some(named),
            (None, Some(number)) => match digest {
                Some(digest) => Some(digest),
                None => self.catalog.snapshot_digest(number).await?,
            },
            (None, None) if path == snapshot::LATEST => {
                let latest = Latest::decode(&bytes).map_err(object)?;
                let known = self.catalog.snapshot_digest(latest.number).await?;
                let newest = self.catalog.newest_snapshot().await?;
                if newest > Some(latest.number) || known.is_some_and(|known| known != latest.digest) {
                    let reason = "does not name the newest snapshot that was published from here".to_owned();
                    return Err(object(crate::Error::Snapshot { what: snapshot::LATEST, reason }));
                }
                return Ok(());
            }
            (None, None) => None,
        };
        let unknown = || Error::Query { what: "path", reason: format!("{path} does not say what it holds") };
        digest.ok_or_else(unknown)?.check(&bytes).map_err(object)
    }

    /// Checks a blob that is stored as a delta, whose base must be good for that.
    async fn check_delta(&self, digest: &Digest, stored: Bytes) -> Result<()> {
        let object = |source| Error::Object { path: blob::delta_path(digest), source };
        let header = delta::Header::parse(&stored).map_err(object)?;
        if header.digest != *digest {
            return Err(object(crate::Error::DigestMismatch { expected: *digest, found: header.digest }));
        }
        let base = self.blob(&header.base).await?;
        let decode = move || delta::decode(&base, &stored, blob::MAX_RAW).map(|_| ());
        run(decode).await.map_err(object)
    }

    /// The blobs of the tree, each with the forms it is there in.
    async fn stored_blobs(&self) -> Result<HashMap<Digest, Vec<String>>> {
        let mut stored: HashMap<_, Vec<_>> = HashMap::new();
        let mut list = self.tree.list("blobs");
        while let Some(found) = list.try_next().await? {
            if let Some((digest, _)) = blob_of_path(&found.path) {
                stored.entry(digest).or_default().push(found.path);
            }
        }
        Ok(stored)
    }
}

impl<F: FnMut(Scrubbed)> Pass<'_, F> {
    /// Every snapshot from the newest back, with its parts; collects the blobs that they name.
    async fn snapshots(&mut self, blobs: &mut BTreeSet<Digest>) -> Result<()> {
        let archive = self.archive;
        let newest = archive.catalog.newest_snapshot().await?.unwrap_or(0);
        let latest = match archive.latest_json().await {
            Ok(json) => {
                let checked = archive.check_object(snapshot::LATEST, json.clone(), None).await;
                self.seen(snapshot::LATEST, json.len() as u64, checked, None).await;
                Latest::decode(&json).ok()
            }
            Err(Error::Missing { .. }) if newest == 0 => return Ok(()),
            Err(error) => {
                self.seen(snapshot::LATEST, 0, Err(error), None).await;
                None
            }
        };
        let removed = archive.catalog.removed_snapshots().await?;
        let mut link = latest.as_ref().map(Latest::link);
        let mut parts = BTreeSet::new();
        for number in (1..=latest.map_or(newest, |latest| latest.number)).rev() {
            let expected = link.take().filter(|link| link.number == number);
            if removed.contains(&number) {
                continue;
            }
            let path = snapshot::path(number);
            let read = archive.snapshot_zst(number).await;
            let size = read.as_ref().map_or(0, |zst| zst.len() as u64);
            let known = match expected {
                Some(link) => Some(link.digest),
                None => archive.catalog.snapshot_digest(number).await?,
            };
            let head = match read {
                Ok(zst) => {
                    let object = |source| Error::Object { path: path.clone(), source };
                    known
                        .map_or(Ok(()), |digest| digest.check(&zst))
                        .and_then(|()| Head::decode(&zst))
                        .map_err(object)
                }
                Err(error) => Err(error),
            };
            if let Ok(head) = &head {
                link = head.previous();
                match head {
                    Head::Whole(snapshot) => {
                        blobs.extend(snapshot.kernels.iter().flat_map(KernelRecord::blobs));
                    }
                    Head::Index(index) => {
                        for (place, part) in index.parts.iter().enumerate() {
                            if parts.insert(part.digest) {
                                self.part(index, place, blobs).await;
                            }
                        }
                    }
                }
            }
            self.seen(&path, size, head.map(|_| ()), known).await;
        }
        Ok(())
    }

    async fn part(&mut self, index: &snapshot::Index, place: usize, blobs: &mut BTreeSet<Digest>) {
        let part = &index.parts[place];
        let path = part.path();
        let read = self.archive.part_zst(&part.digest).await;
        let size = read.as_ref().map_or(0, |zst| zst.len() as u64);
        let object = |source| Error::Object { path: path.clone(), source };
        let kernels = read.and_then(|zst| index.read_part(place, &zst).map_err(object));
        if let Ok(kernels) = &kernels {
            blobs.extend(kernels.iter().flat_map(KernelRecord::blobs));
        }
        self.seen(&path, size, kernels.map(|_| ()), None).await;
    }

    /// These blobs, in every form in which they are there.
    async fn blobs(&mut self, blobs: BTreeSet<Digest>) -> Result<()> {
        let archive = self.archive;
        let mut stored = archive.stored_blobs().await?;
        let mut paths = Vec::new();
        for digest in blobs {
            match stored.remove(&digest) {
                Some(forms) => paths.extend(forms),
                None => {
                    let path = blob::path(&digest);
                    self.seen(&path.clone(), 0, Err(Error::Missing { path }), None).await;
                }
            }
        }
        let checks = paths.into_iter().map(|path| async move {
            let read = archive.tree.get(&path, blob::MAX_ZST).await;
            match read {
                Ok(bytes) => {
                    let size = bytes.len() as u64;
                    let checked = archive.check_object(&path, bytes, None).await;
                    (path, size, checked)
                }
                Err(error) => (path, 0, Err(error)),
            }
        });
        let mut checks = futures::stream::iter(checks).buffer_unordered(self.pace.parallel.max(1));
        while let Some((path, size, checked)) = checks.next().await {
            self.seen(&path, size, checked, None).await;
        }
        Ok(())
    }

    /// Takes down what was found, and waits as long as the pace says.
    async fn seen(&mut self, path: &str, size: u64, checked: Result<()>, digest: Option<Digest>) {
        self.done.objects += 1;
        self.done.bytes += size;
        if let Err(error) = checked {
            let missing = matches!(error, Error::Missing { .. });
            // The path is said already.
            let reason = match error {
                Error::Object { source, .. } => source.to_string(),
                Error::Missing { .. } => "is missing".to_owned(),
                error => error.to_string(),
            };
            self.done.damaged += 1;
            self.damage.insert(path.to_owned(), Damage { path: path.to_owned(), reason, missing, digest });
        }
        (self.told)(self.done);
        if let Some(rate) = self.pace.rate {
            let due = Duration::from_secs_f64(self.done.bytes as f64 / rate.get() as f64);
            tokio::time::sleep_until(self.begun + due).await;
        }
    }
}
