//! Types as C, with clang as the judge: what it compiles has the layout that BTF says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use btf::c::{HeaderOptions, header};
use btf::{Btf, Builder, Endian, Int, Kind, Member, Type, TypeId};
use object::{Object as _, ObjectSection as _};

/// Structs that C's own rules lay out in every way there is.
const LAYOUTS: &str = r#"
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef _Bool bool_t;
enum plain { PLAIN_A, PLAIN_B = -5 };
enum small { SMALL_A } __attribute__((packed));
enum large { LARGE_A = 0x100000000ULL };
struct natural { char a; int b; char c; u64 d; char e; };
struct odd { char a; int b; char c; } __attribute__((packed));
struct inside { char a; struct odd o; short s; struct natural n; };
struct line { char a; } __attribute__((aligned(64)));
struct lines { int a; struct line b[2]; char c __attribute__((aligned(32))); };
struct half { char a; u32 b __attribute__((packed)); u16 c; };
struct bits { u32 a:3, b:7; u8 c:5; u64 d:40, e:20; char f; int :4; int g:4; enum plain h:3; bool_t i:1; };
struct tight { u32 a:3; u64 b:61; u8 c; u32 d:31; } __attribute__((packed));
struct zeros { u32 a:3; int :0; u32 b:5; char c; u8 :0; u8 d:1; };
union sizes { char a[5]; int b; u64 c; };
union bytes { char a[5]; short b; } __attribute__((packed));
union wide { char a[5]; } __attribute__((aligned(32)));
struct constant { const struct { int a; }; volatile union { int b; char c; }; };
union flagged { u32 all; struct { u32 a:1, b:31; }; };
struct nested { int a; union { struct { char x; u64 y; } __attribute__((packed)); u16 z; }; struct { int q; } named[3]; };
struct flexible { u16 len; u8 data[]; };
struct empty { };
struct holder { struct empty e; u32 a; struct empty f[4]; };
struct enums { enum small s; enum large l; enum plain p; enum small t[3]; };
struct other;
struct list { struct list *next, *prev; int (*compare)(const struct list *, struct other *); };
struct other { struct list head; void (*table[4])(int, ...); const char *const names[2]; int (*(*deep)(void))[7]; volatile u8 *restrict r; };
typedef struct { int counter; } atomic_t;
typedef int matrix_t[3][4];
typedef void (*callback_t)(atomic_t *, matrix_t, union sizes);
struct user { atomic_t count; matrix_t m; callback_t c; __int128_t wide; double d; float f; long l; unsigned long ul; };
struct twice { char a; };
"#;

/// Names that C has for something else, one name for two things, and things without a size.
const NAMES: &str = r#"
enum { ALONE = 7, BIG = 4000000000U };
typedef enum { IN_TYPEDEF = 1 } typedef_enum;
struct holds_enum { enum { IN_MEMBER = 2 } e; };
struct same { int a; }; typedef long same; enum other_same { same_enumerator };
struct only_declared; union only_declared_too;
struct uses { struct only_declared *a; union only_declared_too *b; same c; struct same d; typedef_enum t; };
"#;

fn compile(folder: &Path, name: &str, source: &str, arguments: &[&str]) -> Vec<u8> {
    let (input, output) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.o")));
    fs::write(&input, source).unwrap();
    let mut command = Command::new("clang");
    command.args(arguments).args(["-g", "-O1", "-c", "-Werror", "-Wno-unknown-attributes", "-o"]);
    let run = command.arg(&output).arg(&input).output().expect("clang is needed");
    assert!(run.status.success(), "{command:?}: {}", String::from_utf8_lossy(&run.stderr));
    fs::read(output).unwrap()
}

fn section(object: &[u8], name: &str) -> Vec<u8> {
    let file = object::File::parse(object).unwrap();
    file.section_by_name(name).unwrap_or_else(|| panic!("no section {name}")).data().unwrap().to_vec()
}

/// C that makes the compiler describe every type of `names`.
fn uses(names: impl IntoIterator<Item = String>) -> String {
    names.into_iter().enumerate().fold(String::new(), |mut text, (index, name)| {
        let _ = writeln!(text, "{name} use_{index};");
        text
    })
}

/// The name without its flavour, as CO-RE sees it.
fn essential(name: &str) -> &str {
    name.rsplit_once("___").map_or(name, |(essential, _)| essential)
}

/// What a type is, as far as its size and what is read of it depend on it.
fn meaning(btf: &Btf<'_>, id: TypeId) -> String {
    if id == TypeId::VOID {
        return "void".into();
    }
    let ty = btf.ty(id).unwrap();
    let name = btf.name(&ty).unwrap().to_string();
    match ty.kind() {
        // Whether a plain char has a sign is up to the compiler's options.
        Kind::Int if ty.size() == Some(1) => "char".into(),
        Kind::Int => format!("int {} {:?}", ty.size().unwrap(), ty.int().unwrap().encoding & 1),
        Kind::Float => format!("float {}", ty.size().unwrap()),
        Kind::Array => {
            format!("[{}] {}", ty.array().unwrap().len, meaning(btf, ty.array().unwrap().element))
        }
        Kind::Struct | Kind::Union if name.is_empty() => layout(btf, &ty, 0).join("; "),
        Kind::Enum | Kind::Enum64 => format!("enum {} {}", ty.size().unwrap(), essential(&name)),
        kind if kind.is_modifier() || kind == Kind::Typedef => meaning(btf, ty.target().unwrap()),
        kind => format!("{kind} {}", essential(&name)),
    }
}

/// Every member of a struct or union with its place in bits; unnamed ones by what is in them.
fn layout(btf: &Btf<'_>, ty: &Type<'_>, base: u32) -> Vec<String> {
    let mut lines = Vec::new();
    for member in ty.members() {
        let name = btf.string(member.name).unwrap();
        let at = base + member.bit_offset;
        let mut inner = btf.ty(member.ty).ok();
        while let Some(qualified) = inner.filter(|inner| inner.kind().is_modifier()) {
            inner = btf.ty(qualified.target().unwrap()).ok();
        }
        let inner = inner.filter(|inner| inner.kind().is_composite());
        match inner.filter(|_| name.is_empty()) {
            Some(inner) => {
                lines.push(format!("{} @{at} {} bytes", inner.kind(), inner.size().unwrap()));
                lines.extend(layout(btf, &inner, at));
            }
            None => lines.push(format!("{name} @{at}:{} {}", member.bit_width, meaning(btf, member.ty))),
        }
    }
    lines
}

/// Size and members of every struct and union, by name without flavour: those of one name in order.
fn layouts(btf: &Btf<'_>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ty in btf.types().map(Result::unwrap) {
        let name = btf.name(&ty).unwrap().to_string();
        if ty.kind().is_composite() && !name.is_empty() {
            let text = format!("{} of {} bytes: {:?}", ty.kind(), ty.size().unwrap(), layout(btf, &ty, 0));
            found.entry(essential(&name).to_owned()).or_default().push(text);
        }
    }
    found.values_mut().for_each(|layouts| layouts.sort());
    found
}

/// The tags that a header defines: `struct name`.
fn tags(text: &str) -> Vec<String> {
    let starts = |line: &&str| line.starts_with("struct ") || line.starts_with("union ");
    let defined = text.lines().filter(starts).filter_map(|line| line.split_once(" {"));
    let named = defined.map(|(tag, _)| tag).filter(|tag| tag.contains(' '));
    named.map(str::to_owned).collect()
}

/// Compiles a blob's header for BPF, and holds what clang says of each struct against the blob.
#[track_caller]
fn compiles_to_itself(blob: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let btf = Btf::parse(blob).unwrap();
    let text = header(&btf, &HeaderOptions { about: "a test */ of comments", ..Default::default() }).unwrap();
    let source = format!("{text}{}", uses(tags(&text)));
    let object = compile(folder.path(), "header", &source, &["-target", "bpf"]);
    let compiled = section(&object, ".BTF");
    let (expected, found) = (layouts(&btf), layouts(&Btf::parse(&compiled).unwrap()));
    for (name, layouts) in &expected {
        assert_eq!(found.get(name), Some(layouts), "{name}");
    }
    assert_eq!(expected.len(), found.len());
    text
}

/// C that fails to compile for a target where a struct has another size, or a member another offset, than the blob says.
fn assertions(blob: &[u8]) -> String {
    let btf = Btf::parse(blob).unwrap();
    let mut source = header(&btf, &HeaderOptions::default()).unwrap();
    let mut tags: BTreeMap<&btf::BStr, usize> = BTreeMap::new();
    for ty in btf.types().map(Result::unwrap).filter(|ty| ty.kind().is_composite() || ty.kind().is_any_enum())
    {
        *tags.entry(btf.name(&ty).unwrap()).or_default() += 1;
    }
    for ty in btf.types().map(Result::unwrap).filter(|ty| ty.kind().is_composite()) {
        let word = if ty.kind() == Kind::Union { "union" } else { "struct" };
        let name = btf.name(&ty).unwrap();
        // Of several with one name, all but one have another in C.
        if name.is_empty() || tags[name] > 1 {
            continue;
        }
        let _ = writeln!(source, "_Static_assert(sizeof({word} {name}) == {}, \"\");", ty.size().unwrap());
        for member in ty.members().filter(|member| member.bit_width == 0 && member.name.0 != 0) {
            let (member, at) = (btf.string(member.name).unwrap(), member.bit_offset / 8);
            let _ = writeln!(
                source,
                "_Static_assert(__builtin_offsetof({word} {name}, {member}) == {at}, \"{member}\");"
            );
        }
    }
    source
}

/// BTF of C for a machine whose `long` has 32 bits, by gcc and pahole.
fn btf_of_i386(folder: &Path, source: &str) -> Vec<u8> {
    let (input, object, blob) = (folder.join("i386.c"), folder.join("i386.o"), folder.join("i386.btf"));
    fs::write(&input, source).unwrap();
    let run = |command: &mut Command| {
        let run = command.output().unwrap_or_else(|error| panic!("{command:?} is needed: {error}"));
        assert!(run.status.success(), "{command:?}: {}", String::from_utf8_lossy(&run.stderr));
    };
    run(Command::new("gcc").args(["-m32", "-g", "-c", "-o"]).arg(&object).arg(&input));
    run(Command::new("pahole")
        .arg("--btf_gen_floats")
        .arg(format!("--btf_encode_detached={}", blob.display()))
        .arg(&object));
    fs::read(blob).unwrap()
}

/// Check that every layout that C can make comes back from the header: natural, packed, aligned, bitfields, nested, empty.
#[test]
fn header_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let source = format!("{LAYOUTS}{}", uses(tags(LAYOUTS)));
    let blob = section(&compile(folder.path(), "layouts", &source, &["-target", "bpf"]), ".BTF");
    assert!(layouts(&Btf::parse(&blob).unwrap()).len() >= 22);
    compiles_to_itself(&blob);
}

/// Check that structs of a 32-bit kernel have their layout on every machine of 32 bits, whether it aligns 64 bits to 4 or to 8 bytes.
#[test]
fn header_of_32_bits() {
    let folder = tempfile::tempdir().unwrap();
    let source = LAYOUTS.replace("__int128_t wide;", "");
    let blob = btf_of_i386(folder.path(), &format!("{source}{}", uses(tags(&source))));
    let checks = assertions(&blob);
    assert!(checks.matches("_Static_assert").count() > 60);
    for target in ["--target=i386-linux-gnu", "--target=armv7-linux-gnueabihf", "--target=mipsel-linux-gnu"] {
        compile(folder.path(), "checks", &checks, &[target]);
    }
}

/// Check that what C cannot have twice, and what has no name, is still there.
#[test]
fn header_names() {
    let folder = tempfile::tempdir().unwrap();
    let source = format!(
        "{NAMES} struct uses *u; struct holds_enum *h; int f(void) {{ return ALONE; }} enum other_same *o;"
    );
    let blob = section(&compile(folder.path(), "names", &source, &["-target", "bpf"]), ".BTF");
    let text = compiles_to_itself(&blob);
    for part in [
        "typedef enum {\n\tIN_TYPEDEF = 1,\n} typedef_enum;",
        "IN_MEMBER = 2",
        "struct only_declared;",
        "typedef long same;",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

/// Check that the running kernel's header compiles, and that all of its structs are what they were.
#[test]
fn header_of_this_kernel() {
    let blob = fs::read("/sys/kernel/btf/vmlinux").expect("the tests need a kernel with BTF");
    let text = compiles_to_itself(&blob);
    assert!(text.contains("struct task_struct {\n"));
}

/// Check that a struct whose members stand behind more typedefs than C needs is an error, rather than as many steps for each member.
#[test]
fn header_of_long_chains() {
    for (typedefs, known) in [(60, true), (70, false)] {
        let mut builder = Builder::new();
        let mut id = builder.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 });
        for number in 0..typedefs {
            id = builder.reference(Kind::Typedef, format!("t{number}").as_bytes(), id);
        }
        let name = builder.string(b"a");
        let member = Member { name, ty: id, bit_offset: 0, bit_width: 0 };
        builder.composite(Kind::Struct, b"s", 4, &[member]).unwrap();
        let blob = builder.finish(Endian::Little).unwrap();
        let text = header(&Btf::parse(&blob).unwrap(), &HeaderOptions::default());
        match text {
            Ok(text) => assert!(known && text.contains("t59 a;")),
            Err(error) => assert!(!known && error.to_string().contains("more than 64"), "{error}"),
        }
    }
}
