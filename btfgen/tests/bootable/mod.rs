//! Small kernels as they are booted: our own C with BTF by pahole, in the dresses that the kernel's build gives, compressed by the real tools.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use btfgen::elf::Image;

/// Large enough not to be taken for chance, and with a `task_struct`.
const SOURCE: &str = "
struct list_head { struct list_head *next, *prev; };
struct task_struct { int pid; char comm[16]; unsigned long long start_time; struct list_head tasks; };
struct task_struct init_task;
const unsigned int filler[40000] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
int _start(void) { return init_task.pid + filler[init_task.pid]; }
";

/// An ELF file with a build-id, DWARF and BTF.
pub static VMLINUX: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let (source, output) = (folder.path().join("vmlinux.c"), folder.path().join("vmlinux"));
    std::fs::write(&source, SOURCE).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(["-g", "-O1", "-static", "-nostdlib", "-no-pie", "-fno-pic", "-Wl,--build-id=sha1", "-o"]);
    run(gcc.arg(&output).arg(&source));
    run(Command::new("pahole").arg("-J").arg(&output));
    std::fs::read(output).unwrap()
});

/// Its section `.BTF`.
pub static BTF: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let data = VMLINUX.as_slice();
    let image = Image::parse(&data).unwrap();
    image.data_of(image.section_named(".BTF").unwrap(), 1 << 20).unwrap().into_owned()
});

/// Its build-id, in hexadecimal.
pub fn build_id() -> String {
    Image::parse(&VMLINUX.as_slice()).unwrap().build_id().unwrap().to_string()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{}: {error}; ci/install-tools installs it", command.get_program().display())
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a program writes when it is given `input`.
pub fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; ci/install-tools installs it"));
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A program that ends early is noticed by its status.
        scope.spawn(move || drop(stdin.write_all(input)));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}");
        output.stdout
    })
}

/// The compressions of a kernel's build: its commands in scripts/Makefile.lib.
pub const COMPRESSIONS: [(&str, &[&str]); 6] = [
    ("gzip", &["-n", "-9"]),
    ("xz", &["--check=crc32", "--x86", "--lzma2=dict=32MiB"]),
    ("zstd", &["-q", "-22", "--ultra"]),
    ("lz4", &["-l", "-9", "-"]),
    ("lzma", &["-9"]),
    ("bzip2", &["-9"]),
];

/// As the build compresses: behind what has no length of its own comes the unpacked length.
pub fn compress(program: &str, arguments: &[&str], content: &[u8]) -> Vec<u8> {
    let mut packed = pipe(program, arguments, content);
    if program != "gzip" {
        packed.extend((content.len() as u32).to_le_bytes());
    }
    packed
}

/// x86's boot sector and setup code, and the payload somewhere behind.
pub fn bzimage(payload: &[u8]) -> Vec<u8> {
    let sectors = 5_usize;
    let start = (sectors + 1) * 512;
    let mut image = vec![0x90; start + 700];
    image[0x1f1] = sectors as u8;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    image[0x248..0x24c].copy_from_slice(&700_u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend_from_slice(payload);
    image.extend_from_slice(&[0x90; 999]);
    image
}

/// An EFI program with a payload.
pub fn zboot(compression: &str, payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 4096];
    image[..8].copy_from_slice(b"MZ\0\0zimg");
    image[8..12].copy_from_slice(&4096_u32.to_le_bytes());
    image[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image[24..24 + compression.len()].copy_from_slice(compression.as_bytes());
    image.extend_from_slice(payload);
    image
}

/// A raw image: code, the notes, a vDSO, and BTF among it, nothing pointing to anything.
pub fn raw(btf: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 64];
    image[56..60].copy_from_slice(b"ARM\x64");
    image.resize(70_000, 0xd5);
    image.extend(note(&hex::decode(build_id()).unwrap()));
    image.resize(80_000, 0);
    image.extend_from_slice(&vdso());
    image.resize(image.len().next_multiple_of(4096), 0);
    // Bytes that begin like BTF.
    image.extend_from_slice(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0xff, 0xff, 0, 0]);
    image.resize(image.len().next_multiple_of(4096), 0);
    image.extend_from_slice(btf);
    image.resize(image.len() + 5000, 7);
    image
}

/// The note with a build-id.
pub fn note(id: &[u8]) -> Vec<u8> {
    [&4_u32.to_le_bytes()[..], &20_u32.to_le_bytes(), &3_u32.to_le_bytes(), b"GNU\0", id].concat()
}

/// A whole ELF file with a build-id of its own, aligned to its end.
pub fn vdso() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (source, output) = (folder.path().join("vdso.c"), folder.path().join("vdso.so"));
    std::fs::write(&source, "int vdso(void) { return 1; }").unwrap();
    run(Command::new("gcc")
        .args(["-shared", "-nostdlib", "-fPIC", "-Wl,--build-id=sha1", "-o"])
        .arg(&output)
        .arg(&source));
    std::fs::read(output).unwrap()
}
