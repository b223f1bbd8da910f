//! Mirroring: a copy of somebody else's archive, kept up to date by fetching only what it lacks.
//!
//! 1. The head (`latest.json`, the snapshot's index, keys, signatures) comes from the first upstream whose head is believed.
//! 2. The snapshots between the one here and that one are fetched, each by the digest that the one after it gives, with their parts.
//! 3. The blobs that the selected kernels need are fetched from whichever upstream has them, bases before their deltas, each checked by its digest
//!    before it is written.
//! 4. When all are there, the snapshot arrives: what names and signs it is written, `latest.json` last.
//!
//! A mirror's snapshots are its original's to the byte. What it does not hold of them is said in `mirror.json`.
//!
//! Layers: `upstream` (one place to fetch from), `partial` (what has come so far), `pace` (bytes a second), `fetch` (any upstream, patience, checks).

mod blobs;
mod fetch;
mod history;
mod pace;
mod partial;
mod upstream;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use btf_archive::select::{Host, Selection};
use btf_archive::snapshot::{self, Latest, Snapshot};
use btf_archive::store::{self, Archive, Arrival};
use btf_archive::trust::{Expired, PublicKey};
use serde::Serialize;

use crate::carry::head::{self, Belief, Believed, Head};
use crate::carry::wanted::Wanted;
pub use fetch::{Fetcher, Unavailable};
pub use upstream::Upstream;

/// How a mirror is to be made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which kernels; none: as the last time, or all.
    pub selection: Option<Selection>,
    /// The pinned roots.
    pub roots: Vec<PublicKey>,
    /// What to do about expired keys.
    pub expired: Expired,
    /// How many blobs are worked on at once.
    pub parallel: usize,
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The snapshot that is the newest here now.
    pub snapshot: snapshot::Link,
    /// Whether it was not before.
    pub new: bool,
    /// Whether everything that the selection needs is here.
    pub intact: bool,
    /// Kernels in the snapshot.
    pub kernels: u64,
    /// Kernels that are selected.
    pub selected: u64,
    /// Blobs that were fetched.
    pub blobs_fetched: u64,
    /// Bytes of bodies that came, of everything.
    pub bytes_fetched: u64,
    /// Bytes that an earlier, broken run had fetched, and this one had not to.
    pub bytes_resumed: u64,
    /// Requests that were made.
    pub requests: u64,
    /// Hosts of the inventory for whose kernel the upstream has no BTF.
    pub lacking: Vec<String>,
    /// Objects that could not be had, and why. A mirror that lacks any keeps the snapshot it had.
    pub missing: Vec<String>,
    /// What is worth telling: expired keys that were let pass, upstreams that were passed over.
    pub warnings: Vec<String>,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another run is at work.
    #[error("another run is mirroring into this archive ({} is locked): wait for it", .0.display())]
    Busy(PathBuf),
    /// No upstream could be asked what is the newest.
    #[error("no upstream tells its newest snapshot: {}", .0.join("; "))]
    NoHead(Vec<String>),
    /// No upstream's newest snapshot is believed.
    #[error("no upstream is believed: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// What was pinned and what is given do not agree.
    #[error(transparent)]
    Head(#[from] head::Error),
    /// Something that the snapshot consists of could not be had.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// What an upstream has does not follow what is here.
    #[error(transparent)]
    Archive(#[from] store::Error),
    /// A snapshot that does not hold together.
    #[error("snapshot {number}: {source}")]
    Snapshot {
        /// Its number.
        number: u64,
        /// What is wrong.
        source: btf_archive::Error,
    },
    /// The directory for what has come so far cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// While it lives, no other run on this machine mirrors with the same working directory.
#[derive(Debug)]
pub struct Alone {
    _file: File,
}

impl Alone {
    /// Locks the working directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Io`].
    pub fn in_directory(directory: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(io)?;
        let path = directory.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::Busy(path)),
            Err(std::fs::TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

/// Brings a mirror up to date; `progress` is told how many blobs are there, and of how many.
///
/// # Errors
/// [`Error`]; what is here stays as it was then, but for blobs that were fetched.
pub async fn mirror(
    archive: &Archive,
    fetcher: &Fetcher,
    options: &Options,
    progress: impl Fn(u64, u64),
) -> Result<Report, Error> {
    let mirrored = archive.mirrored().await?;
    let here = archive.latest().await?;
    let belief = Belief::new(mirrored.as_ref(), options.roots.clone(), options.expired, here.as_ref())?;
    let mut warnings = Vec::new();
    let believed = newest(fetcher, &belief, &mut warnings).await?;
    if believed.is_signed && belief.roots.is_empty() {
        warnings.push("the upstream is signed, but no root key is pinned: pin it with --root-key".to_owned());
    }
    warnings.extend(believed.warning.clone());
    let Believed { latest, .. } = &believed;

    let past = history::fetch(archive, fetcher, &believed, here.as_ref()).await?;
    if past.gap
        && let Some(here) = &here
    {
        let between = format!("the snapshots between {} and {} could not be had", here.number, past.oldest);
        warnings.push(format!("{between}: that one follows the other is not certain"));
    }
    let snapshot = match &believed.snapshot {
        snapshot::Head::Whole(snapshot) => snapshot.clone(),
        snapshot::Head::Index(index) => history::assemble(archive, index).await?,
    };
    let recorded = mirrored.as_ref().map(|mirrored| mirrored.selection.clone());
    let selection = options.selection.clone().or(recorded).unwrap_or_default();
    let wanted = Wanted::of(&snapshot.kernels, &selection);
    let fetched = blobs::fetch(archive, fetcher, &wanted, options.parallel, progress).await?;

    let new = here.as_ref().map(Latest::link) != Some(latest.link());
    let mut report = report(&snapshot, &wanted, &selection, latest, new, fetcher);
    (report.blobs_fetched, report.missing, report.warnings) = (fetched.count, fetched.missing, warnings);
    if fetched.corrupt {
        report
            .warnings
            .push("some objects are there and are not what they should be: see the list".to_owned());
    }
    report.intact = report.missing.is_empty();
    if !report.intact {
        report.new = false;
        report.snapshot = here.map_or(latest.link(), |here| here.link());
        return Ok(report);
    }
    let oldest = match &mirrored {
        Some(mirrored) if !past.gap => mirrored.oldest,
        // A copy that was made by other means may have all of it.
        None if here.is_some() && !past.gap => 1,
        _ => past.oldest,
    };
    let mut objects = believed.files.clone();
    objects.extend(past.objects);
    let mut mirrored = believed.mirrored(mirrored, &belief, oldest);
    mirrored.selection = selection;
    archive.arrive(&Arrival { latest: latest.clone(), objects, mirrored }).await?;
    Ok(report)
}

/// The newest snapshot of the first upstream that is believed.
async fn newest(fetcher: &Fetcher, belief: &Belief, warnings: &mut Vec<String>) -> Result<Believed, Error> {
    let (mut unheard, mut refused) = (Vec::new(), Vec::new());
    for upstream in fetcher.upstreams() {
        // A new snapshot or list of keys may come between two of the files.
        for attempt in [1, 2] {
            let loaded = Head::load(async |path| fetcher.from(upstream, &path).await).await;
            let head = match loaded {
                Ok(head) => head,
                Err(unavailable) => {
                    unheard.push(unavailable.to_string());
                    break;
                }
            };
            match head.check(belief) {
                Ok(believed) => {
                    warnings.extend(
                        unheard.drain(..).chain(refused.drain(..)).map(|said| format!("passed over: {said}")),
                    );
                    return Ok(believed);
                }
                Err(_) if attempt == 1 => {}
                Err(error @ head::Error::Missing(_)) => unheard.push(format!("{}: {error}", upstream.name())),
                Err(error) => refused.push(format!("{}: {error}", upstream.name())),
            }
        }
    }
    if refused.is_empty() { Err(Error::NoHead(unheard)) } else { Err(Error::Refused(refused)) }
}

fn report(
    snapshot: &Snapshot,
    wanted: &Wanted,
    selection: &Selection,
    latest: &Latest,
    new: bool,
    fetcher: &Fetcher,
) -> Report {
    let lacking = selection.inventory.iter().flat_map(|inventory| inventory.lacking(&snapshot.kernels));
    Report {
        snapshot: latest.link(),
        new,
        intact: false,
        kernels: snapshot.kernels.len() as u64,
        selected: wanted.kernels,
        blobs_fetched: 0,
        bytes_fetched: fetcher.bytes.load(Ordering::Relaxed),
        bytes_resumed: fetcher.resumed.load(Ordering::Relaxed),
        requests: fetcher.requests.load(Ordering::Relaxed),
        lacking: lacking.map(Host::name).collect(),
        missing: Vec::new(),
        warnings: Vec::new(),
    }
}
