//! Compiles the BPF program and bundles the BTF that it needs: beside aya-build or libbpf-cargo, only the second half is of interest.
//!
//! `BTFS` names a directory of kernels' BTF, …/ID/VERSION_ID/ARCH/RELEASE.btf (BTFHub's tree unpacked, or `btfgen`'s output); without it the running kernel's is taken.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf_archive::bundle::{Builder, Encoding};
use btf_archive::{Digest, Key};
use btf_minimize::{Kernel, Object, minimize};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[allow(dead_code)] // the project's tests call what it calls
fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=src/program.bpf.c");
    println!("cargo::rerun-if-env-changed=BTFS");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let object = compile(Path::new("src/program.bpf.c"), &out)?;
    let kernels = match std::env::var_os("BTFS") {
        Some(root) => kernels(Path::new(&root))?,
        None => vec![("linux/0/x86_64/running".parse()?, fs::read("/sys/kernel/btf/vmlinux")?)],
    };
    fs::write(out.join("program.bundle"), bundle(&object, &kernels)?)?;
    Ok(())
}

/// Compiles a BPF program; gives the object.
pub(crate) fn compile(source: &Path, out: &Path) -> Result<Vec<u8>> {
    let object = out.join("program.bpf.o");
    let mut clang = Command::new("clang");
    let status =
        clang.args(["-target", "bpf", "-g", "-O2", "-c"]).arg(source).arg("-o").arg(&object).status()?;
    if !status.success() {
        return Err(format!("clang cannot compile {}", source.display()).into());
    }
    Ok(fs::read(object)?)
}

/// The kernels in a tree.
pub(crate) fn kernels(root: &Path) -> Result<Vec<(Key, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "btf") {
                let key = path.strip_prefix(root)?.with_extension("");
                found.push((key.to_string_lossy().parse()?, fs::read(path)?));
            }
        }
    }
    Ok(found)
}

/// The BTF that an object needs on these kernels, in one file.
pub(crate) fn bundle(object: &[u8], kernels: &[(Key, Vec<u8>)]) -> Result<Vec<u8>> {
    let objects = [Object::parse(object)?];
    let mut bundle = Builder::new();
    for (key, btf) in kernels {
        let kernel = Kernel::open_for(btf, &objects)?;
        let minimized = minimize(&kernel, &objects)?;
        for problem in &minimized.problems {
            let relocation = &objects[0].relocations()[problem.relocation];
            println!("cargo::warning={key}: {}: {}", objects[0].describe(relocation), problem.reason);
        }
        bundle.add(key, None, Some(&Digest::of(btf)), &minimized.btf);
    }
    Ok(bundle.finish("", Encoding::Raw)?)
}
