//! Exports as volumes: tar files that `import` reads.

use std::io::Write;
use std::path::{Path, PathBuf};

use btf_archive::store::Archive;
use btf_archive::volume::{Manifest, Writer};

use super::{Error, Output, Plan, Request, Written, lacking};

/// Writes an export to `path`; with a limit on volumes' sizes, to files beside it with numbers in their names. `progress` is told how many objects are
/// written, and of how many.
///
/// # Errors
/// [`Error`]; no file is left then but volumes that are whole.
pub async fn export(
    archive: &Archive,
    request: &Request,
    path: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Written, Error> {
    let plan = Plan::of_volumes(archive, request).await?;
    let manifests = plan.manifests(archive, request.max_size).await?;
    let total = manifests.iter().map(|manifest| manifest.objects.len() as u64).sum();
    let (mut done, mut bytes, mut files) = (0, 0, Vec::new());
    for manifest in manifests {
        let path = match request.max_size {
            Some(_) => numbered(path, manifest.volume),
            None => path.to_owned(),
        };
        let output = Output::beside(&path)?;
        let step = || {
            done += 1;
            progress(done, total);
        };
        write(archive, &plan, manifest, output.writer()?, &path, step).await?;
        bytes += output.finish()?;
        files.push(path.display().to_string());
    }
    Ok(written(&plan, files, bytes))
}

/// Writes one volume.
pub(super) async fn write(
    archive: &Archive,
    plan: &Plan,
    manifest: Manifest,
    out: impl Write,
    path: &Path,
    mut step: impl FnMut(),
) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let objects: Vec<_> = manifest.objects.iter().map(|entry| entry.path).collect();
    let mut volume = Writer::new(out, manifest).map_err(io)?;
    for object in objects {
        volume.object(&plan.object(archive, &object).await?).map_err(io)?;
        step();
    }
    volume.finish().map(|_| ()).map_err(io)
}

pub(super) fn written(plan: &Plan, files: Vec<String>, bytes: u64) -> Written {
    Written {
        snapshot: plan.latest.link(),
        since: plan.since,
        kernels: plan.selected,
        files,
        bytes,
        lacking: lacking(&plan.selection, &plan.kernels),
    }
}

/// `archive.tar` → `archive.001.tar`
fn numbered(path: &Path, number: u32) -> PathBuf {
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    path.with_extension(match extension {
        Some(extension) => format!("{number:03}.{extension}"),
        None => format!("{number:03}"),
    })
}
