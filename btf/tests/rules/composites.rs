//! Members of structs and unions: where they may lie, and bitfields.

use super::*;

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
