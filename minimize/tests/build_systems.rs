//! What the book and the examples tell build systems to do, done: make and cmake with the book's own lines, and the example's build script.

mod judge;
#[path = "../../examples/build-script/build.rs"]
mod script;
#[path = "../../examples/build-script/src/choose.rs"]
mod select;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use btf_archive::bundle::Bundle;
use btf_archive::store::{Archive, KernelDraft};
use btf_archive::{Provenance, Source, Trust};
use btf_minimize::{Kernel, Object, resolve};
use judge::kernel_btf;
use tempfile::TempDir;

const KEY: &str = "debian/12/x86_64/6.1.0-50-amd64";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The book's lines in this language.
fn from_the_book(language: &str) -> String {
    let page = fs::read_to_string(root().join("docs/src/howto/build-systems.md")).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// A folder with a program and an archive of one kernel, this machine's.
fn project() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::copy(root().join("examples/build-script/src/program.bpf.c"), folder.path().join("program.bpf.c"))
        .unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let archive = Archive::create(&folder.path().join("archive")).await.unwrap();
        let provenance = Provenance {
            package: None,
            package_version: None,
            url: None,
            sha256: None,
            trust: Trust::None,
            source: Source::Embedded,
            generator: "test".to_owned(),
        };
        let draft = KernelDraft { key: KEY.parse().unwrap(), build_id: None, provenance, digest: None };
        archive.add(draft, kernel_btf()).await.unwrap();
        archive.publish().await.unwrap();
        archive.close().await;
    });
    folder
}

/// Runs a tool that finds our program, in a folder; it must succeed.
fn run(folder: &Path, tool: &str, arguments: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_btf-minimize")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let output = Command::new(tool).args(arguments).current_dir(folder).env("PATH", path).output();
    let output = output.unwrap_or_else(|error| panic!("the tests need {tool}: {error}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Check that the Makefile of the book makes a bundle, and makes it again only when the program changed.
#[test]
fn make() {
    let folder = project();
    fs::write(folder.path().join("Makefile"), from_the_book("make")).unwrap();
    run(folder.path(), "make", &[]);
    let bundle = folder.path().join("program.bundle");
    let first = fs::read(&bundle).unwrap();
    assert_eq!(Bundle::open(&first).unwrap().kernels().next().unwrap().key(), KEY);
    let made = || fs::metadata(&bundle).unwrap().modified().unwrap();
    let before = made();
    run(folder.path(), "make", &[]);
    assert_eq!(made(), before);
    let source = folder.path().join("program.bpf.c");
    let other = fs::read_to_string(&source).unwrap().replace("pid", "tgid");
    fs::write(&source, other).unwrap();
    run(folder.path(), "make", &["-B", "program.bpf.o"]);
    run(folder.path(), "make", &[]);
    assert_ne!(fs::read(&bundle).unwrap(), first);
}

/// Check that the CMake file of the book makes what bcc's tools read.
#[test]
fn cmake() {
    let folder = project();
    fs::write(folder.path().join("CMakeLists.txt"), from_the_book("cmake")).unwrap();
    run(folder.path(), "cmake", &["-B", "build"]);
    run(folder.path(), "cmake", &["--build", "build"]);
    let listed = run(folder.path(), "tar", &["-tzf", "build/min_core_btfs.tar.gz"]);
    assert_eq!(listed.stdout, format!("./{KEY}.btf\n").as_bytes());
}

/// Check that what the example's build script makes has, for the kernel that its program would choose, BTF on which the object resolves as on the whole.
#[test]
fn build_script() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(format!("btfs/{KEY}.btf"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, kernel_btf()).unwrap();
    let source = root().join("examples/build-script/src/program.bpf.c");
    let object = script::compile(&source, folder.path()).unwrap();
    let kernels = script::kernels(&folder.path().join("btfs")).unwrap();
    let data = script::bundle(&object, &kernels).unwrap();
    let bundle = Bundle::open(&data).unwrap();
    let chosen =
        select::choose(&bundle, &[], "ID=debian\nVERSION_ID=\"12\"\n", "x86_64", "6.1.0-50-amd64").unwrap();
    let btf = chosen.btf().unwrap();
    let object = Object::parse(&object).unwrap();
    assert!(!object.relocations().is_empty());
    assert_eq!(
        resolve(&Kernel::open(&btf).unwrap(), &object),
        resolve(&Kernel::open(&kernels[0].1).unwrap(), &object)
    );
    assert!(
        select::choose(&bundle, &[], "ID=debian\nVERSION_ID=\"11\"\n", "x86_64", "6.1.0-50-amd64").is_none()
    );
}
