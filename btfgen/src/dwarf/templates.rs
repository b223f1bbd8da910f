//! Structs, unions and enums met before, by what their DIEs say.
//!
//! Header files repeat the same types in every unit. When a named one comes up again, its DIEs are compared with those of the last of that
//! name and size, bytes of names and places against bytes, and only what the members' types are is kept. If all is as expected, names need
//! not be looked up and no record is written. Nothing is taken for granted: one difference, and the type is read like any other.

use btf::Kind;
use btf::dedup::{LocalId, Shape, Unit};
use btf::kind::Info;

use super::convert::FastMap;
use super::layout::{Number, Plain, PlainName};
use super::members::BITFIELD;

/// What the DIE of a member or enumerator says, but for its type: the name as it stands there, and the place in bytes or the value. Of a bitfield
/// it is the [`Name`](btf::dedup::Name), and a [`Member::bitfield_number`](super::members::Member::bitfield_number).
pub(super) type Saying = (u32, u32);

/// Tells names that are in DIEs from offsets.
const INLINE: u32 = 1 << 31;

/// A name as it stands in a DIE: an offset in `.debug_str`, or up to three bytes.
#[inline]
pub(super) fn name_key(name: PlainName<'_>) -> Option<u32> {
    match name {
        PlainName::Str(offset) => (offset & INLINE == 0).then_some(offset),
        PlainName::Inline(&[a]) => Some(INLINE | u32::from(a)),
        PlainName::Inline(&[a, b]) => Some(INLINE | u32::from_le_bytes([a, b, 0, 0])),
        PlainName::Inline(&[a, b, c]) => Some(INLINE | u32::from_le_bytes([a, b, c, 0])),
        PlainName::Inline([]) | PlainName::None => Some(INLINE),
        PlainName::Inline(_) => None,
    }
}

/// What a DIE says, if it can be compared with others.
#[inline]
pub(super) fn saying(name: PlainName<'_>, number: Option<Number>) -> Option<Saying> {
    let number = match number {
        Some(number) => u32::try_from(number.unsigned()?).ok().filter(|&number| number <= MAX_NUMBER)?,
        None => NO_NUMBER,
    };
    Some((name_key(name)?, number))
}

const NO_NUMBER: u32 = u32::MAX;
/// What stands for a type among those met before: its name, or the line that declares it if it has none. Unnamed types of two
/// files may share a line and a size; then each is compared with the other and found to be something else.
#[inline]
pub(super) fn type_key(plain: Plain<'_, '_>, big: bool) -> Option<u32> {
    match plain.name(big) {
        PlainName::None => {
            let line = plain.line(big);
            (line != 0 && line < UNNAMED).then_some(INLINE | UNNAMED | line)
        }
        PlainName::Inline([]) => None,
        name => name_key(name),
    }
}

/// Tells lines from names.
const UNNAMED: u32 = 1 << 30;

/// Whether a member says what is expected.
#[inline(always)] // see `Reader::plain_entry`
pub(super) fn is_expected(
    (known_name, known_number): Saying,
    name: PlainName<'_>,
    number: Option<Number>,
) -> bool {
    let same_name = match name {
        PlainName::Str(offset) => offset == known_name && offset & INLINE == 0,
        name => name_key(name) == Some(known_name),
    };
    let same_number = match number {
        // Neither a bitfield's nor `NO_NUMBER`.
        Some(number) => number.bits == u64::from(known_number) && known_number <= MAX_NUMBER,
        None => known_number == NO_NUMBER,
    };
    same_name & same_number
}

/// The largest place in bytes whose bits 32 bits can count.
const MAX_NUMBER: u32 = u32::MAX / 8;

/// A type by its own DIE: kind, name and size in bytes.
pub(super) type Head = (Kind, u32, u32);

/// No type has it.
const NO_HEAD: Head = (Kind::Int, 0, 0);

/// A type that is being read without a template, and could become one.
#[derive(Clone, Copy)]
pub(super) struct Lesson {
    pub(super) head: Head,
    /// Where what its members say begins.
    from: usize,
}

/// What is known of the last type of a name and size.
#[derive(Clone, Copy)]
struct Template {
    head: Head,
    from: u32,
    len: u32,
    shape: Shape,
    has_bitfields: bool,
    /// The template that was found next after this one: units show types in much the same order.
    next: u32,
}

/// The types met before, and those of the unit that is being read.
#[derive(Default)]
pub(super) struct Templates {
    by_head: FastMap<Head, u32>,
    all: Vec<Template>,
    /// The template that was found last.
    last: u32,
    sayings: Vec<Saying>,
    /// What members of unfinished types say, innermost last.
    open: Vec<Saying>,
    /// Finished types of this unit: their sayings are from here on up to the next one's.
    learnt: Vec<(LocalId, Head, usize)>,
    learnt_sayings: Vec<Saying>,
}

impl Templates {
    /// Forgets what the unit that was read last would have taught.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.learnt.clear();
        self.learnt_sayings.clear();
    }

    /// The template for a type.
    #[inline]
    pub(super) fn find(&mut self, head: Head) -> Option<u32> {
        let guess = self.all.get(self.last as usize)?.next;
        if self.all.get(guess as usize).is_some_and(|template| template.head == head) {
            self.last = guess;
            return Some(guess);
        }
        let found = *self.by_head.get(&head)?;
        self.all[self.last as usize].next = found;
        self.last = found;
        Some(found)
    }

    /// The shape of a template.
    pub(super) fn shape(&self, template: u32) -> Shape {
        self.all[template as usize].shape
    }

    /// Whether there are bitfields among a template's members.
    pub(super) fn has_bitfields(&self, template: u32) -> bool {
        self.all[template as usize].has_bitfields
    }

    /// What a template's member says if it is a bitfield.
    pub(super) fn bitfield(&self, template: u32, index: u32) -> Option<Saying> {
        let saying = *self.sayings(template).get(index as usize)?;
        (saying.1 & BITFIELD != 0 && saying.1 != NO_NUMBER).then_some(saying)
    }

    /// What the members of a template say.
    #[inline]
    pub(super) fn sayings(&self, template: u32) -> &[Saying] {
        let Template { from, len, .. } = self.all[template as usize];
        &self.sayings[from as usize..][..len as usize]
    }

    /// Begins to learn a type.
    pub(super) fn begin(&self, head: Head) -> Lesson {
        Lesson { head, from: self.open.len() }
    }

    /// Begins to learn a type whose first members were like a template's.
    pub(super) fn begin_from(&mut self, head: Head, template: u32, len: u32) -> Lesson {
        let lesson = self.begin(head);
        let from = self.all[template as usize].from as usize;
        self.open.extend_from_slice(&self.sayings[from..from + len as usize]);
        lesson
    }

    /// Takes in what a member says; gives the lesson up if that is nothing to compare.
    pub(super) fn learn(&mut self, lesson: &mut Option<Lesson>, saying: Option<Saying>) {
        if let Some(begun) = lesson {
            match saying {
                Some(saying) => self.open.push(saying),
                None => {
                    self.open.truncate(begun.from);
                    *lesson = None;
                }
            }
        }
    }

    /// Ends a lesson: the type will be a template once it is interned, if its record has as many members as its DIE.
    pub(super) fn end(&mut self, lesson: Option<Lesson>, id: LocalId, members: usize) {
        let Some(Lesson { head, from }) = lesson else { return };
        if self.open.len() - from == members {
            self.learnt.push((id, head, self.learnt_sayings.len()));
            self.learnt_sayings.extend_from_slice(&self.open[from..]);
        }
        self.open.truncate(from);
    }

    /// Makes the types of an interned unit templates.
    pub(super) fn keep(&mut self, unit: &mut Unit<'_>) {
        for (index, &(id, head, from)) in self.learnt.iter().enumerate() {
            let to = self.learnt.get(index + 1).map_or(self.learnt_sayings.len(), |next| next.2);
            let sayings = &self.learnt_sayings[from..to];
            let Some(shape) = unit.shape(id) else { continue };
            let info = Info(unit.shape_record(shape)[1]);
            if info.vlen() as usize != sayings.len() {
                continue; // it lost its members because one of their types is missing
            }
            let (from, len) = (self.sayings.len() as u32, sayings.len() as u32);
            let place = self.all.len() as u32;
            let has_bitfields = head.0 != Kind::Enum && info.kind_flag();
            let template = Template { head, from, len, shape, has_bitfields, next: place + 1 };
            self.sayings.extend_from_slice(sayings);
            if let Some(before) = self.by_head.insert(head, place) {
                // It must not be found any more.
                self.all[before as usize].head = NO_HEAD;
            }
            self.all.push(template);
        }
        self.clear();
    }
}
