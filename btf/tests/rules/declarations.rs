//! Functions, variables, sections and tags on declarations.

use super::*;

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

/// Check what the validator leaves out: rules about what BPF programs do with the types that they keep in maps, which kernels check when a program's BTF
/// is loaded, but not on their own.
#[test]
fn two_spin_locks_in_a_struct() {
    let mut b = start();
    let lock = member(&mut b, b"val", INT, 0);
    let lock = b.composite(Kind::Struct, b"bpf_spin_lock", 4, &[lock]).unwrap();
    composite(&mut b, Kind::Struct, 8, false, &[(lock, 0, 0), (lock, 32, 0)]);
    let blob = b.finish(Endian::NATIVE).unwrap();
    assert!(!judge::kernel_accepts(&blob));
    assert_eq!(ours(&blob), Ok(()));
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
