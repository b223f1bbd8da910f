//! Graphs of types for tests: random ones, with the cycles that C can form, and pieces of small ones.

use btf::{Array, Builder, Int, Kind, Member, Param, TypeId};
use proptest::prelude::*;

/// What a random type is.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Int(u8),
    Pointer(u8),
    Typedef(u8, u8),
    Array(u8, u8),
    Struct(u8, Vec<u8>),
    Union(u8, Vec<u8>),
    Fwd(u8),
    Prototype(u8, Vec<u8>),
}

/// A random type.
pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let id = 0..16u8;
    // Few names, so that many types share one.
    let name = 0..4u8;
    prop_oneof![
        (0..3u8).prop_map(Shape::Int),
        id.clone().prop_map(Shape::Pointer),
        (name.clone(), id.clone()).prop_map(|(name, to)| Shape::Typedef(name, to)),
        (id.clone(), 1..3u8).prop_map(|(of, len)| Shape::Array(of, len)),
        (name.clone(), prop::collection::vec(id.clone(), 0..4))
            .prop_map(|(name, to)| Shape::Struct(name, to)),
        (name.clone(), prop::collection::vec(id.clone(), 0..4)).prop_map(|(name, to)| Shape::Union(name, to)),
        name.prop_map(Shape::Fwd),
        (id.clone(), prop::collection::vec(id, 0..3)).prop_map(|(to, params)| Shape::Prototype(to, params)),
    ]
}

/// Writes random types as one unit. Structs and unions refer to any type of the unit, before and after them; others only to structs,
/// unions and earlier types, for in C every cycle goes through a struct or union.
pub(crate) fn write(shapes: &[Shape], order: &[usize], builder: &mut Builder) {
    let first = builder.next_id().0;
    // Each type is followed by a pointer to it, which all others refer to.
    let place = |index: usize| order.iter().position(|&at| at == index).unwrap() as u32 * 2 + first;
    let composite = |at: usize| matches!(shapes[at], Shape::Struct(..) | Shape::Union(..));
    let pointer_to = |from: usize, reference: u8| {
        let to = usize::from(reference) % shapes.len();
        let to = if composite(from) || composite(to) || to < from { Some(to) } else { to.checked_rem(from) };
        to.map_or(TypeId::VOID, |to| TypeId(place(to) + 1))
    };
    let name = |prefix: &str, name: u8| format!("{prefix}{name}");
    for &index in order {
        match &shapes[index] {
            Shape::Int(which) => {
                let bits = [8, 32, 64][usize::from(*which)];
                let encoding = Int { encoding: 0, bit_offset: 0, bits };
                builder.int(name("int", *which).as_bytes(), u32::from(bits) / 8, encoding);
            }
            Shape::Pointer(to) => {
                builder.reference(Kind::Const, b"", pointer_to(index, *to));
            }
            Shape::Typedef(called, to) => {
                builder.reference(Kind::Typedef, name("t", *called).as_bytes(), pointer_to(index, *to));
            }
            Shape::Array(of, len) => {
                let element = pointer_to(index, *of);
                builder.array(Array { element, index: element, len: (*len).into() });
            }
            Shape::Struct(called, to) | Shape::Union(called, to) => {
                let kind =
                    if matches!(shapes[index], Shape::Struct(..)) { Kind::Struct } else { Kind::Union };
                let members: Vec<Member> = to
                    .iter()
                    .enumerate()
                    .map(|(at, &to)| Member {
                        name: builder.string(format!("m{at}").as_bytes()),
                        ty: pointer_to(index, to),
                        bit_offset: if kind == Kind::Struct { at as u32 * 64 } else { 0 },
                        bit_width: 0,
                    })
                    .collect();
                builder.composite(kind, name("s", *called).as_bytes(), 64, &members).unwrap();
            }
            Shape::Fwd(called) => {
                builder.fwd(name("s", *called).as_bytes(), false);
            }
            Shape::Prototype(to, params) => {
                let params: Vec<Param> = params
                    .iter()
                    .map(|&to| Param { name: builder.string(b"p"), ty: pointer_to(index, to) })
                    .collect();
                builder.func_proto(pointer_to(index, *to), &params).unwrap();
            }
        }
        let target = TypeId(builder.next_id().0 - 1);
        builder.reference(Kind::Ptr, b"", target);
    }
}

/// The numbers below `len` in an order that depends on `seed`.
pub(crate) fn order(len: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    let mut random = seed | 1;
    for at in (1..len).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        order.swap(at, (random >> 33) as usize % (at + 1));
    }
    order
}

/// C's `int`.
pub(crate) fn int(builder: &mut Builder) -> TypeId {
    builder.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 })
}

/// A struct, with its members' places in bytes.
pub(crate) fn strukt(
    builder: &mut Builder,
    name: &str,
    size: u32,
    members: &[(&str, TypeId, u32)],
) -> TypeId {
    let members: Vec<Member> = members
        .iter()
        .map(|&(name, ty, bytes)| Member {
            name: builder.string(name.as_bytes()),
            ty,
            bit_offset: bytes * 8,
            bit_width: 0,
        })
        .collect();
    builder.composite(Kind::Struct, name.as_bytes(), size, &members).unwrap()
}
