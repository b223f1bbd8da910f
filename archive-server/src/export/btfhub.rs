//! The tree that BTFHub's consumers expect: `DISTRO/VERSION/ARCH/RELEASE.btf.tar.xz`.
//!
//! Of each file one member, `RELEASE.btf`; the same bytes each time. See [`crate::serve`]'s address of the same form.

use std::path::Path;

use btf_archive::KernelRecord;
use btf_archive::alias;
use btf_archive::store::Archive;
use futures::{StreamExt as _, TryStreamExt as _};

use super::tree::blocking;
use super::volumes::written;
use super::{Error, Plan, Request, Written, write};
use crate::txz;

/// Writes the tree, with this many kernels at work at once; `progress` is told how many are written, and of how many. Files that are there are replaced.
///
/// # Errors
/// [`Error`]; files that were written stay.
pub async fn export(
    archive: &Archive,
    request: &Request,
    directory: &Path,
    parallel: usize,
    mut progress: impl FnMut(u64, u64),
) -> Result<Written, Error> {
    let plan = Plan::of_head(archive, request).await?;
    let selected: Vec<_> = plan.kernels.iter().filter(|kernel| plan.selection.takes(kernel)).collect();
    let total = selected.len() as u64;
    let pack = |kernel: &KernelRecord| {
        let (key, digest) = (kernel.key.clone(), kernel.digest);
        async move {
            let raw = archive.blob(&digest).await?;
            let version = alias::btfhub_version(key.distro(), key.version());
            let path = directory
                .join(key.distro())
                .join(version)
                .join(key.arch())
                .join(format!("{}.btf.tar.xz", key.release()));
            let release = key.release().to_owned();
            let packed = blocking(move || txz::encode(&release, &raw)).await?;
            let packed = packed.map_err(|source| Error::Io { path: path.clone(), source })?;
            write(&path, &packed)
        }
    };
    let mut packed = futures::stream::iter(selected).map(pack).buffer_unordered(parallel.max(1));
    let (mut done, mut bytes) = (0, 0);
    while let Some(size) = packed.try_next().await? {
        (done, bytes) = (done + 1, bytes + size);
        progress(done, total);
    }
    drop(packed);
    Ok(written(&plan, vec![directory.display().to_string()], bytes))
}
