//! Where members are, beside where C would put them by itself.
//!
//! BTF says offsets and sizes, not what made them: natural alignment, `aligned`, `packed`, bitfields of other types. A struct is written without
//! attributes where C's rules (the System V ABIs', as clang and gcc implement them) lead to BTF's offsets, with unnamed bitfields as padding
//! where they leave holes; else `packed`, where every hole is padding. Kernels of 32 bits align numbers of 8 bytes to 4 or to 8 bytes, and BTF
//! does not say which: for them both rules must lead to the same offsets.

use crate::TypeId;
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::read::Btf;
use crate::types::{Member, Type};

/// How deep types may contain each other without a name between.
const MAX_DEPTH: u32 = 64;
/// How many pointers, arrays, qualifiers and typedefs may stand between a name and its type, and how deep bodies and prototypes may nest.
pub(super) const MAX_CHAIN: u32 = 64;

/// How a struct or union is written, so that it has its layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// `__attribute__((packed))`.
    pub(super) packed: bool,
    /// `__attribute__((aligned(…)))`, in bytes, for a union that is larger than its members.
    pub(super) aligned: Option<u32>,
    /// Holes: bits before each member.
    pub(super) before: Vec<u64>,
    /// The hole at the end in bits.
    pub(super) after: u64,
    /// The widest type, in bits, that padding may be written with.
    pub(super) widest: u32,
    /// No C has this layout (members overlap, or are outside): the struct becomes bytes.
    pub(super) opaque: bool,
    /// What C will align it to under each of the rules, in bytes.
    align: [u32; 2],
}

/// A member as C sees it.
pub(super) struct Field {
    /// Offset in bits.
    pub(super) at: u64,
    /// Width of a bitfield in bits; 0 for others.
    pub(super) width: u32,
    /// Size of its type in bytes.
    size: u64,
    align: [u32; 2],
}

/// Finds the plans of one blob's structs and unions, each once.
pub(super) struct Layouts<'b, 'a> {
    btf: &'b Btf<'a>,
    pointer_size: u32,
    plans: std::collections::HashMap<u32, Plan>,
}

impl<'b, 'a> Layouts<'b, 'a> {
    pub(super) fn new(btf: &'b Btf<'a>, pointer_size: u32) -> Self {
        Self { btf, pointer_size, plans: std::collections::HashMap::new() }
    }

    /// How this struct or union is written.
    pub(super) fn plan(&mut self, ty: &Type<'a>) -> Result<Plan> {
        self.plan_within(ty, 0)
    }

    /// Offset and width of a member in bits, wherever the blob keeps them.
    pub(super) fn place(&self, member: &Member) -> Result<(u64, u32)> {
        let (at, width) = (u64::from(member.bit_offset), u32::from(member.bit_width));
        if width != 0 {
            return Ok((at, width));
        }
        // Before the kind flag (Linux 5.0), the INT itself said so.
        let ty = skip(self.btf, member.ty)?;
        Ok(match ty.as_ref().and_then(|ty| Some((ty.int()?, ty.size()?))) {
            Some((int, size)) if u64::from(int.bits) != u64::from(size) * 8 || int.bit_offset != 0 => {
                (at + u64::from(int.bit_offset), u32::from(int.bits))
            }
            _ => (at, 0),
        })
    }

    fn plan_within(&mut self, ty: &Type<'a>, depth: u32) -> Result<Plan> {
        if let Some(plan) = self.plans.get(&ty.id().0) {
            return Ok(plan.clone());
        }
        if depth > MAX_DEPTH {
            let reason = format!("types contain each other more than {MAX_DEPTH} deep");
            return Err(Error::Invalid { id: ty.id(), kind: ty.kind(), offset: ty.offset(), reason });
        }
        let mut fields = Vec::with_capacity(ty.members().len());
        for member in ty.members() {
            let (at, width) = self.place(&member)?;
            let (size, align) = self.size_and_align(member.ty, depth)?;
            fields.push(Field { at, width, size, align });
        }
        let size = u64::from(ty.size().unwrap_or(0));
        let plan = if ty.kind() == Kind::Union { union(&fields, size) } else { structure(&fields, size) };
        self.plans.insert(ty.id().0, plan.clone());
        Ok(plan)
    }

    /// Size in bytes of a type, and what C aligns it to under each of the rules.
    fn size_and_align(&mut self, id: TypeId, depth: u32) -> Result<(u64, [u32; 2])> {
        let Some(ty) = skip(self.btf, id)? else { return Ok((0, [1; 2])) };
        let size = u64::from(ty.size().unwrap_or(0));
        let natural = |size: u64| match size {
            8 if self.pointer_size == 4 => [4, 8],
            0 => [1; 2],
            size => [1_u32 << size.trailing_zeros().min(4); 2],
        };
        Ok(match ty.kind() {
            // What C has no number for is written as a struct of bytes.
            Kind::Int if !size.is_power_of_two() || size > 16 => (size, [1; 2]),
            Kind::Float if !matches!(size, 4 | 8) => (size, [1; 2]),
            Kind::Int | Kind::Float => (size, natural(size)),
            Kind::Ptr => (self.pointer_size.into(), [self.pointer_size; 2]),
            Kind::Enum | Kind::Enum64 => (size, natural(size)),
            Kind::Struct | Kind::Union => (size, self.plan_within(&ty, depth + 1)?.align),
            Kind::Array => {
                let array = ty.array().unwrap_or(crate::Array { element: id, index: id, len: 0 });
                if depth > MAX_DEPTH {
                    let reason = format!("types contain each other more than {MAX_DEPTH} deep");
                    return Err(Error::Invalid { id, kind: ty.kind(), offset: ty.offset(), reason });
                }
                let (size, align) = self.size_and_align(array.element, depth + 1)?;
                (size.saturating_mul(u64::from(array.len)), align)
            }
            _ => (0, [1; 2]),
        })
    }
}

/// The type without qualifiers and typedefs; `None` for void.
///
/// # Errors
/// [`Error::Invalid`] for more of them than a declaration may have: every member that uses them would take as many steps.
pub(super) fn skip<'a>(btf: &Btf<'a>, id: TypeId) -> Result<Option<Type<'a>>> {
    let mut next = id;
    for _ in 0..=MAX_CHAIN {
        if next == TypeId::VOID {
            return Ok(None);
        }
        let ty = btf.ty(next)?;
        match ty.target() {
            Some(target) if ty.kind().is_modifier() || ty.kind() == Kind::Typedef => next = target,
            _ => return Ok(Some(ty)),
        }
    }
    let ty = btf.ty(id)?;
    let reason = format!("more than {MAX_CHAIN} qualifiers and typedefs stand between it and what it is");
    Err(Error::Invalid { id, kind: ty.kind(), offset: ty.offset(), reason })
}

fn structure(fields: &[Field], size: u64) -> Plan {
    // Nothing but a hole is padded with wider types than bytes.
    let natural = if fields.is_empty() && size != 0 { None } else { natural(fields, size) };
    natural.or_else(|| packed(fields, size)).unwrap_or_else(|| opaque(fields))
}

/// Holes that lead to the right offsets without attributes, if any do.
fn natural(fields: &[Field], size: u64) -> Option<Plan> {
    let align = [0, 1].map(|rule| fields.iter().map(|field| field.align[rule]).max().unwrap_or(1));
    let mut before = vec![0; fields.len()];
    let mut after = 0;
    for rule in [0, 1] {
        let mut end = 0_u64;
        for (field, hole) in fields.iter().zip(&mut before) {
            let boundary = u64::from(field.align[rule]) * 8;
            let place = |end: u64| {
                if field.width == 0 || end % boundary + u64::from(field.width) > field.size * 8 {
                    end.next_multiple_of(boundary)
                } else {
                    end
                }
            };
            if place(end) != field.at || *hole != 0 {
                *hole = (*hole).max(field.at.checked_sub(end)?);
                if place(field.at) != field.at {
                    return None;
                }
            }
            end = field.at.checked_add(field.bits()?)?;
        }
        let (whole, boundary) = (size * 8, u64::from(align[rule]) * 8);
        if end.next_multiple_of(boundary) != whole || after != 0 {
            after = after.max(whole.checked_sub(end)?);
            if !whole.is_multiple_of(boundary) {
                return None;
            }
        }
    }
    Some(Plan {
        packed: false,
        aligned: None,
        before,
        after,
        widest: align[0].min(8) * 8,
        opaque: false,
        align,
    })
}

/// All holes, for members that follow each other without any.
fn packed(fields: &[Field], size: u64) -> Option<Plan> {
    let mut before = Vec::with_capacity(fields.len());
    let mut end = 0_u64;
    for field in fields {
        if field.width == 0 && !field.at.is_multiple_of(8) {
            return None;
        }
        before.push(field.at.checked_sub(end)?);
        end = field.at.checked_add(field.bits()?)?;
    }
    let after = (size * 8).checked_sub(end)?;
    Some(Plan { packed: true, aligned: None, before, after, widest: 64, opaque: false, align: [1; 2] })
}

fn union(fields: &[Field], size: u64) -> Plan {
    let largest =
        fields.iter().map(|field| field.bits().map(|bits| bits.div_ceil(8))).max().unwrap_or(Some(0));
    let Some(largest) =
        largest.filter(|largest| *largest <= size && fields.iter().all(|field| field.at == 0))
    else {
        return opaque(fields);
    };
    let align = [0, 1].map(|rule| fields.iter().map(|field| field.align[rule]).max().unwrap_or(1));
    let plan = |packed, aligned, align| Plan {
        packed,
        aligned,
        before: vec![0; fields.len()],
        after: 0,
        widest: 8,
        opaque: false,
        align,
    };
    if align.iter().all(|&align| largest.next_multiple_of(align.into()) == size) {
        return plan(false, None, align);
    }
    if largest == size {
        return plan(true, None, [1; 2]);
    }
    // Larger than what is in it: aligned to more, if a power of two explains the size.
    match (0..31).map(|power| 1_u32 << power).find(|&more| largest.next_multiple_of(more.into()) == size) {
        Some(more) => plan(true, Some(more), [more; 2]),
        None => opaque(fields),
    }
}

fn opaque(fields: &[Field]) -> Plan {
    Plan {
        packed: true,
        aligned: None,
        before: vec![0; fields.len()],
        after: 0,
        widest: 8,
        opaque: true,
        align: [1; 2],
    }
}

impl Field {
    /// Bits that it takes; `None` for a bitfield wider than its type, and where no machine has as many bits.
    fn bits(&self) -> Option<u64> {
        let bits = self.size.checked_mul(8)?;
        match u64::from(self.width) {
            0 => Some(bits),
            width => Some(width).filter(|&width| width <= bits),
        }
    }
}
