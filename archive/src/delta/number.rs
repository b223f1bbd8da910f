//! Numbers in a delta's streams: LEB128 (seven bits a byte, least significant first), signed ones zigzag.

use crate::{Error, Result};

/// Reads one stream from its start to its end.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    name: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(name: &'static str, bytes: &'a [u8]) -> Self {
        Self { name, bytes, at: 0 }
    }

    /// An error about the place that was read last.
    pub(super) fn wrong(&self, reason: &'static str) -> Error {
        Error::Delta { part: self.name, offset: self.at, reason }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.wrong("ends too soon"))?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or_else(|| self.wrong("ends too soon"))?;
        self.at += len;
        Ok(taken)
    }

    /// What has not been read yet.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.wrong("has a number of more than 63 bits"))
    }

    /// A number that is a length, a count or an index.
    #[inline]
    pub(super) fn size(&mut self) -> Result<usize> {
        usize::try_from(self.number()?).map_err(|_| self.wrong("has a number that is too large"))
    }

    #[inline]
    pub(super) fn signed(&mut self) -> Result<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// `from` moved by a signed number, where that is still an index.
    #[inline]
    pub(super) fn moved(&mut self, from: usize) -> Result<usize> {
        let by = self.signed()?;
        let to = i64::try_from(from).ok().and_then(|from| from.checked_add(by));
        to.and_then(|to| usize::try_from(to).ok()).ok_or_else(|| self.wrong("leads out of the data"))
    }

    /// Fails unless everything was read.
    pub(super) fn end(&self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(self.wrong("goes on behind its end")) }
    }
}

/// Appends a number.
#[cfg(feature = "compress")]
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number.
#[cfg(feature = "compress")]
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, zigzag(number));
}

/// 0, −1, 1, −2, … as 0, 1, 2, 3, …
#[cfg(feature = "compress")]
pub(super) fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

#[cfg(all(test, feature = "compress"))]
mod tests {
    use super::*;

    /// Check that numbers of every length come back, and that their order in a stream is kept.
    #[test]
    fn number_round_trip() {
        let numbers: Vec<i64> = (0..62).flat_map(|bit| [1_i64 << bit, -(1 << bit), (1 << bit) - 1]).collect();
        let mut out = Vec::new();
        for &number in &numbers {
            put_signed(&mut out, number);
        }
        let mut cursor = Cursor::new("numbers", &out);
        for &number in &numbers {
            assert_eq!(cursor.signed().unwrap(), number);
        }
        cursor.end().unwrap();
        assert!(cursor.number().is_err());
    }

    /// Check that a number that does not end, or is too long, is an error.
    #[test]
    fn number_too_long() {
        assert!(Cursor::new("numbers", &[0x80; 8]).number().is_err());
        assert!(Cursor::new("numbers", &[0xff; 20]).number().is_err());
        assert!(Cursor::new("numbers", &[1]).moved(0).is_err());
    }
}
