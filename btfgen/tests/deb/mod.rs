//! Debian packages made by the real tools, holding small kernels made of our own C.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

/// What stands in for a kernel: one of the types that every kernel has, in DWARF.
const SOURCE: &str = "
struct list_head { struct list_head *next, *prev; };
struct task_struct { int pid; char comm[16]; unsigned long long start_time; struct list_head tasks; };
struct task_struct init_task;
int main(void) { return init_task.pid; }
";

/// The small kernel: a real ELF file with a build-id, with DWARF and without BTF.
pub static VMLINUX: LazyLock<Vec<u8>> = LazyLock::new(|| compile(SOURCE));

/// Another one, with another build-id.
pub static OTHER_VMLINUX: LazyLock<Vec<u8>> =
    LazyLock::new(|| compile(&SOURCE.replace("int pid;", "int tgid, pid;")));

fn compile(source: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("vmlinux.c"), folder.path().join("vmlinux"));
    fs::write(&input, source).unwrap();
    run(Command::new("gcc").args(["-g", "-O1", "-Wl,--build-id=sha1", "-o"]).arg(&output).arg(&input), "gcc");
    fs::read(output).unwrap()
}

/// Runs a program that the tests need.
pub fn run(command: &mut Command, package: &str) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; the tests need it: apt-get install {package}");
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A package to be built.
pub struct Deb {
    folder: TempDir,
    control: String,
    arguments: Vec<String>,
}

impl Deb {
    pub fn new(name: &str) -> Self {
        let control = format!(
            "Package: {name}\nVersion: 6.1.2-1\nArchitecture: i386\nMaintainer: nobody <nobody@localhost>\n\
             Depends: linux-base (>= 4)\nDescription: Debug symbols for a test\n More of it.\n"
        );
        Self { folder: tempfile::tempdir().unwrap(), control, arguments: vec!["-Zxz".into()] }
    }

    /// The debug package of `release`, as Debian has built it until 6.12.
    pub fn debug(release: &str, vmlinux: &[u8]) -> Self {
        Self::new(&format!("linux-image-{release}-dbg"))
            .file("usr/lib/debug/boot/System.map", b"c1000000 T _text\n")
            .file(&format!("usr/lib/debug/boot/vmlinux-{release}"), vmlinux)
    }

    pub fn file(self, path: &str, content: &[u8]) -> Self {
        let path = self.tree().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A file of `len` zeros that takes no room on disk.
    pub fn zeros(self, path: &str, len: u64) -> Self {
        let this = self.file(path, b"");
        fs::File::options().write(true).open(this.tree().join(path)).unwrap().set_len(len).unwrap();
        this
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        let this = self.file(path, b"");
        fs::remove_file(this.tree().join(path)).unwrap();
        std::os::unix::fs::symlink(target, this.tree().join(path)).unwrap();
        this
    }

    /// dpkg-deb's options for compression: `-Zxz` and so on.
    pub fn compress(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self
    }

    pub fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// The package's bytes.
    pub fn build(self) -> Vec<u8> {
        let tree = self.tree();
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::write(tree.join("DEBIAN/control"), &self.control).unwrap();
        let output = self.folder.path().join("out.deb");
        let mut command = Command::new("dpkg-deb");
        run(
            command.args(["--root-owner-group"]).args(&self.arguments).arg("--build").arg(tree).arg(&output),
            "dpkg",
        );
        fs::read(output).unwrap()
    }
}

/// A package put together by hand: what dpkg-deb would refuse to make.
pub fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, data) in members {
        bytes.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", data.len()).bytes(),
        );
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

/// The members of a package.
pub fn members(package: &Path) -> Vec<(String, Vec<u8>)> {
    let names = String::from_utf8(run(Command::new("ar").arg("t").arg(package), "binutils")).unwrap();
    let data = |name: &str| run(Command::new("ar").arg("p").arg(package).arg(name), "binutils");
    names.lines().map(|name| (name.to_owned(), data(name))).collect()
}
