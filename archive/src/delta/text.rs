//! The method for text: a kernel's configuration as runs of lines of another one's, and lines of its own.
//!
//! Lines end with a newline; a last one without is a line too. Streams: again and again how many own lines follow, how many of the base's, and how far those
//! are from the last of these; and the own lines.

use super::number::Cursor;
use super::{Header, frame};
use crate::Result;

const STREAMS: [&str; 2] = ["lines", "text"];

/// The raw bytes of the blob, whose digest has not been checked yet.
pub(super) fn decode(base: &[u8], header: &Header, streams: &[u8]) -> Result<Vec<u8>> {
    let [mut runs, mut text] = frame::split(streams, STREAMS)?;
    let (old, text) = (lines(base), text.rest());
    let own = lines(text);
    let mut raw = Vec::with_capacity(header.raw_size.min(base.len().saturating_add(text.len())));
    let (mut next_old, mut next_own) = (0, 0);
    while !runs.is_empty() {
        let count = runs.size()?;
        next_own = append(&mut raw, text, &own, (next_own, count), header, &runs)?;
        if runs.is_empty() {
            break;
        }
        let count = runs.size()?;
        let first = runs.moved(next_old)?;
        next_old = append(&mut raw, base, &old, (first, count), header, &runs)?;
    }
    if raw.len() != header.raw_size || next_own + 1 != own.len() {
        return Err(runs.wrong("do not give the blob's length"));
    }
    Ok(raw)
}

/// Where each line begins, and the end of the last.
fn lines(text: &[u8]) -> Vec<usize> {
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let mut starts: Vec<_> = std::iter::once(0).chain(ends).collect();
    if starts.last() != Some(&text.len()) {
        starts.push(text.len());
    }
    starts
}

/// Appends `count` lines from the one numbered `first` on; gives the number of the next one.
fn append(
    raw: &mut Vec<u8>,
    text: &[u8],
    lines: &[usize],
    (first, count): (usize, usize),
    header: &Header,
    runs: &Cursor<'_>,
) -> Result<usize> {
    let end = first.saturating_add(count);
    let (Some(&from), Some(&to)) = (lines.get(first), lines.get(end)) else {
        return Err(runs.wrong("copy lines that are not there"));
    };
    if to - from > header.raw_size - raw.len() {
        return Err(runs.wrong("give more than was declared"));
    }
    raw.extend_from_slice(&text[from..to]);
    Ok(end)
}

/// The streams of a delta.
#[cfg(feature = "compress")]
pub(super) fn encode(base: &[u8], raw: &[u8]) -> Option<Vec<Vec<u8>>> {
    use std::collections::HashMap;

    use super::number::{put, put_signed};

    let (old_starts, new_starts) = (lines(base), lines(raw));
    let old: Vec<_> = old_starts.windows(2).map(|line| &base[line[0]..line[1]]).collect();
    let new: Vec<_> = new_starts.windows(2).map(|line| &raw[line[0]..line[1]]).collect();
    // The last one of equal lines that is not behind is found by going through them from the end.
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, line) in old.iter().enumerate().rev() {
        places.entry(line).or_default().push(at);
    }
    let (mut runs, mut text) = (Vec::new(), Vec::new());
    let (mut at, mut next) = (0, 0);
    while at < new.len() {
        let begin = at;
        let found = loop {
            let Some(line) = new.get(at) else { break None };
            let found = places.get(line).and_then(|places| {
                // In descending order: the first that is not behind what was copied last, else the very first.
                let ahead = places.partition_point(|place| *place >= next);
                places.get(ahead.checked_sub(1).unwrap_or(places.len() - 1)).copied()
            });
            if found.is_some() {
                break found;
            }
            text.extend_from_slice(line);
            at += 1;
        };
        put(&mut runs, (at - begin) as u64);
        let Some(first) = found else { break };
        let same = new[at..].iter().zip(&old[first..]).take_while(|(new, old)| new == old).count();
        put(&mut runs, same as u64);
        put_signed(&mut runs, first as i64 - next as i64);
        at += same;
        next = first + same;
    }
    Some(vec![runs, text])
}
