//! BTF as words: what a delta needs to know of the format, as of version 1 of the delta.
//!
//! This is not `btf::Btf`: what a number in a delta means must not change when the other library learns a new kind. Kinds beyond
//! [`KINDS`] are records of opaque words, whose length the layout section tells.

use std::borrow::Cow;

/// Kinds whose words are known: 1 (INT) to 19 (ENUM64).
const KINDS: usize = 19;

/// What a word of a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// An offset into the strings.
    Name,
    /// A type's id.
    Type,
    /// Anything else.
    Other,
}

/// The words of a record behind `name_off` and `info`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) third: Word,
    pub(super) fixed: &'static [Word],
    pub(super) element: &'static [Word],
}

/// By number of the kind. 0 stands for all that are not known.
static SHAPES: [Shape; KINDS + 1] = {
    use Word::{Name, Other, Type};
    const fn shape(third: Word, fixed: &'static [Word], element: &'static [Word]) -> Shape {
        Shape { third, fixed, element }
    }
    let refers = shape(Type, &[], &[]);
    let composite = shape(Other, &[], &[Name, Type, Other]);
    let plain = shape(Other, &[], &[]);
    [
        plain,
        shape(Other, &[Other], &[]),              // INT
        refers,                                   // PTR
        shape(Other, &[Type, Type, Other], &[]),  // ARRAY
        composite,                                // STRUCT
        composite,                                // UNION
        shape(Other, &[], &[Name, Other]),        // ENUM
        plain,                                    // FWD
        refers,                                   // TYPEDEF
        refers,                                   // VOLATILE
        refers,                                   // CONST
        refers,                                   // RESTRICT
        refers,                                   // FUNC
        shape(Type, &[], &[Name, Type]),          // FUNC_PROTO
        shape(Type, &[Other], &[]),               // VAR
        shape(Other, &[], &[Type, Other, Other]), // DATASEC
        plain,                                    // FLOAT
        shape(Type, &[Other], &[]),               // DECL_TAG
        refers,                                   // TYPE_TAG
        shape(Other, &[], &[Name, Other, Other]), // ENUM64
    ]
};

/// Number of the kind in an info word.
#[inline]
pub(super) fn kind_of(info: u32) -> usize {
    (info >> 24 & 0x7f) as usize
}

/// Number of elements, for kinds that have any.
#[inline]
pub(super) fn count_of(info: u32) -> usize {
    (info & 0x00ff_ffff) as usize
}

/// The words of records with this info word.
#[inline]
pub(super) fn shape_of(info: u32) -> &'static Shape {
    &SHAPES[if kind_of(info) <= KINDS { kind_of(info) } else { 0 }]
}

impl Shape {
    /// What a word of a record is.
    #[cfg(feature = "compress")]
    pub(super) fn word(&self, at: usize) -> Word {
        match at {
            0 => Word::Name,
            1 => Word::Other,
            2 => self.third,
            _ => match self.fixed.get(at - 3) {
                Some(word) => *word,
                None if self.element.is_empty() => Word::Other,
                None => self.element[(at - 3 - self.fixed.len()) % self.element.len()],
            },
        }
    }
}

/// A word of a record: a number, or its bytes, least significant first.
pub(super) trait Cell: Copy {
    fn get(self) -> u32;
    fn of(number: u32) -> Self;
}

impl Cell for u32 {
    fn get(self) -> u32 {
        self
    }

    fn of(number: u32) -> Self {
        number
    }
}

impl Cell for [u8; 4] {
    #[inline]
    fn get(self) -> u32 {
        u32::from_le_bytes(self)
    }

    #[inline]
    fn of(number: u32) -> Self {
        number.to_le_bytes()
    }
}

/// Replaces every type id and every name of a record, in the order of the words.
#[inline]
pub(super) fn replace<C: Cell>(
    record: &mut [C],
    mut new_type: impl FnMut(u32) -> u32,
    mut new_name: impl FnMut(u32) -> u32,
) {
    let [name, info, third, payload @ ..] = record else { return };
    let mut ty = |cell: &mut C| *cell = C::of(new_type(cell.get()));
    let mut called = |cell: &mut C| *cell = C::of(new_name(cell.get()));
    called(name);
    match kind_of(info.get()) {
        2 | 8..=12 | 14 | 17 | 18 => ty(third),
        3 => payload.iter_mut().take(2).for_each(ty),
        4 | 5 => payload.as_chunks_mut::<3>().0.iter_mut().for_each(|[name, of, _]| {
            called(name);
            ty(of);
        }),
        6 => payload.as_chunks_mut::<2>().0.iter_mut().for_each(|[name, _]| called(name)),
        13 => {
            ty(third);
            payload.as_chunks_mut::<2>().0.iter_mut().for_each(|[name, of]| {
                called(name);
                ty(of);
            });
        }
        15 => payload.as_chunks_mut::<3>().0.iter_mut().for_each(|[of, _, _]| ty(of)),
        19 => payload.as_chunks_mut::<3>().0.iter_mut().for_each(|[name, _, _]| called(name)),
        _ => {}
    }
}

/// Length of records by kind, in words: fixed part (with the three words of every record) and each element.
#[derive(Clone, Debug)]
pub(super) struct Lengths([(u16, u16); 128]);

impl Lengths {
    /// Those that are known, and those of other kinds that a layout section (`struct btf_layout`) tells.
    pub(super) fn new(layout: &[u8]) -> Self {
        let mut lengths = [(0, 0); 128];
        for (length, shape) in lengths.iter_mut().zip(&SHAPES).skip(1) {
            *length = (3 + shape.fixed.len() as u16, shape.element.len() as u16);
        }
        let told = layout.as_chunks::<4>().0;
        for (length, [fixed, element, ..]) in lengths.iter_mut().zip(told).skip(KINDS + 1) {
            if fixed.is_multiple_of(4) && element.is_multiple_of(4) {
                *length = (3 + u16::from(fixed / 4), u16::from(element / 4));
            }
        }
        Self(lengths)
    }

    /// Words of a record; `None` for a kind whose length nothing tells.
    #[inline]
    pub(super) fn of(&self, info: u32) -> Option<usize> {
        let (fixed, element) = self.0[kind_of(info)];
        (fixed > 0).then(|| usize::from(fixed) + usize::from(element) * count_of(info))
    }
}

/// Places of the sections, from the first byte.
#[derive(Clone, Debug)]
pub(super) struct Sections {
    pub(super) big_endian: bool,
    pub(super) header: usize,
    /// Offset and length of types, strings and layout.
    pub(super) parts: [(usize, usize); 3],
}

impl Sections {
    /// What a header says; `None` if it is none, or one that says more than is known. The sections need not be there.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let big_endian = match data.first_chunk()? {
            [0x9f, 0xeb] => false,
            [0xeb, 0x9f] => true,
            _ => return None,
        };
        let word = |at: usize| {
            let bytes = *data.get(at..)?.first_chunk()?;
            let word = if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
            usize::try_from(word).ok()
        };
        let header = word(4)?;
        if header < 24 || data.len() < header {
            return None;
        }
        let place = |at| Some((word(at)?.checked_add(header)?, word(at + 4)?));
        let layout = if header >= 32 { place(24)? } else { (header, 0) };
        Some(Self { big_endian, header, parts: [place(8)?, place(16)?, layout] })
    }
}

/// A blob taken apart.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) sections: Sections,
    pub(super) header: &'a [u8],
    /// All types' words, least significant byte first.
    pub(super) words: Cow<'a, [[u8; 4]]>,
    /// Where the record of each id begins; void, the id 0, has no words. One more for the end.
    pub(super) starts: Vec<u32>,
    pub(super) strings: &'a [u8],
    pub(super) layout: &'a [u8],
}

impl<'a> View<'a> {
    /// Takes apart what is whole; `None` for everything else.
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let sections = Sections::parse(data)?;
        let part = |index: usize| {
            let (offset, len): (usize, usize) = sections.parts[index];
            data.get(offset..offset.checked_add(len)?)
        };
        let (types, strings, layout) = (part(0)?, part(1)?, part(2)?);
        let (words, []) = types.as_chunks::<4>() else { return None };
        if strings.first() != Some(&0) || strings.last() != Some(&0) {
            return None;
        }
        let mut words = Cow::Borrowed(words);
        if sections.big_endian {
            words.to_mut().iter_mut().for_each(|word| word.reverse());
        }
        let starts = starts(&words, &Lengths::new(layout))?;
        Some(Self { header: &data[..sections.header], sections, words, starts, strings, layout })
    }

    /// Number of ids, with void.
    pub(super) fn ids(&self) -> usize {
        self.starts.len() - 1
    }

    /// The words of a type; none for void.
    #[inline]
    pub(super) fn record(&self, id: usize) -> &[[u8; 4]] {
        &self.words[self.starts[id] as usize..self.starts[id + 1] as usize]
    }
}

/// Where each record begins, that of void first, and where the last ends.
fn starts(words: &[[u8; 4]], lengths: &Lengths) -> Option<Vec<u32>> {
    let mut starts = Vec::with_capacity(words.len() / 5 + 2);
    starts.push(0);
    let mut at = 0;
    while at < words.len() {
        starts.push(u32::try_from(at).ok()?);
        at += lengths.of(words.get(at + 1)?.get())?;
    }
    starts.push(u32::try_from(words.len()).ok()?);
    (at == words.len()).then_some(starts)
}
