//! Bundles and directories that the caller gives: built into the program, or on disk.
//!
//! A bundle (`btf-minimize bundle`) has BTF minimised for the caller's own objects, found by build-id or key. A
//! directory holds files `DISTRO/VERSION/ARCH/RELEASE.btf` (`btf-minimize bundle --layout dir`), or an archive as
//! `btf-archive-server` keeps it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use btf_archive::bundle::{self, Bundle};
use btf_archive::{BuildId, Digest, KernelRecord, Key};

use crate::kernel::is_absence;
use crate::local::same_build_id;
use crate::tree::{Believed, Tree};
use crate::{Kernel, Reason, check};

/// The largest bundle read, in bytes: some thousand kernels have a few megabytes.
const MAX_BUNDLE: usize = 256 << 20;

/// BTF out of a bundle or directory.
#[derive(Debug)]
pub(crate) struct Given {
    /// The raw BTF.
    pub(crate) raw: Vec<u8>,
    /// Its digest, where it was checked.
    pub(crate) digest: Option<Digest>,
    /// The key it is kept under.
    pub(crate) key: Option<Key>,
    /// The build-id of its kernel, where known.
    pub(crate) build_id: Option<BuildId>,
    /// The raw file, if it is one.
    pub(crate) path: Option<PathBuf>,
    /// Whether it has all of the kernel's types.
    pub(crate) is_whole: bool,
    /// What the caller should know all the same.
    pub(crate) warning: Option<String>,
}

/// Looks into a bundle or a directory.
pub(crate) fn on_disk(
    path: &Path,
    kernel: &Kernel,
    max_size: usize,
    believed: Option<Believed<'_>>,
) -> Result<Given, Reason> {
    let metadata = fs::metadata(path).map_err(absent)?;
    if metadata.is_dir() {
        return directory(path, kernel, max_size, believed);
    }
    let data = file(path, MAX_BUNDLE)?.ok_or(Reason::Absent)?;
    if !data.starts_with(&bundle::MAGIC) {
        return Err(Reason::NotBtf("neither a bundle nor a directory".to_owned()));
    }
    in_bundle(&data, kernel, max_size)
}

/// Looks into a bundle.
pub(crate) fn in_bundle(data: &[u8], kernel: &Kernel, max_size: usize) -> Result<Given, Reason> {
    let bundle = Bundle::open(data).map_err(|error| Reason::NotBtf(error.to_string()))?;
    let by_build_id = kernel.build_id().and_then(|build_id| bundle.by_build_id(build_id));
    let by_key = || kernel.keys().iter().find_map(|key| bundle.by_key(key));
    let entry =
        by_build_id.or_else(by_key).ok_or(Reason::NotInArchive { nearest: Vec::new(), remembered: false })?;
    let build_id = match kernel.build_id() {
        Some(_) if by_build_id.is_some() => kernel.build_id().copied(),
        wanted => {
            let found = entry.build_ids().next();
            if let (Some(wanted), Some(found)) = (wanted, &found) {
                same_build_id(wanted, found)?;
            }
            found
        }
    };
    let raw = entry.btf()?.into_owned();
    if raw.len() > max_size {
        return Err(Reason::TooLarge { limit: max_size });
    }
    check::minimised_btf(&raw, kernel)?;
    let (digest, key) = (Some(entry.digest()), entry.key().parse().ok());
    Ok(Given { raw, digest, key, build_id, path: None, is_whole: false, warning: None })
}

/// Looks into a directory: an archive, or files named by key.
fn directory(
    dir: &Path,
    kernel: &Kernel,
    max_size: usize,
    believed: Option<Believed<'_>>,
) -> Result<Given, Reason> {
    if let Some(tree) = Tree::open(&|path, max| file(&dir.join(path), max), believed)? {
        let record = tree.record(kernel)?;
        let raw = tree.blob(&record.digest, max_size)?;
        check::kernel_btf(&raw, kernel)?;
        let KernelRecord { digest, key, build_id, .. } = record;
        return Ok(Given {
            raw,
            digest: Some(digest),
            key: Some(key),
            build_id,
            path: None,
            is_whole: true,
            warning: tree.warning,
        });
    }
    for key in kernel.keys() {
        let path = dir.join(format!("{key}.btf"));
        if let Some(raw) = file(&path, max_size)? {
            // It may be minimised: nothing in it says so.
            check::minimised_btf(&raw, kernel)?;
            let is_whole = check::kernel_btf(&raw, kernel).is_ok();
            return Ok(Given {
                raw,
                digest: None,
                key: Some(key.clone()),
                build_id: None,
                path: Some(path),
                is_whole,
                warning: None,
            });
        }
    }
    Err(Reason::NotInArchive { nearest: Vec::new(), remembered: false })
}

/// A regular file's bytes, at most `max` of them; `None` if there is no such file.
pub(crate) fn file(path: &Path, max: usize) -> Result<Option<Vec<u8>>, Reason> {
    let metadata = match fs::metadata(path) {
        Err(error) if is_absence(&error) => return Ok(None),
        metadata => metadata?,
    };
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file").into());
    }
    if metadata.len() > max as u64 {
        return Err(Reason::TooLarge { limit: max });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    File::open(path).map_err(absent)?.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max { Err(Reason::TooLarge { limit: max }) } else { Ok(Some(bytes)) }
}

fn absent(error: io::Error) -> Reason {
    if is_absence(&error) { Reason::Absent } else { error.into() }
}
