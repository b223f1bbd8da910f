//! Reading DWARF's integers from a slice, checked, in either byte order.

/// Why reading stopped; the cursor's position tells where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Truncated;

/// A place in a section. `BIG` is the byte order, a constant so that the inner loops hold no test for it.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a, const BIG: bool> {
    data: &'a [u8],
    at: usize,
}

type Read<T> = Result<T, Truncated>;

impl<'a, const BIG: bool> Cursor<'a, BIG> {
    /// A cursor at byte `at` of `data`, which is also where positions count from.
    pub(crate) fn new(data: &'a [u8], at: usize) -> Self {
        Cursor { data, at }
    }

    /// Position in bytes from the start of the slice.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.data.len()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let bytes = self.data.get(self.at..).and_then(<[u8]>::first_chunk::<N>).ok_or(Truncated)?;
        self.at += N;
        Ok(*bytes)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Read<u8> {
        let byte = *self.data.get(self.at).ok_or(Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Read<u16> {
        let bytes = self.array()?;
        Ok(if BIG { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// A three-byte integer (`DW_FORM_strx3`).
    pub(crate) fn u24(&mut self) -> Read<u32> {
        let [a, b, c] = self.array()?;
        Ok(if BIG { u32::from_be_bytes([0, a, b, c]) } else { u32::from_le_bytes([a, b, c, 0]) })
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Read<u32> {
        let bytes = self.array()?;
        Ok(if BIG { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Read<u64> {
        let bytes = self.array()?;
        Ok(if BIG { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// An unsigned integer of 1, 2, 4 or 8 bytes: an address, or an offset of 32- or 64-bit DWARF.
    #[inline]
    pub(crate) fn word(&mut self, size: u8) -> Read<u64> {
        match size {
            1 => self.u8().map(u64::from),
            2 => self.u16().map(u64::from),
            4 => self.u32().map(u64::from),
            8 => self.u64(),
            _ => Err(Truncated),
        }
    }

    /// An unsigned LEB128 number; bits past the 64th are dropped.
    #[inline]
    pub(crate) fn uleb(&mut self) -> Read<u64> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.u8()?;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte < 0x80 {
                return Ok(value);
            }
        }
    }

    /// A signed LEB128 number; bits past the 64th are dropped.
    pub(crate) fn sleb(&mut self) -> Read<i64> {
        let mut value = 0;
        let mut shift = 0;
        loop {
            let byte = self.u8()?;
            if shift < 64 {
                value |= i64::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte < 0x80 {
                if shift < 64 && byte & 0x40 != 0 {
                    value |= -1 << shift;
                }
                return Ok(value);
            }
        }
    }

    /// The bytes up to the next zero byte, which is passed over.
    #[inline]
    pub(crate) fn string(&mut self) -> Read<&'a [u8]> {
        let tail = self.data.get(self.at..).ok_or(Truncated)?;
        let len = tail.iter().position(|&byte| byte == 0).ok_or(Truncated)?;
        self.at += len + 1;
        Ok(&tail[..len])
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Read<&'a [u8]> {
        self.slice(usize::try_from(len).map_err(|_| Truncated)?)
    }

    #[inline]
    pub(crate) fn slice(&mut self, len: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(len).ok_or(Truncated)?;
        let bytes = self.data.get(self.at..end).ok_or(Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    /// The next so many bytes, if there are.
    #[inline]
    pub(crate) fn window<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.data.get(self.at..)?.first_chunk()
    }

    #[inline]
    pub(crate) fn skip(&mut self, len: usize) -> Read<()> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.data.len()).ok_or(Truncated)?;
        self.at = end;
        Ok(())
    }

    /// Passes over a LEB128 number.
    #[inline]
    pub(crate) fn skip_leb(&mut self) -> Read<()> {
        while self.u8()? >= 0x80 {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check LEB128 against the examples of the DWARF specification (figures 22 and 23 of version 5), and that bits past 64 are harmless.
    #[test]
    fn leb128() {
        let unsigned = |bytes: &[u8]| Cursor::<false>::new(bytes, 0).uleb();
        let signed = |bytes: &[u8]| Cursor::<false>::new(bytes, 0).sleb();
        assert_eq!(unsigned(&[2]), Ok(2));
        assert_eq!(unsigned(&[0x80, 1]), Ok(128));
        assert_eq!(unsigned(&[57 + 0x80, 100]), Ok(12857));
        assert_eq!(signed(&[0x7e]), Ok(-2));
        assert_eq!(signed(&[0xff, 0]), Ok(127));
        assert_eq!(signed(&[0x81, 0x7f]), Ok(-127));
        assert_eq!(signed(&[0x80, 0x7f]), Ok(-128));
        assert_eq!(unsigned(&[0xff; 30]), Err(Truncated));
        let long: Vec<u8> = [0xff; 29].into_iter().chain([0x7f]).collect();
        assert_eq!(unsigned(&long), Ok(u64::MAX));
    }

    /// Check both byte orders and that nothing is read past the end.
    #[test]
    fn words() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(Cursor::<false>::new(&bytes, 0).u32(), Ok(0x0403_0201));
        assert_eq!(Cursor::<true>::new(&bytes, 0).u32(), Ok(0x0102_0304));
        assert_eq!(Cursor::<true>::new(&bytes, 0).u24(), Ok(0x0001_0203));
        assert_eq!(Cursor::<false>::new(&bytes, 0).u24(), Ok(0x0003_0201));
        assert_eq!(Cursor::<true>::new(&bytes, 1).u64(), Err(Truncated));
        assert_eq!(Cursor::<true>::new(&bytes, 7).u16(), Err(Truncated));
        assert_eq!(Cursor::<true>::new(&bytes, 9).u8(), Err(Truncated));
        assert_eq!(Cursor::<false>::new(&bytes, 0).bytes(u64::MAX), Err(Truncated));
    }
}
