//! Which strings may be names.

use bstr::ByteSlice;

use crate::StrOffset;
use crate::kind::MAX_NAME_OFFSET;
use crate::read::Btf;

/// Longest name in bytes (`KSYM_NAME_LEN`; 128 before Linux 6.1).
const MAX_NAME_LEN: usize = 512;

/// Checks names, and remembers which ones it has seen: most are used many times.
pub(super) struct Names<'a> {
    btf: &'a Btf<'a>,
    /// A bit for each string offset known to be an identifier.
    identifiers: Vec<u64>,
}

impl<'a> Names<'a> {
    pub(super) fn new(btf: &'a Btf<'a>) -> Names<'a> {
        Names { btf, identifiers: vec![0; btf.string_end() as usize / 64 + 1] }
    }

    /// Whether there is a string at this offset.
    pub(super) fn exists(&self, offset: StrOffset) -> bool {
        offset.0 <= MAX_NAME_OFFSET && offset.0 < self.btf.string_end()
    }

    /// Whether there is a string at this offset that is not empty.
    pub(super) fn is_text(&self, offset: StrOffset) -> bool {
        self.exists(offset) && self.btf.string_tail(offset).is_ok_and(|tail| tail.first() != Some(&0))
    }

    /// Whether the string is a C identifier, in which a dot is allowed too.
    pub(super) fn is_identifier(&mut self, offset: StrOffset) -> bool {
        if !self.exists(offset) {
            return false;
        }
        let (word, bit) = (offset.0 as usize / 64, offset.0 % 64);
        if self.identifiers[word] >> bit & 1 != 0 {
            return true;
        }
        let fits =
            self.check(offset, |at, byte| CLASS[usize::from(byte)] >= if at == 0 { FIRST } else { LATER });
        self.identifiers[word] |= u64::from(fits) << bit;
        fits
    }

    /// Whether the string is a section's name: printable.
    pub(super) fn is_section(&self, offset: StrOffset) -> bool {
        self.exists(offset) && self.check(offset, |_, byte| matches!(byte, 0x20..=0x7e | 0xa0..))
    }

    fn check(&self, offset: StrOffset, allowed: impl Fn(usize, u8) -> bool) -> bool {
        let Ok(tail) = self.btf.string_tail(offset) else { return false };
        let name = &tail[..tail.len().min(MAX_NAME_LEN + 1)];
        match name.find_byte(0) {
            None | Some(0) => false,
            Some(len) => name[..len].iter().enumerate().all(|(at, &byte)| allowed(at, byte)),
        }
    }
}

/// Allowed anywhere but at the start of an identifier.
const LATER: u8 = 1;
/// Allowed anywhere in an identifier.
const FIRST: u8 = 2;

/// What each byte may be in an identifier. The kernel's `isalpha` takes bytes as Latin-1.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' => FIRST,
            0xd7 | 0xf7 => 0, // × and ÷
            0xc0.. => FIRST,
            b'0'..=b'9' => LATER,
            _ => 0,
        };
        byte += 1;
    }
    class
};
