//! Putting BTF where libbpf looks, so that programs that know nothing of archives work: bcc's tools, bpftrace, tetragon.
//!
//! The file is `/usr/lib/debug/boot/vmlinux-R`, where no distribution puts anything but a debug package. Beside it lies
//! a receipt, `vmlinux-R.btf-fetch.json`, so that nothing is overwritten or removed that another program put there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use btf_archive::{BuildId, Digest};
use serde::{Deserialize, Serialize};

use crate::elf_form::elf;
use crate::kernel::is_absence;
use crate::{Found, Identity, write_file};

/// Where the file goes, relative to the root.
const DIRECTORY: &str = "usr/lib/debug/boot";
/// The form of the receipt.
const FORMAT: u32 = 1;
/// A receipt has a few hundred bytes.
const MAX_RECEIPT: u64 = 1 << 16;

/// Why a file was not put there, or not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// Text that cannot be a release.
    #[error("`{0}` is no kernel's release")]
    Release(String),
    /// There is a file that was not put there by this program, or was changed since.
    #[error("{}: not ours ({reason}); it is left as it is", .path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// How that is known.
        reason: &'static str,
    },
    /// The BTF is minimised: other programs need other types.
    #[error("the BTF has only the types that some programs need; what is installed must have all")]
    Minimised,
    /// The BTF cannot be made an ELF file.
    #[error(transparent)]
    Elf(#[from] crate::Reason),
    /// The file system refuses.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was put where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    format: u32,
    /// `uname -r` of the kernel.
    pub release: String,
    /// Its build-id, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<BuildId>,
    /// The digest of the raw BTF.
    pub btf: Digest,
    /// The sha256 of the file, which differs from that where it is ELF.
    pub file: Digest,
    /// Whether it was recognised by build-id.
    pub exact: bool,
}

/// Puts BTF where libbpf looks for that of the kernel `release`, below `root`: raw, or as ELF for libbpf before 1.0.1.
/// The result is the file's path.
///
/// # Errors
/// [`InstallError`]; nothing was changed then.
pub fn install(root: &Path, release: &str, found: &Found, as_elf: bool) -> Result<PathBuf, InstallError> {
    let path = place(root, release)?;
    if !found.is_whole() {
        return Err(InstallError::Minimised);
    }
    ours(&path)?;
    let wrapped = if as_elf { Some(elf(found.btf(), found.build_id())?) } else { None };
    let bytes = wrapped.as_deref().unwrap_or(found.btf());
    let receipt = Receipt {
        format: FORMAT,
        release: release.to_owned(),
        build_id: found.build_id().copied().filter(|_| found.identity() == Identity::Exact),
        btf: found.digest(),
        file: Digest::of(bytes),
        exact: found.identity() == Identity::Exact,
    };
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { path, source }
    };
    let dir = path.parent().unwrap_or(root);
    fs::create_dir_all(dir).map_err(io(dir))?;
    // The receipt first: a file without one would never be removed.
    let json = serde_json::to_vec_pretty(&receipt).map_err(|error| io(&path)(error.into()))?;
    write_file(&receipt_path(&path), &json).map_err(io(&path))?;
    write_file(&path, bytes).map_err(io(&path))?;
    Ok(path)
}

/// Removes what [`install`] put there for a kernel; `false` if there was nothing.
///
/// # Errors
/// [`InstallError::NotOurs`] for a file that was not put there by [`install`], or was changed since.
pub fn uninstall(root: &Path, release: &str) -> Result<bool, InstallError> {
    let path = place(root, release)?;
    let Some(_) = ours(&path)? else { return Ok(false) };
    for path in [&path, &receipt_path(&path)] {
        match fs::remove_file(path) {
            Err(error) if !is_absence(&error) => {
                return Err(InstallError::Io { path: path.clone(), source: error });
            }
            _ => {}
        }
    }
    Ok(true)
}

/// The releases for which there is a receipt below `root`, in order.
pub fn installed(root: &Path) -> Vec<String> {
    let mut releases: Vec<String> = fs::read_dir(root.join(DIRECTORY))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_prefix("vmlinux-")?.strip_suffix(RECEIPT)?.to_owned())
        })
        .collect();
    releases.sort();
    releases
}

/// The receipt of an installed file, if there is one and the file is what it says; without a receipt there must be no
/// file either.
fn ours(path: &Path) -> Result<Option<Receipt>, InstallError> {
    let not_ours = |reason| Err(InstallError::NotOurs { path: path.to_owned(), reason });
    let file = match fs::read(path) {
        Err(error) if is_absence(&error) => None,
        file => Some(file.map_err(|source| InstallError::Io { path: path.to_owned(), source })?),
    };
    match (receipt_of(path), file) {
        (None, None) => Ok(None),
        (None, Some(_)) => not_ours("it has no receipt of btf-fetch"),
        (Some(receipt), Some(file)) if Digest::of(&file) != receipt.file => not_ours("it was changed since"),
        (Some(receipt), _) => Ok(Some(receipt)),
    }
}

/// The receipt that lies beside an installed file; none if it is missing or makes no sense.
pub(crate) fn receipt_of(path: &Path) -> Option<Receipt> {
    let path = receipt_path(path);
    if fs::metadata(&path).ok()?.len() > MAX_RECEIPT {
        return None;
    }
    let receipt: Receipt = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (receipt.format == FORMAT).then_some(receipt)
}

/// What a receipt's name adds to the file's.
const RECEIPT: &str = ".btf-fetch.json";

fn receipt_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(RECEIPT);
    name.into()
}

fn place(root: &Path, release: &str) -> Result<PathBuf, InstallError> {
    if release.is_empty() || release.contains('/') || release.starts_with('.') {
        return Err(InstallError::Release(release.escape_debug().to_string()));
    }
    Ok(root.join(DIRECTORY).join(format!("vmlinux-{release}")))
}
