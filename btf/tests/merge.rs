//! Merged and flattened BTF: one blob of a kernel's and its modules'.

mod judge;
mod meaning;

use btf::dedup::dedup;
use btf::{BaseIndex, Btf, Builder, Endian, Error, Int, Kind, Member, SectionVar, TypeId, flatten, merge};

fn blob(builder: &Builder) -> Vec<u8> {
    builder.finish(Endian::NATIVE).unwrap()
}

fn strukt(builder: &mut Builder, name: &str, member: &str, ty: TypeId) -> TypeId {
    let member = Member { name: builder.string(member.as_bytes()), ty, bit_offset: 0, bit_width: 0 };
    builder.composite(Kind::Struct, name.as_bytes(), 8, &[member]).unwrap()
}

/// Kind and name of each type, but for pointers.
fn listed(btf: &Btf<'_>) -> Vec<(Kind, String)> {
    let types = btf.types().map(|ty| ty.unwrap()).filter(|ty| ty.kind() != Kind::Ptr);
    types.map(|ty| (ty.kind(), btf.name(&ty).unwrap().to_string())).collect()
}

fn named(names: &[(Kind, &str)]) -> Vec<(Kind, String)> {
    names.iter().map(|&(kind, name)| (kind, name.to_owned())).collect()
}

/// A kernel with a struct, a declaration, a per-CPU variable and a function.
fn kernel() -> Vec<u8> {
    let mut kernel = Builder::new();
    let long = kernel.int(b"long", 8, Int { encoding: 1, bit_offset: 0, bits: 64 });
    strukt(&mut kernel, "of_kernel", "x", long);
    let declared = kernel.fwd(b"declared", false);
    let pointer = kernel.reference(Kind::Ptr, b"", declared);
    strukt(&mut kernel, "user", "p", pointer);
    let var = kernel.var(b"per_cpu", long, 1);
    kernel.datasec(b".data..percpu", 8, &[SectionVar { ty: var, offset: 0, size: 8 }]).unwrap();
    let proto = kernel.func_proto(long, &[]).unwrap();
    kernel.func(b"shared", proto, 0);
    blob(&kernel)
}

/// A module as split BTF: its own struct `private`, the same function and variable as the kernel, and more functions.
fn module(kernel: &Btf<'_>, member: &str, function: &str) -> Vec<u8> {
    let mut module = Builder::split(kernel);
    let long = TypeId(1);
    strukt(&mut module, "private", member, long);
    strukt(&mut module, "same", "x", TypeId(2));
    let proto = TypeId(8);
    let func = module.func(b"shared", proto, 0);
    module.decl_tag(b"kfunc", func, -1);
    module.func(function.as_bytes(), proto, 0);
    let var = module.var(b"per_cpu", long, 1);
    module.decl_tag(b"mark", var, -1);
    module.datasec(b".data..percpu", 8, &[SectionVar { ty: var, offset: 0, size: 8 }]).unwrap();
    blob(&module)
}

/// Check what is merged, what stands twice, what is left out, and the order.
#[test]
fn kernel_and_two_modules() {
    let kernel = kernel();
    let kernel = Btf::parse(&kernel).unwrap();
    let (a, b) = (module(&kernel, "a", "of_a"), module(&kernel, "b", "of_b"));
    let modules = [&a, &b].map(|data| Btf::parse_split(data, &kernel).unwrap());
    let merged = blob(&merge(&kernel, &modules).unwrap());
    let merged = Btf::parse(&merged).unwrap();
    btf::validate(&merged, &Default::default()).unwrap();
    let expected = [
        (Kind::Int, "long"),
        (Kind::Struct, "of_kernel"),
        (Kind::Fwd, "declared"),
        (Kind::Struct, "user"),
        (Kind::FuncProto, ""),
        (Kind::Func, "shared"),
        (Kind::Struct, "private"),
        (Kind::Struct, "same"),
        (Kind::DeclTag, "kfunc"),
        (Kind::Func, "of_a"),
        (Kind::Struct, "private"),
        (Kind::Func, "of_b"),
        (Kind::Var, "per_cpu"),
        (Kind::Datasec, ".data..percpu"),
    ];
    assert_eq!(listed(&merged), named(&expected));
    assert_eq!(judge::kernel_says(merged.bytes()), Ok(()));
}

/// Check that a module may be self-contained too, with the same result.
#[test]
fn self_contained_module() {
    let kernel = kernel();
    let kernel = Btf::parse(&kernel).unwrap();
    let split = module(&kernel, "a", "of_a");
    let split = Btf::parse_split(&split, &kernel).unwrap();
    let whole = blob(&flatten(&split).unwrap());
    let whole = Btf::parse(&whole).unwrap();
    btf::validate(&whole, &Default::default()).unwrap();
    assert_eq!(blob(&merge(&kernel, [&split]).unwrap()), blob(&merge(&kernel, [&whole]).unwrap()));
    assert_eq!(blob(&merge(&kernel, []).unwrap()), blob(&dedup(&kernel).unwrap()));
}

/// Check that a declaration of the kernel becomes the only definition that a module has, with what points to it.
#[test]
fn declaration_of_kernel_resolved() {
    let kernel = kernel();
    let kernel = Btf::parse(&kernel).unwrap();
    let mut module = Builder::split(&kernel);
    let declared = strukt(&mut module, "declared", "y", TypeId(1));
    let pointer = module.reference(Kind::Ptr, b"", declared);
    strukt(&mut module, "user", "p", pointer);
    let module = blob(&module);
    let module = Btf::parse_split(&module, &kernel).unwrap();
    let merged = blob(&merge(&kernel, [&module]).unwrap());
    let merged = Btf::parse(&merged).unwrap();
    let count = |name| listed(&merged).iter().filter(|(_, other)| other == name).count();
    assert_eq!((count("declared"), count("user")), (1, 1));
    assert!(!listed(&merged).contains(&(Kind::Fwd, "declared".to_owned())));
}

/// Check what is refused.
#[test]
fn refused() {
    let kernel = kernel();
    let kernel = Btf::parse(&kernel).unwrap();
    let split = module(&kernel, "a", "of_a");
    let split = Btf::parse_split(&split, &kernel).unwrap();
    assert!(matches!(merge(&split, []), Err(Error::NotSelfContained { .. })));
    let other = blob(&Builder::new());
    assert_eq!(merge(&Btf::parse(&other).unwrap(), [&split]).unwrap_err(), Error::OtherBase);
    let foreign = if Endian::NATIVE == Endian::Big { Endian::Little } else { Endian::Big };
    let foreign = Builder::new().finish(foreign).unwrap();
    assert_eq!(merge(&kernel, [&Btf::parse(&foreign).unwrap()]).unwrap_err(), Error::BaseEndian);
}

/// Check that the running kernel accepts its own BTF merged with modules made of its types, that a module split on it and merged back adds its own types
/// only, and that flattening keeps what a module says.
#[test]
fn running_kernel_merged() {
    let data = std::fs::read("/sys/kernel/btf/vmlinux").expect("the tests need a kernel with BTF");
    let kernel = Btf::parse(&data).unwrap();
    let task = kernel.types().flatten().find(|ty| kernel.name(ty).unwrap() == "task_struct").unwrap().id();
    let mut split = Builder::split(&kernel);
    let pointer = split.reference(Kind::Ptr, b"", task);
    strukt(&mut split, "of_the_module", "task", pointer);
    let split = blob(&split);
    let split = Btf::parse_split(&split, &kernel).unwrap();
    let flat = blob(&flatten(&split).unwrap());
    let flat = Btf::parse(&flat).unwrap();
    assert_eq!(judge::kernel_says(flat.bytes()), Ok(()));
    let again = BaseIndex::of(&kernel).unwrap().split(&flat).unwrap();
    let again_data = blob(&again.builder);
    let again_split = Btf::parse_split(&again_data, &kernel).unwrap();
    meaning::assert_kept(&flat, &again_split, &again.ids);

    let merged = blob(&merge(&kernel, [&flat, &split]).unwrap());
    let merged = Btf::parse(&merged).unwrap();
    assert_eq!(judge::kernel_says(merged.bytes()), Ok(()));
    let alone = blob(&merge(&kernel, []).unwrap());
    // One more type: the base has the pointer.
    assert_eq!(merged.type_count(), Btf::parse(&alone).unwrap().type_count() + 1);
}
