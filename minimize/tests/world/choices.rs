//! Random worlds: a kernel's types, an object's types that are a changed copy of them, and relocations.
//!
//! Everything is decided by a list of numbers, so that proptest can shrink it: where the list is over, the choice is always the first.

use btf::Kind;

use super::rules::Relo;
use super::{Field, Shape, Ty, World};

/// The numbers that decide.
pub(crate) struct Choices<'c> {
    numbers: std::slice::Iter<'c, u32>,
}

impl<'c> Choices<'c> {
    pub(crate) fn new(numbers: &'c [u32]) -> Choices<'c> {
        Choices { numbers: numbers.iter() }
    }

    /// A number below `count`, which is not 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.numbers.next().map_or(0, |&number| number as usize % count)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Whether there are numbers left.
    pub(crate) fn go_on(&self) -> bool {
        self.numbers.len() > 0
    }
}

const TYPE_NAMES: [&str; 8] = ["a", "b", "c", "d", "a___1", "b___x", "a___1___2", "e"];
const MEMBER_NAMES: [&str; 8] = ["m", "n", "o", "", "p", "q", "m___1", "r"];
const VALUE_NAMES: [&str; 6] = ["A", "B", "C", "A___1", "D", "E"];

/// A kernel's types.
pub(crate) fn kernel(choices: &mut Choices<'_>) -> World {
    let mut world = World {
        types: vec![
            Ty { name: String::new(), shape: Shape::Void },
            Ty { name: "int".into(), shape: Shape::Int { size: 4, signed: true, bit_offset: 0 } },
        ],
    };
    if choices.one_in(3) {
        let size = choices.pick(&[4, 8]);
        let name = choices.pick(&["long", "long unsigned int"]).into();
        world.types.push(Ty { name, shape: Shape::Int { size, signed: false, bit_offset: 0 } });
    }
    let count = 4 + choices.below(16);
    // Pointers may lead forwards, to types that are not there yet.
    let last = world.types.len() + count;
    for _ in 0..count {
        let ty = random_type(choices, &world, last);
        world.types.push(ty);
    }
    tidy(&mut world);
    world
}

/// Bitfields of anything but integers and enums: libbpf divides by their size, which may be 0.
fn tidy(world: &mut World) {
    let whole: Vec<_> = (0..world.types.len())
        .map(|id| matches!(world.shape(world.skip(id)), Shape::Int { .. } | Shape::Enum { .. }))
        .collect();
    for ty in &mut world.types {
        if let Shape::Composite { members, .. } = &mut ty.shape {
            members.iter_mut().filter(|member| !whole[member.ty]).for_each(|member| member.width = 0);
        }
    }
}

fn random_type(choices: &mut Choices<'_>, world: &World, last: usize) -> Ty {
    let earlier = |choices: &mut Choices<'_>| choices.below(world.types.len());
    let not_void = |choices: &mut Choices<'_>| 1 + choices.below(world.types.len() - 1);
    let (name, shape) = match choices.below(13) {
        0..=3 => {
            let union = choices.one_in(4);
            let count = choices.below(5);
            let mut at = 0;
            let members = (0..count)
                .map(|_| {
                    let ty = not_void(choices);
                    let width = if choices.one_in(5) { 1 + choices.below(9) as u8 } else { 0 };
                    let field = Field { name: choices.pick(&MEMBER_NAMES).into(), ty, bits: at, width };
                    at += if width == 0 { 32 } else { u32::from(width) };
                    if width == 0 && !at.is_multiple_of(8) {
                        at = at.next_multiple_of(8);
                    }
                    field
                })
                .collect();
            let name = if choices.one_in(3) { "" } else { choices.pick(&TYPE_NAMES) };
            (name, Shape::Composite { union, size: at.div_ceil(8) + choices.below(9) as u32, members })
        }
        4 => ("", Shape::Ptr(if choices.one_in(3) { choices.below(last) } else { earlier(choices) })),
        5 | 6 => {
            let target = earlier(choices);
            match choices.below(4) {
                0 | 1 => (choices.pick(&TYPE_NAMES), Shape::Alias(Kind::Typedef, target)),
                2 => ("", Shape::Alias(choices.pick(&[Kind::Const, Kind::Volatile, Kind::Restrict]), target)),
                _ => ("tag", Shape::Alias(Kind::TypeTag, target)),
            }
        }
        7 => ("", Shape::Array { element: not_void(choices), index: 1, len: choices.below(4) as u32 }),
        8 | 9 => {
            let size = choices.pick(&[4, 8, 4, 1]);
            let count = choices.below(5);
            let values = (0..count)
                .map(|at| {
                    let value = choices.pick(&[0, 1, -1, 0xffff_ffff, 7]) + at as i64;
                    let value = if size == 8 { value << 33 | value } else { i64::from(value as i32) };
                    (choices.pick(&VALUE_NAMES).into(), value)
                })
                .collect();
            let name = if choices.one_in(4) { "" } else { choices.pick(&TYPE_NAMES) };
            (name, Shape::Enum { size, signed: choices.one_in(2), values })
        }
        10 => {
            let bit_offset = if choices.one_in(6) { 1 } else { 0 };
            let size = choices.pick(&[4, 8, 1, 2]);
            (
                choices.pick(&["int", "long", "char", "a"]),
                Shape::Int { size, signed: choices.one_in(2), bit_offset },
            )
        }
        11 => {
            let count = choices.below(3);
            let params = (0..count).map(|_| earlier(choices)).collect();
            ("", Shape::Proto { result: earlier(choices), params })
        }
        _ => match choices.below(3) {
            0 => ("double", Shape::Float { size: 8 }),
            _ => (choices.pick(&TYPE_NAMES), Shape::Fwd { union: choices.one_in(3) }),
        },
    };
    Ty { name: name.into(), shape }
}

/// An object's types: the kernel's, with a few things changed.
pub(crate) fn object(choices: &mut Choices<'_>, kernel: &World) -> World {
    let mut world = kernel.clone();
    for _ in 0..choices.below(8) {
        let at = 1 + choices.below(world.types.len() - 1);
        let names = if matches!(world.types[at].shape, Shape::Enum { .. }) {
            &TYPE_NAMES[..]
        } else {
            &TYPE_NAMES[..6]
        };
        let other = choices.below(at);
        let Ty { name, shape } = &mut world.types[at];
        match shape {
            Shape::Composite { members, .. } if !members.is_empty() => {
                let member = choices.below(members.len());
                match choices.below(5) {
                    0 => drop(members.remove(member)),
                    1 => members.reverse(),
                    2 => members[member].name = choices.pick(&MEMBER_NAMES).into(),
                    3 => members[member].ty = other.max(1),
                    _ => *name = choices.pick(names).into(),
                }
            }
            Shape::Enum { values, .. } if !values.is_empty() => {
                let value = choices.below(values.len());
                match choices.below(3) {
                    0 => drop(values.remove(value)),
                    1 => values[value].0 = choices.pick(&VALUE_NAMES).into(),
                    _ => *name = choices.pick(names).into(),
                }
            }
            Shape::Ptr(target) | Shape::Alias(_, target) => *target = other,
            Shape::Array { len, .. } => *len = choices.below(4) as u32,
            Shape::Int { size, signed, .. } => {
                *size = choices.pick(&[4, 8, 2]);
                *signed = !*signed;
            }
            Shape::Proto { params, .. } => drop(params.pop()),
            _ if !name.is_empty() => *name = choices.pick(names).into(),
            _ => {}
        }
    }
    tidy(&mut world);
    world
}

/// A relocation about the object's types: most make sense.
pub(crate) fn relocation(choices: &mut Choices<'_>, object: &World) -> Relo {
    let named: Vec<_> = (1..object.types.len()).filter(|&id| !object.types[id].name.is_empty()).collect();
    let root =
        if choices.one_in(20) { 1 + choices.below(object.types.len() - 1) } else { choices.pick(&named) };
    let inside = object.skip(root);
    let mut access = vec![0];
    let kind = match object.shape(inside) {
        Shape::Enum { values, .. } if !values.is_empty() && !choices.one_in(4) => {
            access = vec![choices.below(values.len()) as u32];
            10 + choices.below(2)
        }
        Shape::Composite { .. } | Shape::Array { .. } if !choices.one_in(3) => {
            access = random_access(choices, object, inside);
            choices.pick(&[0, 2, 0, 1, 3, 4, 5])
        }
        _ => choices.pick(&[8, 12, 9, 7, 8, 12, 6, 0, 2]),
    } as u32;
    if choices.one_in(40) {
        access.push(choices.below(3) as u32);
    }
    Relo { root, access, kind, load: choices.one_in(3) }
}

fn random_access(choices: &mut Choices<'_>, world: &World, root: usize) -> Vec<u32> {
    let mut access = vec![if choices.one_in(8) { 2 } else { 0 }];
    let mut here = root;
    for _ in 0..8 {
        here = world.skip(here);
        match world.shape(here) {
            Shape::Composite { members, .. } if !members.is_empty() => {
                let member = choices.below(members.len());
                access.push(member as u32);
                here = members[member].ty;
            }
            Shape::Array { element, len, .. } if !choices.one_in(3) => {
                access.push(choices.below(*len as usize + 1) as u32);
                here = *element;
            }
            _ => break,
        }
        if choices.one_in(3) {
            break;
        }
    }
    access
}
