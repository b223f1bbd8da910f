//! Which parts of a kernel's types are kept.

use btf::{Kind, Type, TypeId};
use hashbrown::{HashMap, HashSet};

use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::trace::Event;

/// The size of pointers that loaders assume when no type `long` tells it.
const DEFAULT_POINTER_SIZE: u32 = 8;

/// The types kept, with their parts. What a kept record refers to is kept too, except what pointers point to (then they point to void) and members that nobody
/// asked for.
#[derive(Debug)]
pub(crate) struct Keep {
    types: HashMap<TypeId, Parts, foldhash::fast::FixedState>,
    pointer_size: bool,
    shorten: bool,
    /// Types whose names are left out, so that nobody finds them.
    hidden: HashSet<TypeId, foldhash::fast::FixedState>,
}

/// What is kept of one type beyond its own record.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// For a struct, union or enum: its members or enumerators.
    pub(crate) elements: Indices,
    /// So many elements at least.
    at_least: u32,
    /// An element after each of these.
    not_last: Indices,
}

/// A set of indices of members or enumerators.
#[derive(Debug, Default)]
pub(crate) struct Indices(Vec<u64>);

impl Keep {
    /// Nothing. With `shorten`, a kept record refers to a type without the typedefs and qualifiers in between, which no relocation looks at below
    /// its root.
    pub(crate) fn new(shorten: bool) -> Keep {
        Keep { types: HashMap::default(), pointer_size: false, shorten, hidden: HashSet::default() }
    }

    /// Which type a kept record refers to in place of `id`.
    pub(crate) fn reference(&self, kernel: &Kernel<'_>, id: TypeId) -> TypeId {
        if !self.shorten {
            return id;
        }
        kernel.types().skip(id).map_or(id, |place| place.id)
    }

    /// Keeps what these facts are about.
    pub(crate) fn add(&mut self, kernel: &Kernel<'_>, events: &[Event]) -> Result<()> {
        for &event in events {
            match event {
                Event::Type(id) => self.keep(kernel, id)?,
                Event::Member(id, index) => self.keep_member(kernel, id, index)?,
                Event::Enumerator(id, index) => {
                    self.parts(kernel, id)?.elements.insert(index);
                }
                Event::NotLast(id, index) => {
                    self.parts(kernel, id)?.not_last.insert(index);
                }
                Event::AtLeast(id, count) => {
                    let at_least = &mut self.parts(kernel, id)?.at_least;
                    *at_least = count.max(*at_least);
                }
                Event::Pointee(id) => {
                    let pointee = kernel.btf().ty(id)?.target().unwrap_or_default();
                    self.keep_reference(kernel, pointee)?;
                }
                Event::PointerSize => self.pointer_size = true,
            }
        }
        Ok(())
    }

    /// Leaves out a type's name.
    pub(crate) fn hide(&mut self, id: TypeId) {
        self.hidden.insert(id);
    }

    pub(crate) fn is_hidden(&self, id: TypeId) -> bool {
        self.hidden.contains(&id)
    }

    /// Keeps the type that tells the size of pointers.
    ///
    /// # Errors
    /// [`Error::PointerSize`] when there is none.
    pub(crate) fn add_long(&mut self, kernel: &Kernel<'_>) -> Result<()> {
        let long = kernel.long().ok_or(Error::PointerSize { size: kernel.pointer_size() })?;
        self.keep(kernel, long)
    }

    /// Adds what the facts leave open: any elements to have enough of them, and the size of pointers.
    pub(crate) fn complete(&mut self, kernel: &Kernel<'_>) -> Result<()> {
        let mut padding = Vec::new();
        for (&id, parts) in &self.types {
            let wanted = (parts.at_least as usize).saturating_sub(parts.elements.len());
            if wanted > 0 {
                let vlen = kernel.btf().ty(id)?.vlen();
                let free = (0..vlen).filter(|&index| !parts.elements.contains(index));
                padding.extend(free.take(wanted).map(|index| (id, index)));
            }
            if let (Some(last), Some(not_last)) = (parts.elements.last(), parts.not_last.last())
                && last <= not_last
            {
                padding.push((id, not_last + 1));
            }
        }
        for (id, index) in padding {
            if kernel.btf().ty(id)?.kind().is_composite() {
                self.keep_member(kernel, id, index)?;
            } else {
                self.parts(kernel, id)?.elements.insert(index);
            }
        }
        if self.pointer_size && kernel.pointer_size() != DEFAULT_POINTER_SIZE {
            self.add_long(kernel)?;
        }
        Ok(())
    }

    /// The types kept, in ascending order of ids.
    pub(crate) fn sorted(&self) -> Vec<(TypeId, &Parts)> {
        let mut types: Vec<_> = self.types.iter().map(|(&id, parts)| (id, parts)).collect();
        types.sort_unstable_by_key(|&(id, _)| id);
        types
    }

    /// Whether the size of pointers counts.
    pub(crate) fn needs_pointer_size(&self) -> bool {
        self.pointer_size
    }

    /// How much is kept; grows with everything that is added.
    pub(crate) fn weight(&self) -> usize {
        let parts = |parts: &Parts| parts.elements.len() + parts.not_last.len() + parts.at_least as usize;
        self.types.len()
            + self.hidden.len()
            + self.types.values().map(parts).sum::<usize>()
            + usize::from(self.pointer_size)
    }

    /// Keeps a type and what its record always refers to.
    fn keep(&mut self, kernel: &Kernel<'_>, id: TypeId) -> Result<()> {
        let mut next = Some(id);
        let mut left = Vec::new();
        while let Some(id) = next {
            if id != TypeId::VOID && !self.types.contains_key(&id) {
                let ty = kernel.btf().ty(id)?;
                self.types.insert(id, Parts::default());
                push_always_kept(&ty, &mut left);
            }
            next = left.pop().map(|id| self.reference(kernel, id));
        }
        Ok(())
    }

    fn keep_reference(&mut self, kernel: &Kernel<'_>, id: TypeId) -> Result<()> {
        self.keep(kernel, self.reference(kernel, id))
    }

    fn keep_member(&mut self, kernel: &Kernel<'_>, id: TypeId, index: u32) -> Result<()> {
        if self.parts(kernel, id)?.elements.insert(index)
            && let Some(member) = kernel.btf().ty(id)?.member(index)
        {
            self.keep_reference(kernel, member.ty)?;
        }
        Ok(())
    }

    fn parts(&mut self, kernel: &Kernel<'_>, id: TypeId) -> Result<&mut Parts> {
        self.keep(kernel, id)?;
        Ok(self.types.entry(id).or_default())
    }
}

/// What a record refers to, except what a pointer points to and members.
fn push_always_kept(ty: &Type<'_>, left: &mut Vec<TypeId>) {
    if ty.kind() != Kind::Ptr {
        left.extend(ty.target());
        left.extend(ty.params().map(|param| param.ty));
        left.extend(ty.array().into_iter().flat_map(|array| [array.element, array.index]));
    }
}

impl Indices {
    /// Adds an index; tells whether it is new.
    fn insert(&mut self, index: u32) -> bool {
        let (word, bit) = (index as usize / 64, 1 << (index % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.0.get(index as usize / 64).is_some_and(|word| word & 1 << (index % 64) != 0)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().enumerate().flat_map(|(at, &word)| {
            (0..64).filter(move |bit| word & 1 << bit != 0).map(move |bit| at as u32 * 64 + bit)
        })
    }

    fn last(&self) -> Option<u32> {
        self.iter().last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that indices are kept once and come back in order.
    #[test]
    fn indices() {
        let mut indices = Indices::default();
        assert_eq!(indices.last(), None);
        assert!(indices.insert(130) && indices.insert(0) && indices.insert(63) && !indices.insert(130));
        assert_eq!(indices.iter().collect::<Vec<_>>(), [0, 63, 130]);
        assert_eq!((indices.len(), indices.last()), (3, Some(130)));
        assert!(indices.contains(63) && !indices.contains(64) && !indices.contains(1000));
    }
}
