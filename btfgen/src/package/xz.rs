//! Reading an .xz stream, block by block on several threads where its blocks allow it (The .xz File Format 1.2).
//!
//! dpkg-deb compresses with several threads, so that `data.tar.xz` consists of blocks of 24 MiB, each with its sizes in
//! its header, each decodable alone. A block is handed to liblzma behind a copy of the stream's header: the decoder then
//! checks the block's own checksum, and never gets to see what follows.
//!
//! A block is read whole and decoded by a thread of its own only where all of it is wanted
//! ([`XzReader::expect_until`]). The first block, the last one wanted, and blocks without sizes are decoded as they come,
//! so that not a byte is fetched for nothing.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::thread::JoinHandle;

use liblzma::stream::{Action, Status, Stream};

const STREAM_HEADER: usize = 12;
const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
/// The largest block, packed and unpacked, that is held in memory. dpkg-deb's blocks unpack to 24 MiB, and three times
/// the dictionary at most: 192 MiB at -9, which are then decoded as they come.
pub(super) const HELD_BLOCK: u64 = 32 << 20;
/// More threads would hold more blocks than memory is meant for, and outrun any network.
const MOST_THREADS: usize = 4;
/// Blocks in a stream: hostile ones may be empty, and each is remembered for the index.
const BLOCKS: usize = 100_000;

/// A decompressing reader. Errors of kind [`io::ErrorKind::InvalidData`] mean that the stream is broken.
pub(crate) struct XzReader<R> {
    input: R,
    threads: usize,
    memory: u64,
    /// The stream's header, with which every block is decoded.
    header: [u8; STREAM_HEADER],
    state: State,
    /// Unpacked bytes known to be wanted, from the beginning of the stream.
    wanted: u64,
    /// Where the next block begins, unpacked.
    next_block: u64,
    /// Blocks being decoded, in order.
    queue: VecDeque<JoinHandle<io::Result<Vec<u8>>>>,
    /// A decoded block, and how much of it was read.
    decoded: (Vec<u8>, usize),
    /// What the index at the end must say.
    blocks: Vec<BlockSizes>,
}

enum State {
    /// Before the stream's header.
    Beginning,
    /// Between two blocks.
    Between,
    /// The header of a block has been read, and the block is to be decoded as it comes.
    Header(Block),
    /// In a block that is decoded as it comes.
    Inside(Box<Streaming>),
    /// After the index.
    End,
}

/// As the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BlockSizes {
    /// Header, packed data and check, without padding.
    unpadded: u64,
    unpacked: u64,
}

/// A block whose header has been read.
struct Block {
    header: Vec<u8>,
    /// Where the header tells them.
    sizes: Option<BlockSizes>,
}

/// A decoder in the middle of a block.
struct Streaming {
    stream: Stream,
    /// Bytes of the block not yet given to the decoder; `None`: all that follows in the stream.
    left: Option<u64>,
    /// Unpacked bytes not yet produced, where known.
    expected: Option<u64>,
    /// The decoder has seen the end of the stream.
    ended: bool,
}

impl<R: BufRead> XzReader<R> {
    /// Decodes `input` with at most `threads` threads beside the caller's, each of at most `memory` bytes.
    pub(super) fn new(input: R, threads: usize, memory: u64) -> Self {
        Self {
            input,
            threads: threads.min(MOST_THREADS),
            memory,
            header: [0; STREAM_HEADER],
            state: State::Beginning,
            wanted: 0,
            next_block: 0,
            queue: VecDeque::new(),
            decoded: (Vec::new(), 0),
            blocks: Vec::new(),
        }
    }

    fn read_stream_header(&mut self) -> io::Result<()> {
        self.input.read_exact(&mut self.header)?;
        let (flags, crc) = (&self.header[6..8], &self.header[8..]);
        if self.header[..6] != MAGIC || crc32(flags) != crc || flags[0] != 0 || flags[1] > 15 {
            return Err(broken("its stream header is wrong"));
        }
        self.state = State::Between;
        Ok(())
    }

    /// The packed stream.
    pub(super) fn get_ref(&self) -> &R {
        &self.input
    }

    pub(super) fn into_inner(self) -> R {
        self.input
    }

    /// Says that the caller will stop at `offset` of the unpacked bytes, unless it changes its mind. Until it is said, nothing is read
    /// ahead.
    pub(super) fn expect_until(&mut self, offset: u64) {
        self.wanted = offset;
    }

    /// Reads packed blocks and starts decoding them, until enough are under way: one more than there are threads, since the
    /// first of them is soon decoded, and the caller is busy with it while the others go on.
    fn read_ahead(&mut self) -> io::Result<()> {
        if matches!(self.state, State::Beginning) {
            self.read_stream_header()?;
        }
        while matches!(self.state, State::Between) && self.queue.len() <= self.threads {
            let Some(block) = self.read_block_header()? else {
                self.state = State::End;
                return self.check_index();
            };
            let held = block.sizes.filter(|sizes| {
                self.threads > 1
                    && self.next_block > 0
                    && sizes.unpadded.max(sizes.unpacked) <= HELD_BLOCK
                    && self.next_block.saturating_add(sizes.unpacked) <= self.wanted
            });
            let Some(sizes) = held else {
                self.state = State::Header(block);
                return Ok(());
            };
            let mut packed = self.header.to_vec();
            packed.extend_from_slice(&block.header);
            let rest = sizes.unpadded.next_multiple_of(4) - block.header.len() as u64;
            let read = self.input.by_ref().take(rest).read_to_end(&mut packed)?;
            if (read as u64) < rest {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let memory = self.memory;
            self.queue.push_back(std::thread::spawn(move || decode_block(&packed, sizes.unpacked, memory)));
            self.next_block += sizes.unpacked;
            self.blocks.push(sizes);
        }
        Ok(())
    }

    /// The header of the next block, or `None` where the index begins.
    fn read_block_header(&mut self) -> io::Result<Option<Block>> {
        let mut header = vec![0];
        self.input.read_exact(&mut header)?;
        if header[0] == 0 {
            return Ok(None);
        }
        header.resize((usize::from(header[0]) + 1) * 4, 0);
        self.input.read_exact(&mut header[1..])?;
        let (body, crc) = header.split_at(header.len() - 4);
        if crc32(body) != crc {
            return Err(broken("the checksum of a block header is wrong"));
        }
        let mut fields = &body[2..];
        let mut field = |flag: u8| if body[1] & flag != 0 { vli(&mut fields).map(Some) } else { Ok(None) };
        let (packed, unpacked) = (field(0x40)?, field(0x80)?);
        let check = match self.header[7] {
            0 => 0,
            // CRC32, CRC64 and SHA-256 are 1, 4 and 10; sizes of the others are reserved.
            check => 4_u64 << ((check - 1) / 3),
        };
        let sizes = packed.zip(unpacked).map(|(packed, unpacked)| {
            // Each is below 2^63, so that the sum fits.
            BlockSizes { unpadded: header.len() as u64 + packed + check, unpacked }
        });
        if self.blocks.len() == BLOCKS {
            return Err(broken("it has too many blocks"));
        }
        if sizes.is_none() && !self.blocks.is_empty() {
            return Err(broken("a block without sizes follows blocks with sizes"));
        }
        Ok(Some(Block { header, sizes }))
    }

    /// Begins to decode a block as it comes.
    fn start(&self, block: &Block) -> io::Result<Streaming> {
        let mut stream = Stream::new_stream_decoder(self.memory, 0)?;
        for head in [&self.header[..], &block.header] {
            let before = stream.total_in();
            stream.process(head, &mut [], Action::Run)?;
            if stream.total_in() - before != head.len() as u64 {
                return Err(broken("a block header is wrong"));
            }
        }
        let left = block.sizes.map(|sizes| sizes.unpadded.next_multiple_of(4) - block.header.len() as u64);
        Ok(Streaming { stream, left, expected: block.sizes.map(|sizes| sizes.unpacked), ended: false })
    }

    /// Checks the index, whose first byte has been read, and the footer (sections 4 and 2.1.2), and that nothing follows.
    fn check_index(&mut self) -> io::Result<()> {
        let mut index = vec![0];
        let count = self.read_vli(&mut index)?;
        if count != self.blocks.len() as u64 {
            return Err(broken("its index has another number of blocks"));
        }
        for number in 0..self.blocks.len() {
            let sizes =
                BlockSizes { unpadded: self.read_vli(&mut index)?, unpacked: self.read_vli(&mut index)? };
            if sizes != self.blocks[number] {
                return Err(broken("its index has other sizes than its blocks"));
            }
        }
        let len = index.len();
        index.resize(len.next_multiple_of(4) + 4 + 12, 0);
        self.input.read_exact(&mut index[len..])?;
        let (index, footer) = index.split_at(index.len() - 12);
        let (records, crc) = index.split_at(index.len() - 4);
        let backward = (index.len() / 4 - 1) as u32;
        let good = records[len..].iter().all(|&byte| byte == 0)
            && crc32(records) == crc
            && crc32(&footer[4..10]) == footer[..4]
            && footer[4..8] == backward.to_le_bytes()
            && footer[8..10] == self.header[6..8]
            && footer[10..] == *b"YZ";
        if !good {
            return Err(broken("its index or its footer is wrong"));
        }
        self.check_end()
    }

    fn check_end(&mut self) -> io::Result<()> {
        if self.input.fill_buf()?.is_empty() { Ok(()) } else { Err(broken("something follows the stream")) }
    }

    /// Reads one number from the input and appends its bytes to `raw`.
    fn read_vli(&mut self, raw: &mut Vec<u8>) -> io::Result<u64> {
        let start = raw.len();
        loop {
            let mut byte = [0];
            self.input.read_exact(&mut byte)?;
            raw.push(byte[0]);
            if byte[0] & 0x80 == 0 || raw.len() - start == 9 {
                return vli(&mut &raw[start..]);
            }
        }
    }
}

impl<R: BufRead> Read for XzReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let (block, read) = &mut self.decoded;
            if *read < block.len() {
                let count = buffer.len().min(block.len() - *read);
                buffer[..count].copy_from_slice(&block[*read..*read + count]);
                *read += count;
                return Ok(count);
            }
            self.decoded = (Vec::new(), 0);
            self.read_ahead()?;
            if let Some(thread) = self.queue.pop_front() {
                let block = thread.join().map_err(|_| io::Error::other("a decoder thread panicked"))??;
                self.decoded = (block, 0);
                continue;
            }
            match std::mem::replace(&mut self.state, State::End) {
                State::End => return Ok(0),
                state @ (State::Beginning | State::Between) => self.state = state,
                State::Header(block) => {
                    self.state = State::Inside(Box::new(self.start(&block)?));
                    if let Some(sizes) = block.sizes {
                        self.next_block = self.next_block.saturating_add(sizes.unpacked);
                        self.blocks.push(sizes);
                    }
                }
                State::Inside(mut streaming) => match streaming.read(&mut self.input, buffer)? {
                    0 if streaming.left.is_some() => self.state = State::Between,
                    0 => self.check_end()?,
                    count => {
                        self.state = State::Inside(streaming);
                        return Ok(count);
                    }
                },
            }
        }
    }
}

impl Streaming {
    /// The next unpacked bytes; 0 at the end of the block, or of the stream where the block has no sizes.
    fn read(&mut self, input: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.ended || self.left == Some(0) && self.expected == Some(0) {
                return Ok(0);
            }
            let mut packed = if self.left == Some(0) { &[] } else { input.fill_buf()? };
            if packed.is_empty() && self.left != Some(0) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(left) = self.left {
                packed = &packed[..packed.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            }
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.process(packed, buffer, Action::Run)?;
            let used = self.stream.total_in() - before_in;
            let count = self.stream.total_out() - before_out;
            input.consume(usize::try_from(used).unwrap_or(usize::MAX));
            self.left = self.left.map(|left| left - used);
            self.expected = match self.expected {
                Some(expected) => {
                    Some(expected.checked_sub(count).ok_or_else(|| broken("a block is too long"))?)
                }
                None => None,
            };
            self.ended = matches!(status, Status::StreamEnd);
            if count > 0 {
                return Ok(usize::try_from(count).unwrap_or(usize::MAX));
            }
            if used == 0 && !self.ended {
                return Err(broken("a block ends too early"));
            }
        }
    }
}

/// Decodes one block behind a stream header.
pub(super) fn decode_block(packed: &[u8], unpacked: u64, memory: u64) -> io::Result<Vec<u8>> {
    let unpacked = usize::try_from(unpacked).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut block = vec![0; unpacked];
    decode_block_into(packed, &mut block, memory)?;
    Ok(block)
}

/// The same into bytes of exactly its length.
pub(super) fn decode_block_into(packed: &[u8], block: &mut [u8], memory: u64) -> io::Result<()> {
    let mut stream = Stream::new_stream_decoder(memory, 0)?;
    let (mut used, mut done) = (0, 0);
    while used < packed.len() && done <= block.len() {
        let before = (used, done);
        // At the end room for one byte more, so that the decoder is never called without any.
        let room = if done < block.len() { &mut block[done..] } else { &mut [0][..] };
        stream.process(&packed[used..], room, Action::Run)?;
        used = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        done = usize::try_from(stream.total_out()).unwrap_or(usize::MAX);
        if (used, done) == before {
            break;
        }
    }
    // The decoder compares sizes and check when it has taken the last byte.
    if used == packed.len() && done == block.len() {
        Ok(())
    } else {
        Err(broken("a block has not the size it says"))
    }
}

/// Decodes the beginning of a block behind a stream header: at most `len` bytes, fewer where `packed` ends before.
pub(super) fn decode_beginning(packed: &[u8], len: u64, memory: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut stream = Stream::new_stream_decoder(memory, 0)?;
    let mut block = vec![0; len];
    let (mut used, mut done) = (0, 0);
    while used < packed.len() && done < len {
        let before = (used, done);
        stream.process(&packed[used..], &mut block[done..], Action::Run)?;
        used = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        done = usize::try_from(stream.total_out()).unwrap_or(usize::MAX);
        if (used, done) == before {
            break;
        }
    }
    block.truncate(done);
    Ok(block)
}

/// A number of 7 bits a byte, least significant first, at most 63 bits (section 1.2).
pub(super) fn vli(bytes: &mut &[u8]) -> io::Result<u64> {
    let mut value = 0;
    for shift in 0..9 {
        let Some((&byte, rest)) = bytes.split_first() else { break };
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            if byte == 0 && shift > 0 {
                break;
            }
            return Ok(value);
        }
    }
    Err(broken("a number in it is malformed"))
}

pub(super) fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

fn broken(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    const MEMORY: u64 = 64 << 20;

    /// `data` as `xz` with these arguments compresses it.
    fn xz(data: &[u8], arguments: &[&str]) -> Vec<u8> {
        let mut child = Command::new("xz")
            .arg("-c")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("xz is needed: apt-get install xz-utils");
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(data).unwrap());
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            output.stdout
        })
    }

    /// Bytes of which some compress and some do not.
    fn data(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = |i: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if (i / 3000).is_multiple_of(2) { (state >> 56) as u8 } else { (i / 7) as u8 }
        };
        (0..len).map(next).collect()
    }

    fn unpack(packed: &[u8], threads: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        XzReader::new(BufReader::with_capacity(1000, packed), threads, MEMORY).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Check that streams of one block and of many, with every kind of check, are unpacked with any number of threads.
    #[test]
    fn blocks_and_checks() {
        let data = data(500_000);
        for check in ["none", "crc32", "crc64", "sha256"] {
            for blocks in [&["-T1"][..], &["-T2", "--block-size=60000"]] {
                let packed = xz(&data, &[&["-1", "--check", check], blocks].concat());
                for threads in [0, 1, 2, 5] {
                    assert!(unpack(&packed, threads).unwrap() == data, "{check} {blocks:?} {threads}");
                }
            }
        }
        assert_eq!(unpack(&xz(b"", &[]), 2).unwrap(), b"");
    }

    /// Check that no more is read than the blocks that hold what is wanted, and that the caller may change its mind.
    #[test]
    fn reads_no_further_than_wanted() {
        let data = data(1_000_000);
        let packed = xz(&data, &["-1", "-T2", "--block-size=100000"]);
        let mut reader = XzReader::new(&packed[..], 4, MEMORY);
        reader.expect_until(350_000);
        let mut bytes = vec![0; 350_000];
        reader.read_exact(&mut bytes).unwrap();
        let used = packed.len() - reader.get_ref().len();
        assert!(used * 10 > packed.len() * 3 && used * 10 < packed.len() * 4, "{used} of {}", packed.len());
        reader.expect_until(u64::MAX);
        reader.read_to_end(&mut bytes).unwrap();
        assert!(bytes == data);
    }

    /// Check that the beginning of a block is what it is in the whole, as far as the packed bytes go.
    #[test]
    fn beginnings() {
        let data = data(300_000);
        let packed = xz(&data, &["-1", "-T1"]);
        for len in [0, 1, 4096, 299_999, 300_000, 400_000] {
            let end = len.min(data.len());
            assert!(decode_beginning(&packed, len as u64, MEMORY).unwrap() == data[..end], "{len}");
        }
        for cut in [12, 20, 40_000, packed.len() / 2, packed.len() - 30] {
            let decoded = decode_beginning(&packed[..cut], 300_000, MEMORY).unwrap();
            assert!(data.starts_with(&decoded), "{cut}");
            assert!(cut < 40_000 || decoded.len() > cut / 2, "{cut}: {}", decoded.len());
        }
        let mut damaged = packed.clone();
        damaged[30_000..30_100].fill(0);
        assert!(decode_beginning(&damaged, 300_000, MEMORY).map_or(true, |decoded| decoded != data));
    }

    /// Check that a decoder asking for gigabytes is refused.
    #[test]
    fn dictionary_too_large() {
        let mut packed = xz(b"some data", &["-T1"]);
        // The block header: size 12 bytes, no sizes, filter LZMA2 with one byte of properties, the dictionary's size.
        assert_eq!(packed[12..16], [2, 0, 0x21, 1]);
        packed[16] = 40;
        let crc = crc32(&packed[12..20]);
        packed[20..24].copy_from_slice(&crc);
        let error = unpack(&packed, 1).unwrap_err().to_string();
        assert!(error.contains("memory"), "{error}");
    }

    /// Check that a second stream and trailing bytes are refused, not passed over.
    #[test]
    fn something_follows() {
        for arguments in [&["-T1"][..], &["-T2", "--block-size=60000"]] {
            let packed = xz(&data(100_000), arguments);
            for tail in [&packed[..], b"\0\0\0\0", b"x"] {
                let error = unpack(&[&packed, tail].concat(), 2).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            }
        }
    }

    proptest! {
        /// Check that every cut and every changed byte is noticed, wherever it is: header, block, padding, index, footer.
        #[test]
        fn damaged(position: prop::sample::Index, change in 1..=255_u8, threads in 1..3_usize) {
            static PACKED: std::sync::LazyLock<Vec<u8>> =
                std::sync::LazyLock::new(|| xz(&data(40_000), &["-1", "-T2", "--block-size=10000"]));
            let mut packed = PACKED.clone();
            let at = position.index(packed.len());
            let error = unpack(&packed[..at], threads).unwrap_err();
            prop_assert!(matches!(error.kind(), io::ErrorKind::UnexpectedEof), "{at}: {error}");
            packed[at] ^= change;
            prop_assert!(unpack(&packed, threads).is_err(), "{at}");
        }
    }
}
