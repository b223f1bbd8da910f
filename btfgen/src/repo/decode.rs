//! Compressed indices, read as streams within bounds.

use std::io::{self, BufRead, Read};

/// The most that an index may expand to, in bytes; the largest known, Fedora's, is below 1 GB.
pub(super) const EXPANDED_LIMIT: u64 = 4 << 30;
/// Memory that decompressing may take, in bytes: `xz -9` takes 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;
/// The largest window of zstd, as a power of two: what `zstd --ultra` makes without --long.
const ZSTD_WINDOW: u32 = 27;

/// How an index is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Xz,
    Zstd,
    Gzip,
    Bzip2,
    Plain,
}

impl Form {
    /// All forms, the smallest first.
    pub(super) const ALL: [Self; 5] = [Self::Xz, Self::Zstd, Self::Bzip2, Self::Gzip, Self::Plain];

    /// What the names of such files end in.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Bzip2 => ".bz2",
            Self::Plain => "",
        }
    }

    /// The form of a file by its first bytes: names of repository data are not always right.
    pub(super) fn of(bytes: &[u8]) -> Self {
        [
            (&b"\xfd7zXZ\0"[..], Self::Xz),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"\x1f\x8b", Self::Gzip),
            (b"BZh", Self::Bzip2),
        ]
        .into_iter()
        .find_map(|(magic, form)| bytes.starts_with(magic).then_some(form))
        .unwrap_or(Self::Plain)
    }
}

/// Decompresses while reading; an index that expands beyond any real one is an error.
pub(super) fn reader(form: Form, input: impl BufRead + 'static) -> io::Result<Box<dyn Read>> {
    limited(form, input, EXPANDED_LIMIT)
}

/// The same with another limit in bytes.
pub(super) fn limited(form: Form, input: impl BufRead + 'static, limit: u64) -> io::Result<Box<dyn Read>> {
    let decoder: Box<dyn Read> = match form {
        Form::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Form::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        Form::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Form::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Form::Plain => Box::new(input),
    };
    Ok(Box::new(Limited { decoder, left: limit, limit }))
}

/// Ends in an error, not in silence, where the limit is passed.
struct Limited<R> {
    decoder: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                let message =
                    format!("it expands to more than {} bytes, more than any index has", self.limit);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    /// Check that every form is told by its first bytes and decompressed, concatenated streams included, and that more than the limit is an
    /// error.
    #[test]
    fn forms() {
        let text = b"index ".repeat(1000);
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&text).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&text).unwrap();
        for (form, bytes) in [
            (Form::Xz, xz.finish().unwrap()),
            (Form::Zstd, zstd::encode_all(&text[..], 1).unwrap()),
            (Form::Gzip, [gzip(&text[..10]), gzip(&text[10..])].concat()),
            (Form::Bzip2, bzip2.finish().unwrap()),
            (Form::Plain, text.clone()),
        ] {
            assert_eq!(Form::of(&bytes), form);
            let mut out = Vec::new();
            reader(form, Cursor::new(bytes.clone())).unwrap().read_to_end(&mut out).unwrap();
            assert_eq!(out, text);
            let error =
                limited(form, Cursor::new(bytes), 5999).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains("expands to more than 5999 bytes"), "{error}");
        }
    }
}
