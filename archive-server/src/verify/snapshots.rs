//! Checking the snapshots: the newest, and those before it as far as they are there.

use std::collections::BTreeMap;

use btf_archive::mirrored;
use btf_archive::snapshot::{self, Head, Link};
use btf_archive::store::{Archive, Error, Result};

use super::{Named, Report};

/// Reads all snapshots and notes what they name. Where the store cannot be listed (`objects` is none), it is those that can be
/// reached from the newest.
pub(super) async fn check(
    archive: &Archive,
    objects: Option<&BTreeMap<String, u64>>,
    report: &mut Report,
) -> Result<Named> {
    let mut named = Named::default();
    match archive.mirrored().await {
        Ok(mirrored) => named.promised = mirrored.map(|mirrored| mirrored.selection),
        Err(error) => report.found(&mirrored::PATH, &error),
    }
    let latest = match archive.latest().await {
        Ok(None) => return Ok(named),
        Ok(Some(latest)) => latest,
        Err(error) => {
            report.found(&snapshot::LATEST, &error);
            return Ok(named);
        }
    };
    let numbers = objects.into_iter().flatten().filter_map(|(path, _)| snapshot::number_of_path(path));
    let there: Vec<u64> = numbers.filter(|number| *number <= latest.number).collect();
    let mut link = Some(latest.link());
    let mut number = Some(latest.number);
    while let Some(at) = number {
        let known = link.filter(|link| link.number == at);
        let path = snapshot::path(at);
        match read(archive, at, known).await {
            Ok(head) => {
                report.snapshots += 1;
                report.oldest = Some(at);
                named.snapshots.insert(at);
                parts(archive, &head, at == latest.number, &mut named, report).await;
                link = head.previous();
            }
            // Old snapshots are removed; then nothing before them can be reached but by listing.
            Err(Error::Missing { .. }) if at != latest.number => link = None,
            Err(error) => {
                report.found(&path, &error);
                named.snapshots.insert(at);
                link = None;
            }
        }
        let before = there.iter().copied().filter(|number| *number < at).max();
        number = link.map(|link| link.number).max(before);
    }
    Ok(named)
}

/// A snapshot's file, checked against what its successor says of it.
async fn read(archive: &Archive, number: u64, link: Option<Link>) -> Result<Head> {
    let zst = archive.snapshot_zst(number).await?;
    if let Some(link) = link {
        link.digest.check(&zst)?;
    }
    let head = Head::decode(&zst)?;
    if head.number() != number {
        let reason = format!("says it is number {}", head.number());
        return Err(btf_archive::Error::Snapshot { what: "snapshot", reason }.into());
    }
    Ok(head)
}

/// Reads the parts that were not read for a newer snapshot, and notes what they name.
async fn parts(archive: &Archive, head: &Head, is_newest: bool, named: &mut Named, report: &mut Report) {
    let index = match head {
        Head::Whole(snapshot) => {
            for kernel in &snapshot.kernels {
                note(kernel, is_newest, named, report);
            }
            if is_newest {
                named.newest.clone_from(&snapshot.kernels);
            }
            return;
        }
        Head::Index(index) => index,
    };
    for (place, part) in index.parts.iter().enumerate() {
        if !named.parts.insert(part.digest) {
            continue;
        }
        report.parts += 1;
        let read = async {
            let zst = archive.part_zst(&part.digest).await?;
            Ok::<_, Error>(index.read_part(place, &zst)?)
        };
        match read.await {
            Ok(kernels) => {
                for kernel in &kernels {
                    note(kernel, is_newest, named, report);
                }
                if is_newest {
                    named.newest.extend(kernels);
                }
            }
            Err(Error::Missing { .. }) => {
                report.found(&part.path(), &format!("is missing (snapshot {})", index.number));
            }
            Err(error) => report.found(&part.path(), &format!("{error} (snapshot {})", index.number)),
        }
    }
}

fn note(kernel: &btf_archive::KernelRecord, is_newest: bool, named: &mut Named, report: &mut Report) {
    if !is_newest && named.promised.is_some() {
        return;
    }
    // An older snapshot may tell of a form that has been replaced.
    if let (Err(reason), true) = (named.note(kernel), is_newest) {
        report.found(&kernel.key, &reason);
    }
}
