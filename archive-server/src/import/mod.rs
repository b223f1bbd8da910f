//! Imports: volumes from a medium, taken into an archive.
//!
//! 1. Each volume's manifest is read: all must be of one export.
//! 2. Each volume's head is checked: signed as the pinned root asks, not older than what is here, building on a snapshot that is here.
//! 3. Parts and blobs are checked by their digests, each before it is written. Nobody sees them: no snapshot here names them yet.
//! 4. When all that the snapshot needs is here, it arrives: what names and signs it is written, `latest.json` last.
//!
//! So an import that is killed leaves the archive at the snapshot it had, and doing it again goes on. Volumes may come in any order, and one at a time.

mod sources;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use btf_archive::select::Selection;
use btf_archive::snapshot::{self, Latest, Link, Snapshot};
use btf_archive::store::{self, Archive, Arrival};
use btf_archive::trust::{self, Expired, PublicKey};
use btf_archive::volume::Manifest;
use btf_archive::{Digest, Form, KernelRecord, ObjectPath};
use bytes::Bytes;
use serde::Serialize;

use crate::carry::head::{self, Belief, Believed, Head};
use crate::carry::wanted::Wanted;
use sources::Volume;
pub use sources::{Source, SourceError};

/// How an import is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// The pinned roots.
    pub roots: Vec<PublicKey>,
    /// Whether a signed export is taken although no root is pinned.
    pub unpinned: bool,
    /// What to do about expired keys.
    pub expired: Expired,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

/// What an import did, or would do.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The snapshot that the export brings.
    pub snapshot: Link,
    /// The snapshot that was the newest here before.
    pub before: Option<u64>,
    /// Whether the export's snapshot is the newest here now; of a dry run, whether it would be.
    pub complete: bool,
    /// Kernels in the snapshot.
    pub kernels: u64,
    /// Kernels that the export holds.
    pub selected: u64,
    /// Blobs that were new here.
    pub blobs_new: u64,
    /// Bytes of those, as stored.
    pub bytes_new: u64,
    /// Volumes of the export that were not among those given, if anything is missing.
    pub volumes_missing: Vec<u32>,
    /// Blobs that are neither here nor in the volumes given.
    pub missing: Vec<String>,
    /// What is worth telling: expired keys that were let pass, and the like.
    pub warnings: Vec<String>,
}

/// Why an import came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A volume that is not one, or is damaged.
    #[error("{volume}: {source}")]
    Volume {
        /// The file.
        volume: String,
        /// What is wrong.
        source: btf_archive::Error,
    },
    /// Volumes of different exports.
    #[error("{0} is of another export than {1}: import one after the other")]
    Mixed(String, String),
    /// A head that is not believed.
    #[error("{volume}: {source}")]
    Head {
        /// The file.
        volume: String,
        /// Why not.
        source: head::Error,
    },
    /// A signed export, and no root to check it with.
    #[error(
        "this export is signed, and no root key is pinned here: give its root's public key (--root-key KEY|FILE), or take it unchecked (--unpinned)"
    )]
    NotPinned,
    /// The export builds on a snapshot that is not here.
    #[error("this export builds on snapshot {since}, {}: export what is new --since {}, or everything", here.map_or("and this archive is empty".to_owned(), |here| format!("but this archive is at {here}")), here.unwrap_or(0))]
    BuildsOn {
        /// The snapshot needed.
        since: u64,
        /// The newest here.
        here: Option<u64>,
    },
    /// What names the snapshot does not hold together.
    #[error("{path}: {source}")]
    Object {
        /// The object.
        path: String,
        /// What is wrong.
        source: btf_archive::Error,
    },
    /// The archive refused, or could not be written.
    #[error(transparent)]
    Archive(#[from] store::Error),
}

impl Error {
    /// Whether what was offered does not stand up to checking, rather than that something failed here.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Volume { .. }
            | Self::Mixed(..)
            | Self::Head { .. }
            | Self::NotPinned
            | Self::Object { .. } => true,
            Self::Archive(error) => matches!(
                error,
                store::Error::Object { .. }
                    | store::Error::Diverged { .. }
                    | store::Error::AlreadyThere { .. }
            ),
            Self::Source(_) | Self::BuildsOn { .. } => false,
        }
    }
}

/// An import at work.
struct Import<'i> {
    archive: Option<&'i Archive>,
    options: &'i Options,
    belief: Belief,
    /// The blobs here, those of a dry run that would be.
    there: HashMap<Digest, (Form, u64)>,
    /// Parts that were read: of a dry run they are nowhere else.
    parts: BTreeMap<Digest, Bytes>,
    blobs_new: u64,
    bytes_new: u64,
}

/// Takes volumes into an archive; none: into one that is still to be made, which only a dry run does. `progress` is told how many objects are read, and of how many.
///
/// # Errors
/// [`Error`]; the archive is at the snapshot that it had before, then.
pub async fn import(
    archive: Option<&Archive>,
    sources: Vec<Source>,
    options: &Options,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, Error> {
    let mut volumes = sources.into_iter().map(Volume::open).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = volumes.first() else { return Err(SourceError::none().into()) };
    let (manifest, first) = (first.manifest().clone(), first.name().to_owned());
    if let Some(other) = volumes.iter().find(|volume| !volume.manifest().same_export(&manifest)) {
        return Err(Error::Mixed(other.name().to_owned(), first));
    }
    let (mirrored, here, there) = match archive {
        Some(archive) => (archive.mirrored().await?, archive.latest().await?, archive.blobs_here().await?),
        None => (None, None, HashMap::new()),
    };
    let belief = Belief::new(mirrored.as_ref(), options.roots.clone(), options.expired, here.as_ref());
    let belief = belief.map_err(|source| Error::Head { volume: first.clone(), source })?;
    check_since(archive, manifest.since, here.as_ref()).await?;

    let (parts, blobs_new, bytes_new) = (BTreeMap::new(), 0, 0);
    let mut import = Import { archive, options, belief, there, parts, blobs_new, bytes_new };
    let total = volumes.iter().map(|volume| volume.manifest().objects.len() as u64).sum();
    let (mut done, mut arriving) = (0, None);
    for volume in &mut volumes {
        let step = || {
            done += 1;
            progress(done, total);
        };
        arriving = Some(import.volume(volume, step).await?);
    }
    let Some(Arriving { believed, snapshot, past }) = arriving else {
        return Err(SourceError::none().into());
    };

    let wanted = Wanted::of(&snapshot.kernels, &manifest.selection);
    let lacking = wanted.blobs.iter().filter(|(digest, _)| !import.there.contains_key(digest));
    let missing: Vec<_> = lacking.map(|(_, hint)| hint.what.clone()).collect();
    let read: BTreeSet<u32> = volumes.iter().map(|volume| volume.manifest().volume).collect();
    let volumes_missing =
        (1..=manifest.volumes).filter(|volume| !missing.is_empty() && !read.contains(volume)).collect();
    let warnings = import
        .warnings(
            &believed,
            mirrored.as_ref().map(|mirrored| &mirrored.selection),
            &manifest,
            here.as_ref(),
            &snapshot,
        )
        .await?;
    let report = Report {
        snapshot: believed.latest.link(),
        before: here.as_ref().map(|here| here.number),
        complete: missing.is_empty(),
        kernels: snapshot.kernels.len() as u64,
        selected: wanted.kernels,
        blobs_new: import.blobs_new,
        bytes_new: import.bytes_new,
        volumes_missing,
        missing,
        warnings,
    };
    if let (true, false, Some(archive)) = (report.complete, options.dry_run, archive) {
        let oldest = match (&mirrored, manifest.since) {
            (Some(mirrored), Some(_)) => mirrored.oldest,
            (None, Some(_)) => 1,
            // All that it brings of the past.
            (_, None) => past.iter().map(|link| link.number).min().unwrap_or(believed.latest.number),
        };
        let mut copy = believed.mirrored(mirrored, &import.belief, oldest);
        copy.selection = manifest.selection.clone();
        let arrival =
            Arrival { latest: believed.latest.clone(), objects: believed.files.clone(), mirrored: copy };
        archive.arrive(&arrival).await?;
    }
    Ok(report)
}

/// What a volume's head says.
struct Known {
    believed: Believed,
    /// The snapshots before the newest that come with it.
    past: Vec<Link>,
    /// The parts that any of them names.
    parts: HashSet<Digest>,
}

/// What a volume's head and parts bring.
struct Arriving {
    believed: Believed,
    snapshot: Snapshot,
    /// The snapshots before it that come with it.
    past: Vec<Link>,
}

impl Import<'_> {
    /// Reads one volume to its end; takes what is new.
    async fn volume(&mut self, volume: &mut Volume, mut step: impl FnMut()) -> Result<Arriving, Error> {
        let name = volume.name().to_owned();
        let refused = |source| Error::Volume { volume: name.clone(), source };
        let mut next = volume.object().map_err(refused)?;
        // All that names and signs comes before what it names: the manifest was held to that.
        let mut head = Vec::new();
        while let Some((entry, bytes)) =
            next.take_if(|(entry, _)| !matches!(entry.path, ObjectPath::Part(_) | ObjectPath::Blob(..)))
        {
            head.push((entry.path, Bytes::from(bytes)));
            step();
            next = volume.object().map_err(refused)?;
        }
        let head_error = |source| Error::Head { volume: name.clone(), source };
        let checked = self.check_head(&head, volume.manifest()).await;
        let Known { believed, past, parts } = checked.map_err(|error| error.of(head_error))?;
        while let Some((entry, bytes)) = next.take_if(|(entry, _)| matches!(entry.path, ObjectPath::Part(_)))
        {
            if let ObjectPath::Part(digest) = entry.path {
                self.take_part(digest, bytes.into(), &parts, &believed).await?;
            }
            step();
            next = volume.object().map_err(refused)?;
        }
        let snapshot = self.assemble(&believed).await?;
        while let Some((entry, bytes)) = next {
            if let ObjectPath::Blob(digest, form) = entry.path {
                self.take_blob(digest, form, bytes.into()).await?;
            }
            step();
            next = volume.object().map_err(refused)?;
        }
        Ok(Arriving { believed, snapshot, past })
    }

    /// Checks the files that name and sign the snapshot, and the chain of snapshots back to the one that it builds on.
    async fn check_head(
        &self,
        files: &[(ObjectPath, Bytes)],
        manifest: &Manifest,
    ) -> Result<Known, HeadError> {
        let believed = Head::of(files.to_vec()).check(&self.belief).map_err(HeadError::Head)?;
        if believed.is_signed && self.belief.roots.is_empty() && !self.options.unpinned {
            return Err(HeadError::Other(Error::NotPinned));
        }
        if believed.latest.link() != manifest.snapshot {
            return Err(HeadError::Head(trust::Error::Latest.into()));
        }
        let mut past = Vec::new();
        let mut parts: HashSet<_> = believed.snapshot.parts().iter().map(|part| part.digest).collect();
        let mut previous = believed.snapshot.previous();
        while let Some(link) = previous.filter(|link| Some(*link) != manifest.since) {
            let path = ObjectPath::Snapshot(link.number);
            let Some((_, file)) = files.iter().find(|(known, _)| *known == path) else { break };
            let object = |source| HeadError::Other(Error::Object { path: path.to_string(), source });
            link.digest.check(file).map_err(object)?;
            past.push(link);
            let head = snapshot::Head::decode(file).map_err(object)?;
            parts.extend(head.parts().iter().map(|part| part.digest));
            previous = head.previous();
        }
        // One that builds on another must lead back to it.
        if manifest.since.is_some() && previous != manifest.since {
            return Err(HeadError::Head(trust::Error::Forked { number: manifest.snapshot.number }.into()));
        }
        let known = |number: &u64| {
            past.iter().any(|link| link.number == *number) || *number == believed.latest.number
        };
        let stray = files.iter().find(|(path, _)| match path {
            ObjectPath::Snapshot(number) | ObjectPath::SnapshotSignature(number) => !known(number),
            _ => false,
        });
        if let Some((path, _)) = stray {
            let source = btf_archive::Error::Snapshot {
                what: "export",
                reason: "the newest snapshot does not lead there".to_owned(),
            };
            return Err(HeadError::Other(Error::Object { path: path.to_string(), source }));
        }
        Ok(Known { believed, past, parts })
    }

    async fn take_part(
        &mut self,
        digest: Digest,
        bytes: Bytes,
        named: &HashSet<Digest>,
        believed: &Believed,
    ) -> Result<(), Error> {
        let object = |source| Error::Object { path: ObjectPath::Part(digest).to_string(), source };
        if !named.contains(&digest) {
            let reason = "no snapshot of the export names it".to_owned();
            return Err(object(btf_archive::Error::Snapshot { what: "export", reason }));
        }
        digest.check(&bytes).map_err(object)?;
        if let (Some(archive), false) = (self.archive, self.options.dry_run) {
            archive.take_part(&digest, bytes.clone()).await?;
        }
        // Those of snapshots in between are not looked into.
        if believed.snapshot.parts().iter().any(|part| part.digest == digest) {
            let kept: usize = self.parts.values().map(Bytes::len).sum();
            if kept.saturating_add(bytes.len()) > snapshot::MAX_RAW {
                return Err(object(btf_archive::Error::TooLarge { limit: snapshot::MAX_RAW }));
            }
            self.parts.insert(digest, bytes);
        }
        Ok(())
    }

    /// The whole snapshot, of parts that were read or are here.
    async fn assemble(&self, believed: &Believed) -> Result<Snapshot, Error> {
        let index = match &believed.snapshot {
            snapshot::Head::Whole(snapshot) => return Ok(snapshot.clone()),
            snapshot::Head::Index(index) => index,
        };
        let object = |source| Error::Object { path: snapshot::path(index.number), source };
        let mut assembly = index.assemble();
        for part in &index.parts {
            let path = ObjectPath::Part(part.digest);
            let missing = || store::Error::Missing { path: path.to_string() };
            let zst = match (self.parts.get(&part.digest), self.archive) {
                (Some(zst), _) => zst.clone(),
                (None, Some(archive)) => archive.object(&path).await?.ok_or_else(missing)?,
                (None, None) => return Err(missing().into()),
            };
            assembly.add(&zst).map_err(object)?;
        }
        assembly.finish().map_err(object)
    }

    async fn take_blob(&mut self, digest: Digest, form: Form, bytes: Bytes) -> Result<(), Error> {
        if self.there.contains_key(&digest) {
            return Ok(());
        }
        let size = bytes.len() as u64;
        match self.archive {
            Some(archive) if !self.options.dry_run => archive.take_blob(&digest, form, bytes).await?,
            // What a delta is made on may be nowhere yet.
            _ if form == Form::Whole => {
                let check = move || {
                    btf_archive::blob::decompress_verified(&bytes, btf_archive::blob::MAX_RAW, &digest)
                        .map(|_| ())
                };
                let checked = tokio::task::spawn_blocking(check).await;
                let path = ObjectPath::Blob(digest, form).to_string();
                checked.unwrap_or(Ok(())).map_err(|source| Error::Object { path, source })?;
            }
            _ => {}
        }
        self.there.insert(digest, (form, size));
        self.blobs_new += 1;
        self.bytes_new += size;
        Ok(())
    }

    async fn warnings(
        &self,
        believed: &Believed,
        before: Option<&Selection>,
        manifest: &Manifest,
        here: Option<&Latest>,
        snapshot: &Snapshot,
    ) -> Result<Vec<String>, Error> {
        let mut warnings: Vec<_> = believed.warning.clone().into_iter().collect();
        if believed.is_signed && self.belief.roots.is_empty() {
            warnings.push("signed, but taken unchecked: no root key is pinned".to_owned());
        }
        if !believed.is_signed {
            warnings.push("not signed: whoever made the medium can have made up anything on it".to_owned());
        }
        if here.is_some() && before.cloned().unwrap_or_default() != manifest.selection {
            warnings.push(
                "it selects other kernels than what is here: `verify` asks for these from now on".to_owned(),
            );
        }
        if let (Some(archive), Some(here)) = (self.archive, here) {
            let old = archive.snapshot(here.number).await?;
            warnings.extend(changes(&old.kernels, snapshot));
        }
        Ok(warnings)
    }
}

/// What the snapshot before had and this one has otherwise, or no more: rare, and worth a look.
fn changes(before: &[KernelRecord], now: &Snapshot) -> Option<String> {
    let differs = |old: &&KernelRecord| now.kernel(&old.key).is_none_or(|new| new.digest != old.digest);
    let changed: Vec<_> = before.iter().filter(differs).collect();
    let first = changed.first()?;
    Some(format!(
        "{} kernels that are here have other BTF in it, or are not in it, such as {}",
        changed.len(),
        first.key
    ))
}

/// Checks that what an export builds on is here.
async fn check_since(
    archive: Option<&Archive>,
    since: Option<Link>,
    here: Option<&Latest>,
) -> Result<(), Error> {
    let Some(since) = since else { return Ok(()) };
    let builds_on = || Error::BuildsOn { since: since.number, here: here.map(|here| here.number) };
    let (Some(archive), Some(here)) = (archive, here.filter(|here| here.number >= since.number)) else {
        return Err(builds_on());
    };
    match archive.object(&ObjectPath::Snapshot(since.number)).await? {
        Some(file) if Digest::of(&file) == since.digest => Ok(()),
        Some(_) => Err(store::Error::Diverged { number: since.number, here: here.number }.into()),
        None => Err(builds_on()),
    }
}

/// Why a head is not taken.
enum HeadError {
    Head(head::Error),
    Other(Error),
}

impl HeadError {
    fn of(self, head: impl FnOnce(head::Error) -> Error) -> Error {
        match self {
            Self::Head(error) => head(error),
            Self::Other(error) => error,
        }
    }
}
