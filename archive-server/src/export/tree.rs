//! The archive as plain files with every blob whole: for web servers, and for loaders that know nothing of deltas.
//!
//! What names and signs the snapshot is the archive's to the byte. Writing into the same directory again adds what is new.

use std::path::Path;

use btf_archive::mirrored::{self, Mirrored};
use btf_archive::store::{Archive, Stored};
use btf_archive::{Form, ObjectPath, blob, snapshot};

use super::volumes::written;
use super::{Error, Plan, Request, Written, check_directory, write};
use crate::carry::wanted::Wanted;

/// Writes the tree; `progress` is told how many blobs are there, and of how many.
///
/// # Errors
/// [`Error`]; what was written stays, and the directory says nothing of a snapshot that is not whole.
pub async fn export(
    archive: &Archive,
    request: &Request,
    directory: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Written, Error> {
    check_directory(directory, snapshot::LATEST, "archive")?;
    let plan = Plan::of_head(archive, request).await?;
    let wanted = Wanted::of(&plan.kernels, &plan.selection).blobs;
    let (total, mut bytes, mut missing) = (wanted.len() as u64, 0, Vec::new());
    for (done, (digest, hint)) in (1..).zip(wanted) {
        let path = directory.join(ObjectPath::Blob(digest, Form::Whole).to_string());
        if !path.is_file() {
            let whole = match archive.stored(&digest).await {
                Ok(Stored::Whole(zst)) => zst,
                Ok(delta @ Stored::Delta(_)) => {
                    let raw = archive.decode_stored(&digest, delta).await?;
                    blocking(move || blob::compress(&raw)).await?.into()
                }
                Err(btf_archive::store::Error::Missing { .. }) => {
                    missing.push(hint.what);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            bytes += write(&path, &whole)?;
        }
        progress(done, total);
    }
    if !missing.is_empty() {
        return Err(Error::Missing(missing));
    }
    for path in plan.parts() {
        let target = directory.join(path.to_string());
        if !target.is_file() {
            bytes += write(&target, &plan.object(archive, path).await?)?;
        }
    }
    // Nobody goes by these before `latest.json` names them.
    let last = |path: &ObjectPath| matches!(path, ObjectPath::Latest | ObjectPath::LatestSignature);
    for (path, file) in plan.head.iter().filter(|(path, _)| !last(path)) {
        bytes += write(&directory.join(path.to_string()), file)?;
    }
    let mut mirrored = plan.mirrored.clone().unwrap_or_else(|| Mirrored::new(plan.latest.number));
    (mirrored.oldest, mirrored.selection) = (plan.latest.number, plan.selection.clone());
    let json =
        mirrored.encode().map_err(|source| Error::Object { path: mirrored::PATH.to_owned(), source })?;
    bytes += write(&directory.join(mirrored::PATH), &json)?;
    for (path, file) in plan.head.iter().filter(|(path, _)| last(path)) {
        bytes += write(&directory.join(path.to_string()), file)?;
    }
    Ok(written(&plan, vec![directory.display().to_string()], bytes))
}

/// Runs work that takes a core beside the async tasks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|failed| Error::Io { path: "work".into(), source: std::io::Error::other(failed) })
}
