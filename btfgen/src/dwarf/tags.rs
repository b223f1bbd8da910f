//! Tags: what people write as `btf_decl_tag` and `btf_type_tag`.
//!
//! clang puts a `DW_TAG_LLVM_annotation` below the DIE that the tag is on, in the order of the source. gcc (16 and later) puts `DW_TAG_GNU_annotation`s
//! beside it and refers to the last one written by `DW_AT_GNU_annotation`, which refers to the one before it in the same way.
//!
//! A type tag becomes a TYPE_TAG between a pointer and what it points to, the one written nearest to the `*` next to the pointer.

use btf::Kind;
use btf::dedup::{LocalId, Name, Pool, Unit, head};
use btf::kind::Info;

use super::convert::Tag;

/// What a tag is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Carrier {
    /// A type, or its member of this number.
    Type(LocalId, Option<u32>),
    /// A function by its place in the unit, or its parameter of this number.
    Function(usize, Option<u32>),
    /// A variable by its place in the unit.
    Variable(usize),
}

/// A tag's DIE.
#[derive(Clone, Copy, Debug)]
struct Annotation {
    /// DIE offset.
    offset: u32,
    kind: Name,
    text: Name,
    /// DIE offset of the next one on the same thing.
    next: u32,
}

/// The tags of a unit.
pub(crate) struct Tags {
    type_tag: Name,
    decl_tag: Name,
    all: Vec<Annotation>,
    /// What has tags: by the place of a tag of clang's in `all`, or by the offset of the first one of gcc's.
    below: Vec<(Carrier, usize)>,
    referred: Vec<(Carrier, u32)>,
    functions: Vec<(usize, Tag)>,
    variables: Vec<(usize, Tag)>,
}

/// More tags than anybody puts on one thing; a longer chain is a loop.
const MAX_CHAIN: usize = 256;
/// How many tags may come on each DIE that is one or refers to one, before chains are followed no further: damaged ones could take much memory.
const MAX_AVERAGE: usize = 16;

impl Tags {
    pub(crate) fn new(pool: &Pool) -> Tags {
        Tags {
            type_tag: pool.name(b"btf_type_tag"),
            decl_tag: pool.name(b"btf_decl_tag"),
            all: Vec::new(),
            below: Vec::new(),
            referred: Vec::new(),
            functions: Vec::new(),
            variables: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.below.clear();
        self.referred.clear();
        self.functions.clear();
        self.variables.clear();
    }

    /// How many there are: of DIEs, and of both ways to have them.
    pub(crate) fn mark(&self) -> [usize; 3] {
        [self.all.len(), self.below.len(), self.referred.len()]
    }

    /// Forgets all but the first ones.
    pub(crate) fn truncate(&mut self, [all, below, referred]: [usize; 3]) {
        self.all.truncate(all);
        self.below.truncate(below);
        self.referred.truncate(referred);
    }

    /// Takes in a tag's DIE and what it stands below.
    pub(crate) fn push(&mut self, offset: u32, kind: Name, text: Name, next: u32, below: Option<Carrier>) {
        if let Some(carrier) = below {
            self.below.push((carrier, self.all.len()));
        }
        self.all.push(Annotation { offset, kind, text, next });
    }

    /// Takes in a reference to the first of a chain of tags.
    pub(crate) fn refer(&mut self, carrier: Carrier, offset: u32) {
        if offset != 0 {
            self.referred.push((carrier, offset));
        }
    }

    /// Puts the tags of types into the unit, whose references are local ids by now, and keeps those of functions and variables for
    /// [`Self::of_function`] and [`Self::of_variable`].
    pub(crate) fn resolve(&mut self, unit: &mut Unit<'_>) {
        let mut placed: Vec<(Carrier, Annotation)> =
            self.below.iter().map(|&(carrier, at)| (carrier, self.all[at])).collect();
        let limit = MAX_AVERAGE.saturating_mul(self.all.len() + self.referred.len());
        for &(carrier, first) in &self.referred {
            let from = placed.len();
            let mut next = first;
            while let Ok(at) = self.all.binary_search_by_key(&next, |tag| tag.offset)
                && placed.len() - from < MAX_CHAIN
                && placed.len() < limit
            {
                placed.push((carrier, self.all[at]));
                next = self.all[at].next;
            }
            // The chain starts with the one written last.
            placed[from..].reverse();
        }
        for (carrier, Annotation { kind, text, .. }) in placed {
            if text == Name::EMPTY {
                continue;
            }
            let tag = |component: Option<u32>| {
                let component = component.map_or(-1, |component| i32::try_from(component).unwrap_or(-1));
                Tag { text, component }
            };
            match carrier {
                Carrier::Type(id, None) if kind == self.type_tag => add_type_tag(unit, id, text),
                _ if kind != self.decl_tag => {}
                Carrier::Type(id, component) => {
                    // A struct that could not be expressed has lost its members, and one of a damaged unit its record.
                    let &[_, info, ..] = unit.record(id) else { continue };
                    if component.is_none_or(|component| component < Info(info).vlen()) {
                        let component = tag(component).component as u32;
                        unit.push(head(text, Kind::DeclTag, 0, false, id.0), &[component]);
                    }
                }
                Carrier::Function(index, component) => self.functions.push((index, tag(component))),
                Carrier::Variable(index) => self.variables.push((index, tag(None))),
            }
        }
        self.functions.sort_by_key(|&(index, _)| index);
        self.variables.sort_by_key(|&(index, _)| index);
    }

    /// The tags of a function.
    pub(crate) fn of_function(&self, index: usize) -> impl Iterator<Item = Tag> {
        of(&self.functions, index)
    }

    /// The tags of a variable.
    pub(crate) fn of_variable(&self, index: usize) -> impl Iterator<Item = Tag> {
        of(&self.variables, index)
    }
}

fn of(tags: &[(usize, Tag)], index: usize) -> impl Iterator<Item = Tag> {
    let from = tags.partition_point(|&(at, _)| at < index);
    tags[from..].iter().take_while(move |&&(at, _)| at == index).map(|&(_, tag)| tag)
}

/// Puts a TYPE_TAG between a pointer and what it points to. Tags come in the order of the source, so that each comes to stand before
/// the ones added earlier.
fn add_type_tag(unit: &mut Unit<'_>, pointer: LocalId, text: Name) {
    let &[_, info, target, ..] = unit.record(pointer) else { return };
    if Kind::from_number(Info(info).kind_number()) != Some(Kind::Ptr) {
        return;
    }
    let tag = unit.push(head(text, Kind::TypeTag, 0, false, target), &[]);
    if let [_, _, target, ..] = unit.record_mut(pointer) {
        *target = tag.0;
    }
}
