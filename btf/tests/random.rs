//! The validator against the running kernel on blobs that nobody thought of: random types, and parts of the kernel's own BTF with a few words changed.
//! On each of them the two must agree.

mod judge;

use std::cell::Cell;
use std::collections::BTreeMap;

use btf::kind::Info;
use btf::{Btf, Builder, Endian, Kind, TypeId, ValidateOptions, validate};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// How many blobs each test tries, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 10_000;

/// Runs `CASES` cases whose verdicts must agree, and demands that both verdicts occurred often enough to mean something.
fn agree<S: Strategy>(strategy: S, blob: impl Fn(&S::Value) -> Vec<u8>) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let accepted = Cell::new(0);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |value| {
            let blob = blob(&value);
            let ours = Btf::parse(&blob).and_then(|btf| validate(&btf, &ValidateOptions::default()));
            let mut two_threads = ValidateOptions::default();
            two_threads.threads = 2;
            assert_eq!(Btf::parse(&blob).and_then(|btf| validate(&btf, &two_threads)), ours);
            if judge::kernel_accepts(&blob) != ours.is_ok() {
                let kernel = judge::kernel_says(&blob);
                return Err(TestCaseError::fail(format!(
                    "the kernel says {kernel:?}, the validator {ours:?}"
                )));
            }
            accepted.set(accepted.get() + u32::from(ours.is_ok()));
            Ok(())
        })
        .unwrap();
    let accepted = accepted.get();
    assert!(accepted > cases / 20 && accepted < cases - cases / 20, "{accepted} of {cases} were accepted");
}

/// A random type. What the numbers mean depends on the kind.
#[derive(Clone, Debug)]
struct RandomType {
    kind: Kind,
    flag: bool,
    name: usize,
    /// A size or a type.
    third: u32,
    words: [u32; 3],
    elements: Vec<[u32; 3]>,
}

const NAMES: [&str; 8] = ["", "a", "b", "int", ".text", "?x", "a b", "_"];
const SIZES: [u32; 10] = [0, 1, 2, 4, 8, 12, 16, 64, 512, u32::MAX];

fn random_type() -> impl Strategy<Value = RandomType> {
    let small = prop_oneof![12 => 0..16u32, 1 => any::<u32>()];
    (
        (0..Kind::ALL.len()).prop_map(|index| Kind::ALL[index]),
        any::<bool>(),
        prop_oneof![8 => 0..5usize, 1 => 5..NAMES.len()],
        small.clone(),
        [small.clone(), small.clone(), small.clone()],
        vec([small.clone(), small.clone(), small], 0..4),
    )
        .prop_map(|(kind, flag, name, third, words, elements)| RandomType {
            kind,
            flag,
            name,
            third,
            words,
            elements,
        })
}

/// Turns random numbers into a type that breaks rules now and then rather than always.
fn add(builder: &mut Builder, ty: &RandomType) {
    let name = |builder: &mut Builder, index: usize| builder.string(NAMES[index % NAMES.len()].as_bytes()).0;
    let size = |number: u32| SIZES.get(number as usize % 12).copied().unwrap_or(number);
    let kind = ty.kind;
    // A third of the numbers set a flag, give a wrong name, or the like.
    let careless = ty.words[2].is_multiple_of(11);
    let anonymous = matches!(
        kind,
        Kind::Ptr | Kind::Array | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::FuncProto
    );
    let own_name = match (anonymous, careless) {
        (_, true) => ty.name,
        (true, false) => 0,
        (false, false) => ty.name.clamp(1, 4),
    };
    let may_flag = kind.is_composite() || kind.is_any_enum() || kind == Kind::Fwd || careless;
    let third = match kind {
        Kind::Enum | Kind::Enum64 | Kind::Float if !careless => [2, 4, 8][ty.third as usize % 3],
        Kind::Int if !careless => [4, 8, 16][ty.third as usize % 3],
        Kind::Struct | Kind::Union | Kind::Datasec => size(ty.third.wrapping_add(4)),
        Kind::Array | Kind::Fwd if !careless => 0,
        _ => ty.third,
    };
    let mut elements = if kind.payload().element == 0 { Vec::new() } else { ty.elements.clone() };
    let flag = ty.flag && may_flag;
    let mut end = 0u32;
    for [first, second, last] in &mut elements {
        match kind {
            Kind::Struct | Kind::Union => {
                *first = name(builder, *first as usize % 4);
                let offset = if *last % 3 == 0 { last.wrapping_mul(8) } else { 32 * (*last % 8) };
                end = end.max(offset % 1024);
                let width = if flag && *last % 5 == 0 { *last % 40 } else { 0 };
                *last = if kind == Kind::Union { *last / 15 } else { end } | width << 24;
            }
            Kind::Datasec => {
                *last = [4, 8, 16, 3][*last as usize % 4];
                (*second, end) = (end, end.saturating_add(*last));
            }
            Kind::Enum | Kind::Enum64 => *first = name(builder, 1 + *first as usize % 4),
            _ => *first = name(builder, *first as usize % 4),
        }
    }
    let vlen = match kind {
        Kind::Func => ty.words[0] % 3,
        _ if careless => elements.len() as u32 + ty.words[0] / 14,
        _ => elements.len() as u32,
    };
    let fixed: Vec<u32> = match kind {
        Kind::Int if careless => vec![ty.words[0] << 24 | ty.words[1] << 16 | ty.words[2]],
        Kind::Int => vec![(1 << (ty.words[0] % 3)) << 24 | [8, 16, 32, 5][ty.words[1] as usize % 4]],
        Kind::Array => ty.words.to_vec(),
        Kind::Var => vec![ty.words[0] % 3],
        Kind::DeclTag => vec![(ty.words[0] % 4).wrapping_sub(1)],
        _ => Vec::new(),
    };
    let own_name = name(builder, own_name);
    let width = usize::from(kind.payload().element) / 4;
    let elements = elements.iter().flat_map(|element| element[..width].iter().copied());
    let words: Vec<u32> =
        [own_name, Info::new(kind, vlen, flag).0, third].into_iter().chain(fixed).chain(elements).collect();
    builder.add_record(&words);
}

/// Check random lists of types, of every kind, referring to each other in every way.
#[test]
fn random_types() {
    agree((vec(random_type(), 1..8), any::<bool>()), |(types, with_base)| {
        let mut builder = Builder::new();
        if *with_base {
            // Something to refer to, so that more of the random types are good.
            let int = builder.int(b"int", 4, btf::Int { encoding: 1, bit_offset: 0, bits: 32 });
            builder.reference(Kind::Ptr, b"", int);
            builder.reference(Kind::Const, b"", int);
            builder.reference(Kind::Typedef, b"u", int);
            builder.composite(Kind::Struct, b"s", 8, &[]).unwrap();
            builder.var(b"v", int, 1);
            builder.func_proto(int, &[]).unwrap();
            builder.func(b"f", TypeId(7), 0);
        }
        for ty in types {
            add(&mut builder, ty);
        }
        builder.finish(Endian::NATIVE).unwrap()
    });
}

/// The types that `roots` need by value, from the kernel's own BTF; pointers to others become `void *`.
fn part_of_kernel(kernel: &Btf<'_>, roots: &[u32]) -> Vec<u8> {
    let mut wanted = BTreeMap::new();
    let mut queue: Vec<(TypeId, bool)> = roots.iter().map(|&id| (TypeId(id), true)).collect();
    while let Some((id, by_value)) = queue.pop() {
        let Ok(ty) = kernel.ty(id) else { continue };
        if wanted.contains_key(&id) || (!by_value && wanted.len() > 200) {
            continue;
        }
        wanted.insert(id, TypeId::VOID);
        let pointer = ty.kind() == Kind::Ptr;
        let mut words: Vec<u32> = ty.words().collect();
        btf::visit_refs(&mut words, |what, word| {
            if what == btf::Ref::Type {
                queue.push((TypeId(*word), by_value && !pointer));
            }
        });
        queue.sort_by_key(|&(_, by_value)| by_value);
    }
    let mut builder = Builder::new();
    for (next, new) in (1..).zip(wanted.values_mut()) {
        *new = TypeId(next);
    }
    for &id in wanted.keys() {
        builder
            .add_copy(kernel, &kernel.ty(id).unwrap(), |id| wanted.get(&id).copied().unwrap_or_default())
            .unwrap();
    }
    builder.finish(Endian::NATIVE).unwrap()
}

/// Check parts of the running kernel's BTF in which up to three words were changed, anywhere in the blob.
#[test]
fn mutated_kernel_types() {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").expect("the tests need a kernel with BTF");
    let kernel = Btf::parse(&bytes).unwrap();
    let count = kernel.type_count();
    let change = prop_oneof![
        3 => (0..32u32).prop_map(|bit| (1 << bit, 0u32)),
        2 => (0..40u32).prop_map(|value| (u32::MAX, value)),
        1 => any::<u32>().prop_map(|value| (u32::MAX, value)),
        2 => (0..4u32, any::<u8>()).prop_map(|(byte, value)| (0xff << (byte * 8), u32::from(value) << (byte * 8))),
    ];
    // A place is a fraction of the blob; one in ten lies in its header.
    let place = prop_oneof![9 => 0.0..1.0f64, 1 => -1.0..0.0f64];
    agree((vec(1..count, 1..3), vec((place, change), 0..4)), |(roots, changes)| {
        let mut blob = part_of_kernel(&kernel, roots);
        for &(place, (mask, value)) in changes {
            let len = blob.len();
            let at = if place < 0.0 {
                (-place * 24.0) as usize & !3
            } else {
                (place * (len - 4) as f64) as usize & !3
            };
            let word = u32::from_ne_bytes(blob[at..at + 4].try_into().unwrap());
            let new = if mask.count_ones() == 1 { word ^ mask } else { word & !mask | value };
            blob[at..at + 4].copy_from_slice(&new.to_ne_bytes());
        }
        blob
    });
}

/// Check that both accept the running kernel's own BTF, and that the validator accepts it in the other byte order.
#[test]
fn whole_kernel() {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").expect("the tests need a kernel with BTF");
    assert_eq!(judge::kernel_says(&bytes), Ok(()));
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(validate(&btf, &ValidateOptions::default()), Ok(()));
    let mut swapped = Builder::new();
    for ty in btf.types() {
        swapped.add_copy(&btf, &ty.unwrap(), |id| id).unwrap();
    }
    let swapped =
        swapped.finish(if Endian::NATIVE == Endian::Big { Endian::Little } else { Endian::Big }).unwrap();
    assert_eq!(validate(&Btf::parse(&swapped).unwrap(), &ValidateOptions::default()), Ok(()));
}

/// Check that the kernel's BTF cut in two, a base and a split on top, is as valid as the whole, and that a type of the split that does not fit one of
/// the base is found.
#[test]
fn cut_kernel() {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").expect("the tests need a kernel with BTF");
    let whole = Btf::parse(&bytes).unwrap();
    for share in [3, 50, 97] {
        let cut = whole.type_count() / 100 * share;
        let mut base = Builder::new();
        for id in 1..cut {
            base.add_copy(&whole, &whole.ty(TypeId(id)).unwrap(), |id| id).unwrap();
        }
        let base = base.finish(Endian::NATIVE).unwrap();
        let base = Btf::parse(&base).unwrap();
        let mut split = Builder::split(&base);
        for id in cut..whole.type_count() {
            split.add_copy(&whole, &whole.ty(TypeId(id)).unwrap(), |id| id).unwrap();
        }
        let good = split.finish(Endian::NATIVE).unwrap();
        let good = Btf::parse_split(&good, &base).unwrap();
        assert_eq!(good.type_count(), whole.type_count());
        assert_eq!(validate(&good, &ValidateOptions::default()), Ok(()));

        let large = (1..cut).map(TypeId).find(|&id| {
            let ty = base.ty(id).unwrap();
            ty.kind() == Kind::Struct && ty.size() > Some(8)
        });
        let member = btf::Member { name: btf::StrOffset(0), ty: large.unwrap(), bit_offset: 0, bit_width: 0 };
        split.composite(Kind::Struct, b"too_small", 8, &[member]).unwrap();
        let bad = split.finish(Endian::NATIVE).unwrap();
        let error =
            validate(&Btf::parse_split(&bad, &base).unwrap(), &ValidateOptions::default()).unwrap_err();
        assert!(error.to_string().ends_with("reaches past the end of its struct"), "{error}");
    }
}
