//! Comparing two blobs by what their types say, whatever ids, order, strings and byte order they use.
//!
//! Every named type is reduced to a *form*: its kind, name, sizes, offsets and values, with each reference to a named type as that
//! type's kind and name, and each reference to an unnamed one (pointers, arrays, anonymous structs, prototypes …) as that type's own
//! form, to full depth. Forms are interned for both blobs together, so equal forms have equal numbers, nothing is compared by hash alone,
//! and time and memory stay linear even where unnamed types are shared many times over.
//!
//! What is deliberately not told apart: a reference to a forward declaration and one to the struct or union of that name (the FWD rows of
//! the counts tell how many were left unresolved), and the kind flag of a struct or union without bitfields.

use std::collections::BTreeMap;
use std::fmt;

use bstr::BStr;

use crate::describe::describe;
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::read::Btf;
use crate::types::Type;
use crate::{StrOffset, TypeId};

/// Seeded at random: hostile names cannot be chosen to collide.
type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::RandomState>;

/// How many types of one kind both blobs share, and how many not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KindCounts {
    /// Types that both blobs have with the same form.
    pub same: usize,
    /// Pairs of types of one name with different forms.
    pub differ: usize,
    /// Types of which the first blob has one more than the second.
    pub only_a: usize,
    /// Types of which the second blob has one more than the first.
    pub only_b: usize,
}

impl KindCounts {
    /// Whether both blobs have the same types of this kind.
    pub fn is_equal(&self) -> bool {
        (self.differ, self.only_a, self.only_b) == (0, 0, 0)
    }
}

/// A named type on which two blobs do not agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Difference<'a> {
    /// Kind of the type.
    pub kind: Kind,
    /// Name of the type.
    pub name: &'a BStr,
    /// The type in the first blob; `None` where only the second one has it.
    pub a: Option<TypeId>,
    /// The type in the second blob; `None` where only the first one has it.
    pub b: Option<TypeId>,
}

/// The result of [`compare`]. Its [`Display`](fmt::Display) is a report with the counts and the first differences of each kind.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    a: &'a Btf<'a>,
    b: &'a Btf<'a>,
    /// Counts for each kind that either blob has named types of.
    pub kinds: BTreeMap<Kind, KindCounts>,
    /// Every difference, in the order of kinds and names.
    pub differences: Vec<Difference<'a>>,
}

/// Compares the named types of two blobs (of split BTF: only its own types, not its base's), as multisets for each kind and name.
///
/// # Errors
/// What reading a type or string of either blob may answer, and [`Error::Invalid`] for unnamed types that contain themselves.
pub fn compare<'a>(a: &'a Btf<'a>, b: &'a Btf<'a>) -> Result<Comparison<'a>> {
    let mut table = Table::default();
    // For each kind and name, the forms on either side.
    let mut named: Map<(Kind, u32), [Vec<Found>; 2]> = Map::default();
    for (side, btf) in [a, b].into_iter().enumerate() {
        let mut forms = Forms {
            btf,
            table: &mut table,
            strings: Map::default(),
            of: vec![NOT_YET; btf.type_count() as usize],
        };
        for ty in btf.types() {
            let ty = ty?;
            if is_named(&ty) {
                forms.prepare(&ty)?;
                let form = forms.definition(&ty)?;
                let name = forms.string(ty.name_offset())?;
                named.entry((ty.kind(), name)).or_default()[side].push((form, ty.id()));
            }
        }
    }

    let mut kinds: BTreeMap<Kind, KindCounts> = BTreeMap::new();
    let mut differences = Vec::new();
    for ((kind, name), [mut in_a, mut in_b]) in named {
        let counts = kinds.entry(kind).or_default();
        counts.same += remove_common(&mut in_a, &mut in_b);
        let name = table.texts[name as usize];
        for place in 0..in_a.len().max(in_b.len()) {
            let id = |side: &[Found]| side.get(place).map(|&(_, id)| id);
            let difference = Difference { kind, name, a: id(&in_a), b: id(&in_b) };
            match (difference.a, difference.b) {
                (Some(_), Some(_)) => counts.differ += 1,
                (Some(_), None) => counts.only_a += 1,
                _ => counts.only_b += 1,
            }
            differences.push(difference);
        }
    }
    differences.sort_by_key(|difference| (difference.kind, difference.name, difference.a, difference.b));
    Ok(Comparison { a, b, kinds, differences })
}

/// A type by its form.
type Found = (u32, TypeId);

/// Removes what both sides have, as multisets of forms, and tells how many.
fn remove_common(a: &mut Vec<Found>, b: &mut Vec<Found>) -> usize {
    a.sort_unstable();
    b.sort_unstable();
    let mut common = 0;
    let (mut left_a, mut left_b) = (Vec::new(), Vec::new());
    let (mut in_a, mut in_b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(&&x), Some(&&y)) = (in_a.peek(), in_b.peek()) {
        match x.0.cmp(&y.0) {
            std::cmp::Ordering::Equal => {
                common += 1;
                in_a.next();
                in_b.next();
            }
            std::cmp::Ordering::Less => left_a.extend(in_a.next()),
            std::cmp::Ordering::Greater => left_b.extend(in_b.next()),
        }
    }
    left_a.extend(in_a);
    left_b.extend(in_b);
    left_a.sort_unstable_by_key(|&(_, id)| id);
    left_b.sort_unstable_by_key(|&(_, id)| id);
    (*a, *b) = (left_a, left_b);
    common
}

/// Whether a reference to this type is written as kind and name. Tags have a text, not a name.
pub(crate) fn is_named(ty: &Type<'_>) -> bool {
    ty.name_offset() != StrOffset(0) && ty.kind() != Kind::TypeTag
}

/// The forms and strings of both blobs, numbered.
#[derive(Default)]
struct Table<'a> {
    strings: Map<&'a BStr, u32>,
    texts: Vec<&'a BStr>,
    forms: Map<Box<[u32]>, u32>,
}

impl<'a> Table<'a> {
    fn string(&mut self, text: &'a BStr) -> u32 {
        let Table { strings, texts, .. } = self;
        *strings.entry(text).or_insert_with(|| {
            texts.push(text);
            texts.len() as u32 - 1
        })
    }

    fn form(&mut self, words: &[u32]) -> u32 {
        if let Some(&form) = self.forms.get(words) {
            return form;
        }
        let next = FIRST_FORM + self.forms.len() as u32;
        self.forms.insert(words.into(), next);
        next
    }
}

// States and values of `Forms::of`.
const VOID: u32 = 0;
const NOT_YET: u32 = 1;
/// A type whose unnamed parts are being worked out; meeting it again there is a cycle.
const OPEN: u32 = 2;
const FIRST_FORM: u32 = 3;

// First words of a form.
const REFERENCE: u32 = 0;
const DEFINITION: u32 = 1;

/// Works out forms of one blob.
struct Forms<'a, 'table> {
    btf: &'a Btf<'a>,
    table: &'table mut Table<'a>,
    /// The numbers of the strings seen, by their offsets.
    strings: Map<StrOffset, u32>,
    /// For each id, the form of a reference to it, or a state.
    of: Vec<u32>,
}

impl<'a> Forms<'a, '_> {
    fn string(&mut self, offset: StrOffset) -> Result<u32> {
        if let Some(&number) = self.strings.get(&offset) {
            return Ok(number);
        }
        let number = self.table.string(self.btf.string(offset)?);
        self.strings.insert(offset, number);
        Ok(number)
    }

    /// Works out the forms of all that `root` refers to. Its own stack, since hostile input may nest as deep as it is long.
    fn prepare(&mut self, root: &Type<'a>) -> Result<()> {
        let mut stack = Vec::new();
        self.push_unknown(root, &mut stack)?;
        while let Some(&id) = stack.last() {
            let state = self.of[id.0 as usize];
            if state >= FIRST_FORM {
                stack.pop();
                continue;
            }
            let ty = self.btf.ty(id)?;
            if is_named(&ty) {
                let kind = match ty.kind() {
                    Kind::Fwd if ty.kind_flag() => Kind::Union,
                    Kind::Fwd => Kind::Struct,
                    kind => kind,
                };
                let name = self.string(ty.name_offset())?;
                self.of[id.0 as usize] = self.table.form(&[REFERENCE, kind as u32, name]);
            } else if state == NOT_YET {
                self.of[id.0 as usize] = OPEN;
                self.push_unknown(&ty, &mut stack)?;
            } else {
                self.of[id.0 as usize] = self.definition(&ty)?;
            }
        }
        Ok(())
    }

    /// Pushes what `ty` refers to and has no form yet.
    fn push_unknown(&self, ty: &Type<'_>, stack: &mut Vec<TypeId>) -> Result<()> {
        let count = self.btf.type_count();
        let mut push = |id: TypeId| match self.of.get(id.0 as usize) {
            _ if id == TypeId::VOID => Ok(()),
            None => Err(Error::NoSuchType { id, count }),
            Some(&OPEN) => Err(Error::Invalid {
                id,
                kind: ty.kind(),
                offset: ty.offset(),
                reason: "unnamed types contain each other in a cycle".to_owned(),
            }),
            Some(&NOT_YET) => {
                stack.push(id);
                Ok(())
            }
            Some(_) => Ok(()),
        };
        ty.target().into_iter().try_for_each(&mut push)?;
        ty.array().into_iter().flat_map(|array| [array.element, array.index]).try_for_each(&mut push)?;
        ty.members().map(|member| member.ty).try_for_each(&mut push)?;
        ty.params().map(|param| param.ty).try_for_each(&mut push)?;
        ty.section_vars().map(|var| var.ty).try_for_each(&mut push)
    }

    /// The form of a definition, once all it refers to is prepared.
    fn definition(&mut self, ty: &Type<'a>) -> Result<u32> {
        let name = self.string(ty.name_offset())?;
        let flag = ty.kind_flag() && !ty.kind().is_composite();
        let vlen = ty.vlen();
        let mut words = vec![DEFINITION, ty.kind() as u32, name, u32::from(flag), vlen];
        words.extend(ty.size());
        words.extend(ty.target().map(|id| self.reference(id)));
        words.extend(ty.linkage());
        words.extend(ty.component_index().map(|index| index as u32));
        if let Some(int) = ty.int() {
            words.extend([int.encoding, int.bit_offset, int.bits].map(u32::from));
        }
        if let Some(array) = ty.array() {
            words.extend([self.reference(array.element), self.reference(array.index), array.len]);
        }
        for member in ty.members() {
            let name = self.string(member.name)?;
            words.extend([name, self.reference(member.ty), member.bit_offset, member.bit_width.into()]);
        }
        for enumerator in ty.enumerators() {
            let name = self.string(enumerator.name)?;
            words.extend([name, enumerator.value as u32, (enumerator.value >> 32) as u32]);
        }
        for param in ty.params() {
            let name = self.string(param.name)?;
            words.extend([name, self.reference(param.ty)]);
        }
        for var in ty.section_vars() {
            words.extend([self.reference(var.ty), var.offset, var.size]);
        }
        Ok(self.table.form(&words))
    }

    fn reference(&self, id: TypeId) -> u32 {
        if id == TypeId::VOID { VOID } else { self.of[id.0 as usize] }
    }
}

/// How many differences of each kind, and lines of each difference, a report shows.
const MAX_SHOWN: usize = 10;

impl Comparison<'_> {
    /// Whether both blobs have the same named types.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    /// The lines of one difference: what only the first blob says with `-` before it, what only the second one says with `+`.
    fn lines(&self, difference: &Difference<'_>) -> Vec<String> {
        let describe = |btf: &Btf<'_>, id: Option<TypeId>| match id.map(|id| describe(btf, id)) {
            None => Vec::new(),
            Some(Ok(lines)) => lines,
            Some(Err(error)) => vec![error.to_string()],
        };
        let (a, b) = (describe(self.a, difference.a), describe(self.b, difference.b));
        let mut count: Map<&str, isize> = Map::default();
        for line in &a {
            *count.entry(line).or_default() += 1;
        }
        for line in &b {
            *count.entry(line).or_default() -= 1;
        }
        let marked = |mark: char, lines: &[String]| -> Vec<String> {
            let own =
                |line: &&String| (count[line.as_str()] > 0) == (mark == '-') && count[line.as_str()] != 0;
            lines.iter().filter(own).map(|line| format!("{mark} {line}")).collect()
        };
        let mut lines = [marked('-', &a), marked('+', &b)].concat();
        if lines.is_empty() {
            lines.push("the same lines in another order, or a difference deeper than is shown".to_owned());
        }
        lines
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:10} {:>8} {:>8} {:>8} {:>8}", "kind", "same", "differ", "only a", "only b")?;
        for (kind, counts) in &self.kinds {
            let KindCounts { same, differ, only_a, only_b } = counts;
            writeln!(f, "{kind:10} {same:>8} {differ:>8} {only_a:>8} {only_b:>8}")?;
        }
        for (&kind, counts) in &self.kinds {
            let of_kind = |both: bool| {
                let of_kind = self.differences.iter().filter(move |difference| difference.kind == kind);
                of_kind.filter(move |difference| (difference.a.is_some() && difference.b.is_some()) == both)
            };
            for difference in of_kind(true).chain(of_kind(false)).take(MAX_SHOWN) {
                let what = match (difference.a, difference.b) {
                    (Some(_), Some(_)) => "differs",
                    (Some(_), None) => "is only in a",
                    _ => "is only in b",
                };
                writeln!(f, "\n{kind} {} {what}", difference.name)?;
                let lines = self.lines(difference);
                for line in lines.iter().take(MAX_SHOWN) {
                    writeln!(f, "  {line}")?;
                }
                if lines.len() > MAX_SHOWN {
                    writeln!(f, "  … and {} more lines", lines.len() - MAX_SHOWN)?;
                }
            }
            let total = counts.differ + counts.only_a + counts.only_b;
            if total > MAX_SHOWN {
                writeln!(f, "\n… and {} more differences of kind {kind}", total - MAX_SHOWN)?;
            }
        }
        Ok(())
    }
}
