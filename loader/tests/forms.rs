//! Other forms of BTF, computed on the client.

mod support;

use btf::{Btf, Kind};
use btf_loader::{merged, no_enum64};
use support::kernel_btf;

/// Kinds and names of all types, in order.
fn names(raw: &[u8]) -> Vec<(Kind, String)> {
    let btf = Btf::parse(raw).unwrap();
    let name = |ty: btf::Result<btf::Type<'_>>| {
        let ty = ty.unwrap();
        (ty.kind(), btf.name(&ty).unwrap().to_string())
    };
    btf.types().map(name).collect()
}

/// Check that ENUM64 and tags go and nothing else does, and that BTF without any stays as it is.
#[test]
fn without_enum64() {
    let raw = kernel_btf(16);
    assert_eq!(names(&no_enum64(&raw).unwrap()), names(&raw));

    let mut builder = btf::Builder::new();
    let name = builder.string(b"BIG");
    let enumerators = [btf::Enumerator { name, value: 1 }];
    builder.enumeration(b"sizes", 8, false, &enumerators).unwrap();
    let new = builder.finish(btf::Endian::NATIVE).unwrap();
    let old = no_enum64(&new).unwrap();
    let kinds =
        |raw: &[u8]| Btf::parse(raw).unwrap().types().map(|ty| ty.unwrap().kind()).collect::<Vec<_>>();
    assert_eq!((kinds(&new), kinds(&old)), (vec![Kind::Enum64], vec![Kind::Enum]));
    assert!(no_enum64(b"no BTF").is_err());
}

/// Check that a module's types stand beside the kernel's, and that one on another base is told by name.
#[test]
fn with_modules() {
    let raw = kernel_btf(16);
    let kernel = Btf::parse(&raw).unwrap();
    let mut builder = btf::Builder::split(&kernel);
    builder.int(b"module_type", 8, btf::Int { encoding: 0, bit_offset: 0, bits: 64 });
    let module = builder.finish(kernel.endian()).unwrap();
    let all = merged(&raw, [("some", &module[..])]).unwrap();
    let names = names(&all);
    assert!(
        ["task_struct", "module_type"].iter().all(|name| names.iter().any(|(_, found)| found == name)),
        "{names:?}"
    );
    let error = merged(&raw, [("some", &b"no BTF"[..])]).unwrap_err();
    assert!(error.to_string().starts_with("some: "), "{error}");
}

/// Check that `get --form` writes each of them, and `--for` what an object needs.
#[test]
fn command() {
    let host = support::Host::new();
    let raw = kernel_btf(16);
    let archive = support::Archive::with(&[(support::KEY, Some(support::BUILD_ID), &raw)]);
    let out = host.path("out");
    let get = |arguments: &[&str]| {
        let _ = std::fs::remove_file(&out);
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_btf-fetch"));
        command.env_clear().env("BTF_ARCHIVE_CACHE_PATH", host.cache());
        command.args(["get", "--url", archive.url(), "--root"]).arg(host.root()).args(arguments);
        command.arg("-o").arg(&out).assert()
    };
    get(&["--form", "no-enum64"]).success();
    assert_eq!(std::fs::read(&out).unwrap(), no_enum64(&raw).unwrap());
    get(&["--form", "elf"]).success();
    assert_eq!(
        std::fs::read(&out).unwrap(),
        btf_loader::elf(&raw, Some(&support::BUILD_ID.parse().unwrap())).unwrap()
    );
    get(&["--form", "merged"]).code(1).stderr(predicates::str::contains("not its modules"));
    assert!(!out.exists());
    let object = host.path("task.bpf.o");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/comm.bpf.c");
    let clang = std::process::Command::new("clang")
        .args(["-target", "bpf", "-g", "-O2", "-c", source, "-o"])
        .arg(&object)
        .status();
    assert!(clang.unwrap().success());
    get(&["--for", object.to_str().unwrap()]).success();
    let minimised = std::fs::read(&out).unwrap();
    assert!(minimised.len() < raw.len(), "{} of {}", minimised.len(), raw.len());
    get(&["--for", host.path("nothing").to_str().unwrap()]).code(1);
}
