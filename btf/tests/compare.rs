//! Comparing blobs: what must not matter, and what must.

use btf::{
    Array, Btf, Builder, Endian, Enumerator, Error, Int, Kind, KindCounts, Member, Param, StrOffset, TypeId,
    compare,
};

fn int(b: &mut Builder, name: &[u8], bits: u8) -> TypeId {
    b.int(name, u32::from(bits) / 8, Int { encoding: 0, bit_offset: 0, bits })
}

fn structure(b: &mut Builder, name: &[u8], members: &[(&[u8], TypeId, u32)]) -> TypeId {
    let members: Vec<_> = members
        .iter()
        .map(|&(name, ty, bit_offset)| Member { name: b.string(name), ty, bit_offset, bit_width: 0 })
        .collect();
    b.composite(Kind::Struct, name, 64, &members).unwrap()
}

/// The report on two blobs, for snapshots, and whether it found them equal.
fn report(a: impl FnOnce(&mut Builder), b: impl FnOnce(&mut Builder)) -> (bool, String) {
    let blob = |build: &mut dyn FnMut(&mut Builder), endian| {
        let mut builder = Builder::new();
        build(&mut builder);
        builder.finish(endian).unwrap()
    };
    let (mut a, mut b) = (Some(a), Some(b));
    let a = blob(&mut |builder| a.take().unwrap()(builder), Endian::Little);
    let b = blob(&mut |builder| b.take().unwrap()(builder), Endian::Big);
    let (a, b) = (Btf::parse(&a).unwrap(), Btf::parse(&b).unwrap());
    let comparison = compare(&a, &b).unwrap();
    assert_eq!(comparison.is_equal(), comparison.kinds.values().all(KindCounts::is_equal));
    (comparison.is_equal(), comparison.to_string())
}

/// Check that ids, order, byte order, the order of strings, and unreferenced unnamed types do not matter.
#[test]
fn same_types_otherwise_arranged() {
    let (equal, text) = report(
        |b| {
            let u32 = int(b, b"unsigned int", 32);
            let own = b.next_id().0 + 1;
            let pointer = b.reference(Kind::Ptr, b"", TypeId(own));
            structure(b, b"list", &[(b"next", pointer, 0), (b"value", u32, 64)]);
        },
        |b| {
            structure(b, b"list", &[(b"next", TypeId(3), 0), (b"value", TypeId(2), 64)]);
            int(b, b"unsigned int", 32);
            b.reference(Kind::Ptr, b"", TypeId(1));
            b.reference(Kind::Ptr, b"", TypeId(3));
        },
    );
    assert!(equal, "{text}");
}

/// Check that a difference in any part of a type, however deep in unnamed ones, is found; and that of a named part is found once.
#[test]
fn differences_of_each_part() {
    type Parts = (u8, &'static [u8], u32, u32, u64, &'static [u8], Kind, u32);
    let build = |b: &mut Builder, (bits, member, offset, len, value, param, qualifier, linkage): Parts| {
        let int = int(b, b"int", bits);
        let array = b.array(Array { element: int, index: int, len });
        let qualified = b.reference(qualifier, b"", array);
        let inner = structure(b, b"", &[(member, qualified, offset)]);
        let name = b.string(b"A");
        let unnamed = b.enumeration(b"", 4, false, &[Enumerator { name, value: value as i64 }]).unwrap();
        let param = Param { name: b.string(param), ty: inner };
        let proto = b.func_proto(unnamed, &[param]).unwrap();
        let pointer = b.reference(Kind::Ptr, b"", proto);
        structure(b, b"outer", &[(b"f", pointer, 0)]);
        b.func(b"function", proto, linkage);
    };
    let base: Parts = (32, b"m", 8, 3, 1, b"p", Kind::Const, 1);
    let check = |what: &str, other: Parts, differ: &[(Kind, usize)]| {
        let (mut a, mut b) = (Builder::new(), Builder::new());
        build(&mut a, base);
        build(&mut b, other);
        let (a, b) = (a.finish(Endian::Little).unwrap(), b.finish(Endian::Little).unwrap());
        let (a, b) = (Btf::parse(&a).unwrap(), Btf::parse(&b).unwrap());
        let found: Vec<_> =
            compare(&a, &b).unwrap().kinds.into_iter().filter(|(_, counts)| !counts.is_equal()).collect();
        let found: Vec<_> = found.into_iter().map(|(kind, counts)| (kind, counts.differ)).collect();
        assert_eq!(found, differ, "{what}");
    };
    let both = [(Kind::Struct, 1), (Kind::Func, 1)];
    check("nothing", base, &[]);
    check(
        "size of an INT, referred to by name",
        (64, base.1, base.2, base.3, base.4, base.5, base.6, base.7),
        &[(Kind::Int, 1)],
    );
    check("name of a member", (32, b"n", 8, 3, 1, b"p", Kind::Const, 1), &both);
    check("offset of a member", (32, b"m", 16, 3, 1, b"p", Kind::Const, 1), &both);
    check("length of an array", (32, b"m", 8, 4, 1, b"p", Kind::Const, 1), &both);
    check("value of an enumerator", (32, b"m", 8, 3, 2, b"p", Kind::Const, 1), &both);
    check("name of a parameter", (32, b"m", 8, 3, 1, b"q", Kind::Const, 1), &both);
    check("qualifier", (32, b"m", 8, 3, 1, b"p", Kind::Volatile, 1), &both);
    check("linkage", (32, b"m", 8, 3, 1, b"p", Kind::Const, 0), &[(Kind::Func, 1)]);
}

/// Check that types of one name are compared as multisets, and how the report counts and shows them.
#[test]
fn several_of_one_name() {
    let variant = |b: &mut Builder, int: TypeId, member: &[u8]| structure(b, b"s", &[(member, int, 0)]);
    let (equal, text) = report(
        |b| {
            let int = int(b, b"int", 32);
            for member in [b"a", b"b", b"a", b"c"] {
                variant(b, int, member);
            }
            b.float(b"only_here", 4);
        },
        |b| {
            let int = int(b, b"int", 32);
            for member in [b"d", b"a", b"b"] {
                variant(b, int, member);
            }
        },
    );
    assert!(!equal);
    assert_eq!(
        text,
        "\
kind           same   differ   only a   only b
INT               1        0        0        0
STRUCT            2        1        1        0
FLOAT             0        0        1        0

STRUCT s differs
  - a @0 int int
  + d @0 int int

STRUCT s is only in a
  - struct s: 64 bytes, 1 elements
  - c @0 int int

FLOAT only_here is only in a
  - float only_here: 4 bytes
"
    );
}

/// Check that a reference to a forward declaration is one to its struct or union, but that forward declarations are counted.
#[test]
fn forward_declarations() {
    let build = |union: Option<bool>| {
        move |b: &mut Builder| {
            let pointer = b.reference(Kind::Ptr, b"", TypeId(2));
            match union {
                Some(union) => _ = b.fwd(b"t", union),
                None => _ = structure(b, b"t", &[]),
            }
            structure(b, b"s", &[(b"p", pointer, 0)]);
        }
    };
    let (equal, text) = report(build(None), build(Some(false)));
    assert!(!equal && text.contains("FWD               0        0        0        1"), "{text}");
    assert!(text.contains("STRUCT            1        0        1        0"), "{text}");
    let (_, text) = report(build(None), build(Some(true)));
    assert!(text.contains("- p @0 *struct t\n  + p @0 *union t"), "{text}");
}

/// Check that unnamed types that contain each other, which C has none of, are an error and not an endless walk.
#[test]
fn unnamed_cycle() {
    let mut b = Builder::new();
    b.reference(Kind::Ptr, b"", TypeId(2));
    structure(&mut b, b"", &[(b"p", TypeId(1), 0)]);
    structure(&mut b, b"s", &[(b"p", TypeId(1), 0)]);
    let blob = b.finish(Endian::Little).unwrap();
    let btf = Btf::parse(&blob).unwrap();
    let error = compare(&btf, &btf).unwrap_err();
    assert!(error.to_string().ends_with("unnamed types contain each other in a cycle"), "{error}");
}

/// Check that types shared many times over cost no more than their records: written out, these would have 2^2000 members.
#[test]
fn shared_unnamed_types() {
    let build = |b: &mut Builder| {
        let mut last = int(b, b"int", 32);
        for _ in 0..2000 {
            last = structure(b, b"", &[(b"a", last, 0), (b"b", last, 0)]);
        }
        structure(b, b"root", &[(b"r", last, 0)]);
    };
    let (equal, text) = report(build, |b| {
        build(b);
        b.float(b"root", 4);
    });
    assert!(!equal && text.len() < 1000, "{text}");
    let (_, text) = report(build, |b| _ = structure(b, b"root", &[]));
    assert!(text.len() < 10_000, "{text}");
}

/// Check that references outside the blob are errors.
#[test]
fn out_of_range() {
    for (name, ty) in [(StrOffset(99), TypeId(0)), (StrOffset(0), TypeId(99))] {
        let mut b = Builder::new();
        b.composite(Kind::Struct, b"s", 8, &[Member { name, ty, bit_offset: 0, bit_width: 0 }]).unwrap();
        let blob = b.finish(Endian::Little).unwrap();
        let btf = Btf::parse(&blob).unwrap();
        let error = compare(&btf, &btf).unwrap_err();
        assert!(matches!(error, Error::NoSuchType { .. } | Error::NoSuchString { .. }), "{error}");
    }
}
