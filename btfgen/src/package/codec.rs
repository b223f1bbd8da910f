//! Which compression bytes are in, and a decoder for it that keeps within a limit of memory.
//!
//! Packages, modules and kernel images are compressed in the same few ways; this is where all of them are told apart (by their
//! first bytes, as file(1) does) and decoded. LZMA has no magic number: whoever expects it says so.

use std::io::{self, BufRead, Read};

use liblzma::stream::Stream;

use super::lz4::Legacy;
use super::xz::XzReader;

/// Memory that an xz or lzma decoder may take, in bytes. The largest preset, `xz -9`, needs 65 MiB; kernels are compressed
/// with dictionaries of up to 128 MiB.
const LZMA_MEMORY: u64 = 160 << 20;
/// zstd windows up to 128 MiB, what `zstd --ultra -22` uses and what dpkg-deb stays below.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Not compressed.
    Plain,
    Gzip,
    /// A single .xz stream.
    Xz,
    Zstd,
    Bzip2,
    /// The format of LZMA Utils (`.lzma`).
    Lzma,
    /// The format of lz4(1).
    Lz4,
    /// What lz4 wrote before it had frames, and what kernels still use.
    Lz4Legacy,
    /// lzop: only told apart, not decoded.
    Lzo,
}

impl Codec {
    /// What the first bytes say. LZMA is never seen.
    pub(crate) fn of_magic(magic: &[u8]) -> Codec {
        match magic {
            [0x1f, 0x8b, ..] => Codec::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Codec::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Codec::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Codec::Bzip2,
            [0x04, 0x22, 0x4d, 0x18, ..] => Codec::Lz4,
            [0x02, 0x21, 0x4c, 0x18, ..] => Codec::Lz4Legacy,
            [0x89, b'L', b'Z', b'O', 0, b'\r', b'\n', ..] => Codec::Lzo,
            _ => Codec::Plain,
        }
    }

    /// Whether the first bytes may begin a `.lzma` file: sane properties, a dictionary of 2^n or 2^n + 2^(n-1), and a length
    /// that is unknown or below 256 GiB. xz(1) asks the same.
    pub(crate) fn may_be_lzma(bytes: &[u8]) -> bool {
        let Some(header) = bytes.first_chunk::<13>() else { return false };
        let dictionary = u32::from_le_bytes([header[1], header[2], header[3], header[4]]);
        let low = dictionary & dictionary.wrapping_sub(1);
        let size = u64::from_le_bytes(std::array::from_fn(|at| header[5 + at]));
        header[0] < 225
            && dictionary >= 4096
            && (low == 0 || low & (low - 1) == 0 && low == dictionary / 3 * 2)
            && (size == u64::MAX || size < 1 << 38)
    }

    /// As it is written in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Codec::Plain => "none",
            Codec::Gzip => "gzip",
            Codec::Xz => "xz",
            Codec::Zstd => "zstd",
            Codec::Bzip2 => "bzip2",
            Codec::Lzma => "lzma",
            Codec::Lz4 => "lz4",
            Codec::Lz4Legacy => "lz4 (legacy)",
            Codec::Lzo => "lzo",
        }
    }
}

/// A decoder over `R`, which stays within reach.
pub(crate) enum Decoder<R: BufRead> {
    Plain(R),
    Gzip(Box<flate2::bufread::MultiGzDecoder<R>>),
    Xz(Box<XzReader<R>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<R>>),
    Lzma(Box<liblzma::bufread::XzDecoder<R>>),
    Lz4(Box<lz4_flex::frame::FrameDecoder<R>>),
    Lz4Legacy(Legacy<R>),
}

impl<R: BufRead> Decoder<R> {
    /// A decoder of `codec`; `threads` beside the caller's work where the format allows it.
    ///
    /// # Errors
    /// Of kind [`io::ErrorKind::Unsupported`] for a compression that is not decoded.
    pub(crate) fn new(input: R, codec: Codec, threads: usize) -> io::Result<Self> {
        Ok(match codec {
            Codec::Plain => Self::Plain(input),
            Codec::Gzip => Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
            Codec::Xz => Self::Xz(Box::new(XzReader::new(input, threads, LZMA_MEMORY))),
            Codec::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
            Codec::Bzip2 => Self::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(input))),
            Codec::Lzma => {
                let stream = Stream::new_lzma_decoder(LZMA_MEMORY)?;
                Self::Lzma(Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream)))
            }
            Codec::Lz4 => Self::Lz4(Box::new(lz4_flex::frame::FrameDecoder::new(input))),
            Codec::Lz4Legacy => Self::Lz4Legacy(Legacy::new(input)),
            Codec::Lzo => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    /// What is decoded.
    pub(crate) fn get_ref(&self) -> &R {
        match self {
            Self::Plain(input) => input,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Xz(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
            Self::Bzip2(decoder) => decoder.get_ref(),
            Self::Lzma(decoder) => decoder.get_ref(),
            Self::Lz4(decoder) => decoder.get_ref(),
            Self::Lz4Legacy(decoder) => decoder.get_ref(),
        }
    }

    /// Leaves off.
    pub(crate) fn into_inner(self) -> R {
        match self {
            Self::Plain(input) => input,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Xz(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
            Self::Bzip2(decoder) => decoder.into_inner(),
            Self::Lzma(decoder) => decoder.into_inner(),
            Self::Lz4(decoder) => decoder.into_inner(),
            Self::Lz4Legacy(decoder) => decoder.into_inner(),
        }
    }

    /// Says that nothing will be read beyond `offset` of the unpacked data, as far as is known.
    pub(crate) fn expect_until(&mut self, offset: u64) {
        if let Self::Xz(decoder) = self {
            decoder.expect_until(offset);
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
            Self::Lzma(decoder) => decoder.read(buffer),
            Self::Lz4(decoder) => decoder.read(buffer),
            Self::Lz4Legacy(decoder) => decoder.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check which first bytes mean which compression.
    #[test]
    fn magics() {
        assert_eq!(Codec::of_magic(b"\xfd7zXZ\0"), Codec::Xz);
        assert_eq!(Codec::of_magic(b"\xfd7zX"), Codec::Plain);
        assert_eq!(Codec::of_magic(b"BZh91"), Codec::Bzip2);
        assert_eq!(Codec::of_magic(b"BZh0"), Codec::Plain);
        assert_eq!(Codec::of_magic(b"\x02\x21\x4c\x18"), Codec::Lz4Legacy);
        assert_eq!(Codec::of_magic(b""), Codec::Plain);
    }

    /// Check what may be LZMA: the presets of xz and lzma, and not what begins like something else.
    #[test]
    fn lzma_headers() {
        let header = |properties: u8, dictionary: u32, size: u64| {
            [&[properties][..], &dictionary.to_le_bytes(), &size.to_le_bytes()].concat()
        };
        for dictionary in [1 << 16, 1 << 20, 8 << 20, 64 << 20, 3 << 20] {
            assert!(Codec::may_be_lzma(&header(0x5d, dictionary, u64::MAX)), "{dictionary}");
        }
        assert!(Codec::may_be_lzma(&header(0x5d, 1 << 23, 70_000_000)));
        assert!(!Codec::may_be_lzma(&header(0x5d, 12345, u64::MAX)));
        assert!(!Codec::may_be_lzma(&header(0x5d, 0, u64::MAX)));
        assert!(!Codec::may_be_lzma(&header(0xff, 1 << 20, u64::MAX)));
        assert!(!Codec::may_be_lzma(&header(0x5d, 1 << 20, 1 << 40)));
        assert!(!Codec::may_be_lzma(b"\x5d\0\0"));
    }
}
