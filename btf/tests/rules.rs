//! The validator against the running kernel, rule by rule: for each kind of type a blob that keeps its rules, and blobs that break them one at a time.
//! Each case says what is expected; the kernel (`BPF_BTF_LOAD`) and the validator both have to agree, the validator also on the blob in the other byte
//! order.

mod judge;

use btf::kind::Info;
use btf::{Array, Btf, Builder, Endian, Enumerator, Int, Kind, Member, Param, SectionVar, StrOffset, TypeId};
use btf::{ValidateOptions, validate};

/// Demands that the kernel and the validator both accept, or both refuse, what `build` adds to the types of [`start`].
#[track_caller]
fn expect(accepted: bool, what: &str, build: impl FnOnce(&mut Builder)) {
    let mut builder = start();
    build(&mut builder);
    expect_blob(accepted, what, &builder.finish(Endian::NATIVE).unwrap());
    let swapped =
        builder.finish(if Endian::NATIVE == Endian::Big { Endian::Little } else { Endian::Big }).unwrap();
    assert_eq!(ours(&swapped).is_ok(), accepted, "{what}: in the other byte order: {:?}", ours(&swapped));
}

#[track_caller]
fn expect_blob(accepted: bool, what: &str, blob: &[u8]) {
    assert_eq!(
        judge::kernel_accepts(blob),
        accepted,
        "{what}: the kernel says {:?}",
        judge::kernel_says(blob)
    );
    assert_eq!(ours(blob).is_ok(), accepted, "{what}: the validator says {:?}", ours(blob));
}

#[track_caller]
fn accept(what: &str, build: impl FnOnce(&mut Builder)) {
    expect(true, what, build);
}

#[track_caller]
fn refuse(what: &str, build: impl FnOnce(&mut Builder)) {
    expect(false, what, build);
}

fn ours(blob: &[u8]) -> btf::Result<()> {
    validate(&Btf::parse(blob)?, &ValidateOptions::default())
}

const INT: TypeId = TypeId(1);
const PTR: TypeId = TypeId(2);
const STRUCT: TypeId = TypeId(3);
const FWD: TypeId = TypeId(4);
const PROTO: TypeId = TypeId(5);
const FUNC: TypeId = TypeId(6);
const VAR: TypeId = TypeId(7);
const ENUM: TypeId = TypeId(8);
const ENUM64: TypeId = TypeId(9);
const FLOAT: TypeId = TypeId(10);
const ARRAY: TypeId = TypeId(11);
const DATASEC: TypeId = TypeId(12);
const TAG: TypeId = TypeId(13);
const BYTE: TypeId = TypeId(14);
/// The id of the first type that a case adds.
const NEXT: TypeId = TypeId(15);

/// One type of every kind, so that cases have something to refer to.
fn start() -> Builder {
    let mut b = Builder::new();
    assert_eq!(b.int(b"int", 4, int(32)), INT);
    b.reference(Kind::Ptr, b"", INT);
    let members = [member(&mut b, b"x", INT, 0), member(&mut b, b"y", INT, 32)];
    b.composite(Kind::Struct, b"point", 8, &members).unwrap();
    b.fwd(b"unknown", false);
    let params = [param(&mut b, b"x", INT), param(&mut b, b"p", PTR)];
    b.func_proto(INT, &params).unwrap();
    b.func(b"f", PROTO, 1);
    b.var(b"v", INT, 1);
    let one = Enumerator { name: b.string(b"ONE"), value: 1 };
    b.enumeration(b"e", 4, false, &[one]).unwrap();
    b.enumeration(b"e64", 8, false, &[one]).unwrap();
    b.float(b"double", 8);
    b.array(Array { element: INT, index: INT, len: 4 });
    b.datasec(b".data", 4, &[SectionVar { ty: VAR, offset: 0, size: 4 }]).unwrap();
    b.decl_tag(b"tag", STRUCT, 1);
    assert_eq!(b.int(b"byte", 1, int(8)), BYTE);
    assert_eq!(b.next_id(), NEXT);
    b
}

fn int(bits: u8) -> Int {
    Int { encoding: 0, bit_offset: 0, bits }
}

fn member(b: &mut Builder, name: &[u8], ty: TypeId, bit_offset: u32) -> Member {
    Member { name: b.string(name), ty, bit_offset, bit_width: 0 }
}

fn param(b: &mut Builder, name: &[u8], ty: TypeId) -> Param {
    Param { name: b.string(name), ty }
}

/// A record of which every word can be chosen.
fn raw(b: &mut Builder, name: &[u8], info: Info, third: u32, payload: &[u32]) -> TypeId {
    let name = b.string(name);
    b.add_record(&[&[name.0, info.0, third], payload].concat())
}

fn info(kind: Kind, vlen: u32) -> Info {
    Info::new(kind, vlen, false)
}

/// Bits of an info word besides kind, flag and vlen.
fn with_bits(info: Info, bits: u32) -> Info {
    Info(info.0 | bits)
}

/// Check that the start itself is good, and the rules that hold for every kind.
#[test]
fn every_kind() {
    accept("one of every kind", |_| {});
    for kind in [0, 20, 31, 32, 64, 127] {
        refuse("an unknown kind", |b| {
            b.add_record(&[0, kind << 24, 0]);
        });
    }
    for bit in 16..24 {
        refuse("a reserved bit of the info word, or too many elements", |b| {
            raw(b, b"", with_bits(info(Kind::Ptr, 0), 1 << bit), 1, &[]);
        });
    }
    for kind in Kind::ALL {
        if kind.payload().element == 0 && kind != Kind::Func {
            refuse("elements of a kind that has none", |b| {
                let name: &[u8] = if matches!(kind, Kind::Ptr | Kind::Array) { b"" } else { b"name" };
                let payload = vec![0x0100_0020; usize::from(kind.payload().fixed) / 4];
                raw(b, name, info(kind, 1), INT.0, &payload);
            });
        }
    }
}

/// Check which kinds may have the kind flag.
#[test]
fn kind_flag() {
    let flagged = |kind, vlen| Info::new(kind, vlen, true);
    refuse("INT", |b| _ = raw(b, b"i", flagged(Kind::Int, 0), 4, &[32]));
    refuse("PTR", |b| _ = raw(b, b"", flagged(Kind::Ptr, 0), 1, &[]));
    refuse("ARRAY", |b| _ = raw(b, b"", flagged(Kind::Array, 0), 0, &[1, 1, 1]));
    accept("STRUCT", |b| _ = raw(b, b"s", flagged(Kind::Struct, 0), 4, &[]));
    accept("UNION", |b| _ = raw(b, b"u", flagged(Kind::Union, 0), 4, &[]));
    accept("ENUM", |b| _ = raw(b, b"e", flagged(Kind::Enum, 0), 4, &[]));
    accept("FWD", |b| _ = raw(b, b"f", flagged(Kind::Fwd, 0), 0, &[]));
    refuse("TYPEDEF", |b| _ = raw(b, b"t", flagged(Kind::Typedef, 0), 1, &[]));
    refuse("VOLATILE", |b| _ = raw(b, b"", flagged(Kind::Volatile, 0), 1, &[]));
    refuse("CONST", |b| _ = raw(b, b"", flagged(Kind::Const, 0), 1, &[]));
    refuse("RESTRICT", |b| _ = raw(b, b"", flagged(Kind::Restrict, 0), 1, &[]));
    refuse("FUNC", |b| _ = raw(b, b"g", flagged(Kind::Func, 1), PROTO.0, &[]));
    refuse("FUNC_PROTO", |b| _ = raw(b, b"", flagged(Kind::FuncProto, 0), 1, &[]));
    refuse("VAR", |b| _ = raw(b, b"w", flagged(Kind::Var, 0), 1, &[0]));
    refuse("DATASEC", |b| _ = raw(b, b".bss", flagged(Kind::Datasec, 0), 4, &[]));
    refuse("FLOAT", |b| _ = raw(b, b"f", flagged(Kind::Float, 0), 4, &[]));
    accept("DECL_TAG", |b| _ = raw(b, b"t", flagged(Kind::DeclTag, 0), STRUCT.0, &[u32::MAX]));
    accept("TYPE_TAG", |b| _ = raw(b, b"t", flagged(Kind::TypeTag, 0), 1, &[]));
    accept("ENUM64", |b| _ = raw(b, b"e", flagged(Kind::Enum64, 0), 8, &[]));
}

/// Adds a type of this kind, and of its usual shape, with this name.
fn named(b: &mut Builder, kind: Kind, name: StrOffset) {
    let (third, vlen, payload): (u32, u32, &[u32]) = match kind {
        Kind::Int => (4, 0, &[32]),
        Kind::Array => (0, 0, &[1, 1, 1]),
        Kind::Struct | Kind::Union | Kind::Enum | Kind::Datasec | Kind::Float => (4, 0, &[]),
        Kind::Enum64 => (8, 0, &[]),
        Kind::Fwd => (0, 0, &[]),
        Kind::Func => (PROTO.0, 1, &[]),
        Kind::Var => (INT.0, 0, &[1]),
        Kind::DeclTag => (STRUCT.0, 0, &[u32::MAX]),
        _ => (INT.0, 0, &[]),
    };
    b.add_record(&[&[name.0, info(kind, vlen).0, third], payload].concat());
}

/// Check names of every kind: none, empty, identifiers and others, too long, outside the strings.
#[test]
fn names() {
    use Kind::{Datasec, DeclTag, Enum, Enum64, Float, Func, Fwd, Int, Struct, TypeTag, Typedef, Union, Var};
    let long = |len: usize| vec![b'n'; len];
    for kind in Kind::ALL {
        let any = matches!(kind, Int | Float);
        let text = any || matches!(kind, DeclTag | TypeTag);
        let section = text || kind == Datasec;
        let identifier =
            section || matches!(kind, Struct | Union | Enum | Enum64 | Fwd | Typedef | Func | Var);
        let none = !identifier || any || matches!(kind, Struct | Union | Enum | Enum64);
        let name = |accepted: bool, name: &[u8]| {
            expect(accepted, &format!("{kind} {:?}", String::from_utf8_lossy(name)), |b| {
                let name = b.string(name);
                named(b, kind, name);
            });
        };
        name(none, b"");
        expect(any, &format!("{kind} with an empty name"), |b| {
            let end = b.string(b"x").0 + 1;
            named(b, kind, StrOffset(end));
        });
        for good in [&b"a"[..], b"_", b"Z9_", b".data", b"a.b.c", b"\xe9t\xe9", &long(512)] {
            name(identifier, good);
        }
        for printable in [&b"9a"[..], b"?x", b"a b", b"a-b", b"\xd7", b"\xf7", b" ", b"\xb5s", b"\xa0"] {
            name(section, printable);
        }
        for unprintable in [&b"\x01"[..], b"a\x7f", b"a\x80", b"\t", b"a\n", &long(513), &long(2000)] {
            name(text, unprintable);
        }
        for outside in [1_000_000, 0x00ff_ffff, 0x0100_0000, u32::MAX] {
            expect(false, &format!("{kind} with its name at {outside}"), |b| {
                named(b, kind, StrOffset(outside));
            });
        }
    }
}

/// Check sizes, bits and encodings of integers.
#[test]
fn ints() {
    let case = |accepted, size, word| {
        expect(accepted, &format!("INT of {size} bytes, {word:#x}"), |b| {
            _ = raw(b, b"i", info(Kind::Int, 0), size, &[word]);
        });
    };
    for (size, bits) in
        [(1, 8), (2, 16), (4, 32), (8, 64), (16, 128), (1, 1), (4, 17), (3, 24), (4, 0), (0, 0), (100, 8)]
    {
        case(true, size, bits);
    }
    for (size, bits) in [(0, 1), (1, 9), (4, 33), (16, 129), (32, 129), (32, 255)] {
        case(false, size, bits);
    }
    for (size, offset, bits) in [(4, 8, 24), (4, 31, 1), (16, 100, 28)] {
        case(true, size, offset << 16 | bits);
    }
    for (size, offset, bits) in [(4, 9, 24), (4, 32, 1), (100, 100, 29), (100, 255, 255)] {
        case(false, size, offset << 16 | bits);
    }
    for encoding in 0..16 {
        case(matches!(encoding, 0 | 1 | 2 | 4), 4, encoding << 24 | 32);
    }
    for bit in [8, 15, 28, 31] {
        case(bit < 16, 4, 1 << bit | 32);
    }
}

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

/// Adds a struct of these members (type, bit offset, bit width), with the kind flag or not.
fn composite(b: &mut Builder, kind: Kind, size: u32, flag: bool, members: &[(TypeId, u32, u32)]) -> TypeId {
    let mut words = Vec::new();
    for (at, (ty, offset, width)) in members.iter().enumerate() {
        let name = b.string(format!("m{at}").as_bytes());
        words.extend([name.0, ty.0, offset | width << 24]);
    }
    raw(b, b"s", Info::new(kind, members.len() as u32, flag), size, &words)
}

/// Check where members of structs without bitfields may lie.
#[test]
fn members() {
    let case = |accepted, what: &str, size: u32, members: &[(TypeId, u32, u32)]| {
        for flag in [false, true] {
            expect(accepted, &format!("{what}, kind flag {flag}"), |b| {
                _ = composite(b, Kind::Struct, size, flag, members);
            });
        }
    };
    for (ty, size) in [(INT, 4), (PTR, 8), (STRUCT, 8), (ENUM, 4), (FLOAT, 8), (ARRAY, 16)] {
        case(true, "that just fits", size, &[(ty, 0, 0)]);
        case(true, "that just fits at the end", size + 8, &[(ty, 64, 0)]);
        case(false, "a byte too large", size - 1, &[(ty, 0, 0)]);
        case(false, "a byte too far", size + 8, &[(ty, 72, 0)]);
        case(false, "at a bit", size + 8, &[(ty, 1, 0)].map(|m| if ty == INT { (STRUCT, 1, 0) } else { m }));
    }
    case(true, "an 8-byte enum", 8, &[(ENUM64, 0, 0)]);
    case(true, "unordered names at one offset", 8, &[(INT, 0, 0), (STRUCT, 0, 0), (INT, 32, 0)]);
    case(false, "before the member before it", 8, &[(INT, 32, 0), (INT, 0, 0)]);
    case(true, "a flexible array at the end, by name", 4, &[(INT, 0, 0)]);
    for bad in [TypeId::VOID, FWD, PROTO, FUNC, VAR, DATASEC, TAG, TypeId(999), NEXT] {
        case(false, "without a size", 64, &[(bad, 0, 0)]);
    }
    for offset in [64, 8] {
        case(offset == 64, "a float at an offset", 64, &[(FLOAT, offset, 0)]);
    }
    accept("a struct of size 0 without members", |b| _ = composite(b, Kind::Struct, 0, false, &[]));
    accept("a flexible array at the end", |b| {
        let array = b.array(Array { element: INT, index: INT, len: 0 });
        composite(b, Kind::Struct, 4, false, &[(INT, 0, 0), (array, 32, 0)]);
    });
    refuse("a flexible array past the end", |b| {
        let array = b.array(Array { element: INT, index: INT, len: 0 });
        composite(b, Kind::Struct, 4, false, &[(INT, 0, 0), (array, 40, 0)]);
    });
    refuse("a struct in itself", |b| _ = composite(b, Kind::Struct, 8, false, &[(NEXT, 0, 0)]));
    refuse("structs in each other", |b| {
        composite(b, Kind::Struct, 8, false, &[(TypeId(NEXT.0 + 1), 0, 0)]);
        composite(b, Kind::Struct, 8, false, &[(NEXT, 0, 0)]);
    });
    for size in [1, 2, 8] {
        expect(size != 8, "a small or large enum beside others", |b| {
            let e = b.enumeration(b"small", size, false, &[]).unwrap();
            composite(b, Kind::Struct, 4, false, &[(e, 0, 0)]);
        });
    }
    refuse("a member's name outside the strings", |b| {
        _ = raw(b, b"s", info(Kind::Struct, 1), 4, &[9999, 1, 0]);
    });
    refuse("a member's name that is no identifier", |b| {
        let name = b.string(b"a b");
        raw(b, b"s", info(Kind::Struct, 1), 4, &[name.0, 1, 0]);
    });
    accept("a member without a name", |b| _ = raw(b, b"s", info(Kind::Struct, 1), 4, &[0, 1, 0]));
}

/// Check unions: every member at offset 0.
#[test]
fn unions() {
    for flag in [false, true] {
        let at = |offset: u32| {
            expect(offset == 0, "a member", |b| {
                composite(b, Kind::Union, 16, flag, &[(INT, 0, 0), (STRUCT, offset, 0)]);
            });
        };
        at(0);
        at(8);
        at(1);
    }
    refuse("a member that is larger", |b| {
        _ = composite(b, Kind::Union, 4, false, &[(INT, 0, 0), (STRUCT, 0, 0)]);
    });
    refuse("a union in itself", |b| _ = composite(b, Kind::Union, 8, false, &[(NEXT, 0, 0)]));
}

/// Check bitfields of structs with the kind flag.
#[test]
fn bitfields() {
    let case = |accepted, size: u32, members: &[(TypeId, u32, u32)]| {
        expect(accepted, &format!("{members:?} in {size} bytes"), |b| {
            _ = composite(b, Kind::Struct, size, true, members);
        });
    };
    case(true, 4, &[(INT, 0, 1), (INT, 1, 31)]);
    case(true, 4, &[(INT, 0, 32)]);
    case(false, 8, &[(INT, 0, 33)]);
    case(false, 4, &[(INT, 1, 32)]);
    case(true, 5, &[(INT, 1, 32)]);
    case(true, 8, &[(INT, 3, 5), (INT, 32, 0)]);
    case(false, 8, &[(INT, 3, 0)]);
    case(true, 4, &[(ENUM, 0, 3), (ENUM, 3, 29)]);
    case(false, 8, &[(ENUM, 0, 33)]);
    case(false, 4, &[(ENUM, 1, 32)]);
    case(true, 8, &[(ENUM64, 0, 32)]);
    for bad in [PTR, STRUCT, FLOAT, ARRAY] {
        case(false, 64, &[(bad, 0, 1)]);
        case(false, 64, &[(bad, 0, 8)]);
    }
    case(true, 0x0020_0000, &[(INT, 0x00ff_ffff, 1)]);
    // Widths of the whole range of an enum: the kernel takes every enum for 4 bytes.
    for width in 1..=255 {
        case(width <= 32, 64, &[(ENUM64, 0, width)]);
        case(width <= 32, 64, &[(ENUM, 0, width)]);
    }
    for (size, accepted) in [(1, false), (2, false), (3, false), (4, true)] {
        expect(accepted, "a packed enum alone in a struct with the kind flag", |b| {
            let e = b.enumeration(b"small", 1, false, &[]).unwrap();
            composite(b, Kind::Struct, size, true, &[(e, 0, 0)]);
        });
    }
    for (accepted, bits) in [(true, 8), (false, 7), (false, 24), (true, 64)] {
        expect(accepted, "of an odd integer", |b| {
            let odd = b.int(b"odd", 8, int(bits));
            composite(b, Kind::Struct, 16, true, &[(odd, 0, 3)]);
        });
    }
    accept("a bitfield across bytes of a 16-byte integer", |b| {
        let wide = b.int(b"wide", 16, int(128));
        composite(b, Kind::Struct, 32, true, &[(wide, 7, 121)]);
    });
    refuse("a bitfield across 17 bytes", |b| {
        let wide = b.int(b"wide", 16, int(128));
        composite(b, Kind::Struct, 32, true, &[(wide, 7, 122)]);
    });
    accept("a qualified bitfield", |b| {
        let qualified = b.reference(Kind::Const, b"", INT);
        composite(b, Kind::Struct, 4, true, &[(qualified, 0, 3)]);
    });
}

/// Check bitfields that only their INT type tells of, as before the kind flag.
#[test]
fn legacy_bitfields() {
    let case = |accepted, int_offset: u8, bits: u8, member_offset: u32, size: u32| {
        let what = format!("{bits} bits at {int_offset}, the member at {member_offset}, in {size} bytes");
        expect(accepted, &what, |b| {
            let field = b.int(b"field", 16, Int { encoding: 0, bit_offset: int_offset, bits });
            composite(b, Kind::Struct, size, false, &[(field, member_offset, 0)]);
        });
    };
    case(true, 0, 3, 5, 1);
    case(false, 0, 4, 5, 1);
    case(true, 3, 5, 0, 1);
    case(false, 3, 6, 0, 1);
    case(true, 0, 121, 7, 16);
    case(false, 0, 122, 7, 32);
    case(true, 7, 121, 0, 32);
    case(false, 7, 1, u32::MAX - 6, u32::MAX);
    case(true, 6, 1, u32::MAX - 6, u32::MAX);
}

/// Check sizes and names of enums.
#[test]
fn enums() {
    for kind in [Kind::Enum, Kind::Enum64] {
        let value: &[u32] = if kind == Kind::Enum { &[7] } else { &[7, 7] };
        for size in [0, 1, 2, 3, 4, 5, 8, 12, 16, 32, u32::MAX] {
            expect(matches!(size, 1 | 2 | 4 | 8), &format!("{kind} of {size} bytes"), |b| {
                raw(b, b"e", info(kind, 0), size, &[]);
            });
        }
        for (accepted, name) in [(true, &b"A"[..]), (false, b"9"), (false, b""), (false, b"a b")] {
            expect(accepted, "an enumerator's name", |b| {
                let name = b.string(name);
                raw(b, b"e", info(kind, 1), 4, &[&[name.0], value].concat());
            });
        }
        refuse("an enumerator's name outside the strings", |b| {
            raw(b, b"e", info(kind, 1), 4, &[&[9999], value].concat());
        });
    }
}

/// Check functions and their types.
#[test]
fn functions() {
    for linkage in 0..5 {
        expect(linkage < 2, "linkage", |b| _ = b.func(b"g", PROTO, linkage));
    }
    for bad in [TypeId::VOID, INT, FUNC, STRUCT, NEXT, TypeId(999)] {
        refuse("of a type that is no FUNC_PROTO", |b| _ = b.func(b"g", bad, 1));
    }
    let proto = |accepted, what: &str, result: TypeId, params: &[(&[u8], TypeId)]| {
        expect(accepted, what, |b| {
            let params: Vec<Param> = params.iter().map(|(name, ty)| param(b, name, *ty)).collect();
            b.func_proto(result, &params).unwrap();
        });
    };
    for good in [TypeId::VOID, INT, PTR, STRUCT, ENUM, ENUM64, FLOAT, ARRAY] {
        proto(true, "result", good, &[]);
    }
    for bad in [FWD, PROTO, FUNC, VAR, DATASEC, TAG, NEXT, TypeId(999)] {
        proto(false, "result", bad, &[]);
        proto(false, "parameter", INT, &[(b"a", bad)]);
    }
    for good in [INT, PTR, STRUCT, ENUM, ENUM64, FLOAT, ARRAY] {
        proto(true, "parameter", INT, &[(b"a", good), (b"", good)]);
    }
    proto(true, "only ...", INT, &[(b"", TypeId::VOID)]);
    proto(true, "... at the end", INT, &[(b"a", INT), (b"", TypeId::VOID)]);
    proto(false, "... in the middle", INT, &[(b"", TypeId::VOID), (b"a", INT)]);
    proto(false, "... with a name", INT, &[(b"a", INT), (b"more", TypeId::VOID)]);
    proto(false, "a name that is no identifier", INT, &[(b"a b", INT)]);
    refuse("a name outside the strings", |b| _ = raw(b, b"", info(Kind::FuncProto, 1), 1, &[9999, 1]));
    for (accepted, last) in [(false, INT), (true, TypeId::VOID)] {
        expect(accepted, "a FUNC with a parameter without a name", |b| {
            let params = [param(b, b"a", INT), param(b, b"", last)];
            let proto = b.func_proto(INT, &params).unwrap();
            b.func(b"g", proto, 1);
        });
    }
}

/// Check variables and sections.
#[test]
fn variables() {
    for linkage in [0, 1, 2, 3, u32::MAX] {
        expect(linkage < 2, "linkage", |b| _ = b.var(b"w", INT, linkage));
    }
    for good in [INT, PTR, STRUCT, ENUM, ENUM64, FLOAT, ARRAY] {
        accept("type", |b| _ = b.var(b"w", good, 1));
    }
    for bad in [TypeId::VOID, FWD, PROTO, FUNC, VAR, DATASEC, TAG, NEXT, TypeId(999)] {
        refuse("type", |b| _ = b.var(b"w", bad, 1));
    }
    let section = |accepted, what: &str, size: u32, vars: &[(TypeId, u32, u32)]| {
        expect(accepted, what, |b| {
            let vars: Vec<_> =
                vars.iter().map(|&(ty, offset, size)| SectionVar { ty, offset, size }).collect();
            b.datasec(b".bss", size, &vars).unwrap();
        });
    };
    section(true, "without variables", 4, &[]);
    section(false, "of size 0", 0, &[]);
    section(true, "one", 4, &[(VAR, 0, 4)]);
    section(true, "one twice", 8, &[(VAR, 0, 4), (VAR, 4, 4)]);
    section(true, "larger than its type", 8, &[(VAR, 0, 8)]);
    section(false, "smaller than its type", 8, &[(VAR, 0, 3)]);
    section(false, "of size 0", 8, &[(VAR, 0, 0)]);
    section(false, "past the end", 8, &[(VAR, 5, 4)]);
    section(false, "at the end", 8, &[(VAR, 8, 4)]);
    section(false, "overlapping", 8, &[(VAR, 0, 4), (VAR, 3, 4)]);
    section(false, "unsorted", 8, &[(VAR, 4, 4), (VAR, 0, 4)]);
    for (accepted, before) in [(false, true), (true, false)] {
        expect(accepted, "smaller than its type, before or after its section", |b| {
            let ty = if before { b.var(b"w", STRUCT, 1) } else { TypeId(NEXT.0 + 1) };
            b.datasec(b".bss", 4, &[SectionVar { ty, offset: 0, size: 4 }]).unwrap();
            if !before {
                b.var(b"w", STRUCT, 1);
            }
        });
    }
    for bad in [TypeId::VOID, INT, STRUCT, FUNC, DATASEC, TAG, NEXT, TypeId(999)] {
        section(false, "not a variable", 4, &[(bad, 0, 4)]);
    }
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

/// Check the one place where the validator is stricter on purpose: the kernel adds offset and size of a variable in 32 bits.
#[test]
fn variable_past_four_gibibytes() {
    let mut b = start();
    b.datasec(b".bss", u32::MAX, &[SectionVar { ty: VAR, offset: u32::MAX - 1, size: u32::MAX }]).unwrap();
    let blob = b.finish(Endian::NATIVE).unwrap();
    assert!(judge::kernel_accepts(&blob));
    assert!(ours(&blob).is_err());
}

/// Check sizes of floats.
#[test]
fn floats() {
    for size in 0..20 {
        expect(matches!(size, 2 | 4 | 8 | 12 | 16), "size", |b| _ = b.float(b"f", size));
    }
    for (size, align) in [(2, 16), (4, 32), (8, 64), (12, 64), (16, 64)] {
        for offset in [align, align / 2] {
            expect(offset == align, "alignment", |b| {
                let float = b.float(b"f", size);
                composite(b, Kind::Struct, 64, false, &[(float, offset, 0)]);
            });
        }
    }
}

/// Check declaration tags: on what, and on which component.
#[test]
fn declaration_tags() {
    for (target, components) in [(STRUCT, 2), (FUNC, 2), (VAR, 0), (NEXT, 0)] {
        for index in -2..4 {
            expect(
                index == -1 || (0..components).contains(&index),
                &format!("component {index} of {target}"),
                |b| {
                    b.reference(Kind::Typedef, b"t", INT);
                    b.decl_tag(b"tag", target, index);
                },
            );
        }
    }
    for bad in
        [TypeId::VOID, INT, PTR, FWD, PROTO, ENUM, ENUM64, FLOAT, ARRAY, DATASEC, TAG, NEXT, TypeId(999)]
    {
        refuse("on what cannot be tagged", |b| _ = b.decl_tag(b"tag", bad, -1));
    }
    refuse("the largest index", |b| _ = b.decl_tag(b"tag", STRUCT, i32::MAX));
    refuse("the smallest index", |b| _ = b.decl_tag(b"tag", STRUCT, i32::MIN));
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
