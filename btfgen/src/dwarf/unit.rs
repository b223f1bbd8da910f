//! Reading one unit's DIEs into a graph of BTF records.
//!
//! One pass over the DIEs writes each type's record with DIE offsets in place of type ids; when the unit is read, offsets become ids. What
//! only the whole unit can tell (sizes of bitfields' types) is mended then. What each DIE means is in the table of
//! `docs/src/explanation/dwarf-to-btf.md`.

use btf::Kind;
use btf::dedup::{LocalId, Name, Pool, Unit, UnitTypes, head};
use btf::kind::{INT_SIGNED, Info};
use gimli::Encoding;

use super::calling::Convention;
use super::cursor::Cursor;
use super::functions::{Functions, Surroundings};
use super::language::is_c;
use super::members::{Members, size_of};
use super::mend::{is_signed, needs_type, strip};
use super::names::{Names, StringSections};
use super::plan::{Plans, Role};
use super::references::{Finder, UnitContext};
use super::sections::{Sections, UnitPlace};
use super::tags::{Carrier, Tags};
use super::templates::{Head, Lesson, Templates};
use super::unit_error::UnitError;
use super::variables::{self, Variable};

mod attributes;
mod entries;

pub(super) use attributes::Attrs;
use attributes::Rare;

/// What a unit held besides types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    Types,
    /// Another language than C or assembler; BTF describes C.
    OtherLanguage,
}

/// What is being read while a DIE's children are.
enum Frame {
    Transparent,
    Opaque,
    Composite {
        id: LocalId,
        kind: Kind,
        name: Name,
        size: u32,
        members_from: usize,
        lesson: Option<Lesson>,
    },
    Enumeration {
        id: LocalId,
        name: Name,
        size: u32,
        from: usize,
        negative: bool,
        lesson: Option<Lesson>,
    },
    /// A struct, union or enumeration that up to now is as expected: `next` members were.
    Expected {
        id: LocalId,
        head: Head,
        template: u32,
        next: u32,
        targets_from: usize,
    },
    Array {
        id: LocalId,
        element: u32,
        len: u64,
    },
    Prototype {
        id: LocalId,
        result: u32,
        params_from: usize,
    },
    Function {
        index: usize,
    },
    /// Something else that may have tags below it.
    Tagged(Carrier),
}

/// How far units have been read, to come back to when one turns out to be damaged.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    types: usize,
    aliases: usize,
    functions: usize,
    variables: usize,
    tags: [usize; 3],
    degraded: u32,
}

/// The most bytes of DIEs that are converted in one piece: a DIE is a byte or more and becomes three words or fewer, which 32 bits count.
const MAX_PIECE: usize = 1 << 30;

/// DIEs that are nested deeper than this are damage.
const MAX_DEPTH: usize = 1 << 16;

/// Reads units, one after another, with memory that is kept between them.
pub(crate) struct Reader<'p> {
    pub(super) pool: &'p Pool,
    /// Those of the file whose unit is being read.
    pub(crate) names: &'p Names,
    /// Those of the file that is converted, which may have a supplementary one.
    main_names: &'p Names,
    /// DIEs of the supplementary file that were referred to, and not cleared.
    pub(crate) reached: Vec<u32>,
    /// Where the plans of a unit are that shares its abbreviation table with no other.
    pub(crate) plans: Plans,
    frames: Vec<Frame>,
    templates: Templates,
    /// DIE offsets of the types of members that were as expected, of the innermost type last.
    targets: Vec<u32>,
    members: Members,
    enumerators: Vec<(Name, u64)>,
    /// Local ids by DIE offset, for a unit that is converted alone. Entries of earlier units remain and are told by `offsets`.
    slots: Vec<u32>,
    /// DIE offset of each local id, ascending.
    offsets: Vec<u32>,
    /// DIEs that stand for another type, by offset, ascending: `_Atomic`, void.
    aliases: Vec<(u32, u32)>,
    /// Types with a reference to a type that is no DIE: which, at which word, to what.
    pub(super) late: Vec<(LocalId, usize, LocalId)>,
    pub(super) arrays: Vec<LocalId>,
    /// 64-bit enumerations with the DIE offset of the type they are represented by.
    wide_enums: Vec<(LocalId, u32)>,
    /// `int`, as the index type of arrays.
    pub(super) int: LocalId,
    pub(super) int_name: Name,
    /// The name of what indexes arrays where there is no `int`: `int` again, so that the same array is the same type in all units.
    index_name: Name,
    pub(crate) unit: Unit<'p>,
    pub(crate) functions: Functions,
    pub(crate) variables: Vec<Variable>,
    pub(crate) tags: Tags,
    /// Of the DIE whose attributes were read last.
    rare: Rare,
    convention: Convention,
    /// What could not be expressed and was replaced by something less exact.
    pub(crate) degraded: u32,
}

impl<'p> Reader<'p> {
    pub(crate) fn new(pool: &'p Pool, names: &'p Names, index_type: &[u8], convention: Convention) -> Self {
        Reader {
            pool,
            names,
            main_names: names,
            reached: Vec::new(),
            plans: Plans::default(),
            frames: Vec::new(),
            templates: Templates::default(),
            targets: Vec::new(),
            members: Members::default(),
            enumerators: Vec::new(),
            slots: Vec::new(),
            offsets: Vec::new(),
            aliases: Vec::new(),
            late: Vec::new(),
            arrays: Vec::new(),
            wide_enums: Vec::new(),
            int: LocalId(0),
            int_name: pool.name(b"int"),
            index_name: pool.name(index_type),
            unit: Unit::new(pool),
            functions: Functions::default(),
            variables: Vec::new(),
            tags: Tags::new(pool),
            rare: Rare::default(),
            convention,
            degraded: 0,
        }
    }

    /// Forgets the unit read before.
    pub(crate) fn clear(&mut self) {
        self.unit.clear();
        self.reached.clear();
        self.offsets.clear();
        self.templates.clear();
        self.members.clear();
        self.functions.clear();
        self.variables.clear();
        self.tags.clear();
        self.aliases.clear();
        self.late.clear();
        self.arrays.clear();
        self.wide_enums.clear();
        self.int = LocalId(0);
        self.degraded = 0;
    }

    /// How far units have been read.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            types: self.unit.len(),
            aliases: self.aliases.len(),
            functions: self.functions.len(),
            variables: self.variables.len(),
            tags: self.tags.mark(),
            degraded: self.degraded,
        }
    }

    /// Forgets what was read since then: of a unit that turned out to be damaged. Its types remain as places that hold nothing.
    pub(crate) fn forget_since(&mut self, mark: Mark) {
        for id in (mark.types as u32 + 1..=self.unit.len() as u32).map(LocalId) {
            self.unit.undefine(id);
        }
        self.aliases.truncate(mark.aliases);
        self.functions.truncate(mark.functions);
        self.variables.truncate(mark.variables);
        self.tags.truncate(mark.tags);
        self.arrays.retain(|id| id.0 as usize <= mark.types);
        self.late.retain(|(id, ..)| id.0 as usize <= mark.types);
        if self.int.0 as usize > mark.types {
            self.int = LocalId(0);
        }
        self.degraded = mark.degraded;
    }

    /// Reads the DIEs of a unit. `base` and `end` bound what is converted in one piece, in bytes of `.debug_info`: the unit itself, or
    /// all units where they refer to each other's types.
    pub(crate) fn read<const BIG: bool>(
        &mut self,
        sections: &Sections<'_>,
        plans: &Plans,
        place: &UnitPlace,
        (base, end): (usize, usize),
    ) -> Result<Content, UnitError> {
        if end - base > MAX_PIECE {
            return Err(UnitError::TooLarge("more than 1 GiB of debug information in one piece"));
        }
        self.frames.clear();
        self.targets.clear();
        self.enumerators.clear();
        // Converted alone, a unit has a slot for each offset; in one piece with others, offsets are searched for.
        let alone = (base, end) == (place.start, place.end);
        if !alone {
            self.slots.clear();
        } else if self.slots.len() < end - base {
            self.slots.resize(end - base, 0);
        }
        let data = sections.info.get(..place.end).ok_or(UnitError::Truncated)?;
        let mut cursor = Cursor::<BIG>::new(data, place.entries);
        self.rare = Rare::default();
        self.names =
            self.main_names.supplementary().filter(|_| place.supplementary).unwrap_or(self.main_names);
        let mut context = UnitContext::new(sections, place, base, end);
        if place.encoding.version < 5 {
            context.str_offsets_base = Some(0);
        }
        while !cursor.is_at_end() {
            let offset = (cursor.position() - base) as u32;
            let code = cursor.uleb()?;
            if code == 0 {
                self.close();
                continue;
            }
            let plan = plans.get(code)?;
            let depth = self.frames.len();
            if !self.matters(plan.role) {
                plans.skip(plan, &mut cursor, place.encoding)?;
                if plan.role == Role::Opaque || matches!(self.frames.last(), Some(Frame::Opaque)) {
                    self.frames.push(Frame::Opaque);
                }
            } else if let Some(layout) = &plan.layout
                && let Some(plain) = layout.read(&mut cursor)
            {
                self.plain_entry::<BIG>(offset, plan.role, plain, &context)?;
            } else {
                let attrs = self.attributes(&mut cursor, plans.steps(plan), plan.role, &mut context)?;
                if plan.role == Role::Unit {
                    if attrs.dwo_name {
                        return Err(UnitError::Split("DW_AT_dwo_name".into()));
                    }
                    if !is_c(attrs.language) {
                        return Ok(Content::OtherLanguage);
                    }
                    context.see_producer::<BIG>();
                }
                self.entry::<BIG>(offset, (plan.role, plan.has_children), &attrs, &mut context)?;
                if self.rare.is_set {
                    self.rare = Rare::default();
                }
            }
            // Whatever its children mean something for has pushed a frame.
            let pushed = self.frames.len() > depth;
            if plan.has_children && !pushed {
                self.frames.push(Frame::Transparent);
                if depth > 1 {
                    self.pass_over_body(&mut cursor, plans, place.encoding)?;
                }
            } else if pushed && !plan.has_children {
                self.close();
            } else if pushed && matches!(self.frames.last(), Some(Frame::Expected { .. })) {
                self.expected_members(&mut cursor, plans, &mut context)?;
            }
            if self.frames.len() > MAX_DEPTH {
                return Err(UnitError::TooLarge("DIEs that are nested more than 65536 deep"));
            }
        }
        // A unit may end without the zero bytes that close its last DIEs.
        while !self.frames.is_empty() {
            self.close();
        }
        self.reached.append(&mut context.reached);
        Ok(Content::Types)
    }

    /// Passes over the rest of a block in a function's body, up to its end or to something that matters even there: a type.
    fn pass_over_body<const BIG: bool>(
        &mut self,
        cursor: &mut Cursor<'_, BIG>,
        plans: &Plans,
        encoding: Encoding,
    ) -> Result<(), UnitError> {
        let mut depth = 1;
        while depth > 0 && !cursor.is_at_end() {
            let mut after = *cursor;
            let code = after.uleb()?;
            if code == 0 {
                depth -= 1;
            } else {
                let plan = plans.get(code)?;
                if plan.role.matters_in_body() {
                    break;
                }
                plans.skip(plan, &mut after, encoding)?;
                depth += usize::from(plan.has_children);
                if depth > MAX_DEPTH {
                    return Err(UnitError::TooLarge("DIEs that are nested more than 65536 deep"));
                }
            }
            *cursor = after;
        }
        // The block itself has a frame already.
        self.frames.truncate(self.frames.len() - usize::from(depth == 0));
        self.frames.extend((1..depth).map(|_| Frame::Transparent));
        Ok(())
    }

    /// Whether a DIE of this role matters where it stands. Most DIEs are in the bodies of functions, and there only types do.
    #[inline]
    fn matters(&self, role: Role) -> bool {
        match role {
            Role::Transparent | Role::Opaque => false,
            Role::Parameter | Role::UnspecifiedParameters => self.takes_params(),
            // One frame is open outside of functions, the unit's.
            Role::Variable => self.frames.len() == 1,
            _ => !matches!(self.frames.last(), Some(Frame::Opaque)),
        }
    }

    /// Turns DIE offsets into local ids, now that all are known, and mends what waited for that.
    pub(crate) fn resolve(
        &mut self,
        strings: &StringSections<'_>,
        address_size: u8,
        big: bool,
        is_known: impl Fn(Name) -> bool,
    ) {
        let int = self.index_type();
        let finder = Finder { slots: &self.slots, offsets: &self.offsets, aliases: &self.aliases };
        let void = self.unit.replace_targets(|offset| finder.find(offset));
        let indices = self.arrays.iter().map(|&array| (array, 4, int));
        for (id, word, target) in self.late.drain(..).chain(indices) {
            if let Some(word) = self.unit.record_mut(id).get_mut(word) {
                *word = target.0;
            }
        }
        let mut incomplete = Vec::new();
        if void {
            for id in (1..=self.unit.len() as u32).map(LocalId) {
                self.unit.write_out(id);
                if needs_type(self.unit.record(id)) {
                    incomplete.push(id);
                }
            }
        }
        self.degraded += incomplete.len() as u32;
        for id in incomplete {
            strip(&mut self.unit, id, int);
        }
        for (id, ty) in self.wide_enums.drain(..) {
            if is_signed(&self.unit, finder.find(ty))
                && let [_, info, ..] = self.unit.record_mut(id)
            {
                *info |= Info::new(Kind::Enum64, 0, true).0;
            }
        }
        for (id, word, signed) in self.members.wide_enums(&self.unit) {
            // The number is all there; only its values' names are lost.
            let (name, encoding) =
                if signed { ("long long int", INT_SIGNED) } else { ("long long unsigned int", 0) };
            let head = head(self.pool.name(name.as_bytes()), Kind::Int, 0, false, 8);
            let long = self.unit.push(head, &[u32::from(encoding) << 24 | 64]);
            self.unit.hide(long);
            self.degraded += 1;
            if let Some(ty) = self.unit.record_mut(id).get_mut(word) {
                *ty = long.0;
            }
        }
        self.degraded += self.members.mend(&mut self.unit, address_size, big);
        // The kernel takes no array of 4 GiB or more.
        for &array in &self.arrays {
            if size_of(&self.unit, array, address_size).is_some_and(|size| size > u32::MAX.into())
                && let Some(len) = self.unit.record_mut(array).get_mut(5)
            {
                *len = 0;
                self.degraded += 1;
            }
        }
        let surroundings = Surroundings {
            finder: &finder,
            convention: &self.convention,
            address_size,
            names: self.main_names,
            pool: self.pool,
            str: strings.str,
        };
        self.functions.resolve(&mut self.unit, &surroundings, is_known);
        self.tags.resolve(&mut self.unit, |id, index| self.members.moved(id, index));
        variables::resolve(&mut self.variables, &self.unit, &finder, address_size);
    }

    /// Puts the unit's types into the pool, and learns from them what to expect of the next unit.
    pub(crate) fn intern(&mut self, keep_edges: bool) -> UnitTypes {
        let types = self.unit.intern(keep_edges);
        self.templates.keep(&mut self.unit);
        types
    }

    /// Whether the unit has an `int`, or no need of one.
    pub(crate) fn has_int(&self) -> bool {
        self.int.0 != 0 || self.arrays.is_empty()
    }

    fn index_type(&mut self) -> LocalId {
        if self.int.0 == 0 && !self.arrays.is_empty() {
            return self
                .hidden(head(self.index_name, Kind::Int, 0, false, 4), &[u32::from(INT_SIGNED) << 24 | 32]);
        }
        self.int
    }

    /// A type that no DIE stands for.
    pub(super) fn hidden(&mut self, head: [u32; 3], payload: &[u32]) -> LocalId {
        // It takes the offset of the DIE before it, which is found first.
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        let id = self.unit.push(head, payload);
        self.unit.hide(id);
        id
    }

    /// A type that refers to another and has no payload.
    pub(super) fn reference(&mut self, offset: u32, head: [u32; 3]) {
        let id = self.unit.push_reference(head);
        self.place(offset, id);
    }

    #[inline]
    pub(super) fn reserve(&mut self, offset: u32) -> LocalId {
        let id = self.unit.reserve();
        self.place(offset, id);
        id
    }

    #[inline]
    fn place(&mut self, offset: u32, id: LocalId) {
        self.offsets.push(offset);
        if let Some(slot) = self.slots.get_mut(offset as usize) {
            *slot = id.0;
        }
    }

    fn size32(&mut self, size: u64) -> u32 {
        u32::try_from(size).unwrap_or_else(|_| self.inexact(u32::MAX))
    }

    /// What stands for something that cannot be expressed.
    fn inexact<T>(&mut self, instead: T) -> T {
        self.degraded += 1;
        instead
    }
}

/// A number of members as a `vlen`; `None` if they are more than a type of BTF can have.
pub(crate) fn vlen(len: usize) -> Option<u32> {
    u32::try_from(len).ok().filter(|&len| len <= btf::kind::MAX_VLEN)
}
