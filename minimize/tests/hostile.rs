//! Damaged and malicious input: an error that names the place, never a panic, never work without bound.

mod judge;
mod world;

use std::fs;

use btf::{Builder, Endian, Kind, Member, TypeId};
use btf_minimize::{Error, Kernel, Object, Reason, minimize, resolve};
use judge::{compile, kernel_btf};
use proptest::prelude::*;
use world::elf;
use world::rules::Relo;
use world::{Field, Shape, Ty, World};

/// Everything that is done with an object and a kernel, for the sake of not panicking.
fn exercise(kernel: &[u8], object: &[u8]) {
    let (Ok(kernel), Ok(object)) = (Kernel::open(kernel), Object::parse(object)) else { return };
    let answers = resolve(&kernel, &object);
    assert_eq!(answers.len(), object.relocations().len());
    for relocation in object.relocations() {
        let _ = (object.describe(relocation), object.function(relocation), object.source_line(relocation));
    }
    match minimize(&kernel, std::slice::from_ref(&object)) {
        Ok(minimized) => {
            let small = Kernel::open(&minimized.btf).unwrap();
            for (whole, minimal) in answers.iter().zip(resolve(&small, &object)) {
                assert_eq!(whole.is_ok(), minimal.is_ok());
            }
        }
        Err(error) => assert!(!matches!(error, Error::SelfCheck { .. }), "{error}"),
    }
}

/// A small kernel that has everything that the sample's relocations match.
fn small_kernel(object: &[u8]) -> Vec<u8> {
    let data = kernel_btf();
    minimize(&Kernel::open(&data).unwrap(), &[Object::parse(object).unwrap()]).unwrap().btf
}

fn sample(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::read(compile(name, "bpfel", folder.path())).unwrap()
}

/// Check that an object cut off at any place is refused.
#[test]
fn truncated_objects() {
    let object = sample("task");
    for len in 0..object.len() {
        assert!(Object::parse(&object[..len]).is_err(), "{len} of {} bytes were accepted", object.len());
    }
}

/// Check that a kernel's BTF cut off at any place is refused, and so is every damage of its header.
#[test]
fn truncated_kernels() {
    let kernel = small_kernel(&sample("task"));
    for len in 0..kernel.len() {
        assert!(Kernel::open(&kernel[..len]).is_err(), "{len} of {} bytes were accepted", kernel.len());
    }
}

/// Check that no changed byte of an object or of a kernel's BTF leads to a panic or a wrong result.
#[test]
fn any_byte_changed() {
    for name in ["task", "relocs_types"] {
        let object = sample(name);
        let kernel = small_kernel(&object);
        for value in [0x00, 0x01, 0x80, 0xff] {
            for at in 0..object.len() {
                let mut object = object.clone();
                object[at] ^= value;
                exercise(&kernel, &object);
            }
            for at in 0..kernel.len() {
                let mut kernel = kernel.clone();
                kernel[at] ^= value;
                exercise(&kernel, &object);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Check that several damages at once, in the types of either side and in the relocations, lead to no panic.
    #[test]
    fn several_words_changed(
        numbers in prop::collection::vec(any::<u32>(), 50..300),
        damage in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0u8..64), 1..12),
    ) {
        let mut choices = world::choices::Choices::new(&numbers);
        let mut types = world::choices::kernel(&mut choices);
        let mut kernel = types.encode(Endian::Little);
        types = world::choices::object(&mut choices, &types);
        let relos: Vec<_> = (0..6).map(|_| world::choices::relocation(&mut choices, &types)).collect();
        let mut object = elf::object(&types, &relos, Endian::Little);
        for (of_kernel, at, value) in damage {
            if of_kernel {
                let at = 24 + at.index(kernel.len() - 24);
                kernel[at] = value;
            } else {
                let at = 64 + at.index(object.len() - 64);
                object[at] = value;
            }
        }
        exercise(&kernel, &object);
    }
}

/// Check that a section without types, which may be said to lie anywhere, is no reason to look there (found by fuzzing).
#[test]
fn no_types_far_away() {
    let mut kernel = btf::Builder::new().finish(btf::Endian::Little).unwrap();
    kernel[8..12].copy_from_slice(&0xd000_0000u32.to_le_bytes());
    let kernel = Kernel::open(&kernel).unwrap();
    assert_eq!(kernel.candidates(b"task_struct", btf::Kind::Struct).count(), 0);
}

/// Check that files of other kinds are refused with their kind.
#[test]
fn other_files() {
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(matches!(Object::parse(&program), Err(Error::NotBpf { .. })));
    assert!(matches!(Kernel::open(&program), Err(Error::NoBtf)));
    assert!(matches!(Object::parse(b"hello"), Err(Error::Elf { .. })));
    assert!(matches!(Kernel::open(b"hello"), Err(Error::Btf(btf::Error::Magic { .. }))));
    assert!(matches!(Kernel::open(b"\x7fELF"), Err(Error::Elf { .. })));
}

/// Check that structs whose anonymous members double at each of fifty levels, and functions whose arguments do, are given up on.
#[test]
fn exponential_types() {
    let mut builder = Builder::new();
    let int = builder.int(b"int", 4, btf::Int { encoding: 1, bit_offset: 0, bits: 32 });
    let mut inner = int;
    for level in 0..50 {
        let members =
            [0, 1].map(|_| Member { name: btf::StrOffset(0), ty: inner, bit_offset: 0, bit_width: 0 });
        let name: &[u8] = if level == 49 { b"s" } else { b"" };
        inner = builder.composite(Kind::Struct, name, 4, &members).unwrap();
    }
    let mut function = int;
    for _ in 0..30 {
        let param = btf::Param { name: btf::StrOffset(0), ty: function };
        let proto = builder.func_proto(TypeId::VOID, &[param, param, param]).unwrap();
        function = builder.reference(Kind::Ptr, b"", proto);
    }
    builder.reference(Kind::Typedef, b"f", function);
    let kernel = builder.finish(Endian::Little).unwrap();
    let kernel = Kernel::open(&kernel).unwrap();

    let mut types = World::decode(kernel.btf());
    let last = types.types.len() - 1;
    let wanted = Field { name: "no_such_member".into(), ty: 1, bits: 0, width: 0 };
    types.types.push(Ty {
        name: "s".into(),
        shape: Shape::Composite { union: false, size: 4, members: vec![wanted] },
    });
    let relo = |root, access: &[u32], kind| Relo { root, access: access.to_vec(), kind, load: false };
    let relos = [relo(last + 1, &[0, 0], 2), relo(last, &[0], 8), relo(last, &[0], 12)];
    let file = elf::object(&types, &relos, Endian::Little);
    let object = Object::parse(&file).unwrap();
    for answer in resolve(&kernel, &object) {
        assert_eq!(answer, Err(Reason::TooComplex));
    }
    assert_eq!(minimize(&kernel, &[object]).unwrap().problems.len(), 3);
}

/// Check that names longer than any compiler's are errors, in kernels and of the relocation that has one: names overlap, and each of them could be as long as the blob.
#[test]
fn long_names() {
    let kernel = |name: &[u8], member: &[u8]| {
        let mut builder = Builder::new();
        let int = builder.int(b"int", 4, btf::Int { encoding: 1, bit_offset: 0, bits: 32 });
        let name_of_member = builder.string(member);
        let pid = builder.string(b"pid");
        let member = |name, bit_offset| Member { name, ty: int, bit_offset, bit_width: 0 };
        let members = [member(name_of_member, 0), member(pid, 32)];
        builder.composite(Kind::Struct, name, 8, &members).unwrap();
        builder.finish(Endian::Little).unwrap()
    };
    let long = vec![b'x'; 5000];
    let object = sample("task");
    let objects = [Object::parse(&object).unwrap()];
    let opened = kernel(&long, b"a");
    assert!(matches!(Kernel::open(&opened), Err(Error::Btf(btf::Error::TooLarge { .. }))));
    let opened = kernel(b"task_struct", &long);
    let kernel = Kernel::open(&opened).unwrap();
    let damaged = |reason: &Reason| matches!(reason, Reason::KernelBtf(btf::Error::TooLarge { .. }));
    assert!(resolve(&kernel, &objects[0]).iter().any(|answer| answer.as_ref().is_err_and(damaged)));
    assert!(matches!(minimize(&kernel, &objects), Err(Error::Btf(btf::Error::TooLarge { .. }))));
}
