//! Who pins a root key believes what a signed archive says, and nothing else; and blobs that are deltas.

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use btf_archive::trust::{KeyList, PublicKey, SeenFile, SigningKey};
use btf_archive::{Digest, blob, delta};
use btf_loader::{Identity, Loader, Settings};
use support::{Archive, BUILD_ID, Host, KEY, OLDER, OTHER_BUILD_ID, Stub, answer, kernel_btf, reasons};

const YEAR: u64 = 365 * 86_400;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A secret key's file and its public key.
fn pair() -> (SigningKey, PublicKey) {
    let (file, public) = SigningKey::generate("test", None).unwrap();
    (SigningKey::read(&file, None).unwrap(), public)
}

/// A copy of an archive's files, which tests may change, and its keys.
struct Signed {
    dir: PathBuf,
    root: SigningKey,
    root_public: PublicKey,
    key: SigningKey,
    key_public: PublicKey,
}

impl Signed {
    /// An archive with these kernels, signed by a key that is valid for this time.
    fn with(host: &Host, name: &str, kernels: &[(&str, Option<&str>, &[u8])], valid: (u64, u64)) -> Self {
        let archive = Archive::with(kernels);
        let dir = host.path(name);
        copy(archive.path(), &dir);
        let ((root, root_public), (key, key_public)) = (pair(), pair());
        let signed = Self { dir, root, root_public, key, key_public };
        let mut list = KeyList::new(now());
        list.add(signed.key_public.clone(), valid.0, valid.1).unwrap();
        signed.put_keys(&list);
        signed.sign_snapshot();
        signed
    }

    fn put_keys(&self, list: &KeyList) {
        let json = list.encode().unwrap();
        let signature = self.root.sign(&json, "keys").unwrap();
        fs::write(self.dir.join("keys.json"), json).unwrap();
        fs::write(self.dir.join("keys.json.minisig"), signature).unwrap();
    }

    fn snapshot(&self) -> PathBuf {
        self.dir.join("snapshots/000001.json.zst")
    }

    fn sign_snapshot(&self) {
        let signature = self.key.sign(&fs::read(self.snapshot()).unwrap(), "snapshot").unwrap();
        fs::write(self.dir.join("snapshots/000001.json.zst.minisig"), signature).unwrap();
    }

    /// Settings that look at the directory and believe the root.
    fn settings(&self, host: &Host) -> Settings {
        let mut settings = host.settings(&[]);
        settings.paths = vec![self.dir.clone()];
        settings.roots = vec![self.root_public.clone()];
        settings.seen = Some(SeenFile::at(host.path("seen.json")));
        settings
    }

    /// Why it is not believed.
    fn refused(&self, host: &Host) -> String {
        let error = Loader::new(self.settings(host)).get().unwrap_err();
        assert_eq!(error.class(), btf_loader::Class::Refused, "{error}");
        reasons(&error).join(" ")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn valid() -> (u64, u64) {
    (now() - 10, now() + YEAR)
}

/// Check that a signed archive is believed, in a directory and on a plain web server, and that nothing but files is asked for.
#[test]
fn signed() {
    let (host, raw) = (Host::new(), kernel_btf(16));
    let signed = Signed::with(&host, "signed", &[(KEY, Some(BUILD_ID), &raw)], valid());
    let found = Loader::new(signed.settings(&host)).get().unwrap();
    assert_eq!((found.btf(), found.identity(), found.warning()), (&*raw, Identity::Exact, None));

    let dir = signed.dir.clone();
    let server = Stub::new(move |path, stream| {
        let bytes = match fs::read(dir.join(path.trim_start_matches('/'))) {
            Ok(bytes) => answer("200 OK", &[], &bytes),
            Err(_) => answer("404 Not Found", &[], b""),
        };
        let _ = stream.write_all(&bytes);
    });
    let mut settings = signed.settings(&host);
    settings.paths.clear();
    settings.urls = vec![server.url().parse().unwrap()];
    assert_eq!(Loader::new(settings).get().unwrap().btf(), raw);
    assert!(!server.requests().iter().any(|path| path.starts_with("/v1")), "{:?}", server.requests());
}

/// Check that our own service serves what a reader with a root needs, and that an archive without keys is refused then.
#[test]
fn unsigned() {
    let host = Host::new();
    let archive = Archive::with(&[(KEY, Some(BUILD_ID), &kernel_btf(16))]);
    let mut settings = host.settings(&[archive.url()]);
    settings.roots = vec![pair().1];
    assert_eq!(reasons(&Loader::new(settings.clone()).get().unwrap_err()), ["unsigned"]);
    settings.urls.clear();
    settings.paths = vec![archive.path().to_owned()];
    assert_eq!(reasons(&Loader::new(settings).get().unwrap_err()), ["unsigned"]);
}

/// Check that a foreign root, a snapshot changed after it was signed, one signed by an unlisted or a revoked key, and one
/// without a signature are refused.
#[test]
fn not_believed() {
    let host = Host::new();
    let signed = || Signed::with(&host, "signed", &[(KEY, Some(BUILD_ID), &kernel_btf(16))], valid());
    let foreign = Signed { root_public: pair().1, ..signed() };
    assert_eq!(foreign.refused(&host), "untrusted");

    let changed = signed();
    let mut bytes = fs::read(changed.snapshot()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(changed.snapshot(), bytes).unwrap();
    assert_eq!(changed.refused(&host), "hash-mismatch");

    let mut unlisted = signed();
    unlisted.key = pair().0;
    unlisted.sign_snapshot();
    assert_eq!(unlisted.refused(&host), "untrusted");

    let revoked = signed();
    let mut list = KeyList::new(now());
    list.add(revoked.key_public.clone(), valid().0, valid().1).unwrap();
    list.revoke(revoked.key_public.id(), now(), "lost").unwrap();
    revoked.put_keys(&list);
    assert_eq!(revoked.refused(&host), "revoked-key");

    let bare = signed();
    fs::remove_file(bare.dir.join("snapshots/000001.json.zst.minisig")).unwrap();
    assert_eq!(bare.refused(&host), "unsigned");
}

/// Check that an expired key is refused, or let pass with a warning where the caller says so.
#[test]
fn expired() {
    let (host, raw) = (Host::new(), kernel_btf(16));
    let past = (now() - 2 * YEAR, now() - YEAR);
    let signed = Signed::with(&host, "signed", &[(KEY, Some(BUILD_ID), &raw)], past);
    assert_eq!(signed.refused(&host), "expired-signature");
    let mut settings = signed.settings(&host);
    settings.allow_expired = true;
    let found = Loader::new(settings).get().unwrap();
    assert_eq!(found.btf(), raw);
    assert!(found.warning().unwrap().contains("expired"), "{:?}", found.warning());
}

/// Check that an older list of keys than was seen is refused, and that another archive's is another matter.
#[test]
fn rolled_back() {
    let host = Host::new();
    let kernels: &[(&str, Option<&str>, &[u8])] = &[(KEY, Some(BUILD_ID), &kernel_btf(16))];
    let signed = Signed::with(&host, "signed", kernels, valid());
    let first = KeyList::decode(&fs::read(signed.dir.join("keys.json")).unwrap()).unwrap();
    let mut second = first.next(now());
    second.keys = first.keys.clone();
    signed.put_keys(&second);
    Loader::new(signed.settings(&host)).get().unwrap();
    signed.put_keys(&first);
    assert_eq!(signed.refused(&host), "rolled-back");
    let other = Signed::with(&host, "other", kernels, valid());
    Loader::new(other.settings(&host)).get().unwrap();
}

/// Check that a blob stored as a delta is put together, that damage to it or its base is noticed, and that deltas on deltas
/// end somewhere.
#[test]
fn deltas() {
    let host = Host::new();
    let (base, raw) = (kernel_btf(16), kernel_btf(20));
    let archive = Archive::with(&[(OLDER, Some(OTHER_BUILD_ID), &base), (KEY, Some(BUILD_ID), &raw)]);
    let dir = host.path("archive");
    copy(archive.path(), &dir);
    let zst = dir.join(blob::path(&Digest::of(&raw)));
    let path = zst.with_extension("delta");
    let on = delta::Base { digest: Digest::of(&base), depth: 0, raw: &base };
    let stored = delta::encode(on, &Digest::of(&raw), &raw).unwrap();
    fs::remove_file(&zst).unwrap();
    fs::write(&path, &stored).unwrap();
    let mut settings = host.settings(&[]);
    settings.paths = vec![dir.clone()];
    let get = || Loader::new(settings.clone()).get();
    assert_eq!(get().unwrap().btf(), raw);

    let mut damaged = stored.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, damaged).unwrap();
    assert_ne!(reasons(&get().unwrap_err()), [] as [&str; 0]);
    fs::write(&path, &stored).unwrap();
    fs::remove_file(dir.join(blob::path(&Digest::of(&base)))).unwrap();
    assert_eq!(reasons(&get().unwrap_err()), ["bad-answer"]);
    // A base that is the delta itself.
    fs::write(dir.join(blob::path(&Digest::of(&base))).with_extension("delta"), &stored).unwrap();
    assert_eq!(reasons(&get().unwrap_err()), ["bad-answer"]);
}
