//! Indices kept between runs, so that an unchanged one is not downloaded again.
//!
//! A file is named after what it indexes and after its sha256, which the signed `Release` file gives and which is checked
//! again on every reading: the cache can be deleted, truncated or tampered with, and all that happens is a download.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::release::IndexFile;

/// A directory of indices, or none.
#[derive(Clone, Debug)]
pub struct IndexCache {
    dir: Option<PathBuf>,
}

impl IndexCache {
    /// Keeps indices in `dir`, which is made when it is needed; with `None` it keeps nothing.
    pub fn new(dir: Option<PathBuf>) -> Self {
        Self { dir }
    }

    /// The user's: `btfgen/indices` below `$XDG_CACHE_HOME` or `~/.cache`.
    pub fn of_user() -> Self {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Self::new(caches.map(|caches| caches.join("btfgen/indices")))
    }

    /// The bytes of `file`, if they are here and are still what they were.
    pub(crate) fn get(&self, name: &str, file: &IndexFile) -> Option<Vec<u8>> {
        let path = self.dir.as_deref()?.join(file_name(name, file));
        if fs::metadata(&path).ok()?.len() != file.size {
            return None;
        }
        fs::read(path).ok().filter(|bytes| file.sha256.check(bytes).is_ok())
    }

    /// Keeps the bytes of `file` in place of older states of the same index.
    ///
    /// Failing to is no reason to fail: the index is at hand, only the next run will fetch it again.
    pub(crate) fn put(&self, name: &str, file: &IndexFile, bytes: &[u8]) {
        let Some(dir) = &self.dir else { return };
        if let Err(error) = put(dir, name, file, bytes) {
            tracing::warn!("cannot keep the index {name} in {}: {error}", dir.display());
        }
    }
}

fn put(dir: &Path, name: &str, file: &IndexFile, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
    temporary.write_all(bytes)?;
    let kept = file_name(name, file);
    temporary.persist(dir.join(&kept))?;
    let older = format!("{}.", plain(name));
    for entry in fs::read_dir(dir)?.filter_map(Result::ok) {
        let found = entry.file_name();
        let found = found.to_string_lossy();
        if found.starts_with(&older) && found != kept.as_str() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn file_name(name: &str, file: &IndexFile) -> String {
    format!("{}.{}", plain(name), file.sha256)
}

/// A name as one path component without dots.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use btf_archive::Digest;

    use super::*;

    fn index(bytes: &[u8]) -> IndexFile {
        IndexFile { size: bytes.len() as u64, sha256: Digest::of(bytes) }
    }

    /// Check that an index comes back whole, that a newer one replaces it, and that others stay.
    #[test]
    fn newest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(Some(dir.path().join("not/yet")));
        let (old, new) = (b"old".as_slice(), b"new".as_slice());
        cache.put("a/bookworm/i386", &index(old), old);
        cache.put("a/bookworm-security/i386", &index(old), old);
        assert_eq!(cache.get("a/bookworm/i386", &index(old)).as_deref(), Some(old));
        cache.put("a/bookworm/i386", &index(new), new);
        assert_eq!(cache.get("a/bookworm/i386", &index(old)), None);
        assert_eq!(cache.get("a/bookworm/i386", &index(new)).as_deref(), Some(new));
        assert_eq!(cache.get("a/bookworm-security/i386", &index(old)).as_deref(), Some(old));
    }

    /// Check that bytes which are no longer what they were are not returned.
    #[test]
    fn rot_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(Some(dir.path().to_owned()));
        let file = index(b"bytes");
        cache.put("x", &file, b"bytes");
        let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        fs::write(&path, b"bytez").unwrap();
        assert_eq!(cache.get("x", &file), None);
        fs::write(&path, b"byte").unwrap();
        assert_eq!(cache.get("x", &file), None);
    }

    /// Check that without a directory, or with one that cannot be made, nothing is kept and nothing fails.
    #[test]
    fn no_directory() {
        let file = index(b"bytes");
        for dir in [None, Some(PathBuf::from("/proc/no/such"))] {
            let cache = IndexCache::new(dir);
            cache.put("x", &file, b"bytes");
            assert_eq!(cache.get("x", &file), None);
        }
    }
}
