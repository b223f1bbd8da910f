//! Packages that are cut off, damaged, or made to use up memory and time: a clear error each, and never a panic.

mod deb;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use btf_archive::Digest;
use btfgen::elf::ReadAt as _;
use btfgen::package::{self, Error, Kernel, Options};
use deb::{Deb, VMLINUX, ar, members};
use proptest::prelude::*;

const RELEASE: &str = "6.1.0-1-686-pae";

/// One package of each compression.
static PACKAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    ["-Zxz", "-Zzstd", "-Zgzip", "-Znone"]
        .map(|compression| Deb::debug(RELEASE, &VMLINUX).compress(&[compression]).build())
        .to_vec()
});

/// Two threads, and the whole package: every layer is read to its end.
fn read(package: &[u8]) -> Result<Kernel, Error> {
    package::read(package, &Options { threads: 2, whole: true, ..Options::default() })
}

/// vmlinux as it was found.
fn content(kernel: &Kernel) -> Vec<u8> {
    kernel.file.read_at(0, usize::try_from(kernel.file.len()).unwrap()).unwrap().into_owned()
}

/// A package with this tar as its data, and a good control file.
fn with_data(name: &str, data: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("good.deb");
    std::fs::write(&path, &PACKAGES[0]).unwrap();
    let good = members(&path);
    let control = good.iter().find(|(name, _)| name.starts_with("control")).unwrap();
    ar(&[("debian-binary", b"2.0\n"), (&control.0, &control.1), (name, data)])
}

/// What a program writes when it is given `input`.
fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    let mut child =
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(program);
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap().stdout
    })
}

/// The block of a tar archive that announces a member.
fn tar_header(path: &str, size: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..path.len()].copy_from_slice(path.as_bytes());
    header[124..124 + size.len()].copy_from_slice(size);
    header[148..157].copy_from_slice(b"        0");
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Check that the packages that the other tests damage are good.
#[test]
fn undamaged() {
    for package in &*PACKAGES {
        let kernel = read(package).unwrap();
        assert!(content(&kernel) == *VMLINUX);
        assert_eq!(kernel.sha256, Some(Digest::of(package)));
        assert_eq!(kernel.bytes_read, package.len() as u64);
    }
}

proptest! {
    /// Check that a package that is cut off anywhere is an error that says where, within the bytes there are.
    #[test]
    fn cut_off(number in 0..4_usize, position: prop::sample::Index) {
        let package = &PACKAGES[number];
        let cut = position.index(package.len());
        match read(&package[..cut]) {
            Err(Error::Truncated { offset, within }) => {
                // Of what is unpacked, more may have come out than went in.
                prop_assert!(offset <= cut as u64 || within.contains("unpacked"), "{cut}: {within}, {offset}");
            }
            Err(Error::Malformed { offset, reason, .. }) => {
                prop_assert!(offset <= cut as u64, "{cut}: {offset} {reason}");
                prop_assert!(reason.contains("empty") || reason.contains("begin") || reason.contains("without a member"));
            }
            other => prop_assert!(false, "{cut}: {other:?}"),
        }
    }

    /// Check that damaged bytes never panic, and that under xz they are noticed wherever they are in the data.
    #[test]
    fn damaged(number in 0..4_usize, position: prop::sample::Index, change in 1..=255_u8) {
        let mut package = PACKAGES[number].clone();
        let at = position.index(package.len());
        package[at] ^= change;
        let result = read(&package);
        let data = package.windows(8).position(|bytes| bytes == b"data.tar").unwrap_or(package.len()) + 60;
        if number == 0 && at >= data {
            // Only the padding after an odd member may be anything.
            prop_assert!(result.is_err() || at == package.len() - 1, "{at} of {}", package.len());
        }
        if let Ok(kernel) = result {
            prop_assert!(kernel.file.len() <= VMLINUX.len() as u64 * 2);
        }
    }
}

/// Check that the command leaves no file and says file and offset when a package is cut off.
#[test]
fn cut_off_command() {
    let folder = tempfile::tempdir().unwrap();
    let package = &PACKAGES[0];
    std::fs::write(folder.path().join("cut.deb"), &package[..package.len() / 2]).unwrap();
    let mut command = assert_cmd::Command::cargo_bin("btfgen").unwrap();
    let output = command.current_dir(&folder).args(["package", "cut.deb", "-o", "out.btf"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    let expected = format!("btfgen: cut.deb: cut off at byte {}, within data.tar.xz\n", package.len() / 2);
    assert_eq!(message, expected);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

/// Check that a package that is cut off behind its vmlinux is refused where its length is known, before all of it was read.
#[test]
fn cut_off_behind_vmlinux() {
    let noise: Vec<u8> = (0..1_u32 << 20).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let package =
        Deb::debug(RELEASE, &VMLINUX).file("usr/lib/debug/lib/noise", &noise).compress(&["-Znone"]).build();
    let cut = &package[..3 << 20];
    assert!(package::read(cut, &Options::default()).is_ok());
    let options = Options { length: Some(cut.len() as u64), ..Options::default() };
    let error = package::read(cut, &options).unwrap_err();
    assert!(matches!(error, Error::Truncated { offset, .. } if offset == 3 << 20), "{error}");
}

/// Check that few bytes that unpack to very many end in an error early, in every compression.
#[test]
fn bombs() {
    for compression in [&["-Zzstd", "-z1"][..], &["-Zgzip", "-z9"], &["-Zxz", "-z0"]] {
        // Before vmlinux, so that it has to be passed over.
        let package = Deb::debug(RELEASE, &VMLINUX)
            .zeros("usr/lib/debug/boot/A", 320 << 20)
            .compress(compression)
            .build();
        assert!(package.len() < 4 << 20);
        let error = read(&package).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
        assert!(error.to_string().contains("400 times"), "{error}");
    }
}

/// Check that a vmlinux that is too large, or that its packer claims to be, is refused before it is read.
#[test]
fn vmlinux_too_large() {
    let claim = [
        &tar_header("usr/lib/debug/boot/vmlinux-6.1.0", b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")[..],
        &[0; 1024],
    ];
    let error = read(&with_data("data.tar", &claim.concat())).unwrap_err();
    assert!(matches!(&error, Error::Malformed { .. } | Error::Limit { .. }), "{error}");
    let claim = [&tar_header("usr/lib/debug/boot/vmlinux-6.1.0", b"77777777777")[..], &[0; 1024]].concat();
    let error = read(&with_data("data.tar", &claim)).unwrap_err();
    assert!(
        matches!(&error, Error::Limit { part, offset: 0, .. } if part.contains("vmlinux-6.1.0")),
        "{error}"
    );
    // 4 GiB to the byte are allowed, and are not there.
    let claim = [&tar_header("usr/lib/debug/boot/vmlinux-6.1.0", b"40000000000")[..], &[0; 1024]].concat();
    assert!(matches!(read(&with_data("data.tar", &claim)).unwrap_err(), Error::Truncated { .. }));

    let noise: Vec<u8> =
        (0..3_u32 << 18).flat_map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i).to_le_bytes()).collect();
    let package = Deb::debug(RELEASE, &noise).compress(&["-Znone"]).build();
    let error = package::read(&package[..], &Options { memory: 1 << 20, ..Options::default() }).unwrap_err();
    assert!(error.to_string().contains("1 MiB even compressed"), "{error}");
}

/// Check that a path that leaves the package is an error, even before vmlinux.
#[test]
fn paths_that_leave() {
    let data = [&tar_header("./usr/../../etc/passwd", b"0")[..], &[0; 1024]].concat();
    for (name, data) in [
        ("data.tar", data.clone()),
        ("data.tar.gz", pipe("gzip", &["-c"], &data)),
        ("data.tar.xz", pipe("xz", &["-c"], &data)),
    ] {
        let error = read(&with_data(name, &data)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "the unpacked {name}, byte 0: the path ./usr/../../etc/passwd leaves the package with `..`"
            )
        );
    }
}

/// Check that very many members end in an error.
#[test]
fn many_members() {
    let members = tar_header("x", b"0").repeat(100_001);
    let error = read(&with_data("data.tar.gz", &pipe("gzip", &["-1c"], &members))).unwrap_err();
    assert!(error.to_string().contains("more than 100000 members"), "{error}");

    let many: Vec<(&str, &[u8])> =
        std::iter::once(("debian-binary", &b"2.0\n"[..])).chain([("_x", &b""[..]); 1000]).collect();
    assert!(read(&ar(&many)).unwrap_err().to_string().contains("more than 100 members"));
}

/// Check that what is not built as a package must be is called by its fault.
#[test]
fn wrong_structure() {
    let (_, control) = {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("good.deb");
        std::fs::write(&path, &PACKAGES[3]).unwrap();
        members(&path).swap_remove(1)
    };
    let data = [0; 1024];
    let format = ("debian-binary", &b"2.0\n"[..]);
    type Members<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(Members<'_>, &str); 8] = [
        (&[], "without a member data.tar"),
        (&[format], "without a member data.tar"),
        (&[("control.tar", &control), format], "first member is not debian-binary"),
        (&[("debian-binary", b"3.0\n")], "the package format is 3.0\\n, not 2.0"),
        (&[format, ("data.tar", &data)], "the data comes before the control file"),
        (&[format, ("control.tar", &data)], "it has no control file"),
        (&[format, ("control.tar", &control), ("data.tar.br", b"BZh9")], "compression br is not supported"),
        (
            &[format, ("control.tar", &control), ("data.tar.zst", b"\xfd7zXZ\0..")],
            "its name says zstd, its first bytes say xz",
        ),
    ];
    for (members, expected) in cases {
        let error = read(&ar(members)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // Members that dpkg passes over are passed over here.
    let error =
        read(&ar(&[format, ("_extra", b"odd"), ("control.tar", &control), ("data.tar", &data)])).unwrap_err();
    assert!(matches!(error, Error::NoKernel { .. }), "{error}");
}
