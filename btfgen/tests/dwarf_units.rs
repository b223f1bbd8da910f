//! Units: what they share, what they define differently, and what one that cannot be read costs.

mod compiled;

use std::path::{Path, PathBuf};
use std::process::Command;

use btf::{Btf, Kind, TypeId};
use btfgen::vmlinux::{self, Extracted, From};
use compiled::{
    AGREED, assert_agrees_with_pahole, assert_same, convert, count, link, link_with, object, run,
};
use tempfile::TempDir;

/// An object of gcc's for this machine.
fn plain_object(dir: &Path, dwarf: &str, name: &str) -> PathBuf {
    object(dir, "gcc", &["-m64", "-O1", "-fno-eliminate-unused-debug-types", dwarf], name)
}

fn same_name_kernel(dir: &Path, order: [&str; 3]) -> PathBuf {
    let objects = order.map(|name| plain_object(dir, "-gdwarf-5", &format!("same_name_{name}.c")));
    link(dir, &objects)
}

/// Check that units which define one name differently keep their own types and share all others, in every order of the units.
#[test]
fn same_name() {
    for order in [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"], ["c", "a", "b"]] {
        let dir = TempDir::new().unwrap();
        let kernel = same_name_kernel(dir.path(), order);
        let made = convert(&kernel);
        let btf = Btf::parse(&made.btf).unwrap();
        let expected = [
            (Kind::Struct, "shared", 1),
            (Kind::Struct, "opaque", 1),
            (Kind::Struct, "private", 2),
            // The unit that only declares `struct private` has no third form of its users.
            (Kind::Struct, "user", 2),
            (Kind::Struct, "only_pointer", 2),
            (Kind::Typedef, "private_t", 2),
            (Kind::Fwd, "opaque", 0),
            (Kind::Fwd, "shared", 0),
        ];
        for (kind, name, times) in expected {
            assert_eq!(count(&btf, kind, name), times, "{kind} {name}, order {order:?}");
        }
        assert_agrees_with_pahole(&kernel, &AGREED, &format!("order {order:?}"));
        assert!(made.build_id.is_some());
        // Each `user` points to the `private` of its own unit.
        let pointee = |id: TypeId| btf.ty(id).unwrap().target().unwrap();
        let private: Vec<TypeId> = btf
            .types()
            .flatten()
            .filter(|ty| ty.kind() == Kind::Struct && btf.name(ty).unwrap() == "user")
            .map(|user| pointee(user.members().next().unwrap().ty))
            .collect();
        assert_ne!(private[0], private[1]);
    }
}

/// Check that the number of threads changes nothing.
#[test]
fn threads_change_nothing() {
    let dir = TempDir::new().unwrap();
    let kernel = same_name_kernel(dir.path(), ["a", "b", "c"]);
    let bytes = std::fs::read(&kernel).unwrap();
    let made = |threads| vmlinux::extract(&bytes.as_slice(), From::Dwarf, threads).unwrap().btf;
    let one = made(1);
    for threads in [2, 3, 8] {
        assert_eq!(made(threads), one, "{threads} threads");
    }
}

/// Check that types with bitfields that come up again are told from those that differ in one bitfield only, in its width, type, name or place.
#[test]
fn bitfields_that_come_again() {
    for flags in [["-gdwarf-4", "-m64"], ["-gdwarf-5", "-m64"], ["-gdwarf-4", "-m32"], ["-gdwarf-2", "-m64"]]
    {
        let dir = TempDir::new().unwrap();
        // Each comes after one that it equals, and after one that it does not.
        let objects = [0, 1, 2, 2, 0, 3, 3, 0, 4, 4, 5, 5, 0].iter().enumerate().map(|(index, variant)| {
            let folder = dir.path().join(index.to_string());
            std::fs::create_dir(&folder).unwrap();
            let variant = format!("-DVARIANT={variant}");
            object(&folder, "gcc", &[&variant, "-fcommon", flags[0], flags[1]], "bitfields.c")
        });
        let objects: Vec<PathBuf> = objects.collect();
        let emulation = if flags[1] == "-m32" { "-melf_i386" } else { "-melf_x86_64" };
        let linked = link_with("ld", &[emulation], &objects, &dir.path().join("linked"));
        assert_agrees_with_pahole(&linked, &AGREED, flags[0]);
        let bytes = std::fs::read(&linked).unwrap();
        let made = |threads| vmlinux::extract(&bytes.as_slice(), From::Dwarf, threads).unwrap();
        let one = made(1);
        assert_eq!(one.report.degraded, 0);
        assert_eq!(one.btf, made(2).btf);
        assert_eq!(count(&Btf::parse(&one.btf).unwrap(), Kind::Struct, "flags"), 5, "{flags:?}");
    }
}

/// Compiles with flags of its own, and links.
fn linked_with(dir: &Path, flags: &[&str], names: &[&str]) -> PathBuf {
    let flags = [&["-O1"], flags].concat();
    let objects: Vec<PathBuf> = names.iter().map(|name| object(dir, "gcc", &flags, name)).collect();
    link(dir, &objects)
}

const SAME_NAME: [&str; 3] = ["same_name_a.c", "same_name_b.c", "same_name_c.c"];

/// Check that types in type units (`.debug_types` of DWARF 4, `DW_UT_type` of DWARF 5) are the same as without, in object files too.
#[test]
fn type_units() {
    for dwarf in ["-gdwarf-4", "-gdwarf-5"] {
        let dir = TempDir::new().unwrap();
        // Not the two that define one name twice: signatures tell pointers to types of one name apart no more than C++ does.
        let names = ["types.c", "same_name_b.c"];
        let plain = convert(&linked_with(dir.path(), &[dwarf], &names)).btf;
        let linked = linked_with(dir.path(), &[dwarf, "-fdebug-types-section"], &names);
        let object = convert(&dir.path().join("same_name_b.o")).btf;
        let units = convert(&linked).btf;
        assert_same(&units, &plain, dwarf);
        let object = Btf::parse(&object).unwrap();
        assert_eq!(count(&object, Kind::Struct, "opaque"), 1, "{dwarf}");
    }
}

/// Check that units which refer to each other's types (link-time optimisation) agree with pahole, and with the same units alone.
#[test]
fn units_that_share() {
    let dir = TempDir::new().unwrap();
    let objects = SAME_NAME.map(|name| object(dir.path(), "gcc", &["-flto", "-g"], name));
    let linked = dir.path().join("lto.o");
    run(Command::new("gcc")
        .args(["-w", "-flto", "-g", "-r", "-nostdlib", "-flinker-output=nolto-rel"])
        .args(&objects)
        .arg("-o")
        .arg(&linked));
    assert_agrees_with_pahole(&linked, &AGREED, "lto");
    // A function's prototype stands once, with its names, and nothing without a use beside it.
    let together = convert(&linked_with(dir.path(), &["-g"], &["types.c", "same_name_b.c"]));
    let alone = convert(&linked_with(dir.path(), &["-g"], &["types.c"]));
    let prototypes = |made: &Extracted| {
        let btf = Btf::parse(&made.btf).unwrap();
        btf.types().flatten().filter(|ty| ty.kind() == Kind::FuncProto).count()
    };
    assert_eq!(prototypes(&together), prototypes(&alone));
}

/// Check that a file without C types says so, and that split DWARF is told apart from damage.
#[test]
fn nothing_to_convert() {
    let dir = TempDir::new().unwrap();
    let error = |flags: &[&str], name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let object = file.with_extension("o");
        run(Command::new("gcc").args(["-c", "-g"]).args(flags).arg(&file).arg("-o").arg(&object));
        let bytes = std::fs::read(&object).unwrap();
        vmlinux::extract(&bytes.as_slice(), From::Dwarf, 1).unwrap_err().to_string()
    };
    let said = error(&[], "only.S", ".globl f\nf: nop\n");
    assert!(said.contains("describes no types of C"), "{said}");
    let said = error(&["-gsplit-dwarf"], "split.c", "int a;");
    assert!(said.contains("split DWARF") && said.contains("offset 0x0 of .debug_info"), "{said}");
}

/// Check that a unit which cannot be read costs only itself, and is named.
#[test]
fn one_bad_unit() {
    let dir = TempDir::new().unwrap();
    let kernel = same_name_kernel(dir.path(), ["a", "b", "c"]);
    let mut bytes = std::fs::read(&kernel).unwrap();
    let whole = vmlinux::extract(&bytes.as_slice(), From::Dwarf, 1).unwrap();
    assert_eq!(whole.report.units, 3);
    let (start, second) = {
        let data = bytes.as_slice();
        let image = btfgen::elf::Image::parse(&data).unwrap();
        let section = image.section_named(".debug_info").unwrap();
        let info = image.data_of(section, 1 << 20).unwrap();
        let second = 4 + u32::from_le_bytes(info[..4].try_into().unwrap()) as usize;
        (section.offset as usize, second)
    };
    // The abbreviation code of the second unit's first child: none that its table has.
    bytes[start + second + 12] = 0x7f;
    let made = vmlinux::extract(&bytes.as_slice(), From::Dwarf, 2).unwrap();
    assert_eq!(made.report.units, 2);
    let [lost] = made.report.lost.as_slice() else { panic!("{:?}", made.report) };
    assert_eq!(
        (lost.offset, lost.reason.to_string().as_str()),
        (second as u64, "abbreviation code 127 is not in its table")
    );
    let btf = Btf::parse(&made.btf).unwrap();
    assert_eq!((count(&btf, Kind::Struct, "private"), count(&btf, Kind::Fwd, "opaque")), (1, 1));
}
