//! Which objects an export has, and in which volume each lies.
//!
//! Every volume has the head (keys, snapshots, signatures) and the snapshot's parts. Blobs follow in the order of their kernels' keys, each after what
//! it is made on: in the same volume, unless the snapshot that the export builds on has it. A blob on which deltas in several volumes are made lies in
//! each of those.

use std::collections::{HashMap, HashSet};

use btf_archive::mirrored::Mirrored;
use btf_archive::select::Selection;
use btf_archive::snapshot::{self, Latest, Link, Snapshot};
use btf_archive::store::{Archive, Stored};
use btf_archive::volume::{self, Entry, Manifest};
use btf_archive::{Digest, Form, KernelRecord, ObjectPath};
use bytes::Bytes;

use super::Error;
use crate::carry::head::Head;
use crate::carry::wanted::Wanted;

/// More than the digits of `volume` and `volumes` can add to a manifest.
const SLACK: u64 = 64;

/// What is to be exported.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Only what is new since this snapshot.
    pub since: Option<u64>,
    /// Which kernels; none: all that the archive promises to hold.
    pub selection: Option<Selection>,
    /// The most bytes a volume may have.
    pub max_size: Option<u64>,
}

/// What an export consists of.
#[derive(Debug)]
pub struct Plan {
    /// The snapshot.
    pub latest: Latest,
    /// The snapshot that it builds on.
    pub since: Option<Link>,
    /// Which kernels.
    pub selection: Selection,
    /// All kernels of the snapshot.
    pub kernels: Vec<KernelRecord>,
    /// How many are selected.
    pub selected: u64,
    /// What names and signs the snapshot, with its bytes.
    pub head: Vec<(ObjectPath, Bytes)>,
    /// What the archive says of itself as a copy.
    pub mirrored: Option<Mirrored>,
    parts: Vec<ObjectPath>,
    blobs: Vec<Blob>,
    /// The digests of `blobs`.
    exported: HashSet<Digest>,
}

/// A blob of an export.
#[derive(Clone, Debug)]
struct Blob {
    entry: Entry,
    what: String,
    /// What it is made on, if that is in the export.
    base: Option<Digest>,
}

impl Plan {
    /// The newest snapshot of an archive, and what names and signs it.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::NothingNew`], [`Error::Archive`].
    pub async fn of_head(archive: &Archive, request: &Request) -> Result<Self, Error> {
        let mirrored = archive.mirrored().await?;
        let head = Head::load(async |path| archive.object(&path).await).await?.into_files();
        let latest = archive.latest().await?.ok_or(Error::NoSnapshot)?;
        let snapshot = checked(archive, latest.link()).await?;
        let promised = mirrored.as_ref().map(|mirrored| mirrored.selection.clone());
        let selection = request.selection.clone().or(promised).unwrap_or_default();
        let Snapshot { kernels, .. } = snapshot;
        let selected = Wanted::of(&kernels, &selection).kernels;
        let (parts, blobs, exported) = (Vec::new(), Vec::new(), HashSet::new());
        let mut plan = Self {
            latest,
            since: None,
            selection,
            kernels,
            selected,
            head,
            mirrored,
            parts,
            blobs,
            exported,
        };
        plan.add_past(archive, request.since).await?;
        Ok(plan)
    }

    /// The plan of volumes.
    ///
    /// # Errors
    /// Those of [`Plan::of_head`], and [`Error::Missing`].
    pub async fn of_volumes(archive: &Archive, request: &Request) -> Result<Self, Error> {
        let mut plan = Self::of_head(archive, request).await?;
        let mut there = HashSet::new();
        if let Some(since) = plan.since {
            let before = archive.snapshot(since.number).await?;
            for (digest, _) in Wanted::of(&before.kernels, &plan.selection).blobs {
                add_bases(archive, digest, &mut there).await?;
            }
        }
        let wanted = Wanted::of(&plan.kernels, &plan.selection).blobs;
        // In the order of their kernels' keys, for whoever reads or fetches some of it.
        let mut order: Vec<_> = wanted.iter().map(|(digest, hint)| (hint.what.clone(), *digest)).collect();
        order.sort_by_cached_key(|(what, _)| what.rsplit(' ').next().map(str::to_owned));
        let mut missing = Vec::new();
        for (what, digest) in order {
            if let Err(error) = plan.add_blob(archive, digest, &what, &mut there).await {
                match error {
                    Error::Archive(btf_archive::store::Error::Missing { .. }) => missing.push(what),
                    error => return Err(error),
                }
            }
        }
        if missing.is_empty() { Ok(plan) } else { Err(Error::Missing(missing)) }
    }

    /// The snapshots since the one that the export builds on, and all parts that one does not have.
    async fn add_past(&mut self, archive: &Archive, since: Option<u64>) -> Result<(), Error> {
        let newest = self.latest.number;
        let nothing_new = |since| Error::NothingNew { since, newest };
        let mut head = archive.head(newest).await?;
        let mut parts: Vec<Digest> = head.parts().iter().map(|part| part.digest).collect();
        if let Some(since) = since {
            if since >= newest || since == 0 {
                return Err(nothing_new(since));
            }
            while let Some(link) = head.previous() {
                let path = ObjectPath::Snapshot(link.number);
                let missing = || btf_archive::store::Error::Missing { path: path.to_string() };
                let file = archive.object(&path).await?.ok_or_else(missing)?;
                let object = |source| Error::Object { path: path.to_string(), source };
                link.digest.check(&file).map_err(object)?;
                head = snapshot::Head::decode(&file).map_err(object)?;
                if link.number == since {
                    self.since = Some(link);
                    let known: HashSet<_> = head.parts().iter().map(|part| part.digest).collect();
                    parts.retain(|part| !known.contains(part));
                    break;
                }
                parts.extend(head.parts().iter().map(|part| part.digest));
                self.head.push((path, file));
                let signature = ObjectPath::SnapshotSignature(link.number);
                self.head.extend(archive.object(&signature).await?.map(|bytes| (signature, bytes)));
            }
            if self.since.is_none() {
                return Err(nothing_new(since));
            }
        }
        let mut seen = HashSet::new();
        parts.retain(|part| seen.insert(*part));
        self.parts = parts.into_iter().map(ObjectPath::Part).collect();
        Ok(())
    }

    /// Adds a blob, after what it is made on, unless it is there.
    async fn add_blob(
        &mut self,
        archive: &Archive,
        digest: Digest,
        what: &str,
        there: &mut HashSet<Digest>,
    ) -> Result<(), Error> {
        let mut chain = Vec::new();
        let mut next = Some(digest);
        while let Some(digest) = next.filter(|digest| !there.contains(digest)) {
            let stored = archive.stored(&digest).await?;
            next = base_of(digest, &stored)?;
            chain.push((digest, stored, next));
            if chain.len() > usize::from(btf_archive::delta::MAX_DEPTH) + 1 {
                break;
            }
        }
        for (digest, stored, base) in chain.into_iter().rev() {
            there.insert(digest);
            let form = match stored {
                Stored::Whole(_) => Form::Whole,
                Stored::Delta(_) => Form::Delta,
            };
            let entry = Entry::of(ObjectPath::Blob(digest, form), stored.bytes());
            // What the snapshot before has is not in any volume.
            let base = base.filter(|base| self.exported.contains(base));
            self.exported.insert(digest);
            self.blobs.push(Blob { entry, what: what.to_owned(), base });
        }
        Ok(())
    }

    /// The manifests of all volumes.
    ///
    /// # Errors
    /// [`Error::TooSmall`], [`Error::Archive`].
    pub async fn manifests(&self, archive: &Archive, max_size: Option<u64>) -> Result<Vec<Manifest>, Error> {
        let mut common: Vec<_> = self.head.iter().map(|(path, bytes)| Entry::of(*path, bytes)).collect();
        for path in &self.parts {
            let missing = || btf_archive::store::Error::Missing { path: path.to_string() };
            let bytes = archive.object(path).await?.ok_or_else(missing)?;
            common.push(Entry::of(*path, &bytes));
        }
        let snapshot = self.latest.link();
        let (since, selection) = (self.since, self.selection.clone());
        let empty = Manifest { snapshot, since, selection, volume: 1, volumes: 1, objects: common };
        let mut packing = Packing::new(&empty, max_size, &self.blobs);
        for blob in &self.blobs {
            packing.add(blob)?;
        }
        let volumes = packing.volumes;
        let count = u32::try_from(volumes.len()).unwrap_or(u32::MAX);
        let manifest = |(number, blobs): (u32, Vec<Entry>)| {
            let mut manifest = Manifest { volume: number, volumes: count, ..empty.clone() };
            manifest.objects.extend(blobs);
            manifest
        };
        Ok((1..).zip(volumes).map(manifest).collect())
    }

    /// An object of the plan.
    ///
    /// # Errors
    /// [`Error::Archive`].
    pub(super) async fn object(&self, archive: &Archive, path: &ObjectPath) -> Result<Bytes, Error> {
        if let Some((_, bytes)) = self.head.iter().find(|(known, _)| known == path) {
            return Ok(bytes.clone());
        }
        let missing = || btf_archive::store::Error::Missing { path: path.to_string() };
        Ok(archive.object(path).await?.ok_or_else(missing)?)
    }

    /// The parts of the snapshot.
    pub(super) fn parts(&self) -> &[ObjectPath] {
        &self.parts
    }
}

/// Blobs being put into volumes.
struct Packing<'p> {
    max_size: Option<u64>,
    /// What a volume has without any blob.
    common: u64,
    manifest: u64,
    blobs: HashMap<Digest, &'p Blob>,
    volumes: Vec<Vec<Entry>>,
    /// Of the last volume: the blobs in it, the bytes of its manifest and of its members.
    here: HashSet<Digest>,
    lines: u64,
    members: u64,
}

impl<'p> Packing<'p> {
    fn new(empty: &Manifest, max_size: Option<u64>, blobs: &'p [Blob]) -> Self {
        let manifest = empty.encode().map_or(u64::MAX, |json| json.len() as u64 + SLACK);
        let common = empty.objects.iter().map(|entry| volume::room(entry.size)).sum::<u64>() + volume::END;
        let blobs = blobs.iter().filter_map(|blob| Some((blob.entry.path.blob()?, blob))).collect();
        let (here, lines, members) = (HashSet::new(), 0, 0);
        Self { max_size, common, manifest, blobs, volumes: vec![Vec::new()], here, lines, members }
    }

    fn add(&mut self, blob: &'p Blob) -> Result<(), Error> {
        if self.put(blob)?.is_none() {
            return Ok(());
        }
        self.volumes.push(Vec::new());
        self.here.clear();
        (self.lines, self.members) = (0, 0);
        match self.put(blob)? {
            None => Ok(()),
            Some(needed) => {
                let what = format!("{}, with what it is made on,", blob.what);
                Err(Error::TooSmall { limit: self.max_size.unwrap_or(u64::MAX), what, needed })
            }
        }
    }

    /// Puts a blob into the last volume, after what it is made on, if there is room; else tells how large the volume would be.
    fn put(&mut self, blob: &'p Blob) -> Result<Option<u64>, Error> {
        let mut chain = vec![blob];
        while let Some(base) =
            chain.last().and_then(|blob| blob.base).filter(|base| !self.here.contains(base))
        {
            match self.blobs.get(&base) {
                Some(base) if chain.len() < 8 => chain.push(base),
                _ => break,
            }
        }
        chain.retain(|blob| blob.entry.path.blob().is_none_or(|digest| !self.here.contains(&digest)));
        let line = |blob: &&Blob| serde_json::to_vec(&blob.entry).map_or(0, |json| json.len() as u64) + 2;
        let lines = self.lines + chain.iter().map(line).sum::<u64>();
        let members = self.members + chain.iter().map(|blob| volume::room(blob.entry.size)).sum::<u64>();
        let manifest = self.manifest.saturating_add(lines);
        let size = self.common + members + volume::room(manifest);
        let full = self.max_size.is_some_and(|limit| size > limit) || manifest > volume::MAX_MANIFEST;
        if full {
            return Ok(Some(size));
        }
        (self.lines, self.members) = (lines, members);
        for blob in chain.into_iter().rev() {
            self.here.extend(blob.entry.path.blob());
            if let Some(volume) = self.volumes.last_mut() {
                volume.push(blob.entry.clone());
            }
        }
        Ok(None)
    }
}

/// Adds a blob, and all that it is made on, to what is there.
async fn add_bases(archive: &Archive, digest: Digest, there: &mut HashSet<Digest>) -> Result<(), Error> {
    let mut next = Some(digest);
    while let Some(digest) = next.filter(|digest| there.insert(*digest)) {
        next = match archive.stored(&digest).await {
            Ok(stored) => base_of(digest, &stored)?,
            // Whoever has that snapshot has it.
            Err(btf_archive::store::Error::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(())
}

fn base_of(digest: Digest, stored: &Stored) -> Result<Option<Digest>, Error> {
    stored
        .base()
        .map_err(|source| Error::Object { path: ObjectPath::Blob(digest, Form::Delta).to_string(), source })
}

/// A snapshot with all its kernels, checked against its digest.
async fn checked(archive: &Archive, link: Link) -> Result<Snapshot, Error> {
    let path = ObjectPath::Snapshot(link.number).to_string();
    let file = archive.snapshot_zst(link.number).await?;
    link.digest.check(&file).map_err(|source| Error::Object { path, source })?;
    Ok(archive.snapshot(link.number).await?)
}
