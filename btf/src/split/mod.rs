//! Split BTF: a module's types on top of its kernel's.
//!
//! The kernel's BTF is the base. Ids and string offsets of the split BTF continue the base's (`Documentation/bpf/btf.rst`, libbpf's
//! `btf__dedup` with a base). [`BaseIndex::of`] looks at the base once; [`BaseIndex::split`] then takes time proportional to the module alone:
//!
//! 1. `texts` finds the base's strings;
//! 2. `shape` makes records comparable across blobs;
//! 3. `index` finds the base's types by shape;
//! 4. `relate` decides which of them a module's types are;
//! 5. the rest is written here, in the module's order.
//!
//! [`distill`] makes split BTF independent of the exact base it was made for.

mod distill;
mod index;
mod relate;
mod shape;
mod texts;

pub use distill::{Distilled, distill};
pub use index::BaseIndex;

use crate::TypeId;
use crate::build::Builder;
use crate::error::{Error, Result};
use crate::read::Btf;
use shape::Graph;
use texts::UNKNOWN;

/// Stands for a string that was not looked for yet.
const NOT_YET: u32 = UNKNOWN - 1;

/// What became of a module's types: split BTF, and where each type went.
#[derive(Clone, Debug)]
pub struct Split {
    /// The types that the base does not have, to be written with [`Builder::finish`] and read with [`Btf::parse_split`].
    pub builder: Builder,
    /// For each type of the module, by its id, what it is called now: an id of the base, or one of the split BTF. Void comes first.
    pub ids: Vec<TypeId>,
}

impl BaseIndex<'_> {
    /// Makes split BTF of a module's self-contained BTF, in which no type stands twice (see [`crate::dedup`]).
    ///
    /// A type that is equal to one of the base, with all that it refers to, becomes that one; cyclic types too. The rest stays,
    /// in order. FUNC, VAR and DATASEC always stay, for they are the module's; so does what tags them. A DECL_TAG that the base has on the
    /// same type does not. A declaration (FWD) becomes the base's struct or union where that is the only one of its name. A struct that is defined in the module
    /// and only declared in the base stays, with all that reaches it.
    ///
    /// # Errors
    /// [`Error::NotSelfContained`] for a module that is split BTF itself (see [`crate::flatten`]), [`Error::BaseEndian`] where byte orders differ,
    /// and what reading the module's types may answer.
    pub fn split(&self, module: &Btf<'_>) -> Result<Split> {
        if module.base().is_some() {
            return Err(Error::NotSelfContained { what: "making split BTF" });
        }
        if module.endian() != self.base().endian() {
            return Err(Error::BaseEndian);
        }
        let mut known = vec![NOT_YET; module.string_section().len()];
        let graph = Graph::of(module, |name| match known.get_mut(name.0 as usize) {
            Some(known) if *known != NOT_YET => Ok(*known),
            known => {
                let text = module.copied_string(name)?;
                let found = self.texts.find(text).unwrap_or(UNKNOWN);
                if let Some(known) = known {
                    *known = found;
                }
                Ok(found)
            }
        })?;
        let shaped = shape::shape(&graph, |words| self.shapes.find(words));
        let found = relate::relate(self, &graph, &shaped);

        let mut builder = Builder::split(self.base());
        let mut next = builder.next_id().0;
        let ids: Vec<TypeId> = (0..graph.len())
            .map(|id| {
                if id == 0 || found[id as usize] != 0 {
                    return TypeId(found[id as usize]);
                }
                next += 1;
                TypeId(next - 1)
            })
            .collect();
        for ty in module.types() {
            let ty = ty?;
            if found[ty.id().0 as usize] == 0 {
                self.texts.add_copy(&mut builder, module, &ty, |id| ids[id.0 as usize])?;
            }
        }
        Ok(Split { builder, ids })
    }
}
