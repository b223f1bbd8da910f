//! Modules: types that only a module has resolve and are kept, in one self-contained file; libbpf finds them there.

mod judge;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use btf::Btf;
use btf_minimize::{Error, Kernel, Object, Resolution, WithModules, minimize, resolve};
use judge::{Libbpf, succeed};
use tempfile::TempDir;

const KERNEL: &str = "
    struct device { long id; int users; };
    struct shared { int a; int b; };
    long use_device(struct device *d, struct shared *s) { return d->id + s->b; }
";
/// `struct shared` is another one here, which nobody sees, for the kernel has one.
const MODULE: &str = "
    struct device { long id; int users; };
    struct shared { char x; int c; int b; };
    enum mode { MODE_OFF, MODE_ON = 7 };
    struct mine { struct device *device; enum mode mode; int count; };
    long use_mine(struct mine *m, struct shared *s) { return m->device->id + m->count + m->mode + s->b; }
";
const PROGRAM: &str = r#"
    #define CORE __attribute__((preserve_access_index))
    struct device { int users; } CORE;
    struct shared { int b; } CORE;
    struct mine { int count; struct device *device; } CORE;
    enum mode { MODE_ON };
    __attribute__((section("raw_tp/test"), used)) long read(struct mine *m, struct shared *s, struct device *d) {
        return m->count + (long)m->device + s->b + d->users + __builtin_preserve_enum_value(*(enum mode *)MODE_ON, 1)
             + __builtin_preserve_type_info(*(struct mine *)0, 1);
    }
"#;

struct Desk {
    folder: TempDir,
}

impl Desk {
    /// The kernel's BTF and the module's, made by pahole; the module's also in a `.ko`.
    fn new() -> Desk {
        let desk = Desk { folder: TempDir::new().unwrap() };
        let [kernel, module] = [("kernel", KERNEL), ("module", MODULE)].map(|(name, source)| {
            let (input, output) = (desk.path("source.c"), desk.path(&format!("{name}.o")));
            fs::write(&input, source).unwrap();
            succeed("gcc", &[&"-g", &"-c", &input, &"-o", &output]);
            output
        });
        let detached = |name: &str| format!("--btf_encode_detached={}", desk.path(name).display());
        succeed("pahole", &[&"-J", &detached("kernel.btf"), &kernel]);
        let base = format!("--btf_base={}", desk.path("kernel.btf").display());
        succeed("pahole", &[&"-J", &base, &detached("module.btf"), &module]);
        let section = format!(".BTF={}", desk.path("module.btf").display());
        succeed("objcopy", &[&"--add-section", &section, &module, &desk.path("module.ko")]);
        let program = desk.path("program.c");
        fs::write(&program, PROGRAM).unwrap();
        succeed(
            "clang",
            &[&"-target", &"bpf", &"-g", &"-O2", &"-c", &program, &"-o", &desk.path("program.o")],
        );
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn build(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_btf-minimize"));
        let command =
            command.current_dir(self.folder.path()).args(["build", "--btf", "kernel.btf", "-o", "min.btf"]);
        command.args(arguments).arg("program.o").output().unwrap()
    }
}

/// The values of an object's relocations by what they are about; `None` for what a kernel lacks.
fn values(kernel: &Kernel<'_>, object: &Object<'_>) -> Vec<(String, Option<u64>)> {
    let relocations = object.relocations().iter().zip(resolve(kernel, object));
    let mut values: Vec<_> = relocations
        .map(|(relocation, resolution)| {
            let value = match resolution.unwrap() {
                Resolution::Value { value, .. } => Some(value),
                Resolution::Poisoned => None,
            };
            (object.describe(relocation), value)
        })
        .collect();
    values.sort();
    values
}

/// Check that types of modules resolve, that the kernel's own come before them, and that minimised BTF is self-contained and gives the same; by this crate and by
/// libbpf.
#[test]
fn types_of_modules() {
    let desk = Desk::new();
    let (kernel, module, ko, program) =
        (desk.read("kernel.btf"), desk.read("module.btf"), desk.read("module.ko"), desk.read("program.o"));
    let object = Object::parse(&program).unwrap();
    let both = WithModules::new(&kernel, &[&module]).unwrap();
    let open = both.open().unwrap();
    let expected = [
        ("enum mode::MODE_ON", Some(7)),
        ("struct device.users", Some(8)),
        ("struct mine", Some(16)),
        ("struct mine.count", Some(12)),
        ("struct mine.device", Some(0)),
        ("struct shared.b", Some(4)),
    ]
    .map(|(what, value)| (what.to_owned(), value));
    assert_eq!(values(&open, &object), expected);
    let alone = values(&Kernel::open(&kernel).unwrap(), &object);
    assert_eq!(alone.iter().filter(|(_, value)| value.is_none()).count(), 3, "{alone:?}");

    let objects = [object];
    let small = minimize(&open, &objects).unwrap();
    let btf = Btf::parse(&small.btf).unwrap();
    btf::validate(&btf, &btf::ValidateOptions::default()).unwrap();
    assert_eq!(values(&Kernel::open(&small.btf).unwrap(), &objects[0]), expected);
    for other in
        [WithModules::new(&kernel, &[&ko]).unwrap(), WithModules::new(&kernel, &[&module, &module]).unwrap()]
    {
        let opened = other.open_for(&objects).unwrap();
        let again = minimize(&opened, &objects).unwrap();
        assert_eq!(values(&Kernel::open(&again.btf).unwrap(), &objects[0]), expected);
    }

    for modules in [&["--module", "module.btf"][..], &["--module", "module.ko"]] {
        let output = desk.build(modules);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(desk.read("min.btf"), small.btf);
    }
    let (small, program) = (desk.path("min.btf"), desk.path("program.o"));
    let job = |btf: &'static str| (false, desk.path(btf));
    let whole = job("kernel.btf");
    let jobs: [(bool, &Path, &Path); 2] = [(false, &small, &program), (whole.0, &whole.1, &program)];
    let answers = Libbpf::new().relocate(&jobs);
    assert_eq!(answers[0]["read"].state, "resolved");
    // Without the module's types libbpf puts invalid instructions where theirs were read.
    assert_ne!(answers[0]["read"].instructions, answers[1]["read"].instructions);
}

/// Check that a kernel and a module merged into one before, as other loaders take them, need nothing special.
#[test]
fn merged_before() {
    let desk = Desk::new();
    let (kernel, module, program) =
        (desk.read("kernel.btf"), desk.read("module.btf"), desk.read("program.o"));
    let base = Btf::parse(&kernel).unwrap();
    let split = Btf::parse_split(&module, &base).unwrap();
    let merged = btf::merge(&base, [&split]).unwrap().finish(base.endian()).unwrap();
    let objects = [Object::parse(&program).unwrap()];
    let open = Kernel::open_for(&merged, &objects).unwrap();
    let whole = resolve(&open, &objects[0]);
    // There are two structs of one name now, which disagree; everything else is as with the module beside its kernel.
    assert_eq!(whole.iter().filter(|resolution| resolution.is_err()).count(), 1);
    let small = minimize(&open, &objects).unwrap();
    let small = Kernel::open(&small.btf).unwrap();
    let values = |resolutions: Vec<Result<Resolution, btf_minimize::Reason>>| -> Vec<_> {
        resolutions.into_iter().map(Result::ok).collect()
    };
    assert_eq!(values(resolve(&small, &objects[0])), values(whole));
}

/// Check that a module's type that is kept for another one's sake is not taken for the kernel's of that name: the module's `struct shared` has another size.
#[test]
fn module_type_behind_the_kernels() {
    let desk = Desk::new();
    let module = "struct shared { char x; int c; int b; }; struct holder { int first; struct shared inner; };
        long use_holder(struct holder *h) { return h->inner.b; }";
    let program = r#"
        struct shared { int a; }; struct holder { struct shared inner; } __attribute__((preserve_access_index));
        __attribute__((section("raw_tp/test"), used)) long read(struct holder *h) {
            return __builtin_preserve_type_info(*(struct shared *)0, 1) + __builtin_preserve_field_info(h->inner, 0)
                 + __builtin_preserve_field_info(h->inner, 1);
        }
    "#;
    fs::write(desk.path("module.c"), module).unwrap();
    fs::remove_file(desk.path("module.btf")).unwrap(); // pahole would leave the rest of a longer one
    fs::write(desk.path("program.c"), program).unwrap();
    succeed("gcc", &[&"-g", &"-c", &desk.path("module.c"), &"-o", &desk.path("module.o")]);
    let detached = format!("--btf_encode_detached={}", desk.path("module.btf").display());
    let base = format!("--btf_base={}", desk.path("kernel.btf").display());
    succeed("pahole", &[&"-J", &base, &detached, &desk.path("module.o")]);
    let (input, output) = (desk.path("program.c"), desk.path("program.o"));
    succeed("clang", &[&"-target", &"bpf", &"-g", &"-O2", &"-c", &input, &"-o", &output]);
    let (kernel, module, program) =
        (desk.read("kernel.btf"), desk.read("module.btf"), desk.read("program.o"));
    let objects = [Object::parse(&program).unwrap()];
    let both = WithModules::new(&kernel, &[&module]).unwrap();
    let open = both.open_for(&objects).unwrap();
    let whole = values(&open, &objects[0]);
    assert_eq!(whole.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [Some(4), Some(12), Some(8)]);
    let small = minimize(&open, &objects).unwrap();
    assert_eq!(values(&Kernel::open(&small.btf).unwrap(), &objects[0]), whole);
}

/// Check that a module's damage, a foreign base and a base of its own are told with the module.
#[test]
fn refused_modules() {
    let desk = Desk::new();
    let (kernel, module) = (desk.read("kernel.btf"), desk.read("module.btf"));
    let refused = |kernel: &[u8], module: &[u8]| match WithModules::new(kernel, &[module]) {
        Err(Error::Module { index: 0, reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(!refused(&kernel, &module[..module.len() - 1]).is_empty());
    let empty = btf::Builder::new().finish(btf::Endian::Little).unwrap();
    assert!(!refused(&empty, &module).is_empty());
    // A kernel of another build: the same types, but the names elsewhere.
    let other = Btf::parse(&kernel).unwrap();
    let mut builder = btf::Builder::new();
    builder.string(b"another");
    for ty in other.types() {
        builder.add_copy(&other, &ty.unwrap(), |id| id).unwrap();
    }
    let other = builder.finish(btf::Endian::Little).unwrap();
    assert!(refused(&other, &module).contains("another kernel"));
    let (ko, based) = (desk.path("module.ko"), desk.path("based.ko"));
    let section = format!(".BTF.base={}", desk.path("kernel.btf").display());
    succeed("objcopy", &[&"--add-section", &section, &ko, &based]);
    assert!(refused(&kernel, &desk.read("based.ko")).contains(".BTF.base"));
    let output = desk.build(&["--module", "based.ko"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("based.ko: "));
    assert!(!desk.path("min.btf").exists());
}
