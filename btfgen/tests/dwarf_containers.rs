//! Files that hold DWARF in other ways than plainly: compressed, not relocated yet, or taken apart by `dwz`. All must give what the plain file does.

mod compiled;

use std::path::{Path, PathBuf};
use std::process::Command;

use btfgen::vmlinux::{self, From};
use compiled::{assert_same, convert, link_with, object, run};
use tempfile::TempDir;

const SOURCES: [&str; 3] = ["types.c", "same_name_a.c", "same_name_b.c"];

/// A way to compile and link for a machine.
struct Target {
    compiler: &'static str,
    flags: &'static [&'static str],
    linker: &'static str,
}

const fn gcc(compiler: &'static str, flags: &'static [&'static str], linker: &'static str) -> Target {
    Target { compiler, flags, linker }
}

const fn clang(flags: &'static [&'static str]) -> Target {
    Target { compiler: "clang", flags, linker: "ld.lld" }
}

const X86_64: Target = gcc("gcc", &["-m64"], "ld");
const S390X: Target = gcc("s390x-linux-gnu-gcc", &[], "s390x-linux-gnu-ld");
/// Its compiler leaves differences between labels to the linker, as pairs of relocations.
const RISCV: Target = gcc("riscv64-linux-gnu-gcc", &[], "riscv64-linux-gnu-ld");
const CLANGS: [Target; 10] = [
    clang(&["--target=x86_64-linux-gnu"]),
    clang(&["--target=i386-linux-gnu"]),
    clang(&["--target=aarch64-linux-gnu"]),
    clang(&["--target=armv7-linux-gnueabihf"]),
    clang(&["--target=powerpc64le-linux-gnu"]),
    clang(&["--target=powerpc64-linux-gnu"]),
    clang(&["--target=powerpc-linux-gnu"]),
    clang(&["--target=riscv64-linux-gnu", "-mno-relax"]),
    clang(&["--target=mips64el-linux-gnuabi64"]),
    clang(&["--target=mips-linux-gnu"]),
];

fn objects(dir: &Path, target: &Target, dwarf: &str, names: &[&str]) -> Vec<PathBuf> {
    let flags = [target.flags, &["-O1", "-fno-eliminate-unused-debug-types", dwarf]].concat();
    names.iter().map(|name| object(dir, target.compiler, &flags, name)).collect()
}

/// Check that compressed debug sections give the same BTF, in object files, whose relocations are for what is compressed, and in linked ones.
#[test]
fn compressed_sections() {
    let dir = TempDir::new().unwrap();
    for target in [X86_64, S390X] {
        let object = objects(dir.path(), &target, "-gdwarf-5", &["types.c"]).remove(0);
        let linked = link_with(target.linker, &[], std::slice::from_ref(&object), &dir.path().join("linked"));
        let objcopy = target.linker.replace("ld", "objcopy");
        for file in [object, linked] {
            let plain = convert(&file).btf;
            for form in ["zlib-gabi", "zlib-gnu", "zstd"] {
                let compressed = dir.path().join(form);
                run(Command::new(&objcopy)
                    .arg(format!("--compress-debug-sections={form}"))
                    .arg(&file)
                    .arg(&compressed));
                let len = |path: &Path| std::fs::metadata(path).unwrap().len();
                assert!(len(&compressed) < len(&file), "{form}");
                assert_eq!(convert(&compressed).btf, plain, "{form}");
            }
        }
    }
}

/// Check that object files of every machine and both compilers, whose relocations we apply, give what the linked file does.
#[test]
fn object_files() {
    let gccs = [X86_64, gcc("gcc", &["-m32"], "ld"), S390X, RISCV];
    for target in gccs.iter().chain(&CLANGS) {
        for dwarf in ["-gdwarf-4", "-gdwarf-5"] {
            let dir = TempDir::new().unwrap();
            let what = format!("{} {:?} {dwarf}", target.compiler, target.flags);
            let flags: &[&str] = if target.flags == ["-m32"] { &["-melf_i386"] } else { &[] };
            let objects = objects(dir.path(), target, dwarf, &SOURCES);
            for object in objects {
                let linked = link_with(
                    target.linker,
                    flags,
                    std::slice::from_ref(&object),
                    &dir.path().join("linked"),
                );
                assert_same(&convert(&object).btf, &convert(&linked).btf, &what);
            }
        }
    }
}

/// Check that object files of several objects, whose relocations the linker has changed, give what the linked file does.
#[test]
fn partly_linked_files() {
    for (target, flags) in
        [(&X86_64, [].as_slice()), (&gcc("gcc", &["-m32"], "ld"), &["-melf_i386"]), (&RISCV, &[])]
    {
        let dir = TempDir::new().unwrap();
        let objects = objects(dir.path(), target, "-g", &SOURCES);
        let linked = link_with(target.linker, flags, &objects, &dir.path().join("linked"));
        let partly =
            link_with(target.linker, &[flags, &["-r"]].concat(), &objects, &dir.path().join("partly.o"));
        assert_same(&convert(&partly).btf, &convert(&linked).btf, target.compiler);
    }
}

/// Check modules' debug files as Red Hat strips them: references between debug sections are done and have no relocations any more, others
/// still have theirs.
#[test]
fn partly_resolved_files() {
    for target in [&X86_64, &gcc("gcc", &["-m32"], "ld"), &S390X] {
        let dir = TempDir::new().unwrap();
        let object = objects(dir.path(), target, "-g", &["types.c"]).remove(0);
        let plain = convert(&object).btf;
        let debug = dir.path().join("module.ko.debug");
        run(Command::new("eu-strip")
            .args(["-g", "--reloc-debug-sections"])
            .arg("-f")
            .arg(&debug)
            .arg("-o")
            .arg(dir.path().join("module.ko"))
            .arg(&object));
        let left = |file: &Path| {
            let listing = run(Command::new("readelf").arg("-rW").arg(file));
            let debug_info = listing.split(".debug_info' at offset").nth(1).unwrap();
            debug_info.lines().take_while(|line| !line.is_empty()).count()
        };
        assert!(
            left(&debug) < left(&object) / 2,
            "{}: {} of {}",
            target.compiler,
            left(&debug),
            left(&object)
        );
        assert_same(&convert(&debug).btf, &plain, target.compiler);
    }
}

/// Check that relocations which a linked file still shows (`ld -q`) are not applied again.
#[test]
fn relocations_left_in_linked_files() {
    for (target, flags) in
        [(&X86_64, [].as_slice()), (&gcc("gcc", &["-m32"], "ld"), &["-melf_i386"]), (&S390X, &[])]
    {
        let dir = TempDir::new().unwrap();
        let objects = objects(dir.path(), target, "-g", &SOURCES);
        let plain = link_with(target.linker, flags, &objects, &dir.path().join("plain"));
        let kept = link_with(target.linker, &[flags, &["-q"]].concat(), &objects, &dir.path().join("kept"));
        assert!(run(Command::new("readelf").arg("-SW").arg(&kept)).contains("debug_info"));
        assert!(run(Command::new("readelf").arg("-rW").arg(&kept)).contains(".debug_info"));
        assert_eq!(convert(&kept).btf, convert(&plain).btf, "{}", target.compiler);
    }
}

/// Check that relocations of a machine that is not known are an error: without them the BTF would be wrong.
#[test]
fn unknown_machine() {
    let dir = TempDir::new().unwrap();
    let object = objects(dir.path(), &X86_64, "-g", &["union.c"]).remove(0);
    let mut bytes = std::fs::read(object).unwrap();
    bytes[18..20].copy_from_slice(&0x1234u16.to_le_bytes());
    let error = vmlinux::extract(&bytes.as_slice(), From::Dwarf, 1).unwrap_err().to_string();
    assert!(error.contains("machine 4660") && error.contains(".debug_info"), "{error}");
}

/// Check that a file whose units `dwz` made share their types gives the same BTF.
#[test]
fn dwz_within_a_file() {
    for (target, dwarf) in DWZ {
        let dir = TempDir::new().unwrap();
        let second = dir.path().join("second");
        std::fs::create_dir(&second).unwrap();
        let all = ["types.c", "union.c", "same_name_a.c", "same_name_b.c", "same_name_c.c"];
        // Types that the first has, too, in another unit.
        let flags: &[&str] = &["--allow-multiple-definition"];
        let objects =
            [objects(dir.path(), target, dwarf, &all), objects(&second, target, dwarf, &["types.c"])]
                .concat();
        let plain = link_with(target.linker, flags, &objects, &dir.path().join("plain"));
        let shared = dir.path().join("shared");
        run(Command::new("dwz").arg("-o").arg(&shared).arg(&plain));
        let partial = run(Command::new("readelf").arg("-wi").arg(&shared)).contains("DW_TAG_partial_unit");
        assert!(partial, "{} {dwarf}", target.compiler);
        assert_same(&convert(&shared).btf, &convert(&plain).btf, &format!("{} {dwarf}", target.compiler));
    }
}

/// What `dwz` takes: not the string offsets of clang's DWARF 5.
const DWZ: [(&Target, &str); 6] = [
    (&X86_64, "-gdwarf-4"),
    (&X86_64, "-gdwarf-5"),
    (&S390X, "-gdwarf-4"),
    (&S390X, "-gdwarf-5"),
    (&CLANGS[0], "-gdwarf-4"),
    (&CLANGS[5], "-gdwarf-4"),
];

/// Two linked files as they are, and two that `dwz` has taken what they share out of, into a third.
struct Dwz {
    dir: TempDir,
    plain: [PathBuf; 2],
    rest: [PathBuf; 2],
    alt: PathBuf,
}

fn dwz(target: &Target, dwarf: &str, flags: &[&str]) -> Dwz {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("alt");
    std::fs::create_dir(&folder).unwrap();
    let alt = folder.join("shared.debug");
    let all = objects(
        dir.path(),
        target,
        dwarf,
        &["types.c", "same_name_a.c", "same_name_b.c", "union.c", "same_name_c.c"],
    );
    let [types, a, b, union, c] = all.try_into().unwrap();
    let plain = [vec![types.clone(), a, union.clone()], vec![types, b, c, union]].map(|objects| {
        link_with(target.linker, &[], &objects, &dir.path().join(format!("plain{}", objects.len())))
    });
    let rest = plain.clone().map(|plain| {
        let rest = plain.with_extension("rest");
        std::fs::copy(plain, &rest).unwrap();
        rest
    });
    run(Command::new("dwz").args(flags).args(["-r", "-m"]).arg(&alt).args(&rest));
    Dwz { dir, plain, rest, alt }
}

fn convert_with(file: &Path, alt: &Path) -> Vec<u8> {
    let [file, alt] = [file, alt].map(|path| std::fs::read(path).unwrap());
    let made = vmlinux::extract_with(&file.as_slice(), Some(&alt.as_slice()), From::Dwarf, 2).unwrap();
    assert_eq!(made.report.lost, []);
    made.btf
}

/// Check that files which share a supplementary file give what they gave before: all that they need of it, and nothing that is only the other's.
#[test]
fn dwz_with_a_supplementary_file() {
    for (target, dwarf) in DWZ {
        // DWARF 5's own forms are for files that are all of that version.
        let ways: &[&[&str]] = if dwarf == "-gdwarf-5" { &[&[], &["--dwarf-5"]] } else { &[&[]] };
        for flags in ways {
            let Dwz { plain, rest, alt, dir: _dir } = dwz(target, dwarf, flags);
            let what = format!("{} {:?} {dwarf} {flags:?}", target.compiler, target.flags);
            let abbreviations = run(Command::new("readelf").arg("-wa").arg(&rest[0]));
            let form = if flags.is_empty() { "DW_FORM_GNU_ref_alt" } else { "DW_FORM_ref_sup4" };
            assert!(abbreviations.contains(form), "{what}");
            for (plain, rest) in plain.iter().zip(&rest) {
                assert_same(&convert_with(rest, &alt), &convert(plain).btf, &what);
            }
        }
    }
}

/// Check that of a supplementary file of three files only what a file needs is taken.
#[test]
fn dwz_takes_what_it_needs() {
    let dir = TempDir::new().unwrap();
    let [types, a, b, union] =
        objects(dir.path(), &X86_64, "-g", &["types.c", "same_name_a.c", "same_name_b.c", "union.c"])
            .try_into()
            .unwrap();
    let all: [&[PathBuf]; 3] = [&[types.clone(), a.clone()], &[types, b], &[a, union]];
    let mut files = Vec::new();
    for (number, objects) in all.into_iter().enumerate() {
        let plain = link_with("ld", &[], objects, &dir.path().join(format!("plain{number}")));
        let rest = dir.path().join(format!("rest{number}"));
        std::fs::copy(&plain, &rest).unwrap();
        files.push((plain, rest));
    }
    let alt = dir.path().join("alt.debug");
    run(Command::new("dwz").arg("-m").arg(&alt).args(files.iter().map(|(_, rest)| rest)));
    for (plain, rest) in &files {
        assert_same(&convert_with(rest, &alt), &convert(plain).btf, &rest.display().to_string());
    }
}

/// Check that the command finds the supplementary file where the link says, or by build-id, takes the one it is given, and otherwise
/// says which one it needs.
#[test]
fn finding_the_supplementary_file() {
    for flags in [[].as_slice(), &["--dwarf-5"]] {
        let Dwz { dir, plain, rest: [rest, _], alt } = dwz(&X86_64, "-gdwarf-5", flags);
        let output = dir.path().join("out.btf");
        let command = |args: &[&Path]| {
            let mut command = assert_cmd::Command::cargo_bin("btfgen").unwrap();
            command
                .args(["vmlinux", "-o"])
                .arg(&output)
                .arg("--debug-root")
                .arg(dir.path().join("debug"))
                .args(args);
            command
        };
        let expected = convert(&plain[0]).btf;
        let check = |args: &[&Path]| {
            command(args).assert().success();
            assert_same(&std::fs::read(&output).unwrap(), &expected, &format!("{args:?}"));
            std::fs::remove_file(&output).unwrap();
        };
        let fails = |args: &[&Path]| {
            let failed = command(args).assert().code(1);
            assert!(!output.exists());
            String::from_utf8_lossy(&failed.get_output().stderr).into_owned()
        };
        check(&[&rest]);
        let moved = dir.path().join("moved.debug");
        std::fs::rename(&alt, &moved).unwrap();
        check(&[&rest, "--alt".as_ref(), &moved]);
        let said = fails(&[&rest]);
        let id = said.split("build-id ").nth(1).unwrap()[..40].to_owned();
        assert!(said.contains("alt/shared.debug") && said.contains("--alt"), "{said}");
        let by_id = dir.path().join("debug/.build-id").join(&id[..2]).join(format!("{}.debug", &id[2..]));
        std::fs::create_dir_all(by_id.parent().unwrap()).unwrap();
        std::fs::rename(&moved, &by_id).unwrap();
        check(&[&rest]);
        // One that is there but another's is as good as none.
        std::fs::copy(&plain[1], &alt).unwrap();
        check(&[&rest]);
        let said = fails(&[&rest, "--alt".as_ref(), &alt]);
        assert!(said.contains(&id) && said.contains("the file given has the build-id"), "{said}");
        let said = fails(&[&plain[0], "--alt".as_ref(), &by_id]);
        assert!(said.contains("names no supplementary file"), "{said}");
    }
}

/// Check that damage to either file ends in valid BTF or an error.
#[test]
fn damaged_supplementary_file() {
    let Dwz { rest: [rest, _], alt, dir: _dir, .. } = dwz(&X86_64, "-gdwarf-5", &[]);
    let whole = [rest, alt].map(|path| std::fs::read(path).unwrap());
    let mut next = compiled::random(0x2545_f491_4f6c_dd1d);
    for _ in 0..2000 {
        let mut damaged = whole.clone();
        for _ in 0..=next(4) {
            let file = &mut damaged[next(2)];
            let at = next(file.len());
            file[at] = next(256) as u8;
        }
        let [file, alt] = &damaged;
        // Whatever is made has been validated.
        if let Err(error) = vmlinux::extract_with(&file.as_slice(), Some(&alt.as_slice()), From::Dwarf, 1) {
            assert!(!error.to_string().is_empty());
        }
    }
    let alt = whole[1].as_slice();
    for len in (0..alt.len()).step_by(alt.len() / 100) {
        assert!(
            vmlinux::extract_with(&whole[0].as_slice(), Some(&&alt[..len]), From::Dwarf, 1).is_err(),
            "{len} bytes"
        );
    }
}
