//! Which way is taken to a kernel's BTF, what it costs, and how far it can be trusted.

mod bootable;
mod deb;
mod loopback;
mod offer;

use std::sync::LazyLock;

use bootable::{BTF, bzimage, compress};
use btf::Btf;
use btf_archive::{Digest, Source, Trust};
use btfgen::repo::offer::{Expected, Role};
use btfgen::route::{Modules, Options, Verify};
use btfgen::vmlinux::{self, From};
use deb::{Deb, VMLINUX};
use loopback::Answer;
use offer::{Offer, ways};

const RELEASE: &str = "6.1.0-1-amd64";
const DEBUG: &str = "linux-image-6.1.0-1-amd64-dbg";
const IMAGE: &str = "linux-image-6.1.0-1-amd64";

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// What is compressed fast: most of it is noise.
const FAST: [&str; 2] = ["-Zzstd", "-z1"];

/// BTF made of the DWARF of the kernel without BTF.
static MADE: LazyLock<Vec<u8>> =
    LazyLock::new(|| vmlinux::extract(&VMLINUX.as_slice(), From::Dwarf, 1).unwrap().btf);

/// What boots, with its configuration before it and modules behind it.
fn image(config: &str, payload: &[u8]) -> Deb {
    Deb::new(IMAGE)
        .compress(&FAST)
        .file(&format!("boot/config-{RELEASE}"), config.as_bytes())
        .file(&format!("boot/vmlinuz-{RELEASE}"), &bzimage(&compress("xz", &["--check=crc32"], payload)))
}

fn image_with_btf() -> Deb {
    image("CONFIG_DEBUG_INFO_BTF=y\n", &bootable::VMLINUX)
}

/// Check that a kernel with BTF comes from its image, in one request that ends after it, and the debug package is never asked for.
#[test]
fn image_first() {
    let package = image_with_btf().file("usr/lib/modules/noise", &noise(8 << 20)).build();
    let length = package.len() as u64;
    let packages =
        [(Role::Debug, DEBUG, Deb::debug(RELEASE, &VMLINUX).build()), (Role::Image, IMAGE, package)];
    for expected in [Expected::Yes, Expected::Unknown] {
        let offer = Offer::new(RELEASE, expected, &packages);
        let fetched = offer.fetch(&Options::default()).unwrap();
        assert!(fetched.btf == *BTF);
        assert_eq!(fetched.source, Source::Embedded);
        assert_eq!(fetched.build_id.unwrap().to_string(), bootable::build_id());
        assert_eq!((fetched.trust, fetched.sha256), (Trust::SignedIndex, None));
        assert_eq!(fetched.config.as_deref(), Some(&b"CONFIG_DEBUG_INFO_BTF=y\n"[..]));
        assert_eq!(fetched.release, RELEASE);
        assert_eq!(ways(&fetched.explanation), ["+image"]);
        assert_eq!(fetched.explanation.requests(), 1);
        assert!(fetched.explanation.bytes() < length / 2, "{}", fetched.explanation);
        assert_eq!(offer.server.requests().len(), 1);
    }
}

/// Check that a kernel which turns out to have no BTF comes from its debug package, and that its configuration is enough to know.
#[test]
fn image_without_btf() {
    let debug = Deb::debug(RELEASE, &VMLINUX).build();
    let not_set = image("# CONFIG_DEBUG_INFO_BTF is not set\n", &noise(4 << 20)).build();
    // No configuration to warn, and nothing in the image.
    let silent = Deb::new(IMAGE).file(&format!("boot/vmlinuz-{RELEASE}"), &noise(300_000)).build();
    let broken =
        Deb::new(IMAGE).file(&format!("boot/vmlinuz-{RELEASE}"), &bzimage(&noise(300_000))[..9000]).build();
    for (image, reason) in [
        (not_set, "its configuration has no CONFIG_DEBUG_INFO_BTF"),
        (silent, "it has no BTF inside"),
        (broken, "end behind the image's"),
    ] {
        let length = image.len() as u64;
        let packages = [(Role::Image, IMAGE, image), (Role::Debug, DEBUG, debug.clone())];
        let offer = Offer::new(RELEASE, Expected::Unknown, &packages);
        let fetched = offer.fetch(&Options::default()).unwrap();
        assert!(fetched.btf == *MADE);
        assert_eq!(ways(&fetched.explanation), ["-image", "+debug-streamed"]);
        let step = &fetched.explanation.steps[0];
        assert!(step.reason.contains(reason), "{}", step.reason);
        assert!(length < 1 << 20 || step.bytes < length / 2, "{step:?}");
    }
}

/// Check that a kernel without BTF takes one request to its debug package where vmlinux comes first, and that the image is not asked for.
#[test]
fn debug_streamed() {
    let debug = Deb::debug(RELEASE, &VMLINUX)
        .file(&format!("usr/lib/debug/lib/modules/{RELEASE}/kernel/a.ko"), &noise(8 << 20))
        .compress(&FAST)
        .build();
    let length = debug.len() as u64;
    let packages = [(Role::Debug, DEBUG, debug), (Role::Image, IMAGE, image_with_btf().build())];
    let offer = Offer::new(RELEASE, Expected::No, &packages);
    let fetched = offer.fetch(&Options::default()).unwrap();
    assert!(fetched.btf == *MADE);
    assert_eq!(fetched.source, Source::Dwarf);
    assert_eq!(ways(&fetched.explanation), ["-image", "+debug-streamed"]);
    assert_eq!(fetched.explanation.requests(), 1);
    assert!(fetched.explanation.bytes() < length / 2, "{}", fetched.explanation);
    assert_eq!(offer.server.requests().len(), 1);
    let text = fetched.explanation.to_string();
    assert!(text.starts_with("- image (linux-image-6.1.0-1-amd64): kernels like this one have no BTF inside\n+ debug package, streamed"), "{text}");
}

/// A debug package of Linux 7: modules come first. In blocks of 1 MiB, as dpkg-deb makes them at that level.
fn modules_first(release: &str, vmlinux: &[u8]) -> Vec<u8> {
    modules_first_at(release, vmlinux, "-z0")
}

fn modules_first_at(release: &str, vmlinux: &[u8], level: &str) -> Vec<u8> {
    let folder = format!("usr/lib/debug/lib/modules/{release}");
    Deb::new(&format!("linux-image-{release}-dbg"))
        .file(&format!("{folder}/kernel/a.ko"), &noise(3 << 20))
        .file(&format!("{folder}/kernel/b.ko"), &noise((2 << 20) + 1234))
        .file(&format!("{folder}/vmlinux"), vmlinux)
        .file("usr/share/doc/copyright", b"nobody's")
        .compress(&["-Zxz", level, "--threads-max=2"])
        .build()
}

/// A kernel of 4 MiB, most of which nobody wants.
fn large_vmlinux() -> Vec<u8> {
    vmlinux_with(4 << 20)
}

fn vmlinux_with(len: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("vmlinux"), &*VMLINUX).unwrap();
    std::fs::write(path("noise"), noise(len)).unwrap();
    let section = format!(".text.more={}", path("noise").display());
    deb::run(
        std::process::Command::new("objcopy")
            .arg("--add-section")
            .arg(section)
            .args([path("vmlinux"), path("large")]),
        "binutils",
    );
    std::fs::read(path("large")).unwrap()
}

/// Check that of a debug package with vmlinux at its end only the blocks are fetched that hold what is wanted, that no block is fetched
/// twice, and that a server which gives only whole files costs bytes and nothing else.
#[test]
fn debug_in_parts() {
    let (release, name) = ("7.2.1+deb14-armmp", "linux-image-7.2.1+deb14-armmp-dbg");
    let vmlinux = large_vmlinux();
    let package = modules_first(release, &vmlinux);
    let length = package.len() as u64;
    let packages = [(Role::Debug, name, package)];
    let expected = vmlinux::extract(&vmlinux.as_slice(), From::Dwarf, 1).unwrap();
    assert!(expected.btf == *MADE);

    let offer = Offer::new(release, Expected::No, &packages);
    let fetched = offer.fetch(&Options::default()).unwrap();
    assert!(fetched.btf == *MADE);
    assert_eq!(fetched.build_id, expected.build_id);
    assert_eq!(fetched.path, format!("usr/lib/debug/lib/modules/{release}/vmlinux"));
    assert_eq!((fetched.trust, fetched.sha256), (Trust::SignedIndex, None));
    assert_eq!(ways(&fetched.explanation), ["-image", "+debug-in-parts"]);
    let step = &fetched.explanation.steps[1];
    assert_eq!(step.package_bytes, Some(length));
    assert!(step.bytes < length * 6 / 10, "{step:?}");
    assert_eq!(step.requests, offer.server.requests().len() as u64);
    assert!(step.requests <= 6, "{step:?}");

    // The same where it is not known that modules come first.
    let old = "6.12.1";
    let renamed = [(Role::Debug, "linux-image-6.12.1-dbg", modules_first(old, &vmlinux))];
    let fetched = Offer::new(old, Expected::No, &renamed).fetch(&Options::default()).unwrap();
    assert!(fetched.btf == *MADE);
    assert_eq!(ways(&fetched.explanation), ["-image", "-debug-streamed", "+debug-in-parts"]);
    assert!(fetched.explanation.steps[1].bytes < 3 << 20, "{}", fetched.explanation);

    let offer =
        Offer::with(release, Expected::No, &packages, |_, answer| Answer { ignore_range: true, ..answer });
    let fetched = offer.fetch(&Options::default()).unwrap();
    assert!(fetched.btf == *MADE);
    assert_eq!(ways(&fetched.explanation), ["-image", "-debug-in-parts", "+debug-streamed"]);
    assert!(fetched.explanation.steps[1].reason.contains("only whole files"), "{}", fetched.explanation);

    // Of another file than at the first request nothing is taken.
    let change = |request: &loopback::Request, answer| {
        let headers = vec![format!("ETag: \"{}\"", request.number / 3)];
        Answer { headers, ..answer }
    };
    let failed =
        Offer::with(release, Expected::No, &packages, change).fetch(&Options::default()).unwrap_err();
    assert!(failed.error.is_passing(), "{failed}");
    assert!(failed.to_string().contains("changed"), "{failed}");
}

/// Check that a block is fetched only as far as something in it is wanted, by hardly more requests.
#[test]
fn beginnings_of_blocks() {
    let (release, name) = ("7.2.1+deb14-armmp", "linux-image-7.2.1+deb14-armmp-dbg");
    // Blocks of 12 MiB: at 5 of the first modules end and vmlinux begins; then there is noise until a little before the end.
    let package = modules_first_at(release, &vmlinux_with(39 << 19), "-z3");
    let length = package.len() as u64;
    let fetched = Offer::new(release, Expected::No, &[(Role::Debug, name, package)])
        .fetch(&Options::default())
        .unwrap();
    assert!(fetched.btf == *MADE);
    let step = &fetched.explanation.steps[1];
    assert!(step.reason.contains("in 2 of 3 blocks"), "{step:?}");
    // The last of the three, which is small, and half of the first.
    assert!(step.bytes < length / 2, "{step:?}");
    assert!(step.requests <= 6, "{step:?}");
}

/// Check that a package in parts that is cut off, or damaged where nothing is read, ends as it must.
#[test]
fn damaged_in_parts() {
    let (release, name) = ("7.2.1+deb14-armmp", "linux-image-7.2.1+deb14-armmp-dbg");
    let good = modules_first(release, &large_vmlinux());
    let fetch = |package: Vec<u8>| {
        Offer::new(release, Expected::No, &[(Role::Debug, name, package)]).fetch(&Options::default())
    };
    let failed = fetch(good[..good.len() / 2].to_vec()).unwrap_err();
    assert!(failed.to_string().contains("cut off"), "{failed}");
    // The index at the end: without it nothing can be found, but what is read in order is there.
    let mut package = good.clone();
    let at = package.len() - 30;
    package[at] ^= 1;
    let fetched = fetch(package).unwrap();
    assert_eq!(ways(&fetched.explanation), ["-image", "-debug-in-parts", "+debug-streamed"]);
    assert!(fetched.explanation.steps[1].reason.contains("index"), "{}", fetched.explanation);
    // The last block: vmlinux' table of sections.
    let mut package = good.clone();
    let at = package.len() - 1000;
    package[at] ^= 1;
    assert!(fetch(package).unwrap_err().to_string().contains("broken"));
}

/// Check that a whole package is compared with the index, and that only then it counts as signed; and that any other package is not taken.
#[test]
fn verify() {
    let full = Options { verify: Verify::Full, ..Options::default() };
    let image = image_with_btf().file("usr/lib/modules/noise", &noise(3 << 20)).build();
    let debug = Deb::debug(RELEASE, &VMLINUX)
        .file("usr/lib/debug/lib/noise", &noise(3 << 20))
        .compress(&FAST)
        .build();
    for (role, name, package) in [(Role::Image, IMAGE, image), (Role::Debug, DEBUG, debug)] {
        let packages = [(role, name, package.clone())];
        let offer = Offer::new(RELEASE, Expected::Unknown, &packages);
        let fetched = offer.fetch(&full).unwrap();
        assert_eq!((fetched.trust, fetched.sha256), (Trust::SignedPackage, Some(Digest::of(&package))));
        assert_eq!(fetched.explanation.bytes(), package.len() as u64);

        let mut offer = Offer::new(RELEASE, Expected::Unknown, &packages);
        offer.kernel.packages[0].trust = Trust::Transport;
        assert_eq!(offer.fetch(&full).unwrap().trust, Trust::Transport);

        let mut damaged = package.clone();
        let at = damaged.len() - 100_000;
        damaged[at] ^= 1;
        let changed = std::sync::Arc::new(damaged);
        let offer = Offer::with(RELEASE, Expected::Unknown, &packages, move |_, answer| Answer {
            body: std::sync::Arc::clone(&changed),
            ..answer
        });
        let failed = offer.fetch(&full).unwrap_err();
        assert!(failed.to_string().contains("it has sha256"), "{failed}");
        assert!(failed.error.is_passing());

        let mut offer = Offer::new(RELEASE, Expected::Unknown, &packages);
        offer.kernel.packages[0].size = Some(17);
        let failed = offer.fetch(&Options::default()).unwrap_err();
        assert!(failed.to_string().contains("the index says 17"), "{failed}");
        let mut offer = Offer::new(RELEASE, Expected::Unknown, &packages);
        offer.kernel.packages[0].version = "6.1.2-2".into();
        let failed = offer.fetch(&Options::default()).unwrap_err();
        assert!(failed.to_string().contains("the index says linux-image-6.1.0-1-amd64"), "{failed}");
    }
}

/// Check that a failing network ends the attempt, instead of being hidden by another way.
#[test]
fn network_fails() {
    let packages = [
        (Role::Image, IMAGE, image_with_btf().build()),
        (Role::Debug, DEBUG, Deb::debug(RELEASE, &VMLINUX).build()),
    ];
    let offer = Offer::with(RELEASE, Expected::Yes, &packages, |request, answer| {
        let status = request.path.contains("amd64.deb").then_some("404 Not Found");
        Answer { status, ..answer }
    });
    // A package that is not there does not come by waiting: the next way is tried.
    let fetched = offer.fetch(&Options::default()).unwrap();
    assert_eq!(ways(&fetched.explanation), ["-image", "+debug-streamed"]);
    let offer =
        Offer::with(RELEASE, Expected::Yes, &packages, |_, answer| Answer { cut_after: Some(100), ..answer });
    let failed = offer.fetch(&Options::default()).unwrap_err();
    assert!(failed.error.is_passing(), "{failed}");
    assert_eq!(ways(&failed.explanation), ["-image"]);
}

/// Check that the configuration is fetched where it was not on the way, only if it is wanted, from whichever package has it.
#[test]
fn configuration() {
    let debug = Deb::debug(RELEASE, &VMLINUX).build();
    let not_set = "# CONFIG_DEBUG_INFO_BTF is not set\n";
    let image = image(not_set, &noise(3 << 20)).build();
    let base =
        Deb::new("linux-base").file(&format!("usr/lib/modules/{RELEASE}/config"), b"CONFIG_HZ=100\n").build();
    let wanted = Options { config: true, ..Options::default() };
    let packages = [(Role::Debug, DEBUG, debug.clone()), (Role::Image, IMAGE, image)];
    let offer = Offer::new(RELEASE, Expected::No, &packages);
    assert_eq!(offer.fetch(&Options::default()).unwrap().config, None);
    let fetched = offer.fetch(&wanted).unwrap();
    assert_eq!(fetched.config.as_deref(), Some(not_set.as_bytes()));
    assert_eq!(ways(&fetched.explanation), ["-image", "+debug-streamed", "+config"]);
    assert!(fetched.explanation.steps[2].bytes < 2 << 20, "{}", fetched.explanation);

    let packages = [(Role::Debug, DEBUG, debug.clone()), (Role::Config, "linux-base", base)];
    let fetched = Offer::new(RELEASE, Expected::No, &packages).fetch(&wanted).unwrap();
    assert_eq!(fetched.config.as_deref(), Some(&b"CONFIG_HZ=100\n"[..]));
    let packages = [(Role::Debug, DEBUG, debug)];
    assert_eq!(Offer::new(RELEASE, Expected::No, &packages).fetch(&wanted).unwrap().config, None);
}

/// An object file with DWARF, as a module is.
fn module() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let source = "struct list_head { struct list_head *next, *prev; };\nstruct private { struct list_head list; int own; } it;";
    std::fs::write(path("m.c"), source).unwrap();
    deb::run(
        std::process::Command::new("gcc").args(["-g", "-c", "-o"]).args([path("m.o"), path("m.c")]),
        "gcc",
    );
    std::fs::read(path("m.o")).unwrap()
}

/// The same with split BTF on top of the kernel's, and without DWARF.
fn module_with_btf() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("vmlinux"), &*bootable::VMLINUX).unwrap();
    std::fs::write(path("m.ko"), module()).unwrap();
    deb::run(
        std::process::Command::new("pahole")
            .arg("-J")
            .arg("--btf_base")
            .args([path("vmlinux"), path("m.ko")]),
        "dwarves",
    );
    deb::run(std::process::Command::new("objcopy").arg("--strip-debug").arg(path("m.ko")), "binutils");
    std::fs::read(path("m.ko")).unwrap()
}

/// Checks that there is one module with a struct of its own, on top of a base.
fn check_module(modules: &Modules, base: &[u8]) {
    assert_eq!(modules.failed.len(), 0, "{modules:?}");
    assert_eq!(modules.btf.keys().collect::<Vec<_>>(), ["my_module"]);
    let base = Btf::parse(base).unwrap();
    let split = Btf::parse_split(&modules.btf["my_module"], &base).unwrap();
    let mut names = split.types().flatten().map(|ty| split.name(&ty).unwrap().to_string());
    assert!(names.any(|name| name == "private"));
}

/// Check that modules come from the image's package where they have BTF, compressed or not, and from the modules' own where there is one.
#[test]
fn modules_with_btf() {
    let wanted = Options { modules: true, threads: 2, ..Options::default() };
    let place = format!("lib/modules/{RELEASE}/kernel/fs/my-module.ko");
    let module = module_with_btf();
    let xz = bootable::pipe("xz", &["--check=crc32"], &module);
    for (path, content) in [(place.clone(), &module), (format!("usr/{place}.xz"), &xz)] {
        let packages = [(Role::Image, IMAGE, image_with_btf().file(&path, content).build())];
        let offer = Offer::new(RELEASE, Expected::Yes, &packages);
        let fetched = offer.fetch(&wanted).unwrap();
        check_module(&fetched.modules, &fetched.btf);
        assert_eq!(offer.server.requests().len(), 1);
    }
    let packages = [
        (Role::Image, IMAGE, image_with_btf().build()),
        (Role::Modules, "linux-modules", Deb::new("linux-modules").file(&place, &module).build()),
    ];
    let fetched = Offer::new(RELEASE, Expected::Yes, &packages).fetch(&wanted).unwrap();
    check_module(&fetched.modules, &fetched.btf);
    assert_eq!(ways(&fetched.explanation), ["+image", "+modules"]);
}

/// Check that modules come from the debug package where they have no BTF: in the same request where vmlinux comes first, in a second where it
/// comes last.
#[test]
fn modules_with_dwarf() {
    let wanted = Options { modules: true, threads: 2, ..Options::default() };
    let place = format!("usr/lib/debug/lib/modules/{RELEASE}/kernel/fs/my-module.ko");
    let debug = Deb::debug(RELEASE, &VMLINUX).file(&place, &module()).build();
    let offer = Offer::new(RELEASE, Expected::No, &[(Role::Debug, DEBUG, debug.clone())]);
    let fetched = offer.fetch(&wanted).unwrap();
    check_module(&fetched.modules, &fetched.btf);
    assert_eq!(offer.server.requests().len(), 1);

    let last = Deb::new(DEBUG)
        .file(&place, &module())
        .file(&format!("usr/lib/debug/lib/modules/{RELEASE}/vmlinux"), &VMLINUX)
        .build();
    let fetched = Offer::new(RELEASE, Expected::No, &[(Role::Debug, DEBUG, last)]).fetch(&wanted).unwrap();
    check_module(&fetched.modules, &fetched.btf);
    let tried = ways(&fetched.explanation);
    assert_eq!(tried, ["-image", "-debug-streamed", "-debug-in-parts", "+debug-streamed", "+modules-debug"]);

    // A kernel with BTF whose modules have none, as before 5.11.
    let bare = {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.ko");
        std::fs::write(&path, module()).unwrap();
        deb::run(std::process::Command::new("objcopy").arg("--strip-debug").arg(&path), "binutils");
        std::fs::read(path).unwrap()
    };
    let image =
        image_with_btf().file(&format!("lib/modules/{RELEASE}/kernel/fs/my-module.ko"), &bare).build();
    let packages = [(Role::Image, IMAGE, image), (Role::Debug, DEBUG, debug)];
    let fetched = Offer::new(RELEASE, Expected::Yes, &packages).fetch(&wanted).unwrap();
    check_module(&fetched.modules, &fetched.btf);
    assert_eq!(ways(&fetched.explanation), ["+image", "+modules-debug"]);
}

/// Check that a module that cannot be converted is told, and does not keep the others back.
#[test]
fn broken_module() {
    let folder = format!("lib/modules/{RELEASE}/kernel/fs");
    let package = image_with_btf()
        .file(&format!("{folder}/a.ko"), b"not an ELF file")
        .file(&format!("{folder}/b.ko.xz"), b"\xfd7zXZ\0broken")
        .file(&format!("{folder}/my-module.ko"), &module_with_btf())
        .build();
    let wanted = Options { modules: true, ..Options::default() };
    let fetched =
        Offer::new(RELEASE, Expected::Yes, &[(Role::Image, IMAGE, package)]).fetch(&wanted).unwrap();
    assert_eq!(fetched.modules.btf.len(), 1);
    let failed = &fetched.modules.failed;
    assert_eq!(failed.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert!(failed["a"].contains("kernel/fs/a.ko: not an ELF file"), "{failed:?}");
}
