//! Reading one unit's DIEs into a graph of BTF records.
//!
//! One pass over the DIEs writes each type's record with DIE offsets in place of type ids; when the unit is read, offsets become ids. What
//! only the whole unit can tell (sizes of bitfields' types) is mended then. What each DIE means is in the table of
//! `docs/src/explanation/dwarf-to-btf.md`.

use btf::Kind;
use btf::dedup::{LocalId, Name, Pool, Unit, head};
use btf::kind::{INT_BOOL, INT_SIGNED, Info};
use btf::{Ref, visit_refs};
use gimli::Encoding;

use super::cursor::{Cursor, Truncated};
use super::form::{self, FormError, Value};
use super::functions::{Function, Functions};
use super::members::{Bits, Member, Members};
use super::names::{Names, StringSections};
use super::plan::{Attr, Plan, Plans, Role, Step};
use super::variables::{self, Variable, address_of};

/// Where a unit lies and how it is encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitPlace {
    /// Offset of the unit's header in `.debug_info`.
    pub(crate) start: usize,
    /// Offset of its first DIE.
    pub(crate) entries: usize,
    /// Offset of its end.
    pub(crate) end: usize,
    /// Offset of its abbreviation table in `.debug_abbrev`.
    pub(crate) abbrev: usize,
    pub(crate) encoding: Encoding,
}

/// The sections that a unit's DIEs refer to.
#[derive(Clone, Copy)]
pub(crate) struct Sections<'a> {
    /// `.debug_info`.
    pub(crate) info: &'a [u8],
    /// `.debug_addr`.
    pub(crate) addr: &'a [u8],
    pub(crate) strings: StringSections<'a>,
}

/// Why a unit was not converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A DIE or attribute runs past the end of the unit.
    #[error("it ends in the middle of a DIE")]
    Truncated,
    /// A DIE of an abbreviation that the unit's table does not have.
    #[error("abbreviation code {0} is not in its table")]
    Abbreviation(u64),
    /// An attribute form that is not in DWARF 2 to 5 or its GNU extensions.
    #[error("attribute form 0x{0:x} is unknown")]
    Form(u16),
    /// The unit's DIEs are in another file.
    #[error(
        "its DIEs are in a separate file (split DWARF, {0}); give a file with the whole debug information"
    )]
    Split(String),
    /// It refers to a supplementary file.
    #[error("it refers to a supplementary file (dwz, .gnu_debugaltlink), which was not given")]
    Supplementary,
    /// A type in another unit is referred to; such files are converted in one piece.
    #[error("it refers to types of other units")]
    Foreign,
    /// The abbreviation table cannot be read.
    #[error("its abbreviation table at offset 0x{0:x} cannot be read: {1}")]
    Table(usize, String),
    /// More types or members than a BTF record or 32-bit offsets can hold.
    #[error("it is too large: {0}")]
    TooLarge(&'static str),
}

impl From<Truncated> for UnitError {
    fn from(_: Truncated) -> Self {
        UnitError::Truncated
    }
}

impl From<FormError> for UnitError {
    fn from(error: FormError) -> Self {
        match error {
            FormError::Truncated => UnitError::Truncated,
            FormError::Unknown(form) => UnitError::Form(form.0),
        }
    }
}

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
    Composite { id: LocalId, kind: Kind, name: Name, size: u32, members_from: usize },
    Enumeration { id: LocalId, name: Name, size: u32, from: usize, negative: bool },
    Array { id: LocalId, element: u32, len: u32 },
    Prototype { id: LocalId, result: u32, params_from: usize },
    Function { index: usize },
}

/// The attributes of one DIE that matter, with types as offsets from the start of what is converted in one piece.
#[derive(Default, Clone, Copy)]
struct Attrs<'a> {
    name: Name,
    ty: u32,
    origin: u32,
    byte_size: Option<u64>,
    encoding: u64,
    declaration: bool,
    external: bool,
    inline: u64,
    has_code: bool,
    bits: Bits,
    const_value: Option<(u64, bool)>,
    bound: Option<u32>,
    location: Option<Value<'a>>,
    language: u64,
    dwo_name: bool,
}

/// Reads units, one after another, with memory that is kept between them.
pub(crate) struct Reader<'p> {
    pool: &'p Pool,
    names: Names,
    plans: Plans,
    frames: Vec<Frame>,
    members: Members,
    enumerators: Vec<(Name, u64)>,
    /// Local ids by DIE offset, for a unit that is converted alone. Entries of earlier units remain and are told by `offsets`.
    slots: Vec<u32>,
    /// DIE offset of each local id, ascending.
    offsets: Vec<u32>,
    /// DIEs that stand for another type, by offset, ascending: `_Atomic`, void.
    aliases: Vec<(u32, u32)>,
    /// Types with a reference to a type that is no DIE: which, at which word, to what.
    late: Vec<(LocalId, usize, LocalId)>,
    arrays: Vec<LocalId>,
    /// 64-bit enumerations with the DIE offset of the type they are represented by.
    wide_enums: Vec<(LocalId, u32)>,
    /// `int`, as the index type of arrays.
    int: LocalId,
    int_name: Name,
    /// The name of what indexes arrays where there is no `int`: `int` again, so that the same array is the same type in all units.
    index_name: Name,
    pub(crate) unit: Unit,
    pub(crate) functions: Functions,
    pub(crate) variables: Vec<Variable>,
    /// What could not be expressed and was replaced by something less exact.
    pub(crate) degraded: u32,
}

impl<'p> Reader<'p> {
    pub(crate) fn new(pool: &'p Pool, index_type: &[u8]) -> Self {
        Reader {
            pool,
            names: Names::new(),
            plans: Plans::default(),
            frames: Vec::new(),
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
            unit: Unit::new(),
            functions: Functions::default(),
            variables: Vec::new(),
            degraded: 0,
        }
    }

    /// Forgets the unit read before.
    pub(crate) fn clear(&mut self) {
        self.unit.clear();
        self.offsets.clear();
        self.members.clear();
        self.functions.clear();
        self.variables.clear();
        self.aliases.clear();
        self.late.clear();
        self.arrays.clear();
        self.wide_enums.clear();
        self.int = LocalId(0);
        self.degraded = 0;
    }

    /// Reads the DIEs of a unit. `base` and `end` bound what is converted in one piece, in bytes of `.debug_info`: the unit itself, or
    /// all units where they refer to each other's types.
    pub(crate) fn read<const BIG: bool>(
        &mut self,
        sections: &Sections<'_>,
        table: &gimli::Abbreviations,
        place: &UnitPlace,
        (base, end): (usize, usize),
    ) -> Result<Content, UnitError> {
        if u32::try_from(end - base).is_err() {
            return Err(UnitError::TooLarge("more than 4 GiB of debug information in one piece"));
        }
        self.plans.clear();
        self.frames.clear();
        self.enumerators.clear();
        // Converted alone, a unit has a slot for each offset; in one piece with others, offsets are searched for.
        let alone = (base, end) == (place.start, place.end);
        self.slots.resize(if alone { end - base } else { 0 }, 0);
        let data = sections.info.get(..place.end).ok_or(UnitError::Truncated)?;
        let mut cursor = Cursor::<BIG>::new(data, place.entries);
        let mut context = UnitContext { sections, place, base, end, str_offsets_base: None, addr_base: None };
        if place.encoding.version < 5 {
            context.str_offsets_base = Some(0);
        }
        while !cursor.is_at_end() {
            let offset = (cursor.position() - base) as u32;
            let code = cursor.uleb()?;
            if code == 0 {
                if let Some(frame) = self.frames.pop() {
                    self.finish_frame(frame)?;
                }
                continue;
            }
            let plan = self.plans.get(code, table, place.encoding).ok_or(UnitError::Abbreviation(code))?;
            if !self.matters(plan.role) {
                self.skip(&mut cursor, plan, place.encoding)?;
                if plan.has_children {
                    let opaque =
                        plan.role == Role::Opaque || matches!(self.frames.last(), Some(Frame::Opaque));
                    self.frames.push(if opaque { Frame::Opaque } else { Frame::Transparent });
                }
                continue;
            }
            let attrs = self.attributes(&mut cursor, plan, &mut context)?;
            if plan.role == Role::Unit {
                if attrs.dwo_name {
                    return Err(UnitError::Split("DW_AT_dwo_name".into()));
                }
                if !is_c(attrs.language) {
                    return Ok(Content::OtherLanguage);
                }
            }
            let frame = self.entry::<BIG>(offset, plan, &attrs, &context)?;
            if plan.has_children {
                self.frames.push(frame);
            } else {
                self.finish_frame(frame)?;
            }
        }
        // A unit may end without the zero bytes that close its last DIEs.
        while let Some(frame) = self.frames.pop() {
            self.finish_frame(frame)?;
        }
        Ok(Content::Types)
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

    #[inline]
    fn skip<const BIG: bool>(
        &self,
        cursor: &mut Cursor<'_, BIG>,
        plan: Plan,
        encoding: Encoding,
    ) -> Result<(), UnitError> {
        for &step in self.plans.skip_steps(plan) {
            match step {
                Step::Skip(len) => cursor.skip(len as usize)?,
                Step::SkipForm(form) | Step::Read(_, form, _) => form::skip(cursor, form, encoding)?,
            }
        }
        Ok(())
    }

    #[inline]
    fn attributes<'a, const BIG: bool>(
        &mut self,
        cursor: &mut Cursor<'a, BIG>,
        plan: Plan,
        context: &mut UnitContext<'a, '_>,
    ) -> Result<Attrs<'a>, UnitError> {
        let mut attrs = Attrs::default();
        let encoding = context.place.encoding;
        for &step in self.plans.steps(plan) {
            let (attr, form, implicit) = match step {
                Step::Skip(len) => {
                    cursor.skip(len as usize)?;
                    continue;
                }
                Step::SkipForm(form) => {
                    form::skip(cursor, form, encoding)?;
                    continue;
                }
                Step::Read(attr, form, implicit) => (attr, form, implicit),
            };
            let value = form::read(cursor, form, implicit, encoding)?;
            match attr {
                Attr::Name => {
                    let index = |index| context.str_offset::<BIG>(index);
                    let name = self.names.get(self.pool, &context.sections.strings, index, value);
                    if matches!(value, Value::Supplementary) {
                        return Err(UnitError::Supplementary);
                    }
                    attrs.name = name.unwrap_or_default();
                }
                Attr::Type => attrs.ty = context.offset(value)?,
                Attr::Origin => attrs.origin = context.offset(value)?,
                Attr::ByteSize => attrs.byte_size = unsigned(value),
                Attr::BitSize => attrs.bits.size = unsigned(value),
                Attr::BitOffset => attrs.bits.old_offset = signed(value),
                Attr::DataBitOffset => attrs.bits.data_bit_offset = unsigned(value),
                Attr::MemberLocation => attrs.bits.set_location::<BIG>(value),
                Attr::Encoding => attrs.encoding = unsigned(value).unwrap_or(0),
                Attr::Declaration => attrs.declaration = unsigned(value) != Some(0),
                Attr::External => attrs.external = unsigned(value) != Some(0),
                Attr::Inline => attrs.inline = unsigned(value).unwrap_or(0),
                Attr::LowPc => attrs.has_code = true,
                Attr::ConstValue => {
                    attrs.const_value = match value {
                        Value::Unsigned(value) => Some((value, false)),
                        Value::Signed(value) => Some((value as u64, value < 0)),
                        _ => None,
                    }
                }
                // Bounds that are no constants (of VLAs) and negative ones mean an unknown length.
                Attr::UpperBound => {
                    attrs.bound = attrs.bound.or(match value {
                        Value::Unsigned(bound) => Some(bound.wrapping_add(1) as u32),
                        Value::Signed(bound) if bound >= -1 => Some((bound + 1) as u32),
                        _ => None,
                    });
                }
                Attr::Count => {
                    attrs.bound = match value {
                        Value::Unsigned(count) => Some(u32::try_from(count).unwrap_or(u32::MAX)),
                        Value::Signed(count) => Some(u32::try_from(count.max(0)).unwrap_or(u32::MAX)),
                        _ => None,
                    }
                }
                Attr::Location => attrs.location = Some(value),
                Attr::Language => attrs.language = unsigned(value).unwrap_or(0),
                Attr::StrOffsetsBase => context.str_offsets_base = unsigned(value),
                Attr::AddrBase => context.addr_base = unsigned(value),
                Attr::DwoName => attrs.dwo_name = true,
                Attr::Signature => return Err(UnitError::Foreign),
            }
        }
        Ok(attrs)
    }

    /// Takes in one DIE and tells what its children mean.
    fn entry<const BIG: bool>(
        &mut self,
        offset: u32,
        plan: Plan,
        attrs: &Attrs<'_>,
        context: &UnitContext<'_, '_>,
    ) -> Result<Frame, UnitError> {
        let reference = |reader: &mut Self, kind: Kind, name: Name, ty: u32| {
            let id = reader.reserve(offset);
            reader.unit.define(id, head(name, kind, 0, false, ty), &[]);
        };
        match plan.role {
            Role::Member => {
                if let Some(Frame::Composite { kind, .. }) = self.frames.last() {
                    let union = *kind == Kind::Union;
                    let member =
                        Member { name: attrs.name, ty: attrs.ty, size: attrs.byte_size, bits: attrs.bits };
                    self.members.push(member, union);
                }
            }
            Role::Enumerator => {
                if let Some(Frame::Enumeration { negative, .. }) = self.frames.last_mut()
                    && let Some((value, below_zero)) = attrs.const_value
                {
                    *negative |= below_zero;
                    self.enumerators.push((attrs.name, value));
                }
            }
            Role::Parameter => self.functions.param(attrs.name, attrs.ty),
            Role::UnspecifiedParameters => self.functions.ellipsis(),
            Role::Subrange => {
                if let Some(Frame::Array { len, .. }) = self.frames.last_mut() {
                    *len = len.saturating_mul(attrs.bound.unwrap_or(0));
                }
            }
            Role::Pointer => reference(self, Kind::Ptr, Name::EMPTY, attrs.ty),
            Role::Const => reference(self, Kind::Const, Name::EMPTY, attrs.ty),
            Role::Volatile => reference(self, Kind::Volatile, Name::EMPTY, attrs.ty),
            Role::Restrict => reference(self, Kind::Restrict, Name::EMPTY, attrs.ty),
            Role::Typedef => {
                reference(self, Kind::Typedef, attrs.name, attrs.ty);
            }
            // Neither has a record of its own: a reference to one is a reference to what it stands for.
            Role::Atomic => self.aliases.push((offset, attrs.ty)),
            Role::Unspecified => self.aliases.push((offset, 0)),
            Role::BaseType => self.base_type(offset, attrs),
            Role::Struct | Role::Union => {
                let kind = if plan.role == Role::Union { Kind::Union } else { Kind::Struct };
                let id = self.reserve(offset);
                if attrs.declaration && attrs.name != Name::EMPTY {
                    let union = kind == Kind::Union;
                    self.unit.define(id, head(attrs.name, Kind::Fwd, 0, union, 0), &[]);
                    return Ok(Frame::Transparent);
                }
                // An unnamed declaration has no BTF of its own; an empty struct says as much.
                let size = self.size32(attrs.byte_size.unwrap_or(0));
                let members_from = self.members.len();
                return Ok(Frame::Composite { id, kind, name: attrs.name, size, members_from });
            }
            Role::Enumeration => {
                let id = self.reserve(offset);
                let size = self.size32(attrs.byte_size.unwrap_or(4));
                let from = self.enumerators.len();
                if size == 8 && attrs.ty != 0 {
                    self.wide_enums.push((id, attrs.ty));
                }
                return Ok(Frame::Enumeration { id, name: attrs.name, size, from, negative: false });
            }
            Role::Array => {
                let id = self.reserve(offset);
                self.arrays.push(id);
                return Ok(Frame::Array { id, element: attrs.ty, len: 1 });
            }
            Role::SubroutineType => {
                let id = self.reserve(offset);
                let params_from = self.functions.params_len();
                return Ok(Frame::Prototype { id, result: attrs.ty, params_from });
            }
            Role::Subprogram => {
                let index = self.functions.begin(Function {
                    offset,
                    name: attrs.name,
                    result: attrs.ty,
                    origin: attrs.origin,
                    declaration: attrs.declaration,
                    has_code: attrs.has_code,
                    ..Function::default()
                });
                return Ok(Frame::Function { index });
            }
            Role::Variable => {
                let index = |index| context.address::<BIG>(index);
                let address = address_of::<BIG>(attrs.location, context.place.encoding, index);
                self.variables.push(Variable {
                    offset,
                    name: attrs.name,
                    ty: attrs.ty,
                    origin: attrs.origin,
                    external: attrs.external,
                    size: 0,
                    address: address.filter(|_| !attrs.declaration),
                });
            }
            Role::Opaque | Role::Transparent | Role::Unit => {}
        }
        Ok(Frame::Transparent)
    }

    /// Whether parameters belong to what is being read.
    fn takes_params(&self) -> bool {
        matches!(self.frames.last(), Some(Frame::Function { .. } | Frame::Prototype { .. }))
    }

    fn finish_frame(&mut self, frame: Frame) -> Result<(), UnitError> {
        match frame {
            Frame::Transparent | Frame::Opaque => {}
            Frame::Composite { id, kind, name, size, members_from } => {
                self.members.define(
                    &mut self.unit,
                    id,
                    (kind, name, size),
                    members_from,
                    &mut self.degraded,
                )?;
            }
            Frame::Enumeration { id, name, size, from, negative } => {
                let enumerators = &self.enumerators[from..];
                let vlen = vlen(enumerators.len())?;
                let wide = size > 4;
                let mut payload = Vec::with_capacity(enumerators.len() * 3);
                for &(name, value) in enumerators {
                    payload.extend([name.word(), value as u32]);
                    if wide {
                        payload.push((value >> 32) as u32);
                    }
                }
                // Sizes that no enum has are a compiler's error; the nearest that holds the values is kept.
                let (kind, legal) = match size {
                    1 | 2 | 4 => (Kind::Enum, size),
                    0..=4 => (Kind::Enum, 4),
                    _ => (Kind::Enum64, 8),
                };
                self.degraded += u32::from(legal != size);
                self.unit.define(id, head(name, kind, vlen, negative, legal), &payload);
                self.enumerators.truncate(from);
            }
            Frame::Array { id, element, len } => {
                // The index type follows when the whole unit is read.
                self.unit.define(id, head(Name::EMPTY, Kind::Array, 0, false, 0), &[element, 0, len]);
            }
            Frame::Prototype { id, result, params_from } => {
                self.functions.define_prototype(&mut self.unit, id, result, params_from)?;
            }
            Frame::Function { index } => self.functions.end(index),
        }
        Ok(())
    }

    fn base_type(&mut self, offset: u32, attrs: &Attrs<'_>) {
        let size = attrs.byte_size.unwrap_or(0);
        let name = attrs.name;
        let encoding = gimli::DwAte(attrs.encoding as u8);
        let id = self.reserve(offset);
        match encoding {
            gimli::DW_ATE_float if matches!(size, 2 | 4 | 8 | 12 | 16) => {
                self.unit.define(id, head(name, Kind::Float, 0, false, size as u32), &[]);
                return;
            }
            // Two numbers of half the size, which is how C lays them out. The array's index type is set with all others'.
            gimli::DW_ATE_complex_float if matches!(size, 4 | 8 | 16 | 24 | 32) => {
                self.degraded += 1;
                let part = match size {
                    4 => "_Float16",
                    8 => "float",
                    16 => "double",
                    _ => "long double",
                };
                let part = self.pool.name(part.as_bytes());
                let part = self.hidden(head(part, Kind::Float, 0, false, size as u32 / 2), &[]);
                self.unit.define(id, head(Name::EMPTY, Kind::Array, 0, false, 0), &[0, 0, 2]);
                self.late.push((id, 3, part));
                self.arrays.push(id);
                return;
            }
            _ => {}
        }
        let flags = match encoding {
            gimli::DW_ATE_signed | gimli::DW_ATE_signed_char => INT_SIGNED,
            gimli::DW_ATE_boolean => INT_BOOL,
            _ => 0,
        };
        let (name, size, flags) = match size {
            1 | 2 | 4 | 8 | 16 => (name, size as u32, flags),
            _ => {
                self.degraded += 1;
                (self.pool.name(b"__SANITIZED_FAKE_INT__"), 4, flags)
            }
        };
        if size == 4 && flags == INT_SIGNED && self.int.0 == 0 && name == self.int_name {
            self.int = id;
        }
        self.unit.define(id, head(name, Kind::Int, 0, false, size), &[u32::from(flags) << 24 | (size * 8)]);
    }

    /// Turns DIE offsets into local ids, now that all are known, and mends what waited for that.
    pub(crate) fn resolve(&mut self, address_size: u8, big: bool) {
        let int = self.index_type();
        let finder = Finder { slots: &self.slots, offsets: &self.offsets, aliases: &self.aliases };
        for id in (1..=self.unit.len() as u32).map(LocalId) {
            visit_refs(self.unit.record_mut(id), |what, word| {
                if what == Ref::Type {
                    *word = finder.find(*word).0;
                }
            });
        }
        let indices = self.arrays.iter().map(|&array| (array, 4, int));
        for (id, word, target) in self.late.drain(..).chain(indices) {
            if let Some(word) = self.unit.record_mut(id).get_mut(word) {
                *word = target.0;
            }
        }
        for (id, ty) in self.wide_enums.drain(..) {
            if is_signed(&self.unit, finder.find(ty))
                && let [_, info, ..] = self.unit.record_mut(id)
            {
                *info |= Info::new(Kind::Enum64, 0, true).0;
            }
        }
        self.degraded += self.members.mend(&mut self.unit, address_size, big);
        self.functions.resolve(&mut self.unit, &finder);
        variables::resolve(&mut self.variables, &self.unit, &finder, address_size);
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
    fn hidden(&mut self, head: [u32; 3], payload: &[u32]) -> LocalId {
        // It takes the offset of the DIE before it, which is found first.
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        let id = self.unit.push(head, payload);
        self.unit.hide(id);
        id
    }

    fn reserve(&mut self, offset: u32) -> LocalId {
        let id = self.unit.reserve();
        self.offsets.push(offset);
        if let Some(slot) = self.slots.get_mut(offset as usize) {
            *slot = id.0;
        }
        id
    }

    fn size32(&mut self, size: u64) -> u32 {
        u32::try_from(size).unwrap_or_else(|_| {
            self.degraded += 1;
            u32::MAX
        })
    }
}

/// Finds the local id of a DIE.
pub(crate) struct Finder<'a> {
    slots: &'a [u32],
    offsets: &'a [u32],
    aliases: &'a [(u32, u32)],
}

/// A chain of aliases longer than this is a loop.
const MAX_ALIASES: usize = 16;

impl Finder<'_> {
    /// The type at a DIE offset; void for 0 and for what is no type.
    #[inline]
    pub(crate) fn find(&self, offset: u32) -> LocalId {
        let mut offset = offset;
        for _ in 0..MAX_ALIASES {
            if offset == 0 {
                break;
            }
            if let Some(id) = self.direct(offset) {
                return id;
            }
            match self.aliases.binary_search_by_key(&offset, |&(at, _)| at) {
                Ok(alias) => offset = self.aliases[alias].1,
                Err(_) => break,
            }
        }
        LocalId(0)
    }

    #[inline]
    fn direct(&self, offset: u32) -> Option<LocalId> {
        // A slot may be left from an earlier unit; the offsets tell.
        if let Some(&id) = self.slots.get(offset as usize) {
            let known = id.checked_sub(1).and_then(|slot| self.offsets.get(slot as usize));
            return (known == Some(&offset)).then_some(LocalId(id));
        }
        let slot = self.offsets.partition_point(|&known| known < offset);
        (self.offsets.get(slot) == Some(&offset)).then_some(LocalId(slot as u32 + 1))
    }
}

/// What the values of a unit's attributes depend on.
struct UnitContext<'a, 'u> {
    sections: &'u Sections<'a>,
    place: &'u UnitPlace,
    base: usize,
    end: usize,
    str_offsets_base: Option<u64>,
    addr_base: Option<u64>,
}

impl UnitContext<'_, '_> {
    /// A reference as an offset from the start of what is converted in one piece; 0, where no DIE can be, stands for none.
    #[inline]
    fn offset(&self, value: Value<'_>) -> Result<u32, UnitError> {
        let global = match value {
            Value::UnitRef(offset) => (self.place.start as u64).checked_add(offset),
            Value::InfoRef(offset) => Some(offset),
            Value::Signature => return Err(UnitError::Foreign),
            Value::Supplementary => return Err(UnitError::Supplementary),
            _ => return Ok(0),
        };
        let global = global.ok_or(UnitError::Truncated)?;
        if global < self.base as u64 || global >= self.end as u64 {
            return Err(UnitError::Foreign);
        }
        Ok((global - self.base as u64) as u32)
    }

    /// The string offset at an index of the unit's part of `.debug_str_offsets`.
    fn str_offset<const BIG: bool>(&self, index: u64) -> Option<u64> {
        let size = if self.place.encoding.format == gimli::Format::Dwarf64 { 8 } else { 4 };
        // Without a base the first table is meant, which starts after its header.
        let base = self.str_offsets_base.unwrap_or(u64::from(size) * 2);
        entry::<BIG>(self.sections.strings.str_offsets, base, index, size)
    }

    /// The address at an index of the unit's part of `.debug_addr`.
    fn address<const BIG: bool>(&self, index: u64) -> Option<u64> {
        let base = self.addr_base.unwrap_or(if self.place.encoding.version < 5 { 0 } else { 8 });
        entry::<BIG>(self.sections.addr, base, index, self.place.encoding.address_size)
    }
}

fn entry<const BIG: bool>(table: &[u8], base: u64, index: u64, size: u8) -> Option<u64> {
    let at = base.checked_add(index.checked_mul(size.into())?)?;
    Cursor::<BIG>::new(table, usize::try_from(at).ok()?).word(size).ok()
}

fn unsigned(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Unsigned(value) => Some(value),
        Value::Signed(value) => u64::try_from(value).ok(),
        _ => None,
    }
}

/// A constant that may be negative; clang writes those of `DW_AT_bit_offset` as 64 bits without a sign.
fn signed(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Unsigned(value) => Some(value as i64),
        Value::Signed(value) => Some(value),
        _ => None,
    }
}

/// Whether a type is a signed integer, typedefs looked through.
fn is_signed(unit: &Unit, id: LocalId) -> bool {
    let mut id = id;
    for _ in 0..MAX_ALIASES {
        let &[_, info, third, ref payload @ ..] = unit.record(id) else { return false };
        match Kind::from_number(Info(info).kind_number()) {
            Some(Kind::Typedef) => id = LocalId(third),
            Some(Kind::Int) => {
                return payload.first().is_some_and(|&word| word >> 24 & u32::from(INT_SIGNED) != 0);
            }
            _ => return false,
        }
    }
    false
}

/// A number of elements as a `vlen`.
pub(crate) fn vlen(len: usize) -> Result<u32, UnitError> {
    u32::try_from(len)
        .ok()
        .filter(|&len| len <= btf::kind::MAX_VLEN)
        .ok_or(UnitError::TooLarge("a type with more than 65535 members"))
}

/// `DW_LANG_C_plus_plus_23` of the list of languages that follows DWARF 5.
const DW_LANG_C_PLUS_PLUS_23: gimli::DwLang = gimli::DwLang(0x3a);

/// Whether a unit's types are C's. Languages that are known to be others are told apart, so that a newer C is not taken for one.
fn is_c(language: u64) -> bool {
    let Ok(language) = u16::try_from(language).map(gimli::DwLang) else { return true };
    !matches!(
        language,
        gimli::DW_LANG_C_plus_plus
            | gimli::DW_LANG_C_plus_plus_03
            | gimli::DW_LANG_C_plus_plus_11
            | gimli::DW_LANG_C_plus_plus_14
            | gimli::DW_LANG_C_plus_plus_17
            | gimli::DW_LANG_C_plus_plus_20
            | DW_LANG_C_PLUS_PLUS_23
            | gimli::DW_LANG_Rust
            | gimli::DW_LANG_ObjC_plus_plus
            | gimli::DW_LANG_Go
            | gimli::DW_LANG_Swift
            | gimli::DW_LANG_D
            | gimli::DW_LANG_Zig
    )
}
