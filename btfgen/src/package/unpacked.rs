//! The decompressed data of a package, with limits against bombs.

use std::io::{self, BufRead, Chain, Cursor, Read};

use super::Error;
use super::codec::{Codec, Decoder};

/// Unpacked bytes that are not questioned, however few packed ones they came from.
const UNQUESTIONED: u64 = 256 << 20;
/// Beyond that: unpacked bytes for each packed one. Kernel packages have 4 to 7.
const RATIO: u64 = 400;
/// Unpacked bytes altogether. The largest of Debian's kernel packages has 6 GB.
const TOTAL: u64 = 64 << 30;

/// Packed bytes that know where in the package they are.
pub(super) trait Packed: BufRead {
    /// Bytes consumed so far, from the beginning of the package.
    fn position(&self) -> u64;
}

impl<P: Packed> Packed for &mut P {
    fn position(&self) -> u64 {
        (**self).position()
    }
}

/// Data, decompressed. Read errors wrap [`Error`].
pub(super) struct Unpacked<P: Packed> {
    decoder: Decoder<Chain<Cursor<Vec<u8>>, P>>,
    name: String,
    /// Where the packed data begins in the package.
    start: u64,
    /// Unpacked bytes so far.
    offset: u64,
}

/// What a Debian member's name says, `control.tar.xz` for example. `None`: nothing that is read here.
pub(super) fn codec_of_member(name: &str) -> Option<Codec> {
    match name.split_once(".tar")?.1 {
        "" => Some(Codec::Plain),
        ".gz" => Some(Codec::Gzip),
        ".xz" => Some(Codec::Xz),
        ".zst" => Some(Codec::Zstd),
        ".bz2" => Some(Codec::Bzip2),
        ".lzma" => Some(Codec::Lzma),
        _ => None,
    }
}

impl<P: Packed> Unpacked<P> {
    /// The data that `packed` is at, decoded by `threads` threads where its format allows it. `codec` is what its name or
    /// header says; `None`: only its first bytes tell.
    pub(super) fn new(
        mut packed: P,
        name: &str,
        codec: Option<Codec>,
        threads: usize,
    ) -> Result<Self, Error> {
        let start = packed.position();
        let mut magic = Vec::new();
        let read = packed.by_ref().take(8).read_to_end(&mut magic);
        read.map_err(|error| Error::from_io(error, |source| Error::Input { offset: start, source }))?;
        let found = match (Codec::of_magic(&magic), codec) {
            (Codec::Plain, Some(Codec::Lzma)) => Codec::Lzma,
            (found, _) => found,
        };
        if let Some(codec) = codec.filter(|&codec| codec != found) {
            let reason = format!("its name says {}, its first bytes say {}", codec.name(), found.name());
            return Err(Error::malformed(name, start, reason));
        }
        let decoder =
            Decoder::new(Cursor::new(magic).chain(packed), found, threads).map_err(|source| match source
                .kind()
            {
                io::ErrorKind::Unsupported => {
                    Error::Compression { member: name.to_owned(), compression: found.name().to_owned() }
                }
                _ => Error::Input { offset: start, source },
            })?;
        Ok(Self { decoder, name: name.to_owned(), start, offset: 0 })
    }

    /// The name of the data, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Says that nothing will be read beyond `offset` of the unpacked data, as far as is known.
    pub(super) fn expect_until(&mut self, offset: u64) {
        self.decoder.expect_until(offset);
    }

    /// Leaves off; what is left is packed.
    pub(super) fn into_packed(self) -> P {
        self.decoder.into_inner().into_inner().1
    }

    /// How far into the package the decoder has read.
    fn position(&self) -> u64 {
        self.decoder.get_ref().get_ref().1.position()
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

impl<P: Packed> Read for Unpacked<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.decoder.read(buffer) {
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

    /// Check which names mean which compression.
    #[test]
    fn names_of_members() {
        assert_eq!(codec_of_member("data.tar"), Some(Codec::Plain));
        assert_eq!(codec_of_member("control.tar.gz"), Some(Codec::Gzip));
        assert_eq!(codec_of_member("data.tar.xz"), Some(Codec::Xz));
        assert_eq!(codec_of_member("data.tar.zst"), Some(Codec::Zstd));
        assert_eq!(codec_of_member("data.tar.bz2"), Some(Codec::Bzip2));
        assert_eq!(codec_of_member("data.tar.lzma"), Some(Codec::Lzma));
        assert_eq!(codec_of_member("data.tar.br"), None);
        assert_eq!(codec_of_member("data"), None);
    }
}
