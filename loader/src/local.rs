//! BTF that the machine has already: the kernel's own, and files where libbpf looks.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use btf_archive::{BuildId, Digest};

use crate::install::receipt_of;
use crate::kernel::is_absence;
use crate::{Kernel, Reason, check, elf};

/// The kernel's own BTF, relative to the root.
const SYSFS: &str = "sys/kernel/btf/vmlinux";

/// Where libbpf looks for a kernel's BTF after sysfs, in its order (`btf__load_vmlinux_btf` in libbpf's `btf.c`); `R`
/// is `uname -r`. Relative to the root.
const FALLBACKS: [&str; 7] = [
    "boot/vmlinux-R",
    "lib/modules/R/vmlinux-R",
    "lib/modules/R/build/vmlinux",
    "usr/lib/modules/R/kernel/vmlinux",
    "usr/lib/debug/boot/vmlinux-R",
    "usr/lib/debug/boot/vmlinux-R.debug",
    "usr/lib/debug/lib/modules/R/vmlinux",
];

/// The files where libbpf looks for the BTF of the kernel `release` (`uname -r`) when the kernel itself has none, in
/// its order.
///
/// Empty for text that cannot be a release.
pub fn fallback_paths(root: &Path, release: &str) -> Vec<PathBuf> {
    if release.is_empty() || release.contains('/') || release.starts_with('.') {
        return Vec::new();
    }
    FALLBACKS.iter().map(|path| root.join(path.replace('R', release))).collect()
}

/// The path of the running kernel's own BTF.
pub(crate) fn sysfs_path(root: &Path) -> PathBuf {
    root.join(SYSFS)
}

/// BTF read from a file.
#[derive(Debug)]
pub(crate) struct Local {
    /// The raw BTF.
    pub(crate) raw: Vec<u8>,
    /// The build-id of the file's kernel, equal to the one asked for where both are known; raw files have none.
    pub(crate) build_id: Option<BuildId>,
    /// Whether the file is the raw BTF and nothing else.
    pub(crate) is_raw: bool,
}

/// Reads the kernel's own BTF.
///
/// It is what the kernel says of itself and may be newer than this program: only its length is checked.
pub(crate) fn kernel(path: &Path, max_size: usize) -> Result<Vec<u8>, Reason> {
    let raw = bytes(open(path)?, max_size)?;
    if raw.is_empty() { Err(Reason::NotBtf("the file is empty".to_owned())) } else { Ok(raw) }
}

/// The size of the kernel's own BTF, if it has any: what sysfs says, without reading it.
pub(crate) fn kernel_size(path: &Path) -> Option<u64> {
    let metadata = fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.len() > 0).then_some(metadata.len())
}

/// Reads a file where libbpf looks: raw BTF or ELF. It must be of the kernel asked for, as far as it tells.
pub(crate) fn file(path: &Path, kernel: &Kernel, max_size: usize) -> Result<Local, Reason> {
    let mut file = open(path)?;
    let mut magic = [0; 4];
    let is_elf = file.read_exact(&mut magic).is_ok() && magic == *b"\x7fELF";
    file.rewind()?;
    let local = if is_elf {
        let vmlinux = elf::read(file, max_size)?;
        // Asked first: the file of another kernel is worth telling even if it has no types either.
        if let (Some(expected), Some(found)) = (kernel.build_id(), &vmlinux.build_id) {
            same_build_id(expected, found)?;
        }
        let raw = vmlinux.btf.ok_or(Reason::NoBtfSection)?;
        Local { raw, build_id: vmlinux.build_id, is_raw: false }
    } else {
        let raw = bytes(file, max_size)?;
        // Raw BTF does not say whose it is; the receipt of what was installed does, if this is still that.
        let receipt = receipt_of(path).filter(|receipt| receipt.btf == Digest::of(&raw));
        let build_id = receipt.and_then(|receipt| receipt.build_id);
        if let (Some(expected), Some(found)) = (kernel.build_id(), &build_id) {
            same_build_id(expected, found)?;
        }
        Local { raw, build_id, is_raw: true }
    };
    check::kernel_btf(&local.raw, kernel)?;
    Ok(local)
}

/// Refuses the build-id of another kernel.
pub(crate) fn same_build_id(expected: &BuildId, found: &BuildId) -> Result<(), Reason> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (expected.to_string(), found.to_string());
    Err(Reason::WrongKernel { what: "build-id", expected, found })
}

/// Opens a regular file; opening a FIFO would wait for a writer.
fn open(path: &Path) -> Result<File, Reason> {
    let opened = fs::metadata(path).and_then(|metadata| {
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        File::open(path)
    });
    opened.map_err(|error| if is_absence(&error) { Reason::Absent } else { Reason::Io(error) })
}

/// All bytes of a file of at most `max_size` bytes.
fn bytes(mut file: File, max_size: usize) -> Result<Vec<u8>, Reason> {
    let promised = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if promised > max_size {
        return Err(Reason::TooLarge { limit: max_size });
    }
    let mut raw = Vec::with_capacity(promised);
    (&mut file).take(max_size as u64 + 1).read_to_end(&mut raw)?;
    if raw.len() > max_size { Err(Reason::TooLarge { limit: max_size }) } else { Ok(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that a release takes the place of R and nothing else, and that one with a slash names no file.
    #[test]
    fn local_fallback_paths() {
        let paths = fallback_paths(Path::new("/"), "6.1.0-R");
        assert_eq!(paths.len(), 7);
        assert_eq!(paths[0], Path::new("/boot/vmlinux-6.1.0-R"));
        assert_eq!(paths[5], Path::new("/usr/lib/debug/boot/vmlinux-6.1.0-R.debug"));
        assert_eq!(fallback_paths(Path::new("/"), "../../etc"), Vec::<PathBuf>::new());
        assert_eq!(fallback_paths(Path::new("/"), ""), Vec::<PathBuf>::new());
    }
}
