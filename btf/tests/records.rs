//! Types as they are built, written, read and referred to, for every kind and both byte orders.

use btf::kind::{INT_SIGNED, Info, MAX_VLEN};
use btf::{
    Array, Btf, Builder, Endian, Enumerator, Error, Int, Kind, Member, Param, Ref, SectionVar, StrOffset,
    Type, TypeId, visit_refs,
};

/// One type of every kind, with ids 1 to 19 in the order of the kinds' numbers.
fn every_kind() -> Builder {
    let mut b = Builder::new();
    b.int(b"int", 4, Int { encoding: INT_SIGNED, bit_offset: 0, bits: 32 });
    b.reference(Kind::Ptr, b"", TypeId(4));
    b.array(Array { element: TypeId(4), index: TypeId(1), len: 7 });
    let (x, y) = (b.string(b"x"), b.string(b"y"));
    let plain = Member { name: x, ty: TypeId(1), bit_offset: 0x0123_4560, bit_width: 0 };
    let field = Member { name: y, ty: TypeId(1), bit_offset: 0x0012_3456, bit_width: 5 };
    b.composite(Kind::Struct, b"s", 0x0100_0000, &[field, Member { name: StrOffset(0), ..field }]).unwrap();
    b.composite(Kind::Union, b"u", 4, &[plain]).unwrap();
    let values =
        |values: &[i64]| values.iter().map(|&value| Enumerator { name: x, value }).collect::<Vec<_>>();
    b.enumeration(b"e", 4, true, &values(&[-1, 5, i64::from(i32::MIN)])).unwrap();
    b.fwd(b"f", true);
    b.reference(Kind::Typedef, b"t", TypeId(1));
    b.reference(Kind::Volatile, b"", TypeId(2));
    b.reference(Kind::Const, b"", TypeId(3));
    b.reference(Kind::Restrict, b"", TypeId(2));
    b.func(b"g", TypeId(13), 2);
    b.func_proto(TypeId(0), &[Param { name: x, ty: TypeId(1) }, Param { name: StrOffset(0), ty: TypeId(0) }])
        .unwrap();
    b.var(b"v", TypeId(1), 1);
    b.datasec(b".data", 12, &[SectionVar { ty: TypeId(14), offset: 8, size: 4 }]).unwrap();
    b.float(b"double", 8);
    b.decl_tag(b"tag", TypeId(4), 1);
    b.reference(Kind::TypeTag, b"user", TypeId(1));
    b.enumeration(b"e64", 8, false, &values(&[-1, i64::MAX])).unwrap();
    b
}

/// Runs a check on the types of [`every_kind`] in both byte orders.
fn in_both_orders(check: impl Fn(&Btf<'_>, &dyn Fn(Kind) -> Type<'static>)) {
    for endian in [Endian::Little, Endian::Big] {
        let blob: &'static [u8] = every_kind().finish(endian).unwrap().leak();
        let btf = Btf::parse(blob).unwrap();
        check(&btf, &|kind| btf.ty(TypeId(kind.number().into())).unwrap());
    }
}

/// Check what all kinds have: id, kind, place, name, and size or target.
#[test]
fn common() {
    in_both_orders(|btf, of| {
        let mut offset = 24;
        for (ty, kind) in btf.types().zip(Kind::ALL) {
            let ty = ty.unwrap();
            assert_eq!((ty.kind(), ty.id(), ty.offset()), (kind, TypeId(kind.number().into()), offset));
            offset += 4 * ty.words().len() as u64;
            assert_eq!(ty.size().is_some(), kind.is_sized());
            assert_eq!(ty.target().is_some(), kind.refers());
            assert!(!(kind.is_sized() && kind.refers()));
        }
        let name = |kind| btf.name(&of(kind)).unwrap().to_string();
        assert_eq!(
            (name(Kind::Struct), name(Kind::Ptr), name(Kind::TypeTag)),
            ("s".into(), String::new(), "user".into())
        );
        assert_eq!(
            (of(Kind::Int).size(), of(Kind::Enum64).size(), of(Kind::Datasec).size()),
            (Some(4), Some(8), Some(12))
        );
        assert_eq!(
            (of(Kind::Const).target(), of(Kind::FuncProto).target()),
            (Some(TypeId(3)), Some(TypeId::VOID))
        );
    });
}

/// Check the parts of each kind.
#[test]
fn parts() {
    in_both_orders(|btf, of| {
        assert_eq!(of(Kind::Int).int(), Some(Int { encoding: INT_SIGNED, bit_offset: 0, bits: 32 }));
        assert_eq!(of(Kind::Array).array(), Some(Array { element: TypeId(4), index: TypeId(1), len: 7 }));
        let fields: Vec<_> = of(Kind::Struct).members().map(|m| (m.bit_offset, m.bit_width)).collect();
        assert_eq!(fields, [(0x0012_3456, 5), (0x0012_3456, 5)]);
        let plain: Vec<_> = of(Kind::Union).members().map(|m| (m.bit_offset, m.bit_width)).collect();
        assert_eq!(plain, [(0x0123_4560, 0)]);
        let values = |kind| of(kind).enumerators().map(|e| e.value).collect::<Vec<_>>();
        assert_eq!(values(Kind::Enum), [-1, 5, i64::from(i32::MIN)]);
        assert_eq!(values(Kind::Enum64), [-1, i64::MAX]);
        assert!(of(Kind::Fwd).kind_flag() && of(Kind::Enum).kind_flag() && !of(Kind::Enum64).kind_flag());
        assert_eq!(
            (of(Kind::Func).linkage(), of(Kind::Var).linkage(), of(Kind::Int).linkage()),
            (Some(2), Some(1), None)
        );
        let params: Vec<_> =
            of(Kind::FuncProto).params().map(|p| (btf.string(p.name).unwrap().to_string(), p.ty.0)).collect();
        assert_eq!(params, [("x".to_owned(), 1), (String::new(), 0)]);
        let vars: Vec<_> = of(Kind::Datasec).section_vars().collect();
        assert_eq!(vars, [SectionVar { ty: TypeId(14), offset: 8, size: 4 }]);
        assert_eq!((of(Kind::DeclTag).component_index(), of(Kind::Var).component_index()), (Some(1), None));
    });
}

/// Check that the parts of one kind are empty for all others.
#[test]
fn parts_of_other_kinds() {
    in_both_orders(|_, of| {
        for kind in Kind::ALL {
            let ty = of(kind);
            assert_eq!(ty.members().len() != 0, kind.is_composite());
            assert_eq!(ty.enumerators().len() != 0, kind.is_any_enum());
            assert_eq!(ty.params().len() != 0, kind == Kind::FuncProto);
            assert_eq!(ty.section_vars().len() != 0, kind == Kind::Datasec);
            assert_eq!(ty.array().is_some(), kind == Kind::Array);
            assert_eq!(ty.int().is_some(), kind == Kind::Int);
        }
    });
}

/// Check that elements by index are those that the iterators give.
#[test]
fn elements_by_index() {
    in_both_orders(|_, of| {
        for kind in Kind::ALL {
            let ty = of(kind);
            assert!((0..3).map_while(|index| ty.member(index)).eq(ty.members()));
            assert!((0..3).map_while(|index| ty.section_var(index)).eq(ty.section_vars()));
            assert_eq!((ty.member(u32::MAX), ty.section_var(u32::MAX)), (None, None));
        }
    });
}

/// Check that an unsigned enum's values are not sign-extended.
#[test]
fn unsigned_enum() {
    let mut b = Builder::new();
    let name = b.string(b"ALL");
    b.enumeration(b"e", 4, false, &[Enumerator { name, value: 0xffff_ffff }]).unwrap();
    let blob = b.finish(Endian::Big).unwrap();
    let values: Vec<_> = Btf::parse(&blob).unwrap().ty(TypeId(1)).unwrap().enumerators().collect();
    assert_eq!(values, [Enumerator { name, value: 0xffff_ffff }]);
}

/// Check that strings are stored once, end at their first zero byte, and that the empty one is always there.
#[test]
fn strings_once() {
    let mut b = Builder::new();
    let (a, abc) = (b.string(b"a"), b.string(b"abc"));
    assert_eq!((a, abc), (StrOffset(1), StrOffset(3)));
    assert_eq!(
        (b.string(b"a"), b.string(b"abc\0d"), b.string(b""), b.string(b"\0x")),
        (a, abc, StrOffset(0), StrOffset(0))
    );
    let blob = b.finish(Endian::Little).unwrap();
    assert_eq!(&blob[24..], b"\0a\0abc\0");
}

/// Check that the builder refuses what it could not write.
#[test]
fn too_large() {
    let mut b = Builder::new();
    let before = b.finish(Endian::Little).unwrap();
    let far = |bit_offset, bit_width| Member { name: StrOffset(0), ty: TypeId(1), bit_offset, bit_width };
    let limit = |what, value: u64, limit: u32| Err(Error::TooLarge { what, value, limit: limit.into() });
    let beside = "bit offset of a member beside bitfields";
    assert_eq!(
        b.composite(Kind::Struct, b"", 1, &[far(0, 1), far(0x0100_0000, 0)]),
        limit(beside, 0x0100_0000, 0x00ff_ffff)
    );
    let many = |len: usize| vec![far(0, 0); len];
    assert_eq!(b.composite(Kind::Struct, b"", 1, &many(0x1_0000)), limit("members", 0x1_0000, MAX_VLEN));
    for value in [i64::from(i32::MIN) - 1, i64::from(u32::MAX) + 1] {
        let wide = Enumerator { name: StrOffset(0), value };
        assert_eq!(
            b.enumeration(b"", 4, true, &[wide]),
            limit("value of a 32-bit enum", value.unsigned_abs(), u32::MAX)
        );
    }
    let param = Param { name: StrOffset(0), ty: TypeId(1) };
    assert_eq!(b.func_proto(TypeId(0), &vec![param; 0x1_0000]), limit("parameters", 0x1_0000, MAX_VLEN));
    let var = SectionVar { ty: TypeId(1), offset: 0, size: 0 };
    assert_eq!(b.datasec(b"", 1, &vec![var; 0x1_0000]), limit("variables of a section", 0x1_0000, MAX_VLEN));
    assert_eq!(b.finish(Endian::Little).unwrap(), before, "a refused type leaves nothing behind");

    assert_eq!(b.composite(Kind::Struct, b"", 1, &many(0xffff)), Ok(TypeId(1)));
    assert_eq!(b.composite(Kind::Struct, b"", 1, &[far(u32::MAX, 0)]), Ok(TypeId(2)));
    assert_eq!(b.composite(Kind::Struct, b"", 1, &[far(0, 1), far(0x00ff_ffff, 0)]), Ok(TypeId(3)));
}

/// Check copies: strings come along, ids are mapped but for void, and a type with a bad string leaves nothing behind.
#[test]
fn copies() {
    let blob = every_kind().finish(Endian::Big).unwrap();
    let btf = Btf::parse(&blob).unwrap();
    let mut copy = Builder::new();
    for ty in btf.types() {
        copy.add_copy(&btf, &ty.unwrap(), |id| TypeId(id.0 + 100)).unwrap();
    }
    assert_eq!(copy.len(), 19);
    let copied = copy.finish(Endian::Little).unwrap();
    let copied = Btf::parse(&copied).unwrap();
    for (old, new) in btf.types().zip(copied.types()) {
        let (old, new) = (old.unwrap(), new.unwrap());
        assert_eq!(btf.name(&old).unwrap(), copied.name(&new).unwrap());
        let mapped = |target: TypeId| if target == TypeId::VOID { target } else { TypeId(target.0 + 100) };
        assert_eq!(old.target().map(mapped), new.target());
    }

    let mut broken = Builder::new();
    broken.add_record(&[77, Info::new(Kind::Const, 0, false).0, 0]);
    let blob = broken.finish(Endian::Little).unwrap();
    let btf = Btf::parse(&blob).unwrap();
    let mut copy = Builder::new();
    let error = copy.add_copy(&btf, &btf.ty(TypeId(1)).unwrap(), |id| id).unwrap_err();
    assert_eq!(error, Error::NoSuchString { offset: 77, len: 1 });
    assert_eq!(copy.finish(Endian::Little), Builder::new().finish(Endian::Little));
}

/// Check that every reference of every kind is visited, against what the types' own accessors say.
#[test]
fn references() {
    in_both_orders(|btf, _| {
        for ty in btf.types() {
            let ty = ty.unwrap();
            let mut strings = vec![ty.name_offset()];
            strings.extend(ty.members().map(|m| m.name));
            strings.extend(ty.enumerators().map(|e| e.name));
            strings.extend(ty.params().map(|p| p.name));
            let mut types: Vec<TypeId> = ty.target().into_iter().collect();
            types.extend(ty.array().into_iter().flat_map(|a| [a.element, a.index]));
            types.extend(ty.members().map(|m| m.ty));
            types.extend(ty.params().map(|p| p.ty));
            types.extend(ty.section_vars().map(|v| v.ty));

            let mut words: Vec<u32> = ty.words().collect();
            let before = words.clone();
            let (mut seen_strings, mut seen_types) = (Vec::new(), Vec::new());
            visit_refs(&mut words, |what, word| match what {
                Ref::String => seen_strings.push(StrOffset(*word)),
                Ref::Type => seen_types.push(TypeId(*word)),
            });
            assert_eq!((seen_strings, seen_types), (strings, types), "{}", ty.kind());
            assert_eq!(words, before);
        }
    });
}

/// Check that records that are cut off, or of an unknown kind, are visited as far as they go.
#[test]
fn references_of_odd_records() {
    let visited = |words: &[u32]| {
        let mut count = 0;
        visit_refs(&mut words.to_vec(), |_, _| count += 1);
        count
    };
    let info = Info::new(Kind::Struct, 3, false).0;
    for (len, expected) in [(0, 0), (2, 0), (3, 1), (5, 1), (6, 3), (8, 3), (9, 5)] {
        assert_eq!(visited(&[0, info, 0, 0, 0, 0, 0, 0, 0][..len]), expected);
    }
    assert_eq!(visited(&[0, Info::new(Kind::Array, 0, false).0, 0, 1]), 1);
    assert_eq!(visited(&[0, 20 << 24, 0, 1, 1, 1]), 0);
}
