//! Whether a module's embedded BTF was made for a given base.
//!
//! Nothing in split BTF names its base: it holds ids and string offsets that continue those of the very blob it was made for, and on another
//! one they would mean something else, mostly without looking wrong. So besides being valid, it must fit like a key: every string that it uses
//! begins where a string begins, in the base or in its own section, and it uses most of its own. A base of another length moves all
//! of its own strings; one of the same length with other strings is told by those that the module takes from it.

use std::collections::HashSet;

use btf::{Btf, Ref, StrOffset, ValidateOptions, visit_refs};

/// Why a module's BTF does not belong to a base.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Foreign {
    /// It cannot be read or is not valid there.
    #[error("{0}")]
    Invalid(#[from] btf::Error),
    /// A string offset that is in the middle of a string.
    #[error("string offset {0} is in the middle of a string there")]
    MiddleOfString(u32),
    /// Its own strings are not those that its types use.
    #[error("its types do not use its own string at offset {0}")]
    UnusedString(u32),
    /// It stands on a distilled base, which has to be related to the kernel's first.
    #[error(
        "it is for any base that has the types named in its section .BTF.base, which only the kernel and libbpf look up"
    )]
    Distilled,
}

/// Checks that split BTF belongs to the base. Returns the number of its own types.
pub(super) fn check(bytes: &[u8], base: &Btf<'_>, options: &ValidateOptions) -> Result<usize, Foreign> {
    let split = Btf::parse_split(bytes, base)?;
    btf::validate(&split, options)?;
    let (first, own) = (base.string_end(), split.string_section());
    let mut used = HashSet::new();
    for ty in split.types() {
        let mut words: Vec<u32> = ty?.words().collect();
        let mut middle = None;
        visit_refs(&mut words, |what, word| {
            if what == Ref::String && *word != 0 && used.insert(*word) {
                let (strings, at) = match word.checked_sub(first) {
                    Some(at) => (own, at),
                    None => (base.string_section(), *word),
                };
                // The first string of split BTF follows the last one of its base.
                let begins = at == 0 || strings.get(at as usize - 1) == Some(&0);
                if !begins {
                    middle = Some(*word);
                }
            }
        });
        if let Some(offset) = middle {
            return Err(Foreign::MiddleOfString(offset));
        }
    }
    let (mut at, mut count, mut unused) = (0, 0_usize, Vec::new());
    for string in own.split_inclusive(|&byte| byte == 0) {
        let offset = StrOffset(first + at);
        // An encoder may begin the section with the empty string, as self-contained BTF does.
        if string != [0] {
            count += 1;
            if !used.contains(&offset.0) {
                unused.push(offset.0);
            }
        }
        at += string.len() as u32;
    }
    // Encoders leave the names of a few types that they have merged with the base's.
    match unused.first() {
        Some(&offset) if unused.len() * 2 > count => Err(Foreign::UnusedString(offset)),
        _ => Ok(split.types().len()),
    }
}
