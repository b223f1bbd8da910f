//! What BTF can only just say, and what it cannot: nothing that comes out is wrong, and only what cannot be said is lost. Debian's pahole gives
//! up on these files or writes something wrong, which the tests show.

mod compiled;
#[path = "../../btf/tests/judge/mod.rs"]
#[allow(dead_code)]
mod judge;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf::{Btf, Kind, Type};
use btfgen::elf::Image;
use btfgen::vmlinux::{self, From};
use compiled::{convert, count, names, object, run};
use tempfile::TempDir;

fn find<'a>(btf: &Btf<'a>, name: &str) -> Type<'a> {
    btf.types().flatten().find(|ty| ty.kind() == Kind::Struct && btf.name(ty).unwrap() == name).unwrap()
}

/// Name, offset and width in bits of a struct's members, those of unnamed structs in it as its own.
fn layout(btf: &Btf<'_>, ty: &Type<'_>) -> Vec<(String, u64, u32)> {
    let members = ty.members().flat_map(|member| {
        let name = btf.string(member.name).unwrap().to_string();
        let inner = btf.ty(member.ty).unwrap();
        if name.is_empty() {
            let inner = layout(btf, &inner).into_iter();
            let shift = u64::from(member.bit_offset);
            return inner.map(|(name, offset, width)| (name, offset + shift, width)).collect();
        }
        vec![(name, member.bit_offset.into(), member.bit_width.into())]
    });
    members.collect()
}

const STRUCTS: [&str; 3] = ["near_bitfields", "far_bitfields", "packed_bitfields"];

/// Check that bitfields and other members are at their places past 2 MiB: C compiled from our BTF reads what C compiled from the source has written.
#[test]
fn far_bitfields() {
    for (compiler, dwarf) in
        [("gcc", "-gdwarf-2"), ("gcc", "-gdwarf-4"), ("gcc", "-gdwarf-5"), ("clang", "-gdwarf-5")]
    {
        let dir = TempDir::new().unwrap();
        let source = object(dir.path(), compiler, &["-m64", "-O1", dwarf], "far.c");
        let made = convert(&source);
        assert_eq!(made.report.degraded, 0);
        assert_eq!(judge::kernel_says(&made.btf), Ok(()), "{compiler} {dwarf}");
        let blob = dir.path().join("far.btf");
        std::fs::write(&blob, &made.btf).unwrap();
        let mut text =
            run(Command::new("bpftool").args(["btf", "dump", "file"]).arg(&blob).args(["format", "c"]));
        text.push_str(
            r#"
            extern void *calloc(unsigned long, unsigned long);
            extern void set(void *, void *, void *);
            int main(void)
            {
                struct near_bitfields *n = calloc(1, sizeof *n);
                struct far_bitfields *f = calloc(1, sizeof *f);
                struct packed_bitfields *p = calloc(1, sizeof *p);
                set(n, f, p);
                if (n->a != 5 || n->b != 99 || n->far != -7 || n->last != 12)
                    return 1;
                if (f->a != 6 || f->b != 77 || f->mid != -3 || f->c != -9 || f->d[4] != 8)
                    return 2;
                if (f->e != 0x123456789aull || f->f != 0xabcdef || f->end != 300 || f->g != 100)
                    return 3;
                if (p->a != 0x1abc || p->b != 0x2123456789abcull || p->c != 200 || p->d != -12345678)
                    return 4;
                return 0;
            }
            "#,
        );
        let reader = dir.path().join("reader.c");
        std::fs::write(&reader, text).unwrap();
        let program = dir.path().join("program");
        run(Command::new("gcc").arg("-w").arg(&reader).arg(&source).arg("-o").arg(&program));
        run(&mut Command::new(&program));
    }
}

/// Check that both of DWARF's ways to place bitfields give the same, in both byte orders, and that the tags stay on their members.
#[test]
fn far_bitfields_everywhere() {
    for (compiler, flags, tags) in [
        ("gcc", &["-m32"][..], 0),
        ("s390x-linux-gnu-gcc", &[], 0),
        ("clang", &["--target=s390x-linux-gnu"], 3),
        ("clang", &["--target=i386-linux-gnu"], 3),
    ] {
        let dir = TempDir::new().unwrap();
        let [old, new] = ["-gdwarf-2", "-gdwarf-5"]
            .map(|dwarf| convert(&object(dir.path(), compiler, &[flags, &[dwarf]].concat(), "far.c")).btf);
        let (old, new) = (Btf::parse(&old).unwrap(), Btf::parse(&new).unwrap());
        for name in STRUCTS {
            let of = |btf| layout(btf, &find(btf, name));
            assert_eq!(of(&old), of(&new), "{name} {compiler} {flags:?}");
        }
        let places = layout(&new, &find(&new, "near_bitfields"));
        let place = |name: &str| places.iter().find(|place| place.0 == name).unwrap();
        assert_eq!((place("b").1, place("b").2, place("far").1), (3, 7, 24_000_032), "{compiler} {flags:?}");
        let all: Vec<String> = new
            .types()
            .flatten()
            .filter(|ty| ty.kind() == Kind::DeclTag)
            .map(|tag| {
                let on = new.ty(tag.target().unwrap()).unwrap();
                let member = on.members().nth(tag.component_index().unwrap() as usize).unwrap();
                format!("{} {}", new.name(&tag).unwrap(), new.string(member.name).unwrap())
            })
            .collect();
        assert_eq!(all.len(), tags, "{all:?}");
        assert!(all.iter().all(|tag| ["on_b b", "on_far far", "on_e e"].contains(&tag.as_str())), "{all:?}");
    }
}

/// An object of a source text.
fn one_file(dir: &Path, compiler: &str, text: &str) -> PathBuf {
    let (source, object) = (dir.join("source.c"), dir.join("source.o"));
    std::fs::write(&source, text).unwrap();
    run(Command::new(compiler).args(["-g", "-w", "-c"]).arg(&source).arg("-o").arg(&object));
    object
}

/// What pahole makes of a file, or `None` if it gives up.
fn pahole(file: &Path, flags: &[&str]) -> Option<Vec<u8>> {
    let output = file.with_extension("pahole.btf");
    let mut command = Command::new("pahole");
    command.args(flags).arg(format!("--btf_encode_detached={}", output.display())).arg(file);
    let done = command.output().expect("ci/install-tools installs pahole");
    done.status.success().then(|| std::fs::read(output).unwrap())
}

/// Check what pahole does with such structs: it writes a wrong offset and says nothing, or gives up.
#[test]
fn far_bitfields_by_pahole() {
    let dir = TempDir::new().unwrap();
    let near =
        one_file(dir.path(), "gcc", "struct near { unsigned a : 3; char gap[3000000]; int far; } *near;");
    let theirs = pahole(&near, &[]).unwrap();
    let theirs = Btf::parse(&theirs).unwrap();
    let ours = convert(&near).btf;
    let ours = Btf::parse(&ours).unwrap();
    let far = |btf| layout(btf, &find(btf, "near")).pop().unwrap();
    assert_eq!(far(&ours), ("far".into(), 24_000_032, 0));
    assert_ne!(far(&theirs), far(&ours));
    assert!(pahole(&object(dir.path(), "gcc", &["-g"], "far.c"), &[]).is_none());
}

/// Check that a struct, union, enum or prototype with more members than BTF can count keeps its name and size, and costs nothing else.
#[test]
fn too_many_members() {
    let dir = TempDir::new().unwrap();
    let list = |item: &dyn Fn(u32) -> String| (0..66_000).map(item).collect::<String>();
    let mut text = String::new();
    writeln!(text, "struct many {{ {} }} *many;", list(&|n| format!("int m{n};"))).unwrap();
    writeln!(text, "union many_ways {{ {} }} *ways;", list(&|n| format!("int w{n};"))).unwrap();
    writeln!(text, "enum many_values {{ {} }} values;", list(&|n| format!("E{n},"))).unwrap();
    writeln!(text, "int (*called)(int {});", list(&|_| ",int".into())).unwrap();
    writeln!(
        text,
        "struct other {{ struct many *many; union many_ways *ways; enum many_values value; }} other;"
    )
    .unwrap();
    let many = one_file(dir.path(), "gcc", &text);
    // The same unit twice, so that the second could be read by what is known of the first.
    let both = dir.path().join("both.o");
    run(Command::new("ld").args(["-r", "-z", "muldefs"]).args([&many, &many]).arg("-o").arg(&both));
    for (file, times) in [(&many, 1), (&both, 2)] {
        let made = convert(file);
        assert_eq!(made.report.degraded, 4 * times);
        let btf = Btf::parse(&made.btf).unwrap();
        let many = find(&btf, "many");
        assert_eq!((many.vlen(), many.size()), (0, Some(4 * 66_000)));
        assert_eq!(find(&btf, "other").members().count(), 3);
        assert_eq!(names(&btf, Kind::Enum), ["many_values"]);
        assert_eq!(count(&btf, Kind::Union, "many_ways"), 1);
        assert_eq!(judge::kernel_says(&made.btf), Ok(()));
    }
}

/// Check that a declaration without a name, which some compilers write (BTFHub's issue 59) and pahole gives up on, is an empty struct.
#[test]
fn unnamed_declaration() {
    let dir = TempDir::new().unwrap();
    let text = "struct opaque; struct user { struct opaque *pointer; int x; } user;";
    let object = one_file(dir.path(), "gcc", text);
    let mut bytes = std::fs::read(&object).unwrap();
    // In the abbreviation of a struct without children that is a declaration, the name becomes a description.
    let declaration =
        bytes.windows(8).position(|bytes| matches!(bytes, [0x13, 0, 0x03, _, 0x3c, 0x19, 0, 0]));
    bytes[declaration.unwrap() + 2] = 0x5a;
    std::fs::write(&object, &bytes).unwrap();
    assert!(pahole(&object, &[]).is_none());
    let made = convert(&object);
    let btf = Btf::parse(&made.btf).unwrap();
    let pointer = find(&btf, "user").members().next().unwrap().ty;
    let target = btf.ty(btf.ty(pointer).unwrap().target().unwrap()).unwrap();
    assert_eq!((target.kind(), target.vlen(), target.size()), (Kind::Struct, 0, Some(0)));
    assert_eq!(judge::kernel_says(&made.btf), Ok(()));
}

/// Check that `_Atomic` types are what they qualify; pahole writes members without a type, which the kernel refuses.
#[test]
fn atomic_types() {
    for compiler in ["gcc", "clang"] {
        let dir = TempDir::new().unwrap();
        let text =
            "struct atomic { _Atomic int a; _Atomic(char *) b; _Atomic struct { int x, y; } c; } atomic;";
        let object = one_file(dir.path(), compiler, text);
        assert!(judge::kernel_says(&pahole(&object, &[]).unwrap()).is_err());
        let made = convert(&object);
        assert_eq!(made.report.degraded, 0);
        assert_eq!(judge::kernel_says(&made.btf), Ok(()));
        let btf = Btf::parse(&made.btf).unwrap();
        let kinds: Vec<Kind> =
            find(&btf, "atomic").members().map(|member| btf.ty(member.ty).unwrap().kind()).collect();
        assert_eq!(kinds, [Kind::Int, Kind::Ptr, Kind::Struct]);
    }
}

/// Check that complex types have the layout that they have in C; pahole gives up on them.
#[test]
fn complex_types() {
    let dir = TempDir::new().unwrap();
    let text = "struct complex { _Complex float f; _Complex double d; char end; } complex;";
    let object = one_file(dir.path(), "gcc", text);
    assert!(pahole(&object, &["--btf_gen_floats"]).is_none());
    let made = convert(&object);
    assert_eq!(judge::kernel_says(&made.btf), Ok(()));
    let btf = Btf::parse(&made.btf).unwrap();
    let expected = [("f", 0), ("d", 64), ("end", 192)].map(|(name, offset)| (name.to_owned(), offset, 0));
    assert_eq!(layout(&btf, &find(&btf, "complex")), expected);
    let part = |member: usize| {
        let array = btf.ty(find(&btf, "complex").members().nth(member).unwrap().ty).unwrap().array().unwrap();
        let part = btf.ty(array.element).unwrap();
        (part.kind(), part.size(), array.len)
    };
    assert_eq!([part(0), part(1)], [(Kind::Float, Some(4), 2), (Kind::Float, Some(8), 2)]);
}

/// Check that the command converts what it can of a file with a damaged unit, says what is missing, counts it, and exits with 5.
#[test]
fn command_with_one_bad_unit() {
    let dir = TempDir::new().unwrap();
    let objects = ["types.c", "same_name_b.c"].map(|name| object(dir.path(), "gcc", &["-gdwarf-5"], name));
    let kernel = compiled::link(dir.path(), &objects);
    let mut bytes = std::fs::read(&kernel).unwrap();
    let start = {
        let data = bytes.as_slice();
        Image::parse(&data).unwrap().section_named(".debug_info").unwrap().offset as usize
    };
    let first = 4 + u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()) as usize;
    // The abbreviation code of the second unit's root.
    bytes[start + first + 12] = 0x7f;
    std::fs::write(&kernel, &bytes).unwrap();
    assert_eq!(vmlinux::extract(&bytes.as_slice(), From::Dwarf, 1).unwrap().report.lost.len(), 1);
    let output = dir.path().join("out.btf");
    let mut command = assert_cmd::Command::cargo_bin("btfgen").unwrap();
    let done = command.arg("vmlinux").arg(&kernel).arg("-o").arg(&output).arg("--json").assert().code(5);
    let said = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
    assert!(said.contains(&format!("the unit at offset 0x{first:x} of .debug_info")), "{said}");
    assert!(said.contains("1 of 2 units could not be converted"), "{said}");
    let json: serde_json::Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    assert_eq!((json["units"].as_u64(), json["lost"].as_array().map(Vec::len)), (Some(1), Some(1)));
    let made = std::fs::read(&output).unwrap();
    assert_eq!(count(&Btf::parse(&made).unwrap(), Kind::Struct, "bitfields"), 1);
}

/// Check that a bitfield of an enum with more than 32 bits keeps its place and its number, as an integer: the kernel takes every enum for 32
/// bits there.
#[test]
fn wide_enum_bitfields() {
    for dwarf in ["-gdwarf-2", "-gdwarf-4", "-gdwarf-5"] {
        let dir = TempDir::new().unwrap();
        let made = convert(&object(dir.path(), "gcc", &["-m64", dwarf], "wide_enum.c"));
        assert_eq!(made.report.degraded, 2, "{dwarf}");
        assert_eq!(judge::kernel_says(&made.btf), Ok(()), "{dwarf}");
        let btf = Btf::parse(&made.btf).unwrap();
        let wide = find(&btf, "wide");
        let members = [("big", 0, 41), ("below", 64, 42), ("narrow", 106, 3), ("rest", 128, 0)];
        assert_eq!(
            layout(&btf, &wide),
            members.map(|(name, at, width)| (name.to_owned(), at, width)),
            "{dwarf}"
        );
        let types: Vec<_> =
            wide.members().map(|member| btf.name(&btf.ty(member.ty).unwrap()).unwrap().to_string()).collect();
        assert_eq!(types[..2], ["long long unsigned int", "long long int"], "{dwarf}");
        assert_eq!(types[3], "int", "{dwarf}");
    }
}
