//! What has come of an object so far. Small ones are kept in memory; of larger ones each byte is written to a file as it comes, so that a run that
//! was killed, or an upstream that went away, costs no byte twice.
//!
//! A file is named by the object's path; the file beside it, `….from`, says which upstream it came from and by which validator. Only that upstream's
//! same object is resumed: another's may be compressed otherwise.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use btf_archive::ObjectPath;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Objects smaller than this are fetched again.
const SMALL: u64 = 64 << 10;

/// What has come of one object.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    from: Option<From>,
    /// The file, if it is not kept in memory.
    file: Option<File>,
    memory: Vec<u8>,
    len: u64,
}

/// Where the bytes came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct From {
    upstream: String,
    validator: String,
}

impl Partial {
    /// What came of this object before, kept in this directory.
    pub(super) fn of(directory: &Path, object: &ObjectPath) -> Self {
        let path = directory.join(object.to_string().replace('/', "_"));
        let from = fs::read(beside(&path)).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let len = fs::metadata(&path).map_or(0, |file| file.len());
        Self { path, from, file: None, memory: Vec::new(), len }
    }

    /// How many bytes are there, and by which validator the rest can be asked of this upstream; none if nothing can be resumed.
    pub(super) fn resume(&mut self, upstream: &str) -> Option<(u64, String)> {
        let from = self.from.as_ref().filter(|from| from.upstream == upstream && self.len > 0)?;
        let validator = from.validator.clone();
        self.memory.clear();
        self.file = OpenOptions::new().append(true).open(&self.path).ok();
        self.file.is_some().then_some((self.len, validator))
    }

    /// Begins anew, with what this upstream sends.
    pub(super) fn begin(&mut self, upstream: &str, validator: Option<String>) -> io::Result<()> {
        self.discard();
        self.from = validator.map(|validator| From { upstream: upstream.to_owned(), validator });
        Ok(())
    }

    /// So many bytes are to come; none: nobody said.
    pub(super) fn expect(&mut self, bytes: Option<u64>) -> io::Result<()> {
        if self.file.is_none()
            && bytes.is_none_or(|bytes| bytes >= SMALL)
            && let Some(from) = &self.from
        {
            fs::write(beside(&self.path), serde_json::to_vec(from)?)?;
            self.file = Some(File::create(&self.path)?);
        }
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.len += bytes.len() as u64;
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => {
                self.memory.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// All of it. Its file stays until [`Partial::discard`]: nobody knows yet whether it is any good.
    pub(super) fn finish(&mut self) -> io::Result<Bytes> {
        match self.file.take() {
            Some(file) => {
                drop(file);
                fs::read(&self.path).map(Bytes::from)
            }
            None => Ok(Bytes::from(std::mem::take(&mut self.memory))),
        }
    }

    /// Forgets what came.
    pub(super) fn discard(&mut self) {
        self.file = None;
        self.memory.clear();
        (self.from, self.len) = (None, 0);
        // Only what was there: an error would show when the file is made anew.
        let _ = fs::remove_file(beside(&self.path));
        let _ = fs::remove_file(&self.path);
    }
}

fn beside(path: &Path) -> PathBuf {
    path.with_added_extension("from")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that what came of a large object is found again, for the upstream it came from only, and nothing of a small one.
    #[test]
    fn partial_resumes() {
        let folder = tempfile::tempdir().unwrap();
        let object = ObjectPath::Snapshot(7);
        let mut small = Partial::of(folder.path(), &object);
        small.begin("a", Some("\"tag\"".into())).unwrap();
        small.expect(Some(10)).unwrap();
        small.append(b"12345").unwrap();
        assert_eq!(Partial::of(folder.path(), &object).resume("a"), None);

        let mut large = Partial::of(folder.path(), &object);
        large.begin("a", Some("\"tag\"".into())).unwrap();
        large.expect(Some(SMALL)).unwrap();
        large.append(b"12345").unwrap();
        drop(large);
        assert_eq!(Partial::of(folder.path(), &object).resume("b"), None);
        let mut again = Partial::of(folder.path(), &object);
        assert_eq!(again.resume("a"), Some((5, "\"tag\"".to_owned())));
        again.append(b"678").unwrap();
        assert_eq!(again.len(), 8);
        assert_eq!(again.finish().unwrap(), "12345678");
        again.discard();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        let mut unnamed = Partial::of(folder.path(), &object);
        unnamed.begin("a", None).unwrap();
        unnamed.expect(None).unwrap();
        unnamed.append(b"12345").unwrap();
        assert_eq!(unnamed.finish().unwrap(), "12345");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "what no validator tells apart is not resumed"
        );
    }
}
