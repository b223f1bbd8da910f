//! Split BTF: which of a module's types are the base's, which stay, and that what is made means what the module's BTF meant.

mod graphs;
mod libbpf;
mod meaning;

use std::process::Command;

use btf::dedup::dedup;
use btf::{BaseIndex, Btf, Builder, Endian, Error, Int, Kind, SectionVar, StrOffset, TypeId, flatten, merge};
use graphs::{int, order, shape, strukt, write};
use libbpf::Libbpf;
use proptest::prelude::*;

fn blob(builder: &Builder) -> Vec<u8> {
    builder.finish(Endian::NATIVE).unwrap()
}

/// Splits a module on a base, checks that the result is valid and means the same, and tells kind and name of what stayed.
fn stays(base: &Builder, module: &Builder) -> Vec<(Kind, String)> {
    let (base, module) = (blob(base), blob(module));
    let (base, module) = (Btf::parse(&base).unwrap(), Btf::parse(&module).unwrap());
    let split = BaseIndex::of(&base).unwrap().split(&module).unwrap();
    let data = blob(&split.builder);
    let read = Btf::parse_split(&data, &base).unwrap();
    btf::validate(&read, &Default::default()).unwrap();
    meaning::assert_kept(&module, &read, &split.ids);
    read.types().map(|ty| ty.unwrap()).map(|ty| (ty.kind(), read.name(&ty).unwrap().to_string())).collect()
}

fn named(names: &[(Kind, &str)]) -> Vec<(Kind, String)> {
    names.iter().map(|&(kind, name)| (kind, name.to_owned())).collect()
}

/// One of every kind that may be shared, and a cyclic struct.
fn shared(builder: &mut Builder) -> TypeId {
    let number = int(builder);
    let float = builder.float(b"double", 8);
    let list = TypeId(builder.next_id().0 + 1);
    let to_list = builder.reference(Kind::Ptr, b"", list);
    strukt(builder, "list", 24, &[("next", to_list, 0), ("x", number, 8), ("y", float, 16)]);
    let constant = builder.reference(Kind::Const, b"", list);
    let array = builder.array(btf::Array { element: constant, index: number, len: 3 });
    let one = builder.string(b"ONE");
    builder.enumeration(b"count", 4, false, &[btf::Enumerator { name: one, value: 1 }]).unwrap();
    builder.enumeration(b"wide", 8, false, &[btf::Enumerator { name: one, value: 1 << 40 }]).unwrap();
    let inner = strukt(builder, "", 4, &[("a", number, 0)]);
    let param = builder.string(b"p");
    let proto = builder.func_proto(array, &[btf::Param { name: param, ty: to_list }]).unwrap();
    let callback = builder.reference(Kind::Ptr, b"", proto);
    let tagged = builder.reference(Kind::TypeTag, b"user", list);
    let tagged = builder.reference(Kind::Ptr, b"", tagged);
    let all = strukt(builder, "all", 24, &[("f", callback, 0), ("t", tagged, 8), ("", inner, 16)]);
    builder.decl_tag(b"mark", all, 1);
    builder.fwd(b"nowhere", false);
    builder.reference(Kind::Typedef, b"all_t", all)
}

/// Check that types of every kind that the base has become the base's, whatever their order and ids, and that a new one stays.
#[test]
fn base_types_reused() {
    let (mut base, mut module) = (Builder::new(), Builder::new());
    shared(&mut base);
    module.reference(Kind::Volatile, b"", TypeId(3));
    let last = module.next_id();
    module.int(b"char", 1, Int { encoding: 1, bit_offset: 0, bits: 8 });
    assert_eq!(last, TypeId(2));
    // Ids 3 and up are the base's 1 and up.
    let shift = module.next_id().0 - 1;
    let data = blob(&base);
    let whole = Btf::parse(&data).unwrap();
    for ty in whole.types() {
        module.add_copy(&whole, &ty.unwrap(), |id| TypeId(id.0 + shift)).unwrap();
    }
    assert_eq!(stays(&base, &module), named(&[(Kind::Volatile, ""), (Kind::Int, "char")]));
}

/// Check that strings of the base are used again, ends of longer ones too, and that the split BTF holds the others only.
#[test]
fn base_strings_reused() {
    let (mut base, mut module) = (Builder::new(), Builder::new());
    let name = base.string(b"unsigned int");
    base.add_record(&[name.0 + 9, 1 << 24, 4, 32]);
    module.int(b"int", 4, Int { encoding: 0, bit_offset: 0, bits: 32 });
    module.int(b"new int", 4, Int { encoding: 0, bit_offset: 0, bits: 32 });
    module.int(b"unsigned int", 4, Int { encoding: 0, bit_offset: 0, bits: 32 });
    let (base, module) = (blob(&base), blob(&module));
    let base = Btf::parse(&base).unwrap();
    let split = BaseIndex::of(&base).unwrap().split(&Btf::parse(&module).unwrap()).unwrap();
    let data = blob(&split.builder);
    let read = Btf::parse_split(&data, &base).unwrap();
    assert_eq!(read.string_section(), b"new int\0");
    assert_eq!(split.ids, [0, 1, 2, 3].map(TypeId));
    assert_eq!(read.string(StrOffset(name.0)).unwrap(), "unsigned int");
}

/// Check that a module without a type of its own gives split BTF without types and strings.
#[test]
fn nothing_left() {
    let mut both = Builder::new();
    shared(&mut both);
    assert_eq!(stays(&both, &both), []);
}

/// Check that one index serves many threads at once, each with the same result.
#[test]
fn index_is_shared() {
    let mut base = Builder::new();
    shared(&mut base);
    let data = blob(&base);
    let base = Btf::parse(&data).unwrap();
    let index = BaseIndex::of(&base).unwrap();
    let mut module = Builder::new();
    outer(&mut module, Some("x"));
    let module = blob(&module);
    let split = || blob(&index.split(&Btf::parse(&module).unwrap()).unwrap().builder);
    let alone = split();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(split)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}

/// Check that libbpf's own deduplication leaves at least as much of a module as ours, of the module's own types the same, and that where it
/// takes a function for the kernel's, ours keeps it.
#[test]
fn libbpf_leaves_no_less() {
    let data = std::fs::read("/sys/kernel/btf/vmlinux").expect("the tests need a kernel with BTF");
    let kernel = Btf::parse(&data).unwrap();
    let mut module = Builder::split(&kernel);
    let func = kernel.types().flatten().find(|ty| ty.kind() == Kind::Func).unwrap();
    module.add_copy(&kernel, &func, |id| id).unwrap();
    let list = kernel.types().flatten().find(|ty| kernel.name(ty).unwrap() == "list_head").unwrap().id();
    strukt(&mut module, "of_the_module", 16, &[("list", list, 0)]);
    let module = blob(&module);
    let flat = blob(&flatten(&Btf::parse_split(&module, &kernel).unwrap()).unwrap());
    let flat = Btf::parse(&flat).unwrap();
    let ours = BaseIndex::of(&kernel).unwrap().split(&flat).unwrap().builder;
    let ours = blob(&ours);

    // The same types on the same base, as pahole gives them to libbpf.
    let mut before = Builder::split(&kernel);
    let shift = before.next_id().0 - 1;
    for ty in flat.types() {
        before.add_copy(&flat, &ty.unwrap(), |id| TypeId(id.0 + shift)).unwrap();
    }
    let base = Libbpf::new(&data);
    let mut theirs = Libbpf::split(&blob(&before), &base);
    theirs.dedup();
    let theirs = theirs.bytes();
    let listed = |data: &[u8]| {
        let btf = Btf::parse_split(data, &kernel).unwrap();
        btf.types().flatten().map(|ty| (ty.kind(), btf.name(&ty).unwrap().to_string())).collect::<Vec<_>>()
    };
    let name = kernel.name(&func).unwrap().to_string();
    assert_eq!(listed(&theirs), named(&[(Kind::Struct, "of_the_module")]));
    assert_eq!(listed(&ours), named(&[(Kind::Func, &name), (Kind::Struct, "of_the_module")]));
}

/// C of a kernel, and of a module that shares some of its types, declares one, and defines others.
const SHARED_C: &str = "
typedef unsigned long size_t;
struct list { struct list *next, *prev; };
typedef int (*callback_t)(struct list *, const char *, size_t);
union either { int number; struct { short low, high; }; };
enum state { OFF, ON = 5 };
enum wide { FAR = 0x100000000ULL };
";
const KERNEL_C: &str = "
struct hidden { int secret[4]; };
struct device { struct list node; callback_t call; union either either; enum state state; enum wide wide; struct hidden *hidden; double d; };
struct device devices[4];
struct hidden hidden;
int probe(struct device *device) { return device->state; }
";
const MODULE_C: &str = "
struct hidden;
struct device { struct list node; callback_t call; union either either; enum state state; enum wide wide; struct hidden *hidden; double d; };
struct local { struct device device; volatile int flags[2]; struct local *const *table; };
struct variant { int (*one)(struct local *); struct list *two; };
struct local local;
struct variant variant;
int module_probe(struct device *device, struct local *local) { return device->state; }
";

/// Check that what we leave of a module is what pahole leaves, in the words of bpftool.
#[test]
fn same_as_pahole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |command: &mut Command| {
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("the tests need {:?}: {error}", command.get_program()));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for (name, code) in [("kernel", KERNEL_C), ("module", MODULE_C)] {
        let source = path(&format!("{name}.c"));
        std::fs::write(&source, format!("{SHARED_C}{code}")).unwrap();
        run(Command::new("gcc").args(["-g", "-c", "-o"]).args([path(&format!("{name}.o")), source]));
    }
    let pahole = |options: &[&str], to: &str, object: &str| {
        let mut command = Command::new("pahole");
        command
            .args(["-J", "--btf_gen_floats"])
            .args(options)
            .arg("--btf_encode_detached")
            .args([path(to), path(object)]);
        run(command.current_dir(folder.path()));
        std::fs::read(path(to)).unwrap()
    };
    let base = pahole(&[], "base.btf", "kernel.o");
    let whole = pahole(&[], "whole.btf", "module.o");
    pahole(&["--btf_base", "base.btf"], "theirs.btf", "module.o");

    let base = Btf::parse(&base).unwrap();
    let split = BaseIndex::of(&base).unwrap().split(&Btf::parse(&whole).unwrap()).unwrap();
    std::fs::write(path("ours.btf"), blob(&split.builder)).unwrap();
    let dump = |file: &str| {
        run(Command::new("bpftool")
            .args(["btf", "dump", "file"])
            .arg(path(file))
            .arg("-B")
            .arg(path("base.btf")))
    };
    let ours = dump("ours.btf");
    assert_eq!(ours, dump("theirs.btf"));
    assert!(
        ours.contains("STRUCT 'local'") && !ours.contains("STRUCT 'device'") && !ours.contains("FWD"),
        "{ours}"
    );
}

/// Check that functions, variables, sections and their tags stay although the base has the same ones, but not the prototype.
#[test]
fn declarations_stay() {
    let mut both = Builder::new();
    let number = int(&mut both);
    let proto = both.func_proto(number, &[]).unwrap();
    let func = both.func(b"init", proto, 0);
    both.decl_tag(b"kfunc", func, -1);
    let var = both.var(b"counter", number, 1);
    both.datasec(b".data..percpu", 4, &[SectionVar { ty: var, offset: 0, size: 4 }]).unwrap();
    let expected = [
        (Kind::Func, "init"),
        (Kind::DeclTag, "kfunc"),
        (Kind::Var, "counter"),
        (Kind::Datasec, ".data..percpu"),
    ];
    assert_eq!(stays(&both, &both), named(&expected));
}

/// Check that cyclic structs which differ from the base's far away all stay, and that what does not reach the difference does not.
#[test]
fn difference_at_a_distance() {
    let ring = |last: &str| {
        let mut builder = Builder::new();
        let number = int(&mut builder);
        let first = builder.next_id();
        for link in 0..10 {
            let next = TypeId(first.0 + (link + 1) % 10 * 2);
            let name = if link == 9 { last } else { "x" };
            let pointer = TypeId(first.0 + link * 2 + 1);
            strukt(&mut builder, &format!("link{link}"), 16, &[("next", pointer, 0), (name, number, 8)]);
            builder.reference(Kind::Ptr, b"", next);
        }
        strukt(&mut builder, "apart", 4, &[("x", number, 0)]);
        builder
    };
    assert_eq!(stays(&ring("x"), &ring("x")), []);
    let left = stays(&ring("x"), &ring("y"));
    assert_eq!(left.len(), 20);
    assert!(!left.contains(&(Kind::Struct, "apart".to_owned())));
}

/// A struct `outer` with a pointer to `inner`, which is declared or defined with one member of a name; and a pointer to `outer`.
fn outer(builder: &mut Builder, inner: Option<&str>) -> TypeId {
    let number = int(builder);
    let inner = match inner {
        Some(member) => strukt(builder, "inner", 4, &[(member, number, 0)]),
        None => builder.fwd(b"inner", false),
    };
    let pointer = builder.reference(Kind::Ptr, b"", inner);
    let outer = strukt(builder, "outer", 8, &[("inner", pointer, 0)]);
    builder.reference(Kind::Ptr, b"", outer)
}

/// Check that a declaration of the module becomes the base's only definition, and so does what reaches it.
#[test]
fn declared_in_module() {
    let (mut base, mut module) = (Builder::new(), Builder::new());
    outer(&mut base, Some("x"));
    outer(&mut module, None);
    assert_eq!(stays(&base, &module), []);
}

/// Check that a definition that the base only declares stays, with pointers to it, but that structs with such pointers do not.
#[test]
fn declared_in_base() {
    let (mut base, mut module) = (Builder::new(), Builder::new());
    outer(&mut base, None);
    outer(&mut module, Some("x"));
    assert_eq!(stays(&base, &module), named(&[(Kind::Struct, "inner"), (Kind::Ptr, "")]));
}

/// Check that where the base has a struct twice, because parts of it knew one struct more, the module's is the one of those that know it too.
#[test]
fn declared_and_defined_in_base() {
    let (mut base, mut module) = (Builder::new(), Builder::new());
    outer(&mut base, None);
    outer(&mut base, Some("x"));
    outer(&mut module, Some("x"));
    assert_eq!(stays(&base, &module), []);
}

/// Check that a declaration of a name which the base defines twice stays, and so does a struct that it leaves undecided.
#[test]
fn declared_in_module_ambiguous() {
    let (mut base, mut module) = (Builder::new(), Builder::new());
    outer(&mut base, Some("x"));
    outer(&mut base, Some("y"));
    let deduplicated = dedup(&Btf::parse(&blob(&base)).unwrap()).unwrap();
    outer(&mut module, None);
    let expected = [(Kind::Fwd, "inner"), (Kind::Ptr, ""), (Kind::Struct, "outer"), (Kind::Ptr, "")];
    assert_eq!(stays(&deduplicated, &module), named(&expected));
}

/// Check that a struct is still found where only one of the base's fits, although the name that it declares is defined twice.
#[test]
fn declared_in_module_decided() {
    let (mut base, mut module) = (Builder::new(), Builder::new());
    outer(&mut base, Some("x"));
    let number = TypeId(1);
    strukt(&mut base, "inner", 8, &[("other", number, 0)]);
    outer(&mut module, None);
    assert_eq!(stays(&base, &module), named(&[(Kind::Fwd, "inner"), (Kind::Ptr, "")]));
}

/// Check that a declaration is not the base's definition where the module has another one, and that an enum's is treated alike.
#[test]
fn declared_and_defined_in_module() {
    let (mut base, mut module) = (Builder::new(), Builder::new());
    let number = int(&mut base);
    strukt(&mut base, "s", 4, &[("x", number, 0)]);
    let number = int(&mut module);
    strukt(&mut module, "s", 4, &[("y", number, 0)]);
    module.fwd(b"s", false);
    assert_eq!(stays(&base, &module), named(&[(Kind::Struct, "s"), (Kind::Fwd, "s")]));

    let (mut base, mut module) = (Builder::new(), Builder::new());
    let name = base.string(b"ON");
    base.enumeration(b"state", 8, false, &[btf::Enumerator { name, value: 1 }]).unwrap();
    let declared = module.enumeration(b"state", 4, false, &[]).unwrap();
    module.reference(Kind::Ptr, b"", declared);
    assert_eq!(stays(&base, &module), named(&[(Kind::Ptr, "")]));
}

/// Check that a base in which types stand twice is used all the same.
#[test]
fn base_with_duplicates() {
    let (mut base, mut module) = (Builder::new(), Builder::new());
    outer(&mut base, Some("x"));
    outer(&mut base, Some("x"));
    outer(&mut module, Some("x"));
    assert_eq!(stays(&base, &module), []);
}

/// Check that one struct of many of its name is found, up to a bound past which it stays.
#[test]
fn many_of_one_name() {
    let variants = |which: std::ops::Range<u32>| {
        let mut builder = Builder::new();
        let number = int(&mut builder);
        for variant in which {
            let inner = strukt(&mut builder, "inner", 4 + variant, &[("x", number, 0)]);
            let pointer = builder.reference(Kind::Ptr, b"", inner);
            strukt(&mut builder, "outer", 8, &[("inner", pointer, 0)]);
        }
        builder
    };
    assert_eq!(stays(&variants(0..30), &variants(7..8)), []);
    assert_eq!(stays(&variants(0..40), &variants(7..8)), named(&[(Kind::Ptr, ""), (Kind::Struct, "outer")]));
}

/// Check that an anonymous cycle, which C cannot form, stays as it is.
#[test]
fn cycle_without_a_name() {
    let mut both = Builder::new();
    let next = TypeId(both.next_id().0 + 1);
    both.reference(Kind::Ptr, b"", next);
    strukt(&mut both, "", 8, &[("p", TypeId(1), 0)]);
    assert_eq!(stays(&both, &both), named(&[(Kind::Ptr, ""), (Kind::Struct, "")]));
}

/// Check what is refused: split BTF as a module, another byte order, a reference to nothing, names that no kernel has.
#[test]
fn refused() {
    let mut base = Builder::new();
    shared(&mut base);
    let data = blob(&base);
    let base = Btf::parse(&data).unwrap();
    let index = BaseIndex::of(&base).unwrap();
    let empty = blob(&Builder::split(&base));
    let module = Btf::parse_split(&empty, &base).unwrap();
    assert!(matches!(index.split(&module), Err(Error::NotSelfContained { .. })));
    let foreign = if Endian::NATIVE == Endian::Big { Endian::Little } else { Endian::Big };
    let module = Builder::new().finish(foreign).unwrap();
    assert_eq!(index.split(&Btf::parse(&module).unwrap()).unwrap_err(), Error::BaseEndian);
    let mut module = Builder::new();
    module.reference(Kind::Ptr, b"", TypeId(7));
    let module = blob(&module);
    let module = Btf::parse(&module).unwrap();
    assert_eq!(index.split(&module).unwrap_err(), Error::NoSuchType { id: TypeId(7), count: 2 });
    assert!(matches!(BaseIndex::of(&module), Err(Error::NoSuchType { .. })));
    let mut module = Builder::new();
    let name = module.string(&[b'x'; 3000]);
    module.add_record(&[name.0 + 1, 7 << 24, 0]);
    let module = blob(&module);
    let module = Btf::parse(&module).unwrap();
    for result in
        [index.split(&module).map(drop), BaseIndex::of(&module).map(drop), flatten(&module).map(drop)]
    {
        assert!(matches!(result, Err(Error::TooLarge { limit: 1023, .. })), "{result:?}");
    }
}

/// Check that split BTF on the kernel's own BTF holds nothing but what is new, with the kernel's types in another order, and that libbpf reads it as we do.
#[test]
fn kernel_as_base() {
    let data = std::fs::read("/sys/kernel/btf/vmlinux").expect("the tests need a kernel with BTF");
    let kernel = Btf::parse(&data).unwrap();
    let index = BaseIndex::of(&kernel).unwrap();
    let kept =
        |ty: &btf::Type<'_>| !matches!(ty.kind(), Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag);
    let types: Vec<_> = kernel.types().flatten().filter(kept).collect();
    let mut ids = vec![TypeId::VOID; kernel.type_count() as usize];
    let mut module = Builder::new();
    let order = order(types.len(), 7);
    for (place, &at) in order.iter().enumerate() {
        ids[types[at].id().0 as usize] = TypeId(place as u32 + 1);
    }
    for &at in &order {
        module.add_copy(&kernel, &types[at], |id| ids[id.0 as usize]).unwrap();
    }
    let task = types
        .iter()
        .find(|ty| kernel.name(ty).unwrap() == "task_struct" && ty.kind() == Kind::Struct)
        .unwrap();
    let pointer = module.reference(Kind::Ptr, b"", ids[task.id().0 as usize]);
    let volatile = module.reference(Kind::Volatile, b"", pointer);
    strukt(&mut module, "of_the_module", 8, &[("task", volatile, 0)]);
    let module = blob(&module);
    let module = Btf::parse(&module).unwrap();
    let split = index.split(&module).unwrap();
    let data = blob(&split.builder);
    let read = Btf::parse_split(&data, &kernel).unwrap();
    let left: Vec<_> =
        read.types().flatten().map(|ty| (ty.kind(), read.name(&ty).unwrap().to_string())).collect();
    // The pointer stands twice in the module; the base's is one.
    assert_eq!(left, named(&[(Kind::Volatile, ""), (Kind::Struct, "of_the_module")]));
    meaning::assert_kept(&module, &read, &split.ids);

    let base = Libbpf::new(kernel.bytes());
    assert_eq!(Libbpf::split(&data, &base).bytes(), data);
}

fn deduplicated(shapes: &[(&[graphs::Shape], &[usize])], endian: Endian) -> Vec<u8> {
    let mut builder = Builder::new();
    for (shapes, order) in shapes {
        write(shapes, order, &mut builder);
    }
    dedup(&Btf::parse(&blob(&builder)).unwrap()).unwrap().finish(endian).unwrap()
}

proptest! {
    /// Check on random graphs, declarations and cycles included, that a module equal to its base leaves nothing; that one with more types means the same as before;
    /// and that the order of its types does not matter to what stays.
    #[test]
    fn random_graphs(
        common in prop::collection::vec(shape(), 1..16),
        more in prop::collection::vec(shape(), 1..12),
        seed in any::<u64>(),
    ) {
        let straight: Vec<usize> = (0..common.len()).collect();
        let more_straight: Vec<usize> = (0..more.len()).collect();
        let endian = if seed % 2 == 0 { Endian::Little } else { Endian::Big };
        let base = deduplicated(&[(&common, &straight)], endian);
        let base = Btf::parse(&base).unwrap();
        let index = BaseIndex::of(&base).unwrap();

        let same = deduplicated(&[(&common, &order(common.len(), seed))], endian);
        let same = Btf::parse(&same).unwrap();
        let split = index.split(&same).unwrap();
        prop_assert!(split.builder.is_empty(), "{} types left of a module equal to its base", split.builder.len());
        meaning::assert_kept(&same, &base, &split.ids);

        let mut sizes = Vec::new();
        for order_of_more in [more_straight, order(more.len(), seed)] {
            let module = deduplicated(&[(&common, &order(common.len(), seed)), (&more, &order_of_more)], endian);
            let module = Btf::parse(&module).unwrap();
            let split = index.split(&module).unwrap();
            let data = split.builder.finish(endian).unwrap();
            let read = Btf::parse_split(&data, &base).unwrap();
            meaning::assert_kept(&module, &read, &split.ids);
            meaning::assert_all_found(&module, &base, &split.ids);
            sizes.push(split.builder.len());

            let whole = |module: &Btf<'_>| merge(&base, [module]).unwrap().finish(endian).unwrap();
            let (before, after) = (whole(&module), whole(&read));
            let (before, after) = (Btf::parse(&before).unwrap(), Btf::parse(&after).unwrap());
            let comparison = btf::compare(&before, &after).unwrap();
            // A declaration may have been resolved in one of them only.
            let equal = comparison.kinds.iter().all(|(&kind, counts)| kind == Kind::Fwd || counts.is_equal());
            prop_assert!(equal, "merged: {comparison}");
        }
        prop_assert_eq!(sizes[0], sizes[1], "another order");
    }
}
