//! What types are called in C: one name for one thing, and only names that C accepts.

use std::borrow::Cow;
use std::collections::HashMap;

use bstr::ByteSlice;

use crate::error::Result;
use crate::kind::Kind;
use crate::read::Btf;
use crate::types::Type;
use crate::{StrOffset, TypeId};

/// Words that cannot be names: C's keywords and those that compilers reserve beside them.
const KEYWORDS: [&str; 58] = [
    "_Alignas",
    "_Alignof",
    "_Atomic",
    "_Bool",
    "_Complex",
    "_Float16",
    "_Generic",
    "_Imaginary",
    "_Noreturn",
    "_Static_assert",
    "_Thread_local",
    "__alignof__",
    "__asm",
    "__asm__",
    "__attribute__",
    "__auto_type",
    "__const",
    "__extension__",
    "__inline",
    "__inline__",
    "__int128",
    "__restrict",
    "__signed__",
    "__typeof__",
    "__volatile__",
    "asm",
    "auto",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "typedef",
    "union",
    "unsigned",
    "void",
];
/// Keywords too, which would not fit above in order.
const MORE_KEYWORDS: [&str; 3] = ["typeof", "volatile", "while"];
/// The longest name printed, in bytes: what a kernel accepts (`KSYM_NAME_LEN`).
const MAX_NAME: usize = 511;

/// How an INT or FLOAT is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    /// With words of C that have its size on the kernel.
    Plain(String),
    /// By a name that C does not know: a typedef of words that C knows.
    Alias {
        /// What it is called.
        name: String,
        /// What it is. `None`: nothing in C has this size; it becomes a struct of bytes.
        of: Option<&'static str>,
    },
}

/// The names of one blob's types.
pub(super) struct Names {
    /// Of structs, unions, enums, forward declarations and typedefs, by id; empty for unnamed ones and other kinds.
    of: Vec<Box<str>>,
    scalars: HashMap<u32, Scalar>,
    /// Typedefs, functions, enumerators: how often each name was asked for.
    ordinary: HashMap<Box<str>, u32>,
}

/// Structs, unions and enums share one space of names in C.
#[derive(Default)]
struct Tags {
    /// What each tag is (the kind of its definition), and how often it was asked for.
    known: HashMap<Box<str>, (Kind, u32)>,
}

impl Names {
    pub(super) fn new(btf: &Btf<'_>, pointer_size: u32) -> Result<Names> {
        let count = btf.type_count() as usize;
        let mut names =
            Names { of: vec![Box::default(); count], scalars: HashMap::new(), ordinary: HashMap::new() };
        let mut tags = Tags::default();
        let mut declared = Vec::new();
        for id in 1..btf.type_count() {
            let ty = btf.ty(TypeId(id))?;
            let kind = ty.kind();
            if matches!(kind, Kind::Int | Kind::Float) {
                let scalar = names.scalar(btf, &ty, pointer_size)?;
                names.scalars.insert(id, scalar);
                continue;
            }
            let named =
                kind.is_composite() || kind.is_any_enum() || matches!(kind, Kind::Typedef | Kind::Fwd);
            if !named || ty.name_offset().0 == 0 {
                continue;
            }
            let name = identifier(btf, ty.name_offset())?;
            names.of[id as usize] = match kind {
                Kind::Fwd => {
                    declared.push((id, ty.kind_flag(), name.into_owned()));
                    continue;
                }
                Kind::Typedef => names.ordinary(&name).into(),
                _ => tags.define(&name, kind).into(),
            };
        }
        // After the definitions, whose names they share.
        for (id, is_union, name) in declared {
            let kind = if is_union { Kind::Union } else { Kind::Struct };
            names.of[id as usize] = tags.declare(&name, kind).into();
        }
        Ok(names)
    }

    /// The name of a struct, union, enum, forward declaration or typedef; empty where it has none.
    pub(super) fn of(&self, id: TypeId) -> &str {
        self.of.get(id.0 as usize).map_or("", |name| name)
    }

    /// How an INT or FLOAT is written.
    pub(super) fn scalar_of(&self, id: TypeId) -> Option<&Scalar> {
        self.scalars.get(&id.0)
    }

    /// A name among typedefs, functions and enumerators that nothing else has: with a flavour where it is taken.
    pub(super) fn ordinary(&mut self, name: &str) -> String {
        let mut taken = |name: &str| match self.ordinary.get_mut(name) {
            Some(count) => {
                *count += 1;
                Some(*count)
            }
            None => {
                self.ordinary.insert(name.into(), 1);
                None
            }
        };
        let Some(mut count) = taken(name) else { return name.to_owned() };
        loop {
            let flavoured = format!("{name}___{count}");
            if taken(&flavoured).is_none() {
                return flavoured;
            }
            count += 1;
        }
    }

    fn scalar(&mut self, btf: &Btf<'_>, ty: &Type<'_>, pointer_size: u32) -> Result<Scalar> {
        let size = ty.size().unwrap_or(0);
        let name = btf.name(ty)?.to_str_lossy();
        if ty.kind() == Kind::Float {
            let of = match size {
                4 => Some("float"),
                8 => Some("double"),
                _ => None,
            };
            return Ok(match of {
                Some(word) if word == name => Scalar::Plain(name.into_owned()),
                of => Scalar::Alias { name: self.alias(btf, ty)?, of },
            });
        }
        let encoding = ty.int().map_or(0, |int| int.encoding);
        if words_size(&name, pointer_size) == Some(size) {
            return Ok(Scalar::Plain(name.into_owned()));
        }
        let of = integer_of(size, encoding);
        match of {
            // BTF's name for it is a keyword of newer C only, or a name of another compiler for what C has.
            Some(word) if name == "bool" || words_size(&name, 8).is_some() => {
                Ok(Scalar::Plain(word.to_owned()))
            }
            of => Ok(Scalar::Alias { name: self.alias(btf, ty)?, of }),
        }
    }

    fn alias(&mut self, btf: &Btf<'_>, ty: &Type<'_>) -> Result<String> {
        let name = identifier(btf, ty.name_offset())?;
        Ok(self.ordinary(&name))
    }
}

impl Tags {
    fn define(&mut self, name: &str, kind: Kind) -> String {
        let kind = if kind == Kind::Enum64 { Kind::Enum } else { kind };
        let Some((_, count)) = self.known.get_mut(name) else {
            self.known.insert(name.into(), (kind, 1));
            return name.to_owned();
        };
        *count += 1;
        let mut count = *count;
        loop {
            let flavoured = format!("{name}___{count}");
            if !self.known.contains_key(flavoured.as_str()) {
                self.known.insert(flavoured.as_str().into(), (kind, 1));
                return flavoured;
            }
            count += 1;
        }
    }

    /// The tag that a forward declaration means: the definition of the same name and kind, if there is one.
    fn declare(&mut self, name: &str, kind: Kind) -> String {
        match self.known.get(name) {
            Some((known, _)) if *known == kind => name.to_owned(),
            _ => self.define(name, kind),
        }
    }
}

/// The size in bytes of the integer that C's words mean, `long` being as large as a pointer. `None`: not C's words.
fn words_size(name: &str, pointer_size: u32) -> Option<u32> {
    let (mut signs, mut ints, mut chars, mut shorts, mut longs, mut wide, mut bools) = (0, 0, 0, 0, 0, 0, 0);
    for word in name.split(' ') {
        let count = match word {
            "signed" | "unsigned" => &mut signs,
            "int" => &mut ints,
            "char" => &mut chars,
            "short" => &mut shorts,
            "long" => &mut longs,
            "__int128" => &mut wide,
            "_Bool" => &mut bools,
            _ => return None,
        };
        *count += 1;
    }
    match (signs, ints, chars, shorts, longs, wide, bools) {
        (0, 0, 0, 0, 0, 0, 1) => Some(1),
        (0 | 1, 0, 1, 0, 0, 0, 0) => Some(1),
        (0 | 1, 0 | 1, 0, 1, 0, 0, 0) => Some(2),
        (0 | 1, 0 | 1, 0, 0, 1, 0, 0) => Some(pointer_size),
        (0 | 1, 0 | 1, 0, 0, 2, 0, 0) => Some(8),
        (0 | 1, 0, 0, 0, 0, 1, 0) => Some(16),
        (0 | 1, 1, 0, 0, 0, 0, 0) | (1, 0, 0, 0, 0, 0, 0) => Some(4),
        _ => None,
    }
}

/// C's integer of this size in bytes, with BTF's encoding.
fn integer_of(size: u32, encoding: u8) -> Option<&'static str> {
    let signed = encoding & crate::kind::INT_SIGNED != 0;
    if encoding & crate::kind::INT_BOOL != 0 && size == 1 {
        return Some("_Bool");
    }
    Some(match (size, signed) {
        (1, true) => "signed char",
        (1, false) => "unsigned char",
        (2, true) => "short",
        (2, false) => "unsigned short",
        (4, true) => "int",
        (4, false) => "unsigned int",
        (8, true) => "long long",
        (8, false) => "unsigned long long",
        (16, true) => "__int128",
        (16, false) => "unsigned __int128",
        _ => return None,
    })
}

/// A string of the blob as an identifier that C accepts: other characters become `_`, keywords and the compiler's own names get a flavour.
pub(crate) fn identifier<'a>(btf: &Btf<'a>, offset: StrOffset) -> Result<Cow<'a, str>> {
    let name = btf.string(offset)?;
    let name = &name[..name.len().min(MAX_NAME)];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut out = match name.to_str() {
        Ok(text) if text.bytes().all(plain) => Cow::Borrowed(text),
        _ => Cow::Owned(name.iter().map(|&byte| if plain(byte) { char::from(byte) } else { '_' }).collect()),
    };
    if out.starts_with(|first: char| first.is_ascii_digit()) {
        out = Cow::Owned(format!("_{out}"));
    }
    let text = &*out;
    if KEYWORDS.binary_search(&text).is_ok()
        || MORE_KEYWORDS.contains(&text)
        || text.starts_with("__builtin_")
    {
        out = Cow::Owned(format!("{out}___1"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that the list can be searched by halves.
    #[test]
    fn keywords_in_order() {
        assert!(KEYWORDS.is_sorted());
    }

    /// Check which words are C's, and how large.
    #[test]
    fn sizes_of_words() {
        for (name, size) in [
            ("int", Some(4)),
            ("unsigned int", Some(4)),
            ("long unsigned int", Some(8)),
            ("unsigned long", Some(8)),
            ("long long int", Some(8)),
            ("short unsigned int", Some(2)),
            ("unsigned char", Some(1)),
            ("char", Some(1)),
            ("_Bool", Some(1)),
            ("__int128 unsigned", Some(16)),
            ("unsigned __int128", Some(16)),
            ("char int", None),
            ("long long long", None),
            ("u8", None),
            ("__ARRAY_SIZE_TYPE__", None),
            ("", None),
        ] {
            assert_eq!(words_size(name, 8), size, "{name}");
        }
        assert_eq!(words_size("long int", 4), Some(4));
    }
}
