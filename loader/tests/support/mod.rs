//! What the tests stand on: BTF of a kernel that is not there, the files of a host that is not there, and archives.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

mod archive;
mod stub;

use std::fs;
use std::path::{Path, PathBuf};

use btf::kind::INT_SIGNED;
use btf::{Array, Builder, Endian, Int, Kind, Member, TypeId};
use btf_loader::{Address, BuildId, Loader, Reason, Settings};
use tempfile::TempDir;

pub(crate) use archive::{Archive, OLDER};
pub(crate) use stub::{Stub, answer, btf_answer};

/// The host's kernel.
pub(crate) const RELEASE: &str = "5.10.0-30-amd64";
pub(crate) const KEY: &str = "debian/11/x86_64/5.10.0-30-amd64";
pub(crate) const BUILD_ID: &str = "1d2c3b4a5968778695a4b3c2d1e0f00112233445";
/// Another kernel's.
pub(crate) const OTHER_BUILD_ID: &str = "ffffffffffffffffffffffffffffffffffffffff";

/// BTF of a kernel with one type: `struct task_struct` with a `comm` of `comm` bytes (to make different ones).
pub(crate) fn kernel_btf(comm: u32) -> Vec<u8> {
    kernel_btf_of(comm, Endian::NATIVE, 8)
}

/// The same for another machine.
pub(crate) fn kernel_btf_of(comm: u32, endian: Endian, pointer: u32) -> Vec<u8> {
    struct_btf("task_struct", comm, endian, pointer)
}

/// BTF with one struct.
pub(crate) fn struct_btf(name: &str, comm: u32, endian: Endian, pointer: u32) -> Vec<u8> {
    let mut builder = Builder::new();
    let mut int = |name: &[u8], size: u32, encoding| {
        builder.int(name, size, Int { encoding, bit_offset: 0, bits: 8 * size as u8 })
    };
    let pid = int(b"int", 4, INT_SIGNED);
    let char = int(b"char", 1, 0);
    int(b"long unsigned int", pointer, 0);
    let array = builder.array(Array { element: char, index: pid, len: comm });
    let mut member = |name: &[u8], ty: TypeId, bit_offset| Member {
        name: builder.string(name),
        ty,
        bit_offset,
        bit_width: 0,
    };
    let members = [member(b"pid", pid, 0), member(b"comm", array, 32)];
    builder.composite(Kind::Struct, name.as_bytes(), 4 + comm, &members).unwrap();
    builder.finish(endian).unwrap()
}

/// The root of a host that runs [`RELEASE`] without BTF of its own, and a cache.
pub(crate) struct Host {
    dir: TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap() };
        host.write("proc/sys/kernel/osrelease", format!("{RELEASE}\n").as_bytes());
        host.write("proc/sys/kernel/arch", b"x86_64\n");
        host.write("etc/os-release", b"ID=debian\nVERSION_ID=\"11\"\n");
        host.write("sys/kernel/notes", &note(BUILD_ID));
        host
    }

    /// A host whose kernel does not tell its build-id.
    pub(crate) fn without_build_id() -> Self {
        let host = Self::new();
        fs::remove_file(host.root().join("sys/kernel/notes")).unwrap();
        host
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// A place for other files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file below the root.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Settings for this host, asking these archives.
    pub(crate) fn settings(&self, urls: &[&str]) -> Settings {
        let mut settings = Settings::default();
        settings.root = self.root();
        settings.cache = Some(self.cache());
        settings.urls = urls.iter().map(|url| url.parse::<Address>().unwrap()).collect();
        settings
    }

    pub(crate) fn loader(&self, urls: &[&str]) -> Loader {
        Loader::new(self.settings(urls))
    }

    /// The files of the cache, relative to it, but for its lock.
    pub(crate) fn cached(&self) -> Vec<String> {
        let mut files = Vec::new();
        walk(&self.cache(), &mut |path| {
            let path = path.strip_prefix(self.cache()).unwrap().display().to_string();
            if path != "download.lock" {
                files.push(path);
            }
        });
        files.sort();
        files
    }
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// An ELF note with a build-id, in this machine's byte order.
pub(crate) fn note(build_id: &str) -> Vec<u8> {
    let id: BuildId = build_id.parse().unwrap();
    let mut note = Vec::new();
    for word in [4, id.as_bytes().len() as u32, 3] {
        note.extend(word.to_ne_bytes());
    }
    note.extend(b"GNU\0");
    note.extend(id.as_bytes());
    note
}

/// The names of the reasons why there is no BTF, without the files that simply were not there.
pub(crate) fn reasons(error: &btf_loader::Error) -> Vec<&'static str> {
    let btf_loader::Error::NoBtf(none) = error else { panic!("{error}") };
    let told = none.attempts.iter().filter(|attempt| !matches!(attempt.reason, Reason::Absent));
    told.map(|attempt| attempt.reason.name()).collect()
}
