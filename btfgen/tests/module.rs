//! Modules' split BTF, on C of our own that is compiled as a kernel and its modules are; pahole, libbpf and bpftool judge it.

mod compiled;
#[path = "../../btf/tests/judge/mod.rs"]
#[allow(dead_code)]
mod judge;
#[path = "../../btf/tests/libbpf/mod.rs"]
mod libbpf;

use std::path::{Path, PathBuf};
use std::process::Command;

use btf::{BaseIndex, Btf, Kind, flatten};
use btfgen::elf::{Contents, ReadAt};
use btfgen::module::{self, ModuleError, On};
use btfgen::vmlinux::From;
use compiled::{convert, names, object, run};
use libbpf::Libbpf;
use tempfile::TempDir;

/// Compilers for machines with RELA and with REL, of both word sizes and byte orders.
const TARGETS: [(&str, &[&str]); 6] = [
    ("gcc", &["-m64"]),
    ("gcc", &["-m32"]),
    ("clang", &["--target=aarch64-linux-gnu"]),
    ("clang", &["--target=armv7-linux-gnueabihf"]),
    ("clang", &["--target=s390x-linux-gnu"]),
    ("clang", &["--target=powerpc64-linux-gnu"]),
];

/// A kernel's BTF, and modules in a folder like `/lib/modules`.
struct Kernel {
    dir: TempDir,
    vmlinux: PathBuf,
    base: Vec<u8>,
}

impl Kernel {
    fn new((compiler, flags): (&str, &[&str]), dwarf: &str) -> Kernel {
        let dir = TempDir::new().unwrap();
        let flags = [flags, &["-O1", dwarf]].concat();
        let compile = |name: &str| object(dir.path(), compiler, &flags, name);
        let vmlinux = compile("module_kernel.c");
        let folder = dir.path().join("modules/kernel/drivers");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::rename(compile("module_a.c"), folder.join("module-a.ko")).unwrap();
        std::fs::rename(compile("module_b.c"), folder.join("module_b.ko.debug")).unwrap();
        let base = convert(&vmlinux).btf;
        std::fs::write(dir.path().join("vmlinux.btf"), &base).unwrap();
        Kernel { dir, vmlinux, base }
    }

    fn x86_64() -> Kernel {
        Kernel::new(TARGETS[0], "-gdwarf-5")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn module_a(&self) -> PathBuf {
        self.path("modules/kernel/drivers/module-a.ko")
    }

    /// `btfgen module`, with these arguments after the base.
    fn command(&self, arguments: &[&Path]) -> assert_cmd::assert::Assert {
        let mut command = assert_cmd::Command::cargo_bin("btfgen").unwrap();
        command.arg("module").arg("--base").arg(self.path("vmlinux.btf")).args(arguments).assert()
    }
}

fn split(path: &Path, base: &[u8], from: From, on: On) -> Result<Vec<u8>, ModuleError> {
    let base = Btf::parse(base).unwrap();
    let index = BaseIndex::of(&base).unwrap();
    let made = module::extract(&Contents::open(path).unwrap(), &index, from, on, 1)?;
    assert_eq!(made.report.lost, []);
    Ok(made.btf)
}

/// What is said by split BTF, with what it takes from its base.
fn whole(split: &[u8], base: &[u8]) -> Vec<u8> {
    let base = Btf::parse(base).unwrap();
    let split = Btf::parse_split(split, &base).unwrap();
    flatten(&split).unwrap().finish(base.endian()).unwrap()
}

fn files_in(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

/// Check that a module's types mean what pahole's split BTF of it means, for every machine, and that it holds only what the kernel has not.
#[test]
fn same_as_pahole() {
    for target in TARGETS {
        for dwarf in ["-gdwarf-4", "-gdwarf-5"] {
            let what = format!("{target:?} {dwarf}");
            let kernel = Kernel::new(target, dwarf);
            let ours = split(&kernel.module_a(), &kernel.base, From::Auto, On::Base).unwrap();
            let output = kernel.path("pahole.btf");
            run(Command::new("pahole")
                .args(["-J", "--btf_gen_floats"])
                .arg(format!("--btf_base={}", kernel.path("vmlinux.btf").display()))
                .arg(format!("--btf_encode_detached={}", output.display()))
                .arg(kernel.module_a()));
            let theirs = std::fs::read(output).unwrap();
            let (ours_whole, theirs_whole) = (whole(&ours, &kernel.base), whole(&theirs, &kernel.base));
            let [a, b] = [&ours_whole, &theirs_whole].map(|whole| Btf::parse(whole).unwrap());
            let comparison = btf::compare(&a, &b).unwrap();
            for kind in
                [Kind::Struct, Kind::Union, Kind::Enum, Kind::Enum64, Kind::Int, Kind::Float, Kind::Func]
            {
                let counts = comparison.kinds.get(&kind).copied().unwrap_or_default();
                assert!(counts.is_equal(), "{what}: {kind}\n{comparison}");
            }
            let base = Btf::parse(&kernel.base).unwrap();
            let ours = Btf::parse_split(&ours, &base).unwrap();
            assert_eq!(names(&ours, Kind::Struct), ["hidden", "module_own"], "{what}");
            assert_eq!(names(&ours, Kind::Enum64), ["wide"], "{what}");
            assert_eq!(names(&ours, Kind::Func), ["module_look", "module_start", "module_wake"], "{what}");
            assert_eq!(names(&ours, Kind::Typedef), [""; 0], "{what}");
        }
    }
}

/// Check that per-CPU variables are at their offsets in the module's own section, the first at 0.
#[test]
fn per_cpu_variables() {
    for target in TARGETS {
        let kernel = Kernel::new(target, "-gdwarf-5");
        let made = split(&kernel.module_a(), &kernel.base, From::Dwarf, On::Base).unwrap();
        let base = Btf::parse(&kernel.base).unwrap();
        let made = Btf::parse_split(&made, &base).unwrap();
        assert_eq!(names(&made, Kind::Var), ["first_per_cpu", "second_per_cpu"], "{target:?}");
        let section = made.types().flatten().find(|ty| ty.kind() == Kind::Datasec).unwrap();
        // Compilers place them in the order they like.
        let [first, second] = section.section_vars().collect::<Vec<_>>().try_into().unwrap();
        let own = made.types().flatten().find(|ty| made.name(ty).unwrap() == "module_own").unwrap();
        let mut sizes = [first.size, second.size];
        sizes.sort_unstable();
        assert_eq!((first.offset, sizes), (0, [4, own.size_or_type()]), "{target:?}");
        assert!(second.offset >= first.size, "{target:?}");
    }
}

/// Check that libbpf and bpftool read what we write, on its base.
#[test]
fn read_by_libbpf() {
    let kernel = Kernel::x86_64();
    let made = split(&kernel.module_a(), &kernel.base, From::Dwarf, On::Base).unwrap();
    let base = Libbpf::new(&kernel.base);
    assert_eq!(Libbpf::split(&made, &base).bytes(), made);
    let path = kernel.path("a.btf");
    std::fs::write(&path, &made).unwrap();
    let said = run(Command::new("bpftool")
        .arg("-B")
        .arg(kernel.path("vmlinux.btf"))
        .args(["btf", "dump", "file"])
        .arg(&path)
        .args(["format", "c"]));
    assert!(said.contains("struct module_own {") && said.contains("struct hidden {"), "{said}");
}

/// Check that libbpf puts the file with a distilled base onto the kernel's BTF, and onto another's with other ids, and that it then means the same.
#[test]
fn distilled_base_is_relocated() {
    for target in [TARGETS[0], TARGETS[1], TARGETS[4]] {
        let kernel = Kernel::new(target, "-gdwarf-5");
        let direct = split(&kernel.module_a(), &kernel.base, From::Dwarf, On::Base).unwrap();
        let container = split(&kernel.module_a(), &kernel.base, From::Dwarf, On::DistilledBase).unwrap();
        let path = kernel.path("a.btf");
        std::fs::write(&path, container).unwrap();
        let sections = run(Command::new("readelf").arg("-hSW").arg(&path));
        assert!(sections.contains(" .BTF ") && sections.contains(" .BTF.base "), "{sections}");
        // Another build of the kernel: one type more before all others.
        let another = {
            let old = Btf::parse(&kernel.base).unwrap();
            let mut builder = btf::Builder::new();
            builder.fwd(b"new_in_this_build", false);
            for ty in old.types() {
                builder.add_copy(&old, &ty.unwrap(), |id| btf::TypeId(id.0 + 1)).unwrap();
            }
            builder.finish(old.endian()).unwrap()
        };
        for base in [&kernel.base, &another] {
            let relocated = Libbpf::parse(&path, &Libbpf::new(base)).bytes();
            // Typedefs and pointers that moved into the split BTF are the kernel's too.
            let once = |whole: Vec<u8>| {
                let whole = Btf::parse(&whole).unwrap();
                btf::dedup::dedup(&whole).unwrap().finish(whole.endian()).unwrap()
            };
            let (relocated, direct) = (once(whole(&relocated, base)), once(whole(&direct, &kernel.base)));
            let [a, b] = [&relocated, &direct].map(|whole| Btf::parse(whole).unwrap());
            let comparison = btf::compare(&a, &b).unwrap();
            assert!(comparison.is_equal(), "{target:?}\n{comparison}");
        }
    }
}

/// Check that compressed modules, and compressed debug sections, give the same BTF.
#[test]
fn compressed() {
    let kernel = Kernel::x86_64();
    let plain = split(&kernel.module_a(), &kernel.base, From::Dwarf, On::Base).unwrap();
    for (ending, program, options) in [
        ("xz", "xz", &["-k"][..]),
        ("xz", "xz", &["-kf", "--check=crc32"]),
        ("zst", "zstd", &["-q"]),
        ("gz", "gzip", &["-k"]),
    ] {
        run(Command::new(program).args(options).arg(kernel.module_a()));
        let path = kernel.module_a().with_extension(format!("ko.{ending}"));
        assert_eq!(split(&path, &kernel.base, From::Dwarf, On::Base).unwrap(), plain, "{ending}");
        // Half of it is damaged, not short.
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let said = Contents::open(&path).err().unwrap().to_string();
        assert!(said.contains("compression is damaged"), "{said}");
    }
    run(Command::new("objcopy").arg("--compress-debug-sections=zlib").arg(kernel.module_a()));
    assert_eq!(split(&kernel.module_a(), &kernel.base, From::Dwarf, On::Base).unwrap(), plain);
    assert!(Contents::open(&kernel.module_a()).unwrap().len() > 0);
}

/// Puts split BTF into a module as kernels' builds do.
fn embed(module: &Path, split: &[u8]) {
    let raw = module.with_extension("raw");
    std::fs::write(&raw, split).unwrap();
    run(Command::new("llvm-objcopy")
        .arg("--remove-section=.BTF")
        .arg(format!("--add-section=.BTF={}", raw.display()))
        .arg(module));
}

/// Check that a module keeps its own BTF on the base it was made for, and that on another one it is refused or DWARF is taken.
#[test]
fn embedded() {
    let kernel = Kernel::x86_64();
    let module = kernel.module_a();
    let made = split(&module, &kernel.base, From::Dwarf, On::Base).unwrap();
    embed(&module, &made);
    for from in [From::Auto, From::Embedded] {
        assert_eq!(split(&module, &kernel.base, from, On::Base).unwrap(), made);
    }
    // Another kernel: the same types, and one more string before or after them all, or one type more.
    let old = Btf::parse(&kernel.base).unwrap();
    let others = ["a", "longer_name"].map(|name| {
        let mut builder = btf::Builder::new();
        builder.fwd(name.as_bytes(), false);
        for ty in old.types() {
            builder.add_copy(&old, &ty.unwrap(), |id| btf::TypeId(id.0 + 1)).unwrap();
        }
        builder.finish(old.endian()).unwrap()
    });
    for other in &others {
        let error = split(&module, other, From::Embedded, On::Base).unwrap_err();
        assert!(matches!(error, ModuleError::OtherBase(..)), "{error}");
        assert!(error.to_string().contains("--base, or convert its DWARF (--from dwarf)"), "{error}");
        let from_dwarf = split(&module, other, From::Dwarf, On::Base).unwrap();
        assert_eq!(split(&module, other, From::Auto, On::Base).unwrap(), from_dwarf);
    }
    run(Command::new("strip").arg("-g").arg(&module));
    let error = split(&module, &others[0], From::Auto, On::Base).unwrap_err();
    assert!(matches!(error, ModuleError::OtherBase(_, false)), "{error}");
    assert_eq!(split(&module, &kernel.base, From::Auto, On::Base).unwrap(), made);
}

/// Check what is said of files that are no modules, or have nothing to make BTF of.
#[test]
fn refused() {
    let kernel = Kernel::x86_64();
    let linked = kernel.path("linked");
    run(Command::new("ld").args(["-e", "0", "-o"]).arg(&linked).arg(&kernel.vmlinux));
    let said = |path: &Path, from| split(path, &kernel.base, from, On::Base).unwrap_err().to_string();
    assert!(said(&linked, From::Auto).contains("no kernel module, but a linked file"));
    assert!(said(&kernel.module_a(), From::Embedded).contains("--from dwarf"));
    let big = Kernel::new(TARGETS[4], "-gdwarf-5");
    assert!(said(&big.module_a(), From::Auto).contains("another byte order"));
    run(Command::new("strip").arg("-g").arg(kernel.module_a()));
    assert!(said(&kernel.module_a(), From::Auto).contains("neither DWARF"));
}

/// Check that a damaged module ends in an error or in valid BTF, whatever byte is wrong.
#[test]
fn damaged() {
    for target in [TARGETS[0], TARGETS[1], TARGETS[4]] {
        let kernel = Kernel::new(target, "-gdwarf-5");
        let module = kernel.module_a();
        let base = Btf::parse(&kernel.base).unwrap();
        let index = BaseIndex::of(&base).unwrap();
        embed(&module, &split(&module, &kernel.base, From::Dwarf, On::Base).unwrap());
        let bytes = std::fs::read(&module).unwrap();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize % below
        };
        for round in 0..2000 {
            let mut damaged = bytes.clone();
            for _ in 0..=next(4) {
                let at = next(damaged.len());
                damaged[at] = next(256) as u8;
            }
            let from = if round % 2 == 0 { From::Dwarf } else { From::Auto };
            if let Err(error) = module::extract(&damaged.as_slice(), &index, from, On::DistilledBase, 1) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

/// Check that the command converts a folder whatever the number of threads, tells of each module, and that one bad module costs only itself.
#[test]
fn command_on_a_folder() {
    let kernel = Kernel::x86_64();
    let (folder, output) = (kernel.path("modules"), kernel.path("out"));
    let made = kernel.command(&[&folder, "-j1".as_ref(), "-o".as_ref(), &output]).success();
    assert_eq!(files_in(&output), ["module_a.btf", "module_b.btf"]);
    let said = String::from_utf8_lossy(&made.get_output().stdout).into_owned();
    assert!(said.contains("2 of 2 modules"), "{said}");
    let alone = split(&kernel.module_a(), &kernel.base, From::Auto, On::Base).unwrap();
    assert_eq!(std::fs::read(output.join("module_a.btf")).unwrap(), alone);

    // Three that fail: damaged, of a name that was there, and not debug information at all.
    std::fs::write(folder.join("bad.ko"), b"\x7fELF but no more").unwrap();
    std::fs::copy(kernel.module_a(), folder.join("module_a.ko")).unwrap();
    std::fs::write(folder.join("empty.ko"), b"").unwrap();
    let again = kernel.path("again");
    let done = kernel.command(&[&folder, "-j3".as_ref(), "--json".as_ref(), "-o".as_ref(), &again]).code(5);
    assert_eq!(files_in(&again), ["module_a.btf", "module_b.btf"]);
    for name in ["module_a.btf", "module_b.btf"] {
        assert_eq!(
            std::fs::read(again.join(name)).unwrap(),
            std::fs::read(output.join(name)).unwrap(),
            "{name}"
        );
    }
    let told: serde_json::Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    let modules = told["modules"].as_array().unwrap();
    let outcome = |module: &serde_json::Value| {
        (module["module"].as_str().unwrap().to_owned(), module["error"].is_null(), module["types"].is_u64())
    };
    let expected =
        [("bad", false), ("empty", false), ("module_a", true), ("module_b", true), ("module_a", false)];
    let outcomes: Vec<_> = modules.iter().map(outcome).collect();
    assert_eq!(outcomes, expected.map(|(name, made)| (name.to_owned(), made, made)));
    let errors = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
    assert!(errors.contains("bad.ko: ") && errors.contains("give only one of them"), "{errors}");
    assert!(errors.contains("3 of 5 modules failed"), "{errors}");
}

/// Check the exit codes and that nothing is left where a single module fails, or the base is none.
#[test]
fn command_fails() {
    let kernel = Kernel::x86_64();
    let output = kernel.path("a.btf");
    let bad = kernel.path("bad.ko");
    std::fs::write(&bad, b"not ELF").unwrap();
    kernel.command(&[&bad, "-o".as_ref(), &output]).code(1);
    kernel.command(&[&kernel.path("missing.ko"), "-o".as_ref(), &output]).code(1);
    let empty = kernel.path("nothing");
    std::fs::create_dir(&empty).unwrap();
    kernel.command(&[&empty, "-o".as_ref(), &output]).code(1);
    let module = kernel.module_a();
    // Two modules need a folder.
    kernel.command(&[&module, &module, "-o".as_ref(), &kernel.path("vmlinux.btf")]).code(1);
    let on_vmlinux = || {
        let mut command = assert_cmd::Command::cargo_bin("btfgen").unwrap();
        command.arg("module").arg(&module).arg("--base").arg(&kernel.vmlinux).arg("-o").arg(&output);
        command.assert()
    };
    let failed = on_vmlinux().code(1);
    let said = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(said.contains("module_kernel.o") && said.contains("btfgen vmlinux"), "{said}");
    assert!(!output.exists());
    kernel.command(&[&module, "-o".as_ref(), &output]).success();
    assert_eq!(std::fs::read(&output).unwrap(), split(&module, &kernel.base, From::Auto, On::Base).unwrap());
    // A kernel that embeds its BTF is a base too.
    embed(&kernel.vmlinux, &kernel.base);
    on_vmlinux().success();
}

/// Check that a kernel and its modules become files of their own, or one in which nothing stands twice and which the kernel accepts.
#[test]
fn kernel_with_modules() {
    let kernel = Kernel::x86_64();
    let vmlinux = |arguments: &[&str], output: &Path| {
        let mut command = assert_cmd::Command::cargo_bin("btfgen").unwrap();
        command.arg("vmlinux").arg(&kernel.vmlinux).arg("--modules").arg(kernel.path("modules"));
        command.args(arguments).arg("-o").arg(output).assert().success();
    };
    let folder = kernel.path("out");
    vmlinux(&[], &folder);
    assert_eq!(files_in(&folder), ["module_a.btf", "module_b.btf", "vmlinux.btf"]);
    assert_eq!(std::fs::read(folder.join("vmlinux.btf")).unwrap(), kernel.base);
    let all = kernel.path("all.btf");
    vmlinux(&["--merged", "-j", "2"], &all);
    let bytes = std::fs::read(&all).unwrap();
    assert_eq!(judge::kernel_says(&bytes), Ok(()));
    let merged = Btf::parse(&bytes).unwrap();
    assert_eq!(names(&merged, Kind::Struct), ["hidden", "list", "module_own", "other_own", "task"]);
    // What the kernel only declares, a module defines.
    assert_eq!(names(&merged, Kind::Fwd), [""; 0]);
    assert_eq!(
        names(&merged, Kind::Func),
        ["module_look", "module_start", "module_wake", "other_look", "wake_up"]
    );
}
