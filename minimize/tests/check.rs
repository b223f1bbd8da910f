//! Whether programs work on a kernel: the running kernel is asked, and the answer foretold.

mod judge;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use btf_minimize::Kernel;
use btf_minimize::check::{Checker, Config, Facts, Problem, Verdict};
use judge::{compile, kernel_btf, succeed};

/// Which programs of an object the running kernel takes, each alone.
fn loaded(object: &Path, folder: &Path) -> BTreeMap<String, bool> {
    let (program, source) =
        (folder.join("load"), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge/load.c"));
    succeed("cc", &[&"-O2", &"-Wall", &"-o", &program, &source, &"-lbpf"]);
    let output = succeed(program.to_str().unwrap(), &[&object]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, says)| (name.to_owned(), says == "loads"))
        .collect()
}

/// Check that of programs that ask for what no kernel has, those are said to fail that the kernel's verifier refuses, and no others.
#[test]
fn check_guards_as_the_verifier_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = compile("guards", "bpfel", folder.path());
    let (file, data) = (fs::read(&path).unwrap(), kernel_btf());
    let (checker, kernel) = (Checker::parse(&file).unwrap(), Kernel::open(&data).unwrap());
    let report = checker.check(&kernel, &Facts::default());
    let loaded = loaded(&path, folder.path());
    assert_eq!(loaded.len(), checker.programs().len());
    for (program, problems) in checker.programs().iter().zip(&report.programs) {
        assert_eq!(
            loaded[program.name],
            program.name.starts_with("guarded"),
            "the kernel takes {}",
            program.name
        );
        assert_eq!(problems.is_empty(), loaded[program.name], "{}: {problems:?}", program.name);
        assert!(!program.relocations.is_empty());
    }
    let count = |wanted: &Verdict| report.relocations.iter().filter(|verdict| *verdict == wanted).count();
    assert!(count(&Verdict::Guarded) > 5 && count(&Verdict::Poisons) >= 5 && count(&Verdict::Absent) > 5);
}

/// A kernel that knows few things, as C.
const SMALL_KERNEL: &str = "
    enum bpf_map_type { BPF_MAP_TYPE_UNSPEC, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY, __MAX_BPF_MAP_TYPE } map_type;
    enum bpf_func_id { BPF_FUNC_unspec, BPF_FUNC_map_lookup_elem, __BPF_FUNC_MAX_ID = 36 } func_id;
    enum bpf_prog_type { BPF_PROG_TYPE_UNSPEC, BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_TRACEPOINT } prog_type;
    enum bpf_attach_type { BPF_TRACE_RAW_TP } attach_type;
    typedef void (*btf_trace_sched_switch)(void *); btf_trace_sched_switch sched_switch;
    int vfs_read(int a) { return a; }
    int __x64_sys_openat(int a) { return a; }
    int bpf_known_kfunc(int a) { return a; }
";

const NEEDY_PROGRAMS: &str = r#"
    #define SEC(name) __attribute__((section(name), used))
    #define EXTERN(name) __attribute__((section(name)))
    struct { int (*type)[27]; int (*max_entries)[4096]; } ring SEC(".maps");
    struct { int (*type)[2]; int (*max_entries)[1]; int *key; int *value; } array SEC(".maps");
    extern int CONFIG_HZ EXTERN(".kconfig");
    extern int CONFIG_MAYBE EXTERN(".kconfig") __attribute__((weak));
    extern int bpf_known_kfunc(int) EXTERN(".ksyms");
    extern int bpf_new_kfunc(int) EXTERN(".ksyms");
    extern int bpf_maybe_kfunc(int) EXTERN(".ksyms") __attribute__((weak));
    static void *(*lookup)(void *, void *) = (void *)1;
    static long (*current_task)(void) = (void *)35;
    static long (*ringbuf_output)(void *, void *, long, long) = (void *)130;
    struct s { int a; } __attribute__((preserve_access_index));

    SEC("kprobe/vfs_read") int there(struct s *s) { int k = s->a; return lookup(&array, &k) != 0; }
    SEC("kprobe/no_such_function") int kprobe_missing(void *c) { return 0; }
    SEC("tp/sched/sched_switch") int tracepoint(void *c) { return 0; }
    SEC("tp/sched/no_such_event") int tracepoint_missing(void *c) { return 0; }
    SEC("tp/syscalls/sys_enter_openat") int call(void *c) { return 0; }
    SEC("tp/syscalls/sys_exit_clone9") int call_missing(void *c) { return 0; }
    SEC("fentry/vfs_read") int fentry(void *c) { return 0; }
    SEC("xdp") int filter(void *c) { return 0; }
    SEC("kprobe/vfs_read") int helper(void *c) { return current_task(); }
    SEC("kprobe/vfs_read") int new_helper(void *c) { long x = 0; return ringbuf_output(&ring, &x, 8, 0); }
    SEC("kprobe/vfs_read") int kfunc(void *c) { return bpf_known_kfunc(1); }
    SEC("kprobe/vfs_read") int new_kfunc(void *c) { return bpf_new_kfunc(1); }
    SEC("kprobe/vfs_read") int asks_for_kfunc(void *c) { return bpf_maybe_kfunc ? bpf_maybe_kfunc(1) : 0; }
    SEC("kprobe/vfs_read") int config(void *c) { return CONFIG_HZ + CONFIG_MAYBE; }
"#;

fn compiled(folder: &Path, name: &str, source: &str) -> Vec<u8> {
    let (input, output) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.o")));
    fs::write(&input, source).unwrap();
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 8] =
        [&"-target", &"bpf", &"-g", &"-O2", &"-c", &input, &"-o", &output];
    succeed("clang", &arguments);
    fs::read(output).unwrap()
}

/// Check that what a program needs beside relocations is looked for in the kernel, and that what is missing is named: certainly, or perhaps.
#[test]
fn check_what_else_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (kernel, object) =
        (compiled(folder.path(), "kernel", SMALL_KERNEL), compiled(folder.path(), "needy", NEEDY_PROGRAMS));
    let (kernel, checker) = (Kernel::open(&kernel).unwrap(), Checker::parse(&object).unwrap());
    let config = Config::parse("# CONFIG_MAYBE is not set\nCONFIG_OTHER=y\n");
    let report = checker.check(&kernel, &Facts { own_btf: Some(false), config: Some(&config) });
    // Maps and configuration are the object's, and so everybody's.
    let everybody =
        ["no maps of type BPF_MAP_TYPE_RINGBUF (ring)", "CONFIG_HZ is not in the kernel's configuration"];
    let of = |name: &str| {
        let index = checker.programs().iter().position(|program| program.name == name).unwrap();
        let told = report.programs[index].iter();
        told.map(|problem| format!("{}{}", problem.lack, if problem.certain { "" } else { "?" }))
            .filter(|told| !everybody.contains(&told.as_str()))
            .collect::<Vec<_>>()
    };
    assert!(report.programs.iter().all(|problems| problems.len() >= everybody.len()));
    let relocation = ["relocation 0"];
    for (name, expected) in [
        ("there", &relocation[..]),
        ("kprobe_missing", &["no function no_such_function?"]),
        ("tracepoint", &[]),
        ("tracepoint_missing", &["no tracepoint sched:no_such_event?"]),
        ("call", &[]),
        ("call_missing", &["no system call clone9?"]),
        (
            "fentry",
            &[
                "fentry/vfs_read needs a kernel with BTF of its own",
                "no BPF_PROG_TYPE_TRACING",
                "no BPF_TRACE_FENTRY",
            ],
        ),
        ("filter", &["no BPF_PROG_TYPE_XDP"]),
        ("helper", &["no helper bpf_get_current_task"]),
        ("new_helper", &["no helper bpf_ringbuf_output"]),
        ("kfunc", &["kernel function bpf_known_kfunc needs a kernel with BTF of its own"]),
        (
            "new_kfunc",
            &[
                "kernel function bpf_new_kfunc needs a kernel with BTF of its own",
                "no kernel function bpf_new_kfunc",
            ],
        ),
        ("asks_for_kfunc", &[]),
        ("config", &[]),
    ] {
        assert_eq!(of(name), expected, "{name}");
    }
}

/// Check that a kernel that says nothing of what it has is not said to lack it.
#[test]
fn check_on_a_kernel_without_lists() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = compiled(folder.path(), "kernel", "struct s { long x; int a; } s;");
    let object = compiled(folder.path(), "needy", NEEDY_PROGRAMS);
    let (kernel, checker) = (Kernel::open(&kernel).unwrap(), Checker::parse(&object).unwrap());
    let report = checker.check(&kernel, &Facts::default());
    assert_eq!(report.relocations, [Verdict::Holds { value: 8 }]);
    let certain = |problems: &[Problem]| problems.iter().any(|problem| problem.certain);
    assert!(!report.programs.iter().any(|problems| certain(problems)), "{report:?}");
}
