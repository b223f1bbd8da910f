//! Signed archives: what is published is signed before it is announced, and nothing can be published without.

use btf_archive::reader::{self, Reader};
use btf_archive::store::{Archive, Error};
use btf_archive::trust::{self, Expired, KeyId, KeyList, Policy, SeenFile, SigningKey};
use btf_archive::{snapshot, trust::PublicKey};

use crate::{Site, archive, btf, draft};

both!(sign_publish, sign_install, sign_rotate, sign_crash);

const FIRST: &str = "debian/11/i386/5.10.0-34-686-pae";
const SECOND: &str = "debian/11/i386/5.10.0-35-686-pae";
const YEAR: u64 = 365 * 86_400;

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A key, which may be read as often as it is needed.
struct Pair(String, PublicKey);

impl Pair {
    fn new() -> Self {
        let (file, public) = SigningKey::generate("test", None).unwrap();
        Self(file, public)
    }

    fn secret(&self) -> SigningKey {
        SigningKey::read(&self.0, None).unwrap()
    }

    fn id(&self) -> KeyId {
        self.1.id()
    }
}

/// A list of these keys after another, signed by a root.
fn list(root: &Pair, before: Option<&KeyList>, keys: &[&Pair]) -> (KeyList, Vec<u8>, String) {
    let mut list = before.map_or_else(|| KeyList::new(now()), |before| before.next(now()));
    list.keys.clear();
    for key in keys {
        list.add(key.1.clone(), now() - 10, now() + YEAR).unwrap();
    }
    let json = list.encode().unwrap();
    let signature = root.secret().sign(&json, "keys").unwrap();
    (list, json, signature)
}

fn policy(root: &Pair) -> Policy {
    Policy::new(vec![root.1.clone()])
}

/// Puts a list of these keys into the archive.
async fn install(archive: &Archive, root: &Pair, keys: &[&Pair]) -> Result<KeyList, Error> {
    let before = archive.key_list().await.unwrap();
    let (_, json, signature) = list(root, before.as_ref(), keys);
    archive.install_keys(&policy(root), &json, signature.as_bytes()).await
}

fn read(site: &Site, root: &Pair) -> Result<std::sync::Arc<reader::Newest>, reader::Error> {
    Reader::open_with(site.path().to_str().unwrap(), policy(root), None).unwrap().newest()
}

/// Check that a signed archive is published with its key, read by who pinned its root, and refused by others; and that it
/// cannot be published without its key, or with another.
async fn sign_publish(site: Site) {
    let (root, key, stranger) = (Pair::new(), Pair::new(), Pair::new());
    let mut archive = archive(&site, &[FIRST]).await;
    archive.sign_with(key.secret());
    let refused = archive.publish().await.unwrap_err();
    assert!(matches!(refused, Error::NoKeyList { .. }), "{refused}");
    assert!(archive.latest().await.unwrap().is_none());

    install(&archive, &root, &[&key]).await.unwrap();
    archive.check_signing().await.unwrap();
    archive.publish().await.unwrap();
    let newest = read(&site, &root).unwrap();
    assert_eq!((newest.key, newest.head.number()), (Some(key.id()), 1));
    let comment = std::fs::read_to_string(site.path().join("snapshots/000001.json.zst.minisig")).unwrap();
    assert!(comment.contains("\tfile:000001.json.zst\tsnapshot:1\thashed\n"), "{comment}");
    let latest = archive.signature(snapshot::LATEST).await.unwrap();
    let list = archive.key_list().await.unwrap().unwrap();
    list.check_signed("latest.json", &archive.latest_json().await.unwrap(), &latest).unwrap();
    assert!(matches!(
        read(&site, &stranger),
        Err(reader::Error::Untrusted { source: trust::Error::ForeignRoot { .. }, .. })
    ));
    archive.close().await;

    let mut archive = site.open().await;
    archive.add(draft(SECOND), btf(2)).await.unwrap();
    assert!(matches!(archive.publish().await, Err(Error::NeedsSigningKey { .. })));
    archive.sign_with(stranger.secret());
    assert!(matches!(archive.publish().await, Err(Error::Trust(trust::Error::UnknownKey { .. }))));
    assert_eq!(archive.latest().await.unwrap().unwrap().number, 1);
    assert!(!site.path().join(snapshot::path(2)).exists(), "nothing was written");
    assert_eq!(read(&site, &root).unwrap().head.number(), 1);
    archive.sign_with(key.secret());
    archive.publish().await.unwrap();
    assert_eq!(read(&site, &root).unwrap().head.number(), 2);

    // A list of keys that was lost is no way to publish without.
    std::fs::remove_file(site.path().join("keys.json")).unwrap();
    archive.close().await;
    let archive = site.open().await;
    archive.add(draft("debian/11/i386/5.10.0-36-686-pae"), btf(3)).await.unwrap();
    assert!(matches!(archive.publish().await, Err(Error::NoKeyList { .. })));
    assert!(matches!(
        read(&site, &root),
        Err(reader::Error::Untrusted { source: trust::Error::Unsigned { .. }, .. })
    ));
}

/// Check which lists of keys are taken: a newer one, signed by the root; and that an archive without signatures becomes one
/// with, its newest snapshot signed.
async fn sign_install(site: Site) {
    let (root, key, stranger) = (Pair::new(), Pair::new(), Pair::new());
    let mut archive = archive(&site, &[FIRST]).await;
    archive.publish().await.unwrap();
    assert!(matches!(install(&archive, &root, &[&key]).await, Err(Error::NeedsSigningKey { .. })));
    archive.sign_with(stranger.secret());
    assert!(matches!(install(&archive, &root, &[&key]).await, Err(Error::Trust(_))), "not in the list");
    assert!(archive.key_list().await.unwrap().is_none(), "nothing was written");
    archive.sign_with(key.secret());
    let first = install(&archive, &root, &[&key]).await.unwrap();
    assert_eq!(read(&site, &root).unwrap().key, Some(key.id()));

    let (_, json, signature) = list(&root, None, &[&stranger]);
    let refused = archive.install_keys(&policy(&root), &json, signature.as_bytes()).await.unwrap_err();
    assert!(refused.to_string().contains("version 1 is there already"), "{refused}");
    let second = install(&archive, &root, &[&key, &stranger]).await.unwrap();
    assert_eq!((first.version, second.version), (1, 2));
    let (_, json, signature) = list(&root, None, &[&key]);
    let refused = archive.install_keys(&policy(&root), &json, signature.as_bytes()).await.unwrap_err();
    assert!(
        matches!(refused, Error::Trust(trust::Error::RolledBack { offered: 1, seen: 2, .. })),
        "{refused}"
    );
    let (_, json, signature) = list(&stranger, Some(&second), &[&key]);
    let refused = archive.install_keys(&policy(&root), &json, signature.as_bytes()).await.unwrap_err();
    assert!(matches!(refused, Error::Trust(trust::Error::ForeignRoot { .. })), "{refused}");
    assert_eq!(archive.key_list().await.unwrap(), Some(second));
    read(&site, &root).unwrap();
}

/// Check that a key is followed by another without a moment in which readers refuse the archive, and that a revoked one is
/// refused.
async fn sign_rotate(site: Site) {
    let (root, old, new) = (Pair::new(), Pair::new(), Pair::new());
    let mut archive = archive(&site, &[FIRST]).await;
    archive.sign_with(old.secret());
    install(&archive, &root, &[&old]).await.unwrap();
    archive.publish().await.unwrap();
    install(&archive, &root, &[&old, &new]).await.unwrap();
    assert_eq!(read(&site, &root).unwrap().key, Some(old.id()));
    // What is published already is not signed anew while it need not be.
    archive.sign_with(new.secret());
    assert!(!archive.publish().await.unwrap().new);
    assert_eq!(read(&site, &root).unwrap().key, Some(old.id()));

    let mut list = archive.key_list().await.unwrap().unwrap().next(now());
    list.revoke(old.id(), now(), "retired").unwrap();
    let json = list.encode().unwrap();
    let signature = root.secret().sign(&json, "keys").unwrap();
    archive.install_keys(&policy(&root), &json, signature.as_bytes()).await.unwrap();
    assert_eq!(read(&site, &root).unwrap().key, Some(new.id()));
    archive.sign_with(old.secret());
    archive.add(draft(SECOND), btf(2)).await.unwrap();
    let refused = archive.publish().await.unwrap_err();
    assert!(matches!(&refused, Error::Trust(trust::Error::Revoked { .. })), "{refused}");
}

/// Check that whatever of a new snapshot or list of keys was written when its writer was killed, readers take what was there
/// before, and the next one who publishes finishes it.
async fn sign_crash(site: Site) {
    let (root, key) = (Pair::new(), Pair::new());
    let mut archive = archive(&site, &[FIRST]).await;
    archive.sign_with(key.secret());
    install(&archive, &root, &[&key]).await.unwrap();
    archive.publish().await.unwrap();
    let path = |name: &str| site.path().join(name);
    let kept: Vec<_> = ["latest.json", "latest.json.minisig", "keys.json", "keys.json.minisig"]
        .map(|name| (path(name), std::fs::read(path(name)).unwrap()))
        .into();
    archive.add(draft(SECOND), btf(2)).await.unwrap();
    archive.publish().await.unwrap();
    install(&archive, &root, &[&key]).await.unwrap();
    let restore =
        |count: usize| kept[..count].iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());

    // The signature of `latest.json` is the last; without it, readers have what they need.
    std::fs::remove_file(path("latest.json.minisig")).unwrap();
    assert_eq!(read(&site, &root).unwrap().head.number(), 2);
    assert!(!archive.publish().await.unwrap().new);
    assert!(path("latest.json.minisig").exists(), "made good");
    // A new list's signature, and the old list.
    restore(3);
    assert_eq!(read(&site, &root).unwrap().keys.as_ref().unwrap().version, 1);
    // A new snapshot, signed or not, that `latest.json` does not name.
    restore(4);
    std::fs::remove_file(path("snapshots/000002.json.zst.minisig")).unwrap();
    assert_eq!(read(&site, &root).unwrap().head.number(), 1);
}

/// Check that a reader remembers the newest snapshot that it saw, and refuses an older one; that an expired key is refused
/// unless the policy says otherwise; and that what is read without a root needs no signature.
#[tokio::test]
async fn sign_reader() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::at(&directory.path().join("archive"));
    let (root, key) = (Pair::new(), Pair::new());
    let mut archive = archive(&site, &[FIRST]).await;
    archive.sign_with(key.secret());
    install(&archive, &root, &[&key]).await.unwrap();
    archive.publish().await.unwrap();
    let latest = std::fs::read(site.path().join("latest.json")).unwrap();
    archive.add(draft(SECOND), btf(2)).await.unwrap();
    archive.publish().await.unwrap();

    let seen = SeenFile::at(directory.path().join("seen.json"));
    let location = site.path().to_str().unwrap();
    let open = |policy: Policy| Reader::open_with(location, policy, Some(seen.clone())).unwrap();
    let reader = open(policy(&root));
    assert_eq!(reader.snapshot().unwrap().kernels.len(), 2);
    std::fs::write(site.path().join("latest.json"), latest).unwrap();
    assert_eq!(reader.newest().unwrap().latest.number, 2, "one snapshot, as long as it lives");
    let refused = open(policy(&root)).snapshot().unwrap_err();
    let rolled_back = trust::Error::RolledBack { what: "snapshot", offered: 1, seen: 2 };
    assert!(refused.to_string().ends_with(&rolled_back.to_string()), "{refused}");
    assert_eq!(read(&site, &root).unwrap().latest.number, 1, "without a memory it is as good as any");
    assert_eq!(Reader::open(location).unwrap().snapshot().unwrap().number, 1);

    let mut list = archive.key_list().await.unwrap().unwrap().next(now());
    list.add(key.1.clone(), now() - YEAR, now() - 1).unwrap();
    let json = list.encode().unwrap();
    std::fs::write(site.path().join("keys.json"), &json).unwrap();
    std::fs::write(site.path().join("keys.json.minisig"), root.secret().sign(&json, "").unwrap()).unwrap();
    assert!(matches!(
        read(&site, &root),
        Err(reader::Error::Untrusted { source: trust::Error::Expired { .. }, .. })
    ));
    let lenient = Policy { expired: Expired::Warn, ..policy(&root) };
    let reader = Reader::open_with(location, lenient, None).unwrap();
    assert!(reader.newest().unwrap().warning.as_ref().unwrap().contains("expired on"));
}
