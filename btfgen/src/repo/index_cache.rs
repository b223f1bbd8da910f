//! Indices kept between runs, so that an unchanged one is neither downloaded nor unpacked with xz again.
//!
//! A file is named after what it indexes and after the sha256 of the index as it is unpacked, which a signed `Release` file or `repomd.xml`
//! gives. It is kept in zstd's format, which is read ten times as fast as xz, and its hash is checked again on every reading: the cache can
//! be deleted, truncated or tampered with, and all that happens is a download.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use btf_archive::Digest;
use sha2::{Digest as _, Sha256};

use super::decode::{self, Form};
use super::release::IndexFile;

/// How hard zstd tries. More would take longer than it saves.
const LEVEL: i32 = 1;

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

    /// The index that is `file` when unpacked, if it is here. Reading it to its end fails if it is not what it was; until then nothing that
    /// was read of it may be believed.
    pub(crate) fn open(&self, name: &str, file: &IndexFile) -> Option<Kept> {
        let kept = File::open(self.dir.as_deref()?.join(file_name(name, file))).ok()?;
        let reader = decode::limited(Form::Zstd, BufReader::new(kept), file.size).ok()?;
        Some(Kept { reader, hashed: Hashed::new(file) })
    }

    /// Hands on what `reader` unpacks, and keeps it in place of older states of the same index when it has been read to its end and is `file`.
    ///
    /// Failing to keep it is no reason to fail: the index is at hand, only the next run will fetch it again.
    pub(crate) fn keep<R: Read>(&self, name: &str, file: &IndexFile, reader: R) -> Keep<R> {
        let copy = self.dir.as_deref().and_then(|dir| {
            Copy::begin(dir, name, file)
                .inspect_err(|error| {
                    tracing::warn!("cannot keep the index {name} in {}: {error}", dir.display());
                })
                .ok()
        });
        Keep { reader, copy }
    }
}

/// For indices of which nobody says what they are when they are unpacked: kept as they come, and unpacked each time.
impl IndexCache {
    /// The bytes of `file`, if they are here and are still what they were.
    pub(crate) fn get(&self, name: &str, file: &IndexFile) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(name, file)?.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Keeps the bytes of `file`.
    pub(crate) fn put(&self, name: &str, file: &IndexFile, bytes: &[u8]) {
        // Reading from memory cannot fail.
        let _ = io::copy(&mut self.keep(name, file, bytes), &mut io::sink());
    }
}

/// An index from the cache, its hash checked while it is read.
pub(crate) struct Kept {
    reader: Box<dyn Read>,
    hashed: Hashed,
}

impl Read for Kept {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hashed.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && !self.hashed.is_expected() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not what was kept"));
        }
        Ok(count)
    }
}

/// An index on its way, which is kept.
pub(crate) struct Keep<R> {
    reader: R,
    copy: Option<Copy>,
}

impl<R: Read> Read for Keep<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if buffer.is_empty() {
            return Ok(count);
        }
        let Some(mut copy) = self.copy.take() else { return Ok(count) };
        let outcome = if count == 0 {
            copy.end().map(|()| None)
        } else {
            copy.write(&buffer[..count]).map(|()| Some(copy))
        };
        match outcome {
            Ok(copy) => self.copy = copy,
            Err(error) => tracing::warn!("cannot keep an index: {error}"),
        }
        Ok(count)
    }
}

/// A file of the cache that is being written.
struct Copy {
    encoder: zstd::stream::write::Encoder<'static, tempfile::NamedTempFile>,
    hashed: Hashed,
    dir: PathBuf,
    /// The beginning of the file's name, and the whole.
    stem: String,
    kept: String,
}

impl Copy {
    fn begin(dir: &Path, name: &str, file: &IndexFile) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let encoder = zstd::stream::write::Encoder::new(tempfile::NamedTempFile::new_in(dir)?, LEVEL)?;
        let (stem, kept) = (format!("{}.", plain(name)), file_name(name, file));
        Ok(Self { encoder, hashed: Hashed::new(file), dir: dir.to_owned(), stem, kept })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hashed.update(bytes);
        self.encoder.write_all(bytes)
    }

    fn end(self) -> io::Result<()> {
        let temporary = self.encoder.finish()?;
        if !self.hashed.is_expected() {
            return Err(io::Error::other(format!("{} is another when it is unpacked", self.kept)));
        }
        temporary.persist(self.dir.join(&self.kept))?;
        for entry in fs::read_dir(&self.dir)?.filter_map(Result::ok) {
            let found = entry.file_name();
            let found = found.to_string_lossy();
            if found.starts_with(&self.stem) && found != self.kept.as_str() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Length and hash of what has passed, beside what they should be.
struct Hashed {
    hasher: Sha256,
    len: u64,
    expected: IndexFile,
}

impl Hashed {
    fn new(expected: &IndexFile) -> Self {
        Self { hasher: Sha256::new(), len: 0, expected: *expected }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
    }

    fn is_expected(&self) -> bool {
        let found = Digest::from_bytes(self.hasher.clone().finalize().into());
        (self.len, found) == (self.expected.size, self.expected.sha256)
    }
}

fn file_name(name: &str, file: &IndexFile) -> String {
    format!("{}.{}.zst", plain(name), file.sha256)
}

/// A name as one path component without dots.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(bytes: &[u8]) -> IndexFile {
        IndexFile { size: bytes.len() as u64, sha256: Digest::of(bytes) }
    }

    fn put(cache: &IndexCache, name: &str, file: &IndexFile, bytes: &[u8]) {
        let mut passed = Vec::new();
        cache.keep(name, file, bytes).read_to_end(&mut passed).unwrap();
        assert_eq!(passed, bytes);
    }

    /// Check that bytes come back as they were put, or not at all.
    #[test]
    fn as_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(Some(dir.path().to_owned()));
        cache.put("x", &index(b"bytes"), b"bytes");
        assert_eq!(cache.get("x", &index(b"bytes")).unwrap(), b"bytes");
        assert_eq!(cache.get("x", &index(b"other")), None);
        let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        fs::write(path, b"rot").unwrap();
        assert_eq!(cache.get("x", &index(b"bytes")), None);
    }

    fn get(cache: &IndexCache, name: &str, file: &IndexFile) -> Option<io::Result<Vec<u8>>> {
        let mut bytes = Vec::new();
        Some(cache.open(name, file)?.read_to_end(&mut bytes).map(|_| bytes))
    }

    /// Check that an index comes back whole, that a newer one replaces it, and that others stay.
    #[test]
    fn newest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(Some(dir.path().join("not/yet")));
        let (old, new) = (b"old".as_slice(), b"new".as_slice());
        put(&cache, "a/bookworm/i386", &index(old), old);
        put(&cache, "a/bookworm-security/i386", &index(old), old);
        assert_eq!(get(&cache, "a/bookworm/i386", &index(old)).unwrap().unwrap(), old);
        put(&cache, "a/bookworm/i386", &index(new), new);
        assert!(get(&cache, "a/bookworm/i386", &index(old)).is_none());
        assert_eq!(get(&cache, "a/bookworm/i386", &index(new)).unwrap().unwrap(), new);
        assert_eq!(get(&cache, "a/bookworm-security/i386", &index(old)).unwrap().unwrap(), old);
    }

    /// Check that what is not read to its end, or is another than was said, is not kept, and leaves nothing behind.
    #[test]
    fn only_the_whole_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(Some(dir.path().to_owned()));
        put(&cache, "x", &index(b"other"), b"bytes");
        let mut keep = cache.keep("x", &index(b"bytes"), &b"bytes"[..]);
        keep.read_exact(&mut [0; 5]).unwrap();
        drop(keep);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// Check that reading fails where the bytes are no longer what they were: others, fewer, more, or not zstd's.
    #[test]
    fn rot_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(Some(dir.path().to_owned()));
        let file = index(b"bytes");
        put(&cache, "x", &file, b"bytes");
        let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        assert_eq!(get(&cache, "x", &file).unwrap().unwrap(), b"bytes");
        for rotten in [&b"bytez"[..], b"byte", b"bytess"] {
            fs::write(&path, zstd::encode_all(rotten, 1).unwrap()).unwrap();
            assert!(get(&cache, "x", &file).unwrap().is_err());
        }
        for rotten in [&b"bytes"[..], b""] {
            fs::write(&path, rotten).unwrap();
            assert!(get(&cache, "x", &file).unwrap().is_err());
        }
    }

    /// Check that without a directory, or with one that cannot be made, nothing is kept and nothing fails.
    #[test]
    fn no_directory() {
        let file = index(b"bytes");
        for dir in [None, Some(PathBuf::from("/proc/no/such"))] {
            let cache = IndexCache::new(dir);
            put(&cache, "x", &file, b"bytes");
            assert!(get(&cache, "x", &file).is_none());
        }
    }
}
