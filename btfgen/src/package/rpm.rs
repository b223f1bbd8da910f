//! Reading what comes before an RPM package's payload: lead, signature header, header (RPM's format V4, rpm-manual: format_v4,
//! tags; V6 keeps the structure).
//!
//! A header is a table of entries and a heap of data. Only a few of its tags are looked at: what the package is called, which files
//! the payload has, and what signs and sums it. A header says how long it is before anything can be checked, so memory grows only
//! with bytes that are really there, up to a limit no kernel package comes near.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use super::Error;
use super::codec::Codec;
use super::unpacked::Packed;

const LEAD: usize = 96;
pub(super) const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 1];
/// Entries of a header: rpm's own limit.
const ENTRIES: usize = 0xffff;
/// Bytes of a header's data. Debug packages of kernels have 2 MiB.
const DATA: usize = 64 << 20;
/// Files of a package. Debug packages of kernels have 20,000, sources included.
const FILES: usize = 500_000;

/// Tags, by rpm's names.
mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const SUMMARY: u32 = 1004;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const FILESIZES: u32 = 1028;
    pub(super) const FILEMODES: u32 = 1030;
    pub(super) const FILEFLAGS: u32 = 1037;
    pub(super) const FILEDEVICES: u32 = 1095;
    pub(super) const FILEINODES: u32 = 1096;
    pub(super) const DIRINDEXES: u32 = 1116;
    pub(super) const BASENAMES: u32 = 1117;
    pub(super) const DIRNAMES: u32 = 1118;
    pub(super) const PAYLOADFORMAT: u32 = 1124;
    pub(super) const PAYLOADCOMPRESSOR: u32 = 1125;
    pub(super) const LONGFILESIZES: u32 = 5008;
    pub(super) const PAYLOADDIGEST: u32 = 5092;
    pub(super) const PAYLOADDIGESTALGO: u32 = 5093;
    /// In the signature header.
    pub(super) const DSAHEADER: u32 = 267;
    pub(super) const RSAHEADER: u32 = 268;
    pub(super) const SHA256HEADER: u32 = 273;
}

/// A file that the header lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// As in the header, `/usr/…`.
    pub(super) path: Vec<u8>,
    /// Bytes that the payload has of it: a file linked to a later one has none.
    pub(super) size: u64,
    pub(super) mode: u16,
    /// `%ghost`: in the list only.
    pub(super) ghost: bool,
}

/// What comes before the payload.
pub(super) struct Head {
    pub(super) name: String,
    /// `[EPOCH:]VERSION-RELEASE`.
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) summary: String,
    pub(super) files: Vec<Listed>,
    /// What the header says of the payload's compression.
    pub(super) codec: Option<Codec>,
    /// SHA-256 that the compressed payload must have.
    pub(super) payload_sha256: Option<[u8; 32]>,
    /// The header as it is signed.
    pub(super) signed: Vec<u8>,
    /// OpenPGP signatures of [`Head::signed`].
    pub(super) signatures: Vec<Vec<u8>>,
}

/// Reads lead and headers; the payload comes next.
pub(super) fn read(input: &mut impl Packed) -> Result<Head, Error> {
    let lead = take(input, LEAD, "the lead")?;
    if lead[..4] != LEAD_MAGIC {
        return Err(Error::malformed("the lead", 0, "it has not the magic number of an RPM package"));
    }
    let signature = Header::read(input, "the signature header")?;
    // The header begins at a multiple of 8.
    let padding = signature.bytes.len().next_multiple_of(8) - signature.bytes.len();
    take(input, padding, "the signature header")?;
    let header = Header::read(input, "the header")?;
    if let Some(expected) = signature.string(tag::SHA256HEADER)? {
        let found = hex::encode(Sha256::digest(&header.bytes));
        if expected != found.as_bytes() {
            let reason = format!(
                "it has sha256 {found}, the signature header says {}",
                String::from_utf8_lossy(expected).escape_debug()
            );
            return Err(Error::malformed("the header", header.start, reason));
        }
    }
    if header.string(tag::PAYLOADFORMAT)?.is_some_and(|format| format != b"cpio") {
        return Err(Error::malformed("the header", header.start, "its payload is no cpio archive"));
    }
    let text = |tag: u32, what: &str| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.~:_^%{}".contains(byte);
        match header.string(tag)? {
            Some(text) if !text.is_empty() && text.len() <= 256 && text.iter().all(plain) => {
                Ok(String::from_utf8_lossy(text).into_owned())
            }
            Some(_) => Err(header.malformed(format!("its {what} has characters it must not have"))),
            None => Err(header.malformed(format!("it has no {what}"))),
        }
    };
    let mut version = format!("{}-{}", text(tag::VERSION, "version")?, text(tag::RELEASE, "release")?);
    if let Some(epoch) = header.number(tag::EPOCH)? {
        version = format!("{epoch}:{version}");
    }
    let summary = String::from_utf8_lossy(header.string(tag::SUMMARY)?.unwrap_or_default()).into_owned();
    let digest = match header.number(tag::PAYLOADDIGESTALGO)? {
        None | Some(8) => header.string(tag::PAYLOADDIGEST)?,
        Some(_) => None,
    };
    let payload_sha256 = digest.and_then(|digest| hex::decode(digest).ok()?.try_into().ok());
    let mut signatures = Vec::new();
    for tag in [tag::RSAHEADER, tag::DSAHEADER] {
        signatures.extend(signature.find(tag)?.map(|found| found.data.to_vec()));
    }
    Ok(Head {
        name: text(tag::NAME, "name")?,
        version,
        architecture: text(tag::ARCH, "architecture")?,
        summary: summary.chars().filter(|char| !char.is_control()).take(300).collect(),
        files: files(&header)?,
        codec: match header.string(tag::PAYLOADCOMPRESSOR)? {
            Some(b"lzma") => Some(Codec::Lzma),
            // Without the tag it is gzip or nothing; the first bytes tell all others.
            _ => None,
        },
        payload_sha256,
        signatures,
        signed: header.bytes,
    })
}

/// The list of files.
fn files(header: &Header) -> Result<Vec<Listed>, Error> {
    let names = header.strings(tag::BASENAMES)?;
    let folders = header.strings(tag::DIRNAMES)?;
    let indexes = header.numbers(tag::DIRINDEXES)?;
    let mut sizes = header.numbers(tag::LONGFILESIZES)?;
    if sizes.is_empty() {
        sizes = header.numbers(tag::FILESIZES)?;
    }
    let modes = header.numbers(tag::FILEMODES)?;
    let (flags, inodes, devices) = (
        header.numbers(tag::FILEFLAGS)?,
        header.numbers(tag::FILEINODES)?,
        header.numbers(tag::FILEDEVICES)?,
    );
    if names.len() > FILES {
        return Err(Error::limit("the header", header.start, format!("it lists {} files", names.len())));
    }
    if [indexes.len(), sizes.len(), modes.len()].iter().any(|&len| len != names.len()) {
        return Err(header.malformed("its lists of files have different lengths"));
    }
    let mut files = Vec::with_capacity(names.len());
    let mut path_bytes = 0;
    for (at, name) in names.iter().enumerate() {
        let folder = usize::try_from(indexes[at]).ok().and_then(|index| folders.get(index));
        let folder = folder.ok_or_else(|| header.malformed("a file is in a folder that is not listed"))?;
        // A folder's name is there once and may be used by every file.
        path_bytes += folder.len() + name.len();
        if path_bytes > DATA {
            return Err(Error::limit("the header", header.start, "its paths are too long"));
        }
        files.push(Listed {
            path: [*folder, *name].concat(),
            size: sizes[at],
            mode: modes[at] as u16,
            ghost: flags.get(at).is_some_and(|flags| flags & 64 != 0),
        });
    }
    // Of files that are links to each other, only the last has content in the payload.
    let mut last = std::collections::HashSet::new();
    for at in (0..files.len()).rev() {
        let regular = files[at].mode & 0o170_000 == 0o100_000;
        if let (true, Some(inode), Some(device)) =
            (regular && !files[at].ghost, inodes.get(at), devices.get(at))
            && *inode != 0
            && !last.insert((*inode, *device))
        {
            files[at].size = 0;
        }
    }
    Ok(files)
}

/// A header: an index of entries, and their data.
struct Header {
    /// Offset in the package.
    start: u64,
    name: &'static str,
    bytes: Vec<u8>,
    entries: usize,
}

/// An entry's data.
struct Found<'h> {
    kind: u32,
    count: usize,
    /// From the entry's offset on to the end of the header, or exactly as long as the count says for bytes.
    data: &'h [u8],
}

impl Header {
    fn read(input: &mut impl Packed, name: &'static str) -> Result<Self, Error> {
        let start = input.position();
        let mut bytes = take(input, 16, name)?;
        if bytes[..4] != HEADER_MAGIC {
            return Err(Error::malformed(name, start, "it has not the magic number of a header"));
        }
        let entries = be32(&bytes[8..]) as usize;
        let data = be32(&bytes[12..]) as usize;
        if entries > ENTRIES || data > DATA {
            let what = format!("it says that it has {entries} entries and {data} bytes of data");
            return Err(Error::limit(name, start, what));
        }
        bytes.extend(take(input, entries * 16 + data, name)?);
        Ok(Self { start, name, bytes, entries })
    }

    fn malformed(&self, reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::malformed(self.name, self.start, reason)
    }

    /// The first entry with a tag.
    fn find(&self, tag: u32) -> Result<Option<Found<'_>>, Error> {
        let (index, data) = self.bytes[16..].split_at(self.entries * 16);
        let Some(entry) = index.chunks_exact(16).find(|entry| be32(entry) == tag) else { return Ok(None) };
        let (kind, offset, count) =
            (be32(&entry[4..]), be32(&entry[8..]) as usize, be32(&entry[12..]) as usize);
        let data = data.get(offset..);
        let data = data.ok_or_else(|| self.malformed(format!("tag {tag} lies behind its end")))?;
        // Bytes, and what has a fixed length.
        let data = match kind {
            1 | 2 | 7 => data.get(..count),
            3 => count.checked_mul(2).and_then(|len| data.get(..len)),
            4 => count.checked_mul(4).and_then(|len| data.get(..len)),
            5 => count.checked_mul(8).and_then(|len| data.get(..len)),
            _ => Some(data),
        };
        let data = data.ok_or_else(|| self.malformed(format!("tag {tag} does not fit in it")))?;
        Ok(Some(Found { kind, count, data }))
    }

    /// The first string of a tag.
    fn string(&self, tag: u32) -> Result<Option<&[u8]>, Error> {
        match self.find(tag)? {
            Some(Found { kind: 6 | 8 | 9, data, .. }) => {
                let end = data.iter().position(|&byte| byte == 0);
                let end = end.ok_or_else(|| self.malformed(format!("the text of tag {tag} has no end")))?;
                Ok(Some(&data[..end]))
            }
            Some(_) => Err(self.malformed(format!("tag {tag} is no text"))),
            None => Ok(None),
        }
    }

    /// All strings of a tag.
    fn strings(&self, tag: u32) -> Result<Vec<&[u8]>, Error> {
        let Some(found) = self.find(tag)? else { return Ok(Vec::new()) };
        if !matches!(found.kind, 6 | 8 | 9) {
            return Err(self.malformed(format!("tag {tag} is no text")));
        }
        let mut rest = found.data;
        let mut strings = Vec::new();
        for _ in 0..found.count {
            let end = rest.iter().position(|&byte| byte == 0);
            let end = end.ok_or_else(|| self.malformed(format!("tag {tag} has fewer texts than it says")))?;
            strings.push(&rest[..end]);
            rest = &rest[end + 1..];
        }
        Ok(strings)
    }

    /// All numbers of a tag.
    fn numbers(&self, tag: u32) -> Result<Vec<u64>, Error> {
        let Some(found) = self.find(tag)? else { return Ok(Vec::new()) };
        let width = match found.kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => return Err(self.malformed(format!("tag {tag} is no number"))),
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        Ok(found.data.chunks_exact(width).map(number).collect())
    }

    fn number(&self, tag: u32) -> Result<Option<u64>, Error> {
        Ok(self.numbers(tag)?.first().copied())
    }
}

/// The next bytes; memory grows only with what is there.
fn take(input: &mut impl Packed, len: usize, within: &str) -> Result<Vec<u8>, Error> {
    let offset = input.position();
    let mut bytes = Vec::new();
    let read = input.by_ref().take(len as u64).read_to_end(&mut bytes);
    read.map_err(|error| Error::from_io(error, |source| Error::Input { offset, source }))?;
    if bytes.len() < len {
        return Err(Error::Truncated { within: within.to_owned(), offset: input.position() });
    }
    Ok(bytes)
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
