//! Bundles and directories that the caller gives, before the cache and any archive.

mod support;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use btf_archive::bundle::{Builder, Encoding};
use btf_loader::{Digest, Embedded, Identity, Loader, Place, Settings};
use support::{
    Archive, BUILD_ID, Host, KEY, OLDER, OTHER_BUILD_ID, Stub, answer, kernel_btf, reasons, struct_btf,
};

/// A bundle with one kernel.
fn bundle(key: &str, build_id: Option<&str>, btf: &[u8], encoding: Encoding) -> Vec<u8> {
    let mut builder = Builder::new();
    let build_id = build_id.map(|hex| hex.parse().unwrap());
    builder.add(&key.parse().unwrap(), build_id, Some(&Digest::of(b"whole")), btf);
    builder.finish("", encoding).unwrap()
}

/// BTF as minimising leaves it: nothing that every kernel has.
fn minimised() -> Vec<u8> {
    struct_btf("sk_buff", 8, btf::Endian::NATIVE, 8)
}

/// Settings that look at one path.
fn at(host: &Host, path: impl Into<PathBuf>) -> Settings {
    let mut settings = host.settings(&[]);
    settings.paths = vec![path.into()];
    settings
}

/// Check that a kernel is found in a bundle by its build-id, whatever its key, in memory and on disk, raw and zstd.
#[test]
fn bundle_by_build_id() {
    let host = Host::new();
    for encoding in [Encoding::Raw, Encoding::Zstd] {
        let bytes = bundle(OLDER, Some(BUILD_ID), &minimised(), encoding);
        let path = host.path("bundle");
        fs::write(&path, &bytes).unwrap();
        let mut embedded = host.settings(&[]);
        embedded.embedded = Some(Embedded(bytes.leak()));
        for (settings, place) in
            [(embedded, Place::Embedded), (at(&host, &path), Place::Given { path: path.clone() })]
        {
            let found = Loader::new(settings).get().unwrap();
            assert_eq!((found.btf(), found.identity()), (&*minimised(), Identity::Exact));
            assert_eq!((found.place(), found.key().unwrap().to_string()), (&place, OLDER.to_owned()));
            assert_eq!(found.digest(), Digest::of(&minimised()));
            assert!(!found.is_whole());
        }
    }
}

/// Check that by key it is a match by name, refused where another build-id is known, and that a kernel that is not there
/// is not there.
#[test]
fn bundle_by_key() {
    let host = Host::new();
    let get = |build_id, key| {
        let path = host.path("bundle");
        fs::write(&path, bundle(key, build_id, &minimised(), Encoding::Raw)).unwrap();
        Loader::new(at(&host, path)).get()
    };
    assert_eq!(get(None, KEY).unwrap().identity(), Identity::ByName);
    assert_eq!(reasons(&get(Some(OTHER_BUILD_ID), KEY).unwrap_err()), ["wrong-kernel"]);
    assert_eq!(reasons(&get(None, OLDER).unwrap_err()), ["not-in-archive"]);
}

/// Check that a damaged bundle, a file that is none, and BTF of another machine in one are refused.
#[test]
fn bundle_damaged() {
    let host = Host::new();
    let path = host.path("bundle");
    let refuse = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = Loader::new(at(&host, &path)).get().unwrap_err();
        (reasons(&error)[0], error.class())
    };
    let refused = btf_loader::Class::Refused;
    let good = bundle(KEY, Some(BUILD_ID), &minimised(), Encoding::Raw);
    assert_eq!(refuse(b"a text"), ("not-btf", refused));
    assert_eq!(refuse(&good[..good.len() - 1]), ("not-btf", refused));
    let mut changed = good;
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(refuse(&changed), ("hash-mismatch", refused));
    let foreign = struct_btf("sk_buff", 8, btf::Endian::Big, 8);
    assert_eq!(refuse(&bundle(KEY, Some(BUILD_ID), &foreign, Encoding::Raw)), ("wrong-kernel", refused));
}

/// Check that whoever needs all types is not given a bundle's, and gets the next place's.
#[test]
fn whole_only() {
    let host = Host::new();
    let path = host.path("bundle");
    fs::write(&path, bundle(KEY, Some(BUILD_ID), &minimised(), Encoding::Raw)).unwrap();
    let archive = Archive::with(&[(KEY, Some(BUILD_ID), &kernel_btf(16))]);
    let mut settings = at(&host, path);
    settings.whole_only = true;
    settings.urls = vec![archive.url().parse().unwrap()];
    let found = Loader::new(settings).get().unwrap();
    assert_eq!((found.btf(), found.is_whole()), (&*kernel_btf(16), true));
    assert!(found.attempts().iter().any(|attempt| attempt.reason.name() == "minimised"));
}

/// Check that an archive in a directory is read without any service: by build-id, by key, and not for another kernel.
#[test]
fn archive_in_directory() {
    let raw = kernel_btf(16);
    let archive =
        Archive::with(&[(OLDER, Some(BUILD_ID), &raw), (KEY, Some(OTHER_BUILD_ID), &kernel_btf(20))]);
    let host = Host::new();
    let found = Loader::new(at(&host, archive.path())).get().unwrap();
    assert_eq!((found.btf(), found.identity()), (&*raw, Identity::Exact), "by build-id, under another name");
    let host = Host::without_build_id();
    let found = Loader::new(at(&host, archive.path())).get().unwrap();
    assert_eq!((found.btf(), found.identity()), (&*kernel_btf(20), Identity::ByName));
    let other = Host::new();
    other.write("sys/kernel/notes", &support::note("aaaaaaaaaaaaaaaaaaaa"));
    assert_eq!(reasons(&Loader::new(at(&other, archive.path())).get().unwrap_err()), ["wrong-kernel"]);
}

/// Check that a directory of files named by key is one, and that a file that is not BTF is refused.
#[test]
fn directory_of_files() {
    let host = Host::new();
    let dir = host.path("btfs");
    let path = dir.join(format!("{KEY}.btf"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, kernel_btf(16)).unwrap();
    let found = Loader::new(at(&host, &dir)).get().unwrap();
    assert_eq!(
        (found.btf(), found.identity(), found.path()),
        (&*kernel_btf(16), Identity::ByName, Some(&*path))
    );
    assert!(found.is_whole());
    fs::write(&path, minimised()).unwrap();
    assert!(!Loader::new(at(&host, &dir)).get().unwrap().is_whole());
    fs::write(&path, b"not BTF at all").unwrap();
    assert_eq!(reasons(&Loader::new(at(&host, &dir)).get().unwrap_err()), ["not-btf"]);
    assert_eq!(reasons(&Loader::new(at(&host, host.path("nowhere"))).get().unwrap_err()), [] as [&str; 0]);
}

/// Check that a plain web server with an archive's files will do, and that only one part of the snapshot is read.
#[test]
fn archive_on_a_plain_web_server() {
    let raw = kernel_btf(16);
    let archive = Archive::with(&[(KEY, Some(BUILD_ID), &raw)]);
    let dir = archive.path().to_owned();
    let server = Stub::new(move |path, stream| {
        let bytes = match fs::read(dir.join(path.trim_start_matches('/'))) {
            Ok(bytes) => answer("200 OK", &[], &bytes),
            Err(_) => answer("404 Not Found", &[("content-type", "text/html")], b"<html>no such page</html>"),
        };
        let _ = stream.write_all(&bytes);
    });
    let host = Host::new();
    let found = host.loader(&[server.url()]).get().unwrap();
    assert_eq!((found.btf(), found.identity()), (&*raw, Identity::Exact));
    assert_eq!(found.key().unwrap().to_string(), KEY);
    let asked = server.requests();
    assert_eq!(asked.len(), 5, "the service's address, latest.json, index, part, blob: {asked:?}");
    assert_eq!(host.loader(&[]).get().unwrap().btf(), raw, "it was kept");

    let other = Host::new();
    other.write("etc/os-release", b"ID=debian\nVERSION_ID=12\n");
    other.write("sys/kernel/notes", &support::note(OTHER_BUILD_ID));
    assert_eq!(reasons(&other.loader(&[server.url()]).get().unwrap_err()), ["not-in-archive"]);
}
