//! What types mean, worked out the slow and simple way, to judge what the library made of them.

use std::collections::HashSet;

use btf::{Btf, Kind, Ref, StrOffset, Type, TypeId, visit_refs};

/// A type by itself: its record with references blanked, its strings, and its references.
fn said(btf: &Btf<'_>, ty: &Type<'_>) -> (Vec<u32>, Vec<String>, Vec<TypeId>) {
    let mut words: Vec<u32> = ty.words().collect();
    let (mut strings, mut refs) = (Vec::new(), Vec::new());
    visit_refs(&mut words, |what, word| {
        match what {
            Ref::String => strings.push(btf.string(StrOffset(*word)).unwrap().to_string()),
            Ref::Type => refs.push(TypeId(*word)),
        }
        *word = 0;
    });
    (words, strings, refs)
}

fn declares(ty: &Type<'_>) -> bool {
    ty.kind() == Kind::Fwd || (ty.kind().is_any_enum() && ty.vlen() == 0 && ty.name_offset() != StrOffset(0))
}

/// Whether `b` defines or declares what `a`, a declaration, declares.
fn fits_declaration(a_btf: &Btf<'_>, a: &Type<'_>, b_btf: &Btf<'_>, b: &Type<'_>) -> bool {
    let kind = |ty: &Type<'_>| match ty.kind() {
        Kind::Fwd if ty.kind_flag() => Kind::Union,
        Kind::Fwd => Kind::Struct,
        Kind::Enum64 => Kind::Enum,
        kind => kind,
    };
    kind(a) == kind(b) && a_btf.name(a).unwrap() == b_btf.name(b).unwrap()
}

/// Checks that each type of `old` means the same as what it is called in `new`, to full depth and around cycles, but that a declaration
/// on one side may stand for a definition on the other. No definition itself becomes a declaration.
pub(crate) fn assert_kept(old: &Btf<'_>, new: &Btf<'_>, ids: &[TypeId]) {
    let mut seen = HashSet::new();
    let mut pending: Vec<_> = (0..old.type_count()).map(TypeId).map(|id| (id, ids[id.0 as usize])).collect();
    for &(a, b) in &pending {
        // Void is no type of the blob.
        if let (Ok(a), Ok(b)) = (old.ty(a), new.ty(b)) {
            assert!(declares(&a) || !declares(&b), "the definition {a:?} became {b:?}");
        }
    }
    while let Some((a, b)) = pending.pop() {
        if !seen.insert((a, b)) {
            continue;
        }
        if a == TypeId::VOID || b == TypeId::VOID {
            assert_eq!(a, b, "void");
            continue;
        }
        let (a, b) = (old.ty(a).unwrap(), new.ty(b).unwrap());
        if declares(&a) {
            assert!(fits_declaration(old, &a, new, &b), "{a:?} became {b:?}");
            continue;
        }
        // Where the base only declares what the module defines.
        if declares(&b) && fits_declaration(new, &b, old, &a) {
            continue;
        }
        let ((words_a, strings_a, refs_a), (words_b, strings_b, refs_b)) = (said(old, &a), said(new, &b));
        assert_eq!((words_a, strings_a), (words_b, strings_b), "{a:?} became {b:?}");
        pending.extend(refs_a.into_iter().zip(refs_b));
    }
}

/// Checks that every type of `module` that reaches no declaration and is equal to one of `base` became one of `base`'s, and that no other
/// that reaches no declaration did. What the base declares counts as declared.
#[allow(dead_code)] // not by every test
pub(crate) fn assert_all_found(module: &Btf<'_>, base: &Btf<'_>, ids: &[TypeId]) {
    let all = |btf: &Btf<'_>| btf.types().map(|ty| said(btf, &ty.unwrap())).collect::<Vec<_>>();
    let (a, b) = (all(module), all(base));
    // The largest relation: start with all pairs that look alike and take away until nothing changes.
    let mut equal: HashSet<(usize, usize)> = HashSet::new();
    for (at, x) in a.iter().enumerate() {
        for (to, y) in b.iter().enumerate() {
            if (&x.0, &x.1) == (&y.0, &y.1) {
                equal.insert((at, to));
            }
        }
    }
    let place = |id: TypeId| id.0 as usize - 1;
    let declared: Vec<Type<'_>> = base.types().flatten().filter(declares).collect();
    loop {
        let before = equal.len();
        let now = equal.clone();
        equal.retain(|&(at, to)| {
            a[at].2.iter().zip(&b[to].2).all(|(&x, &y)| match (x, y) {
                (TypeId::VOID, _) | (_, TypeId::VOID) => x == y,
                _ => now.contains(&(place(x), place(y))),
            })
        });
        if equal.len() == before {
            break;
        }
    }
    for (at, ty) in module.types().enumerate() {
        let ty = ty.unwrap();
        let mut reached = HashSet::new();
        let mut pending = vec![ty.id()];
        let mut open = false;
        while let Some(id) = pending.pop() {
            if id != TypeId::VOID && reached.insert(id) {
                let ty = module.ty(id).unwrap();
                open |= declares(&ty) || declared.iter().any(|one| fits_declaration(base, one, module, &ty));
                pending.extend(&a[place(id)].2);
            }
        }
        if open {
            continue;
        }
        let found = ids[at + 1].0 < base.type_count();
        assert_eq!(found, (0..b.len()).any(|to| equal.contains(&(at, to))), "{ty:?}");
    }
}
