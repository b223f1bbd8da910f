//! Whether a member fits into its struct or union (the kernel's `check_member` and `check_kflag_member`).

use super::resolve::{Resolver, is_regular};
use crate::error::Result;
use crate::kind::Kind;
use crate::types::{Int, Member, Type};

/// Checks a member whose type is resolved. The outer error is about other types, the inner one about this member.
pub(super) fn check<'a>(
    resolver: &Resolver<'a>,
    ty: &Type<'a>,
    member: &Member,
    member_type: Type<'a>,
) -> Result<Result<(), &'static str>> {
    let Some((member_type, size)) = resolver.sized(member_type)? else {
        return Ok(Err("its type has no size"));
    };
    let place = Place {
        struct_size: ty.size_or_type().into(),
        offset: member.bit_offset.into(),
        width: member.bit_width.into(),
    };
    Ok(match (member_type.kind(), member_type.int()) {
        (_, Some(int)) if ty.kind_flag() => place.int_beside_bitfields(int),
        (_, Some(int)) => place.legacy_int(int),
        (Kind::Enum | Kind::Enum64, _) if ty.kind_flag() => place.enum_beside_bitfields(),
        _ if place.width != 0 => Err("only integers and enums can be bitfields"),
        (Kind::Float, _) => place.float(size, resolver.pointer_size),
        _ => place.whole_bytes(size),
    })
}

/// Where a member lies. Offset and width in bits, size in bytes.
struct Place {
    struct_size: u64,
    offset: u64,
    width: u64,
}

impl Place {
    fn fits(&self, end_bit: u64) -> Result<(), &'static str> {
        if end_bit.div_ceil(8) <= self.struct_size {
            Ok(())
        } else {
            Err("reaches past the end of its struct")
        }
    }

    fn whole_bytes(&self, size: u32) -> Result<(), &'static str> {
        if !self.offset.is_multiple_of(8) {
            return Err("does not start at a byte");
        }
        self.fits(self.offset + u64::from(size) * 8)
    }

    /// Alignment of floats differs between machines; the kernel demands the least of all.
    fn float(&self, size: u32, pointer_size: u32) -> Result<(), &'static str> {
        if !self.offset.is_multiple_of(u64::from(size.min(pointer_size)) * 8) {
            return Err("is a float that is not aligned");
        }
        self.fits(self.offset + u64::from(size) * 8)
    }

    /// An integer in a struct without the kind flag, whose type may say that it is a bitfield.
    fn legacy_int(&self, int: Int) -> Result<(), &'static str> {
        let start = self.offset + u64::from(int.bit_offset);
        if start > u64::from(u32::MAX) {
            return Err("starts after bit 2^32");
        }
        self.bits(start, int.bits.into())
    }

    fn int_beside_bitfields(&self, int: Int) -> Result<(), &'static str> {
        if !is_regular(int) {
            return Err("its type is no integer of whole bytes");
        }
        if self.width == 0 && !self.offset.is_multiple_of(8) {
            return Err("does not start at a byte");
        }
        if self.width > u64::from(int.bits) {
            return Err("is a bitfield wider than its type");
        }
        self.bits(self.offset, if self.width == 0 { int.bits.into() } else { self.width })
    }

    fn bits(&self, start: u64, bits: u64) -> Result<(), &'static str> {
        if start % 8 + bits > 128 {
            return Err("spreads over more than 16 bytes");
        }
        self.fits(start + bits)
    }

    /// The kernel takes every enum for 4 bytes here.
    fn enum_beside_bitfields(&self) -> Result<(), &'static str> {
        if self.width == 0 && !self.offset.is_multiple_of(8) {
            return Err("does not start at a byte");
        }
        if self.width > 32 {
            return Err("is a bitfield wider than its type");
        }
        self.fits(self.offset + if self.width == 0 { 32 } else { self.width })
    }
}
