//! Reading a tar archive as a stream: ustar (POSIX.1-1988), pax headers (POSIX.1-2001) and GNU's long names.
//!
//! Only what finding a file needs: path, kind, size. Headers are limited in size and number, so that no archive can make
//! this use more than a few megabytes.

use std::borrow::Cow;
use std::io::{self, Read};

use super::Error;

const BLOCK: usize = 512;
/// A pax header or a GNU long name, in bytes. A path has at most 4096.
const HEADER_DATA: u64 = 1 << 20;
/// Headers altogether. Debian's largest kernel package has fewer than 10,000 members.
const HEADERS: u64 = 500_000;

/// What a member is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file, whose data follows.
    File,
    /// A file in GNU's sparse format: its data is not the file's bytes.
    Sparse,
    /// A directory, a link, a device: no data.
    Other,
}

/// One member; its data comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Path without `./` and `/` at the beginning, and without `/` at the end. Never has a `..` component.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Length of the data in bytes.
    pub(super) size: u64,
    /// Offset of the member's own header in the unpacked archive.
    pub(super) offset: u64,
}

/// A stream of members. Read errors of the inner reader wrap [`Error`].
pub(super) struct Tar<R> {
    inner: R,
    /// The archive's name, for errors.
    name: String,
    offset: u64,
    /// Bytes of the current member's data not yet read.
    remaining: u64,
    /// Bytes of padding after the data.
    padding: u64,
    headers: u64,
}

/// What pax headers and GNU long names say about the next member.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<R: Read> Tar<R> {
    pub(super) fn new(inner: R, name: impl Into<String>) -> Self {
        Self { inner, name: name.into(), offset: 0, remaining: 0, padding: 0, headers: 0 }
    }

    /// The reader below.
    pub(super) fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Bytes read so far, from the beginning of the archive.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes over what is left of the current member and reads the next one's headers; `None` at the end-of-archive mark.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>, Error> {
        let mut extended = Extended::default();
        loop {
            self.skip_rest()?;
            let offset = self.offset;
            let mut header = [0; BLOCK];
            self.fill(&mut header)?;
            if header.iter().all(|&byte| byte == 0) {
                return Ok(None);
            }
            self.headers += 1;
            if self.headers > HEADERS {
                return Err(self.limit(offset, format!("it has more than {HEADERS} members")));
            }
            self.check_sum(&header, offset)?;
            let size = self.number(&header[124..136], offset, "size")?;
            match header[156] {
                b'L' => {
                    extended.path = Some(
                        self.header_data(size, offset)?
                            .split(|&b| b == 0)
                            .next()
                            .unwrap_or_default()
                            .to_vec(),
                    )
                }
                b'x' => self.read_pax(size, offset, &mut extended)?,
                // A long link target, or pax defaults for all members: neither a path nor a size of one.
                b'K' | b'g' => drop(self.header_data(size, offset)?),
                flag => {
                    let size = extended.size.unwrap_or(size);
                    let path = match extended.path {
                        Some(path) => Cow::Owned(path),
                        None => ustar_path(&header),
                    };
                    let path = self.clean_path(&path, offset)?;
                    let kind = match flag {
                        0 | b'0' | b'7' if extended.sparse => Kind::Sparse,
                        0 | b'0' | b'7' => Kind::File,
                        b'S' => Kind::Sparse,
                        _ => Kind::Other,
                    };
                    // Links, devices, directories and FIFOs have no data, whatever their size says.
                    let size = if matches!(flag, b'1'..=b'6') { 0 } else { size };
                    self.begin(size, offset)?;
                    return Ok(Some(Member { path, kind, size, offset }));
                }
            }
        }
    }

    /// Reads on in the current member's data; 0 at its end.
    pub(super) fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let len = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(0);
        }
        let count = self.read_some(&mut buffer[..len])?;
        self.remaining -= count as u64;
        Ok(count)
    }

    /// Reads what follows the end-of-archive mark, so that the decoder below checks its own end.
    pub(super) fn drain(&mut self) -> Result<(), Error> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.inner.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.offset += count as u64,
                Err(error) => return Err(self.inner_error(error)),
            }
        }
    }

    /// The data of a header that describes the next one.
    fn header_data(&mut self, size: u64, offset: u64) -> Result<Vec<u8>, Error> {
        if size > HEADER_DATA {
            return Err(self.limit(offset, format!("an extended header has {size} bytes")));
        }
        self.begin(size, offset)?;
        let mut data = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.fill(&mut data)?;
        self.remaining = 0;
        Ok(data)
    }

    /// Records `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
    fn read_pax(&mut self, size: u64, offset: u64, extended: &mut Extended) -> Result<(), Error> {
        let data = self.header_data(size, offset)?;
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            let (record, after) = pax_record(rest)
                .ok_or_else(|| self.malformed(offset, "its pax header is not `length key=value`"))?;
            rest = after;
            match record {
                (b"path", value) => extended.path = Some(value.to_vec()),
                (b"size", value) => {
                    let size = std::str::from_utf8(value).ok().filter(|text| !text.starts_with('+'));
                    extended.size = size.and_then(|text| text.parse().ok());
                    if extended.size.is_none() {
                        return Err(self.malformed(offset, "its pax header has a size that is no number"));
                    }
                }
                (key, _) if key.starts_with(b"GNU.sparse.") => extended.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes `size` bytes the current data.
    fn begin(&mut self, size: u64, offset: u64) -> Result<(), Error> {
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        if self.offset.checked_add(size).and_then(|end| end.checked_add(padding)).is_none() {
            return Err(self.malformed(offset, "its size is beyond any file"));
        }
        (self.remaining, self.padding) = (size, padding);
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<(), Error> {
        let mut buffer = [0; 16 << 10];
        let mut left = self.remaining + self.padding;
        (self.remaining, self.padding) = (0, 0);
        while left > 0 {
            let len = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= self.read_some(&mut buffer[..len])? as u64;
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            filled += self.read_some(&mut buffer[filled..])?;
        }
        Ok(())
    }

    /// Reads at least one byte: the archive may end only after its mark.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        match self.inner.read(buffer) {
            Ok(0) => {
                Err(Error::Truncated { within: format!("the unpacked {}", self.name), offset: self.offset })
            }
            Ok(count) => {
                self.offset += count as u64;
                Ok(count)
            }
            Err(error) => Err(self.inner_error(error)),
        }
    }

    /// The sum of the header's bytes, with blanks for the sum itself. Some old writers summed signed bytes.
    fn check_sum(&self, header: &[u8; BLOCK], offset: u64) -> Result<(), Error> {
        let stored = self.number(&header[148..156], offset, "checksum")?;
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (at, &byte) in header.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if [unsigned, signed].iter().any(|&sum| u64::try_from(sum) == Ok(stored)) {
            Ok(())
        } else {
            Err(self.malformed(offset, "not a tar header: its checksum is wrong"))
        }
    }

    /// Octal digits between blanks and NULs, or GNU's big-endian number behind a byte 0x80.
    fn number(&self, field: &[u8], offset: u64, what: &str) -> Result<u64, Error> {
        let parsed = if field[0] & 0x80 != 0 {
            let (&first, rest) = (&(field[0] & 0x7f), &field[1..]);
            rest.iter().try_fold(u64::from(first), |value, &byte| {
                value.checked_mul(256).map(|value| value | u64::from(byte))
            })
        } else {
            let digits = field.trim_ascii_start();
            let end = digits.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(digits.len());
            let (digits, after) = digits.split_at(end);
            let ended = after.iter().all(|byte| matches!(byte, b' ' | 0));
            digits
                .iter()
                .try_fold(0_u64, |value, &byte| match byte {
                    b'0'..=b'7' => value.checked_mul(8).map(|value| value | u64::from(byte - b'0')),
                    _ => None,
                })
                .filter(|_| ended)
        };
        parsed.ok_or_else(|| self.malformed(offset, format!("a tar header with an invalid {what}")))
    }

    fn clean_path(&self, path: &[u8], offset: u64) -> Result<Vec<u8>, Error> {
        let mut clean = Vec::with_capacity(path.len());
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    let path = String::from_utf8_lossy(path).escape_debug().collect::<String>();
                    return Err(
                        self.malformed(offset, format!("the path {path} leaves the package with `..`"))
                    );
                }
                component if component.contains(&0) => {
                    return Err(self.malformed(offset, "a path has a NUL byte"));
                }
                component => {
                    if !clean.is_empty() {
                        clean.push(b'/');
                    }
                    clean.extend_from_slice(component);
                }
            }
        }
        Ok(clean)
    }

    fn part(&self) -> String {
        format!("the unpacked {}", self.name)
    }

    fn malformed(&self, offset: u64, reason: impl Into<Cow<'static, str>>) -> Error {
        Error::malformed(self.part(), offset, reason)
    }

    fn limit(&self, offset: u64, what: String) -> Error {
        Error::limit(self.part(), offset, what)
    }

    fn inner_error(&self, error: io::Error) -> Error {
        Error::from_io(error, |source| Error::Input { offset: self.offset, source })
    }
}

/// `prefix/name` of a POSIX header; GNU's older header has other things where the prefix is.
fn ustar_path(header: &[u8; BLOCK]) -> Cow<'_, [u8]> {
    let text = |field: &'_ [u8]| field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let name = &header[..100];
    let name = &name[..text(name)];
    let prefix = &header[345..500];
    let prefix = &prefix[..text(prefix)];
    if header[257..263] == *b"ustar\0" && !prefix.is_empty() {
        Cow::Owned([prefix, name].join(&b'/'))
    } else {
        Cow::Borrowed(name)
    }
}

/// Splits the first record off: key, value, and what follows it.
#[expect(clippy::type_complexity, reason = "two slices and a rest")]
fn pax_record(data: &[u8]) -> Option<((&[u8], &[u8]), &[u8])> {
    let blank = data.iter().take(20).position(|&byte| byte == b' ')?;
    let digits = std::str::from_utf8(&data[..blank]).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (record, rest) = data.split_at_checked(digits.parse().ok()?)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some(((&record[..equals], &record[equals + 1..]), rest))
}
