//! Members of structs and unions: where DWARF says they are, in bits, in all of its three ways.

use btf::dedup::{LocalId, Name, Unit, head};
use btf::{Kind, kind::Info};

use super::cursor::Cursor;
use super::far_members::{Bitfield, Moved, regroup};
use super::form::Value;
use super::unit::vlen;

/// What a member's DIE says of its place.
#[derive(Default, Clone, Copy, Debug)]
pub(crate) struct Bits {
    /// `DW_AT_data_member_location` in bytes; `None` if it is missing, [`Location::Unknown`] if it is not a constant.
    location: Option<Location>,
    /// `DW_AT_data_bit_offset` in bits from the start of the struct.
    pub(crate) data_bit_offset: Option<u64>,
    /// `DW_AT_bit_offset` (DWARF 2 and 3, and gcc's DWARF 4): bits from the most significant bit of the storage unit to the field's.
    pub(crate) old_offset: Option<i64>,
    /// `DW_AT_bit_size` in bits.
    pub(crate) size: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Location {
    Bytes(u64),
    Unknown,
}

impl Bits {
    /// Takes a constant, or an expression that adds one to the struct's address.
    pub(crate) fn set_location<const BIG: bool>(&mut self, value: Value<'_>) {
        let known = match value {
            Value::Unsigned(bytes) => Some(bytes),
            Value::Signed(bytes) => u64::try_from(bytes).ok(),
            Value::Block(expression) => constant::<BIG>(expression),
            _ => None,
        };
        self.location = Some(known.map_or(Location::Unknown, Location::Bytes));
    }
}

/// The constant that a member's location expression adds: `DW_OP_plus_uconst n`, or `DW_OP_constu n` with an optional `DW_OP_plus`.
fn constant<const BIG: bool>(expression: &[u8]) -> Option<u64> {
    let mut cursor = Cursor::<BIG>::new(expression, 0);
    let value = match gimli::DwOp(cursor.u8().ok()?) {
        gimli::DW_OP_plus_uconst => cursor.uleb().ok()?,
        gimli::DW_OP_constu => {
            let value = cursor.uleb().ok()?;
            if !cursor.is_at_end() && gimli::DwOp(cursor.u8().ok()?) != gimli::DW_OP_plus {
                return None;
            }
            value
        }
        _ => return None,
    };
    cursor.is_at_end().then_some(value)
}

/// A member as its DIE has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: Name,
    /// DIE offset of the type.
    pub(crate) ty: u32,
    /// `DW_AT_byte_size`: of a bitfield's storage unit.
    pub(crate) size: Option<u64>,
    pub(crate) bits: Bits,
}

impl Member {
    /// The place and width of a bitfield as a number, by which it can be compared with others; `None` for what is no bitfield, and for rare ones.
    /// Equal ones of structs in one file lie at the same bits.
    pub(super) fn bitfield_number(&self) -> Option<u32> {
        let Bits { location, data_bit_offset, old_offset, size } = self.bits;
        // The kernel has other rules for wider ones.
        let width = size.filter(|width| (1..=32).contains(width))? as u32;
        let place = match (location, data_bit_offset, old_offset) {
            (None, Some(bits), None) if bits <= MAX_BITFIELD_OFFSET => 1 << 24 | bits as u32,
            (Some(Location::Bytes(bytes)), None, Some(bits)) if bytes < 1 << 14 => {
                let storage = self.size.filter(|size| (1..1 << 4).contains(size))? as u32;
                let bits = u32::try_from(bits).ok().filter(|bits| *bits < 1 << 6)?;
                (bytes as u32) << 10 | storage << 6 | bits
            }
            _ => return None,
        };
        Some(BITFIELD | place << 6 | width)
    }
}

/// Tells bitfields from members whose place is a number of bytes.
pub(super) const BITFIELD: u32 = 1 << 31;

/// `DW_AT_bit_offset`, to be turned into an offset by the byte order and the size of the storage unit.
#[derive(Clone, Copy)]
struct Old {
    bit_offset: i64,
    storage: Option<u64>,
}

/// A member that is no plain one: a bitfield, or one that is too far from the start of the struct.
#[derive(Clone, Copy)]
struct Special {
    /// Which of the open members it is.
    index: usize,
    /// Bits from the start of the struct; of a member with `old` those of its storage unit.
    bit_offset: u64,
    width: u32,
    old: Option<Old>,
}

/// Members of the structs that are being read, innermost last, and those that wait for the size of their types.
#[derive(Default)]
pub(crate) struct Members {
    /// As BTF has them: name, type, offset in bits.
    open: Vec<[u32; 3]>,
    special: Vec<Special>,
    waiting: Vec<Waiting>,
    /// Structs in which 24 bits are too few for an offset, with their bitfields.
    far: Vec<(LocalId, Vec<Special>)>,
    /// Where the members of those have moved.
    moved: Moved,
    /// Structs with bitfields.
    with_bitfields: Vec<LocalId>,
    /// Structs that cannot be expressed.
    hopeless: Vec<LocalId>,
}

struct Waiting {
    id: LocalId,
    index: u32,
    /// Bits from the start of the struct to the storage unit.
    base: u64,
    width: u32,
    old: Old,
}

/// Offsets beside bitfields have 24 bits.
pub(super) const MAX_BITFIELD_OFFSET: u64 = 0x00ff_ffff;

impl Members {
    pub(crate) fn clear(&mut self) {
        self.open.clear();
        self.special.clear();
        self.waiting.clear();
        self.far.clear();
        self.moved.clear();
        self.with_bitfields.clear();
        self.hopeless.clear();
    }

    /// Where a member has come to stand, by its struct and number.
    pub(crate) fn moved(&self, id: LocalId, index: u32) -> (LocalId, u32) {
        self.moved.get(&(id, index)).copied().unwrap_or((id, index))
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes in a member that is no bitfield, at a place in bytes.
    #[inline]
    pub(crate) fn push_plain(&mut self, name: Name, ty: u32, bytes: u64) {
        let bit_offset = bytes.saturating_mul(8);
        match u32::try_from(bit_offset) {
            Ok(bit_offset) => self.open.push([name.word(), ty, bit_offset]),
            Err(_) => self.push_special(name, ty, (bit_offset, 0, None)),
        }
    }

    /// Takes in a member as BTF has it, of a struct with bitfields or without.
    pub(crate) fn push_placed(&mut self, name: Name, ty: u32, offset: u32, bitfields: bool) {
        let (bits, width) = if bitfields { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
        self.push_special(name, ty, (bits.into(), width, None));
    }

    /// Takes in a type that is the same as one with bitfields, but for what it refers to.
    pub(crate) fn defined_like(&mut self, id: LocalId) {
        self.with_bitfields.push(id);
    }

    /// Takes in a member, unless it is a static one, which is no part of the struct. Answers whether it did.
    pub(crate) fn push(&mut self, member: Member, union: bool) -> bool {
        let Member { name, ty, size, bits } = member;
        let bytes = match bits.location {
            Some(Location::Bytes(bytes)) => Some(bytes),
            Some(Location::Unknown) => None,
            None if union || bits.data_bit_offset.is_some() => Some(0),
            None => return false,
        };
        let width = bits.size.map_or(0, |width| width.min(u64::from(u32::MAX)) as u32);
        // An unknown place is beyond any that can be written, so that the struct is seen to be inexpressible.
        let base = bytes.map_or(u64::MAX, |bytes| bytes.saturating_mul(8));
        let (bit_offset, old) = match (bits.data_bit_offset, bits.old_offset) {
            (Some(offset), _) => (base.saturating_add(offset), None),
            (None, Some(bit_offset)) if width != 0 => (base, Some(Old { bit_offset, storage: size })),
            _ => (base, None),
        };
        self.push_special(name, ty, (bit_offset, width, old));
        true
    }

    fn push_special(&mut self, name: Name, ty: u32, (bit_offset, width, old): (u64, u32, Option<Old>)) {
        match u32::try_from(bit_offset) {
            Ok(bit_offset) if width == 0 => self.open.push([name.word(), ty, bit_offset]),
            _ => {
                self.special.push(Special { index: self.open.len(), bit_offset, width, old });
                self.open.push([name.word(), ty, 0]);
            }
        }
    }

    /// Writes the record of a struct or union from the members pushed since `from`. Answers whether each of them has its place in it.
    pub(crate) fn define(
        &mut self,
        unit: &mut Unit<'_>,
        id: LocalId,
        (kind, name, size): (Kind, Name, u32),
        from: usize,
        degraded: &mut u32,
    ) -> bool {
        let vlen = vlen(self.open.len() - from);
        let special =
            self.special.iter().rposition(|special| special.index < from).map_or(0, |last| last + 1);
        let bitfields = self.special[special..].iter().any(|member| member.width != 0);
        let mut whole = false;
        match vlen {
            Some(vlen) if self.place_special(id, from, special, bitfields) => {
                whole = true;
                if bitfields {
                    self.with_bitfields.push(id);
                }
                unit.define(id, head(name, kind, vlen, bitfields, size), self.open[from..].as_flattened());
            }
            Some(vlen) if kind == Kind::Struct && self.defer_far(id, from, special) => {
                unit.define(id, head(name, kind, vlen, false, size), self.open[from..].as_flattened());
            }
            // Nothing is better than something wrong: the struct keeps its name and size.
            _ => {
                *degraded += 1;
                unit.define(id, head(name, kind, 0, false, size), &[]);
            }
        }
        self.open.truncate(from);
        self.special.truncate(special);
        whole
    }

    /// Keeps the bitfields since `from` until their places are known, if those can be in reach of 32 bits and all else is.
    fn defer_far(&mut self, id: LocalId, from: usize, special: usize) -> bool {
        let bitfields = &self.special[special..];
        let fits = |field: &Special| field.bit_offset <= u32::MAX.into() && (1..=0xff).contains(&field.width);
        if !bitfields.iter().all(fits) {
            return false;
        }
        let relative = |field: &Special| Special { index: field.index - from, ..*field };
        self.far.push((id, bitfields.iter().map(relative).collect()));
        true
    }

    /// Places what is special among the members since `from`. Returns whether all of them can be expressed.
    fn place_special(&mut self, id: LocalId, from: usize, special: usize, bitfields: bool) -> bool {
        let limit = if bitfields { MAX_BITFIELD_OFFSET } else { u32::MAX.into() };
        let fits = |special: &Special| special.bit_offset <= limit && special.width <= 0xff;
        let plain_fit =
            !bitfields || self.open[from..].iter().all(|&[.., offset]| u64::from(offset) <= limit);
        if !plain_fit || !self.special[special..].iter().all(fits) {
            return false;
        }
        for &Special { index, bit_offset, width, old } in &self.special[special..] {
            self.open[index][2] = bit_offset as u32 | width << 24;
            if let Some(old) = old {
                let index = (index - from) as u32;
                self.waiting.push(Waiting { id, index, base: bit_offset, width, old });
            }
        }
        true
    }

    /// Bitfields of enums that are too wide for the kernel, which takes every enum for 32 bits there: the struct, the word of the type,
    /// and whether it is signed.
    pub(crate) fn wide_enums(&self, unit: &Unit<'_>) -> Vec<(LocalId, usize, bool)> {
        let mut wide = Vec::new();
        for &id in &self.with_bitfields {
            for (at, (ty, offset)) in unit.members(id).enumerate() {
                if offset >> 24 > 32
                    && let Some((Kind::Enum64 | Kind::Enum, info, _)) = number_type(unit, ty)
                {
                    wide.push((id, 4 + at * 3, info.kind_flag()));
                }
            }
        }
        wide
    }

    /// Places the bitfields that are told by `DW_AT_bit_offset`, once types are local ids. Returns how many structs could not be expressed.
    pub(crate) fn mend(&mut self, unit: &mut Unit<'_>, address_size: u8, big: bool) -> u32 {
        for waiting in std::mem::take(&mut self.waiting) {
            let Waiting { id, index, base, width, old } = waiting;
            let place = 3 + index as usize * 3;
            let ty = LocalId(unit.record(id).get(place + 1).copied().unwrap_or(0));
            let bits = old.place(base, width, big, || size_of(unit, ty, address_size));
            match bits.filter(|&bits| bits <= MAX_BITFIELD_OFFSET) {
                Some(bits) => {
                    if let Some(word) = unit.record_mut(id).get_mut(place + 2) {
                        *word = bits as u32 | width << 24;
                    }
                }
                None => self.hopeless.push(id),
            }
        }
        for (id, fields) in std::mem::take(&mut self.far) {
            let placed = |&Special { index, bit_offset, width, old }: &Special| {
                let ty = LocalId(unit.record(id).get(4 + index * 3).copied().unwrap_or(0));
                let start = match old {
                    Some(old) => old.place(bit_offset, width, big, || size_of(unit, ty, address_size)),
                    None => Some(bit_offset),
                };
                let start = start.and_then(|start| u32::try_from(start).ok())?;
                Some(Bitfield { index, start, width: u8::try_from(width).ok()? })
            };
            // One that has lost its members since needs no more.
            let is_whole = fields.last().is_none_or(|last| unit.record(id).len() > 3 + last.index * 3);
            match fields.iter().map(placed).collect::<Option<Vec<_>>>() {
                Some(bitfields) if is_whole => regroup(unit, id, &bitfields, &mut self.moved),
                Some(_) => {}
                None => self.hopeless.push(id),
            }
        }
        for &id in &self.with_bitfields {
            let fits = |(ty, offset): (LocalId, u32)| {
                let width = offset >> 24;
                width == 0 || number_type(unit, ty).is_some_and(|(.., bits)| width <= bits)
            };
            if !unit.members(id).all(fits) {
                self.hopeless.push(id);
            }
        }
        self.hopeless.sort_unstable_by_key(|id| id.0);
        self.hopeless.dedup();
        for &id in &self.hopeless {
            if let [name, info, size, ..] = *unit.record(id) {
                let kind = Kind::from_number(Info(info).kind_number()).unwrap_or(Kind::Struct);
                unit.define(id, [name, Info::new(kind, 0, false).0, size], &[]);
            }
        }
        self.hopeless.len() as u32
    }
}

impl Old {
    /// Bits from the start of the struct to the bitfield, whose storage unit is `base` bits from there. `size` is that of its type.
    fn place(self, base: u64, width: u32, big: bool, size: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let start = if big {
            self.bit_offset
        } else {
            let bits = self.storage.or_else(size)?.checked_mul(8)?;
            i64::try_from(bits).ok()?.checked_sub(self.bit_offset)?.checked_sub(width.into())?
        };
        u64::try_from(i64::try_from(base).ok()?.checked_add(start)?).ok()
    }
}

/// The kind and `info` of an integer or enum, and how wide bitfields of it may be, typedefs and qualifiers looked through.
fn number_type(unit: &Unit<'_>, id: LocalId) -> Option<(Kind, Info, u32)> {
    let mut id = id;
    for _ in 0..MAX_DEPTH {
        let &[_, info, third, ..] = unit.record(id) else { return None };
        let info = Info(info);
        let kind = Kind::from_number(info.kind_number())?;
        match kind {
            Kind::Int => return Some((kind, info, third.saturating_mul(8))),
            Kind::Enum | Kind::Enum64 => return Some((kind, info, 32)),
            Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                id = LocalId(third);
            }
            _ => return None,
        }
    }
    None
}

/// How deep types may refer to each other before a size is sought no further.
const MAX_DEPTH: u32 = 64;

/// Size of a type in bytes, typedefs and qualifiers looked through. More than 64 bits hold is [`u64::MAX`].
pub(crate) fn size_of(unit: &Unit<'_>, id: LocalId, address_size: u8) -> Option<u64> {
    let mut id = id;
    let mut factor: u64 = 1;
    for _ in 0..MAX_DEPTH {
        let record = unit.record(id);
        let [_, info, third, ..] = *record else { return None };
        let kind = Kind::from_number(Info(info).kind_number())?;
        match kind {
            Kind::Ptr => return Some(factor.saturating_mul(address_size.into())),
            Kind::Array => {
                let (&element, &len) = (record.get(3)?, record.get(5)?);
                factor = factor.saturating_mul(len.into());
                id = LocalId(element);
            }
            Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                id = LocalId(third);
            }
            kind if kind.is_sized() => return Some(factor.saturating_mul(third.into())),
            _ => return None,
        }
    }
    None
}
