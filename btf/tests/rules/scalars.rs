//! Integers, floats and enums.

use super::*;

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
