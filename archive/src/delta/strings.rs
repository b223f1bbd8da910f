//! The strings of base and delta as one numbered list, and the new blob's string section made of it.
//!
//! All strings of the base, then those that the delta brings, have numbers in the order of their bytes: *known strings*. While types are put together, a
//! name is the offset of a known string in the base's section and the delta's text behind it.

use super::number::Cursor;
use crate::Result;

/// No place in the new section.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Strings, each ended by a zero byte, found by number and by offset.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// Those of the base, and those of the delta.
    texts: [&'a [u8]; 2],
    /// Where each begins, and the end of the last.
    starts: Vec<u32>,
    /// For each 64 bytes a bit for each of them, whether a string begins there, and how many begin before all of them.
    begins: Vec<(u64, u32)>,
    /// How many are the base's.
    base: usize,
}

impl<'a> Known<'a> {
    /// The strings of a base's section and of a delta; `None` if either does not end in a zero byte, or both together have 4 GiB.
    pub(super) fn new(base: &'a [u8], new: &'a [u8]) -> Option<Self> {
        if [base, new].iter().any(|text| text.last().is_some_and(|last| *last != 0)) {
            return None;
        }
        let len = base.len().checked_add(new.len()).filter(|len| *len < NOWHERE as usize)?;
        let mut known = Self {
            texts: [base, new],
            starts: Vec::with_capacity(len / 8 + 2),
            begins: Vec::with_capacity(len / 64 + 2),
            base: 0,
        };
        // The block in which the base's text ends is also the one in which the delta's begins.
        let (whole, rest) = base.as_chunks::<64>();
        let mut ended = true;
        whole.iter().for_each(|block| known.block(block, &mut ended));
        let mut shared = [1; 64];
        shared[..rest.len()].copy_from_slice(rest);
        let (first, new) = new.split_at(new.len().min(64 - rest.len()));
        shared[rest.len()..][..first.len()].copy_from_slice(first);
        known.block(&shared, &mut ended);
        let (whole, rest) = new.as_chunks::<64>();
        whole.iter().for_each(|block| known.block(block, &mut ended));
        let mut last = [1; 64];
        last[..rest.len()].copy_from_slice(rest);
        known.block(&last, &mut ended);
        // No string begins where the text ends, though one ended there.
        while known.starts.last().is_some_and(|start| *start as usize >= len) {
            known.starts.pop();
        }
        if let Some((word, _)) = known.begins.get_mut(len / 64) {
            *word &= (1 << (len % 64)) - 1;
        }
        known.base = known.starts.partition_point(|start| (*start as usize) < base.len());
        known.starts.push(len as u32);
        Some(known)
    }

    fn block(&mut self, bytes: &[u8; 64], ended: &mut bool) {
        let offset = self.begins.len() as u32 * 64;
        let ends = ends(bytes);
        let begins = ends << 1 | u64::from(*ended);
        *ended = ends >> 63 != 0;
        self.begins.push((begins, self.starts.len() as u32));
        let mut left = begins;
        while left != 0 {
            self.starts.push(offset + left.trailing_zeros());
            left &= left - 1;
        }
    }

    /// How many strings there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// How many of them, the first ones, are the base's.
    pub(super) fn of_base(&self) -> usize {
        self.base
    }

    /// The number of the string that begins at this offset; [`Self::len`] if none does.
    #[inline]
    pub(super) fn number(&self, offset: u32) -> u32 {
        let none = self.starts.len() as u32 - 1;
        let Some((begins, before)) = self.begins.get(offset as usize / 64) else { return none };
        let bit = offset % 64;
        if begins >> bit & 1 == 0 {
            return none;
        }
        before + (begins & ((1 << bit) - 1)).count_ones()
    }

    /// Where the string of this number begins.
    #[inline]
    pub(super) fn offset(&self, number: usize) -> Option<u32> {
        self.starts.get(number).copied().filter(|_| number < self.len())
    }

    /// Whether there are strings of all these numbers, and all are the base's or all the delta's.
    fn has(&self, first: usize, count: usize) -> bool {
        let end = first.saturating_add(count);
        end <= self.len() && (end <= self.base || first >= self.base)
    }

    /// The strings of a range of numbers, as they lie one behind another.
    fn range(&self, first: usize, count: usize) -> &'a [u8] {
        let (from, to) = (self.starts[first] as usize, self.starts[first + count] as usize);
        let [base, new] = self.texts;
        if first < self.base { &base[from..to] } else { &new[from - base.len()..to - base.len()] }
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

/// Which strings the new section has, and where each known string went.
#[derive(Debug)]
pub(super) struct Placed {
    /// First and number of strings that are known one behind another.
    runs: Vec<(usize, usize)>,
    places: Vec<u32>,
    /// Length of the section so far, and as declared.
    len: usize,
    limit: usize,
}

impl Placed {
    fn new(known: &Known<'_>, limit: usize) -> Self {
        Self { runs: Vec::new(), places: vec![NOWHERE; known.len()], len: 0, limit }
    }

    /// The section whose order is that of the base, and of the delta's strings, but for the given changes: again and again how many of the delta's
    /// strings follow, how many of the base's, and how far from the last of these.
    pub(super) fn by_base(known: &Known<'_>, order: &mut Cursor<'_>, len: usize) -> Result<Self> {
        let mut placed = Self::new(known, len);
        let (mut old, mut new) = (0, known.of_base());
        while !order.is_empty() {
            let count = order.size()?;
            placed.append(known, new, count, order)?;
            new += count;
            if order.is_empty() {
                break;
            }
            let count = order.size()?;
            old = order.moved(old)?;
            placed.append(known, old, count, order)?;
            old += count;
        }
        Ok(placed)
    }

    /// The section whose order is that in which types first use the strings, those that none uses behind them, but for the given
    /// changes: again and again how far from the last one, and how many.
    pub(super) fn by_use(
        known: &Known<'_>,
        used: &[u32],
        order: &mut Cursor<'_>,
        len: usize,
    ) -> Result<Self> {
        let mut placed = Self::new(known, len);
        let mut next = 0;
        while !order.is_empty() {
            next = order.moved(next)?;
            let count = order.size()?;
            let run = next.checked_add(count).and_then(|end| used.get(next..end));
            for number in run.ok_or_else(|| order.wrong("has more strings than are used"))? {
                placed.append(known, *number as usize, 1, order)?;
            }
            next += count;
        }
        Ok(placed)
    }

    fn append(&mut self, known: &Known<'_>, first: usize, count: usize, order: &Cursor<'_>) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        if !known.has(first, count) {
            return Err(order.wrong("copies strings that are not there"));
        }
        let len = (known.starts[first + count] - known.starts[first]) as usize;
        if len > self.limit - self.len {
            return Err(order.wrong("gives more strings than were declared"));
        }
        // A string's place in the new section is as far from its neighbour's as it was.
        let shift = (self.len as u32).wrapping_sub(known.starts[first]);
        let starts = &known.starts[first..first + count];
        for (place, start) in self.places[first..first + count].iter_mut().zip(starts) {
            *place = start.wrapping_add(shift);
        }
        self.len += len;
        match self.runs.last_mut() {
            Some((before, run)) if *before + *run == first && first != known.base => *run += count,
            _ => self.runs.push((first, count)),
        }
        Ok(())
    }

    /// Where the known string of this number is now; [`NOWHERE`] if it is not there.
    #[inline]
    pub(super) fn place(&self, number: u32) -> u32 {
        self.places.get(number as usize).copied().unwrap_or(NOWHERE)
    }

    /// How long the section is.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends the section.
    pub(super) fn write(&self, known: &Known<'_>, out: &mut Vec<u8>) {
        for &(first, count) in &self.runs {
            out.extend_from_slice(known.range(first, count));
        }
    }
}

/// Known strings in the order in which records first name them, the empty one first; those of the delta that none names at the end.
pub(super) struct FirstUse {
    order: Vec<u32>,
    seen: Vec<bool>,
}

impl FirstUse {
    pub(super) fn new(known: &Known<'_>) -> Self {
        let mut first = Self { order: Vec::with_capacity(known.len()), seen: vec![false; known.len()] };
        first.see(0);
        first
    }

    #[inline]
    pub(super) fn see(&mut self, number: u32) {
        if let Some(seen) = self.seen.get_mut(number as usize)
            && !*seen
        {
            *seen = true;
            self.order.push(number);
        }
    }

    pub(super) fn finish(mut self, known: &Known<'_>) -> Vec<u32> {
        for number in known.of_base()..known.len() {
            self.see(number as u32);
        }
        self.order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that strings are numbered across the end of the base, wherever that is, and found by offset.
    #[test]
    fn strings_known() {
        for base_len in 1..200 {
            for new_len in [0, 1, 2, 63, 64, 65, 130] {
                let text = |len: usize, step: usize| -> Vec<u8> {
                    (1..=len).map(|at| if at == len || at % step == 0 { 0 } else { b'x' }).collect()
                };
                let (base, new) = (text(base_len, 7), text(new_len, 5));
                let known = Known::new(&base, &new).unwrap();
                let all = [&base[..], &new[..]].concat();
                let begins = |at: usize| at < all.len() && (at == 0 || all[at - 1] == 0);
                let starts: Vec<_> = (0..all.len()).filter(|at| begins(*at)).collect();
                assert_eq!(known.len(), starts.len());
                assert_eq!(known.of_base(), starts.iter().filter(|start| **start < base_len).count());
                for at in 0..all.len() + 70 {
                    let number = starts.iter().position(|start| *start == at).unwrap_or(known.len());
                    assert_eq!(known.number(at as u32) as usize, number, "{base_len} {new_len} {at}");
                    assert_eq!(known.offset(number).is_some(), begins(at));
                }
            }
        }
        assert!(Known::new(b"\0a", b"").is_none() && Known::new(b"\0", b"a").is_none());
    }
}
