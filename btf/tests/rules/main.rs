//! The validator against the running kernel, rule by rule: for each kind of type a blob that keeps its rules, and blobs that break them one at a time.
//! Each case says what is expected; the kernel (`BPF_BTF_LOAD`) and the validator both have to agree, the validator also on the blob in the other byte
//! order.

#[path = "../judge/mod.rs"]
mod judge;

mod composites;
mod declarations;
mod references;
mod scalars;

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
    let btf = Btf::parse(blob)?;
    let verdict = validate(&btf, &ValidateOptions::default());
    assert_eq!(validate(&btf, &on_two_threads()), verdict);
    verdict
}

fn on_two_threads() -> ValidateOptions {
    let mut options = ValidateOptions::default();
    options.threads = 2;
    options
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

/// Adds a struct of these members (type, bit offset, bit width), with the kind flag or not.
fn composite(b: &mut Builder, kind: Kind, size: u32, flag: bool, members: &[(TypeId, u32, u32)]) -> TypeId {
    let mut words = Vec::new();
    for (at, (ty, offset, width)) in members.iter().enumerate() {
        let name = b.string(format!("m{at}").as_bytes());
        words.extend([name.0, ty.0, offset | width << 24]);
    }
    raw(b, b"s", Info::new(kind, members.len() as u32, flag), size, &words)
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
