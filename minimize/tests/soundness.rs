//! The cases in which keeping too little of a kernel's types would turn an answer around, one by one. bpftool gets each of them wrong or gives up.

mod world;

use btf::{Btf, Builder, Endian, Kind};
use btf_minimize::{Kernel, Minimized, Object, Reason, Resolution, minimize, resolve};
use world::rules::{Answer, Relo, Rules, pointer_size};
use world::{Field, Shape, Ty, World};

const INT: usize = 1;

/// A world of void, `int` and these types, which therefore start at id 2.
fn world(types: &[(&str, Shape)]) -> World {
    let mut world = World {
        types: vec![
            Ty { name: String::new(), shape: Shape::Void },
            Ty { name: "int".into(), shape: Shape::Int { size: 4, signed: true, bit_offset: 0 } },
        ],
    };
    world.types.extend(types.iter().map(|(name, shape)| Ty { name: (*name).into(), shape: shape.clone() }));
    world
}

fn structure(members: &[(&str, usize)]) -> Shape {
    let members = members.iter().enumerate().map(|(at, &(name, ty))| Field {
        name: name.into(),
        ty,
        bits: at as u32 * 64,
        width: 0,
    });
    let members: Vec<_> = members.collect();
    Shape::Composite { union: false, size: members.len() as u32 * 8, members }
}

fn typedef(target: usize) -> Shape {
    Shape::Alias(Kind::Typedef, target)
}

fn relo(root: usize, access: &[u32], kind: u32) -> Relo {
    Relo { root, access: access.to_vec(), kind, load: false }
}

const BYTE_OFF: u32 = 0;
const FIELD_EXISTS: u32 = 2;
const TYPE_ID: u32 = 7;
const TYPE_EXISTS: u32 = 8;
const TYPE_SIZE: u32 = 9;
const TYPE_MATCHES: u32 = 12;

const YES: Answer = Answer::Value(1, None);
const NO: Answer = Answer::Value(0, None);

/// Minimises and checks that all relocations in order, in reverse, and each alone resolve on the result as on the whole. Returns the answers in order.
fn sound(kernel: &World, object: &World, relos: &[Relo]) -> (Minimized, Vec<Answer>) {
    let data = kernel.encode(Endian::Little);
    let file = world::elf::object(object, relos, Endian::Little);
    let minimized = minimize(&Kernel::open(&data).unwrap(), &[Object::parse(&file).unwrap()]).unwrap();
    let small = World::decode(&Btf::parse(&minimized.btf).unwrap());
    let on = |target: &World, relos: &[&Relo]| {
        let target_pointer = pointer_size(target);
        Rules { local: object, target, target_pointer, endian: Endian::Little }.resolve(relos)
    };
    let forward: Vec<_> = relos.iter().collect();
    let backward: Vec<_> = relos.iter().rev().collect();
    assert_eq!(on(&small, &forward), on(kernel, &forward), "in order, of {small:#?}");
    assert_eq!(on(&small, &backward), on(kernel, &backward), "in reverse, of {small:#?}");
    for relo in relos {
        assert_eq!(on(&small, &[relo]), on(kernel, &[relo]), "{relo:?} alone, of {small:#?}");
    }
    (minimized, on(kernel, &forward))
}

/// Check that an array of no elements that is not the last member stays so, and therefore has no elements.
#[test]
fn array_that_is_not_last() {
    let empty = Shape::Array { element: INT, index: INT, len: 0 };
    let kernel = world(&[("", empty.clone()), ("s", structure(&[("a", 2), ("b", INT)]))]);
    let object = world(&[("", empty), ("s", structure(&[("b", INT), ("a", 2)]))]);
    let relos = [relo(3, &[0, 1], BYTE_OFF), relo(3, &[0, 1, 2], FIELD_EXISTS)];
    assert_eq!(sound(&kernel, &object, &relos).1, [Answer::Value(0, None), NO]);
}

/// Check that a pointer to something does not become a pointer to void that a pointer to void matches.
#[test]
fn pointer_that_is_not_to_void() {
    let kernel = world(&[("s", structure(&[])), ("", Shape::Ptr(2)), ("t", typedef(3))]);
    let object = world(&[("", Shape::Ptr(0)), ("t", typedef(2))]);
    let relos = [relo(3, &[0], BYTE_OFF), relo(3, &[0], TYPE_EXISTS), relo(3, &[0], TYPE_MATCHES)];
    assert_eq!(sound(&kernel, &object, &relos).1, [Answer::Value(0, None), NO, NO]);
}

/// Check that a struct with a function pointer that takes the struct by value can be matched.
#[test]
fn recursion_through_a_function() {
    let types = [
        ("s", structure(&[("f", 3)])),
        ("", Shape::Ptr(4)),
        ("", Shape::Proto { result: 0, params: vec![2] }),
    ];
    let kernel = world(&types);
    let relos = [relo(2, &[0], TYPE_MATCHES)];
    assert_eq!(sound(&kernel, &kernel.clone(), &relos).1, [YES]);
}

/// Check that typedefs of forward declarations and of tagged types are kept.
#[test]
fn typedefs_of_forward_declarations_and_tags() {
    let kernel = world(&[
        ("f", Shape::Fwd { union: false }),
        ("", Shape::Ptr(2)),
        ("f_t", typedef(3)),
        ("user", Shape::Alias(Kind::TypeTag, INT)),
        ("t", typedef(5)),
        ("tf", typedef(2)),
    ]);
    let relos = [relo(4, &[0], TYPE_EXISTS), relo(6, &[0], TYPE_EXISTS), relo(7, &[0], TYPE_MATCHES)];
    assert_eq!(sound(&kernel, &kernel.clone(), &relos).1, [YES, YES, YES]);
}

/// Check that the first relocation's candidates do not decide for programs that are loaded without it.
#[test]
fn candidates_in_any_order() {
    let kernel =
        world(&[("s", structure(&[("a", INT), ("b", INT)])), ("s", structure(&[("a", INT), ("c", INT)]))]);
    let object = world(&[("s", structure(&[("a", INT), ("b", INT), ("c", INT)]))]);
    let field = |index| relo(2, &[0, index], BYTE_OFF);
    let answers = sound(&kernel, &object, &[field(0), field(1), field(2)]).1;
    assert_eq!(answers, [Answer::Value(0, None), Answer::Value(8, None), Answer::Poison]);
}

/// Check that of candidates which differ in the size of a field, the first one decides: that a later one, which gives the same, could stand in for it does not
/// count when another one comes between them.
#[test]
fn first_candidate_decides_the_load() {
    let long = Shape::Int { size: 8, signed: false, bit_offset: 0 };
    let kernel = world(&[
        ("unsigned long", long.clone()),
        ("s", structure(&[("a", INT)])),
        ("s", structure(&[("a", 2), ("b", INT)])),
        ("s", structure(&[("a", INT), ("c", INT)])),
    ]);
    let object = world(&[("unsigned long", long), ("s", structure(&[("a", 2), ("b", INT), ("c", INT)]))]);
    let load = Relo { load: true, ..relo(3, &[0, 0], BYTE_OFF) };
    let relos = [load, relo(3, &[0, 1], FIELD_EXISTS), relo(3, &[0, 2], FIELD_EXISTS)];
    let (minimized, answers) = sound(&kernel, &object, &relos);
    assert_eq!(answers, [Answer::Value(0, Some((4, false))), YES, NO]);
    assert!(minimized.types.iter().any(|id| id.0 == 3), "the first candidate is missing");
}

/// Check that duplicates of a type, of which kernels have many, are kept once.
#[test]
fn duplicates_are_kept_once() {
    let kernel = world(&[("s", structure(&[("a", INT)])), ("s", structure(&[("a", INT)]))]);
    let relos = [relo(2, &[0, 0], BYTE_OFF), relo(2, &[0], TYPE_SIZE)];
    let (minimized, _) = sound(&kernel, &kernel.clone(), &relos);
    assert_eq!(minimized.types.iter().map(|id| id.0).collect::<Vec<_>>(), [1, 2]);
}

/// Check that an ambiguous relocation stays ambiguous, is named, and does not stop the others.
#[test]
fn ambiguity_is_named() {
    let kernel = world(&[("s", structure(&[("x", INT), ("a", INT)])), ("s", structure(&[("a", INT)]))]);
    let object = world(&[("s", structure(&[("a", INT)]))]);
    let relos = [relo(2, &[0, 0], BYTE_OFF), relo(2, &[0], TYPE_EXISTS)];
    let (minimized, answers) = sound(&kernel, &object, &relos);
    assert_eq!(answers, [Answer::Error, YES]);
    let [problem] = &minimized.problems[..] else { panic!("{:?}", minimized.problems) };
    assert_eq!((problem.object, problem.relocation), (0, 0));
    assert!(matches!(problem.reason, Reason::Ambiguous { .. }), "{}", problem.reason);
}

/// Check that ids of the kernel's types are those of the types kept.
#[test]
fn target_ids() {
    let kernel = world(&[("x", structure(&[])), ("s", structure(&[("a", INT)]))]);
    let data = kernel.encode(Endian::Little);
    let file = world::elf::object(&kernel, &[relo(3, &[0], TYPE_ID)], Endian::Little);
    let object = Object::parse(&file).unwrap();
    let minimized = minimize(&Kernel::open(&data).unwrap(), &[Object::parse(&file).unwrap()]).unwrap();
    let answer = resolve(&Kernel::open(&minimized.btf).unwrap(), &object);
    assert_eq!(answer, [Ok(Resolution::Value { value: 1, access: None })]);
    assert_eq!(minimized.types[0].0, 3);
}

/// Check that pointers of a 32-bit kernel keep their size, and that nothing is kept for it where it does not count.
#[test]
fn pointers_of_four_bytes() {
    let kernel = world(&[
        ("long unsigned int", Shape::Int { size: 4, signed: false, bit_offset: 0 }),
        ("", Shape::Ptr(0)),
        ("p", typedef(3)),
        ("s", structure(&[("a", 3)])),
    ]);
    let object = world(&[("", Shape::Ptr(0)), ("p", typedef(2)), ("s", structure(&[("a", 2)]))]);
    let (_, answers) = sound(&kernel, &object, &[relo(3, &[0], TYPE_SIZE)]);
    assert_eq!(answers, [Answer::Value(4, None)]);
    let (minimized, _) = sound(&kernel, &object, &[relo(4, &[0, 0], BYTE_OFF)]);
    assert_eq!(minimized.types.iter().map(|id| id.0).collect::<Vec<_>>(), [3, 5]);
    let load = Relo { load: true, ..relo(4, &[0, 0], BYTE_OFF) };
    assert_eq!(sound(&kernel, &object, &[load]).1, [Answer::Value(0, Some((4, true)))]);
}

/// Check that the size of pointers is kept where it decides how far an array's element is from its start.
#[test]
fn elements_of_four_bytes() {
    let kernel = world(&[
        ("long", Shape::Int { size: 4, signed: true, bit_offset: 0 }),
        ("", Shape::Ptr(0)),
        ("", Shape::Array { element: 3, index: INT, len: 4 }),
        ("s", structure(&[("a", 4)])),
    ]);
    let relos = [relo(5, &[0, 0, 2], BYTE_OFF)];
    assert_eq!(sound(&kernel, &kernel.clone(), &relos).1, [Answer::Value(8, None)]);
}

/// Check that a member of the right name and the wrong kind inside an anonymous member, whose offset libbpf leaves behind, does so on the minimised BTF as well.
#[test]
fn offset_left_behind() {
    let kernel = world(&[
        ("", Shape::Ptr(0)),
        ("", structure(&[("x", INT), ("m", 2)])),
        ("", structure(&[("", 3)])),
        ("", structure(&[("m", INT)])),
        ("s", structure(&[("", 4), ("", 5)])),
    ]);
    let object = world(&[("s", structure(&[("m", INT)]))]);
    let relos = [relo(2, &[0, 0], BYTE_OFF)];
    assert_eq!(sound(&kernel, &object, &relos).1, [Answer::Value(16, None)]);
}

/// Check that the output has the kernel's byte order.
#[test]
fn byte_order_is_kept() {
    let kernel = world(&[("s", structure(&[("a", INT)]))]);
    for endian in [Endian::Little, Endian::Big] {
        let data = kernel.encode(endian);
        let file = world::elf::object(&kernel, &[relo(2, &[0, 0], BYTE_OFF)], endian);
        let minimized = minimize(&Kernel::open(&data).unwrap(), &[Object::parse(&file).unwrap()]).unwrap();
        assert_eq!(Btf::parse(&minimized.btf).unwrap().endian(), endian);
    }
}

/// Check that of an enum only the enumerators asked for are kept, and none where the enum is only a field's type.
#[test]
fn only_the_enumerators_needed() {
    let values: Vec<_> = (0..5).map(|value| (format!("E{value}"), value)).collect();
    let e = Shape::Enum { size: 4, signed: false, values };
    let kernel = world(&[("e", e.clone()), ("f", e), ("s", structure(&[("f", 3)]))]);
    let relos = [relo(2, &[3], 11), relo(2, &[1], 10), relo(4, &[0, 0], BYTE_OFF)];
    let (minimized, answers) = sound(&kernel, &kernel.clone(), &relos);
    assert_eq!(answers, [Answer::Value(3, None), YES, Answer::Value(0, None)]);
    let small = Btf::parse(&minimized.btf).unwrap();
    let names = |id| {
        let ty = small.ty(btf::TypeId(id)).unwrap();
        ty.enumerators().map(|value| small.string(value.name).unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!((names(1), names(2)), (vec!["E1".into(), "E3".into()], vec![]));
}

/// Check that typedefs are left out where nothing looks at them, but not where leaving them out would make a size readable that is not: behind more than 31 of
/// them loaders give up.
#[test]
fn typedefs_are_looked_through() {
    let mut types: Vec<_> = (0..40).map(|at| ("t", typedef(if at == 0 { INT } else { at + 1 }))).collect();
    let (few, many) = (5, 41);
    types.push(("s", structure(&[("few", few), ("many", many)])));
    types.push(("d", typedef(many)));
    let kernel = world(&types);
    let object = world(&[("s", structure(&[("few", INT), ("many", INT)])), ("d", typedef(INT))]);
    let (minimized, answers) =
        sound(&kernel, &object, &[relo(2, &[0, 0], BYTE_OFF), relo(2, &[0, 1], BYTE_OFF)]);
    assert_eq!(answers, [Answer::Value(0, None), Answer::Value(8, None)]);
    assert_eq!(minimized.types.len(), 2);
    assert_eq!(sound(&kernel, &object, &[relo(3, &[0], TYPE_SIZE)]).1, [Answer::Error]);
}

/// Check that typedefs and arrays which lead back to themselves, for which libbpf would loop for ever, are an error of the relocation.
#[test]
fn cycles_end() {
    let mut builder = Builder::new();
    let id = builder.next_id();
    builder.reference(Kind::Typedef, b"t", id);
    let array = builder.next_id();
    builder.array(btf::Array { element: array, index: id, len: 0 });
    let data = builder.finish(Endian::Little).unwrap();
    let object = world(&[("t", typedef(INT))]);
    let relos = [relo(2, &[0], TYPE_EXISTS), relo(2, &[0], BYTE_OFF)];
    let file = world::elf::object(&object, &relos, Endian::Little);
    let kernel = Kernel::open(&data).unwrap();
    let answers = resolve(&kernel, &Object::parse(&file).unwrap());
    assert!(answers.iter().all(|answer| matches!(answer, Err(Reason::Cyclic(_)))), "{answers:?}");
    let minimized = minimize(&kernel, &[Object::parse(&file).unwrap()]).unwrap();
    assert_eq!(minimized.problems.len(), 2);
}

/// Check that the answers do not depend on which other objects are minimised for, and that the same input gives the same bytes.
#[test]
fn several_objects() {
    let kernel =
        world(&[("s", structure(&[("a", INT), ("b", INT)])), ("s", structure(&[("a", INT), ("c", INT)]))]);
    let data = kernel.encode(Endian::Little);
    let kernel = Kernel::open(&data).unwrap();
    let object = world(&[("s", structure(&[("a", INT), ("b", INT), ("c", INT)]))]);
    let file = |index| world::elf::object(&object, &[relo(2, &[0, index], BYTE_OFF)], Endian::Little);
    let files = [file(0), file(2), file(1)];
    let objects: Vec<_> = files.iter().map(|file| Object::parse(file).unwrap()).collect();
    let together = minimize(&kernel, &objects).unwrap();
    let small = Kernel::open(&together.btf).unwrap();
    for object in &objects {
        assert_eq!(resolve(&small, object), resolve(&kernel, object));
    }
    assert_eq!(minimize(&kernel, &objects).unwrap().btf, together.btf);
}
