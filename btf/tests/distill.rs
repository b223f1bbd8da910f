//! Distilled bases: what stays in them, that libbpf makes the same ones, and that it puts their split BTF back onto a kernel's.

mod libbpf;

use btf::{BaseIndex, Btf, Builder, Endian, Error, Int, Kind, Member, TypeId, distill, flatten};
use libbpf::Libbpf;

fn blob(builder: &Builder) -> Vec<u8> {
    builder.finish(Endian::NATIVE).unwrap()
}

fn kernel_btf() -> Vec<u8> {
    std::fs::read("/sys/kernel/btf/vmlinux").expect("the tests need a kernel with BTF")
}

fn members(builder: &mut Builder, members: &[(&str, TypeId)]) -> Vec<Member> {
    let member = |&(name, ty): &(&str, TypeId)| Member {
        name: builder.string(name.as_bytes()),
        ty,
        bit_offset: 0,
        bit_width: 0,
    };
    members.iter().map(member).collect()
}

/// Kind, name, size or target, and number of elements of each type.
fn listed(btf: &Btf<'_>) -> Vec<(Kind, String, u32, u32)> {
    let types = btf.types().map(|ty| ty.unwrap());
    types.map(|ty| (ty.kind(), btf.name(&ty).unwrap().to_string(), ty.size_or_type(), ty.vlen())).collect()
}

/// A base of each kind, and split BTF that refers to all of it.
fn example() -> (Vec<u8>, Vec<u8>) {
    let mut base = Builder::new();
    let number = base.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 });
    let float = base.float(b"double", 8);
    let fwd = base.fwd(b"declared", true);
    let in_struct = members(&mut base, &[("a", number)]);
    let named = base.composite(Kind::Struct, b"named", 4, &in_struct).unwrap();
    let of_named = base.reference(Kind::Typedef, b"named_t", named);
    let one = base.string(b"ONE");
    let one = [btf::Enumerator { name: one, value: 1 }];
    let short = base.enumeration(b"short", 4, true, &one).unwrap();
    let wide = base.enumeration(b"wide", 8, false, &one).unwrap();
    let nameless_enum = base.enumeration(b"", 4, false, &one).unwrap();
    let in_union = members(&mut base, &[("f", float), ("n", of_named), ("e", nameless_enum)]);
    let nameless = base.composite(Kind::Union, b"", 8, &in_union).unwrap();
    let pointer = base.reference(Kind::Ptr, b"", fwd);
    base.int(b"unused", 4, Int { encoding: 0, bit_offset: 0, bits: 32 });
    let base = blob(&base);
    let read = Btf::parse(&base).unwrap();
    let mut split = Builder::split(&read);
    let all = [("u", nameless), ("p", pointer), ("s", short), ("w", wide)];
    let all = members(&mut split, &all);
    let of_module = split.composite(Kind::Union, b"of_module", 8, &all).unwrap();
    split.reference(Kind::Ptr, b"", of_module);
    let split = blob(&split);
    (base, split)
}

/// Check what goes where.
#[test]
fn example_distilled() {
    let (base, split) = example();
    let base = Btf::parse(&base).unwrap();
    let distilled = distill(&Btf::parse_split(&split, &base).unwrap()).unwrap();
    let base = Btf::parse(&distilled.base).unwrap();
    let split = Btf::parse_split(&distilled.split, &base).unwrap();
    for btf in [&base, &split] {
        btf::validate(btf, &Default::default()).unwrap();
    }
    let expected = [
        // No INT: only the named struct's member is one.
        (Kind::Float, "double", 8, 0),
        (Kind::Fwd, "declared", 0, 0),
        (Kind::Struct, "named", 4, 0),
        (Kind::Enum, "short", 4, 0),
        (Kind::Enum, "wide", 8, 0),
    ];
    assert_eq!(listed(&base), expected.map(|(kind, name, size, vlen)| (kind, name.to_owned(), size, vlen)));
    let expected = [
        (Kind::Union, "of_module", 8, 4),
        (Kind::Ptr, "", 6, 0),
        (Kind::Typedef, "named_t", 3, 0),
        (Kind::Enum, "", 4, 1),
        (Kind::Union, "", 8, 3),
        (Kind::Ptr, "", 2, 0),
    ];
    assert_eq!(listed(&split), expected.map(|(kind, name, size, vlen)| (kind, name.to_owned(), size, vlen)));
}

/// Check that libbpf distils the same base and split BTF, of our example and of parts of the kernel's BTF.
#[test]
fn same_as_libbpf() {
    let kernel = kernel_btf();
    let kernel = Btf::parse(&kernel).unwrap();
    let (base, split) = example();
    assert_same_as_libbpf(&base, &split);
    for at in [10, 50, 90] {
        assert_same_as_libbpf(kernel.bytes(), &module_of(&kernel, every_hundredth(&kernel, at)));
    }
}

fn assert_same_as_libbpf(base: &[u8], split: &[u8]) {
    let base_btf = Btf::parse(base).unwrap();
    let ours = distill(&Btf::parse_split(split, &base_btf).unwrap()).unwrap();
    let theirs_on = Libbpf::new(base);
    let (their_base, their_split) = Libbpf::split(split, &theirs_on).distill();
    let (ours_base, theirs_base) = (Btf::parse(&ours.base).unwrap(), Btf::parse(&their_base).unwrap());
    assert_eq!(listed(&ours_base), listed(&theirs_base));
    let ours_split = Btf::parse_split(&ours.split, &ours_base).unwrap();
    let theirs_split = Btf::parse_split(&their_split, &theirs_base).unwrap();
    assert_eq!(listed(&ours_split), listed(&theirs_split));
    let comparison = btf::compare(&ours_split, &theirs_split).unwrap();
    assert!(comparison.is_equal(), "{comparison}");
    assert!(ours.base.len() + ours.split.len() <= their_base.len() + their_split.len());
}

/// Every hundredth of the kernel's types, from this one on, that a pointer may lead to.
fn every_hundredth<'a>(kernel: &'a Btf<'_>, first: usize) -> impl Iterator<Item = TypeId> + use<'a> {
    let usable = |ty: &btf::Type<'_>| {
        !matches!(ty.kind(), Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag | Kind::TypeTag)
    };
    kernel.types().flatten().filter(usable).map(|ty| ty.id()).skip(first).step_by(100)
}

/// Split BTF on the kernel's, with structs that hold pointers to types of the kernel.
fn module_of(kernel: &Btf<'_>, types: impl IntoIterator<Item = TypeId>) -> Vec<u8> {
    let mut module = Builder::split(kernel);
    for id in types {
        let pointer = module.reference(Kind::Ptr, b"", id);
        let member = members(&mut module, &[("member", pointer)]);
        module.composite(Kind::Struct, format!("of_the_module_{}", id.0).as_bytes(), 8, &member).unwrap();
    }
    blob(&module)
}

/// Check that libbpf puts the split BTF of a distilled base onto the kernel's BTF, and that it then says what it said before.
#[test]
fn libbpf_relocates() {
    let kernel = kernel_btf();
    let kernel = Btf::parse(&kernel).unwrap();
    // Of a name that the kernel defines twice, libbpf cannot tell which is meant, and refuses.
    let mut seen = std::collections::HashSet::new();
    let named = kernel.types().flatten().filter(|ty| ty.kind().is_composite() || ty.kind().is_any_enum());
    let twice: std::collections::HashSet<_> =
        named.map(|ty| kernel.name(&ty).unwrap()).filter(|&name| !seen.insert(name)).collect();
    let clear = |&id: &TypeId| {
        let alone = module_of(&kernel, [id]);
        let needed = distill(&Btf::parse_split(&alone, &kernel).unwrap()).unwrap().base;
        let needed = Btf::parse(&needed).unwrap();
        needed.types().flatten().all(|ty| !twice.contains(needed.name(&ty).unwrap()))
    };
    let types: Vec<_> = every_hundredth(&kernel, 30).filter(clear).collect();
    assert!(types.len() > 300, "{} types are clear", types.len());
    let module = module_of(&kernel, types);
    let distilled = distill(&Btf::parse_split(&module, &kernel).unwrap()).unwrap();
    let (distilled_base, base) = (Libbpf::new(&distilled.base), Libbpf::new(kernel.bytes()));
    let mut split = Libbpf::split(&distilled.split, &distilled_base);
    split.relocate(&base).expect("libbpf relocates");
    let relocated = split.bytes();
    let relocated = Btf::parse_split(&relocated, &kernel).unwrap();
    btf::validate(&relocated, &Default::default()).unwrap();
    let whole = |btf: &Btf<'_>| blob(&flatten(btf).unwrap());
    let (before, after) = (whole(&Btf::parse_split(&module, &kernel).unwrap()), whole(&relocated));
    let (before, after) = (Btf::parse(&before).unwrap(), Btf::parse(&after).unwrap());
    let comparison = btf::compare(&before, &after).unwrap();
    let own = |difference: &&btf::Difference<'_>| difference.name.starts_with(b"of_the_module");
    assert_eq!(comparison.differences.iter().filter(own).count(), 0, "{comparison}");
}

/// Check that split BTF which needs nothing still gets a base that the kernel accepts, and that splitting again on the distilled base finds its types.
#[test]
fn nothing_needed() {
    let (base, _) = example();
    let base = Btf::parse(&base).unwrap();
    let mut split = Builder::split(&base);
    split.fwd(b"alone", false);
    let split = blob(&split);
    let distilled = distill(&Btf::parse_split(&split, &base).unwrap()).unwrap();
    let base = Btf::parse(&distilled.base).unwrap();
    assert_eq!(listed(&base), [(Kind::Int, "int".to_owned(), 4, 0)]);
    let split = Btf::parse_split(&distilled.split, &base).unwrap();
    assert_eq!(listed(&split), [(Kind::Fwd, "alone".to_owned(), 0, 0)]);
    let flat = blob(&flatten(&split).unwrap());
    let again = BaseIndex::of(&base).unwrap().split(&Btf::parse(&flat).unwrap()).unwrap();
    assert_eq!(blob(&again.builder), distilled.split);
}

/// Check what is refused: BTF without a base, and references to what has no identity outside its base.
#[test]
fn refused() {
    let mut base = Builder::new();
    let number = base.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 });
    let proto = base.func_proto(number, &[]).unwrap();
    let func = base.func(b"f", proto, 0);
    let base = blob(&base);
    let base = Btf::parse(&base).unwrap();
    assert!(matches!(distill(&base), Err(Error::NotSplit { .. })));
    let mut split = Builder::split(&base);
    split.decl_tag(b"mark", func, -1);
    let split = blob(&split);
    let error = distill(&Btf::parse_split(&split, &base).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Invalid { id: TypeId(3), kind: Kind::Func, .. }), "{error}");
}
