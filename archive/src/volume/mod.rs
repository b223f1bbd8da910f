//! Volumes: an archive, or what is new in it, as files that can be carried where no network goes.
//!
//! A volume is a tar file of the plainest kind. Its first member is `manifest.json` ([`Manifest`]); the others are objects of the archive as they are
//! stored there, in the manifest's order, so that each can be found without reading what lies before it. There is only one way to write a volume, to
//! the byte, and a reader refuses every other: what it reads are the headers that it would have written itself.
//!
//! Each volume of an export is whole in itself: it has what names and signs everything else (keys, the snapshot's index and parts), and the bases of
//! its deltas, unless the snapshot that it builds on has them. So volumes may be taken in any order.
//!
//! The format is described for other readers in the book, `reference/export-format.md`.

mod manifest;
mod tar;

use std::io::{Read, Write};

pub use manifest::{Entry, MAX_MANIFEST, Manifest};

use crate::{Digest, Error, Result};

/// The bytes that a member of this size takes, header and padding included.
pub fn room(size: u64) -> u64 {
    tar::BLOCK + size.next_multiple_of(tar::BLOCK)
}

/// The bytes of a volume beside its members.
pub const END: u64 = 2 * tar::BLOCK;

/// A volume being written. Nothing is kept back: what was given is written when a call returns.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    manifest: Manifest,
    done: usize,
}

impl<W: Write> Writer<W> {
    /// Begins a volume with its manifest.
    ///
    /// # Errors
    /// [`std::io::Error`], also of [`Manifest::encode`].
    pub fn new(mut out: W, manifest: Manifest) -> std::io::Result<Self> {
        let json = manifest.encode().map_err(std::io::Error::other)?;
        write_member(&mut out, manifest::NAME, &json)?;
        Ok(Self { out, manifest, done: 0 })
    }

    /// Writes the next object of the manifest.
    ///
    /// # Errors
    /// [`std::io::Error`], also if it is not the object that the manifest says.
    pub fn object(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let entry = self.manifest.objects.get(self.done);
        let entry = entry.ok_or_else(|| std::io::Error::other("more objects than the manifest has"))?;
        if bytes.len() as u64 != entry.size || Digest::of(bytes) != entry.sha256 {
            return Err(std::io::Error::other(format!("{} has changed meanwhile", entry.path)));
        }
        write_member(&mut self.out, &entry.path.to_string(), bytes)?;
        self.done += 1;
        Ok(())
    }

    /// Ends the volume.
    ///
    /// # Errors
    /// [`std::io::Error`], also if objects of the manifest are lacking.
    pub fn finish(mut self) -> std::io::Result<W> {
        if self.done != self.manifest.objects.len() {
            return Err(std::io::Error::other("fewer objects than the manifest has"));
        }
        self.out.write_all(&[0; END as usize])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn write_member(out: &mut impl Write, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let size = bytes.len() as u64;
    out.write_all(
        &tar::header(name, size).ok_or_else(|| std::io::Error::other(format!("{name}: too long for tar")))?,
    )?;
    out.write_all(bytes)?;
    let padding = size.next_multiple_of(tar::BLOCK) - size;
    out.write_all(&[0; tar::BLOCK as usize][..padding as usize])
}

/// A volume being read, from front to back. No more is in memory than the manifest and one object.
#[derive(Debug)]
pub struct Reader<R> {
    input: Input<R>,
    manifest: Manifest,
    done: usize,
}

/// A file that is read from front to back.
#[derive(Debug)]
struct Input<R> {
    input: R,
    offset: u64,
}

impl<R: Read> Reader<R> {
    /// Begins to read a volume: its manifest.
    ///
    /// # Errors
    /// [`Error::Volume`].
    pub fn new(input: R) -> Result<Self> {
        let mut input = Input { input, offset: 0 };
        let header = input.header()?;
        let size = tar::size_of(&header, manifest::NAME).filter(|size| *size <= MAX_MANIFEST);
        let size =
            size.ok_or_else(|| wrong(0, "does not begin with a manifest; is it what `export` wrote?"))?;
        let json = input.member(size)?;
        let manifest = Manifest::decode(&json).map_err(|error| wrong(tar::BLOCK, error))?;
        Ok(Self { input, manifest, done: 0 })
    }

    /// What is in it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The next object, of the size and sha256 that the manifest says; none at the end.
    ///
    /// # Errors
    /// [`Error::Volume`].
    pub fn object(&mut self) -> Result<Option<(Entry, Vec<u8>)>> {
        let Some(entry) = self.manifest.objects.get(self.done).cloned() else {
            self.input.end()?;
            return Ok(None);
        };
        let at = self.input.offset;
        if tar::header(&entry.path.to_string(), entry.size) != Some(self.input.header()?) {
            return Err(wrong(at, format!("is not the header of {}", entry.path)));
        }
        let bytes = self.input.member(entry.size)?;
        let found = Digest::of(&bytes);
        if found != entry.sha256 {
            let reason = format!(
                "{} has sha256 {found}, the manifest says {}: the copy is damaged",
                entry.path, entry.sha256
            );
            return Err(wrong(at + tar::BLOCK, reason));
        }
        self.done += 1;
        Ok(Some((entry, bytes)))
    }
}

impl<R: Read> Input<R> {
    fn header(&mut self) -> Result<[u8; tar::BLOCK as usize]> {
        let mut header = [0; tar::BLOCK as usize];
        self.fill(&mut header)?;
        Ok(header)
    }

    /// Checks that nothing follows but the end.
    fn end(&mut self) -> Result<()> {
        let at = self.offset;
        let mut end = [0; END as usize];
        self.fill(&mut end)?;
        if end.iter().any(|byte| *byte != 0) {
            return Err(wrong(at, "there is more than the manifest says"));
        }
        match self.input.read(&mut end[..1]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(wrong(self.offset, "goes on behind its end")),
            Err(error) => Err(wrong(self.offset, error)),
        }
    }

    /// The bytes of a member, and its padding. Memory is taken as they come, not as they are promised.
    fn member(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let at = self.offset;
        (&mut self.input).take(size).read_to_end(&mut bytes).map_err(|error| wrong(at, error))?;
        self.offset += bytes.len() as u64;
        if bytes.len() as u64 != size {
            return Err(wrong(self.offset, "ends too soon: it was not wholly copied"));
        }
        let mut padding = [0; tar::BLOCK as usize];
        let padding = &mut padding[..(size.next_multiple_of(tar::BLOCK) - size) as usize];
        self.fill(padding)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(wrong(self.offset, "has other bytes than zeros behind a member"));
        }
        Ok(bytes)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                wrong(self.offset, "ends too soon: it was not wholly copied")
            }
            _ => wrong(self.offset, error),
        })?;
        self.offset += buffer.len() as u64;
        Ok(())
    }
}

fn wrong(offset: u64, reason: impl ToString) -> Error {
    Error::Volume { offset, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Link;
    use crate::{Form, ObjectPath};
    use proptest::prelude::*;

    fn objects() -> Vec<(ObjectPath, Vec<u8>)> {
        let blob = |number: u8| ObjectPath::Blob(Digest::of(&[number]), Form::Whole);
        vec![
            (ObjectPath::Snapshot(2), vec![7; 511]),
            (ObjectPath::Latest, b"{}\n".to_vec()),
            (ObjectPath::Part(Digest::of(b"part")), vec![1; 512]),
            (blob(1), Vec::new()),
            (blob(2), vec![3; 1025]),
        ]
    }

    fn manifest() -> Manifest {
        let objects = objects().iter().map(|(path, bytes)| Entry::of(*path, bytes)).collect();
        let snapshot = Link { number: 2, digest: Digest::of(b"index") };
        Manifest { snapshot, since: None, selection: Default::default(), volume: 1, volumes: 1, objects }
    }

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), manifest()).unwrap();
        objects().iter().for_each(|(_, bytes)| writer.object(bytes).unwrap());
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<(ObjectPath, Vec<u8>)>> {
        let mut reader = Reader::new(bytes)?;
        let mut objects = Vec::new();
        while let Some((entry, bytes)) = reader.object()? {
            objects.push((entry.path, bytes));
        }
        Ok(objects)
    }

    /// Check that a volume gives back what was put in, and has the size that was foretold.
    #[test]
    fn volume_round() {
        let bytes = sample();
        assert_eq!(read(&bytes).unwrap(), objects());
        assert_eq!(Reader::new(bytes.as_slice()).unwrap().manifest(), &manifest());
        let members: u64 = objects().iter().map(|(_, bytes)| room(bytes.len() as u64)).sum();
        assert_eq!(bytes.len() as u64, room(manifest().encode().unwrap().len() as u64) + members + END);
    }

    /// Check that GNU tar reads a volume as what it is.
    #[test]
    fn volume_is_a_tar() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("volume.tar");
        std::fs::write(&file, sample()).unwrap();
        let run = |option: &str| {
            let output = std::process::Command::new("tar").arg(option).arg(&file).output();
            let output = output.expect("this test needs GNU tar");
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            output.stdout
        };
        let names = String::from_utf8(run("-tf")).unwrap();
        let expected: Vec<_> = objects().iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(names.lines().skip(1).collect::<Vec<_>>(), expected);
        assert!(names.starts_with("manifest.json\n"));
        let contents: Vec<u8> = objects().into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert!(run("-xOf").ends_with(&contents));
    }

    /// Check that a volume with any bit changed, cut anywhere, or with anything behind it is refused: there is only one way to write it.
    #[test]
    fn volume_damaged() {
        let good = sample();
        for length in (0..good.len()).step_by(13) {
            read(&good[..length]).unwrap_err();
        }
        read(&[good.as_slice(), &[0]].concat()).unwrap_err();
        let manifest_ends = room(manifest().encode().unwrap().len() as u64) as usize;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            match read(&bad) {
                Err(error) => assert!(error.to_string().len() < 800, "{error}"),
                // Such as another number of a snapshot: that is for those who know signatures.
                Ok(_) => assert!(at < manifest_ends, "byte {at}"),
            }
        }
    }

    /// Check that a writer keeps to its manifest.
    #[test]
    fn volume_writer() {
        let mut writer = Writer::new(Vec::new(), manifest()).unwrap();
        writer.object(b"something else").unwrap_err();
        writer.object(&objects()[0].1).unwrap();
        writer.finish().unwrap_err();
    }

    proptest! {
        /// Check that any bytes behind a good header are refused without a panic.
        #[test]
        fn volume_any_bytes(json in prop::collection::vec(any::<u8>(), 0..300), size in any::<u32>()) {
            let mut bytes = tar::header("manifest.json", u64::from(size)).unwrap().to_vec();
            bytes.extend(json);
            prop_assert!(read(&bytes).is_err());
        }
    }
}
