//! What types may refer to, and how deep.

use super::*;

/// Check what each kind that refers to another type may refer to.
#[test]
fn references() {
    use Kind::{Const, Ptr, Restrict, TypeTag, Typedef, Volatile};
    for kind in [Ptr, Typedef, Volatile, Const, Restrict, TypeTag] {
        let name: &[u8] = if matches!(kind, Typedef | TypeTag) { b"name" } else { b"" };
        let case = |accepted, target: TypeId| {
            expect(accepted, &format!("{kind} to {target}"), |b| _ = b.reference(kind, name, target));
        };
        for good in [TypeId::VOID, INT, PTR, STRUCT, FWD, PROTO, ENUM, ENUM64, FLOAT, ARRAY] {
            case(true, good);
        }
        // The function is resolved already, and then the kernel takes it for its type.
        case(true, FUNC);
        for bad in [
            VAR,
            DATASEC,
            TAG,
            NEXT,
            TypeId(NEXT.0 + 1),
            TypeId(0x000f_ffff),
            TypeId(0x0010_0000),
            TypeId(u32::MAX),
        ] {
            case(false, bad);
        }
    }
    for kind in [Typedef, Const] {
        refuse("a cycle of two", |b| {
            b.reference(kind, if kind == Const { b"" } else { b"a" }, TypeId(NEXT.0 + 1));
            b.reference(Const, b"", NEXT);
        });
    }
    refuse("a pointer cycle", |b| {
        b.reference(Ptr, b"", TypeId(NEXT.0 + 1));
        b.reference(Ptr, b"", NEXT);
    });
    refuse("a pointer to a constant pointer to itself", |b| {
        b.reference(Ptr, b"", TypeId(NEXT.0 + 1));
        b.reference(Const, b"", NEXT);
    });
    accept("a list", |b| {
        let next = member(b, b"next", TypeId(NEXT.0 + 1), 0);
        b.composite(Kind::Struct, b"list", 8, &[next]).unwrap();
        b.reference(Ptr, b"", NEXT);
    });
    accept("a typedef of a pointer to a function that takes it", |b| {
        b.reference(Typedef, b"callback", TypeId(NEXT.0 + 1));
        b.reference(Ptr, b"", TypeId(NEXT.0 + 2));
        let own = param(b, b"", NEXT);
        b.func_proto(TypeId::VOID, &[own]).unwrap();
    });
}

/// Check how deep types may nest, and how long chains may be.
#[test]
fn depth() {
    for kind in [Kind::Ptr, Kind::Const, Kind::Typedef] {
        let name: &[u8] = if kind == Kind::Typedef { b"name" } else { b"" };
        for (accepted, len) in [(true, 32), (false, 33), (false, 1000)] {
            expect(accepted, &format!("{len} of {kind}, each referring to the next"), |b| {
                for at in 1..len {
                    b.reference(kind, name, TypeId(NEXT.0 + at));
                }
                b.reference(kind, name, INT);
            });
        }
        // In the other direction each type finds the one before it resolved; but a chain of qualifiers has a limit too.
        for (accepted, len) in [(true, 32), (true, 33), (true, 1000)] {
            expect(accepted, &format!("{len} of {kind}, each referring to the one before"), |b| {
                let mut last = INT;
                for _ in 0..len {
                    last = b.reference(kind, name, last);
                }
            });
        }
    }
    for (accepted, len) in [(true, 31), (false, 40)] {
        expect(accepted, &format!("{len} structs, each in the one before"), |b| {
            for at in 1..=len {
                let inner = member(b, b"inner", TypeId(NEXT.0 + at), 0);
                b.composite(Kind::Struct, b"s", 8, &[inner]).unwrap();
            }
            b.int(b"last", 4, int(32));
        });
        expect(accepted, &format!("{len} arrays, each of the next"), |b| {
            for at in 1..=len {
                b.array(Array { element: TypeId(NEXT.0 + at), index: INT, len: 1 });
            }
            b.int(b"last", 4, int(32));
        });
    }
}

/// Check forward declarations.
#[test]
fn forward_declarations() {
    refuse("with a size or type", |b| _ = raw(b, b"f", info(Kind::Fwd, 0), 1, &[]));
    refuse("as a member", |b| {
        let m = member(b, b"m", FWD, 0);
        b.composite(Kind::Struct, b"s", 8, &[m]).unwrap();
    });
}

/// Check arrays: of what, by what, and how large.
#[test]
fn arrays() {
    let case = |accepted, what: &str, element: TypeId, index: TypeId, len: u32| {
        expect(accepted, what, |b| _ = b.array(Array { element, index, len }));
    };
    for good in [INT, PTR, STRUCT, ENUM, ENUM64, FLOAT, ARRAY] {
        case(true, "of a type with a size", good, INT, 3);
    }
    for bad in [TypeId::VOID, FWD, PROTO, FUNC, VAR, DATASEC, TAG, NEXT, TypeId(999)] {
        case(false, "of a type without a size", bad, INT, 3);
        case(false, "by a type without a size", INT, bad, 3);
    }
    for bad in [PTR, STRUCT, ENUM, ENUM64, FLOAT, ARRAY] {
        case(false, "by a type that is no integer", INT, bad, 3);
    }
    case(true, "flexible", INT, INT, 0);
    case(true, "just below 2^32 bytes", INT, INT, 0x3fff_ffff);
    case(false, "of 2^32 bytes", INT, INT, 0x4000_0000);
    case(true, "of many bytes", BYTE, INT, u32::MAX);
    case(false, "of many arrays", ARRAY, INT, 0x1000_0000);
    refuse("with a size", |b| _ = raw(b, b"", info(Kind::Array, 0), 4, &[1, 1, 1]));
    for (accepted, bits) in [(false, 7), (true, 8), (false, 24), (true, 128), (false, 0)] {
        expect(accepted, "of integers that are bitfields or not", |b| {
            let odd = b.int(b"odd", 16, int(bits));
            b.array(Array { element: odd, index: INT, len: 1 });
        });
        expect(accepted, "by integers that are bitfields or not", |b| {
            let odd = b.int(b"odd", 16, int(bits));
            b.array(Array { element: INT, index: odd, len: 1 });
        });
    }
    accept("by a qualified integer, of a typedef", |b| {
        b.array(Array { element: TypeId(NEXT.0 + 1), index: TypeId(NEXT.0 + 2), len: 1 });
        b.reference(Kind::Typedef, b"t", STRUCT);
        b.reference(Kind::Const, b"", INT);
    });
    refuse("of a typedef of void", |b| {
        b.array(Array { element: TypeId(NEXT.0 + 1), index: INT, len: 1 });
        b.reference(Kind::Typedef, b"t", TypeId::VOID);
    });
    refuse("of structs that contain it", |b| {
        b.array(Array { element: TypeId(NEXT.0 + 1), index: INT, len: 1 });
        let m = member(b, b"m", NEXT, 0);
        b.composite(Kind::Struct, b"s", 8, &[m]).unwrap();
    });
}

/// Check that type tags come before other qualifiers.
#[test]
fn type_tags() {
    use Kind::{Const, Ptr, TypeTag, Typedef};
    let chain = |accepted, what: &str, kinds: &[Kind]| {
        for forward in [true, false] {
            expect(accepted, &format!("{what}, in order: {forward}"), |b| {
                let len = kinds.len() as u32;
                for (at, &kind) in (0..len).zip(kinds) {
                    let (kind, target) = if forward {
                        (kind, if at + 1 == len { INT } else { TypeId(NEXT.0 + at + 1) })
                    } else {
                        (kinds[(len - at - 1) as usize], if at == 0 { INT } else { TypeId(NEXT.0 + at - 1) })
                    };
                    b.reference(kind, if matches!(kind, TypeTag | Typedef) { b"t" } else { b"" }, target);
                }
            });
        }
    };
    chain(true, "tags alone", &[TypeTag, TypeTag]);
    chain(true, "tags, then const", &[TypeTag, TypeTag, Const]);
    chain(true, "a pointer to a tagged type", &[Ptr, TypeTag, Const]);
    chain(true, "a pointer between", &[Const, Ptr, TypeTag]);
    chain(false, "const, then a tag", &[Const, TypeTag]);
    chain(false, "a typedef, then a tag", &[Typedef, TypeTag]);
    chain(false, "a tag after a qualifier after a tag", &[TypeTag, Const, TypeTag]);
}

/// Check what the kernel accepts although it looks endless: its walk stops at pointers, and remembers what it found behind them.
#[test]
fn order_of_resolution() {
    accept("a struct in itself, by a qualifier that a pointer led to first", |b| {
        b.reference(Kind::Ptr, b"", TypeId(NEXT.0 + 1));
        b.reference(Kind::Const, b"", TypeId(NEXT.0 + 2));
        composite(b, Kind::Struct, 8, false, &[(TypeId(NEXT.0 + 1), 0, 0)]);
    });
    refuse("the same without the pointer", |b| {
        b.reference(Kind::Const, b"", TypeId(NEXT.0 + 1));
        composite(b, Kind::Struct, 8, false, &[(NEXT, 0, 0)]);
    });
    accept("an array too large for its struct, by a qualifier that a pointer led to first", |b| {
        b.reference(Kind::Ptr, b"", TypeId(NEXT.0 + 1));
        b.reference(Kind::Const, b"", TypeId(NEXT.0 + 3));
        composite(b, Kind::Struct, 4, false, &[(TypeId(NEXT.0 + 1), 0, 0)]);
        b.array(Array { element: INT, index: INT, len: 100 });
    });
    refuse("the same without the pointer", |b| {
        composite(b, Kind::Struct, 4, false, &[(TypeId(NEXT.0 + 1), 0, 0)]);
        b.reference(Kind::Const, b"", TypeId(NEXT.0 + 2));
        b.array(Array { element: INT, index: INT, len: 100 });
    });
    for (accepted, first) in [(true, Kind::Const), (false, Kind::Ptr)] {
        expect(accepted, "a qualifier of a function that is not resolved yet", |b| {
            b.reference(first, b"", TypeId(NEXT.0 + 1));
            b.func(b"g", PROTO, 1);
        });
    }
}
