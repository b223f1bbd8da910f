//! The decompressed data of a member: plain, gzip, xz or zstd, with limits against bombs.

use std::io::{self, BufRead, Chain, Cursor, Read};

use super::Error;
use super::ar::{Ar, Member};
use super::xz::XzReader;

/// Memory that an xz decoder may take, in bytes. The largest preset, `xz -9`, needs 65 MiB.
const XZ_MEMORY: u64 = 160 << 20;
/// zstd windows up to 128 MiB, what `zstd --ultra -22` uses and what dpkg-deb stays below.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Unpacked bytes that are not questioned, however few packed ones they came from.
const UNQUESTIONED: u64 = 256 << 20;
/// Beyond that: unpacked bytes for each packed one. Debian's kernel packages have 4 to 7.
const RATIO: u64 = 400;
/// Unpacked bytes altogether. The largest of Debian's kernel packages has 6 GB.
const TOTAL: u64 = 64 << 30;

/// What [`Unpacked`] decodes: the bytes that told the compression, and the rest of the member.
type Packed<'a, R> = Chain<Cursor<Vec<u8>>, &'a mut Ar<R>>;

/// A member's data, decompressed. Read errors wrap [`Error`].
pub(super) struct Unpacked<'a, R> {
    decoder: Decoder<'a, R>,
    name: String,
    /// Where the member's data begins in the package.
    start: u64,
    /// Unpacked bytes so far.
    offset: u64,
}

enum Decoder<'a, R> {
    Plain(Packed<'a, R>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Packed<'a, R>>>),
    Xz(Box<XzReader<Packed<'a, R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Packed<'a, R>>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Plain,
    Gzip,
    Xz,
    Zstd,
}

/// What the member's name says, `control.tar.xz` for example. `None`: nothing that is read here.
fn codec_of_name(name: &str) -> Option<Codec> {
    match name.split_once(".tar")?.1 {
        "" => Some(Codec::Plain),
        ".gz" => Some(Codec::Gzip),
        ".xz" => Some(Codec::Xz),
        ".zst" => Some(Codec::Zstd),
        _ => None,
    }
}

/// What the first bytes say.
fn codec_of_magic(magic: &[u8]) -> Codec {
    match magic {
        [0x1f, 0x8b, ..] => Codec::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Codec::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Codec::Zstd,
        _ => Codec::Plain,
    }
}

impl<'a, R: BufRead> Unpacked<'a, R> {
    /// The data of `member`, whose header `ar` has just read, decoded by `threads` threads where its format allows it.
    pub(super) fn new(ar: &'a mut Ar<R>, member: &Member, threads: usize) -> Result<Self, Error> {
        let name = member.name.clone();
        let start = ar.offset();
        let Some(codec) = codec_of_name(&name) else {
            let compression = name.rsplit('.').next().unwrap_or_default().to_owned();
            return Err(Error::Compression { member: name, compression });
        };
        let mut magic = Vec::new();
        let read = ar.by_ref().take(6).read_to_end(&mut magic);
        read.map_err(|error| Error::from_io(error, |source| Error::Input { offset: start, source }))?;
        let found = codec_of_magic(&magic);
        if found != codec {
            let reason = format!("its name says {codec:?}, its first bytes say {found:?}");
            return Err(Error::malformed(name, start, reason));
        }
        let packed = Cursor::new(magic).chain(ar);
        let setup = |source: io::Error| Error::Input { offset: start, source };
        let decoder = match codec {
            Codec::Plain => Decoder::Plain(packed),
            Codec::Gzip => Decoder::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(packed))),
            Codec::Xz => Decoder::Xz(Box::new(XzReader::new(packed, threads, XZ_MEMORY))),
            Codec::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(setup)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(setup)?;
                Decoder::Zstd(Box::new(decoder))
            }
        };
        Ok(Self { decoder, name, start, offset: 0 })
    }

    /// The member's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Says that nothing will be read beyond `offset` of the unpacked data, as far as is known.
    pub(super) fn expect_until(&mut self, offset: u64) {
        if let Decoder::Xz(decoder) = &mut self.decoder {
            decoder.expect_until(offset);
        }
    }

    /// How far into the package the decoder has read.
    fn position(&self) -> u64 {
        let packed = match &self.decoder {
            Decoder::Plain(packed) => packed,
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Xz(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref(),
        };
        packed.get_ref().1.offset()
    }

    fn check_limits(&self) -> Result<(), Error> {
        let position = self.position();
        if self.offset > UNQUESTIONED && self.offset / RATIO > position - self.start {
            let what = format!("it unpacks to more than {RATIO} times its size");
            return Err(Error::limit(&self.name, position, what));
        }
        if self.offset > TOTAL {
            return Err(Error::limit(
                &self.name,
                position,
                format!("it unpacks to more than {} GiB", TOTAL >> 30),
            ));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Unpacked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match &mut self.decoder {
            Decoder::Plain(packed) => packed.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Xz(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        };
        match result {
            Ok(count) => {
                self.offset += count as u64;
                self.check_limits()?;
                Ok(count)
            }
            Err(error) => {
                let position = self.position();
                Err(Error::from_io(error, |error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => Error::Truncated {
                        within: format!("{}, whose compressed data is incomplete", self.name),
                        offset: position,
                    },
                    _ => Error::malformed(
                        &self.name,
                        position,
                        format!("its compressed data is broken: {error}"),
                    ),
                })
                .into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check which names and first bytes mean which compression.
    #[test]
    fn codecs() {
        assert_eq!(codec_of_name("data.tar"), Some(Codec::Plain));
        assert_eq!(codec_of_name("control.tar.gz"), Some(Codec::Gzip));
        assert_eq!(codec_of_name("data.tar.xz"), Some(Codec::Xz));
        assert_eq!(codec_of_name("data.tar.zst"), Some(Codec::Zstd));
        assert_eq!(codec_of_name("data.tar.bz2"), None);
        assert_eq!(codec_of_name("data"), None);
        assert_eq!(codec_of_magic(b"\xfd7zXZ\0"), Codec::Xz);
        assert_eq!(codec_of_magic(b"\xfd7zX"), Codec::Plain);
        assert_eq!(codec_of_magic(b""), Codec::Plain);
    }
}
