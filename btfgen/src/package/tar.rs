//! Reading a tar archive as a stream: ustar (POSIX.1-1988), pax headers (POSIX.1-2001) and GNU's long names.
//!
//! Only what finding a file needs: path, kind, size. Headers are limited in size and number, so that no archive can make
//! this use more than a few megabytes.

use std::borrow::Cow;
use std::io::{self, Read};

use super::Error;
use super::member::{Kind, Member, clean_path};

const BLOCK: usize = 512;
/// A pax header or a GNU long name, in bytes. A path has at most 4096.
const HEADER_DATA: u64 = 1 << 20;
/// Headers altogether. Debian's largest kernel package has fewer than 10,000 members.
const HEADERS: u64 = 100_000;

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
        Self::at(0, inner, name)
    }

    /// Goes on in the middle: `inner` is at `offset` of the archive, where a header is.
    pub(super) fn at(offset: u64, inner: R, name: impl Into<String>) -> Self {
        Self { inner, name: name.into(), offset, remaining: 0, padding: 0, headers: 0 }
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
                    let mut path = self.header_data(size, offset)?;
                    path.truncate(path.iter().position(|&byte| byte == 0).unwrap_or(path.len()));
                    extended.path = Some(path);
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
                    let path = clean_path(&path).map_err(|reason| self.malformed(offset, reason))?;
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    /// Path, kind and data of every member.
    fn read_all(archive: &[u8]) -> Result<Vec<(String, Kind, Vec<u8>)>, Error> {
        let mut tar = Tar::new(archive, "data.tar");
        let mut members = Vec::new();
        while let Some(member) = tar.next_member()? {
            let mut data = Vec::new();
            let mut buffer = [0; 100];
            loop {
                match tar.read_data(&mut buffer)? {
                    0 => break,
                    count => data.extend_from_slice(&buffer[..count]),
                }
            }
            assert_eq!(data.len() as u64, member.size);
            members.push((String::from_utf8_lossy(&member.path).into_owned(), member.kind, data));
        }
        tar.drain()?;
        Ok(members)
    }

    /// The output of GNU tar over `folder`.
    fn gnu_tar(folder: &Path, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("tar")
            .args(["--sort=name", "-C"])
            .arg(folder)
            .args(arguments)
            .args(["-cf", "-", "."])
            .output()
            .expect("tar is needed: apt-get install tar");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// A header as POSIX has it, with a right checksum.
    fn header(path: &str, flag: u8, size: &[u8]) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[124..124 + size.len()].copy_from_slice(size);
        header[148..156].fill(b' ');
        header[156] = flag;
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    /// Check that what GNU tar writes is read back in every format: files, links, directories, paths longer than the
    /// header has room for.
    #[test]
    fn formats() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}/{}/file", "d".repeat(90), "e".repeat(90));
        let longest = format!("{}/{}/{}/file", "d".repeat(90), "e".repeat(90), "f".repeat(200));
        for path in [long.as_str(), longest.as_str(), "short", "empty"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let data =
                if path.ends_with("empty") { Vec::new() } else { vec![b'x'; path.as_os_str().len() + 400] };
            std::fs::write(path, data).unwrap();
        }
        std::os::unix::fs::symlink("short", folder.path().join("link")).unwrap();
        std::fs::hard_link(folder.path().join("short"), folder.path().join("zz-hard")).unwrap();
        for format in ["--format=v7", "--format=ustar", "--format=gnu", "--format=pax"] {
            // What a format cannot hold is left out.
            let exclude = match format {
                "--format=v7" => "--exclude=d*",
                "--format=ustar" => "--exclude=fff*",
                _ => "--exclude=nothing",
            };
            let members = read_all(&gnu_tar(folder.path(), &[format, exclude])).unwrap();
            let files: Vec<_> = members.iter().filter(|(_, kind, _)| *kind == Kind::File).collect();
            for (path, _, data) in &files {
                assert_eq!(*data, std::fs::read(folder.path().join(path)).unwrap(), "{format} {path}");
            }
            let expected = match format {
                "--format=v7" => vec!["empty", "short"],
                "--format=ustar" => vec![long.as_str(), "empty", "short"],
                _ => vec![longest.as_str(), long.as_str(), "empty", "short"],
            };
            let mut paths: Vec<_> = files.iter().map(|(path, ..)| path.as_str()).collect();
            paths.sort_unstable_by_key(|path| std::cmp::Reverse(path.len()));
            let mut expected = expected;
            expected.sort_unstable_by_key(|path| std::cmp::Reverse(path.len()));
            assert_eq!(paths, expected, "{format}");
            assert!(members.iter().any(|(path, kind, _)| path == "link" && *kind == Kind::Other), "{format}");
        }
    }

    /// Check that a sparse file is told apart in both ways of storing it, since its data is not its content.
    #[test]
    fn sparse_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("sparse")).unwrap();
        file.set_len(10 << 20).unwrap();
        drop(file);
        for format in ["--format=gnu", "--format=pax"] {
            let members = read_all(&gnu_tar(folder.path(), &[format, "--sparse"])).unwrap();
            assert!(members.iter().any(|(_, kind, _)| *kind == Kind::Sparse), "{format}: {members:?}");
        }
    }

    /// Check that a path with `..` is refused wherever it is written, and that others are cleaned.
    #[test]
    fn paths() {
        let end = [0; 2 * BLOCK];
        for (path, clean) in
            [("./usr//lib/./x", Some("usr/lib/x")), ("/abs", Some("abs")), ("a/..b/c..", Some("a/..b/c.."))]
        {
            let archive = [&header(path, b'0', b"0")[..], &end].concat();
            assert_eq!(read_all(&archive).unwrap()[0].0, clean.unwrap());
        }
        for path in ["..", "../x", "usr/../../x", "usr/.."] {
            let archive = [&header(path, b'0', b"0")[..], &end].concat();
            let error = read_all(&archive).unwrap_err().to_string();
            assert!(error.contains("byte 0") && error.contains(".."), "{error}");
        }
        let mut long = [0; BLOCK];
        long[..6].copy_from_slice(b"../x/y");
        let archive =
            [&header("././@LongLink", b'L', b"7")[..], &long, &header("x", b'0', b"0"), &end].concat();
        assert!(read_all(&archive).unwrap_err().to_string().contains(".."));
        let mut pax = [0; BLOCK];
        pax[..14].copy_from_slice(b"14 path=../x/\n");
        let archive = [&header("pax", b'x', b"16")[..], &pax, &header("x", b'0', b"0"), &end].concat();
        assert!(read_all(&archive).unwrap_err().to_string().contains(".."));
    }

    /// Check that sizes are read in octal, base 256 and pax, and that lying ones are errors, not allocations.
    #[test]
    fn sizes() {
        let read = |header: [u8; BLOCK]| {
            Tar::new(&header[..], "data.tar").next_member().map(|member| member.unwrap().size)
        };
        assert_eq!(read(header("x", b'0', b"00000001750\0")).unwrap(), 1000);
        assert_eq!(read(header("x", b'0', b"       1750 ")).unwrap(), 1000);
        assert_eq!(read(header("x", b'0', b"\x80\0\0\0\0\0\0\x02\0\0\0\0")).unwrap(), 2 << 32);
        for wrong in
            [&b"0x10"[..], b"-1", b"12 34", b"999", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            assert!(
                read(header("x", b'0', wrong)).unwrap_err().to_string().contains("invalid size"),
                "{wrong:?}"
            );
        }
        let huge = b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
        assert!(read(header("x", b'0', huge)).unwrap_err().to_string().contains("beyond any file"));
        let error = read_all(&header("x", b'L', b"77777777777")).unwrap_err();
        assert!(matches!(error, Error::Limit { offset: 0, .. }), "{error}");
        let error = read_all(&header("x", b'0', b"77777777777")).unwrap_err();
        assert!(matches!(error, Error::Truncated { offset: 512, .. }), "{error}");
        let mut wrong = header("x", b'0', b"0");
        wrong[0] = b'y';
        assert!(read(wrong).unwrap_err().to_string().contains("checksum"));
    }

    /// Check which pax records are believed.
    #[test]
    fn pax_records() {
        assert_eq!(
            pax_record(b"9 path=x\n12 size=999\n"),
            Some(((&b"path"[..], &b"x"[..]), &b"12 size=999\n"[..]))
        );
        assert_eq!(pax_record(b"7 a=\nb\n"), Some(((&b"a"[..], &b"\nb"[..]), &b""[..])));
        for wrong in [
            &b"path=x\n"[..],
            b"9 path=x",
            b"11 path=x\n",
            b"+9 path=x\n",
            b"0 \n",
            b"2 \n",
            b"6 path\n",
            b" 9 path=x\n",
        ] {
            assert_eq!(pax_record(wrong), None, "{wrong:?}");
        }
        assert_eq!(pax_record(b"99999999999999999999999 path=x\n"), None);
    }

    proptest! {
        /// Check that bytes damaged anywhere give an error or a list, never a panic, and that every cut is an error.
        #[test]
        fn damaged(position: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            static ARCHIVE: LazyLock<Vec<u8>> = LazyLock::new(|| {
                let folder = tempfile::tempdir().unwrap();
                for name in ["a", &"b".repeat(150), "c"] {
                    std::fs::write(folder.path().join(name), name.repeat(20)).unwrap();
                }
                let mut archive = gnu_tar(folder.path(), &["--format=pax"]);
                // Of the zeros at the end, leave the block that marks it.
                let end = archive.iter().rposition(|&byte| byte != 0).unwrap();
                archive.truncate((end + 1).next_multiple_of(BLOCK) + BLOCK);
                archive
            });
            prop_assert!(read_all(&ARCHIVE).is_ok());
            prop_assert!(read_all(&ARCHIVE[..cut.index(ARCHIVE.len())]).is_err());
            let mut archive = ARCHIVE.clone();
            archive[position.index(ARCHIVE.len())] = byte;
            let _ = read_all(&archive);
        }
    }
}
