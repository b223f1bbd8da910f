//! `btf-fetch install`, `uninstall`, `prefetch` and the forms of BTF: what lies where afterwards.

mod support;

use std::fs;
use std::process::Command as Tool;

use assert_cmd::Command;
use btf_loader::{Identity, Place};
use predicates::prelude::*;
use support::{Archive, BUILD_ID, Host, KEY, OTHER_BUILD_ID, RELEASE, kernel_btf, kernel_btf_of};

fn btf_fetch(host: &Host, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btf-fetch"));
    command.env_clear().env("BTF_ARCHIVE_CACHE_PATH", host.cache());
    let (name, rest) = arguments.split_first().unwrap();
    command.arg(name).arg("--root").arg(host.root()).args(rest);
    command
}

/// Check that what is installed is the raw BTF, found from then on without any archive, and gone after `uninstall`.
#[test]
fn install_raw() {
    let (host, raw) = (Host::new(), kernel_btf(16));
    let archive = Archive::with(&[(KEY, Some(BUILD_ID), &raw)]);
    let path = host.root().join(format!("usr/lib/debug/boot/vmlinux-{RELEASE}"));
    let said = format!("{}\n", path.display());
    btf_fetch(&host, &["install", "--url", archive.url()]).assert().success().stdout(said);
    assert_eq!(fs::read(&path).unwrap(), raw);

    let mut settings = host.settings(&[]);
    settings.cache = None;
    let found = btf_loader::Loader::new(settings).get().unwrap();
    assert_eq!(found.place(), &Place::File { path: path.clone() });
    assert_eq!((found.btf(), found.identity()), (&*raw, Identity::Exact), "the receipt tells the build-id");

    // Again, which changes nothing.
    btf_fetch(&host, &["install", "--url", archive.url()]).assert().success();
    btf_fetch(&host, &["uninstall"]).assert().success().stderr(predicate::str::contains(RELEASE));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    btf_fetch(&host, &["uninstall"])
        .assert()
        .success()
        .stderr(predicate::str::contains("nothing is installed"));
}

/// Check that the ELF form is read by others (readelf, bpftool's libbpf) and by us, with build-id and the same BTF, for both
/// classes and byte orders.
#[test]
fn elf_form() {
    let dir = tempfile::tempdir().unwrap();
    let id = BUILD_ID.parse().unwrap();
    for (endian, pointer) in
        [(btf::Endian::Little, 8), (btf::Endian::Little, 4), (btf::Endian::Big, 8), (btf::Endian::Big, 4)]
    {
        let raw = kernel_btf_of(16, endian, pointer);
        let path = dir.path().join("vmlinux");
        fs::write(&path, btf_loader::elf(&raw, Some(&id)).unwrap()).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let output = Tool::new(program).args(arguments).arg(&path).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{program}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(run("readelf", &["--notes", "--wide"]).contains(&format!("Build ID: {BUILD_ID}")));
        let sections = run("readelf", &["--sections", "--wide"]);
        assert!(sections.contains(".BTF") && sections.contains(".shstrtab"), "{sections}");
        let dumped = dir.path().join("dumped");
        // It names no machine, so it must be told what the file is.
        let order = if endian == btf::Endian::Little { "little" } else { "big" };
        let target = format!("elf{}-{order}", 8 * pointer);
        run("objcopy", &["-I", &target, "--dump-section", &format!(".BTF={}", dumped.display())]);
        assert_eq!(fs::read(&dumped).unwrap(), raw);
        if endian == btf::Endian::NATIVE {
            let output = Tool::new("bpftool").args(["btf", "dump", "file"]).arg(&path).output().unwrap();
            assert!(String::from_utf8_lossy(&output.stdout).contains("STRUCT 'task_struct'"), "{output:?}");
        }
    }
}

/// Check that `install --elf` writes that, and that it is found by build-id.
#[test]
fn install_elf() {
    let (host, raw) = (Host::new(), kernel_btf(16));
    let archive = Archive::with(&[(KEY, Some(BUILD_ID), &raw)]);
    btf_fetch(&host, &["install", "--elf", "--url", archive.url()]).assert().success();
    let path = host.root().join(format!("usr/lib/debug/boot/vmlinux-{RELEASE}"));
    assert_eq!(fs::read(&path).unwrap(), btf_loader::elf(&raw, Some(&BUILD_ID.parse().unwrap())).unwrap());
    let mut settings = host.settings(&[]);
    settings.cache = None;
    let found = btf_loader::Loader::new(settings).get().unwrap();
    assert_eq!(
        (found.btf(), found.identity(), found.place()),
        (&*raw, Identity::Exact, &Place::File { path })
    );
}

/// Check that files of others stay: neither overwritten nor removed, with exit code 4; and that one which was changed since
/// counts as another's.
#[test]
fn files_of_others_stay() {
    let (host, raw) = (Host::new(), kernel_btf(16));
    let archive = Archive::with(&[(KEY, Some(BUILD_ID), &raw)]);
    let path = format!("usr/lib/debug/boot/vmlinux-{RELEASE}");
    let file = host.write(&path, b"of a debug package");
    btf_fetch(&host, &["install", "--url", archive.url()])
        .assert()
        .code(4)
        .stderr(predicate::str::contains("not ours (it has no receipt"));
    btf_fetch(&host, &["uninstall", "--release", RELEASE]).assert().code(4);
    assert_eq!(fs::read(&file).unwrap(), b"of a debug package");

    fs::remove_file(&file).unwrap();
    btf_fetch(&host, &["install", "--url", archive.url()]).assert().success();
    host.write(&path, b"changed");
    btf_fetch(&host, &["uninstall"]).assert().code(4).stderr(predicate::str::contains("changed since"));
    assert_eq!(fs::read(&file).unwrap(), b"changed");
    btf_fetch(&host, &["uninstall", "--release", "../../etc"]).assert().code(1);
}

/// Check that a kernel with BTF of its own needs nothing installed.
#[test]
fn install_where_the_kernel_has_its_own() {
    let host = Host::new();
    host.write("sys/kernel/btf/vmlinux", &kernel_btf(16));
    btf_fetch(&host, &["install"]).assert().success().stderr(predicate::str::contains("nothing to install"));
    assert!(!host.root().join("usr").exists());
}

/// Check that what was installed for one kernel is not believed for another that is booted under the same release.
#[test]
fn installed_for_another_kernel() {
    let host = Host::new();
    let archive = Archive::with(&[(KEY, Some(BUILD_ID), &kernel_btf(16))]);
    btf_fetch(&host, &["install", "--url", archive.url()]).assert().success();
    host.write("sys/kernel/notes", &support::note(OTHER_BUILD_ID));
    btf_fetch(&host, &["get"])
        .assert()
        .code(4)
        .stderr(predicate::str::contains("wrong kernel: its build-id"));
}

/// Check that `prefetch` fetches for every kernel in /lib/modules but those with BTF of their own, and that the kernel is found
/// by build-id when it runs.
#[test]
fn prefetch() {
    let host = Host::new();
    let next = "5.10.0-31-amd64";
    let next_key = KEY.replace(RELEASE, next);
    let archive = Archive::with(&[(&next_key, Some(OTHER_BUILD_ID), &kernel_btf(20))]);
    for release in [next, "6.1.0-9-amd64"] {
        fs::create_dir_all(host.root().join("lib/modules").join(release)).unwrap();
    }
    host.write("boot/config-6.1.0-9-amd64", b"CONFIG_BPF=y\nCONFIG_DEBUG_INFO_BTF=y\n");
    btf_fetch(&host, &["prefetch", "--url", archive.url()])
        .assert()
        .success()
        .stderr(predicate::str::contains("6.1.0-9-amd64: has BTF of its own"));

    host.write("proc/sys/kernel/osrelease", next.as_bytes());
    host.write("sys/kernel/notes", &support::note(OTHER_BUILD_ID));
    let found = host.loader(&[]).get().unwrap();
    assert_eq!((found.btf(), found.identity()), (&*kernel_btf(20), Identity::Exact));
    assert_eq!(found.place(), &Place::Cache { path: host.cache() });

    btf_fetch(&host, &["prefetch", "5.10.0-99-amd64", "--url", archive.url()]).assert().code(3);
}

/// Check that a configuration comes from the machine's files first, compressed or not, and that one which is none is not one.
#[test]
fn configuration() {
    let host = Host::new();
    assert!(host.loader(&[]).config().is_err());
    host.write(&format!("lib/modules/{RELEASE}/config"), b"CONFIG_HZ=250\n");
    assert_eq!(host.loader(&[]).config().unwrap().text, "CONFIG_HZ=250\n");
    host.write("proc/config", b"CONFIG_HZ=100\n");
    assert!(Tool::new("gzip").arg(host.root().join("proc/config")).status().unwrap().success());
    assert_eq!(host.loader(&[]).config().unwrap().text, "CONFIG_HZ=100\n");
    host.write(&format!("boot/config-{RELEASE}"), b"CONFIG_HZ=1000\nCONFIG_DEBUG_INFO_BTF=y\n");
    let config = host.loader(&[]).config().unwrap();
    assert!(config.text.starts_with("CONFIG_HZ=1000") && btf_loader::has_btf(&config.text));
    host.write(&format!("boot/config-{RELEASE}"), b"nothing of the kind");
    assert_eq!(host.loader(&[]).config().unwrap().text, "CONFIG_HZ=100\n");
}
