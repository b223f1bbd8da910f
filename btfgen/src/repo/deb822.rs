//! Debian's control syntax (deb822(5)): paragraphs of `Name: value` lines with continuation lines.
//!
//! One reader for three inputs: `Packages` indices (tens of megabytes, read as a stream, one paragraph in memory at a time),
//! `Release` files (one paragraph) and apt's `.sources` files. A paragraph is a borrowed view over its bytes; a field is looked up
//! by scanning, which is cheap because all but a few of an index's paragraphs are dismissed at their line `Package`, and passed over where they lie.

use std::io::{self, BufRead};

/// The longest paragraph accepted, in bytes. The longest in Debian's indices is below 100 KB.
const PARAGRAPH_LIMIT: usize = 4 << 20;

/// Why a control file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes could not be read or decompressed.
    #[error("line {line}: {source}")]
    Read {
        /// Line at which reading stopped, counted from 1.
        line: u64,
        /// What the reader said.
        source: io::Error,
    },
    /// A paragraph is longer than any real one.
    #[error("the paragraph that begins at line {line} is longer than {PARAGRAPH_LIMIT} bytes")]
    TooLong {
        /// First line of the paragraph, counted from 1.
        line: u64,
    },
    /// A line is neither `Name: value` nor a continuation.
    #[error("line {line}: neither `Name: value` nor a continuation line")]
    Malformed {
        /// The line, counted from 1.
        line: u64,
    },
    /// A paragraph is not UTF-8.
    #[error("the paragraph that begins at line {line} is not UTF-8")]
    NotUtf8 {
        /// First line of the paragraph, counted from 1.
        line: u64,
    },
}

/// Reads paragraphs from a stream, holding one at a time.
pub(crate) struct Paragraphs<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Lines consumed so far.
    line: u64,
}

impl<R: BufRead> Paragraphs<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), line: 0 }
    }

    /// The next paragraph, or `None` at the end of the input.
    pub(crate) fn next_paragraph(&mut self) -> Result<Option<Paragraph<'_>>, Error> {
        self.next_of(|_| true)
    }

    /// The next paragraph of a package whose name is wanted, or of none. Others are only looked through for their end.
    pub(crate) fn next_of(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Result<Option<Paragraph<'_>>, Error> {
        self.buffer.clear();
        let mut first_line = self.line + 1;
        loop {
            let start = self.buffer.len();
            let ended = self.read_line(first_line)?;
            let line = &self.buffer[start..];
            if line.is_empty() && ended {
                break;
            }
            self.line += 1;
            if package(line).is_some_and(|name| !wanted(name)) {
                self.skip_paragraph()?;
                self.buffer.clear();
                first_line = self.line + 1;
                continue;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                self.buffer.truncate(start);
                if !self.buffer.is_empty() {
                    break;
                }
                first_line = self.line + 1;
            }
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        Paragraph::parse_at(&self.buffer, first_line).map(Some)
    }

    /// Passes over the rest of a paragraph, and the blank line behind it.
    fn skip_paragraph(&mut self) -> Result<(), Error> {
        // Of the line at hand, as far as it was seen.
        let mut blank = true;
        loop {
            let available = fill(&mut self.reader, self.line + 1)?;
            if available.is_empty() {
                return Ok(());
            }
            let (len, mut start, mut lines, mut ended) = (available.len(), 0, 0, None);
            for end in memchr::memchr_iter(b'\n', available) {
                blank = blank && available[start..end].iter().all(u8::is_ascii_whitespace);
                start = end + 1;
                lines += 1;
                if blank {
                    ended = Some(start);
                    break;
                }
                blank = true;
            }
            if ended.is_none() {
                blank = blank && available[start..].iter().all(u8::is_ascii_whitespace);
            }
            self.line += lines;
            self.reader.consume(ended.unwrap_or(len));
            if ended.is_some() {
                return Ok(());
            }
        }
    }

    /// Appends one line with its end to the buffer; true at the end of the input.
    fn read_line(&mut self, first_line: u64) -> Result<bool, Error> {
        loop {
            let available = fill(&mut self.reader, self.line + 1)?;
            if available.is_empty() {
                return Ok(true);
            }
            let end = memchr::memchr(b'\n', available).map(|at| at + 1);
            let taken = end.unwrap_or(available.len());
            if self.buffer.len() + taken > PARAGRAPH_LIMIT {
                return Err(Error::TooLong { line: first_line });
            }
            self.buffer.extend_from_slice(&available[..taken]);
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(false);
            }
        }
    }
}

/// What is there to read; nothing at the end of the input.
fn fill(reader: &mut impl BufRead, line: u64) -> Result<&[u8], Error> {
    while let Err(source) = reader.fill_buf() {
        if source.kind() != io::ErrorKind::Interrupted {
            return Err(Error::Read { line, source });
        }
    }
    // What is there is told again, at no cost: returned from within the loop, it would be borrowed for all of it.
    reader.fill_buf().map_err(|source| Error::Read { line, source })
}

/// The name in a line `Package: name`.
fn package(line: &[u8]) -> Option<&[u8]> {
    let (field, value) = line.split_at_checked(b"Package:".len())?;
    field.eq_ignore_ascii_case(b"Package:").then(|| value.trim_ascii())
}

/// One paragraph, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paragraph<'a> {
    text: &'a str,
}

impl<'a> Paragraph<'a> {
    /// Takes the whole of `bytes` as one paragraph: a `Release` file.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse_at(bytes, 1)
    }

    fn parse_at(bytes: &'a [u8], first_line: u64) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8 { line: first_line })?;
        for (number, line) in (first_line..).zip(text.lines()) {
            let continued = line.starts_with([' ', '\t']) && number != first_line;
            let named = line.split_once(':').is_some_and(|(name, _)| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
            });
            if !(continued
                || line.starts_with('#')
                || line.trim().is_empty()
                || named && !line.starts_with('-'))
            {
                return Err(Error::Malformed { line: number });
            }
        }
        Ok(Self { text })
    }

    /// The first line of a field, without surrounding blanks; names are compared without regard to case.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// All lines of a field, each without surrounding blanks; the first is what follows the name and may be empty.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut lines = self.text.lines();
        let first = lines.by_ref().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.eq_ignore_ascii_case(name) && !line.starts_with('#')).then(|| value.trim())
        });
        let present = first.is_some();
        first.into_iter().chain(
            lines
                .filter(|line| !line.starts_with('#'))
                .take_while(move |line| present && line.starts_with([' ', '\t']))
                .map(str::trim),
        )
    }

    /// All blank-separated words of a field.
    pub(crate) fn words(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.values(name).flat_map(str::split_ascii_whitespace)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn names(text: &[u8], buffer: usize) -> Result<Vec<String>, Error> {
        let mut paragraphs = Paragraphs::new(BufReader::with_capacity(buffer, text));
        let mut names = Vec::new();
        while let Some(paragraph) = paragraphs.next_paragraph()? {
            names.push(paragraph.get("package").unwrap_or("-").to_owned());
        }
        Ok(names)
    }

    /// Check that paragraphs are split at blank lines, however many there are and however the input is cut into reads.
    #[test]
    fn paragraphs_split() {
        let text = b"\n\nPackage: a\nSize: 1\n\n \t\nPackage: b\r\n\r\nPackage: c";
        for buffer in [1, 2, 7, 4096] {
            assert_eq!(names(text, buffer).unwrap(), ["a", "b", "c"]);
        }
        assert!(names(b"", 16).unwrap().is_empty());
        assert!(names(b"\n\n\n", 16).unwrap().is_empty());
    }

    /// Check that of a paragraph that is not wanted nothing is looked at but its end, and that lines are still counted.
    #[test]
    fn unwanted_paragraphs() {
        let text = b"Package: x\nrubbish \xff\n .\n\nName: -\npackage:  a\n\n\nSize: 1\nPackage: x\nSize: 1\n \t\nPackage: a\r\nB: 2\n\nPackage: x";
        for buffer in [1, 2, 7, 4096] {
            let mut paragraphs = Paragraphs::new(BufReader::with_capacity(buffer, &text[..]));
            let mut found = Vec::new();
            while let Some(paragraph) = paragraphs.next_of(|name| name == b"a").unwrap() {
                found.push((paragraph.get("package").unwrap().to_owned(), paragraph.text.len()));
            }
            assert_eq!(found, [("a".to_owned(), 20), ("a".to_owned(), 17)]);
            assert_eq!(paragraphs.line, 16);
        }
        let mut paragraphs = Paragraphs::new(&b"Package: x\n\nPackage: a\nrubbish\n"[..]);
        assert!(matches!(paragraphs.next_of(|name| name == b"a"), Err(Error::Malformed { line: 4 })));
    }

    /// Check that continuation lines belong to their field, comments to none, and that a missing field has no values.
    #[test]
    fn fields_with_continuations() {
        let text = "Types: deb\nURIs: one\n  two\n# URIs: not\n\tthree\nSuites: x\n";
        let paragraph = Paragraph::parse(text.as_bytes()).unwrap();
        assert_eq!(paragraph.words("uris").collect::<Vec<_>>(), ["one", "two", "three"]);
        assert_eq!(paragraph.get("Suites"), Some("x"));
        assert_eq!(paragraph.get("Absent"), None);
        assert_eq!(paragraph.values("Absent").count(), 0);
    }

    /// Check that what is no control file is refused with the line where it ends being one.
    #[test]
    fn malformed_lines() {
        assert!(matches!(names(b"Package: a\n\nrubbish\n", 16), Err(Error::Malformed { line: 3 })));
        assert!(matches!(names(b" continuation first\n", 16), Err(Error::Malformed { line: 1 })));
        assert!(matches!(names(b"Package: a\n\nPackage: \xff\n", 16), Err(Error::NotUtf8 { line: 3 })));
    }

    /// Check that a paragraph without an end is refused before it fills the memory.
    #[test]
    fn endless_paragraph() {
        let endless = BufReader::new(io::repeat(b'a'));
        let error = Paragraphs::new(endless).next_paragraph().unwrap_err();
        assert!(matches!(error, Error::TooLong { line: 1 }), "{error}");
    }
}
