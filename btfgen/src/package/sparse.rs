//! A Debian package read in parts: only the blocks that hold what is wanted, whichever they are.
//!
//! `data.tar.xz` of a large package consists of blocks of 24 MiB that are decodable alone, with an index at the end. Two requests
//! bring the beginning (which package it is) and the index; from then on any byte of the unpacked tar is two steps away.
//!
//! What blocks do not tell is where in the tar a file is. At the beginning headers are followed, as long as they are in the first
//! block. vmlinux of Linux 7 is near the end, behind thousands of modules: there a header is looked for in the last block, from which
//! the tar can be followed to its end; the file before it ends there, and if it is ELF, the table of sections with which it ends tells its length
//! (`elf_end`). That is a guess until the tar header in front of it says the same path and length, which is always asked.
//!
//! A block is decoded from its beginning, and so fetched only as far as something in it is needed. Its check, at its end, is then not compared: that
//! would tell bytes that changed by accident, which TCP and the decoder mostly notice, and BTF's validation.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::ar::Ar;
use super::elf_end;
use super::member::{Kind, Member};
use super::opened::to_data;
use super::places::{Part, Places, part_of};
use super::tar::Tar;
use super::unpacked::codec_of_member;
use super::xz::{HELD_BLOCK, XzReader, decode_beginning, decode_block, decode_block_into};
use super::xz_index::{self, Block, HEADER};
use super::{Error, Identity};
use crate::elf::ReadAt;
use crate::package::codec::Codec;

/// Bytes asked for first: the control file, and the beginning of the data. Debian's kernels have 95 KB of control file.
const HEAD: u64 = 160 << 10;
/// The most that the control file may need.
const MOST_HEAD: u64 = 8 << 20;
/// Bytes asked for at the end: the index of 5000 blocks.
const TAIL: u64 = 48 << 10;
/// Unpacked bytes for each packed one; what has more is left to the reader that stops at its own limits.
const RATIO: u64 = 100;
/// Memory of a block's decoder, in bytes.
const MEMORY: u64 = 160 << 20;
/// Decoded blocks that are kept, for small reads beside each other.
const DECODED: usize = 2;
/// Blocks at the end in which a tar header is looked for.
const LAST_BLOCKS: usize = 3;
/// Of a block that is needed up to some point, this much more than its share is asked for, and at least that: what comes first may be packed less than the rest.
const MORE_OF_BLOCK: f64 = 1.12;
const LEAST_OF_BLOCK: u64 = 128 << 10;
/// A block is decoded up to a multiple of this, so that small reads behind each other do not decode it anew.
const STEP: u64 = 1 << 20;
/// Headers from which it is tried to follow the tar to its end.
const CHAINS: usize = 64;

/// A file that can be read in parts.
pub(crate) trait Parts: Sync {
    /// The bytes of a range, exactly.
    ///
    /// # Errors
    /// [`Error::NoParts`] where a server only gives the whole.
    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Error>;

    /// At most that many bytes from the end, and where they begin.
    ///
    /// # Errors
    /// Those of [`Parts::read`].
    fn tail(&self, count: u64) -> Result<(u64, Vec<u8>), Error>;
}

/// A package of which parts are read.
pub(crate) struct Sparse<'p> {
    parts: &'p dyn Parts,
    identity: Identity,
    /// `data.tar.xz`.
    name: String,
    /// Where the xz stream begins in the package.
    start: u64,
    header: [u8; 12],
    blocks: Vec<Block>,
    /// The first bytes of the tar that came with the package's own.
    beginning: Vec<u8>,
    cache: Mutex<Cache>,
}

/// Blocks, or as much of their beginnings as was needed.
#[derive(Default)]
struct Cache {
    /// Behind a copy of the stream's header each, which makes it a stream of its own.
    packed: HashMap<usize, Arc<Vec<u8>>>,
    /// All that were ever fetched.
    fetched: HashSet<usize>,
    decoded: VecDeque<(usize, Arc<Vec<u8>>)>,
}

/// Where a file of the package is.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) release: String,
    pub(crate) path: String,
    /// Of its data, in the unpacked tar.
    offset: u64,
    size: u64,
}

impl<'p> Sparse<'p> {
    /// Reads the beginning and the index.
    ///
    /// # Errors
    /// [`Error::NoParts`] where the package is not made so that it can be read in parts.
    pub(crate) fn open(parts: &'p dyn Parts) -> Result<Self, Error> {
        let mut head = parts.read(0..HEAD)?;
        let (identity, name, size, start) = loop {
            let mut ar = Ar::new(&head[..])?;
            match to_data(&mut ar) {
                Ok((identity, member)) if head.len() as u64 >= ar.offset() + xz_index::HEADER => {
                    break (identity, member.name, member.size, ar.offset());
                }
                Ok(_) | Err(Error::Truncated { .. } | Error::Malformed { .. })
                    if head.len() as u64 >= HEAD && (head.len() as u64) < MOST_HEAD =>
                {
                    let len = head.len() as u64;
                    let more = parts.read(len..len * 4)?;
                    if more.is_empty() {
                        return Err(no_parts("it is too short"));
                    }
                    head.extend(more);
                }
                Ok(_) => return Err(no_parts("it is too short")),
                Err(error) => return Err(error),
            }
        };
        if codec_of_member(&name) != Some(Codec::Xz) {
            return Err(no_parts(format!("{name} has no index of blocks")));
        }
        let data = &head[start as usize..];
        let header: [u8; 12] = data[..12].try_into().expect("12 bytes");
        let end = start.checked_add(size);
        let (tail_at, mut tail) = parts.tail(TAIL)?;
        let package_len = tail_at + tail.len() as u64;
        let Some(end) = end.filter(|&end| end == package_len || end + 1 == package_len && size % 2 == 1)
        else {
            return Err(Error::Truncated { within: name, offset: package_len });
        };
        tail.truncate((end.saturating_sub(tail_at)) as usize);
        let footer = tail.last_chunk::<12>().ok_or_else(|| no_parts("it is too short"))?;
        let len = xz_index::len(footer, &header).map_err(no_parts)?;
        if len > size || len > MOST_HEAD {
            return Err(no_parts("the index of its xz stream is longer than it may be"));
        }
        if len > tail.len() as u64 {
            tail = parts.read(end - len..end)?;
        }
        let index = &tail[tail.len() - len as usize..tail.len() - 12];
        let blocks = xz_index::blocks(index, size).map_err(no_parts)?;
        if blocks.len() < 2 {
            return Err(no_parts("its data is compressed in one block"));
        }
        if blocks.iter().any(|block| block.unpacked.max(block.packed) > HELD_BLOCK) {
            return Err(no_parts("its data is compressed in blocks that are too large"));
        }
        if blocks.last().is_some_and(|last| last.unpacked_at / RATIO > size) {
            return Err(no_parts("it unpacks to far more than kernel packages do"));
        }
        // As much of the tar as these few bytes hold; where they end is no error here.
        let mut beginning = Vec::new();
        let _ = XzReader::new(data, 1, MEMORY).take(HELD_BLOCK).read_to_end(&mut beginning);
        let cache = Mutex::default();
        Ok(Self { parts, identity, name, start, header, blocks, beginning, cache })
    }

    /// Which package it is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many blocks it has.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// How many of them were fetched.
    pub(crate) fn fetched(&self) -> usize {
        self.cache().fetched.len()
    }

    /// Finds vmlinux.
    ///
    /// # Errors
    /// [`Error::NoParts`] where it can only be found by reading everything.
    pub(crate) fn vmlinux(&self, release: Option<&str>, places: &Places) -> Result<Located, Error> {
        let wanted = |path: &[u8]| match places.part_of(path) {
            Some((Part::Vmlinux, found)) if release.is_none_or(|release| release == found) => {
                Some(found.to_owned())
            }
            _ => None,
        };
        let located = match self.at_the_front(&wanted)? {
            Some(located) => located,
            None => self.at_the_back(&wanted)?.ok_or_else(|| {
                no_parts("vmlinux is neither in its first block nor the last large file in it")
            })?,
        };
        Ok(located)
    }

    /// Follows the tar as far as the first block goes, or the first module.
    fn at_the_front(&self, wanted: &dyn Fn(&[u8]) -> Option<String>) -> Result<Option<Located>, Error> {
        let beginning = self.follow(&self.beginning, wanted)?;
        match beginning {
            Followed::Found(located) => Ok(Some(located)),
            Followed::Modules => Ok(None),
            Followed::Cut => {
                let whole = self.blocks[0].unpacked;
                for end in [(2 * STEP).min(whole), whole] {
                    match self.follow(&self.block_until(0, end)?, wanted)? {
                        Followed::Found(located) => return Ok(Some(located)),
                        Followed::Modules => return Ok(None),
                        Followed::Cut => {}
                    }
                }
                Ok(None)
            }
        }
    }

    fn follow(&self, bytes: &[u8], wanted: &dyn Fn(&[u8]) -> Option<String>) -> Result<Followed, Error> {
        let mut tar = Tar::new(bytes, &self.name);
        loop {
            match tar.next_member() {
                Ok(Some(member)) => match wanted(&member.path) {
                    Some(release) if member.kind == Kind::File => {
                        return Ok(Followed::Found(self.located(&member, release, tar.offset())?));
                    }
                    _ if matches!(part_of(&member.path), Some((Part::Module, _))) => {
                        return Ok(Followed::Modules);
                    }
                    _ => {}
                },
                Ok(None) | Err(Error::Truncated { .. }) => return Ok(Followed::Cut),
                Err(error) => return Err(error),
            }
        }
    }

    fn located(&self, member: &Member, release: String, offset: u64) -> Result<Located, Error> {
        let end = offset.checked_add(member.size).filter(|&end| end <= self.unpacked_len());
        if end.is_none() {
            return Err(Error::Truncated {
                within: format!("the unpacked {}", self.name),
                offset: self.unpacked_len(),
            });
        }
        let path = String::from_utf8_lossy(&member.path).into_owned();
        Ok(Located { release, path, offset, size: member.size })
    }

    /// Finds the last large file, or a smaller one behind it.
    fn at_the_back(&self, wanted: &dyn Fn(&[u8]) -> Option<String>) -> Result<Option<Located>, Error> {
        let mut chains = 0;
        for number in (0..self.blocks.len()).rev().take(LAST_BLOCKS) {
            let block = self.block(number)?;
            let at = self.blocks[number].unpacked_at;
            let skip = (at.next_multiple_of(512) - at) as usize;
            for (index, header) in block.get(skip..).unwrap_or_default().chunks_exact(512).enumerate() {
                if header[257..262] != *b"ustar" || chains == CHAINS {
                    continue;
                }
                chains += 1;
                let offset = at + skip as u64 + index as u64 * 512;
                match self.chain(offset, wanted) {
                    Ok(Some(located)) => return Ok(Some(located)),
                    Ok(None) => return self.file_before(offset, wanted),
                    // Not a header, though it looks like one: or the package is damaged, which the next ones will say.
                    Err(Error::Malformed { .. } | Error::Truncated { .. } | Error::Limit { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    }

    /// Follows the tar from a header to its end. `None`: it was reached, and vmlinux was not on the way.
    fn chain(&self, offset: u64, wanted: &dyn Fn(&[u8]) -> Option<String>) -> Result<Option<Located>, Error> {
        let mut tar = Tar::at(offset, Unpacked { package: self, offset }, &self.name);
        let mut found = None;
        while let Some(member) = tar.next_member()? {
            if let Some(release) = wanted(&member.path).filter(|_| member.kind == Kind::File) {
                found = Some(self.located(&member, release, tar.offset())?);
            }
        }
        Ok(found)
    }

    /// The file that ends where a header is, if it is ELF and what is wanted.
    fn file_before(
        &self,
        offset: u64,
        wanted: &dyn Fn(&[u8]) -> Option<String>,
    ) -> Result<Option<Located>, Error> {
        let len = offset.min(elf_end::REACH);
        let tail = self.bytes(offset - len, len as usize)?;
        for (start, size) in elf_end::candidates(&tail, offset) {
            let Some(header) = start.checked_sub(512) else { continue };
            let mut tar = Tar::at(header, Unpacked { package: self, offset: header }, &self.name);
            // What is no header there means that the guess was wrong.
            let Ok(Some(member)) = tar.next_member() else { continue };
            if let Some(release) = wanted(&member.path)
                && member.kind == Kind::File
                && (member.size, tar.offset()) == (size, start)
            {
                return self.located(&member, release, start).map(Some);
            }
        }
        Ok(None)
    }

    fn unpacked_end(&self, number: usize) -> u64 {
        self.blocks[number].unpacked_at + self.blocks[number].unpacked
    }

    fn unpacked_len(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.unpacked_at + block.unpacked)
    }

    /// The blocks in which bytes are.
    fn blocks_of(&self, range: &Range<u64>) -> Range<usize> {
        let first = self.blocks.partition_point(|block| block.unpacked_at + block.unpacked <= range.start);
        let end = self.blocks.partition_point(|block| block.unpacked_at < range.end);
        first..end.max(first)
    }

    /// How much of a block is to be decoded so that `end` bytes of it are there.
    fn decoded_len(&self, number: usize, end: u64) -> u64 {
        end.next_multiple_of(STEP).min(self.blocks[number].unpacked)
    }

    /// How much of a block is fetched for its first `end` unpacked bytes.
    fn packed_len(&self, number: usize, end: u64) -> u64 {
        let block = &self.blocks[number];
        let share = self.decoded_len(number, end) as f64 / block.unpacked.max(1) as f64 * MORE_OF_BLOCK;
        ((block.packed as f64 * share) as u64).max(LEAST_OF_BLOCK).min(block.packed)
    }

    /// Fetches the blocks in which these ranges of the unpacked tar are, as far as they reach: neighbours with one request.
    ///
    /// # Errors
    /// What [`Parts::read`] reports.
    pub(crate) fn prefetch(&self, ranges: impl IntoIterator<Item = Range<u64>>) -> Result<(), Error> {
        let mut wanted: BTreeMap<usize, u64> = BTreeMap::new();
        for range in ranges {
            for number in self.blocks_of(&range) {
                let end = range.end.min(self.unpacked_end(number)) - self.blocks[number].unpacked_at;
                let len = wanted.entry(number).or_default();
                *len = self.packed_len(number, end).max(*len);
            }
        }
        // Where each begins and ends in the stream; what is there of it is not fetched again.
        let mut missing: Vec<(usize, Range<u64>)> = Vec::new();
        for (number, len) in wanted {
            let at = self.blocks[number].packed_at;
            let there = self.cache().packed.get(&number).map_or(0, |packed| packed.len() as u64 - HEADER);
            if there < len {
                missing.push((number, at + there..at + len));
            }
        }
        for run in missing.chunk_by(|(_, left), (_, right)| left.end == right.start) {
            self.fetch(run)?;
        }
        Ok(())
    }

    /// Fetches parts of the stream that are next to each other, each of one block.
    fn fetch(&self, run: &[(usize, Range<u64>)]) -> Result<(), Error> {
        let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else { return Ok(()) };
        let (start, end) = (self.start + first.start, self.start + last.end);
        let bytes = self.parts.read(start..end)?;
        if bytes.len() as u64 != end - start {
            return Err(Error::Truncated { within: self.name.clone(), offset: start + bytes.len() as u64 });
        }
        let mut rest = &bytes[..];
        let mut cache = self.cache();
        for (number, range) in run {
            let (part, after) = rest.split_at((range.end - range.start) as usize);
            rest = after;
            cache.fetched.insert(*number);
            let packed = cache.packed.entry(*number).or_insert_with(|| Arc::new(self.header.to_vec()));
            // Nobody else fetches; if somebody did, what is there already would be there twice.
            if packed.len() as u64 - HEADER == range.start - self.blocks[*number].packed_at {
                Arc::make_mut(packed).extend_from_slice(part);
            }
        }
        Ok(())
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block, decoded and kept.
    fn block(&self, number: usize) -> Result<Arc<Vec<u8>>, Error> {
        self.block_until(number, self.blocks[number].unpacked)
    }

    /// At least the first `end` bytes of a block, decoded and kept.
    fn block_until(&self, number: usize, end: u64) -> Result<Arc<Vec<u8>>, Error> {
        let kept = |cache: &Cache| {
            let known = cache.decoded.iter().find(|(known, _)| *known == number);
            known.filter(|(_, block)| block.len() as u64 >= end).map(|(_, block)| Arc::clone(block))
        };
        if let Some(block) = kept(&self.cache()) {
            return Ok(block);
        }
        let at = &self.blocks[number];
        self.prefetch(std::iter::once(at.unpacked_at..at.unpacked_at + end))?;
        let block = Arc::new(self.decode(number, end)?);
        let mut cache = self.cache();
        cache.decoded.retain(|(known, _)| *known != number);
        cache.decoded.truncate(DECODED - 1);
        cache.decoded.push_front((number, Arc::clone(&block)));
        Ok(block)
    }

    /// What was fetched of a block.
    fn packed(&self, number: usize) -> Result<Arc<Vec<u8>>, Error> {
        let packed = self.cache().packed.get(&number).cloned();
        packed.ok_or_else(|| no_parts("a block was not fetched"))
    }

    fn broken(&self, number: usize, error: &io::Error) -> Error {
        let reason = format!("block {number} is broken: {error}");
        Error::malformed(&self.name, self.start + self.blocks[number].packed_at, reason)
    }

    /// Decodes at least the first `end` bytes of a block that was fetched; what more is needed of it is fetched too.
    fn decode(&self, number: usize, end: u64) -> Result<Vec<u8>, Error> {
        let block = &self.blocks[number];
        loop {
            let packed = self.packed(number)?;
            let there = packed.len() as u64 - HEADER;
            let decoded = if there == block.packed {
                decode_block(&packed, block.unpacked, MEMORY)
            } else {
                decode_beginning(&packed, self.decoded_len(number, end), MEMORY)
            };
            let decoded = decoded.map_err(|error| self.broken(number, &error))?;
            if decoded.len() as u64 >= end {
                return Ok(decoded);
            }
            // Its beginning is packed less than the rest. A whole block that is too short is an error already.
            let more = (there + block.packed / 6).min(block.packed);
            self.fetch(&[(number, block.packed_at + there..block.packed_at + more)])?;
        }
    }

    /// Bytes of the unpacked tar. What spans several blocks is decoded by several threads, and not kept; of blocks that hold nothing else nothing is.
    fn bytes(&self, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let range = offset..offset + len as u64;
        let numbers = self.blocks_of(&range);
        let overlap = |number: usize| {
            let block = &self.blocks[number];
            let (start, end) = (range.start.max(block.unpacked_at), range.end.min(self.unpacked_end(number)));
            (start - block.unpacked_at) as usize..(end - block.unpacked_at) as usize
        };
        if numbers.len() <= 2 {
            let mut bytes = Vec::with_capacity(len);
            for number in numbers {
                let overlap = overlap(number);
                bytes.extend_from_slice(&self.block_until(number, overlap.end as u64)?[overlap]);
            }
            return Ok(bytes);
        }
        self.prefetch(std::iter::once(range.clone()))?;
        let mut bytes = vec![0; len];
        let mut rest = &mut bytes[..];
        let mut targets = Vec::new();
        for number in numbers {
            let (target, after) = std::mem::take(&mut rest).split_at_mut(overlap(number).len());
            targets.push((number, target));
            rest = after;
        }
        targets.into_par_iter().try_for_each(|(number, target)| {
            let overlap = overlap(number);
            let kept = self.cache().decoded.iter().find(|(known, _)| *known == number).cloned();
            match kept.filter(|(_, block)| block.len() >= overlap.end) {
                Some((_, block)) => target.copy_from_slice(&block[overlap]),
                None if overlap.len() as u64 == self.blocks[number].unpacked => {
                    let packed = self.packed(number)?;
                    decode_block_into(&packed, target, MEMORY)
                        .map_err(|error| self.broken(number, &error))?;
                    self.cache().packed.remove(&number);
                }
                None => target.copy_from_slice(&self.decode(number, overlap.end as u64)?[overlap]),
            }
            Ok::<(), Error>(())
        })?;
        self.cache().decoded.clear();
        Ok(bytes)
    }
}

enum Followed {
    Found(Located),
    /// Modules come first, thousands of them.
    Modules,
    /// The bytes end.
    Cut,
}

fn no_parts(reason: impl Into<Cow<'static, str>>) -> Error {
    Error::NoParts { reason: reason.into() }
}

/// The unpacked tar from an offset on, for [`Tar`].
struct Unpacked<'s, 'p> {
    package: &'s Sparse<'p>,
    offset: u64,
}

impl Read for Unpacked<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let numbers = self.package.blocks_of(&(self.offset..self.offset + 1));
        let Some(number) = numbers.into_iter().next() else { return Ok(0) };
        let (start, end) = (self.package.blocks[number].unpacked_at, self.package.unpacked_end(number));
        let at = (self.offset - start) as usize;
        let count = buffer.len().min((end - self.offset) as usize);
        let block = self.package.block_until(number, (at + count) as u64)?;
        buffer[..count].copy_from_slice(&block[at..at + count]);
        self.offset += count as u64;
        Ok(count)
    }
}

/// A file of the package, of which only what is read is fetched.
pub(crate) struct SparseFile<'s, 'p> {
    package: &'s Sparse<'p>,
    file: Located,
}

impl<'s, 'p> SparseFile<'s, 'p> {
    pub(crate) fn new(package: &'s Sparse<'p>, file: Located) -> Self {
        Self { package, file }
    }

    /// Fetches ranges of the file together, before they are read one by one.
    ///
    /// # Errors
    /// What [`Parts::read`] reports.
    pub(crate) fn prefetch(&self, ranges: &[Range<u64>]) -> Result<(), Error> {
        let inside = |offset: u64| self.file.offset + offset.min(self.file.size);
        self.package.prefetch(ranges.iter().map(|range| inside(range.start)..inside(range.end)))
    }

    /// The same with all of the blocks, where that is little more: a request too many may take longer than it saves.
    ///
    /// # Errors
    /// What [`Parts::read`] reports.
    pub(crate) fn prefetch_blocks(&self, ranges: &[Range<u64>]) -> Result<(), Error> {
        let package = self.package;
        let inside = |offset: u64| self.file.offset + offset.min(self.file.size);
        let blocks = |range: &Range<u64>| package.blocks_of(&(inside(range.start)..inside(range.end)));
        let all = ranges.iter().flat_map(blocks);
        package.prefetch(all.map(|number| package.blocks[number].unpacked_at..package.unpacked_end(number)))
    }
}

impl ReadAt for SparseFile<'_, '_> {
    fn len(&self) -> u64 {
        self.file.size
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.file.size);
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Cow::Owned(self.package.bytes(self.file.offset + offset, len)?))
    }
}
