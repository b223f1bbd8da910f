//! Reading the cpio archive that an RPM package's payload is: `newc` (070701), `crc` (070702), and rpm's stripped format
//! (07070X), which has only the file's number in the header's list: names, and sizes of 4 GiB and more, are there.

use std::io::Read;

use super::Error;
use super::member::{Kind, Member, clean_path};
use super::rpm::Listed;

/// A path, in bytes.
const PATH: usize = 4096;
/// Members altogether.
const MEMBERS: usize = 500_000;

/// A stream of members. Read errors of the inner reader wrap [`Error`].
pub(super) struct Cpio<R> {
    inner: R,
    files: Vec<Listed>,
    offset: u64,
    /// Bytes of the current member's data not yet read.
    remaining: u64,
    /// Bytes of padding after the data.
    padding: u64,
    /// In the format with checksums: the sum of the data so far, and what it must be.
    sum: Option<(u32, u32)>,
    members: usize,
}

impl<R: Read> Cpio<R> {
    /// `files` is the header's list.
    pub(super) fn new(inner: R, files: Vec<Listed>) -> Self {
        Self { inner, files, offset: 0, remaining: 0, padding: 0, sum: None, members: 0 }
    }

    /// The reader below.
    pub(super) fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    /// Bytes read so far, from the beginning of the archive.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What the package's header lists.
    pub(super) fn files(&self) -> &[Listed] {
        &self.files
    }

    /// Passes over what is left of the current member and reads the next one's header; `None` at the end.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>, Error> {
        self.skip_rest()?;
        let offset = self.offset;
        self.members += 1;
        if self.members > MEMBERS {
            return Err(Error::limit(part(), offset, format!("it has more than {MEMBERS} members")));
        }
        let mut magic = [0; 6];
        self.fill(&mut magic)?;
        let (path, mode, size) = match &magic {
            b"07070X" => match self.stripped(offset)? {
                Some(found) => found,
                None => return Ok(None),
            },
            b"070701" | b"070702" => match self.named(offset, magic[5] == b'2')? {
                Some(found) => found,
                None => return Ok(None),
            },
            _ => {
                let reason = "not a cpio header: it begins with none of 070701, 070702 and 07070X";
                return Err(Error::malformed(part(), offset, reason));
            }
        };
        let padding = size.wrapping_neg() % 4;
        if self.offset.checked_add(size).and_then(|end| end.checked_add(padding)).is_none() {
            return Err(Error::malformed(part(), offset, "its size is beyond any file"));
        }
        (self.remaining, self.padding) = (size, padding);
        let path = clean_path(&path).map_err(|reason| Error::malformed(part(), offset, reason))?;
        let kind = if mode & 0o170_000 == 0o100_000 { Kind::File } else { Kind::Other };
        Ok(Some(Member { path, kind, size, offset }))
    }

    /// The rest of a header without name: the file's number, in hexadecimal, and padding.
    fn stripped(&mut self, offset: u64) -> Result<Option<(Vec<u8>, u32, u64)>, Error> {
        let mut rest = [0; 10];
        self.fill(&mut rest)?;
        let index = hex32(&rest[..8]).ok_or_else(|| not_hexadecimal(offset))?;
        let file = usize::try_from(index).ok().and_then(|index| self.files.get(index));
        let Some(file) = file else {
            let reason = format!("it is file {index}, the header lists {}", self.files.len());
            return Err(Error::malformed(part(), offset, reason));
        };
        // Files and links have content, folders and devices have none.
        let mode = u32::from(file.mode);
        let size = if matches!(mode >> 12, 0o10 | 0o12) { file.size } else { 0 };
        self.sum = None;
        Ok(Some((file.path.clone(), mode, size)))
    }

    /// The rest of a header with a name; `None` for the one at the end.
    fn named(&mut self, offset: u64, summed: bool) -> Result<Option<(Vec<u8>, u32, u64)>, Error> {
        let mut rest = [0; 104];
        self.fill(&mut rest)?;
        let mut fields = [0; 13];
        for (field, digits) in fields.iter_mut().zip(rest.chunks_exact(8)) {
            *field = hex32(digits).ok_or_else(|| not_hexadecimal(offset))?;
        }
        let [_, mode, _, _, _, _, size, _, _, _, _, name_len, check] = fields;
        let name_len = name_len as usize;
        if name_len == 0 || name_len > PATH {
            return Err(Error::malformed(part(), offset, format!("its name has {name_len} bytes")));
        }
        // Header and name together are padded.
        let mut name = vec![0; (110 + name_len).next_multiple_of(4) - 110];
        self.fill(&mut name)?;
        name.truncate(name_len);
        if name.pop() != Some(0) {
            return Err(Error::malformed(part(), offset, "its name has no end"));
        }
        if name == b"TRAILER!!!" {
            return Ok(None);
        }
        self.sum = (summed && size > 0).then_some((0, check));
        Ok(Some((name, mode, size.into())))
    }

    /// Reads on in the current member's data; 0 at its end.
    pub(super) fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let len = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(0);
        }
        let count = self.read_some(&mut buffer[..len])?;
        self.remaining -= count as u64;
        if let Some((sum, expected)) = &mut self.sum {
            *sum = buffer[..count].iter().fold(*sum, |sum, &byte| sum.wrapping_add(byte.into()));
            if self.remaining == 0 && sum != expected {
                return Err(Error::malformed(part(), self.offset, "the checksum of a file is wrong"));
            }
        }
        Ok(count)
    }

    fn skip_rest(&mut self) -> Result<(), Error> {
        let mut buffer = [0; 16 << 10];
        while self.read_data(&mut buffer)? > 0 {}
        let padding = std::mem::take(&mut self.padding) as usize;
        self.fill(&mut buffer[..padding])
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            filled += self.read_some(&mut buffer[filled..])?;
        }
        Ok(())
    }

    /// Reads at least one byte: the archive may end only after its trailer.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        match self.inner.read(buffer) {
            Ok(0) => Err(Error::Truncated { within: part().to_owned(), offset: self.offset }),
            Ok(count) => {
                self.offset += count as u64;
                Ok(count)
            }
            Err(error) => Err(Error::from_io(error, |source| Error::Input { offset: self.offset, source })),
        }
    }
}

fn part() -> &'static str {
    "the unpacked payload"
}

fn not_hexadecimal(offset: u64) -> Error {
    Error::malformed(part(), offset, "a cpio header with a field that is no hexadecimal number")
}

/// Eight hexadecimal digits; `from_str_radix` would take a sign.
fn hex32(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str, size: u64, mode: u16) -> Listed {
        Listed { path: path.into(), size, mode, ghost: false }
    }

    fn named(magic: &str, name: &str, mode: u32, data: &[u8], check: u32) -> Vec<u8> {
        let numbers = [0, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, check];
        let mut bytes = magic.as_bytes().to_vec();
        numbers.iter().for_each(|number| bytes.extend(format!("{number:08x}").bytes()));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn read_all(bytes: &[u8], files: Vec<Listed>) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut cpio = Cpio::new(bytes, files);
        let mut members = Vec::new();
        while let Some(member) = cpio.next_member()? {
            let mut data = Vec::new();
            let mut buffer = [0; 3];
            loop {
                match cpio.read_data(&mut buffer)? {
                    0 => break,
                    count => data.extend_from_slice(&buffer[..count]),
                }
            }
            members.push((String::from_utf8(member.path).unwrap(), data));
        }
        Ok(members)
    }

    /// Check that all three formats give names and data, and that the trailer ends them.
    #[test]
    fn formats() {
        let trailer = named("070701", "TRAILER!!!", 0, b"", 0);
        let newc =
            [named("070701", "./usr/a", 0o100_644, b"abc", 0), named("070701", "b", 0o100_644, b"", 0)];
        let bytes = [newc.concat(), trailer.clone(), b"ignored".to_vec()].concat();
        let expected = [("usr/a".to_owned(), b"abc".to_vec()), ("b".to_owned(), Vec::new())];
        assert_eq!(read_all(&bytes, Vec::new()).unwrap(), expected);

        let sum = b"abc".iter().map(|&byte| u32::from(byte)).sum();
        let bytes = [named("070702", "a", 0o100_644, b"abc", sum), trailer.clone()].concat();
        assert_eq!(read_all(&bytes, Vec::new()).unwrap().len(), 1);
        let bytes = [named("070702", "a", 0o100_644, b"abc", sum + 1), trailer.clone()].concat();
        assert!(read_all(&bytes, Vec::new()).unwrap_err().to_string().contains("checksum"));

        let files = vec![listed("/usr", 4096, 0o040_755), listed("/usr/a", 3, 0o100_644)];
        let bytes = [b"07070X00000000\0\0".as_slice(), b"07070X00000001\0\0abc\0", &trailer].concat();
        let expected = [("usr".to_owned(), Vec::new()), ("usr/a".to_owned(), b"abc".to_vec())];
        assert_eq!(read_all(&bytes, files.clone()).unwrap(), expected);
        let bytes = [b"07070X00000002\0\0".as_slice(), &trailer].concat();
        assert!(read_all(&bytes, files).unwrap_err().to_string().contains("the header lists 2"));
    }

    /// Check that sizes beyond any file, foreign bytes, escaping paths and cuts are errors.
    #[test]
    fn malformed() {
        let trailer = named("070701", "TRAILER!!!", 0, b"", 0);
        let huge = vec![listed("/usr/a", u64::MAX - 2, 0o100_644)];
        let bytes = [b"07070X00000000\0\0".as_slice(), &trailer].concat();
        assert!(read_all(&bytes, huge).unwrap_err().to_string().contains("beyond any file"));
        let big = vec![listed("/usr/a", 1 << 62, 0o100_644)];
        assert!(matches!(read_all(&bytes, big).unwrap_err(), Error::Truncated { .. }));
        let escaping = [named("070701", "./../etc/passwd", 0o100_644, b"", 0), trailer.clone()].concat();
        assert!(read_all(&escaping, Vec::new()).unwrap_err().to_string().contains(".."));
        let mut wrong = named("070701", "a", 0o100_644, b"abc", 0);
        wrong[6] = b'+';
        assert!(read_all(&wrong, Vec::new()).unwrap_err().to_string().contains("hexadecimal"));
        let good = [named("070701", "a", 0o100_644, b"abc", 0), trailer].concat();
        for cut in 0..good.len() {
            match read_all(&good[..cut], Vec::new()) {
                Err(Error::Truncated { offset, .. }) => assert_eq!(offset, cut as u64),
                other => panic!("{cut}: {other:?}"),
            }
        }
    }
}
