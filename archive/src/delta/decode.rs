//! The method for BTF: reading a delta. `encode` is its mirror image.
//!
//! In this order: the strings that are known ([`super::strings`]), the script and the types' records ([`super::records`]), words set right, the order of the new
//! string section, names as offsets in there, the sections behind their header.

use super::number::Cursor;
use super::records::{Names, RecordStreams, Script, ScriptStreams, assemble, correct};
use super::strings::{FirstUse, Known, Placed, no_such_name};
use super::view::{Lengths, Sections, View, each_name};
use super::{Header, frame};
use crate::{Error, Result};

/// The streams of a delta of BTF, in their order.
pub(super) const STREAMS: [&str; 18] = [
    "sizes",
    "order",
    "text",
    "runs",
    "steps",
    "jumps",
    "gone",
    "shapes",
    "names",
    "types",
    "words",
    "shifts",
    "name places",
    "right names",
    "type places",
    "right types",
    "word places",
    "right words",
];

/// The header is given; else it is the base's, with the lengths of types and strings, one behind the other.
pub(super) const HEADER_GIVEN: u8 = 1;
/// The layout section is given; else it is the base's.
pub(super) const LAYOUT_GIVEN: u8 = 2;
/// Strings are in the order in which types first use them; else in the base's.
pub(super) const BY_USE: u8 = 4;

/// The raw bytes of the blob, whose digest has not been checked yet.
pub(super) fn decode(base: &[u8], header: &Header, streams: &[u8]) -> Result<Vec<u8>> {
    let wrong = |reason| Error::Delta { part: "base", offset: 0, reason };
    let base = View::parse(base).ok_or_else(|| wrong("is not BTF that a delta can be made on"))?;
    let [
        mut sizes,
        mut order,
        mut text,
        mut runs,
        mut steps,
        mut jumps,
        mut gone,
        mut shapes,
        names,
        mut types,
        mut words,
        mut shifts,
        mut name_places,
        right_names,
        mut type_places,
        mut right_types,
        mut word_places,
        mut right_words,
    ] = frame::split(streams, STREAMS)?;

    let sizes = Sizes::read(&mut sizes, &base, header.raw_size)?;
    let known = Known::new(base.strings, text.rest()).ok_or_else(|| text.wrong("has strings without end"))?;
    let mut script_streams =
        ScriptStreams { runs: &mut runs, steps: &mut steps, jumps: &mut jumps, gone: &mut gone };
    let script = Script::read(&mut script_streams, base.ids(), sizes.ids)?;

    let mut names = Names::new(names, &known);
    let mut right_names = Names::new(right_names, &known);
    let lengths = Lengths::new(sizes.layout);
    let mut record_streams = RecordStreams {
        shapes: &mut shapes,
        names: &mut names,
        types: &mut types,
        words: &mut words,
        shifts: &mut shifts,
    };
    let mut all = assemble(&base, &known, &script, &mut record_streams, (&lengths, sizes.words))?;
    correct(&mut all, &mut name_places, |_| right_names.next(&known))?;
    correct(&mut all, &mut type_places, |id| Ok(id.wrapping_add(right_types.signed()? as u32)))?;
    correct(&mut all, &mut word_places, |word| Ok(word.wrapping_add(right_words.signed()? as u32)))?;

    let placed = if sizes.form & BY_USE == 0 {
        number_names(&mut all, &lengths, &known, |_| {})?;
        Placed::by_base(&known, &mut order, sizes.strings)?
    } else {
        let used = first_use(&mut all, &lengths, &known)?;
        Placed::by_use(&known, &used, &mut order, sizes.strings)?
    };
    rename(&mut all, &lengths, &placed)?;

    for stream in [runs, steps, jumps, gone, shapes, types, words, shifts, right_types, right_words] {
        stream.end()?;
    }
    names.end()?;
    right_names.end()?;
    sizes.write(&all, &placed.text, header.raw_size)
}

/// How much there is of everything.
struct Sizes<'a> {
    form: u8,
    /// Types, void counted.
    ids: usize,
    /// Words of all types.
    words: usize,
    /// Bytes of all strings.
    strings: usize,
    header: Vec<u8>,
    layout: &'a [u8],
}

impl<'a> Sizes<'a> {
    fn read(stream: &mut Cursor<'a>, base: &View<'a>, raw_size: usize) -> Result<Self> {
        let form = stream.byte()?;
        if form & !(HEADER_GIVEN | LAYOUT_GIVEN | BY_USE) != 0 {
            return Err(stream.wrong("have a form that is not known"));
        }
        let (ids, words, strings) = (stream.size()?, stream.size()?, stream.size()?);
        // A type has three words at least.
        let fit = words.checked_mul(4).is_some_and(|len| len <= raw_size) && ids <= words / 3 + 1 && ids > 0;
        if !fit || strings > raw_size {
            return Err(stream.wrong("are larger than the blob"));
        }
        let mut given = |flag| -> Result<Option<&'a [u8]>> {
            if form & flag == 0 {
                return Ok(None);
            }
            let len = stream.size()?;
            stream.bytes(len).map(Some)
        };
        let header = given(HEADER_GIVEN)?.map(<[u8]>::to_vec);
        let layout = given(LAYOUT_GIVEN)?.unwrap_or(base.layout);
        let header = header.unwrap_or_else(|| usual_header(base, words * 4, strings));
        stream.end()?;
        Ok(Self { form, ids, words, strings, header, layout })
    }

    /// Header and sections, which must be where the header says, without anything between them.
    fn write(&self, words: &[u32], strings: &[u8], raw_size: usize) -> Result<Vec<u8>> {
        let wrong = |reason| Error::Delta { part: "sizes", offset: 0, reason };
        let sections = Sections::parse(&self.header).filter(|sections| sections.header == self.header.len());
        let sections = sections.ok_or_else(|| wrong("give a header that is none"))?;
        let lengths = [words.len() * 4, strings.len(), self.layout.len()];
        if words.len() != self.words || sections.parts.map(|(_, len)| len) != lengths {
            return Err(wrong("are not those of the sections"));
        }
        let mut order = [0, 1, 2];
        order.sort_by_key(|part| sections.parts[*part]);
        let mut raw = Vec::with_capacity(raw_size);
        raw.extend_from_slice(&self.header);
        for part in order {
            let (offset, len) = sections.parts[part];
            if len > 0 && offset != raw.len() {
                return Err(wrong("leave a gap between two sections"));
            }
            match part {
                0 if sections.big_endian => append(&mut raw, words, u32::to_be_bytes),
                0 => append(&mut raw, words, u32::to_le_bytes),
                1 => raw.extend_from_slice(strings),
                _ => raw.extend_from_slice(self.layout),
            }
        }
        if raw.len() != raw_size {
            return Err(wrong("do not add up to the blob's"));
        }
        Ok(raw)
    }
}

/// Appends words as bytes.
fn append(raw: &mut Vec<u8>, words: &[u32], bytes: impl Fn(u32) -> [u8; 4]) {
    let begin = raw.len();
    raw.resize(begin + words.len() * 4, 0);
    for (to, word) in raw[begin..].as_chunks_mut().0.iter_mut().zip(words) {
        *to = bytes(*word);
    }
}

/// The header of a blob that is laid out as its base and most are: types first, then strings.
pub(super) fn usual_header(base: &View<'_>, types: usize, strings: usize) -> Vec<u8> {
    let mut header = base.header.to_vec();
    for (at, value) in [(8, 0), (12, types), (16, types), (20, strings)] {
        let value = value as u32;
        let bytes = if base.sections.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        header[at..at + 4].copy_from_slice(&bytes);
    }
    header
}

/// Calls `visit` for each name of all records.
fn each(words: &mut [u32], lengths: &Lengths, mut visit: impl FnMut(&mut u32)) -> Result<()> {
    let wrong = || Error::Delta { part: "types", offset: 0, reason: "do not hold together" };
    let mut rest = words;
    while !rest.is_empty() {
        let info = *rest.get(1).ok_or_else(wrong)?;
        let len = lengths.of(info).ok_or_else(wrong)?;
        let (record, behind) = rest.split_at_mut_checked(len).ok_or_else(wrong)?;
        each_name(record, &mut visit);
        rest = behind;
    }
    Ok(())
}

/// Makes names numbers of known strings instead of their offsets, and calls `visit` with each.
fn number_names(
    words: &mut [u32],
    lengths: &Lengths,
    known: &Known,
    mut visit: impl FnMut(usize),
) -> Result<()> {
    each(words, lengths, |name| {
        // What is no string's beginning becomes a number that no string has.
        let number = known.number(*name).unwrap_or(known.len());
        *name = number as u32;
        visit(number);
    })
}

/// [`number_names`], and the numbers of all known strings in the order of their first use.
pub(super) fn first_use(words: &mut [u32], lengths: &Lengths, known: &Known) -> Result<Vec<u32>> {
    let mut first = FirstUse::new(known);
    number_names(words, lengths, known, |number| first.see(number))?;
    Ok(first.finish(known))
}

/// Makes names offsets in the new section.
fn rename(words: &mut [u32], lengths: &Lengths, placed: &Placed) -> Result<()> {
    let mut missing = false;
    each(words, lengths, |name| match placed.place(*name as usize) {
        Some(place) => *name = place,
        None => missing = true,
    })?;
    if missing { Err(no_such_name()) } else { Ok(()) }
}
