//! Reading the `ar` archive that a Debian package is (deb(5), ar(5)), member after member.
//!
//! [`Ar`] itself reads as the data of the current member, and fails where the file ends before the member does.

use std::io::{self, BufRead, Read};

use super::Error;

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_LEN: usize = 60;

/// A member whose data comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Name without padding and without the `/` that some writers append.
    pub(super) name: String,
    /// Length of the data in bytes, as declared.
    pub(super) size: u64,
}

/// A stream of members.
pub(super) struct Ar<R> {
    input: R,
    /// Bytes consumed from `input`.
    offset: u64,
    /// Bytes of the current member not yet consumed.
    remaining: u64,
    /// A newline follows a member of odd length.
    padded: bool,
    name: String,
}

impl<R: BufRead> Ar<R> {
    /// Checks the magic at the beginning.
    pub(super) fn new(mut input: R) -> Result<Self, Error> {
        let mut magic = [0; MAGIC.len()];
        let len = read_up_to(&mut input, &mut magic)?;
        if magic != *MAGIC {
            let reason = match &magic[..len] {
                [] => "the file is empty",
                [0x7f, b'E', b'L', b'F', ..] => "this is an ELF file; `btfgen vmlinux` converts it",
                _ => "not a package: it begins neither as a Debian one (`!<arch>`) nor as an RPM one",
            };
            return Err(Error::malformed("the package", 0, reason));
        }
        Ok(Self { input, offset: MAGIC.len() as u64, remaining: 0, padded: false, name: String::new() })
    }

    /// Bytes consumed so far, from the beginning of the package.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes over what is left of the current member and reads the header of the next; `None` at the end of the file.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>, Error> {
        while self.remaining > 0 {
            let available = Self::ours(self.fill_buf())?.len();
            self.consume(available);
        }
        let start = self.offset + u64::from(self.padded);
        let mut header = [0; 1 + HEADER_LEN];
        let header = &mut header[..HEADER_LEN + usize::from(self.padded)];
        let len = read_up_to(&mut self.input, header)?;
        self.offset += len as u64;
        // The newline after the last member may be missing; it carries nothing.
        if len == 0 || len == 1 && self.padded {
            return Ok(None);
        }
        if len < header.len() {
            return Err(Error::Truncated { within: "the ar header of a member".into(), offset: self.offset });
        }
        let header = &header[usize::from(self.padded)..];
        if header[58..] != *b"`\n" {
            return Err(Error::malformed(
                "the ar header of a member",
                start,
                "it does not end with \"`\\n\"",
            ));
        }
        let name = std::str::from_utf8(&header[..16])
            .ok()
            .map(|name| name.trim_end_matches(' ').trim_end_matches('/'))
            .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| {
                Error::malformed("the ar header of a member", start, "its name is not printable")
            })?;
        let size = std::str::from_utf8(&header[48..58])
            .ok()
            .map(|size| size.trim_end_matches(' '))
            // `parse` would take a sign.
            .filter(|size| size.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| {
                Error::malformed("the ar header of a member", start, "its size is not a number")
            })?;
        self.remaining = size;
        self.padded = size % 2 == 1;
        self.name = name.to_owned();
        Ok(Some(Member { name: name.to_owned(), size }))
    }

    /// Reads on to the end of the input, or until `limit` bytes have been read. An input that ends within the current member is
    /// cut off.
    pub(super) fn drain(&mut self, limit: u64) -> Result<(), Error> {
        let start = self.offset;
        while self.offset - start < limit {
            let available = if self.remaining > 0 { self.fill_buf() } else { self.input.fill_buf() };
            let available = Self::ours(available)?.len();
            match available {
                0 => break,
                _ if self.remaining > 0 => self.consume(available),
                _ => {
                    self.input.consume(available);
                    self.offset += available as u64;
                }
            }
        }
        Ok(())
    }

    /// The package's own reader.
    pub(super) fn into_input(self) -> R {
        self.input
    }

    fn ours<T>(result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|error| Error::from_io(error, |source| Error::Input { offset: 0, source }))
    }
}

impl<R: BufRead> BufRead for Ar<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let available = self.input.fill_buf()?;
        if available.is_empty() {
            return Err(Error::Truncated { within: self.name.clone(), offset: self.offset }.into());
        }
        let len = available.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        Ok(&available[..len])
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.offset += count as u64;
        self.remaining -= count as u64;
    }
}

impl<R: BufRead> super::unpacked::Packed for Ar<R> {
    fn position(&self) -> u64 {
        self.offset
    }
}

impl<R: BufRead> Read for Ar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// Fills `buffer` as far as the input goes.
fn read_up_to(input: &mut impl BufRead, buffer: &mut [u8]) -> Result<usize, Error> {
    let mut filled = 0;
    while filled < buffer.len() {
        let count = input
            .read(&mut buffer[filled..])
            .map_err(|error| Error::from_io(error, |source| Error::Input { offset: 0, source }))?;
        if count == 0 {
            break;
        }
        filled += count;
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One member, padded to an even length.
    fn member(name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", data.len()).into_bytes();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        bytes
    }

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, data) in members {
            bytes.extend(member(name, data));
        }
        bytes
    }

    /// All members with their data.
    fn read_all(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Error> {
        // A tiny buffer, so that members cross its refills.
        let mut ar = Ar::new(io::BufReader::with_capacity(3, bytes))?;
        let mut members = Vec::new();
        while let Some(member) = ar.next_member()? {
            let mut data = Vec::new();
            ar.read_to_end(&mut data)
                .map_err(|error| Error::from_io(error, |source| Error::Input { offset: 0, source }))?;
            assert_eq!(data.len() as u64, member.size);
            members.push((member.name, data));
        }
        assert_eq!(ar.offset(), bytes.len() as u64);
        Ok(members)
    }

    /// Check that names lose their padding and odd members are followed correctly, read or passed over.
    #[test]
    fn members() {
        let bytes = archive(&[("debian-binary", b"2.0\n"), ("odd/", b"abc"), ("data.tar.xz", b"")]);
        let members = read_all(&bytes).unwrap();
        let names: Vec<_> = members.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
        assert_eq!(names, [("debian-binary", &b"2.0\n"[..]), ("odd", b"abc"), ("data.tar.xz", b"")]);

        let mut ar = Ar::new(&bytes[..]).unwrap();
        let mut count = 0;
        while ar.next_member().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 3);
    }

    /// Check that every cut inside an archive is noticed, and where, and that cuts between members are not.
    #[test]
    fn every_cut() {
        let bytes = archive(&[("one", b"12"), ("three", b"123"), ("four", b"1234")]);
        let whole = [8, 8 + 62, 8 + 62 + 63, 8 + 62 + 64, bytes.len()];
        for cut in 0..=bytes.len() {
            match read_all(&bytes[..cut]) {
                Ok(_) => assert!(whole.contains(&cut), "{cut}"),
                Err(Error::Truncated { offset, .. }) => assert_eq!(offset, cut as u64),
                Err(Error::Malformed { offset: 0, .. }) => assert!(cut < 8, "{cut}"),
                Err(error) => panic!("{cut}: {error}"),
            }
        }
    }

    /// Check that a header with a wrong end, name or size is refused with its offset.
    #[test]
    fn malformed_headers() {
        let good = archive(&[("one", b"12"), ("two", b"34")]);
        let header = 8 + 62;
        for (at, byte) in
            [(58, b'x'), (59, b' '), (48, b'-'), (48, b'+'), (48, b'x'), (0, 0), (1, b'\x1b'), (0, 0xff)]
        {
            let mut bytes = good.clone();
            bytes[header + at] = byte;
            match read_all(&bytes).unwrap_err() {
                Error::Malformed { offset, .. } => assert_eq!(offset, header as u64, "{at} {byte}"),
                error => panic!("{at} {byte}: {error}"),
            }
        }
    }

    /// Check that files of other kinds are named.
    #[test]
    fn other_files() {
        for (bytes, word) in [(&b""[..], "empty"), (b"\x7fELF\x02\x01\x01\0", "ELF"), (b"!<arch>", "not a")] {
            let error = Ar::new(bytes).err().unwrap().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
