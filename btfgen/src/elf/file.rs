//! Files as they lie about: ELF files, and modules compressed whole (`.ko.xz`, `.ko.zst`, `.ko.gz`), which are decompressed in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::read_at::ReadAt;

/// A file's content, mapped or decompressed.
pub enum Contents {
    /// The file as it is.
    Mapped(memmap2::Mmap),
    /// What was compressed in it.
    Unpacked(Vec<u8>),
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is not there, or not to be read.
    #[error("cannot be opened: {0}")]
    Open(io::Error),
    /// It is empty, a directory, or cannot be mapped for another reason.
    #[error("cannot be mapped: {0}")]
    Map(io::Error),
    /// It is compressed, and damaged.
    #[error("its {format} compression is damaged after {offset} bytes of content: {reason}")]
    Damaged {
        /// xz, zstd or gzip.
        format: &'static str,
        /// How many bytes came out before.
        offset: usize,
        /// What the decoder says.
        reason: io::Error,
    },
    /// It decompresses to more than anybody needs.
    #[error("its {format}-compressed content is over the limit of {limit} bytes")]
    TooLarge {
        /// xz, zstd or gzip.
        format: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
}

/// The limit on decompressed content, in bytes. The largest module with debug information that Debian has is a fifth of it.
const MAX_UNPACKED: u64 = 1 << 30;
/// The limit on what a decoder takes for its dictionary, in bytes. `xz -9` needs 65 MiB.
const MAX_DICTIONARY: u64 = 256 << 20;
/// The same as a power of two.
const MAX_WINDOW_LOG: u32 = 28;

impl Contents {
    /// Opens a file, and decompresses it if it is compressed.
    pub fn open(path: &Path) -> Result<Contents, OpenError> {
        let file = File::open(path).map_err(OpenError::Open)?;
        // SAFETY: the mapping is read as plain bytes, every access is bounds-checked, and a file that is changed under it gives wrong bytes,
        // which the parsers take like any other hostile input. A file that is truncated under it ends the process by SIGBUS; mapping is
        // kept because reading a 600 MB vmlinux into memory instead would double the peak memory.
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(OpenError::Map)?;
        Ok(match unpack(&map)? {
            Some(content) => Contents::Unpacked(content),
            None => Contents::Mapped(map),
        })
    }

    /// The content of a file that is in memory.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] and [`OpenError::TooLarge`] for compressed ones.
    pub fn of(bytes: Vec<u8>) -> Result<Contents, OpenError> {
        Ok(Contents::Unpacked(unpack(&bytes)?.unwrap_or(bytes)))
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Contents::Mapped(map) => map,
            Contents::Unpacked(bytes) => bytes,
        }
    }
}

impl ReadAt for Contents {
    fn len(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.bytes().get(start..end).map(Cow::Borrowed).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Takes the file's pages out of this process's memory: 10 to 20 ms for a kernel, which its end would take else.
    fn release(&self) {
        if let Contents::Mapped(map) = self {
            // SAFETY: the mapping is of a file and only read, so pages that are touched again come back from the file with what they held. What
            // that assumes of the file is what mapping it assumes already.
            #[allow(unsafe_code)]
            let advised = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            drop(advised); // an advice that is not taken costs nothing
        }
    }
}

/// The content of compressed bytes; `None` for others. The format is seen by its magic number, for a name may lie.
fn unpack(bytes: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
    let damaged = |format| move |reason| OpenError::Damaged { format, offset: 0, reason };
    match bytes {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(MAX_DICTIONARY, liblzma::stream::CONCATENATED);
            let stream = stream.map_err(|error| damaged("xz")(error.into()))?;
            all_of(liblzma::read::XzDecoder::new_stream(bytes, stream), "xz").map(Some)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(damaged("zstd"))?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(damaged("zstd"))?;
            all_of(decoder, "zstd").map(Some)
        }
        [0x1f, 0x8b, ..] => all_of(flate2::bufread::MultiGzDecoder::new(bytes), "gzip").map(Some),
        _ => Ok(None),
    }
}

fn all_of(decoder: impl Read, format: &'static str) -> Result<Vec<u8>, OpenError> {
    let mut content = Vec::new();
    match decoder.take(MAX_UNPACKED + 1).read_to_end(&mut content) {
        Err(reason) => Err(OpenError::Damaged { format, offset: content.len(), reason }),
        Ok(_) if content.len() as u64 > MAX_UNPACKED => {
            Err(OpenError::TooLarge { format, limit: MAX_UNPACKED })
        }
        Ok(_) => Ok(content),
    }
}
