//! A second implementation of CO-RE, for the tests: types as plain Rust values, and the rules written down in the simplest way, from the
//! documentation of libbpf's behaviour and not from this crate's code. Slow, recursive, and without notes of anything.

#![allow(dead_code)] // each test file uses its part

pub(crate) mod choices;
pub(crate) mod elf;
pub(crate) mod rules;

use btf::{Btf, Builder, Endian, Enumerator, Kind, Member, Param, TypeId};

/// All types of one side; index 0 is void.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct World {
    pub(crate) types: Vec<Ty>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ty {
    pub(crate) name: String,
    pub(crate) shape: Shape,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Void,
    Int {
        size: u32,
        signed: bool,
        bit_offset: u8,
    },
    Float {
        size: u32,
    },
    Ptr(usize),
    /// Typedefs and qualifiers.
    Alias(Kind, usize),
    Array {
        element: usize,
        index: usize,
        len: u32,
    },
    Composite {
        union: bool,
        size: u32,
        members: Vec<Field>,
    },
    Enum {
        size: u32,
        signed: bool,
        values: Vec<(String, i64)>,
    },
    Fwd {
        union: bool,
    },
    Proto {
        result: usize,
        params: Vec<usize>,
    },
    Other(Kind),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: usize,
    pub(crate) bits: u32,
    pub(crate) width: u8,
}

impl World {
    /// Writes the world as BTF.
    pub(crate) fn encode(&self, endian: Endian) -> Vec<u8> {
        let mut builder = Builder::new();
        let id = |index: usize| TypeId(index as u32);
        for Ty { name, shape } in &self.types[1..] {
            let name = name.as_bytes();
            match shape {
                Shape::Void | Shape::Other(_) => panic!("cannot be written: {shape:?}"),
                &Shape::Int { size, signed, bit_offset } => {
                    let bits = size as u8 * 8 - bit_offset;
                    builder.int(name, size, btf::Int { encoding: u8::from(signed), bit_offset, bits })
                }
                Shape::Float { size } => builder.float(name, *size),
                Shape::Ptr(target) => builder.reference(Kind::Ptr, name, id(*target)),
                Shape::Alias(kind, target) => builder.reference(*kind, name, id(*target)),
                &Shape::Array { element, index, len } => {
                    builder.array(btf::Array { element: id(element), index: id(index), len })
                }
                Shape::Composite { union, size, members } => {
                    let kind = if *union { Kind::Union } else { Kind::Struct };
                    let members: Vec<_> = members
                        .iter()
                        .map(|field| Member {
                            name: builder.string(field.name.as_bytes()),
                            ty: id(field.ty),
                            bit_offset: field.bits,
                            bit_width: field.width,
                        })
                        .collect();
                    builder.composite(kind, name, *size, &members).unwrap()
                }
                Shape::Enum { size, signed, values } => {
                    let values: Vec<_> = values
                        .iter()
                        .map(|(name, value)| Enumerator {
                            name: builder.string(name.as_bytes()),
                            value: *value,
                        })
                        .collect();
                    builder.enumeration(name, *size, *signed, &values).unwrap()
                }
                Shape::Fwd { union } => builder.fwd(name, *union),
                Shape::Proto { result, params } => {
                    let params: Vec<_> = params
                        .iter()
                        .map(|&param| Param { name: builder.string(b"argument"), ty: id(param) })
                        .collect();
                    builder.func_proto(id(*result), &params).unwrap()
                }
            };
        }
        builder.finish(endian).unwrap()
    }

    /// Reads a world from BTF.
    pub(crate) fn decode(btf: &Btf<'_>) -> World {
        let string = |offset| btf.string(offset).unwrap().to_string();
        let index = |id: Option<TypeId>| id.unwrap().0 as usize;
        let mut types = vec![Ty { name: String::new(), shape: Shape::Void }];
        for ty in btf.types() {
            let ty = ty.unwrap();
            let size = ty.size().unwrap_or(0);
            let shape = match ty.kind() {
                Kind::Int => {
                    let int = ty.int().unwrap();
                    Shape::Int { size, signed: int.encoding & 1 != 0, bit_offset: int.bit_offset }
                }
                Kind::Float => Shape::Float { size },
                Kind::Ptr => Shape::Ptr(index(ty.target())),
                kind if kind.is_modifier() || kind == Kind::Typedef => Shape::Alias(kind, index(ty.target())),
                Kind::Array => {
                    let array = ty.array().unwrap();
                    Shape::Array {
                        element: array.element.0 as usize,
                        index: array.index.0 as usize,
                        len: array.len,
                    }
                }
                Kind::Struct | Kind::Union => Shape::Composite {
                    union: ty.kind() == Kind::Union,
                    size,
                    members: ty
                        .members()
                        .map(|member| Field {
                            name: string(member.name),
                            ty: member.ty.0 as usize,
                            bits: member.bit_offset,
                            width: member.bit_width,
                        })
                        .collect(),
                },
                Kind::Enum | Kind::Enum64 => Shape::Enum {
                    size,
                    signed: ty.kind_flag(),
                    values: ty.enumerators().map(|value| (string(value.name), value.value)).collect(),
                },
                Kind::Fwd => Shape::Fwd { union: ty.kind_flag() },
                Kind::FuncProto => Shape::Proto {
                    result: index(ty.target()),
                    params: ty.params().map(|param| param.ty.0 as usize).collect(),
                },
                kind => Shape::Other(kind),
            };
            types.push(Ty { name: string(ty.name_offset()), shape });
        }
        World { types }
    }

    /// What is left of a type without typedefs and qualifiers.
    pub(crate) fn skip(&self, mut id: usize) -> usize {
        while let Shape::Alias(_, target) = self.types[id].shape {
            id = target;
        }
        id
    }

    pub(crate) fn shape(&self, id: usize) -> &Shape {
        &self.types[id].shape
    }
}
