//! Structs with bitfields in which a member is 2 MiB or more from the start.
//!
//! A struct of BTF that has bitfields has 24 bits for the offset of every member, one without has 32. So such a struct is written without
//! bitfields of its own: those that follow each other go into an unnamed struct at their place. To C, and to those who look members up by
//! name, members of an unnamed struct are members of the struct around it, so nothing is lost.

use btf::Kind;
use btf::dedup::{LocalId, Name, Unit, head};
use btf::kind::Info;

use super::convert::FastMap;
use super::members::MAX_BITFIELD_OFFSET;

/// A bitfield of such a struct.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bitfield {
    /// Which of the struct's members it is.
    pub(super) index: usize,
    /// Bits from the start of the struct.
    pub(super) start: u32,
    /// In bits.
    pub(super) width: u8,
}

/// Where members have come to stand: by struct and number, their new ones.
pub(super) type Moved = FastMap<(LocalId, u32), (LocalId, u32)>;

/// An unnamed struct on its way.
struct Run {
    /// Bytes from the start of the outer struct.
    base: u32,
    /// Bits from there.
    end: u64,
    members: Vec<[u32; 3]>,
    /// Which members of the outer struct these were.
    indices: Vec<u32>,
}

impl Run {
    /// Takes in a bitfield that does not start before the end of the last one and is in reach.
    fn take(&mut self, index: usize, [name, ty, _]: [u32; 3], field: Bitfield) -> bool {
        let start = u64::from(field.start).checked_sub(u64::from(self.base) * 8);
        let Some(start) = start.filter(|&start| start >= self.end && start <= MAX_BITFIELD_OFFSET) else {
            return false;
        };
        self.end = start + u64::from(field.width);
        self.members.push([name, ty, start as u32 | u32::from(field.width) << 24]);
        self.indices.push(index as u32);
        true
    }
}

/// Rewrites a struct whose record has all members, bitfields without their places. `bitfields` are in the order of the members. Notes where
/// members have moved.
pub(super) fn regroup(unit: &mut Unit<'_>, id: LocalId, bitfields: &[Bitfield], moved: &mut Moved) {
    let &[name, _, size, ref members @ ..] = unit.record(id) else { return };
    let members = members.as_chunks::<3>().0.to_vec();
    let mut outer: Vec<[u32; 3]> = Vec::with_capacity(members.len());
    let mut run: Option<Run> = None;
    let mut bitfields = bitfields.iter().copied().peekable();
    for (index, member) in members.into_iter().enumerate() {
        let Some(field) = bitfields.next_if(|field| field.index == index) else {
            outer.extend(run.take().map(|run| close(unit, id, run, moved)));
            moved.insert((id, index as u32), (id, outer.len() as u32));
            outer.push(member);
            continue;
        };
        if run.as_mut().is_some_and(|run| run.take(index, member, field)) {
            continue;
        }
        outer.extend(run.take().map(|run| close(unit, id, run, moved)));
        let mut next = Run { base: field.start / 8, end: 0, members: Vec::new(), indices: Vec::new() };
        next.take(index, member, field);
        run = Some(next);
    }
    outer.extend(run.take().map(|run| close(unit, id, run, moved)));
    let head = [name, Info::new(Kind::Struct, outer.len() as u32, false).0, size];
    unit.define(id, head, outer.as_flattened());
}

/// Makes the unnamed struct, and the member that it is.
fn close(unit: &mut Unit<'_>, id: LocalId, run: Run, moved: &mut Moved) -> [u32; 3] {
    let size = run.end.div_ceil(8) as u32;
    let head = head(Name::EMPTY, Kind::Struct, run.members.len() as u32, true, size);
    let inner = unit.push(head, run.members.as_flattened());
    unit.hide(inner);
    for (number, &index) in run.indices.iter().enumerate() {
        moved.insert((id, index), (inner, number as u32));
    }
    [Name::EMPTY.word(), inner.0, run.base.saturating_mul(8)]
}

#[cfg(test)]
mod tests {
    use btf::dedup::Pool;

    use super::*;

    /// Check that bitfields are grouped by their neighbourhood, and that all members can be found where they have moved.
    #[test]
    fn groups() {
        let pool = Pool::new();
        let mut unit = Unit::new(&pool);
        let int = unit.push(head(pool.name(b"int"), Kind::Int, 0, false, 4), &[1 << 24 | 32]);
        let names = ["a", "b", "c", "d", "e", "f"].map(|name| pool.name(name.as_bytes()).word());
        let offsets = [0, 0, 0x0100_0000, 0, 0, 0];
        let payload: Vec<u32> =
            names.iter().zip(offsets).flat_map(|(&name, offset)| [name, int.0, offset]).collect();
        let id = unit.push(head(pool.name(b"far"), Kind::Struct, 6, false, 4 << 20), &payload);
        let field = |index, start, width| Bitfield { index, start, width };
        // `e` continues `d`; `f` starts before the end of `e`.
        let bitfields = [
            field(0, 3, 5),
            field(1, 8, 2),
            field(3, 0x0100_0025, 3),
            field(4, 0x0100_0028, 9),
            field(5, 0x0100_0028, 1),
        ];
        let mut moved = Moved::default();
        regroup(&mut unit, id, &bitfields, &mut moved);
        let members = |id: LocalId| unit.record(id)[3..].as_chunks::<3>().0.to_vec();
        let [first, c, second, third] = members(id)[..] else { panic!("{:?}", members(id)) };
        assert_eq!([first[2], c[2], second[2], third[2]], [0, 0x0100_0000, 0x0100_0020, 0x0100_0028]);
        assert_eq!(
            members(LocalId(first[1])),
            [[names[0], int.0, 3 | 5 << 24], [names[1], int.0, 8 | 2 << 24]]
        );
        assert_eq!(unit.record(LocalId(first[1]))[2], 2, "bytes");
        assert_eq!(
            members(LocalId(second[1])),
            [[names[3], int.0, 5 | 3 << 24], [names[4], int.0, 8 | 9 << 24]]
        );
        assert_eq!(unit.record(LocalId(second[1]))[2], 3, "bytes");
        for (index, name) in names.into_iter().enumerate() {
            let (place, number) = moved[&(id, index as u32)];
            assert_eq!(members(place)[number as usize][0], name);
        }
    }
}
