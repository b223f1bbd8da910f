//! Checking a whole archive: that everything it names is there, is what its name says, and is signed by whom it should be.
//!
//! 1. the newest snapshot: `latest.json`, the file it names, and, in a signed archive, who signed them (`signatures`);
//! 2. every other snapshot that is there: its parts, and that it is the one that its successor recorded (`snapshots`);
//! 3. the catalog, where there is one, has every kernel of the newest snapshot, with the same BTF;
//! 4. every blob that a snapshot or the catalog names is there, has its digest and its recorded sizes, and is BTF that a kernel
//!    would take, the split BTF of modules, or a configuration (`blobs`);
//! 5. what lies there and is not named by any of these is told: it is no damage.
//!
//! One piece of damage does not hide another: what was found wrong is collected, and the check goes on.

mod blobs;
mod signatures;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use btf_archive::select::Selection;
use btf_archive::store::{Archive, Filter, MAX_PAGE, Result};
use btf_archive::trust::{KeyId, Policy, Seen};
use btf_archive::{Digest, KernelRecord, blob, snapshot};
use futures::StreamExt as _;
use serde::Serialize;

use blobs::{Content, Expected};

/// How many paths of leftovers are told.
const LEFTOVERS_TOLD: usize = 1000;
/// How many kernels are told of a damaged blob.
const KERNELS_TOLD: usize = 8;

/// What is to be checked.
#[derive(Debug)]
pub struct Options {
    /// How many blobs are checked at once.
    pub parallel: usize,
    /// Which roots must have vouched for it; without, signatures are checked with the archive's own list of keys.
    pub policy: Option<Policy>,
    /// What was seen of it before.
    pub seen: Seen,
}

/// What a check found.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Kernels in the newest snapshot, and those that only the catalog has yet.
    pub kernels: u64,
    /// Snapshots that were read.
    pub snapshots: u64,
    /// The oldest of them; those before were removed.
    pub oldest: Option<u64>,
    /// Their parts, each counted once.
    pub parts: u64,
    /// Blobs that were read.
    pub blobs: u64,
    /// Their sizes as stored, in bytes.
    pub stored_bytes: u64,
    /// Their raw sizes, in bytes.
    pub raw_bytes: u64,
    /// The key that signed the newest snapshot; none if the archive is not signed.
    pub signed_by: Option<KeyId>,
    /// Whether a pinned root vouches for that key.
    pub root_checked: bool,
    /// What is wrong. An archive without damage has none.
    pub damage: Vec<Damage>,
    /// What is not wrong, but should be known.
    pub warnings: Vec<String>,
    /// What nobody names; none where objects cannot be listed.
    pub leftovers: Option<Leftovers>,
    /// What is to be remembered of this archive, if it is not damaged.
    #[serde(skip)]
    pub seen: Seen,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// The object's path in the archive, or the kernel's key.
    pub what: String,
    /// What is wrong with it, and with its causes.
    pub reason: String,
}

/// Objects that no snapshot and no catalog names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Leftovers {
    /// How many there are.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The paths of the first thousand.
    pub paths: Vec<String>,
}

impl Report {
    fn found(&mut self, what: &impl ToString, reason: &impl ToString) {
        self.damage.push(Damage { what: what.to_string(), reason: reason.to_string() });
    }
}

/// Checks an archive; `progress` is told after each blob how many are done, and of how many. `catalog` is the same archive
/// with its catalog, if that is to be checked.
///
/// # Errors
/// Only if the catalog cannot be read, or the store not be asked: everything else that is wrong is in the report.
pub async fn verify(
    archive: &Arc<Archive>,
    catalog: Option<&Archive>,
    options: &Options,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report> {
    let mut report = Report { seen: options.seen, ..Report::default() };
    let objects = archive.list().await?;
    signatures::check(archive, options, &mut report).await?;
    let mut named = snapshots::check(archive, objects.as_ref(), &mut report).await?;
    report.kernels = named.newest.len() as u64;
    named.newest.sort_by(|a, b| a.key.cmp(&b.key));
    if let Some(catalog) = catalog {
        compare(catalog, &mut named, &mut report).await?;
    }

    let total = named.blobs.len() as u64;
    let (mut needed, mut bases) = (HashSet::new(), HashSet::new());
    let checks = named.blobs.into_iter().map(|(digest, expected)| {
        let archive = Arc::clone(archive);
        async move { (digest, blobs::check(&archive, digest, &expected).await, expected) }
    });
    let mut checks = futures::stream::iter(checks).buffer_unordered(options.parallel.max(1));
    while let Some((digest, checked, expected)) = checks.next().await {
        report.blobs += 1;
        needed.insert(digest);
        match checked {
            Ok(checked) => {
                report.stored_bytes += checked.stored;
                report.raw_bytes += checked.raw;
                bases.extend(checked.base);
                if checked.differs {
                    let warning = format!("{} is stored otherwise than recorded", blob::path(&digest));
                    report.warnings.push(warning);
                }
            }
            Err(reason) => report.found(&blob::path(&digest), &format!("{reason} ({expected})")),
        }
        progress(report.blobs, total);
    }
    if let Some(objects) = objects {
        add_bases(archive, bases, &mut needed).await;
        report.leftovers = Some(leftovers(objects, &needed, &named.parts, &named.snapshots));
    }
    // In whatever order the checks ended.
    report.damage.sort();
    report.warnings.sort();
    Ok(report)
}

/// What snapshots and catalog name.
#[derive(Default)]
struct Named {
    /// Which kernels' blobs are promised, where this is a copy of another archive. Of its older snapshots none are.
    promised: Option<Selection>,
    /// The kernels of the newest snapshot, in order of their keys.
    newest: Vec<KernelRecord>,
    blobs: BTreeMap<Digest, Expected>,
    parts: HashSet<Digest>,
    /// The numbers of all snapshots that are there.
    snapshots: BTreeSet<u64>,
}

impl Named {
    /// Notes the blobs of a kernel; of a blob that is known, the sizes that were noted first count.
    fn note(&mut self, kernel: &KernelRecord) -> Result<(), &'static str> {
        let KernelRecord { digest, config, modules, .. } = kernel;
        let promised = self.promised.as_ref();
        if promised.is_some_and(|promised| !promised.takes(kernel)) {
            return Ok(());
        }
        let modules = modules.as_ref().filter(|_| promised.is_none_or(|promised| !promised.without_modules));
        let config = config.as_ref().filter(|_| promised.is_none_or(|promised| !promised.without_configs));
        let sizes = blobs::Sizes::of(kernel);
        let named = [(Some(digest), Content::Btf), (modules, Content::Modules), (config, Content::Config)];
        let mut agrees = true;
        for (digest, content) in named {
            let Some(digest) = digest else { continue };
            let sizes = (content == Content::Btf).then(|| sizes.clone());
            let expected = self.blobs.entry(*digest).or_insert_with(|| Expected::new(content, sizes.clone()));
            expected.needed_by(&kernel.key, KERNELS_TOLD);
            agrees &= expected.sizes == sizes;
        }
        if agrees {
            Ok(())
        } else {
            Err("records other sizes of its blob than another kernel with the same one")
        }
    }
}

/// Compares the catalog with the newest snapshot, and notes what only the catalog has yet.
async fn compare(catalog: &Archive, named: &mut Named, report: &mut Report) -> Result<()> {
    let newest = std::mem::take(&mut named.newest);
    let mut met = vec![false; newest.len()];
    let mut cursor = None;
    loop {
        let page = catalog.catalog().list(&Filter::default(), cursor.as_deref(), MAX_PAGE).await?;
        for kernel in &page.kernels {
            if let Err(reason) = named.note(kernel) {
                report.found(&kernel.key, &reason);
            }
            match newest.binary_search_by(|known| known.key.cmp(&kernel.key)) {
                Err(_) => report.kernels += 1,
                Ok(at) => {
                    met[at] = true;
                    let (here, there) = (kernel.digest, newest[at].digest);
                    if here != there {
                        let reason = format!("has BTF {here} in the catalog, {there} in the newest snapshot");
                        report.found(&kernel.key, &reason);
                    }
                }
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    for (kernel, _) in newest.iter().zip(met).filter(|(_, met)| !met) {
        report.found(&kernel.key, &"is in the newest snapshot, but not in the catalog");
    }
    Ok(())
}

/// Adds the bases that no kernel names, and theirs.
async fn add_bases(archive: &Archive, bases: HashSet<Digest>, needed: &mut HashSet<Digest>) {
    let mut left: Vec<Digest> = bases.into_iter().collect();
    while let Some(digest) = left.pop() {
        if needed.insert(digest) {
            // One that cannot be read is damage, and was found where something is made on it.
            let stored = archive.stored(&digest).await.ok();
            left.extend(stored.and_then(|stored| stored.base().ok().flatten()));
        }
    }
}

/// What is there and not named.
fn leftovers(
    objects: BTreeMap<String, u64>,
    blobs: &HashSet<Digest>,
    parts: &HashSet<Digest>,
    snapshots: &BTreeSet<u64>,
) -> Leftovers {
    let mut leftovers = Leftovers::default();
    for (path, bytes) in objects {
        let name = path.strip_suffix(".minisig").unwrap_or(&path);
        let blob = blob::digest_of_path(name).or_else(|| blob::digest_of_delta_path(name));
        let is_named = if let Some(digest) = blob {
            blobs.contains(&digest)
        } else if let Some(digest) = snapshot::part::digest_of_path(name) {
            parts.contains(&digest)
        } else if let Some(number) = snapshot::number_of_path(name) {
            snapshots.contains(&number)
        } else {
            // Of another kind: the catalog's, or the operator's own.
            !name.starts_with("blobs/") && !name.starts_with("snapshots/")
        };
        if !is_named {
            leftovers.objects += 1;
            leftovers.bytes += bytes;
            if leftovers.paths.len() < LEFTOVERS_TOLD {
                leftovers.paths.push(path);
            }
        }
    }
    leftovers
}
