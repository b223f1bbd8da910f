//! The strings of a base, by what they spell.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};

use crate::build::Builder;
use crate::error::Result;
use crate::read::Btf;
use crate::refs::{Ref, visit_refs};
use crate::types::Type;
use crate::{StrOffset, TypeId};

/// Stands for a string that the base does not have.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// Where each string of a base is first found. Two names are the same exactly if their first offsets are.
pub(super) struct Texts<'a> {
    base: &'a Btf<'a>,
    /// Offset and length in bytes.
    table: HashTable<(u32, u32)>,
    /// The first offsets of strings that stand in the base more than once or end longer ones, by their own offsets.
    repeated: HashMap<u32, u32, RandomState>,
    /// Seeded at random: hostile strings cannot be chosen to collide. Nothing depends on the order of the table.
    hasher: RandomState,
}

impl<'a> Texts<'a> {
    pub(super) fn of(base: &'a Btf<'a>) -> Texts<'a> {
        let mut texts = Texts {
            base,
            table: HashTable::new(),
            repeated: HashMap::default(),
            hasher: RandomState::default(),
        };
        // The lowest offsets first, so that they are the ones found.
        let mut sections = Vec::new();
        let mut part = Some(base);
        while let Some(btf) = part {
            sections.push((btf.string_end() - btf.string_section().len() as u32, btf.string_section()));
            part = btf.base();
        }
        for (mut offset, section) in sections.into_iter().rev() {
            texts.table.reserve(section.len() / 24, |_| 0);
            for string in section.split_inclusive(|&byte| byte == 0) {
                let text = &string[..string.len() - 1];
                if !text.is_empty() {
                    let first = texts.add(text, offset);
                    if first != offset {
                        texts.repeated.insert(offset, first);
                    }
                }
                offset += string.len() as u32;
            }
        }
        texts
    }

    /// The first offset of a string, which is this one if the string is new.
    fn add(&mut self, text: &[u8], offset: u32) -> u32 {
        let Texts { base, table, hasher, .. } = self;
        let at = |&(offset, len): &(u32, u32)| slice(base, offset, len);
        match table.entry(
            hasher.hash_one(text),
            |place| at(place) == text,
            |place| hasher.hash_one(at(place)),
        ) {
            Entry::Occupied(place) => place.get().0,
            Entry::Vacant(slot) => {
                slot.insert((offset, text.len() as u32));
                offset
            }
        }
    }

    /// The first offset at which the base has this string; 0 for the empty one.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        if text.is_empty() {
            return Some(0);
        }
        let equal = |&(offset, len): &(u32, u32)| slice(self.base, offset, len) == text;
        self.table.find(self.hasher.hash_one(text), equal).map(|&(offset, _)| offset)
    }

    /// Adds a copy of a type of `from` to split BTF on this base, as [`Builder::add_copy`] does, but with the base's strings where it has them.
    ///
    /// # Errors
    /// When a string of the type is out of range in `from`, or longer than any name can be.
    pub(super) fn add_copy(
        &self,
        split: &mut Builder,
        from: &Btf<'_>,
        ty: &Type<'_>,
        mut ids: impl FnMut(TypeId) -> TypeId,
    ) -> Result<TypeId> {
        let mut record: Vec<u32> = ty.words().collect();
        let mut failed = Ok(());
        visit_refs(&mut record, |what, word| match what {
            Ref::Type => *word = if *word == 0 { 0 } else { ids(TypeId(*word)).0 },
            Ref::String => match from.copied_string(StrOffset(*word)) {
                Ok(text) => *word = self.find(text).unwrap_or_else(|| split.string(text).0),
                Err(error) => failed = Err(error),
            },
        });
        failed?;
        Ok(split.add_record(&record))
    }

    /// The first offset of the string at this offset of the base.
    pub(super) fn first(&mut self, offset: u32) -> Result<u32> {
        if let Some(&first) = self.repeated.get(&offset) {
            return Ok(first);
        }
        let Some(before) = offset.checked_sub(1) else { return Ok(0) };
        let tail = self.base.string_tail(StrOffset(offset))?;
        if tail[0] == 0 {
            return Ok(0);
        }
        if self.base.string_tail(StrOffset(before))?[0] == 0 {
            return Ok(offset);
        }
        // A name may be the end of a longer one.
        let text = self.base.copied_string(StrOffset(offset))?;
        let first = self.add(text, offset);
        self.repeated.insert(offset, first);
        Ok(first)
    }
}

fn slice<'a>(base: &Btf<'a>, offset: u32, len: u32) -> &'a [u8] {
    base.string_tail(StrOffset(offset)).map_or(&[], |tail| &tail[..len as usize])
}
