//! What the machine has already: the kernel's own BTF, and the files where libbpf looks.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf::Endian;
use btf_loader::{Class, Identity, Place};
use support::{BUILD_ID, Host, KEY, OTHER_BUILD_ID, RELEASE, kernel_btf, kernel_btf_of, reasons, struct_btf};

/// An ELF file with this build-id and `.BTF` section, by the machine's own assembler, linker and objcopy.
fn elf(host: &Host, build_id: Option<&str>, btf: Option<&[u8]>, bits: u32) -> Vec<u8> {
    let path = |name: &str| host.path(name);
    fs::write(path("a.s"), ".globl _start\n_start: .long 0\n").unwrap();
    let (class, emulation) = if bits == 32 { ("--32", "elf_i386") } else { ("--64", "elf_x86_64") };
    run(Command::new("as").arg(class).arg(path("a.s")).arg("-o").arg(path("a.o")));
    let mut ld = Command::new("ld");
    // Without -N the file is mostly padding between pages.
    ld.args(["-N", "--no-warn-rwx-segments", "-m", emulation]).arg(path("a.o")).arg("-o").arg(path("a.elf"));
    run(ld.arg(build_id.map_or("--build-id=none".to_owned(), |hex| format!("--build-id=0x{hex}"))));
    if let Some(btf) = btf {
        fs::write(path("a.btf"), btf).unwrap();
        let mut section = std::ffi::OsString::from("--add-section=.BTF=");
        section.push(path("a.btf"));
        run(Command::new("objcopy").arg(section).arg(path("a.elf")));
    }
    fs::read(path("a.elf")).unwrap()
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error} (binutils is needed)"));
    assert!(status.success(), "{command:?}: {status}");
}

fn file(path: &Path) -> Place {
    Place::File { path: path.to_owned() }
}

/// Check that the kernel's own BTF comes first and is given as it is, even of a format newer than this program.
#[test]
fn kernels_own() {
    let host = Host::new();
    let path = host.write("sys/kernel/btf/vmlinux", b"some day BTF will look like this");
    host.write(&format!("boot/vmlinux-{RELEASE}"), &kernel_btf(16));
    let found = host.loader(&[]).get().unwrap();
    assert_eq!(found.btf(), b"some day BTF will look like this");
    assert_eq!(found.place(), &Place::Kernel { path: path.clone() });
    assert_eq!(found.identity(), Identity::Exact);
    assert_eq!(found.path(), Some(&*path));
    assert_eq!(found.build_id().unwrap().to_string(), BUILD_ID);
}

/// Check that each of libbpf's files is found, and that the first of them wins.
#[test]
fn libbpfs_files() {
    let host = Host::new();
    let paths = btf_loader::fallback_paths(&host.root(), RELEASE);
    for (number, path) in paths.iter().enumerate().rev() {
        let raw = kernel_btf(number as u32 + 1);
        host.write(path.strip_prefix(host.root()).unwrap().to_str().unwrap(), &raw);
        let found = host.loader(&[]).get().unwrap();
        assert_eq!(found.btf(), raw);
        assert_eq!(found.place(), &file(path));
        assert_eq!(found.path(), Some(&**path));
        assert_eq!(found.identity(), Identity::ByName, "a raw file does not tell its build-id");
    }
}

/// Check that an ELF file of this build-id is an exact match, in both classes, and that a copy of its BTF can be had
/// as a raw file.
#[test]
fn elf_file() {
    for bits in [32, 64] {
        let host = Host::new();
        let raw = kernel_btf(16);
        let path =
            host.write(&format!("boot/vmlinux-{RELEASE}"), &elf(&host, Some(BUILD_ID), Some(&raw), bits));
        let loader = host.loader(&[]);
        let found = loader.get().unwrap();
        assert_eq!(found.btf(), raw);
        assert_eq!(found.identity(), Identity::Exact);
        assert_eq!(found.place(), &file(&path));
        assert_eq!(found.path(), None);
        let copy = loader.raw_file(&found).unwrap();
        assert!(copy.starts_with(host.cache()));
        assert_eq!(fs::read(copy).unwrap(), raw);
    }
}

/// Check that an ELF file of another kernel is refused, whether it has BTF or not, and that the walk goes on after
/// it.
#[test]
fn elf_of_another_kernel() {
    let host = Host::new();
    for btf in [None, Some(kernel_btf(16))] {
        host.write(&format!("boot/vmlinux-{RELEASE}"), &elf(&host, Some(OTHER_BUILD_ID), btf.as_deref(), 64));
        let error = host.loader(&[]).get().unwrap_err();
        assert_eq!(reasons(&error), ["wrong-kernel"]);
        assert_eq!(error.class(), Class::Refused);
        let text = error.to_string();
        assert!(text.contains(BUILD_ID) && text.contains(OTHER_BUILD_ID), "{text}");
    }
    let right = elf(&host, Some(BUILD_ID), Some(&kernel_btf(3)), 64);
    host.write(&format!("usr/lib/debug/boot/vmlinux-{RELEASE}"), &right);
    let found = host.loader(&[]).get().unwrap();
    assert_eq!(found.btf(), kernel_btf(3));
    assert_eq!(found.attempts().iter().filter(|attempt| attempt.reason.class() == Class::Refused).count(), 1);
}

/// Check that an ELF file without build-id is a match by name, and so is one on a kernel that does not tell its own.
#[test]
fn elf_without_build_id() {
    let host = Host::new();
    host.write(&format!("boot/vmlinux-{RELEASE}"), &elf(&host, None, Some(&kernel_btf(16)), 64));
    assert_eq!(host.loader(&[]).get().unwrap().identity(), Identity::ByName);
    let host = Host::without_build_id();
    host.write(
        &format!("boot/vmlinux-{RELEASE}"),
        &elf(&host, Some(OTHER_BUILD_ID), Some(&kernel_btf(16)), 64),
    );
    assert_eq!(host.loader(&[]).get().unwrap().identity(), Identity::ByName);
}

/// Check that a caller who insists on an exact match does not get a raw file.
#[test]
fn exact_only() {
    let host = Host::new();
    host.write(&format!("boot/vmlinux-{RELEASE}"), &kernel_btf(16));
    let mut settings = host.settings(&[]);
    settings.exact_only = true;
    let error = btf_loader::Loader::new(settings).get().unwrap_err();
    assert_eq!(reasons(&error), ["not-exact"]);
    assert_eq!(error.class(), Class::NotFound);
}

/// Check that files which are no BTF of such a kernel are refused, each for its reason.
#[test]
fn unfit_files() {
    let host = Host::new();
    let valid = elf(&host, Some(BUILD_ID), Some(&kernel_btf(16)), 64);
    let (little, big) = (Endian::Little, Endian::Big);
    let swapped = if Endian::NATIVE == little { big } else { little };
    let mut endless = kernel_btf(16);
    let last = endless.len() - 1;
    endless[last] = b'x';
    for (what, bytes, reason) in [
        ("empty", Vec::new(), "not-btf"),
        ("text", b"no BTF at all".to_vec(), "not-btf"),
        ("cut short", kernel_btf(16)[..60].to_vec(), "not-btf"),
        ("strings without end", endless, "not-btf"),
        ("no kernel", struct_btf("sk_buff", 16, Endian::NATIVE, 8), "not-btf"),
        ("other byte order", kernel_btf_of(16, swapped, 8), "wrong-kernel"),
        ("32 bits", kernel_btf_of(16, Endian::NATIVE, 4), "wrong-kernel"),
        ("ELF magic only", b"\x7fELF".to_vec(), "not-btf"),
        ("ELF header only", valid[..64].to_vec(), "not-btf"),
        ("ELF cut short", valid[..valid.len() / 2].to_vec(), "not-btf"),
        ("ELF without BTF", elf(&host, Some(BUILD_ID), None, 64), "no-btf-section"),
        ("ELF with other BTF", elf(&host, Some(BUILD_ID), Some(b"rubbish"), 64), "not-btf"),
    ] {
        host.write(&format!("boot/vmlinux-{RELEASE}"), &bytes);
        assert_eq!(reasons(&host.loader(&[]).get().unwrap_err()), [reason], "{what}");
    }
}

/// Check that every byte of an ELF file may be wrong without a panic, and that one of the build-id never goes
/// unnoticed.
#[test]
fn elf_with_any_wrong_byte() {
    let host = Host::new();
    let raw = kernel_btf(1);
    let valid = elf(&host, Some(BUILD_ID), Some(&raw), 32);
    let host_id: btf_loader::BuildId = BUILD_ID.parse().unwrap();
    for at in 0..valid.len() {
        let mut bytes = valid.clone();
        bytes[at] ^= 0xff;
        host.write(&format!("boot/vmlinux-{RELEASE}"), &bytes);
        if let Ok(found) = host.loader(&[]).get() {
            // A changed name in the BTF is still BTF. A damaged note makes it a match by name.
            let id = host_id.as_bytes();
            let intact = bytes.windows(id.len()).any(|window| window == id);
            assert!(intact || found.identity() == Identity::ByName, "byte {at}");
        }
    }
}

/// Check that files over the size limit are refused without being read, as raw BTF and as a section.
#[test]
fn too_large() {
    let host = Host::new();
    let raw = kernel_btf(16);
    let mut settings = host.settings(&[]);
    settings.max_size = raw.len() - 1;
    let loader = btf_loader::Loader::new(settings);
    for bytes in [raw.clone(), elf(&host, Some(BUILD_ID), Some(&raw), 64)] {
        host.write(&format!("boot/vmlinux-{RELEASE}"), &bytes);
        let error = loader.get().unwrap_err();
        assert_eq!(reasons(&error), ["too-large"]);
        assert_eq!(error.class(), Class::Refused);
    }
}

/// Check that a directory or FIFO in the place of a file neither blocks nor ends the walk.
#[test]
fn no_regular_file() {
    let host = Host::new();
    fs::create_dir_all(host.root().join(format!("boot/vmlinux-{RELEASE}"))).unwrap();
    let modules = host.root().join(format!("lib/modules/{RELEASE}"));
    fs::create_dir_all(&modules).unwrap();
    run(Command::new("mkfifo").arg(modules.join(format!("vmlinux-{RELEASE}"))));
    host.write(&format!("usr/lib/debug/boot/vmlinux-{RELEASE}"), &kernel_btf(16));
    let found = host.loader(&[]).get().unwrap();
    assert_eq!(found.btf(), kernel_btf(16));
}

/// Check that another kernel than the running one is not looked for in this machine's files.
#[test]
fn another_kernel_is_not_here() {
    let host = Host::new();
    host.write("sys/kernel/btf/vmlinux", &kernel_btf(16));
    host.write(&format!("boot/vmlinux-{RELEASE}"), &kernel_btf(16));
    let kernel = btf_loader::Kernel::with_key(KEY.parse().unwrap());
    let error = host.loader(&[]).find(&kernel).unwrap_err();
    assert_eq!(reasons(&error), [] as [&str; 0]);
    assert_eq!(error.class(), Class::NotFound);
}

/// Check the machine's description: notes that make no sense are an error that names the file, missing files are not.
#[test]
fn machine() {
    let host = Host::new();
    let notes = host.write("sys/kernel/notes", &[1; 30]);
    let error = host.loader(&[]).get().unwrap_err();
    assert!(matches!(&error, btf_loader::Error::Machine { path, .. } if *path == notes), "{error}");

    let empty = PathBuf::from("/nonexistent");
    let kernel = btf_loader::Kernel::running(&empty).unwrap();
    assert_eq!(kernel.build_id(), None);
    assert!(kernel.keys().is_empty());
    assert!(kernel.release().is_some_and(|release| !release.is_empty()), "uname knows");
}
