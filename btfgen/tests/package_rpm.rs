//! RPM packages built by rpmbuild: every payload compression, which kernel, signatures; and packages that are cut off, damaged or bombs.

mod bootable;
mod deb;
mod debian;
mod loopback;
mod rpmbuild;

use std::sync::{Arc, LazyLock};

use bootable::BTF;
use btf_archive::{Digest, Trust};
use btfgen::elf::ReadAt as _;
use btfgen::fetch::{Client, Options as FetchOptions};
use btfgen::package::{self, Aim, Error, Kernel, Options};
use btfgen::repo::offer::{Expected, OfferedKernel, Package, Places, Role};
use btfgen::repo::version::VersionOrder;
use btfgen::route::{self, Fetched, Verify};
use deb::{OTHER_VMLINUX, VMLINUX};
use debian::Gpg;
use loopback::{Answer, Server};
use proptest::prelude::*;
use rpmbuild::Rpm;

const RELEASE: &str = "6.1.2-3.test.x86_64";

fn read(package: &[u8]) -> Result<Kernel, Error> {
    package::read(package, &Options { threads: 2, whole: true, ..Options::default() })
}

fn content(kernel: &Kernel) -> Vec<u8> {
    kernel.file.read_at(0, usize::try_from(kernel.file.len()).unwrap()).unwrap().into_owned()
}

/// Check every compression that rpmbuild knows, and what is told of the package.
#[test]
fn every_compression() {
    for payload in ["w9.gzdio", "w19.zstdio", "w7.xzdio", "w7T2.xzdio", "w9.bzdio", "w9.lzdio", "w.ufdio"] {
        let package = Rpm::debug(RELEASE, &VMLINUX).payload(payload).build();
        let kernel = read(&package).unwrap_or_else(|error| panic!("{payload}: {error}"));
        assert!(content(&kernel) == *VMLINUX, "{payload}");
        assert_eq!(kernel.release, RELEASE);
        assert_eq!(kernel.path, format!("usr/lib/debug/lib/modules/{RELEASE}/vmlinux"));
        assert_eq!(kernel.identity.to_string(), "kernel-debuginfo 1:6.1.2-3.test (x86_64)");
        assert_eq!(kernel.identity.synopsis, "Debug information for a test");
        assert_eq!(kernel.sha256, Some(Digest::of(&package)));
        assert_eq!(kernel.bytes_read, package.len() as u64);
    }
}

/// Check that reading ends with vmlinux, without a look at what follows: the header has told that there is no other.
#[test]
fn ends_with_vmlinux() {
    let noise: Vec<u8> = (0..2_u32 << 20).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let package = Rpm::debug(RELEASE, &VMLINUX).file("usr/share/noise", &noise).payload("w.ufdio").build();
    let kernel = package::read(&package[..], &Options::default()).unwrap();
    assert!(content(&kernel) == *VMLINUX);
    assert!(kernel.bytes_read < 1 << 20, "{}", kernel.bytes_read);
    assert_eq!(kernel.sha256, None);
}

/// Check that packages without the kernel wanted are called what they are, before their payload is read.
#[test]
fn which_kernel() {
    let two = Rpm::new("kernels")
        .file("usr/lib/debug/lib/modules/6.1.1/vmlinux", &OTHER_VMLINUX)
        .file("usr/lib/debug/lib/modules/6.1.2/vmlinux", &VMLINUX)
        .build();
    let error = read(&two).unwrap_err();
    assert!(error.to_string().contains("holds 2 kernels, choose one with --kernel: 6.1.1, 6.1.2"), "{error}");
    let of = |release: &str| Options { release: Some(release.into()), ..Options::default() };
    assert!(content(&package::read(&two[..], &of("6.1.2")).unwrap()) == *VMLINUX);
    assert!(content(&package::read(&two[..], &of("6.1.1")).unwrap()) == *OTHER_VMLINUX);
    let error = package::read(&two[..], &of("6.1.3")).unwrap_err();
    assert!(matches!(&error, Error::OtherKernel { found, .. } if found.len() == 2), "{error}");

    let noise: Vec<u8> = (0..1_u32 << 20).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let none = Rpm::new("hello").file("usr/bin/hello", &noise).payload("w.ufdio").build();
    let mut rest = &none[..];
    let error = package::read(&mut rest, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("it is \"Debug information for a test\""), "{error}");
    assert!(rest.len() > none.len() / 2, "the payload was read");
}

/// Check the places of SUSE, and a kernel that boots with its configuration.
#[test]
fn other_places() {
    let package = Rpm::new("kernel-default-debuginfo")
        .file("usr/lib/debug/boot/vmlinux-5.14-default.debug", &VMLINUX)
        .build();
    assert_eq!(read(&package).unwrap().release, "5.14-default");
    let image = bootable::bzimage(&bootable::compress("xz", &["--check=crc32"], &bootable::VMLINUX));
    let package = Rpm::new("kernel-core")
        .file("lib/modules/6.1.2/config", b"CONFIG_DEBUG_INFO_BTF=y\n")
        .file("lib/modules/6.1.2/vmlinuz", &image)
        .build();
    let kernel = read(&package).unwrap();
    assert!(kernel.is_image && content(&kernel) == image);
    let options = Options { aim: Aim::Vmlinux, ..Options::default() };
    let error = package::read(&package[..], &options).unwrap_err();
    assert!(error.to_string().contains("it is the bootable image of 6.1.2"), "{error}");
}

/// Check that hard links, of which the payload has the content once, do not confuse.
#[test]
fn hard_links() {
    let path = format!("usr/lib/debug/lib/modules/{RELEASE}/vmlinux");
    let package = Rpm::new("kernel-debuginfo")
        .file("usr/share/first", b"some other content")
        .hard_link("usr/share/second", "usr/share/first")
        .file(&path, &VMLINUX)
        .build();
    assert!(content(&read(&package).unwrap()) == *VMLINUX);
}

/// A kernel on offer whose only package is on a server.
fn offered(server: &Server, package: &[u8], keys: Option<std::path::PathBuf>) -> OfferedKernel {
    let package = Package {
        role: Role::Debug,
        name: "kernel-debuginfo".into(),
        version: "6.1.2-3.test".into(),
        url: server.url("/kernel-debuginfo.rpm").parse().unwrap(),
        size: Some(package.len() as u64),
        checksum: None,
        trust: Trust::None,
        signature_keys: keys,
    };
    OfferedKernel {
        key: btf_archive::Key::new("fedora", "37", "x86_64", RELEASE).unwrap(),
        flavour: String::new(),
        source: "kernel".into(),
        packages: vec![package],
        versions: VersionOrder::Rpm,
        embeds_btf: Expected::No,
        origin: "a test".into(),
        places: Places::default(),
        client_certificate: None,
    }
}

fn fetch(kernel: &OfferedKernel, verify: Verify) -> Result<Fetched, route::Failed> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client::new(runtime.handle().clone(), FetchOptions::default()).unwrap();
    route::fetch(&client, kernel, &route::Options { verify, ..route::Options::default() })
}

/// Check that of a kernel whose debug information `dwz` shares with another file (SUSE) the shared part is found in the package, and that
/// it is said where it is missing or another's.
#[test]
fn shared_debug_information() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let written = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes).unwrap();
    let dwz = |alt: &str| {
        written("vmlinux", &VMLINUX);
        written("other", &OTHER_VMLINUX);
        let mut command = std::process::Command::new("dwz");
        deb::run(command.current_dir(folder.path()).args(["-r", "-m", alt, "vmlinux", "other"]), "dwz");
        std::fs::read(path("vmlinux")).unwrap()
    };
    let vmlinux = dwz("kernel");
    let expected = btfgen::vmlinux::extract(&VMLINUX.as_slice(), btfgen::vmlinux::From::Dwarf, 1).unwrap();
    let try_with = |shared: &[(&str, &[u8])]| {
        let package = Rpm::new("kernel-debuginfo");
        let package = shared.iter().fold(package, |package, (name, bytes)| {
            package.file(&format!("usr/lib/debug/.dwz/{name}"), bytes)
        });
        let package = package.file(&format!("usr/lib/debug/boot/vmlinux-{RELEASE}.debug"), &vmlinux).build();
        let server = Server::of(package.clone());
        fetch(&offered(&server, &package, None), Verify::Sparse)
    };
    let shared = std::fs::read(path("kernel")).unwrap();
    let fetched = try_with(&[("kernel", &shared), ("perf", &VMLINUX)]).unwrap();
    assert!(fetched.btf == expected.btf);
    assert!(fetched.explanation.to_string().contains("shares with other files"), "{}", fetched.explanation);
    for wrong in [&[][..], &[("kernel", &VMLINUX[..])]] {
        let failed = try_with(wrong).unwrap_err().to_string();
        assert!(failed.contains("supplementary file"), "{failed}");
    }
}

/// Check that a package's own signature by a pinned key makes it trusted where its payload was read to its end, and that
/// a package without one, or by another key, or with another header, is refused.
#[test]
fn signatures() {
    let noise: Vec<u8> = (0..1_u32 << 20).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let build = || Rpm::debug(RELEASE, &VMLINUX).file("usr/share/noise", &noise).payload("w.ufdio");
    let (good, other) = (Gpg::new(), Gpg::new());
    good.key("Good <good@example.org>");
    other.key("Other <other@example.org>");
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.gpg");
    good.export(&keys, true);

    let signed = build().build_signed(good.home(), "good@example.org");
    let server = Server::of(signed.clone());
    let fetched = fetch(&offered(&server, &signed, Some(keys.clone())), Verify::Full).unwrap();
    assert_eq!(fetched.trust, Trust::SignedPackage);
    assert_eq!(fetched.sha256, Some(Digest::of(&signed)));
    // Not read to its end: the signature is good, the payload is not known.
    let fetched = fetch(&offered(&server, &signed, Some(keys.clone())), Verify::Sparse).unwrap();
    assert_eq!(fetched.trust, Trust::None);
    // Without a pinned key nothing is claimed.
    assert_eq!(fetch(&offered(&server, &signed, None), Verify::Full).unwrap().trust, Trust::None);

    let by_other = build().build_signed(other.home(), "other@example.org");
    let unsigned = build().build();
    let mut changed = signed.clone();
    // In the payload: the signature is of the header, whose digest of the payload is wrong then.
    let at = changed.len() - 500;
    changed[at] ^= 1;
    for (package, word) in
        [(by_other, "not in keyring"), (unsigned, "carries no signature"), (changed, "the header says")]
    {
        let server = Server::of(package.clone());
        let failed = fetch(&offered(&server, &package, Some(keys.clone())), Verify::Full).unwrap_err();
        assert!(failed.to_string().contains(word), "{failed}");
        assert_eq!(failed.error.is_refusal(), word != "the header says");
    }
}

/// Check the command on an RPM package behind a URL, image and modules package in one.
#[test]
fn command() {
    let image = bootable::zboot("gzip", &bootable::compress("gzip", &["-n"], &bootable::raw(&BTF)));
    let package = Rpm::new("kernel-core")
        .file("lib/modules/6.1.2/config", b"CONFIG_DEBUG_INFO_BTF=y\n")
        .file("lib/modules/6.1.2/vmlinuz", &image)
        .build();
    let package = Arc::new(package);
    let server = Server::new(move |_| Answer { body: Arc::clone(&package), ..Answer::default() });
    let folder = tempfile::tempdir().unwrap();
    let output = assert_cmd::Command::cargo_bin("btfgen")
        .unwrap()
        .current_dir(&folder)
        .args([
            "package",
            &server.url("/kernel-core.rpm"),
            "-o",
            "out.btf",
            "--config",
            "config",
            "--json",
            "--explain",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read(folder.path().join("out.btf")).unwrap() == *BTF);
    assert_eq!(std::fs::read(folder.path().join("config")).unwrap(), b"CONFIG_DEBUG_INFO_BTF=y\n");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["release"], "6.1.2");
    assert_eq!(json["explanation"][0]["taken"], true);
    assert_eq!(json["explanation"][0]["requests"], 1);
}

static PACKAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    ["w3.zstdio", "w1.xzdio", "w9.gzdio", "w.ufdio"]
        .map(|payload| Rpm::debug(RELEASE, &VMLINUX).payload(payload).build())
        .to_vec()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Check that a package that is cut off anywhere is an error that says so, and that damage never panics; in the header it is always found.
    #[test]
    fn cut_off_and_damaged(number in 0..4_usize, position: prop::sample::Index, change in 1..=255_u8) {
        let package = &PACKAGES[number];
        let at = position.index(package.len());
        let error = read(&package[..at]).unwrap_err();
        prop_assert!(matches!(error, Error::Truncated { .. } | Error::Malformed { .. }), "{at}: {error}");
        let mut damaged = package.clone();
        damaged[at] ^= change;
        let result = read(&damaged);
        // Behind the signature's own header, which has room for signatures to come.
        let header = package.windows(4).rposition(|bytes| bytes == b"\x8e\xad\xe8\x01").unwrap();
        if at >= header {
            // The header and the payload have digests.
            prop_assert!(result.is_err(), "{at} of {}", package.len());
        }
    }
}

/// Check that headers which claim more than there is, and payloads that expand without end, end in an error early.
#[test]
fn bombs() {
    let good = &PACKAGES[0];
    for (entries, data) in [(1_u32 << 31, 1_u32 << 31), (u32::MAX, 0), (0xffff, 64 << 20), (0, 1 << 28)] {
        let mut package = good.clone();
        package[104..108].copy_from_slice(&entries.to_be_bytes());
        package[108..112].copy_from_slice(&data.to_be_bytes());
        let error = read(&package).unwrap_err();
        assert!(matches!(error, Error::Limit { .. } | Error::Truncated { .. }), "{error}");
        assert!(error.to_string().contains("the signature header"), "{error}");
    }
    for payload in ["w1.zstdio", "w9.gzdio"] {
        let package = Rpm::new("kernel-debuginfo")
            .zeros("usr/lib/debug/boot/A", 320 << 20)
            .file("usr/lib/debug/boot/vmlinux-6.1", &VMLINUX)
            .payload(payload)
            .build();
        let error = read(&package).unwrap_err();
        assert!(error.to_string().contains("400 times"), "{error}");
    }
}
