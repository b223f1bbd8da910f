//! Bundles: one file with the (minimised) BTF of many kernels, each blob once, found by build-id or key without unpacking anything.
//!
//! A bundle is read where it lies: in a mapped file, or in a program that has it built in (`include_bytes!`). The format is described for other readers in the
//! book, `reference/bundle.md`; in short, little-endian words of 32 bits:
//!
//! ```text
//! header    magic, version, lengths and places of what follows
//! kernels   in the order of their keys' bytes: key, blob, the beginning of the digest of the kernel's whole BTF
//! build-ids in the order of their bytes: build-id, kernel
//! blobs     place, length as stored and raw, encoding, digest
//! names     the keys' and build-ids' bytes
//! record    JSON: what the bundle was made of
//! data      the blobs, each at a multiple of eight
//! ```
//!
//! [`Bundle::open`] checks every word once, so that nothing that is asked later can reach outside; a blob's bytes are checked against their digest when they are
//! asked for.

mod write;

use std::borrow::Cow;
use std::cmp::Ordering;

pub use write::{Builder, Encoding};

use crate::{BuildId, Digest, Error, Key, Result, blob};

/// The first bytes of a bundle.
pub const MAGIC: [u8; 8] = *b"BTFbundl";
/// The version written, and the only one read.
pub const VERSION: u32 = 1;

const HEADER: usize = 64;
const KERNEL: usize = 20;
const BUILD_ID: usize = 12;
const BLOB: usize = 48;
/// What the places of blobs are multiples of: BTF is words, and readers may want them aligned.
const ALIGN: u32 = 8;
/// How blobs are stored.
const RAW: u32 = 0;
const ZSTD: u32 = 1;
/// The longest key, in bytes: four parts and three slashes.
const MAX_KEY: u32 = 4 * Key::MAX_PART as u32 + 3;

/// A bundle, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    data: &'a [u8],
    kernels: Table<'a, KERNEL>,
    build_ids: Table<'a, BUILD_ID>,
    blobs: Table<'a, BLOB>,
    names: &'a [u8],
    record: &'a str,
}

/// A kernel of a bundle.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    bundle: Bundle<'a>,
    key: &'a str,
    blob: u32,
    source: [u8; 8],
}

/// Entries of one length, one after another.
#[derive(Clone, Copy, Debug)]
struct Table<'a, const LEN: usize> {
    entries: &'a [[u8; LEN]],
    /// From the start of the bundle.
    offset: usize,
}

/// A 32-bit word of an entry.
fn word(entry: &[u8], at: usize) -> u32 {
    entry.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn refuse<T>(offset: usize, reason: &'static str) -> Result<T> {
    Err(Error::Bundle { offset, reason })
}

impl<'a> Bundle<'a> {
    /// Opens a bundle.
    ///
    /// Takes time proportional to the number of kernels (a tenth of a millisecond for thousands) and no memory.
    ///
    /// # Errors
    /// [`Error::Bundle`] if anything but the blobs' own bytes is not as it must be.
    pub fn open(data: &'a [u8]) -> Result<Bundle<'a>> {
        let Some(header) = data.first_chunk::<HEADER>() else {
            return refuse(0, "shorter than a bundle's header");
        };
        if header[..8] != MAGIC {
            return refuse(0, "does not start as a bundle does");
        }
        if word(header, 8) != VERSION {
            return refuse(8, "a version that this reader does not know; use a newer one");
        }
        if word(header, 12) as usize != data.len() {
            return refuse(12, "is not as long as it says");
        }
        let mut sections = Sections { data, header, end: HEADER };
        let bundle = Bundle {
            data,
            kernels: sections.table(16)?,
            build_ids: sections.table(24)?,
            blobs: sections.table(32)?,
            names: sections.next(40)?,
            record: match std::str::from_utf8(sections.next(48)?) {
                Ok(record) => record,
                Err(_) => return refuse(48, "the record is no UTF-8"),
            },
        };
        if header[56..] != [0; 8] {
            return refuse(56, "is not zero");
        }
        bundle.check_kernels()?;
        bundle.check_build_ids()?;
        bundle.check_blobs(sections.end)?;
        Ok(bundle)
    }

    /// The kernels, in the order of their keys' bytes.
    pub fn kernels(&self) -> impl ExactSizeIterator<Item = Kernel<'a>> + use<'a> {
        let bundle = *self;
        self.kernels.entries.iter().map(move |entry| bundle.kernel(entry))
    }

    /// The kernel with this key.
    pub fn by_key(&self, key: &Key) -> Option<Kernel<'a>> {
        let key = key.to_string();
        let found =
            self.kernels.entries.binary_search_by(|entry| self.name(entry).cmp(key.as_bytes())).ok()?;
        Some(self.kernel(&self.kernels.entries[found]))
    }

    /// The first kernel with this build-id; any others with it have the same BTF, unless two distributions lie.
    pub fn by_build_id(&self, build_id: &BuildId) -> Option<Kernel<'a>> {
        let wanted = build_id.as_bytes();
        let entries = self.build_ids.entries;
        let first = entries.partition_point(|entry| self.name(entry) < wanted);
        let entry = entries.get(first).filter(|entry| self.name(*entry) == wanted)?;
        self.kernels.entries.get(word(entry, 8) as usize).map(|entry| self.kernel(entry))
    }

    /// How many different blobs there are.
    pub fn blob_count(&self) -> usize {
        self.blobs.entries.len()
    }

    /// What the bundle was made of, as JSON; empty if whoever made it said nothing.
    pub fn record(&self) -> &'a str {
        self.record
    }

    fn kernel(&self, entry: &[u8; KERNEL]) -> Kernel<'a> {
        let key = std::str::from_utf8(self.name(entry)).unwrap_or_default(); // checked when the bundle was opened
        let source = entry.last_chunk().copied().unwrap_or_default();
        Kernel { bundle: *self, key, blob: word(entry, 8), source }
    }

    /// The name whose place and length an entry starts with.
    fn name(&self, entry: &[u8]) -> &'a [u8] {
        let (start, len) = (word(entry, 0) as usize, word(entry, 4) as usize);
        self.names.get(start..).and_then(|rest| rest.get(..len)).unwrap_or_default()
    }

    fn check_kernels(&self) -> Result<()> {
        let mut before: &[u8] = b"";
        for (at, entry) in self.kernels.iter() {
            let len = word(entry, 4);
            if len > MAX_KEY || self.name(entry).len() != len as usize {
                return refuse(at, "a key is too long, or outside the names");
            }
            let name = self.name(entry);
            if before.cmp(name) != Ordering::Less {
                return refuse(at, "a key is empty, out of order or there twice");
            }
            // Keys come out of the bundle as paths: only such as an archive could have.
            if !std::str::from_utf8(name)
                .is_ok_and(|text| text.parse::<Key>().is_ok_and(|key| key.to_string() == text))
            {
                return refuse(at, "a key is none");
            }
            if word(entry, 8) as usize >= self.blobs.entries.len() {
                return refuse(at + 8, "a kernel's blob is not there");
            }
            before = name;
        }
        Ok(())
    }

    fn check_build_ids(&self) -> Result<()> {
        let mut before: (&[u8], u32) = (b"", 0);
        for (at, entry) in self.build_ids.iter() {
            let (name, kernel) = (self.name(entry), word(entry, 8));
            if name.len() != word(entry, 4) as usize || BuildId::new(name).is_err() {
                return refuse(at, "a build-id is none, or outside the names");
            }
            if before >= (name, kernel) {
                return refuse(at, "a build-id is out of order or there twice");
            }
            if kernel as usize >= self.kernels.entries.len() {
                return refuse(at + 8, "a build-id's kernel is not there");
            }
            before = (name, kernel);
        }
        Ok(())
    }

    /// Checks that the blobs follow each other from `end` to the end of the bundle, so that no two share bytes and none are hidden.
    fn check_blobs(&self, mut end: usize) -> Result<()> {
        for (at, entry) in self.blobs.iter() {
            let (start, stored, raw) = (word(entry, 0), word(entry, 4), word(entry, 8));
            if start as usize != end.next_multiple_of(ALIGN as usize) {
                return refuse(at, "a blob does not start where the one before it ends");
            }
            end = start as usize + stored as usize;
            if end > self.data.len() {
                return refuse(at + 4, "a blob reaches past the end");
            }
            match word(entry, 12) {
                RAW if raw == stored => {}
                ZSTD if raw as usize <= blob::MAX_RAW => {}
                RAW | ZSTD => return refuse(at + 8, "a blob's length is wrong"),
                _ => return refuse(at + 12, "a blob's encoding is not known"),
            }
        }
        if end == self.data.len() {
            Ok(())
        } else {
            refuse(end, "is followed by bytes that belong to nothing")
        }
    }
}

impl<'a> Kernel<'a> {
    /// Its key: `distro/version/arch/release`.
    pub fn key(&self) -> &'a str {
        self.key
    }

    /// Its build-ids: one, or none where it was not known.
    pub fn build_ids(&self) -> impl Iterator<Item = BuildId> + use<'a> {
        let bundle = self.bundle;
        let key = self.key;
        let own = move |entry: &&[u8; BUILD_ID]| {
            bundle
                .kernels
                .entries
                .get(word(*entry, 8) as usize)
                .is_some_and(|kernel| bundle.name(kernel) == key.as_bytes())
        };
        bundle
            .build_ids
            .entries
            .iter()
            .filter(own)
            .filter_map(move |entry| BuildId::new(bundle.name(entry)).ok())
    }

    /// Which of the bundle's blobs is its BTF; kernels with the same number share it.
    pub fn blob(&self) -> u32 {
        self.blob
    }

    /// The first eight bytes of the digest of the kernel's whole BTF, from which this was made; `None` where that was not known.
    pub fn source(&self) -> Option<[u8; 8]> {
        (self.source != [0; 8]).then_some(self.source)
    }

    /// The digest of its BTF in this bundle.
    pub fn digest(&self) -> Digest {
        let entry = self.entry();
        Digest::from_bytes(entry.last_chunk().copied().unwrap_or_default())
    }

    /// Its BTF: in place where it is stored raw. Checked against its digest either way.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::Zstd`], [`Error::TooLarge`].
    pub fn btf(&self) -> Result<Cow<'a, [u8]>> {
        let entry = self.entry();
        let (start, stored, raw) =
            (word(entry, 0) as usize, word(entry, 4) as usize, word(entry, 8) as usize);
        let bytes = self.bundle.data.get(start..).and_then(|rest| rest.get(..stored)).unwrap_or_default();
        if word(entry, 12) == RAW {
            self.digest().check(bytes)?;
            return Ok(Cow::Borrowed(bytes));
        }
        Ok(Cow::Owned(blob::decompress_verified(bytes, raw, &self.digest())?))
    }

    fn entry(&self) -> &'a [u8] {
        self.bundle.blobs.entries.get(self.blob as usize).map_or(&[], |entry| &entry[..])
    }
}

impl<'a, const LEN: usize> Table<'a, LEN> {
    /// The entries, each with its place.
    fn iter(&self) -> impl Iterator<Item = (usize, &'a [u8; LEN])> + use<'a, LEN> {
        let offset = self.offset;
        self.entries.iter().enumerate().map(move |(index, entry)| (offset + index * LEN, entry))
    }
}

/// The sections behind the header, each of which must start where the one before it ends.
struct Sections<'a> {
    data: &'a [u8],
    header: &'a [u8; HEADER],
    end: usize,
}

impl<'a> Sections<'a> {
    /// The section whose place and length in bytes are at `at` of the header.
    fn next(&mut self, at: usize) -> Result<&'a [u8]> {
        let (start, len) = (word(self.header, at) as usize, word(self.header, at + 4) as usize);
        if start != self.end {
            return refuse(at, "a section does not start where the one before it ends");
        }
        match self.data.get(start..).and_then(|rest| rest.get(..len)) {
            Some(section) => {
                self.end = start + len;
                Ok(section)
            }
            None => refuse(at, "a section reaches past the end"),
        }
    }

    fn table<const LEN: usize>(&mut self, at: usize) -> Result<Table<'a, LEN>> {
        let offset = self.end;
        let (entries, rest) = self.next(at)?.as_chunks();
        if rest.is_empty() {
            Ok(Table { entries, offset })
        } else {
            refuse(at + 4, "a table ends within an entry")
        }
    }
}
