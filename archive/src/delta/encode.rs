//! The method for BTF: making a delta, the mirror image of `decode`.

use std::collections::HashMap;

use super::align::align;
use super::decode::{BY_USE, HEADER_GIVEN, LAYOUT_GIVEN, STREAMS, each_name, usual_header};
use super::elements::changes;
use super::number::{Cursor, put, put_signed, zigzag};
use super::records::{self, EDIT, JUMP, Names, OWN, RecordStreams, Script, Step, assemble, fill};
use super::strings::{FirstUse, Known};
use super::view::{Cell, Lengths, View, Word, count_of, kind_of, replace, shape_of};

/// Places of streams.
mod stream {
    pub(super) const SIZES: usize = 0;
    pub(super) const ORDER: usize = 1;
    pub(super) const TEXT: usize = 2;
    pub(super) const RUNS: usize = 3;
    pub(super) const STEPS: usize = 4;
    pub(super) const JUMPS: usize = 5;
    pub(super) const GONE: usize = 6;
    pub(super) const SHAPES: usize = 7;
    pub(super) const NAMES: usize = 8;
    pub(super) const TYPES: usize = 9;
    pub(super) const WORDS: usize = 10;
    pub(super) const SHIFTS: usize = 11;
    /// Places of names, types and other words, and behind each what is right there.
    pub(super) const RIGHT: usize = 12;
}
use stream::*;

type Streams = [Vec<u8>; STREAMS.len()];

/// A blob whose types are words.
pub(super) struct Blob<'a> {
    pub(super) view: View<'a>,
    pub(super) words: Vec<u32>,
}

impl<'a> Blob<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let view = View::parse(data)?;
        let words = view.words.iter().map(|word| word.get()).collect();
        Some(Self { view, words })
    }

    /// Number of ids, with void.
    pub(super) fn ids(&self) -> usize {
        self.view.ids()
    }

    /// Where the words of a type are.
    fn range(&self, id: usize) -> std::ops::Range<usize> {
        self.view.starts[id] as usize..self.view.starts[id + 1] as usize
    }

    /// The words of a type; none for void.
    pub(super) fn record(&self, id: usize) -> &[u32] {
        &self.words[self.range(id)]
    }
}

/// The streams of a delta; `None` for what is not BTF that this can be done with.
pub(super) fn encode(base: &[u8], raw: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (base, mut new) = (Blob::parse(base)?, Blob::parse(raw)?);
    let mut streams = Streams::default();
    let (numbers, text) = number_strings(&base, &new);
    let known = Known::new(base.view.strings, &text)?;
    let lengths = Lengths::new(new.view.layout);
    let is_whole = name_by_known(&mut new, &lengths, &numbers, &known)?;
    if !is_whole {
        return None;
    }
    let base_of = align(&base, &new);
    let script = write_script(&base, &new, &base_of, &mut streams);
    let names = NameWriter::new(&known);
    let mut writer =
        Writer { base: &base, known: &known, map: &script.map, streams: &mut streams, names, id: 1 };
    writer.records(&new, &script.steps);
    streams[NAMES] = writer.names.codes;
    let predicted = predict(&base, &new, &known, &script, &streams)?;
    write_corrections(&new, &predicted, &known, &mut streams);
    let by_use = write_order(&mut new, &lengths, &numbers, &known, &mut streams)?;

    let mut form = if by_use { BY_USE } else { 0 };
    let types = new.words.len() * 4;
    let header = usual_header(&base.view, types, new.view.strings.len());
    let mut given = Vec::new();
    for (flag, usual, actual) in
        [(HEADER_GIVEN, &header[..], new.view.header), (LAYOUT_GIVEN, base.view.layout, new.view.layout)]
    {
        if usual != actual {
            form |= flag;
            put(&mut given, actual.len() as u64);
            given.extend_from_slice(actual);
        }
    }
    let sizes = &mut streams[SIZES];
    sizes.push(form);
    for size in [new.ids(), new.words.len(), new.view.strings.len()] {
        put(sizes, size as u64);
    }
    sizes.extend(given);
    streams[TEXT] = text;
    Some(streams.into())
}

/// The number of each new string among the known ones, and those that the base does not have.
fn number_strings(base: &Blob<'_>, new: &Blob<'_>) -> (Vec<u32>, Vec<u8>) {
    let mut of_base: HashMap<&[u8], u32, foldhash::fast::FixedState> = HashMap::default();
    let mut next = 0;
    for string in base.view.strings.split_inclusive(|byte| *byte == 0) {
        of_base.entry(string).or_insert(next);
        next += 1;
    }
    let mut text = Vec::new();
    let numbers = new.view.strings.split_inclusive(|byte| *byte == 0).map(|string| {
        // A string that is there twice is found once.
        of_base.remove(string).unwrap_or_else(|| {
            text.extend_from_slice(string);
            next += 1;
            next - 1
        })
    });
    (numbers.collect(), text)
}

/// Makes the new blob's names offsets of known strings; tells whether all are such, none the end of another one.
fn name_by_known(new: &mut Blob<'_>, lengths: &Lengths, numbers: &[u32], known: &Known<'_>) -> Option<bool> {
    let own = Known::new(new.view.strings, &[])?;
    let mut is_whole = true;
    let named = each_name(&mut new.words, lengths, |name| {
        let number = numbers.get(own.number(name) as usize);
        let offset = number.and_then(|number| known.offset(*number as usize));
        is_whole &= offset.is_some();
        offset.unwrap_or(0)
    });
    named.ok().map(|()| is_whole)
}

/// Writes the order of the new section in the shorter way; tells whether that is by first use.
fn write_order(
    new: &mut Blob<'_>,
    lengths: &Lengths,
    numbers: &[u32],
    known: &Known<'_>,
    streams: &mut Streams,
) -> Option<bool> {
    let mut first = FirstUse::new(known);
    let seen = each_name(&mut new.words, lengths, |name| {
        first.see(known.number(name));
        name
    });
    seen.ok()?;
    let mut places = vec![u32::MAX; known.len()];
    for (place, number) in first.finish(known).into_iter().enumerate() {
        places[number as usize] = place as u32;
    }
    let by_base = order_by_base(numbers, known.of_base() as u32);
    let by_use = order_by_use(numbers, &places).filter(|by_use| by_use.len() < by_base.len());
    let is_by_use = by_use.is_some();
    streams[ORDER] = by_use.unwrap_or(by_base);
    Some(is_by_use)
}

/// The order as runs of the base's strings, of which there are `of_base`, and of others.
fn order_by_base(numbers: &[u32], of_base: u32) -> Vec<u8> {
    let (mut order, mut old, mut at) = (Vec::new(), 0, 0);
    while at < numbers.len() {
        let own = numbers[at..].iter().take_while(|number| **number >= of_base).count();
        put(&mut order, own as u64);
        at += own;
        let Some(&first) = numbers.get(at) else { break };
        let run = numbers[at..].iter().zip(first..of_base).take_while(|(number, next)| **number == *next);
        let run = run.count();
        put(&mut order, run as u64);
        put_signed(&mut order, i64::from(first) - old);
        old = i64::from(first) + run as i64;
        at += run;
    }
    order
}

/// The order as runs of `places`; `None` if a string has none: one of the base that no type uses.
fn order_by_use(numbers: &[u32], places: &[u32]) -> Option<Vec<u8>> {
    let place = |number: &u32| places[*number as usize];
    let (mut order, mut next, mut at) = (Vec::new(), 0, 0);
    while at < numbers.len() {
        let first = place(&numbers[at]);
        if first == u32::MAX {
            return None;
        }
        let run =
            numbers[at..].iter().zip(first..).take_while(|(number, next)| place(number) == *next).count();
        put_signed(&mut order, i64::from(first) - next);
        put(&mut order, run as u64);
        next = i64::from(first) + run as i64;
        at += run;
    }
    Some(order)
}

/// Writes which base's types became which, and how.
fn write_script(base: &Blob<'_>, new: &Blob<'_>, base_of: &[u32], streams: &mut Streams) -> Script {
    let mut steps: Vec<Step> = Vec::new();
    let mut map = vec![records::GONE; base.ids()];
    map[0] = 0;
    for (id, &from) in base_of.iter().enumerate().skip(1) {
        let from = from as usize;
        let step = step_of(base, new, from, id);
        if !matches!(step, Step::Own { .. }) {
            map[from] = id as u32;
        }
        match (steps.last_mut(), step) {
            (Some(Step::Copy { first, count }), Step::Copy { .. }) if *first + *count == from => *count += 1,
            (Some(Step::Own { count }), Step::Own { .. }) => *count += 1,
            _ => steps.push(step),
        }
    }
    let (mut next, mut run) = (1_usize, 0_usize);
    for step in &steps {
        let to = match *step {
            Step::Copy { first, .. } => first,
            Step::Edit { base } => base,
            Step::Own { .. } => next,
        };
        if to != next {
            put(&mut streams[RUNS], run as u64);
            run = 0;
            streams[STEPS].push(JUMP);
            put_signed(&mut streams[JUMPS], to as i64 - next as i64);
            next = to;
        }
        match *step {
            Step::Copy { count, .. } => {
                run = count;
                next += count;
                continue;
            }
            Step::Own { count } => {
                put(&mut streams[RUNS], run as u64);
                streams[STEPS].push(OWN);
                put(&mut streams[RUNS], count as u64 - 1);
            }
            Step::Edit { .. } => {
                put(&mut streams[RUNS], run as u64);
                streams[STEPS].push(EDIT);
                next += 1;
            }
        }
        run = 0;
    }
    // A run of nothing is not written at the end.
    if run > 0 {
        put(&mut streams[RUNS], run as u64);
    }
    let votes = votes(base, new, &steps, &map);
    let mut gone = (0..map.len()).filter(|id| map[*id] == records::GONE).collect::<Vec<_>>().into_iter();
    let filled = fill(&mut map, |expected| {
        let vote = gone.next().map_or(0, |id| votes[id].0);
        let place = if vote == 0 { expected as u32 } else { vote };
        put_signed(&mut streams[GONE], i64::from(place) - expected as i64);
        Ok(place)
    });
    debug_assert!(filled.is_ok());
    Script { steps, map }
}

/// How a new type comes about from a base's, if that became it.
fn step_of(base: &Blob<'_>, new: &Blob<'_>, from: usize, id: usize) -> Step {
    if from == 0 {
        return Step::Own { count: 1 };
    }
    let (old, new) = (base.record(from), new.record(id));
    let shape = shape_of(new[1]);
    let has_elements = !shape.element.is_empty();
    if kind_of(old[1]) != kind_of(new[1]) || (old.len() != new.len() && !has_elements) {
        return Step::Own { count: 1 };
    }
    let differing = || {
        let words = old.iter().zip(new).enumerate().skip(2);
        words.filter(|(at, (a, b))| a != b && shape.word(*at) == Word::Other).count()
    };
    let is_edited = old[1] != new[1] || differing() > 1;
    if has_elements && is_edited { Step::Edit { base: from } } else { Step::Copy { first: from, count: 1 } }
}

/// For each of the base's types that is gone, the new one that most copied records have in its place, by a running majority.
fn votes(base: &Blob<'_>, new: &Blob<'_>, steps: &[Step], map: &[u32]) -> Vec<(u32, u32)> {
    let mut votes = vec![(0_u32, 0_u32); base.ids()];
    let mut id = 1;
    let (mut olds, mut news) = (Vec::new(), Vec::new());
    let ids_of = |ids: &mut Vec<u32>, record: &[u32]| {
        ids.clear();
        let listed = |id| {
            ids.push(id);
            id
        };
        replace(&mut record.to_vec(), listed, |name| name);
    };
    for step in steps {
        match *step {
            Step::Copy { first, count } => {
                for from in first..first + count {
                    ids_of(&mut olds, base.record(from));
                    if olds.iter().any(|old| map.get(*old as usize) == Some(&records::GONE)) {
                        ids_of(&mut news, new.record(id));
                        for (old, new) in olds.iter().zip(&news) {
                            if map.get(*old as usize) == Some(&records::GONE) {
                                let (vote, count) = &mut votes[*old as usize];
                                match *count {
                                    0 => (*vote, *count) = (*new, 1),
                                    _ if vote == new => *count += 1,
                                    _ => *count -= 1,
                                }
                            }
                        }
                    }
                    id += 1;
                }
            }
            Step::Own { count } => id += count,
            Step::Edit { .. } => id += 1,
        }
    }
    votes
}

/// Writes what records are put together from.
struct Writer<'a> {
    base: &'a Blob<'a>,
    known: &'a Known<'a>,
    map: &'a [u32],
    streams: &'a mut Streams,
    names: NameWriter,
    id: usize,
}

impl Writer<'_> {
    fn records(&mut self, new: &Blob<'_>, steps: &[Step]) {
        for step in steps {
            match *step {
                Step::Copy { count, .. } => self.id += count,
                Step::Own { count } => {
                    for _ in 0..count {
                        self.own(new.record(self.id));
                        self.id += 1;
                    }
                }
                Step::Edit { base } => {
                    self.edit(self.base.record(base), new.record(self.id));
                    self.id += 1;
                }
            }
        }
    }

    fn own(&mut self, record: &[u32]) {
        let [name, info, third, payload @ ..] = record else { return };
        let shape = shape_of(*info);
        self.streams[SHAPES].push((info >> 24) as u8);
        put(&mut self.streams[SHAPES], count_of(*info) as u64);
        self.names.put(self.known, *name);
        self.word(shape.third, *third, 0);
        let (fixed, elements) = payload.split_at(shape.fixed.len().min(payload.len()));
        for (word, value) in shape.fixed.iter().zip(fixed) {
            self.word(*word, *value, 0);
        }
        if shape.element.is_empty() {
            elements.iter().for_each(|value| self.word(Word::Other, *value, 0));
        } else {
            self.elements(elements, shape.element);
        }
    }

    fn elements(&mut self, elements: &[u32], element: &[Word]) {
        let mut before = 0;
        for values in elements.chunks_exact(element.len()) {
            let mut first = true;
            for (word, value) in element.iter().zip(values) {
                let expected = if *word == Word::Other && std::mem::take(&mut first) {
                    std::mem::replace(&mut before, *value)
                } else {
                    0
                };
                self.word(*word, *value, expected);
            }
        }
    }

    fn word(&mut self, word: Word, value: u32, expected: u32) {
        match word {
            Word::Name => self.names.put(self.known, value),
            Word::Type => put(&mut self.streams[TYPES], type_code(value, self.id)),
            Word::Other => put_signed(&mut self.streams[WORDS], difference(value, expected)),
        }
    }

    fn edit(&mut self, old: &[u32], new: &[u32]) {
        let shape = shape_of(new[1]);
        let width = shape.element.len();
        let (before, after) = (count_of(old[1]) as i64, count_of(new[1]) as i64);
        self.streams[SHAPES].push((old[1] >> 24 ^ new[1] >> 24) as u8);
        put_signed(&mut self.streams[SHAPES], after - before);
        let (mut old_rest, mut new_rest) = (&old[3..], &new[3..]);
        let mut shift = 0_u32;
        for change in changes(old_rest, new_rest, shape.element, self.map) {
            let kept = change.kept * width;
            let is_all = kept == new_rest.len();
            put(&mut self.streams[SHAPES], change.kept as u64);
            put(&mut self.streams[SHAPES], if is_all { 0 } else { change.left_out as u64 });
            if !is_all {
                put(&mut self.streams[SHAPES], change.put_in as u64);
            }
            for (old, new) in old_rest[..kept].chunks_exact(width).zip(new_rest.chunks_exact(width)) {
                let mut first = true;
                for (word, (old, new)) in shape.element.iter().zip(old.iter().zip(new)) {
                    if *word != Word::Other {
                        continue;
                    }
                    let mut by = new.wrapping_sub(*old);
                    if std::mem::take(&mut first) {
                        by = by.wrapping_sub(std::mem::replace(&mut shift, by));
                    }
                    put_signed(&mut self.streams[SHIFTS], i64::from(by as i32));
                }
            }
            self.elements(&new_rest[kept..][..change.put_in * width], shape.element);
            old_rest = &old_rest[kept + change.left_out * width..];
            new_rest = &new_rest[kept + change.put_in * width..];
        }
        if shape.third == Word::Other {
            put_signed(&mut self.streams[SHIFTS], difference(new[2], old[2]));
        }
    }
}

/// The least change that makes `expected` the value, where 32-bit words wrap.
fn difference(value: u32, expected: u32) -> i64 {
    i64::from(value.wrapping_sub(expected) as i32)
}

fn type_code(id: u32, own: usize) -> u64 {
    const NEAR: i64 = 32;
    let by = i64::from(id) - own as i64;
    if (-NEAR..NEAR).contains(&by) { zigzag(by) << 1 | 1 } else { u64::from(id) << 1 }
}

/// The mirror image of [`Names`].
struct NameWriter {
    codes: Vec<u8>,
    last: usize,
    next_new: usize,
}

impl NameWriter {
    fn new(known: &Known<'_>) -> Self {
        Self { codes: Vec::new(), last: 0, next_new: known.of_base() }
    }

    fn put(&mut self, known: &Known<'_>, offset: u32) {
        if offset == 0 {
            self.codes.push(0);
            return;
        }
        let number = known.number(offset) as usize;
        if number == self.next_new {
            self.next_new += 1;
            self.codes.push(1);
        } else {
            put(&mut self.codes, 2 + zigzag(number as i64 - self.last as i64));
        }
        self.last = number;
    }
}

/// What a reader makes of the streams before anything is set right.
fn predict(
    base: &Blob<'_>,
    new: &Blob<'_>,
    known: &Known<'_>,
    script: &Script,
    streams: &Streams,
) -> Option<Vec<u32>> {
    let cursor = |stream: usize| Cursor::new(STREAMS[stream], &streams[stream]);
    let (mut shapes, mut types) = (cursor(SHAPES), cursor(TYPES));
    let (mut words, mut shifts) = (cursor(WORDS), cursor(SHIFTS));
    let mut names = Names::new(cursor(NAMES), known);
    let mut record_streams = RecordStreams {
        shapes: &mut shapes,
        names: &mut names,
        types: &mut types,
        words: &mut words,
        shifts: &mut shifts,
    };
    let mut words = Vec::with_capacity(new.words.len());
    let shape = (&Lengths::new(new.view.layout), new.words.len());
    assemble((&base.view, known), script, &mut record_streams, shape, |name| name, &mut words).ok()?;
    Some(words.into_iter().map(Cell::get).collect())
}

/// Writes which words are not as predicted, and what they are.
fn write_corrections(new: &Blob<'_>, predicted: &[u32], known: &Known<'_>, streams: &mut Streams) {
    let mut names = NameWriter::new(known);
    let mut before = [0; 3];
    for id in 1..new.ids() {
        let record = new.range(id);
        let (actual, predicted) = (&new.words[record.clone()], &predicted[record.clone()]);
        if actual == predicted {
            continue;
        }
        let shape = shape_of(actual[1]);
        for (at, (&actual, &predicted)) in actual.iter().zip(predicted).enumerate() {
            if actual == predicted {
                continue;
            }
            let class = match shape.word(at) {
                Word::Name => 0,
                Word::Type => 1,
                Word::Other => 2,
            };
            let place = record.start + at;
            put(
                &mut streams[RIGHT + 2 * class],
                (place - std::mem::replace(&mut before[class], place)) as u64,
            );
            match class {
                0 => names.put(known, actual),
                _ => put_signed(&mut streams[RIGHT + 2 * class + 1], difference(actual, predicted)),
            }
        }
    }
    streams[RIGHT + 1] = names.codes;
}
