//! Deduplication: many units' types become one graph in which each type stands once.
//!
//! The result is what libbpf's `btf__dedup` means, reached another way. Libbpf collects all types of all units first and then compares
//! candidates pair by pair. Here types are interned while units are read, in parallel, and duplicates are never held:
//!
//! 1. [`Pool`] hash-conses records. References to named structs, unions and enums are symbols ("struct task_struct"), which breaks cycles and
//!    makes forward declarations equal to definitions.
//! 2. Where a symbol has one definition only, which is nearly everywhere, equal records *are* equal types.
//! 3. `symbols` finds the records for which that does not hold, because they reach a name with several definitions, and `context`
//!    splits those by what they mean in each unit.
//! 4. `emit` writes what is left, in the order of first appearance by unit and place. Nothing depends on the order in which threads did their work.
//!
//! A forward declaration resolves to the only definition of its name, stays one where there are several to choose from, and does
//! not keep two otherwise equal structs apart. Variables and sections are never merged.

mod context;
mod emit;
mod interner;
pub(crate) mod partition;
mod pool;
mod symbols;
mod unit;

use hashbrown::HashMap;

pub use interner::Shape;
pub use pool::{Name, Pool};
pub use unit::{Handle, LocalId, Unit, UnitTypes, head};

use crate::build::Builder;
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::read::Btf;
use crate::refs::{Ref, visit_refs};
use crate::{StrOffset, TypeId};
use context::Context;
use pool::{FrozenPool, GlobalRef};
use symbols::{Symbols, defined_by};

/// A function, variable, section or tag that follows the types in the result as it is, never merged with another.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The unit that the type belongs to, as an index into the units given to [`Pool::finish`].
    pub unit: u32,
    /// The name; of a tag its text.
    pub name: Name,
    /// The type: a FUNC's prototype, a VAR's type, what a tag is on.
    pub ty: Handle,
    /// What is declared.
    pub kind: DeclarationKind,
}

/// What a [`Declaration`] declares.
#[derive(Clone, Debug)]
pub enum DeclarationKind {
    /// A FUNC.
    Func {
        /// 0 static, 1 global, 2 extern.
        linkage: u32,
    },
    /// A VAR.
    Var {
        /// 0 static, 1 global, 2 extern.
        linkage: u32,
    },
    /// A DATASEC.
    Datasec {
        /// Size of the section in bytes.
        size: u32,
        /// Index of the VAR among the declarations, offset and size in bytes, sorted by offset.
        vars: Vec<(u32, u32, u32)>,
    },
    /// A DECL_TAG on a type, or on another declaration.
    DeclTag {
        /// Index of the declaration that it is on, unless it is on the type `ty`.
        on: Option<u32>,
        /// Member or parameter, or −1.
        component: i32,
    },
}

impl Pool {
    /// Which units must be interned again with their edges: those in which one symbol has several definitions.
    pub fn units_needing_edges(&self, units: &[UnitTypes], threads: usize) -> Vec<usize> {
        let ambiguous = self.ambiguous_definitions();
        if ambiguous.is_empty() {
            return Vec::new();
        }
        let mut is_ambiguous = vec![false; self.record_numbers()];
        for global in ambiguous.keys() {
            is_ambiguous[global.0 as usize] = true;
        }
        let needs_edges = |unit: &UnitTypes| {
            let mut own: HashMap<_, GlobalRef, foldhash::fast::RandomState> = HashMap::default();
            let mut there = unit.order.iter().filter(|global| is_ambiguous[global.0 as usize]);
            there.any(|&global| *own.entry(ambiguous[&global]).or_insert(global) != global)
        };
        let find = |range: std::ops::Range<usize>| -> Vec<usize> {
            range.filter(|&unit| units[unit].edges.is_none() && needs_edges(&units[unit])).collect()
        };
        let half = if threads > 1 { units.len() / 2 } else { 0 };
        std::thread::scope(|scope| {
            let first = (half > 0).then(|| scope.spawn(|| find(0..half)));
            let rest = find(half..units.len());
            let first =
                first.map(|first| first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            [first.unwrap_or_default(), rest].concat()
        })
    }

    /// The records that define a symbol which others define too, with their symbols.
    fn ambiguous_definitions(&self) -> HashMap<GlobalRef, GlobalRef, foldhash::fast::RandomState> {
        let mut first: HashMap<_, GlobalRef, foldhash::fast::RandomState> = HashMap::default();
        let mut ambiguous = HashMap::default();
        self.visit_records(|global, record| {
            if let Some((symbol, false)) = defined_by(record) {
                let first = *first.entry(symbol).or_insert(global);
                if first != global {
                    ambiguous.extend([(first, symbol), (global, symbol)]);
                }
            }
        });
        ambiguous
    }

    /// Puts everything together. `units` must be in an order that does not depend on threads, for the result follows it.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] when a section has too many variables for the format, [`crate::Error::PoolFull`] when names or types had no place.
    pub fn finish(&mut self, units: &[UnitTypes], declarations: &[Declaration]) -> Result<Builder> {
        self.check()?;
        let pool = self.freeze();
        let symbols = Symbols::of(&pool);
        put_together(&pool, &symbols, units, declarations)
    }

    /// [`Self::finish`] with the declarations that `declare` gives, which with more than one of `threads` is called in a thread of its own.
    ///
    /// # Errors
    /// As those of [`Self::finish`].
    pub fn finish_with(
        &mut self,
        units: &[UnitTypes],
        threads: usize,
        declare: impl FnOnce() -> Vec<Declaration> + Send,
    ) -> Result<Builder> {
        if threads < 2 {
            return self.finish(units, &declare());
        }
        self.check()?;
        let pool = self.freeze();
        let (symbols, declarations) = std::thread::scope(|scope| {
            let declarations = scope.spawn(declare);
            let symbols = Symbols::of(&pool);
            (symbols, declarations.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        put_together(&pool, &symbols, units, &declarations)
    }
}

fn put_together(
    pool: &FrozenPool<'_>,
    symbols: &Symbols,
    units: &[UnitTypes],
    declarations: &[Declaration],
) -> Result<Builder> {
    let roots = declarations.iter().map(|declaration| (declaration.unit, declaration.ty));
    let context = Context::of(pool, symbols, units, roots);
    emit::Emitter::new(pool, symbols, &context, units).emit(declarations)
}

/// Deduplicates the types of one BTF blob, such as the concatenation of many.
///
/// # Errors
/// When a type or string cannot be read, [`Error::NoSuchType`] for a reference to a type that is not there, and [`Error::NotSelfContained`] for
/// split BTF.
pub fn dedup(btf: &Btf<'_>) -> Result<Builder> {
    if btf.base().is_some() {
        return Err(Error::NotSelfContained { what: "deduplication" });
    }
    let count = btf.type_count();
    let mut pool = Pool::new();
    let mut unit = Unit::new(&pool);
    let mut declarations = Vec::new();
    // Where each VAR and DATASEC stands among the declarations; functions and types are merged by the pool.
    let mut kept: HashMap<TypeId, u32, foldhash::fast::RandomState> = HashMap::default();
    let is_variable = |id: TypeId| btf.ty(id).is_ok_and(|ty| matches!(ty.kind(), Kind::Var | Kind::Datasec));
    for ty in btf.types() {
        let ty = ty?;
        let mut words: Vec<u32> = ty.words().collect();
        let mut failed = Ok(());
        visit_refs(&mut words, |what, word| match what {
            Ref::String => match btf.copied_string(StrOffset(*word)) {
                Ok(string) => *word = pool.name(string).word(),
                Err(error) => failed = Err(error),
            },
            Ref::Type if *word >= count => failed = Err(Error::NoSuchType { id: TypeId(*word), count }),
            Ref::Type => {}
        });
        failed?;
        let keep = match ty.kind() {
            Kind::Var | Kind::Datasec => true,
            Kind::DeclTag => ty.target().is_some_and(is_variable),
            _ => false,
        };
        if keep {
            // Keeps local ids equal to the blob's.
            unit.reserve();
            kept.insert(ty.id(), declarations.len() as u32);
            declarations.push(ty);
        } else {
            unit.push([words[0], words[1], words[2]], &words[3..]);
        }
    }
    let types = unit.intern(true);
    let declarations = declarations
        .into_iter()
        .map(|ty| {
            let on = ty.target().and_then(|target| kept.get(&target).copied());
            let kind = match ty.kind() {
                Kind::Datasec => {
                    let vars = ty
                        .section_vars()
                        .filter_map(|var| Some((*kept.get(&var.ty)?, var.offset, var.size)))
                        .collect();
                    DeclarationKind::Datasec { size: ty.size_or_type(), vars }
                }
                Kind::DeclTag => {
                    DeclarationKind::DeclTag { on, component: ty.component_index().unwrap_or(-1) }
                }
                _ => DeclarationKind::Var { linkage: ty.linkage().unwrap_or(0) },
            };
            let target = ty.target().filter(|_| on.is_none()).map_or(LocalId(0), |target| LocalId(target.0));
            let name = pool.name(btf.copied_string(ty.name_offset())?);
            Ok(Declaration { unit: 0, name, ty: unit.handle(target, true), kind })
        })
        .collect::<Result<Vec<_>>>()?;
    pool.finish(&[types], &declarations)
}
