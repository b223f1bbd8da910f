//! The strings of base and delta as one numbered list, and the new blob's string section made of it.
//!
//! All strings of the base, then those that the delta brings, have numbers in the order of their bytes: *known strings*. While types are put together, a
//! name is the offset of a known string in the base's section and the delta's text behind it. Only at the end, when the order of the new section is settled, names
//! become offsets in there.

use super::number::Cursor;
use crate::{Error, Result};

/// No place in the new section.
const NOWHERE: u32 = u32::MAX;

/// Strings, each ended by a zero byte, found by number and by offset.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) text: Vec<u8>,
    /// Where each begins, and the end of the last.
    starts: Vec<u32>,
    /// A bit for each byte of the text: whether a string begins there.
    begins: Vec<u64>,
    /// How many strings begin before each 64 bytes.
    ranks: Vec<u32>,
    /// How many are the base's.
    base: usize,
}

impl Known {
    /// The strings of a base's section and of a delta; `None` if either does not end in a zero byte, or both together have 4 GiB.
    pub(super) fn new(base: &[u8], new: &[u8]) -> Option<Self> {
        if [base, new].iter().any(|text| text.last().is_some_and(|last| *last != 0)) {
            return None;
        }
        let text = [base, new].concat();
        u32::try_from(text.len()).ok().filter(|len| *len < NOWHERE)?;
        let mut begins = Vec::with_capacity(text.len() / 64 + 1);
        let mut carry = 1;
        let (blocks, rest) = text.as_chunks::<64>();
        for block in blocks {
            let ends = ends(block);
            begins.push(ends << 1 | carry);
            carry = ends >> 63;
        }
        let mut last = [1; 64];
        last[..rest.len()].copy_from_slice(rest);
        begins.push(ends(&last) << 1 | carry);
        // Where the text ends no string begins, though one ended there.
        let end = text.len() % 64;
        if let Some(word) = begins.last_mut() {
            *word &= (1 << end) - 1;
        }
        let mut starts = Vec::with_capacity(text.len() / 16 + 2);
        let mut ranks = Vec::with_capacity(begins.len());
        for (block, &word) in begins.iter().enumerate() {
            ranks.push(starts.len() as u32);
            let mut left = word;
            while left != 0 {
                starts.push((block * 64) as u32 + left.trailing_zeros());
                left &= left - 1;
            }
        }
        let count = starts.partition_point(|start| (*start as usize) < base.len());
        starts.push(text.len() as u32);
        Some(Self { text, starts, begins, ranks, base: count })
    }

    /// How many strings there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// How many of them, the first ones, are the base's.
    pub(super) fn of_base(&self) -> usize {
        self.base
    }

    /// The number of the string that begins at this offset.
    #[inline]
    pub(super) fn number(&self, offset: u32) -> Option<usize> {
        let (block, bit) = (offset as usize / 64, offset % 64);
        let word = *self.begins.get(block)?;
        let before = (word & ((1 << bit) - 1)).count_ones();
        (word >> bit & 1 != 0).then(|| (self.ranks[block] + before) as usize)
    }

    /// Where the string of this number begins.
    #[inline]
    pub(super) fn offset(&self, number: usize) -> Option<u32> {
        self.starts.get(number).copied().filter(|_| number < self.len())
    }

    /// The strings of a range of numbers, as they lie one behind another.
    fn range(&self, first: usize, count: usize) -> Option<&[u8]> {
        let end = first.checked_add(count)?;
        self.text.get(*self.starts.get(first)? as usize..*self.starts.get(end)? as usize)
    }
}

/// A bit for each of 64 bytes: whether it is zero.
#[inline]
fn ends(block: &[u8; 64]) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    // The high bits of eight bytes, gathered by a multiplication into the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut bits = 0;
    for (index, bytes) in block.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        let zeros = !(((word & LOW) + LOW) | word | LOW);
        bits |= ((zeros >> 7).wrapping_mul(GATHER) >> 56) << (8 * index);
    }
    bits
}

/// The new section, and where each known string went.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) text: Vec<u8>,
    places: Vec<u32>,
}

impl Placed {
    fn new(known: &Known, len: usize) -> Self {
        Self { text: Vec::with_capacity(len.min(known.text.len())), places: vec![NOWHERE; known.len()] }
    }

    /// The section whose order is that of the base, and of the delta's strings, but for the given changes: again and again how many of the delta's
    /// strings follow, how many of the base's, and how far from the last of these.
    pub(super) fn by_base(known: &Known, order: &mut Cursor<'_>, len: usize) -> Result<Self> {
        let mut placed = Self::new(known, len);
        let (mut old, mut new) = (0, known.of_base());
        while !order.is_empty() {
            let count = order.size()?;
            placed.copy(known, new, count, len, order)?;
            new += count;
            if order.is_empty() {
                break;
            }
            let count = order.size()?;
            old = order.moved(old)?;
            if old.checked_add(count).is_none_or(|end| end > known.of_base()) {
                return Err(order.wrong("copies strings that the base does not have"));
            }
            placed.copy(known, old, count, len, order)?;
            old += count;
        }
        Ok(placed)
    }

    /// The section whose order is that in which types first use the strings, those that none uses behind them, but for the given
    /// changes: again and again how far from the last one, and how many.
    pub(super) fn by_use(known: &Known, used: &[u32], order: &mut Cursor<'_>, len: usize) -> Result<Self> {
        let mut placed = Self::new(known, len);
        let mut next = 0;
        while !order.is_empty() {
            next = order.moved(next)?;
            let count = order.size()?;
            let run = next.checked_add(count).and_then(|end| used.get(next..end));
            for number in run.ok_or_else(|| order.wrong("has more strings than are used"))? {
                placed.copy(known, *number as usize, 1, len, order)?;
            }
            next += count;
        }
        Ok(placed)
    }

    fn copy(
        &mut self,
        known: &Known,
        first: usize,
        count: usize,
        len: usize,
        order: &Cursor<'_>,
    ) -> Result<()> {
        let text =
            known.range(first, count).ok_or_else(|| order.wrong("copies strings that are not there"))?;
        if text.len() > len - self.text.len() {
            return Err(order.wrong("gives more strings than were declared"));
        }
        if count > 0 {
            // A string's place in the new section is as far from its neighbour's as it was.
            let shift = (self.text.len() as u32).wrapping_sub(known.starts[first]);
            let starts = &known.starts[first..first + count];
            for (place, start) in self.places[first..first + count].iter_mut().zip(starts) {
                *place = start.wrapping_add(shift);
            }
        }
        self.text.extend_from_slice(text);
        Ok(())
    }

    /// Where the known string of this number is now.
    #[inline]
    pub(super) fn place(&self, number: usize) -> Option<u32> {
        self.places.get(number).copied().filter(|place| *place != NOWHERE)
    }
}

/// Known strings in the order in which records first name them, the empty one first; those of the delta that none names at the end.
pub(super) struct FirstUse {
    pub(super) order: Vec<u32>,
    seen: Vec<bool>,
}

impl FirstUse {
    pub(super) fn new(known: &Known) -> Self {
        let mut first = Self { order: Vec::with_capacity(known.len()), seen: vec![false; known.len()] };
        first.see(0);
        first
    }

    #[inline]
    pub(super) fn see(&mut self, number: usize) {
        if let Some(seen) = self.seen.get_mut(number)
            && !std::mem::replace(seen, true)
        {
            self.order.push(number as u32);
        }
    }

    pub(super) fn finish(mut self, known: &Known) -> Vec<u32> {
        for number in known.of_base()..known.len() {
            self.see(number);
        }
        self.order
    }
}

/// An error for a name that leads nowhere.
pub(super) fn no_such_name() -> Error {
    Error::Delta { part: "names", offset: 0, reason: "name a string that the new blob does not have" }
}
