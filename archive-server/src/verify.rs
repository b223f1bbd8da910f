//! Checking a whole archive: that everything it names is there, and is what its name says.
//!
//! 1. the chain of snapshots, from `latest.json` back to the first: each has the digest that its successor recorded;
//! 2. the catalog has every kernel of the newest snapshot, with the same BTF;
//! 3. every blob that the catalog or the newest snapshot names is there, has its digest and its recorded sizes, and is
//!    BTF that a kernel would take, the split BTF of modules, or a configuration.
//!
//! One piece of damage does not hide another: what was found wrong is collected, and the check goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use btf::{Btf, ValidateOptions};
use btf_archive::modules::Modules;
use btf_archive::store::{Archive, Error, Filter, MAX_PAGE, Result};
use btf_archive::{Digest, KernelRecord, blob, snapshot};
use futures::StreamExt as _;
use serde::Serialize;

/// What a check found.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Kernels in the catalog.
    pub kernels: u64,
    /// Snapshots that were read.
    pub snapshots: u64,
    /// Blobs that were read.
    pub blobs: u64,
    /// Their sizes as stored, in bytes.
    pub stored_bytes: u64,
    /// Their raw sizes, in bytes.
    pub raw_bytes: u64,
    /// What is wrong. An archive without damage has none.
    pub damage: Vec<Damage>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// The object's path in the archive, or the kernel's key.
    pub what: String,
    /// What is wrong with it, and with its causes.
    pub reason: String,
}

/// What is recorded about a blob, and by which kernels.
struct Expected {
    content: Content,
    /// Raw and as stored, where they are recorded.
    sizes: Option<(u64, u64)>,
    kernels: BTreeSet<String>,
}

/// What a blob holds.
#[derive(Clone, Copy)]
enum Content {
    Btf,
    Modules,
    Config,
}

/// Checks an archive, up to `parallel` blobs at once; `progress` is told after each blob how many are done, and of how
/// many.
///
/// # Errors
/// Only if the catalog cannot be read: everything else that is wrong is in the report.
pub async fn verify(
    archive: &Arc<Archive>,
    parallel: usize,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report> {
    let mut report = Report::default();
    let newest = snapshots(archive, &mut report).await;
    let catalog = catalog(archive).await?;
    report.kernels = catalog.len() as u64;

    let mut blobs: BTreeMap<Digest, Expected> = BTreeMap::new();
    for kernel in catalog.values().chain(&newest) {
        let KernelRecord { key, digest, raw_size, zst_size, config, modules, .. } = kernel;
        let sizes = Some((*raw_size, *zst_size));
        let named = [(Some(digest), Content::Btf, sizes), (modules.as_ref(), Content::Modules, None)];
        for (digest, content, sizes) in named.into_iter().chain([(config.as_ref(), Content::Config, None)]) {
            let Some(digest) = digest else { continue };
            let first = || Expected { content, sizes, kernels: BTreeSet::new() };
            let expected = blobs.entry(*digest).or_insert_with(first);
            expected.kernels.insert(key.to_string());
            if sizes.is_some() && expected.sizes != sizes {
                report.found(key, "records other sizes of its blob than another kernel with the same one");
            }
        }
    }
    for kernel in &newest {
        match catalog.get(&kernel.key.to_string()) {
            Some(known) if known.digest == kernel.digest => {}
            Some(known) => {
                let reason = format!(
                    "has BTF {} in the catalog, {} in the newest snapshot",
                    known.digest, kernel.digest
                );
                report.found(&kernel.key, &reason);
            }
            None => report.found(&kernel.key, "is in the newest snapshot, but not in the catalog"),
        }
    }

    let total = blobs.len() as u64;
    let checks = blobs.into_iter().map(|(digest, expected)| {
        let archive = Arc::clone(archive);
        async move { (digest, check_blob(&archive, digest, &expected).await, expected) }
    });
    let mut checks = futures::stream::iter(checks).buffer_unordered(parallel.max(1));
    while let Some((digest, checked, expected)) = checks.next().await {
        report.blobs += 1;
        match checked {
            Ok((raw, stored)) => {
                report.stored_bytes += stored;
                report.raw_bytes += raw;
            }
            Err(reason) => {
                let kernels: Vec<_> = expected.kernels.into_iter().collect();
                let what = match expected.content {
                    Content::Btf => "BTF",
                    Content::Modules => "modules",
                    Content::Config => "configuration",
                };
                let reason = format!("{reason} ({what} of {})", kernels.join(", "));
                report.found(&blob::path(&digest), &reason);
            }
        }
        progress(report.blobs, total);
    }
    // In whatever order the checks ended.
    report.damage.sort_by(|a, b| a.what.cmp(&b.what));
    Ok(report)
}

impl Report {
    fn found(&mut self, what: &impl ToString, reason: &str) {
        self.damage.push(Damage { what: what.to_string(), reason: reason.to_owned() });
    }
}

/// Walks the snapshots back from the newest; gives the newest's kernels.
async fn snapshots(archive: &Archive, report: &mut Report) -> Vec<KernelRecord> {
    let latest = match archive.latest().await {
        Ok(None) => return Vec::new(),
        Ok(Some(latest)) => latest,
        Err(error) => {
            report.found(&snapshot::LATEST, &error.to_string());
            return Vec::new();
        }
    };
    let mut newest = None;
    let mut next = Some(latest.link());
    while let Some(link) = next {
        let path = snapshot::path(link.number);
        report.snapshots += 1;
        let read = async {
            let zst = archive.snapshot_zst(link.number).await?;
            link.digest.check(&zst)?;
            let head = snapshot::Head::decode(&zst)?;
            if newest.is_none() {
                newest = Some(archive.snapshot(link.number).await?.kernels);
            }
            Ok::<_, Error>(head)
        };
        match read.await {
            Ok(read) if read.number() == link.number => next = read.previous(),
            Ok(read) => {
                report.found(&path, &format!("says it is number {}", read.number()));
                break;
            }
            // It was not retained, nor was what came before it, but for what is pinned.
            Err(Error::Missing { .. })
                if archive.catalog().is_removed(link.number).await.unwrap_or(false) =>
            {
                report.snapshots -= 1;
                break;
            }
            // What came before it is known to this one only.
            Err(error) => {
                report.found(&path, &error.to_string());
                break;
            }
        }
    }
    newest.unwrap_or_default()
}

/// Every kernel in the catalog, by its key.
async fn catalog(archive: &Archive) -> Result<BTreeMap<String, KernelRecord>> {
    let mut all = BTreeMap::new();
    let mut cursor = None;
    loop {
        let page = archive.catalog().list(&Filter::default(), cursor.as_deref(), MAX_PAGE).await?;
        all.extend(page.kernels.into_iter().map(|kernel| (kernel.key.to_string(), kernel)));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

/// Checks one blob; gives its sizes, raw and as stored, or the reason if it is not what it should be.
async fn check_blob(archive: &Archive, digest: Digest, expected: &Expected) -> Result<(u64, u64), String> {
    let zst = archive.blob_zst(&digest).await.map_err(|error| match error {
        Error::Missing { .. } => "is missing".to_owned(),
        error => error.to_string(),
    })?;
    let stored = zst.len() as u64;
    if let Some((_, recorded)) = expected.sizes.filter(|(_, recorded)| *recorded != stored) {
        return Err(format!("has {stored} bytes, recorded are {recorded}"));
    }
    let (content, sizes) = (expected.content, expected.sizes);
    let check = move || {
        let raw =
            blob::decompress_verified(&zst, blob::MAX_RAW, &digest).map_err(|error| error.to_string())?;
        let size = raw.len() as u64;
        if let Some((recorded, _)) = sizes.filter(|(recorded, _)| *recorded != size) {
            return Err(format!("holds {size} bytes, recorded are {recorded}"));
        }
        match content {
            Content::Btf => Btf::parse(&raw)
                .and_then(|btf| btf::validate(&btf, &ValidateOptions::default()))
                .map_err(|error| format!("is not valid BTF: {error}"))?,
            Content::Modules => drop(Modules::parse(&raw).map_err(|error| error.to_string())?),
            Content::Config => {}
        }
        Ok((size, stored))
    };
    match tokio::task::spawn_blocking(check).await {
        Ok(checked) => checked,
        Err(failed) => Err(format!("could not be checked: {failed}")),
    }
}
