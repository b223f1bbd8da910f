//! The method for BTF: reading a delta. `encode` is its mirror image.
//!
//! In this order: the strings that are known ([`super::strings`]), the script and the types' records ([`super::records`]), words set right, the order of the new
//! string section, names as offsets in there, the sections behind their header.

use super::number::Cursor;
use super::records::{Names, RecordStreams, Script, ScriptStreams, assemble, correct};
use super::strings::{FirstUse, Known, Placed};
use super::view::{Cell, Lengths, Sections, View, replace};
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
    let inputs = (&base, &known);
    let shape = (&lengths, sizes.words);
    // As the base and the delta are, so large is what they make, if not all of it is false.
    let likely = sizes.raw_size.min(2 * base.words.len() * 4 + base.strings.len());
    let mut out: Vec<[u8; 4]> = Vec::with_capacity(likely / 4 + 8);
    let begin = sizes.begin(&mut out);
    let mut set_right = |out: &mut [[u8; 4]], name: &dyn Fn(u32) -> u32| -> Result<()> {
        correct(out, &mut name_places, |_| Ok(name(right_names.next(&known)?)))?;
        correct(out, &mut type_places, |id| Ok(id.wrapping_add(right_types.signed()? as u32)))?;
        correct(out, &mut word_places, |word| Ok(word.wrapping_add(right_words.signed()? as u32)))
    };
    let placed = if sizes.form & BY_USE == 0 {
        let placed = Placed::by_base(&known, &mut order, sizes.strings)?;
        let name = |offset| placed.place(known.number(offset));
        assemble(inputs, &script, &mut record_streams, shape, name, &mut out)?;
        set_right(&mut out[begin..], &name)?;
        placed
    } else {
        // Their order is known when all types are: until then names are numbers.
        let name = |offset| known.number(offset);
        assemble(inputs, &script, &mut record_streams, shape, name, &mut out)?;
        set_right(&mut out[begin..], &name)?;
        let mut first = FirstUse::new(&known);
        each_name(&mut out[begin..], &lengths, |number| {
            first.see(number);
            number
        })?;
        let placed = Placed::by_use(&known, &first.finish(&known), &mut order, sizes.strings)?;
        each_name(&mut out[begin..], &lengths, |number| placed.place(number))?;
        placed
    };

    for stream in [runs, steps, jumps, gone, shapes, types, words, shifts, right_types, right_words] {
        stream.end()?;
    }
    names.end()?;
    right_names.end()?;
    sizes.write(out, begin, &known, &placed)
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
    /// Bytes of all.
    raw_size: usize,
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
        Ok(Self { form, ids, words, strings, header, layout, raw_size })
    }

    /// Begins the blob with its header, if types come right behind it; gives how many words that is.
    fn begin(&self, out: &mut Vec<[u8; 4]>) -> usize {
        let is_usual =
            Sections::parse(&self.header).is_some_and(|sections| sections.parts[0].0 == self.header.len());
        match self.header.as_chunks() {
            (words, []) if is_usual => {
                out.extend_from_slice(words);
                words.len()
            }
            _ => 0,
        }
    }

    /// Header and sections, which must be where the header says, without anything between them.
    fn write(
        &self,
        mut types: Vec<[u8; 4]>,
        begin: usize,
        known: &Known<'_>,
        strings: &Placed,
    ) -> Result<Vec<u8>> {
        let wrong = |reason| Error::Delta { part: "sizes", offset: 0, reason };
        let sections = Sections::parse(&self.header).filter(|sections| sections.header == self.header.len());
        let sections = sections.ok_or_else(|| wrong("give a header that is none"))?;
        if sections.big_endian {
            types[begin..].iter_mut().for_each(|word| word.reverse());
        }
        let lengths = [self.words * 4, strings.len(), self.layout.len()];
        if sections.parts.map(|(_, len)| len) != lengths {
            return Err(wrong("are not those of the sections"));
        }
        let mut order = [0, 1, 2];
        order.sort_by_key(|part| sections.parts[*part]);
        let types = types.into_flattened();
        let (mut raw, types) = if begin > 0 { (types, Vec::new()) } else { (self.header.clone(), types) };
        let mut end = self.header.len();
        for part in order {
            let (offset, len) = sections.parts[part];
            if len > 0 && offset != end {
                return Err(wrong("leave a gap between two sections"));
            }
            end += len;
            match part {
                0 => raw.extend_from_slice(&types),
                1 => strings.write(known, &mut raw),
                _ => raw.extend_from_slice(self.layout),
            }
        }
        if raw.len() != self.raw_size {
            return Err(wrong("do not add up to the blob's"));
        }
        Ok(raw)
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

/// Replaces each name of all records.
pub(super) fn each_name<C: Cell>(
    words: &mut [C],
    lengths: &Lengths,
    mut new_name: impl FnMut(u32) -> u32,
) -> Result<()> {
    let wrong = || Error::Delta { part: "types", offset: 0, reason: "do not hold together" };
    let mut rest = words;
    while !rest.is_empty() {
        let info = rest.get(1).ok_or_else(wrong)?.get();
        let len = lengths.of(info).ok_or_else(wrong)?;
        let (record, behind) = rest.split_at_mut_checked(len).ok_or_else(wrong)?;
        replace(record, |id| id, &mut new_name);
        rest = behind;
    }
    Ok(())
}
