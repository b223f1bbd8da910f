//! BTF for readers that do not know its newer kinds.

mod judge;
mod libbpf;

use std::path::Path;
use std::process::Command;

use btf::{Btf, Builder, Endian, Enumerator, Error, Form, Int, Kind, Member, TypeId};
use libbpf::Libbpf;

fn blob(builder: &Builder) -> Vec<u8> {
    builder.finish(Endian::NATIVE).unwrap()
}

fn form(change: impl Fn(&mut Form)) -> Form {
    let mut form = Form::FULL;
    change(&mut form);
    form
}

/// Runs a tool and gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("the tests need {:?}: {error}", command.get_program()));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn dumped(file: &Path) -> String {
    run(Command::new("bpftool").args(["btf", "dump", "file"]).arg(file))
}

/// C with everything that old readers do not know but tags.
const C: &str = "
enum small { A = 1, B = -1, C = 5 } small;
enum large { D = 0x100000000ULL, E = 7, F = 0xffffffff } large;
enum negative { G = -0x100000000LL, H = -1, I = 3 } negative;
enum wide { J = -3, K = 4 } __attribute__((mode(DI))) wide;
struct numbers { float f; double d; long double l[2]; enum large e; } numbers;
";

/// Check that the forms without ENUM64 and without FLOAT are what pahole writes when it is told to leave them out.
#[test]
fn same_as_pahole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("all.c"), C).unwrap();
    run(Command::new("gcc").args(["-g", "-c", "-o"]).args([path("all.o"), path("all.c")]));
    let pahole = |options: &[&str]| {
        run(Command::new("pahole")
            .arg("-J")
            .args(options)
            .arg("--btf_encode_detached")
            .arg(path("theirs.btf"))
            .arg(path("all.o")));
        std::fs::read(path("theirs.btf")).unwrap()
    };
    let full = pahole(&["--btf_gen_floats"]);
    assert!(dumped(&path("theirs.btf")).contains("ENUM64 'large'"));
    let cases: [(Form, &[&str]); 4] = [
        (Form::FULL, &["--btf_gen_floats"]),
        (form(|form| form.enum64 = false), &["--btf_gen_floats", "--skip_encoding_btf_enum64"]),
        (form(|form| form.float = false), &[]),
        (Form::for_kernel(5, 2), &["--skip_encoding_btf_enum64"]),
    ];
    for (form, options) in cases {
        pahole(options);
        let ours = blob(&form.apply(&Btf::parse(&full).unwrap()).unwrap());
        std::fs::write(path("ours.btf"), ours).unwrap();
        assert_eq!(dumped(&path("ours.btf")), dumped(&path("theirs.btf")), "{options:?}");
    }
}

/// BTF with one of everything that a form may change.
fn everything() -> Vec<u8> {
    let mut builder = Builder::new();
    let int = builder.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 });
    let float = builder.float(b"long double", 12);
    let one = builder.string(b"ONE");
    let wide =
        builder.enumeration(b"wide", 8, true, &[Enumerator { name: one, value: -(1 << 40) + 5 }]).unwrap();
    let small = builder.enumeration(b"small", 1, true, &[Enumerator { name: one, value: -1 }]).unwrap();
    let inner = builder.reference(Kind::TypeTag, b"inner", int);
    let outer = builder.reference(Kind::TypeTag, b"outer", inner);
    let pointer = builder.reference(Kind::Ptr, b"", outer);
    let of_void = builder.reference(Kind::TypeTag, b"of_void", TypeId::VOID);
    let void_pointer = builder.reference(Kind::Ptr, b"", of_void);
    let parts = [("f", float), ("w", wide), ("s", small), ("p", pointer), ("v", void_pointer)];
    let members: Vec<Member> = parts
        .iter()
        .map(|&(name, ty)| Member { name: builder.string(name.as_bytes()), ty, bit_offset: 0, bit_width: 0 })
        .collect();
    let all = builder.composite(Kind::Union, b"all", 16, &members).unwrap();
    builder.decl_tag(b"mark", all, 1);
    let attribute = builder.string(b"attribute").0;
    builder.add_record(&[attribute, 1 << 31 | 17 << 24, all.0, u32::MAX]);
    let proto = builder.func_proto(int, &[]).unwrap();
    builder.func(b"f", proto, 1);
    blob(&builder)
}

/// Check the whole result of each form in libbpf's and bpftool's words.
#[test]
fn each_change() {
    let data = everything();
    let full = Btf::parse(&data).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dump = |form: Form| {
        let data = blob(&form.apply(&full).unwrap());
        let file = folder.path().join("form.btf");
        std::fs::write(&file, data).unwrap();
        dumped(&file)
    };
    assert_eq!(
        dump(Form::for_kernel(5, 2)),
        "\
[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED
[2] INT 'long double' size=12 bits_offset=0 nr_bits=96 encoding=(none)
[3] ENUM 'wide' encoding=UNSIGNED size=8 vlen=1
\t'ONE' val=5
[4] ENUM 'small' encoding=UNSIGNED size=1 vlen=1
\t'ONE' val=4294967295
[5] PTR '(anon)' type_id=1
[6] PTR '(anon)' type_id=0
[7] UNION 'all' size=16 vlen=5
\t'f' type_id=2 bits_offset=0
\t'w' type_id=3 bits_offset=0
\t's' type_id=4 bits_offset=0
\t'p' type_id=5 bits_offset=0
\t'v' type_id=6 bits_offset=0
[8] FUNC_PROTO '(anon)' ret_type_id=1 vlen=0
[9] FUNC 'f' type_id=8 linkage=static
"
    );
    let has = |form: Form, what: &str| dump(form).contains(what);
    for (form, gone, kept) in [
        (form(|form| form.enum64 = false), "ENUM64", "FLOAT"),
        (form(|form| form.float = false), "FLOAT", "ENUM64"),
        (form(|form| form.decl_tag = false), "DECL_TAG", "TYPE_TAG"),
        (form(|form| form.type_tag = false), "TYPE_TAG", "DECL_TAG"),
        (form(|form| form.attributes = false), "attribute", "mark"),
        (form(|form| form.func_linkage = false), "linkage=global", "linkage=static"),
    ] {
        assert!(has(Form::FULL, gone) && !has(form, gone) && has(form, kept), "{form:?}");
    }
}

/// Check that every form of the kernel's BTF is valid to our checker, the kernel and libbpf, has no string that nothing uses, and stays the same when
/// applied twice.
#[test]
fn forms_of_the_kernel() {
    let data = std::fs::read("/sys/kernel/btf/vmlinux").expect("the tests need a kernel with BTF");
    let kernel = Btf::parse(&data).unwrap();
    let mut changes: Vec<Form> = [(5, 2), (5, 6), (5, 13), (5, 16), (5, 17), (6, 0), (6, 15)]
        .map(|(major, minor)| Form::for_kernel(major, minor))
        .to_vec();
    changes.extend([(0, 1), (0, 4), (0, 6), (1, 0)].map(|(major, minor)| Form::for_libbpf(major, minor)));
    for form in changes {
        let data = blob(&form.apply(&kernel).unwrap());
        let made = Btf::parse(&data).unwrap();
        btf::validate(&made, &Default::default()).unwrap();
        assert_eq!(judge::kernel_says(&data), Ok(()), "{form:?}");
        Libbpf::new(&data);
        assert_eq!(blob(&form.apply(&made).unwrap()), data, "{form:?} twice");
        let kinds: std::collections::BTreeSet<Kind> = made.types().map(|ty| ty.unwrap().kind()).collect();
        let gone = [
            (Kind::Enum64, form.enum64),
            (Kind::Float, form.float),
            (Kind::DeclTag, form.decl_tag),
            (Kind::TypeTag, form.type_tag),
        ];
        for (kind, known) in gone {
            assert!(known || !kinds.contains(&kind), "{form:?} has {kind}");
        }
        let composites = |btf: &Btf<'_>| btf.types().flatten().filter(|ty| ty.kind().is_composite()).count();
        assert_eq!(composites(&made), composites(&kernel));
    }
}

/// Check what is refused.
#[test]
fn refused() {
    let none = Form::for_kernel(5, 2);
    let apply = |builder: &Builder| none.apply(&Btf::parse(&blob(builder)).unwrap()).unwrap_err();
    // A tag of itself, by way of another.
    let mut builder = Builder::new();
    builder.reference(Kind::TypeTag, b"a", TypeId(2));
    builder.reference(Kind::TypeTag, b"b", TypeId(1));
    assert!(matches!(apply(&builder), Error::Invalid { kind: Kind::TypeTag, .. }));
    let mut builder = Builder::new();
    builder.reference(Kind::TypeTag, b"a", TypeId(9));
    assert_eq!(apply(&builder), Error::NoSuchType { id: TypeId(9), count: 2 });
    let mut builder = Builder::new();
    builder.decl_tag(b"a", TypeId(1), -1);
    builder.reference(Kind::Ptr, b"", TypeId(1));
    assert!(matches!(apply(&builder), Error::Invalid { kind: Kind::Ptr, .. }));
    let mut builder = Builder::new();
    builder.float(b"huge", 32);
    assert!(matches!(apply(&builder), Error::Invalid { kind: Kind::Float, .. }));
    let mut builder = Builder::new();
    let mut words = vec![0, 4 << 24 | 0x1_0000, 4];
    words.resize(3 + 3 * 0x1_0000, 0);
    builder.add_record(&words);
    assert!(matches!(apply(&builder), Error::TooLarge { value: 0x1_0000, .. }));
    let base = everything();
    let base = Btf::parse(&base).unwrap();
    let split = blob(&Builder::split(&base));
    let error = none.apply(&Btf::parse_split(&split, &base).unwrap()).unwrap_err();
    assert!(matches!(error, Error::NotSelfContained { .. }));
}
