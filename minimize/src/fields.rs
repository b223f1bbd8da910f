//! Fields: finding an object's field in a type of the kernel, and what can be asked of it.
//!
//! Source: `bpf_core_match_member`, `bpf_core_fields_are_compat`, `bpf_core_spec_match` and `bpf_core_calc_field_relo` of libbpf, followed even where
//! they are odd: the first member of the right name decides, but an incompatible one inside an anonymous member leaves its offset behind.

use btf::kind::INT_SIGNED;
use btf::{BStr, Endian, Kind, TypeId};

use crate::flavour::essential_name;
use crate::reason::Reason;
use crate::relocation::RelocationKind;
use crate::resolve::Matcher;
use crate::spec::{Accessor, Landing, MAX_STEPS, Spec, bits, is_last_member};
use crate::trace::{Event, Trace};
use crate::types::{Place, Types, kinds_compatible};

/// Deepest array of arrays compared; libbpf would follow an array of itself for ever.
const MAX_ARRAY_DEPTH: u32 = 4096;

/// What a relocation gets from a field, on one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    pub(crate) value: u64,
    /// Bytes that a load at that offset would read; 0 where that is not the question.
    pub(crate) load: u32,
    pub(crate) class: LoadClass,
    /// Whether the answer rests on the size of pointers.
    pub(crate) of_pointer: bool,
}

/// Which loads may read another number of bytes than the compiler thought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LoadClass {
    Pointer,
    Unsigned,
    Other,
}

/// A named member looked for.
struct Wanted<'a> {
    name: &'a BStr,
    ty: TypeId,
}

/// How far a search has come.
#[derive(Default)]
struct Progress {
    bit_offset: u32,
    depth: usize,
}

/// What a search for a member found.
enum Found<'a> {
    No,
    /// A member of that name which is of another kind.
    Incompatible,
    Yes(Accessor<'a>, TypeId),
}

impl<'l, 'k, T: Trace> Matcher<'_, 'l, 'k, T> {
    /// Finds the field that `spec` means in a type of the kernel.
    pub(crate) fn find_field(
        &mut self,
        spec: &Spec<'l>,
        candidate: TypeId,
    ) -> Result<Option<Landing<'k>>, Reason> {
        self.trace.note(Event::Type(candidate));
        let mut progress = Progress::default();
        let mut id = candidate;
        let mut last: Option<Accessor<'k>> = None;
        for step in &spec.accessors {
            let place = self.target.skip(id)?;
            if step.name.is_some() {
                let wanted = self.wanted(step)?;
                match self.find_member(&wanted, place, &mut progress)? {
                    Found::Yes(found, ty) => (last, id) = (Some(found), ty),
                    Found::No | Found::Incompatible => return Ok(None),
                }
                continue;
            }
            id = match &last {
                None => place.id,
                Some(last) => match self.element(place, step.index, last)? {
                    Some(element) => element,
                    None => return Ok(None),
                },
            };
            if progress.depth == MAX_STEPS {
                return Err(Reason::TooDeep);
            }
            progress.depth += 1;
            last = Some(Accessor { ty: id, index: step.index, name: None });
            let size = self.target.size(id)?;
            if i32::try_from(size.bytes).is_err() {
                return Err(Reason::SizeTooLarge(id)); // libbpf keeps it in an int here
            }
            if size.of_pointer && step.index != 0 {
                self.trace.note(Event::PointerSize);
            }
            progress.bit_offset = progress.bit_offset.wrapping_add(bits(step.index, size.bytes));
        }
        Ok(last.map(|last| Landing { bit_offset: progress.bit_offset, last }))
    }

    fn wanted(&self, step: &Accessor<'l>) -> Result<Wanted<'l>, Reason> {
        // The spec was made from this very member.
        let member = self.local.get(step.ty)?.ty.and_then(|ty| ty.member(step.index));
        let (Some(member), Some(name)) = (member, step.name) else { return Err(Reason::NoMembers(None)) };
        Ok(Wanted { name, ty: member.ty })
    }

    /// The element type of an array that has such an element.
    fn element(
        &mut self,
        place: Place<'k>,
        index: u32,
        last: &Accessor<'k>,
    ) -> Result<Option<TypeId>, Reason> {
        let Some(array) = place.ty.and_then(|ty| ty.array()) else { return Ok(None) };
        if index >= array.len {
            let flexible = array.len == 0 && is_last_member(self.target, last)?;
            if !flexible {
                if array.len == 0 && last.name.is_some() {
                    self.trace.note(Event::NotLast(last.ty, last.index));
                }
                return Ok(None);
            }
        }
        Ok(Some(self.target.skip(array.element)?.id))
    }

    /// Searches a struct or union depth first, through its anonymous members.
    fn find_member(
        &mut self,
        wanted: &Wanted<'l>,
        place: Place<'k>,
        progress: &mut Progress,
    ) -> Result<Found<'k>, Reason> {
        let Some(composite) = place.composite() else { return Ok(Found::No) };
        let mut incompatible = false;
        for (index, member) in composite.members().enumerate() {
            self.step()?;
            let index = index as u32;
            if progress.depth == MAX_STEPS {
                self.trace.note(Event::Member(place.id, index));
                return Err(Reason::TooDeep);
            }
            progress.bit_offset = progress.bit_offset.wrapping_add(member.bit_offset);
            progress.depth += 1;
            let name = self.target.string(member.name)?;
            if name.is_empty() {
                let mark = self.trace.mark();
                self.trace.note(Event::Member(place.id, index));
                let inner = self.target.skip(member.ty)?;
                match self.find_member(wanted, inner, progress)? {
                    Found::No => self.trace.discard(mark),
                    Found::Incompatible => incompatible = true,
                    found @ Found::Yes(..) => return Ok(found),
                }
            } else if name == wanted.name {
                self.trace.note(Event::Member(place.id, index));
                if !self.fields_compatible(wanted.ty, member.ty)? {
                    return Ok(Found::Incompatible);
                }
                let found = Accessor { ty: place.id, index, name: Some(name) };
                return Ok(Found::Yes(found, member.ty));
            }
            progress.bit_offset = progress.bit_offset.wrapping_sub(member.bit_offset);
            progress.depth -= 1;
        }
        Ok(if incompatible { Found::Incompatible } else { Found::No })
    }

    /// Whether a field of one type can stand for one of the other. Sizes, signs and array lengths may differ.
    fn fields_compatible(&mut self, local: TypeId, target: TypeId) -> Result<bool, Reason> {
        let (mut local, mut target) = (self.local.skip(local)?, self.target.skip(target)?);
        for _ in 0..MAX_ARRAY_DEPTH {
            if local.composite().is_some() && target.composite().is_some() {
                return Ok(true);
            }
            let (Some(one), Some(other)) = (local.ty, target.ty) else { return Ok(false) };
            if !kinds_compatible(local.kind(), target.kind()) {
                return Ok(false);
            }
            match one.kind() {
                Kind::Ptr | Kind::Float => return Ok(true),
                Kind::Fwd | Kind::Enum | Kind::Enum64 => {
                    let (one, other) = (self.local.name(local)?, self.target.name(target)?);
                    return Ok(one.is_empty()
                        || other.is_empty()
                        || essential_name(one) == essential_name(other));
                }
                Kind::Int => {
                    let at_start = |int: Option<btf::Int>| int.is_some_and(|int| int.bit_offset == 0);
                    return Ok(at_start(one.int()) && at_start(other.int()));
                }
                Kind::Array => {
                    let element =
                        |array: Option<btf::Array>| array.map_or(TypeId::VOID, |array| array.element);
                    local = self.local.skip(element(one.array()))?;
                    target = self.target.skip(element(other.array()))?;
                }
                _ => return Ok(false),
            }
        }
        Err(Reason::Cyclic(target.id))
    }
}

/// What a relocation gets from a field, on either side.
pub(crate) fn measure(
    types: Types<'_, '_>,
    kind: RelocationKind,
    landing: Landing<'_>,
    endian: Endian,
) -> Result<Field, Reason> {
    let Landing { bit_offset, last } = landing;
    let plain =
        |value: u32| Field { value: value.into(), load: 0, class: LoadClass::Other, of_pointer: false };
    if last.name.is_none() {
        let size = types.size(last.ty)?;
        let of_pointer = size.of_pointer;
        return match kind {
            RelocationKind::FieldByteOffset => {
                let class = load_class(types.skip(last.ty)?);
                Ok(Field { load: size.bytes, class, of_pointer, ..plain(bit_offset / 8) })
            }
            RelocationKind::FieldByteSize => Ok(Field { of_pointer, ..plain(size.bytes) }),
            _ => Err(Reason::ArrayElement),
        };
    }
    let member =
        types.get(last.ty)?.ty.and_then(|ty| ty.member(last.index)).ok_or(Reason::NoMembers(None))?;
    let place = types.skip(member.ty)?;
    let bitfield = member.bit_width != 0;
    let (byte_size, byte_offset, bit_size, of_pointer) = if bitfield {
        let unit = place.ty.and_then(|ty| ty.size()).ok_or(Reason::NoSize(place.id))?;
        let (size, offset) = bitfield_load(bit_offset, member.bit_width.into(), unit)?;
        (size, offset, member.bit_width.into(), false)
    } else {
        let size = types.size(place.id)?;
        (size.bytes, bit_offset / 8, size.bytes.wrapping_mul(8), size.of_pointer)
    };
    let within = bit_offset.wrapping_sub(byte_offset.wrapping_mul(8));
    Ok(match kind {
        RelocationKind::FieldByteOffset if bitfield => plain(byte_offset),
        RelocationKind::FieldByteOffset => {
            Field { load: byte_size, class: load_class(place), of_pointer, ..plain(byte_offset) }
        }
        RelocationKind::FieldByteSize => Field { of_pointer, ..plain(byte_size) },
        RelocationKind::FieldSigned => plain(u32::from(is_signed(place))),
        RelocationKind::FieldLshiftU64 => {
            let shift = match endian {
                Endian::Little => 64u32.wrapping_sub(within.wrapping_add(bit_size)),
                Endian::Big => 8u32.wrapping_sub(byte_size).wrapping_mul(8).wrapping_add(within),
            };
            Field { of_pointer, ..plain(shift) }
        }
        RelocationKind::FieldRshiftU64 => Field { of_pointer, ..plain(64u32.wrapping_sub(bit_size)) },
        _ => plain(1),
    })
}

/// Size and offset in bytes of the smallest aligned load that covers a bitfield, starting from the size of its type.
fn bitfield_load(bit_offset: u32, bit_size: u32, unit: u32) -> Result<(u32, u32), Reason> {
    let mut size = unit;
    loop {
        if size == 0 {
            return Err(Reason::Bitfield);
        }
        let offset = bit_offset / 8 / size * size;
        let end = bit_offset.wrapping_add(bit_size).wrapping_sub(offset.wrapping_mul(8));
        if end <= size.wrapping_mul(8) {
            return Ok((size, offset));
        }
        if size >= 8 {
            return Err(Reason::Bitfield);
        }
        size *= 2;
    }
}

fn load_class(place: Place<'_>) -> LoadClass {
    match place.ty {
        Some(ty) if ty.kind() == Kind::Ptr => LoadClass::Pointer,
        Some(ty) if ty.int().is_some_and(|int| int.encoding != INT_SIGNED) => LoadClass::Unsigned,
        _ => LoadClass::Other,
    }
}

fn is_signed(place: Place<'_>) -> bool {
    place.ty.is_some_and(|ty| {
        (ty.kind().is_any_enum() && ty.kind_flag())
            || ty.int().is_some_and(|int| int.encoding & INT_SIGNED != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that the load of a bitfield starts with its type's size, grows until it fits, and never exceeds eight bytes.
    #[test]
    fn bitfield_loads() {
        assert_eq!(bitfield_load(3, 5, 4), Ok((4, 0)));
        assert_eq!(bitfield_load(35, 5, 4), Ok((4, 4)));
        assert_eq!(bitfield_load(30, 5, 4), Ok((8, 0)));
        assert_eq!(bitfield_load(7, 2, 1), Ok((2, 0)));
        assert_eq!(bitfield_load(60, 8, 8), Err(Reason::Bitfield));
        assert_eq!(bitfield_load(0, 1, 0), Err(Reason::Bitfield));
    }
}
