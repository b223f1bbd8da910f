//! Writing a file so that it is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Writes a file, readable by everyone, so that it is there whole or not at all: under a temporary name beside it,
/// flushed to the disk, renamed.
///
/// # Errors
/// Those of the file system; nothing is left behind then.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = temporary(path, bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory(path))?.sync_all()
}

/// The same without waiting for the disk: for a file whose reader notices if a crash of the machine cut it short.
pub(crate) fn write_checked_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    temporary(path, bytes)?.persist(path)?;
    Ok(())
}

fn temporary(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".btf-")
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(directory(path))?;
    file.write_all(bytes)?;
    Ok(file)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
