//! How long the parts take, beside bpftool in the same run: `cargo bench -p btf-minimize`.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use btf_minimize::{Kernel, Object, minimize, resolve};
use criterion::{Criterion, criterion_group, criterion_main};

const KERNEL: &str = "/sys/kernel/btf/vmlinux";

fn benches(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("task.o");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/bpf/task.bpf.c");
    let mut clang = Command::new("clang");
    clang.args(["-target", "bpf", "-g", "-O2", "-c", "-o"]).arg(&object).arg(&source);
    assert!(clang.status().unwrap().success());
    let (data, file) = (fs::read(KERNEL).unwrap(), fs::read(&object).unwrap());
    let kernel = Kernel::open(&data).unwrap();
    let parsed = [Object::parse(&file).unwrap()];
    let small = folder.path().join("min.btf");

    criterion.bench_function("open a kernel", |bencher| {
        bencher.iter(|| Kernel::open(black_box(&data)).unwrap());
    });
    criterion.bench_function("read an object", |bencher| {
        bencher.iter(|| Object::parse(black_box(&file)).unwrap());
    });
    criterion.bench_function("resolve an object on an open kernel", |bencher| {
        bencher.iter(|| resolve(&kernel, &parsed[0]));
    });
    criterion.bench_function("minimize for an object on an open kernel", |bencher| {
        bencher.iter(|| minimize(&kernel, &parsed).unwrap());
    });
    let mut processes = criterion.benchmark_group("a process for an object and a kernel");
    processes.sample_size(20);
    for (name, program) in [("btf-minimize", env!("CARGO_BIN_EXE_btf-minimize")), ("bpftool", "bpftool")] {
        processes.bench_function(name, |bencher| {
            bencher.iter(|| {
                let output = Command::new(program)
                    .args(["gen", "min_core_btf", KERNEL])
                    .args([&small, &object])
                    .output()
                    .unwrap();
                assert!(output.status.success());
            });
        });
    }
}

criterion_group!(all, benches);
criterion_main!(all);
