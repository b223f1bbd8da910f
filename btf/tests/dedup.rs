//! Deduplication: what must become one, what must not, and that the order of types does not matter.

mod graphs;

use btf::dedup::dedup;
use btf::{Btf, Builder, Endian, Error, Kind, SectionVar, TypeId};
use graphs::{int, order, shape, strukt, write};
use proptest::prelude::*;

fn blob(builder: &Builder) -> Vec<u8> {
    builder.finish(Endian::Little).unwrap()
}

fn deduplicated(data: &[u8]) -> Vec<u8> {
    let made = blob(&dedup(&Btf::parse(data).unwrap()).unwrap());
    btf::validate(&Btf::parse(&made).unwrap(), &Default::default()).unwrap();
    made
}

/// How many types of this kind and name there are.
fn count(data: &[u8], kind: Kind, name: &str) -> usize {
    let btf = Btf::parse(data).unwrap();
    btf.types().flatten().filter(|ty| ty.kind() == kind && btf.name(ty).unwrap() == name).count()
}

fn assert_same(a: &[u8], b: &[u8]) {
    let (a, b) = (Btf::parse(a).unwrap(), Btf::parse(b).unwrap());
    let comparison = btf::compare(&a, &b).unwrap();
    assert!(comparison.is_equal(), "{comparison}");
    assert_eq!(a.type_count(), b.type_count());
}

/// Copies all types of `data` behind those of `builder`, as the units of a linked object follow each other.
fn append(builder: &mut Builder, data: &[u8]) {
    let btf = Btf::parse(data).unwrap();
    let shift = builder.next_id().0 - 1;
    for ty in btf.types() {
        builder.add_copy(&btf, &ty.unwrap(), |id| TypeId(id.0 + shift)).unwrap();
    }
}

/// Check that the running kernel's BTF, which is deduplicated already, stays as it is, and that three copies of it become one again.
#[test]
fn kernel_three_times() {
    let kernel = std::fs::read("/sys/kernel/btf/vmlinux").expect("the tests need a kernel with BTF");
    let once = deduplicated(&kernel);
    let (a, b) = (Btf::parse(&kernel).unwrap(), Btf::parse(&once).unwrap());
    let comparison = btf::compare(&a, &b).unwrap();
    for (kind, counts) in &comparison.kinds {
        assert!(*kind == Kind::Fwd || counts.is_equal(), "{comparison}");
    }
    let mut builder = Builder::new();
    for _ in 0..3 {
        let btf = Btf::parse(&kernel).unwrap();
        let shift = builder.next_id().0 - 1;
        // Variables and sections are never merged, so only the first copy's are taken.
        let kept = |ty: &btf::Type<'_>| !matches!(ty.kind(), Kind::Var | Kind::Datasec);
        let mut ids = vec![TypeId::VOID; btf.type_count() as usize];
        let mut next = shift;
        for ty in btf.types().flatten() {
            if shift == 0 || kept(&ty) {
                next += 1;
                ids[ty.id().0 as usize] = TypeId(next);
            }
        }
        for ty in btf.types().flatten() {
            if shift == 0 || kept(&ty) {
                builder.add_copy(&btf, &ty, |id| ids[id.0 as usize]).unwrap();
            }
        }
    }
    assert_same(&deduplicated(&blob(&builder)), &once);
}

/// Check that thousands of structs which might be one, as far as their declarations tell, all stay where they differ, and those that do not
/// become one all the same.
#[test]
fn many_half_declared() {
    const COUNT: u32 = 4000;
    let mut builder = Builder::new();
    let number = int(&mut builder);
    // Two definitions, so that a declaration stays one.
    strukt(&mut builder, "declared", 4, &[("x", number, 0)]);
    strukt(&mut builder, "declared", 8, &[("x", number, 4)]);
    for n in 0..COUNT {
        let size = 4 + n / 2 * 4;
        let differs = strukt(&mut builder, "differs", size, &[("x", number, 0)]);
        let declared = builder.fwd(b"declared", false);
        let [differs, declared] = [differs, declared].map(|to| builder.reference(Kind::Ptr, b"", to));
        strukt(&mut builder, "user", 16, &[("declared", declared, 0), ("differs", differs, 8)]);
    }
    let once = deduplicated(&blob(&builder));
    assert_eq!(count(&once, Kind::Struct, "differs"), COUNT as usize / 2);
    assert_eq!(count(&once, Kind::Struct, "user"), COUNT as usize / 2);
}

/// Check that a forward declaration becomes the definition of its name, also where it stood in the way of equality.
#[test]
fn forward_declaration_resolved() {
    let mut builder = Builder::new();
    for defined in [false, true] {
        let number = int(&mut builder);
        let inner = if defined {
            strukt(&mut builder, "inner", 4, &[("x", number, 0)])
        } else {
            builder.fwd(b"inner", false)
        };
        let pointer = builder.reference(Kind::Ptr, b"", inner);
        strukt(&mut builder, "outer", 8, &[("inner", pointer, 0)]);
    }
    let made = deduplicated(&blob(&builder));
    let counts = [(Kind::Fwd, "inner"), (Kind::Struct, "inner"), (Kind::Struct, "outer"), (Kind::Ptr, "")];
    assert_eq!(counts.map(|(kind, name)| count(&made, kind, name)), [0, 1, 1, 1]);
}

/// Check that a name with two definitions keeps both and two forms of what points to them, and that a declaration of it stays one
/// but makes no third form of a struct.
#[test]
fn forward_declaration_ambiguous() {
    let mut builder = Builder::new();
    for size in [0, 4, 8] {
        let number = int(&mut builder);
        let inner = if size == 0 {
            builder.fwd(b"inner", false)
        } else {
            strukt(&mut builder, "inner", size, &[("x", number, 0)])
        };
        let pointer = builder.reference(Kind::Ptr, b"", inner);
        strukt(&mut builder, "outer", 8, &[("inner", pointer, 0)]);
        let alone = builder.reference(Kind::Ptr, b"", inner);
        builder.reference(Kind::Typedef, if size == 0 { b"of_declared" } else { b"of_defined" }, alone);
    }
    let made = deduplicated(&blob(&builder));
    let counts = [
        (Kind::Struct, "inner", 2),
        (Kind::Struct, "outer", 2),
        (Kind::Fwd, "inner", 1),
        (Kind::Typedef, "of_defined", 2),
        (Kind::Typedef, "of_declared", 1),
    ];
    for (kind, name, expected) in counts {
        assert_eq!(count(&made, kind, name), expected, "{kind} {name}");
    }
}

/// Check that a struct which points to another and to its declaration is the one that points to the other twice, whichever is looked at first.
#[test]
fn pointers_to_declared_and_defined() {
    let mut builder = Builder::new();
    for declared in [false, true] {
        let number = int(&mut builder);
        let first = builder.next_id().0;
        let [to_node, node, declaration] = [first + 1, first + 2, first + 3].map(TypeId);
        let next = if declared { TypeId(first + 4) } else { to_node };
        strukt(&mut builder, "alpha", 8, &[("node", to_node, 0)]);
        builder.reference(Kind::Ptr, b"", node);
        strukt(&mut builder, "node", 8, &[("next", next, 0)]);
        builder.fwd(b"node", false);
        builder.reference(Kind::Ptr, b"", declaration);
        if declared {
            // A second definition, so that the declaration stays open.
            strukt(&mut builder, "node", 4, &[("other", number, 0)]);
        }
    }
    let made = deduplicated(&blob(&builder));
    let counts = [(Kind::Struct, "alpha"), (Kind::Struct, "node")];
    assert_eq!(counts.map(|(kind, name)| count(&made, kind, name)), [1, 2]);
}

/// Check that an enum without enumerators is a declaration of the one with them, and of an enum64.
#[test]
fn enum_declarations() {
    for size in [4, 8] {
        let mut builder = Builder::new();
        let declared = builder.enumeration(b"state", 4, false, &[]).unwrap();
        strukt(&mut builder, "user", size, &[("state", declared, 0)]);
        let name = builder.string(b"RUNNING");
        let defined =
            builder.enumeration(b"state", size, false, &[btf::Enumerator { name, value: 1 }]).unwrap();
        strukt(&mut builder, "user", size, &[("state", defined, 0)]);
        let made = deduplicated(&blob(&builder));
        assert_eq!(count(&made, Kind::Struct, "user"), 1);
        assert_eq!(count(&made, Kind::Enum, "state") + count(&made, Kind::Enum64, "state"), 1);
    }
}

/// Check that structs which differ in one thing only, far away, are kept apart, and that equal ones around them are not.
#[test]
fn difference_at_a_distance() {
    let mut builder = Builder::new();
    for last in ["x", "y"] {
        let number = int(&mut builder);
        let first = builder.next_id();
        // A chain of ten structs, each pointing to the next, in a ring.
        for link in 0..10 {
            let next = TypeId(first.0 + (link + 1) % 10 * 2);
            let pointer = TypeId(first.0 + link * 2 + 1);
            let name = if link == 9 { last } else { "x" };
            strukt(&mut builder, &format!("link{link}"), 16, &[("next", pointer, 0), (name, number, 8)]);
            builder.reference(Kind::Ptr, b"", next);
        }
        strukt(&mut builder, "apart", 4, &[("x", number, 0)]);
    }
    let made = deduplicated(&blob(&builder));
    for link in 0..10 {
        assert_eq!(count(&made, Kind::Struct, &format!("link{link}")), 2);
    }
    assert_eq!((count(&made, Kind::Struct, "apart"), count(&made, Kind::Int, "int")), (1, 1));
}

/// Check that variables, sections and their tags are kept as they are, each with its own type.
#[test]
fn variables_stay() {
    let mut builder = Builder::new();
    for _ in 0..2 {
        let number = int(&mut builder);
        let var = builder.var(b"counter", number, 0);
        builder.datasec(b".data", 4, &[SectionVar { ty: var, offset: 0, size: 4 }]).unwrap();
        builder.decl_tag(b"mark", var, -1);
        let tagged = builder.reference(Kind::Typedef, b"tagged", number);
        builder.decl_tag(b"mark", tagged, -1);
    }
    let made = deduplicated(&blob(&builder));
    let counts = [
        (Kind::Var, "counter", 2),
        (Kind::Datasec, ".data", 2),
        (Kind::Int, "int", 1),
        (Kind::Typedef, "tagged", 1),
    ];
    for (kind, name, expected) in counts {
        assert_eq!(count(&made, kind, name), expected, "{kind} {name}");
    }
    // Two on the variables, one on the typedef.
    assert_eq!(count(&made, Kind::DeclTag, "mark"), 3);
}

fn deduplicated_unchecked(builder: &Builder) -> Vec<u8> {
    blob(&dedup(&Btf::parse(&blob(builder)).unwrap()).unwrap())
}

/// What a blob says, as sorted lines; equal for blobs whose types differ in order only.
fn said(data: &[u8]) -> (u32, Vec<String>) {
    let btf = Btf::parse(data).unwrap();
    let mut lines: Vec<String> = btf
        .types()
        .flatten()
        .map(|ty| format!("{} {} {} {}", ty.kind(), btf.name(&ty).unwrap(), ty.vlen(), ty.kind_flag()))
        .collect();
    lines.sort();
    (btf.type_count(), lines)
}

/// Check what is refused: references to nothing, split BTF.
#[test]
fn refused() {
    let mut builder = Builder::new();
    builder.var(b"v", TypeId(9), 0);
    let data = blob(&builder);
    let btf = Btf::parse(&data).unwrap();
    assert_eq!(dedup(&btf).unwrap_err(), Error::NoSuchType { id: TypeId(9), count: 2 });
    let split = blob(&Builder::split(&btf));
    let error = dedup(&Btf::parse_split(&split, &btf).unwrap()).unwrap_err();
    assert!(matches!(error, Error::NotSelfContained { .. }));
}

/// Check that a tag stays on its variable also where it comes first.
#[test]
fn tag_before_variable() {
    let mut builder = Builder::new();
    builder.decl_tag(b"mark", TypeId(2), -1);
    builder.var(b"v", TypeId(3), 0);
    int(&mut builder);
    let made = deduplicated(&blob(&builder));
    let btf = Btf::parse(&made).unwrap();
    let tag = btf.types().flatten().find(|ty| ty.kind() == Kind::DeclTag).unwrap();
    assert_eq!(btf.ty(tag.target().unwrap()).unwrap().kind(), Kind::Var);
}

proptest! {
    /// Check on random graphs, cyclic ones included, that deduplicating twice changes nothing more, that a unit given twice becomes
    /// one, and that the order of its types does not matter.
    #[test]
    fn random_graphs(
        shapes in prop::collection::vec(shape(), 1..16),
        seed in any::<u64>(),
    ) {
        let straight: Vec<usize> = (0..shapes.len()).collect();
        let shuffled = order(shapes.len(), seed);
        let mut once = Builder::new();
        write(&shapes, &straight, &mut once);
        let once = deduplicated_unchecked(&once);
        let mut again = Builder::new();
        append(&mut again, &once);
        prop_assert_eq!(&deduplicated_unchecked(&again), &once, "twice");
        let mut other = Builder::new();
        write(&shapes, &shuffled, &mut other);
        prop_assert_eq!(said(&deduplicated_unchecked(&other)), said(&once), "another order");
        // Definitions of one name in one unit are told apart by place; a copy of the unit adds nothing.
        let mut doubled = Builder::new();
        write(&shapes, &straight, &mut doubled);
        write(&shapes, &shuffled, &mut doubled);
        prop_assert_eq!(said(&deduplicated_unchecked(&doubled)), said(&once), "doubled");
    }
}
