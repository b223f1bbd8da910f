//! `btfgen package` over packages built by dpkg-deb: where vmlinux is found, which one, how little is read.

mod deb;
mod loopback;

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use assert_cmd::Command;
use btf::Btf;
use btfgen::vmlinux::{self, From};
use deb::{Deb, OTHER_VMLINUX, VMLINUX};
use loopback::{Answer, Server};
use serde_json::Value;
use tempfile::TempDir;

const RELEASE: &str = "6.1.0-1-686-pae";

/// A place for a package and its output, and the command over them.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn package(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("kernel.deb");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, package: &str, arguments: &[&str]) -> Output {
        let mut command = Command::cargo_bin("btfgen").unwrap();
        command
            .current_dir(&self.folder)
            .args(["package", package, "-o", "out.btf"])
            .args(arguments)
            .output()
            .unwrap()
    }

    /// The BTF written, and what was printed as JSON.
    fn succeed(&self, package: &str, arguments: &[&str]) -> (Vec<u8>, Value) {
        let output = self.run(package, &[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let btf = std::fs::read(self.folder.path().join("out.btf")).unwrap();
        (btf, serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The message on stderr. Checks the exit code, that stdout is empty, and that no file is left.
    fn fail(&self, package: &str, arguments: &[&str], code: i32) -> String {
        let before = self.files();
        let output = self.run(package, arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(output.stdout.is_empty(), "{message}");
        assert_eq!(self.files(), before);
        message
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            self.folder.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

/// The BTF that the kernel gives without a package around it.
fn btf_of(vmlinux: &[u8]) -> Vec<u8> {
    let extracted = vmlinux::extract(&vmlinux, From::Auto, 1).unwrap();
    assert!(vmlinux::is_plausible_kernel(&Btf::parse(&extracted.btf).unwrap()));
    extracted.btf
}

/// Check that a package gives the same BTF as its vmlinux alone, whatever it is compressed with.
#[test]
fn every_compression() {
    let expected = btf_of(&VMLINUX);
    for compression in [
        &["-Zxz"][..],
        &["-Zxz", "-z0"],
        &["-Zzstd"],
        &["-Zgzip"],
        &["-Znone"],
        &["-Zxz", "--no-uniform-compression"],
    ] {
        let case = Case::new();
        case.package(&Deb::debug(RELEASE, &VMLINUX).compress(compression).build());
        let (btf, json) = case.succeed("kernel.deb", &[]);
        assert!(btf == expected, "{compression:?}");
        assert_eq!(json["release"], RELEASE);
        assert_eq!(json["package"]["version"], "6.1.2-1");
    }
}

/// Check what is told about a package, for programs and for people.
#[test]
fn what_is_told() {
    let case = Case::new();
    case.package(&Deb::debug(RELEASE, &VMLINUX).build());
    let (btf, json) = case.succeed("kernel.deb", &[]);
    assert_eq!(json["bytes"], btf.len());
    assert_eq!(json["build_id"].as_str().unwrap().len(), 40);
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    insta::assert_snapshot!(names.join(" "));
    insta::assert_json_snapshot!(json["package"]);
    let mut provenance = json["provenance"].clone();
    provenance["generator"] = "btfgen VERSION".into();
    provenance["sha256"] = "[sha256]".into();
    insta::assert_json_snapshot!(provenance);
    let output = case.run("kernel.deb", &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let head = format!("linux-image-{RELEASE}-dbg 6.1.2-1 (i386): usr/lib/debug/boot/vmlinux-{RELEASE}, ");
    assert!(text.starts_with(&head) && text.contains("out.btf: "), "{text}");
}

/// Check the newer places of vmlinux, where modules come first and links point to it.
#[test]
fn newer_layouts() {
    for folder in ["usr/lib/debug/lib/modules", "usr/lib/debug/usr/lib/modules"] {
        let package = Deb::new(&format!("linux-image-{RELEASE}-dbg"))
            .file(&format!("{folder}/{RELEASE}/kernel/fs/ext4.ko"), &OTHER_VMLINUX)
            .file(&format!("{folder}/{RELEASE}/vmlinux"), &VMLINUX)
            .link(&format!("usr/lib/debug/boot/vmlinux-{RELEASE}"), "../lib/modules/x/vmlinux")
            .link("usr/lib/debug/boot/vmlinux-another", "../lib/modules/y/vmlinux");
        let case = Case::new();
        case.package(&package.build());
        let (btf, json) = case.succeed("kernel.deb", &[]);
        assert!(btf == btf_of(&VMLINUX));
        assert_eq!(json["path"], format!("{folder}/{RELEASE}/vmlinux"));
    }
}

/// Check that of several kernels none is taken by chance: they are listed, and `--kernel` chooses.
#[test]
fn several_kernels() {
    for name in ["linux-image-6.1.0-1-686-dbg", "all-kernels"] {
        let package = Deb::new(name)
            .file("usr/lib/debug/boot/vmlinux-6.1.0-1-686", &OTHER_VMLINUX)
            .file("usr/lib/debug/boot/vmlinux-6.1.0-1-686-pae", &VMLINUX)
            .build();
        let case = Case::new();
        case.package(&package);
        let message = case.fail("kernel.deb", &[], 1);
        assert_eq!(
            message,
            format!(
                "btfgen: kernel.deb: {name} 6.1.2-1 (i386) holds 2 kernels, choose one with --kernel: \
                 6.1.0-1-686, 6.1.0-1-686-pae\n"
            )
        );
        assert!(case.succeed("kernel.deb", &["--kernel", "6.1.0-1-686"]).0 == btf_of(&OTHER_VMLINUX));
        assert!(case.succeed("kernel.deb", &["--kernel", "6.1.0-1-686-pae"]).0 == btf_of(&VMLINUX));
        std::fs::remove_file(case.folder.path().join("out.btf")).unwrap();
        let message = case.fail("kernel.deb", &["--kernel", "6.1.0-1"], 3);
        assert!(
            message.ends_with("holds no kernel 6.1.0-1, only: 6.1.0-1-686, 6.1.0-1-686-pae\n"),
            "{message}"
        );
    }
}

/// Check that kernels far apart in a package that names none of them are all found before one is taken.
#[test]
fn several_kernels_far_apart() {
    let case = Case::new();
    case.package(
        &Deb::new("all-kernels")
            .file("usr/lib/debug/boot/vmlinux-6.1.0-1-686", &VMLINUX)
            .file("usr/lib/debug/lib/modules/6.1.0-2-686/vmlinux", &OTHER_VMLINUX)
            .build(),
    );
    assert!(case.fail("kernel.deb", &[], 1).contains("holds 2 kernels"));
}

/// Check that packages without vmlinux are called what they are.
#[test]
fn no_vmlinux() {
    let cases = [
        (
            Deb::new("linux-image-686-pae-dbg").file("usr/share/doc/linux-image-686-pae-dbg/copyright", b"-"),
            "it is a meta package",
        ),
        (
            Deb::new("linux-image-6.1.0-1-686").file("boot/vmlinuz-6.1.0-1-686", b"MZ"),
            "boot/vmlinuz-6.1.0-1-686: it has no BTF inside (raw); take the kernel's debug package",
        ),
        (Deb::new("hello").file("usr/bin/hello", b"\x7fELF"), "it is \"Debug symbols for a test\""),
    ];
    for (package, expected) in cases {
        let case = Case::new();
        case.package(&package.build());
        let message = case.fail("kernel.deb", &[], 1);
        assert!(message.contains(expected), "{message}");
    }
}

/// Check that a vmlinux that is no kernel names the package and the file in it.
#[test]
fn vmlinux_is_not_elf() {
    let case = Case::new();
    case.package(&Deb::debug(RELEASE, b"not an ELF file").build());
    let message = case.fail("kernel.deb", &[], 1);
    assert!(
        message.starts_with(&format!("btfgen: kernel.deb: usr/lib/debug/boot/vmlinux-{RELEASE}: ")),
        "{message}"
    );
}

/// Check that `--from embedded` is passed on: there is none here.
#[test]
fn from_embedded() {
    let case = Case::new();
    case.package(&Deb::debug(RELEASE, &VMLINUX).build());
    assert!(case.fail("kernel.deb", &["--from", "embedded"], 1).contains(".BTF"));
}

/// Check that files of other kinds, missing files and missing folders end in a message that says so.
#[test]
fn not_a_package() {
    let case = Case::new();
    for (bytes, word) in [
        (&b""[..], "empty"),
        (&VMLINUX, "ELF"),
        (b"\xed\xab\xee\xdb\x03\0\0\0", "cut off at byte 8, within the lead"),
        (b"%PDF-1.4\n", "not a package"),
    ] {
        case.package(bytes);
        let message = case.fail("kernel.deb", &[], 1);
        assert!(message.starts_with("btfgen: kernel.deb: ") && message.contains(word), "{message}");
    }
    assert!(
        case.fail("missing.deb", &[], 1).starts_with("btfgen: missing.deb: cannot be opened: No such file")
    );
    assert!(case.fail(".", &[], 1).contains("Is a directory"));
    assert!(case.fail("ftp://localhost/kernel.deb", &[], 1).contains("http"));
}

/// Check that the download stops after vmlinux, and that what was not read is not claimed to be verified.
#[test]
fn download_stops_early() {
    let mut noise = vec![0; 48 << 20];
    let mut state = 1_u64;
    for byte in &mut noise {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    let package = Deb::debug(RELEASE, &VMLINUX)
        .file(&format!("usr/lib/debug/lib/modules/{RELEASE}/kernel/fs/ext4.ko"), &noise)
        .compress(&["-Znone"])
        .build();
    let length = package.len() as u64;
    let server = Server::of(package);
    let url = server.url("/pool/kernel.deb");
    let (btf, json) = Case::new().succeed(&url, &[]);
    assert!(btf == btf_of(&VMLINUX));
    server.wait();
    assert!(server.sent() < length / 2, "{} of {length} bytes sent", server.sent());
    assert_eq!(json["package_bytes"], length);
    assert!(json["bytes_read"].as_u64().unwrap() < 2 << 20, "{json}");
    assert_eq!(json["provenance"]["url"], url);
    assert_eq!(json["provenance"]["trust"], "none");
    assert_eq!(json["provenance"]["sha256"], Value::Null);
}

/// Check that a small package that was read to its end has its hash recorded.
#[test]
fn whole_package_has_its_hash() {
    let package = Deb::new("some-kernel").file("usr/lib/debug/boot/vmlinux-6.1.0", &VMLINUX).build();
    let case = Case::new();
    case.package(&package);
    let (_, json) = case.succeed("kernel.deb", &[]);
    assert_eq!(json["provenance"]["sha256"], btf_archive::Digest::of(&package).to_string());
    assert_eq!(json["bytes_read"], package.len());
}

/// Check that a connection that breaks again and again still gives the right BTF.
#[test]
fn broken_connection() {
    let package = Arc::new(Deb::debug(RELEASE, &VMLINUX).compress(&["-Znone"]).build());
    let server = Server::new(move |_| Answer {
        body: Arc::clone(&package),
        headers: vec!["ETag: \"1\"".into()],
        cut_after: Some(30_000),
        ..Answer::default()
    });
    let (btf, _) = Case::new().succeed(&server.url("/kernel.deb"), &[]);
    assert!(btf == btf_of(&VMLINUX));
    assert!(server.requests().len() > 1);
}

/// Check that what a server refuses ends in a message without the URL's secrets, and that they are not recorded.
#[test]
fn secrets_in_urls() {
    let server = Server::of(Deb::debug(RELEASE, &VMLINUX).build());
    let case = Case::new();
    let secret =
        |server: &Server| server.url("/kernel.deb").replace("//", "//me:hunter2@") + "?token=hunter2";
    let (_, json) = case.succeed(&secret(&server), &[]);
    assert!(!json.to_string().contains("hunter2"), "{json}");
    std::fs::remove_file(case.folder.path().join("out.btf")).unwrap();
    let server = Server::new(|_| Answer { status: Some("404 Not Found"), ..Answer::default() });
    let message = case.fail(&secret(&server), &[], 1);
    assert!(
        message.contains("/kernel.deb: the server answered 404") && !message.contains("hunter2"),
        "{message}"
    );
}
