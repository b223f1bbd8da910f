//! BTF from random models: any kinds, any references, either byte order, every header.

use proptest::collection::vec;
use proptest::prelude::*;

/// Words behind the first three: once, and of each element. `n` a name, `t` a type, `o` another word.
const KINDS: [(&str, &str, &str); 20] = [
    ("o", "", ""),
    ("o", "o", ""),
    ("t", "", ""),
    ("o", "tto", ""),
    ("o", "", "nto"),
    ("o", "", "nto"),
    ("o", "", "no"),
    ("o", "", ""),
    ("t", "", ""),
    ("t", "", ""),
    ("t", "", ""),
    ("t", "", ""),
    ("t", "", ""),
    ("t", "", "nt"),
    ("t", "o", ""),
    ("o", "", "too"),
    ("o", "", ""),
    ("t", "o", ""),
    ("t", "", ""),
    ("o", "", "noo"),
];

/// A type of some kind; what its numbers mean the kind tells.
#[derive(Clone, Debug)]
pub(crate) struct Type {
    pub(crate) kind: u8,
    pub(crate) flag: bool,
    pub(crate) name: u8,
    pub(crate) third: u32,
    pub(crate) fixed: [u32; 3],
    pub(crate) elements: Vec<[u32; 3]>,
}

/// A blob.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) types: Vec<Type>,
    /// The order of the strings.
    pub(crate) strings: Vec<u8>,
    pub(crate) form: Form,
}

/// How a blob is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Form {
    pub(crate) big_endian: bool,
    pub(crate) layout: bool,
    pub(crate) strings_first: bool,
}

/// A type of any kind, in a blob with a few dozen types and names.
pub(crate) fn a_type() -> impl Strategy<Value = Type> {
    let word = || prop_oneof![20 => 0..40_u32, 1 => any::<u32>()];
    let elements = vec([word(), word(), word()], 0..6);
    (1..20_u8, any::<bool>(), 0..40_u8, word(), [word(), word(), word()], elements).prop_map(
        |(kind, flag, name, third, fixed, elements)| Type { kind, flag, name, third, fixed, elements },
    )
}

/// A blob of up to `types` types.
pub(crate) fn model(types: usize) -> impl Strategy<Value = Model> {
    let form = (any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(big_endian, layout, strings_first)| Form { big_endian, layout, strings_first });
    let strings = Just((0..40).collect::<Vec<u8>>()).prop_shuffle();
    (vec(a_type(), 0..types), strings, form).prop_map(|(types, strings, form)| Model { types, strings, form })
}

/// A change that one kernel's types may have over another's.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, Type),
    Swap(prop::sample::Index, prop::sample::Index),
    Rename(prop::sample::Index, u8),
    Elements(prop::sample::Index, Vec<[u32; 3]>),
    Word(prop::sample::Index, u32),
    Strings(Vec<u8>),
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    let strings = Just((0..40).collect::<Vec<u8>>()).prop_shuffle();
    prop_oneof![
        index().prop_map(Change::Remove),
        (index(), a_type()).prop_map(|(at, ty)| Change::Insert(at, ty)),
        (index(), index()).prop_map(|(a, b)| Change::Swap(a, b)),
        (index(), 0..60_u8).prop_map(|(at, name)| Change::Rename(at, name)),
        (index(), vec([0..40_u32, 0..40_u32, 0..40_u32], 0..6))
            .prop_map(|(at, elements)| Change::Elements(at, elements)),
        (index(), 0..40_u32).prop_map(|(at, word)| Change::Word(at, word)),
        strings.prop_map(Change::Strings),
    ]
}

impl Model {
    pub(crate) fn change(&mut self, change: &Change) {
        let types = &mut self.types;
        let len = types.len();
        match change {
            Change::Strings(strings) => self.strings.clone_from(strings),
            Change::Insert(at, ty) => types.insert(at.index(len + 1), ty.clone()),
            _ if types.is_empty() => {}
            Change::Remove(at) => drop(types.remove(at.index(len))),
            Change::Swap(a, b) => types.swap(a.index(len), b.index(len)),
            Change::Rename(at, name) => types[at.index(len)].name = *name,
            Change::Elements(at, elements) => {
                types[at.index(len)].elements.clone_from(elements);
            }
            Change::Word(at, word) => types[at.index(len)].third = *word,
        }
    }

    /// The blob's bytes.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut strings = vec![0];
        let mut offsets = [0; 256];
        // Names beyond those in the list come last.
        for name in self.strings.iter().copied().chain(40..60).filter(|name| *name != 0) {
            offsets[usize::from(name)] = strings.len() as u32;
            strings.extend(format!("name_{name}\0").bytes());
        }
        let mut words = Vec::new();
        for ty in &self.types {
            let (third, fixed, element) = KINDS[usize::from(ty.kind)];
            let value = |class, value: u32| if class == 'n' { offsets[value as usize % 40] } else { value };
            // A function's count is its linkage.
            let count = match (element.is_empty(), ty.kind) {
                (false, _) => ty.elements.len() as u32,
                (true, 12) => ty.fixed[0] % 3,
                (true, _) => 0,
            };
            words.push(offsets[usize::from(ty.name)]);
            words.push(u32::from(ty.flag) << 31 | u32::from(ty.kind) << 24 | count);
            words.extend(third.chars().map(|class| value(class, ty.third)));
            words.extend(fixed.chars().zip(ty.fixed).map(|(class, word)| value(class, word)));
            if !element.is_empty() {
                for numbers in &ty.elements {
                    words.extend(element.chars().zip(*numbers).map(|(class, word)| value(class, word)));
                }
            }
        }
        self.form.write(&words, &strings)
    }
}

impl Form {
    fn write(self, words: &[u32], strings: &[u8]) -> Vec<u8> {
        let word = |word: u32| if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
        let mut strings = strings.to_vec();
        if self.strings_first {
            // What follows begins at a multiple of four.
            while !strings.len().is_multiple_of(4) {
                strings.splice(strings.len()..strings.len(), *b"\0");
            }
        }
        let (types_len, strings_len) = (words.len() as u32 * 4, strings.len() as u32);
        // As many entries as there are kinds: bytes once, bytes of an element, two of flags.
        let layout: Vec<u8> = if self.layout {
            KINDS
                .iter()
                .flat_map(|(_, fixed, element)| [fixed.len() as u8 * 4, element.len() as u8 * 4, 0, 0])
                .collect()
        } else {
            Vec::new()
        };
        let layout_len = layout.len() as u32;
        let (types, strings_at) = match (self.strings_first, layout_len) {
            (true, len) => (len + strings_len, len),
            (false, len) => (len, len + types_len),
        };
        let header_len = if self.layout { 32 } else { 24 };
        let mut out = if self.big_endian { vec![0xeb, 0x9f, 1, 0] } else { vec![0x9f, 0xeb, 1, 0] };
        for number in [header_len, types, types_len, strings_at, strings_len] {
            out.extend(word(number));
        }
        if self.layout {
            out.extend([0, layout_len].map(word).concat());
        }
        out.extend(layout);
        let types: Vec<u8> = words.iter().flat_map(|number| word(*number)).collect();
        if self.strings_first {
            out.extend(strings);
            out.extend(types);
        } else {
            out.extend(types);
            out.extend(strings);
        }
        out
    }
}
