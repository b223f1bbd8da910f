//! Structs that are packed, as far as DWARF shows it: it has no word for the attribute.

use btf::Kind;
use btf::dedup::{LocalId, Unit};
use btf::kind::Info;

/// How many types of one struct are looked at. A struct that is larger, or damaged so that it contains itself, is taken to be packed:
/// nothing is known of how it is passed.
const MAX_STEPS: u32 = 1 << 14;

/// Whether a type is a named struct with a member that is not aligned, or a size that is not a multiple of its alignment.
pub(crate) fn is_packed(unit: &Unit<'_>, id: LocalId, address_size: u8, max_alignment: u64) -> bool {
    let &[name, info, size, ..] = unit.record(id) else { return false };
    if Kind::from_number(Info(info).kind_number()) != Some(Kind::Struct) || name == 0 {
        return false;
    }
    let mut search = Search { unit, address_size, max_alignment, steps: MAX_STEPS };
    let bitfields = Info(info).kind_flag();
    let mut largest = 1;
    for (ty, offset) in unit.members(id) {
        let (bits, width) = if bitfields { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
        let alignment = search.alignment(ty, 0);
        largest = largest.max(alignment);
        // A bitfield's place tells nothing.
        if width == 0 && u64::from(bits) % (alignment * 8) != 0 {
            return true;
        }
    }
    u64::from(size) % largest != 0 || search.steps == 0
}

struct Search<'u> {
    unit: &'u Unit<'u>,
    address_size: u8,
    max_alignment: u64,
    steps: u32,
}

/// How deep structs may be in structs.
const MAX_DEPTH: u32 = 64;

impl Search<'_> {
    /// The alignment in bytes that a type has by itself; at least 1.
    fn alignment(&mut self, id: LocalId, depth: u32) -> u64 {
        let mut id = id;
        loop {
            let &[_, info, third, ref payload @ ..] = self.unit.record(id) else { return 1 };
            if self.steps == 0 || depth > MAX_DEPTH {
                self.steps = 0;
                return 1;
            }
            self.steps -= 1;
            let size = match Kind::from_number(Info(info).kind_number()) {
                Some(Kind::Ptr) => self.address_size.into(),
                // Sizes such as that of i386's 12-byte float are multiples of an alignment.
                Some(Kind::Int | Kind::Float | Kind::Enum | Kind::Enum64) if third != 0 => {
                    1 << third.trailing_zeros()
                }
                Some(Kind::Array) => {
                    id = LocalId(payload.first().copied().unwrap_or(0));
                    continue;
                }
                Some(Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag) => {
                    id = LocalId(third);
                    continue;
                }
                Some(Kind::Struct | Kind::Union) => {
                    let unit = self.unit;
                    unit.members(id).map(|(ty, _)| self.alignment(ty, depth + 1)).max().unwrap_or(1)
                }
                _ => 1,
            };
            return size.clamp(1, self.max_alignment.max(1));
        }
    }
}
