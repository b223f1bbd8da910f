//! Asking an archive that works: by build-id, by name, and for what it does not have.

mod support;

use btf_loader::{Class, Error, Identity, Kernel, Loader, Place, Reason};
use support::{Archive, BUILD_ID, Host, KEY, OLDER, OTHER_BUILD_ID, kernel_btf, reasons};

fn kernel(key: &str) -> Kernel {
    Kernel::with_key(key.parse().unwrap())
}

/// Check that the running kernel is found by its build-id, under whatever name the archive has it.
#[test]
fn by_build_id() {
    let host = Host::new();
    let archive = Archive::with(&[("ubuntu/20.04/x86_64/5.4.0-1-generic", Some(BUILD_ID), &kernel_btf(16))]);
    let found = host.loader(&[archive.url()]).get().unwrap();
    assert_eq!(found.btf(), kernel_btf(16));
    assert_eq!(found.identity(), Identity::Exact);
    assert_eq!(found.build_id().unwrap().to_string(), BUILD_ID);
    assert_eq!(found.key().unwrap().to_string(), "ubuntu/20.04/x86_64/5.4.0-1-generic");
    assert_eq!(found.place(), &Place::Archive { url: archive.url().parse().unwrap() });
}

/// Check that a kernel whose build-id the archive does not know is found by os-release and `uname -r`, and that the
/// answer says so.
#[test]
fn by_name() {
    let archive =
        Archive::with(&[(KEY, None, &kernel_btf(16)), (OLDER, Some(OTHER_BUILD_ID), &kernel_btf(8))]);
    for host in [Host::new(), Host::without_build_id()] {
        let found = host.loader(&[archive.url()]).get().unwrap();
        assert_eq!(found.btf(), kernel_btf(16));
        assert_eq!(found.identity(), Identity::ByName);
        assert_eq!(found.build_id(), None);
        assert_eq!(found.key().unwrap().to_string(), KEY);
    }
}

/// Check that os-release's other spellings of the same distribution are understood.
#[test]
fn by_another_name() {
    let host = Host::without_build_id();
    host.write("etc/os-release", b"ID=\"Debian\"\nVERSION_CODENAME=bullseye\n");
    host.write("proc/sys/kernel/arch", b"amd64\n");
    let archive = Archive::with(&[(KEY, None, &kernel_btf(16))]);
    assert_eq!(host.loader(&[archive.url()]).get().unwrap().btf(), kernel_btf(16));
}

/// Check that a kernel of the right name and another build-id is refused.
#[test]
fn right_name_wrong_kernel() {
    let host = Host::new();
    let archive = Archive::with(&[(KEY, Some(OTHER_BUILD_ID), &kernel_btf(16))]);
    let error = host.loader(&[archive.url()]).get().unwrap_err();
    assert_eq!(reasons(&error), ["wrong-kernel"]);
    assert_eq!(error.class(), Class::Refused);
    assert_eq!(host.cached(), [] as [String; 0]);
}

/// Check that a caller who insists on an exact match gets none by name, and that one by build-id is still found.
#[test]
fn exact_only() {
    let archive = Archive::with(&[(KEY, None, &kernel_btf(16))]);
    for (host, reason) in [(Host::new(), "not-in-archive"), (Host::without_build_id(), "not-exact")] {
        let mut settings = host.settings(&[archive.url()]);
        settings.exact_only = true;
        let error = Loader::new(settings).get().unwrap_err();
        assert_eq!(reasons(&error), [reason]);
        assert_eq!(error.class(), Class::NotFound);
    }
    let host = Host::new();
    let archive = Archive::with(&[(KEY, Some(BUILD_ID), &kernel_btf(16))]);
    let mut settings = host.settings(&[archive.url()]);
    settings.exact_only = true;
    assert_eq!(Loader::new(settings).get().unwrap().identity(), Identity::Exact);
}

/// Check that a kernel nobody has is told with the nearest ones, and is no failure.
#[test]
fn unknown_kernel() {
    let host = Host::new();
    let archive = Archive::with(&[(OLDER, Some(OTHER_BUILD_ID), &kernel_btf(16))]);
    let error = host.loader(&[archive.url()]).get().unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    let Error::NoBtf(none) = error else { panic!("{error}") };
    let Reason::NotInArchive { nearest, .. } = &none.attempts.last().unwrap().reason else {
        panic!("{none}")
    };
    assert_eq!(nearest.len(), 1);
    assert_eq!(nearest[0].key.to_string(), OLDER);
    assert_eq!(nearest[0].build_id.unwrap().to_string(), OTHER_BUILD_ID);
    assert!(none.to_string().ends_with(&format!("not in this archive, nearest: {OLDER}")), "{none}");
}

/// Check that a description that fits several kernels chooses none of them.
#[test]
fn ambiguous() {
    let host = Host::without_build_id();
    std::fs::remove_file(host.root().join("etc/os-release")).unwrap();
    let release = support::RELEASE;
    let (debian, ubuntu) = (format!("debian/11/x86_64/{release}"), format!("ubuntu/20.04/x86_64/{release}"));
    let archive = Archive::with(&[(&debian, None, &kernel_btf(16)), (&ubuntu, None, &kernel_btf(8))]);
    let error = host.loader(&[archive.url()]).get().unwrap_err();
    assert_eq!(reasons(&error), ["ambiguous"]);
    let text = error.to_string();
    assert!(text.contains(&debian) && text.contains(&ubuntu), "{text}");
}

/// Check that a kernel named by the caller is found by key or build-id, also of another machine, and is exact only by
/// build-id.
#[test]
fn named_kernel() {
    let host = Host::new();
    let s390x = support::kernel_btf_of(16, btf::Endian::Big, 8);
    let key = "debian/12/s390x/6.1.0-1-s390x";
    let archive = Archive::with(&[(key, Some(OTHER_BUILD_ID), &s390x)]);
    let loader = host.loader(&[archive.url()]);
    let by_key = loader.find(&kernel("debian/bookworm/s390x/6.1.0-1-s390x")).unwrap();
    assert_eq!((by_key.btf(), by_key.identity()), (&*s390x, Identity::ByName));
    assert_eq!(by_key.key().unwrap().to_string(), key);
    let by_id = loader.find(&Kernel::with_build_id(OTHER_BUILD_ID.parse().unwrap())).unwrap();
    assert_eq!((by_id.btf(), by_id.identity()), (&*s390x, Identity::Exact));
    let wrong = Kernel::with_build_id(BUILD_ID.parse().unwrap()).and_key(key.parse().unwrap());
    assert_eq!(reasons(&loader.find(&wrong).unwrap_err()), ["wrong-kernel"]);
}

/// Check that BTF of another machine is refused although the archive says it is the kernel's.
#[test]
fn other_machine() {
    let host = Host::new();
    let swapped =
        if btf::Endian::NATIVE == btf::Endian::Big { btf::Endian::Little } else { btf::Endian::Big };
    for raw in [support::kernel_btf_of(16, swapped, 8), support::kernel_btf_of(16, btf::Endian::NATIVE, 4)] {
        let archive = Archive::with(&[(KEY, Some(BUILD_ID), &raw)]);
        let error = host.loader(&[archive.url()]).get().unwrap_err();
        assert_eq!(reasons(&error), ["wrong-kernel"]);
        assert_eq!(host.cached(), [] as [String; 0]);
    }
}

/// Check that archives are asked in order, and that one which does not have the kernel does not end the search.
#[test]
fn second_archive() {
    let host = Host::new();
    let (first, second) = (
        Archive::with(&[(OLDER, None, &kernel_btf(8))]),
        Archive::with(&[(KEY, Some(BUILD_ID), &kernel_btf(16))]),
    );
    let found = host.loader(&[first.url(), second.url()]).get().unwrap();
    assert_eq!(found.btf(), kernel_btf(16));
    assert_eq!(found.attempts().last().unwrap().reason.name(), "not-in-archive");
    let found = host.loader(&[]).get().unwrap();
    assert_eq!(found.place(), &Place::Cache { path: host.cache() });
}
