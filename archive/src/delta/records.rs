//! Putting a blob's types together: from the base's records, and what the delta changes and adds.
//!
//! The *script* says for each new type whether it is a base's type as it is, one with elements taken out and put in, or one of its own, and with
//! that which base's type became which new one. Then records are copied, their ids mapped, and what is not as predicted is set right.

use super::number::Cursor;
use super::strings::Known;
use super::view::{Cell, Lengths, View, Word, count_of, kind_of, replace, shape_of};
use crate::{Error, Result};

/// A base's type that became none.
pub(super) const GONE: u32 = u32::MAX;

/// What comes after a run of copied types.
pub(super) const JUMP: u8 = 0;
pub(super) const OWN: u8 = 1;
pub(super) const EDIT: u8 = 2;

/// Types one after another that come about in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This many types of the base, from this one on.
    Copy { first: usize, count: usize },
    /// This many types that no type of the base became.
    Own { count: usize },
    /// This type of the base, with other elements.
    Edit { base: usize },
}

/// How the new types come about, and where the base's went.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    /// The new id of each of the base's, also of those that are gone: then that of whatever took its place.
    pub(super) map: Vec<u32>,
}

/// The streams from which a script is read.
pub(super) struct ScriptStreams<'a, 'b> {
    /// Lengths of runs.
    pub(super) runs: &'b mut Cursor<'a>,
    /// What follows each run, a byte each.
    pub(super) steps: &'b mut Cursor<'a>,
    /// How far to go in the base.
    pub(super) jumps: &'b mut Cursor<'a>,
    /// What took the places of the types that are gone.
    pub(super) gone: &'b mut Cursor<'a>,
}

impl Script {
    /// Reads the script of `ids` types, void counted, on a base with `base_ids`.
    pub(super) fn read(streams: &mut ScriptStreams<'_, '_>, base_ids: usize, ids: usize) -> Result<Self> {
        let ScriptStreams { runs, steps: kinds, jumps, gone } = streams;
        let mut steps = Vec::new();
        let mut map = vec![GONE; base_ids];
        map[0] = 0;
        let (mut new, mut next) = (1, 1);
        while new < ids {
            let count = runs.size()?;
            if count > ids - new || count > base_ids - next {
                return Err(runs.wrong("copies more types than there are"));
            }
            for (place, id) in map[next..next + count].iter_mut().zip(new..) {
                *place = id as u32;
            }
            if count > 0 {
                steps.push(Step::Copy { first: next, count });
            }
            new += count;
            next += count;
            if new == ids {
                break;
            }
            match kinds.byte()? {
                JUMP => {
                    next = jumps.moved(next)?;
                    if !(1..base_ids).contains(&next) {
                        return Err(jumps.wrong("leads to no type of the base"));
                    }
                }
                OWN => {
                    let count = runs.size()?.saturating_add(1);
                    if count > ids - new {
                        return Err(runs.wrong("adds more types than there are"));
                    }
                    steps.push(Step::Own { count });
                    new += count;
                }
                EDIT => {
                    let place = map.get_mut(next);
                    *place.ok_or_else(|| kinds.wrong("changes a type that is not there"))? = new as u32;
                    steps.push(Step::Edit { base: next });
                    new += 1;
                    next += 1;
                }
                _ => return Err(kinds.wrong("has a step that is not known")),
            }
        }
        fill(&mut map, |place| Ok(gone.moved(place)? as u32))?;
        Ok(Self { steps, map })
    }
}

/// Gives what is gone a place: that behind its neighbour's, unless `correct` knows better.
pub(super) fn fill(map: &mut [u32], mut correct: impl FnMut(usize) -> Result<u32>) -> Result<()> {
    let mut before = 0_u32;
    for place in map {
        if *place == GONE {
            *place = correct(before.wrapping_add(1) as usize)?;
        }
        before = *place;
    }
    Ok(())
}

/// The streams that records are put together from.
pub(super) struct RecordStreams<'a, 'b> {
    /// Info words of new types, and how elements of others change.
    pub(super) shapes: &'b mut Cursor<'a>,
    pub(super) names: &'b mut Names<'a>,
    /// Type ids in what is new.
    pub(super) types: &'b mut Cursor<'a>,
    /// Other words in what is new.
    pub(super) words: &'b mut Cursor<'a>,
    /// Other words in types whose elements changed: by how much they differ from what was expected.
    pub(super) shifts: &'b mut Cursor<'a>,
}

/// Names of what is new.
#[derive(Debug)]
pub(super) struct Names<'a> {
    codes: Cursor<'a>,
    last: usize,
    next_new: usize,
}

impl<'a> Names<'a> {
    pub(super) fn new(codes: Cursor<'a>, known: &Known<'_>) -> Self {
        Self { codes, last: 0, next_new: known.of_base() }
    }

    /// The next name's offset among the known strings. 0 is no name, 1 the delta's next string, everything else counts from the string that was
    /// named last.
    pub(super) fn next(&mut self, known: &Known<'_>) -> Result<u32> {
        let number = match self.codes.number()? {
            0 => return Ok(0),
            1 => {
                self.next_new += 1;
                self.next_new - 1
            }
            code => {
                let by = ((code - 2) >> 1) as i64 ^ -((code & 1) as i64);
                let to = (self.last as i64).checked_add(by).and_then(|to| usize::try_from(to).ok());
                to.unwrap_or(usize::MAX)
            }
        };
        self.last = number;
        known.offset(number).ok_or_else(|| self.codes.wrong("name a string that is not there"))
    }

    pub(super) fn end(&self) -> Result<()> {
        self.codes.end()
    }
}

/// Appends the words of all new types before anything is set right: `len` of them or fails. `name` makes what is to be written for a name of
/// an offset among the known strings.
pub(super) fn assemble(
    (base, known): (&View<'_>, &Known<'_>),
    script: &Script,
    streams: &mut RecordStreams<'_, '_>,
    (lengths, len): (&Lengths, usize),
    name: impl Fn(u32) -> u32,
    out: &mut Vec<[u8; 4]>,
) -> Result<()> {
    let wrong = |reason| Error::Delta { part: "shapes", offset: 0, reason };
    let mut assembly = Assembly { known, name, map: &script.map, end: out.len() + len, out, id: 1 };
    for step in &script.steps {
        match *step {
            Step::Copy { first, count } => {
                let begin = assembly.out.len();
                let starts = &base.starts[first..=first + count];
                let shift = starts[0] as usize;
                let words = &base.words[shift..starts[count] as usize];
                if words.len() > assembly.end - begin {
                    return Err(wrong("give more types than were declared"));
                }
                assembly.out.extend_from_slice(words);
                let Assembly { name, map, out, .. } = &mut assembly;
                let copied = &mut out[begin..];
                for ends in starts.windows(2) {
                    let record = &mut copied[ends[0] as usize - shift..ends[1] as usize - shift];
                    replace(record, |id| map.get(id as usize).copied().unwrap_or(id), &*name);
                }
                assembly.id += count;
            }
            Step::Own { count } => {
                for _ in 0..count {
                    assembly.own(lengths, streams)?;
                }
            }
            Step::Edit { base: id } => assembly.edit(base.record(id), streams)?,
        }
    }
    if assembly.out.len() < assembly.end {
        return Err(wrong("give fewer types than were declared"));
    }
    Ok(())
}

struct Assembly<'a, F> {
    known: &'a Known<'a>,
    name: F,
    map: &'a [u32],
    out: &'a mut Vec<[u8; 4]>,
    /// How many words there will be.
    end: usize,
    /// The id of the next type.
    id: usize,
}

impl<F: Fn(u32) -> u32> Assembly<'_, F> {
    fn put(&mut self, word: u32) {
        self.out.push(Cell::of(word));
    }

    fn reserve(&self, words: usize, at: &Cursor<'_>) -> Result<()> {
        if words > self.end - self.out.len() {
            return Err(at.wrong("give more types than were declared"));
        }
        Ok(())
    }

    /// A type that no type of the base became: every word is in the streams.
    fn own(&mut self, lengths: &Lengths, streams: &mut RecordStreams<'_, '_>) -> Result<()> {
        let info = u32::from(streams.shapes.byte()?) << 24 | word_of(streams.shapes)? & 0x00ff_ffff;
        let words = lengths.of(info).ok_or_else(|| streams.shapes.wrong("have an unknown kind"))?;
        self.reserve(words, streams.shapes)?;
        let shape = shape_of(info);
        self.word(Word::Name, 0, streams)?;
        self.put(info);
        self.word(shape.third, 0, streams)?;
        for word in shape.fixed {
            self.word(*word, 0, streams)?;
        }
        let rest = words - 3 - shape.fixed.len();
        if shape.element.is_empty() {
            // The payload of a kind that is not known.
            for _ in 0..rest {
                self.word(Word::Other, 0, streams)?;
            }
        } else {
            self.elements(rest / shape.element.len(), shape.element, streams)?;
        }
        self.id += 1;
        Ok(())
    }

    /// Elements of which every word is in the streams; the first one that is neither name nor type as its distance from that of the element before.
    fn elements(
        &mut self,
        count: usize,
        element: &[Word],
        streams: &mut RecordStreams<'_, '_>,
    ) -> Result<()> {
        let mut before = 0;
        for _ in 0..count {
            let mut first = true;
            for word in element {
                if *word == Word::Other && std::mem::take(&mut first) {
                    before = self.word(Word::Other, before, streams)?;
                } else {
                    self.word(*word, 0, streams)?;
                }
            }
        }
        Ok(())
    }

    fn word(&mut self, word: Word, expected: u32, streams: &mut RecordStreams<'_, '_>) -> Result<u32> {
        let value = match word {
            Word::Name => (self.name)(streams.names.next(self.known)?),
            Word::Type => type_of(streams.types, self.id)?,
            Word::Other => expected.wrapping_add(streams.words.signed()? as u32),
        };
        self.put(value);
        Ok(value)
    }

    /// A type of the base with other elements. What comes behind a change is expected to be shifted by as much as what was before it.
    fn edit(&mut self, record: &[[u8; 4]], streams: &mut RecordStreams<'_, '_>) -> Result<()> {
        let [name, info, third, payload @ ..] = record else {
            return Err(streams.shapes.wrong("change a type that is not there"));
        };
        let (name, info, third) = (name.get(), info.get(), third.get());
        let shape = shape_of(info);
        let width = shape.element.len();
        if width == 0 || !shape.fixed.is_empty() {
            return Err(streams.shapes.wrong("change elements of a type that has none"));
        }
        let high = streams.shapes.byte()? ^ (info >> 24) as u8;
        let count = streams.shapes.moved(count_of(info))?;
        let new_info = u32::from(high) << 24 | count as u32 & 0x00ff_ffff;
        // Another kind might have other elements, and the length would be wrong.
        if count > 0x00ff_ffff || kind_of(new_info) != kind_of(info) {
            return Err(streams.shapes.wrong("make a type one of another kind"));
        }
        self.reserve(3 + count * width, streams.shapes)?;
        let begin = self.out.len();
        let new_type = |map: &[u32], id: u32| map.get(id as usize).copied().unwrap_or(id);
        for word in [(self.name)(name), new_info, third] {
            self.put(word);
        }
        let (mut left, mut from, mut shift) = (count, 0, 0_u32);
        while left > 0 {
            let (copied, skipped) = (streams.shapes.size()?, streams.shapes.size()?);
            let inserted = if copied == left { 0 } else { streams.shapes.size()? };
            if copied > left || inserted > left - copied {
                return Err(streams.shapes.wrong("give a type more elements than it has"));
            }
            let elements = copied.checked_mul(width).and_then(|len| payload.get(from..)?.get(..len));
            let elements =
                elements.ok_or_else(|| streams.shapes.wrong("copy elements that are not there"))?;
            for old in elements.chunks_exact(width) {
                let mut first = true;
                for (word, value) in shape.element.iter().zip(old) {
                    let value = match word {
                        Word::Name => (self.name)(value.get()),
                        Word::Type => new_type(self.map, value.get()),
                        Word::Other if std::mem::take(&mut first) => {
                            shift = shift.wrapping_add(streams.shifts.signed()? as u32);
                            value.get().wrapping_add(shift)
                        }
                        Word::Other => value.get().wrapping_add(streams.shifts.signed()? as u32),
                    };
                    self.put(value);
                }
            }
            self.elements(inserted, shape.element, streams)?;
            from = skipped.saturating_mul(width).saturating_add(from + elements.len());
            left -= copied + inserted;
        }
        let third = match shape.third {
            Word::Type => new_type(self.map, third),
            _ => third.wrapping_add(streams.shifts.signed()? as u32),
        };
        self.out[begin + 2] = Cell::of(third);
        self.id += 1;
        Ok(())
    }
}

fn word_of(stream: &mut Cursor<'_>) -> Result<u32> {
    u32::try_from(stream.number()?).map_err(|_| stream.wrong("has a number of more than 32 bits"))
}

/// An id: even codes are ids, odd ones count from the type that refers.
fn type_of(stream: &mut Cursor<'_>, own: usize) -> Result<u32> {
    let code = stream.number()?;
    let (half, is_near) = ((code >> 1) as u32, code & 1 != 0);
    let by = half >> 1 ^ (half & 1).wrapping_neg();
    Ok(if is_near { (own as u32).wrapping_add(by) } else { half })
}

/// Sets words right: again and again how many words to go on, and what is to be there.
pub(super) fn correct(
    words: &mut [[u8; 4]],
    places: &mut Cursor<'_>,
    mut right: impl FnMut(u32) -> Result<u32>,
) -> Result<()> {
    let mut at = 0_usize;
    while !places.is_empty() {
        at = at.checked_add(places.size()?).ok_or_else(|| places.wrong("lead out of the data"))?;
        let word = words.get_mut(at).ok_or_else(|| places.wrong("lead out of the types"))?;
        *word = Cell::of(right(word.get())?);
    }
    Ok(())
}
