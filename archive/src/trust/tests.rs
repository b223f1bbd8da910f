//! What trust promises: what the right keys signed is taken, and nothing else.

use super::*;
use crate::snapshot::{Latest, Snapshot};
use crate::{Digest, KernelRecord};

const DAY: u64 = 86_400;
const NOW: u64 = 1_790_000_000;

fn key() -> SigningKey {
    SigningKey::read(&SigningKey::generate("test", None).unwrap().0, None).unwrap()
}

/// A signed archive's small files.
struct Site {
    root: SigningKey,
    key: SigningKey,
    keys: Vec<u8>,
    keys_signature: String,
    latest: Vec<u8>,
    index: Vec<u8>,
    index_signature: String,
}

impl Site {
    fn new() -> Self {
        let (root, key) = (key(), key());
        let mut list = KeyList::new(NOW);
        list.add(key.public().clone(), NOW, NOW + 90 * DAY).unwrap();
        let (latest, index) = snapshot(1);
        let mut site = Self {
            keys: list.encode().unwrap(),
            keys_signature: String::new(),
            index_signature: key.sign(&index, "snapshot 1").unwrap(),
            root,
            key,
            latest: latest.encode().unwrap(),
            index,
        };
        site.sign_keys();
        site
    }

    fn sign_keys(&mut self) {
        self.keys_signature = self.root.sign(&self.keys, "keys").unwrap();
    }

    /// Changes the list of keys, and has the root sign it.
    fn with_keys(mut self, change: impl FnOnce(&mut KeyList)) -> Self {
        let mut list = KeyList::decode(&self.keys).unwrap();
        change(&mut list);
        self.keys = list.encode().unwrap();
        self.sign_keys();
        self
    }

    fn policy(&self) -> Policy {
        Policy::new(vec![key().public().clone(), self.root.public().clone()])
    }

    fn check_as(&self, policy: &Policy, now: u64, seen: &Seen) -> Result<Checked> {
        let keys = policy.check_keys(&self.keys, self.keys_signature.as_bytes(), seen)?;
        policy.check_snapshot(&keys, &self.latest, &self.index, self.index_signature.as_bytes(), now, seen)
    }

    fn check(&self) -> Result<Checked> {
        self.check_as(&self.policy(), NOW, &Seen::default())
    }
}

/// A snapshot of this number, with one kernel.
fn snapshot(number: u64) -> (Latest, Vec<u8>) {
    let kernel: KernelRecord = serde_json::from_value(serde_json::json!({
        "key": format!("debian/11/i386/5.10.0-{number}-686"),
        "digest": Digest::of(b""), "raw_size": 1, "zst_size": 1, "added": NOW,
        "provenance": { "trust": "none", "source": "upload", "generator": "test 1" },
    }))
    .unwrap();
    let previous = (number > 1).then(|| snapshot(number - 1).0.link());
    let encoded = Snapshot::new(NOW, previous, vec![kernel]).encode(None).unwrap();
    (encoded.latest, encoded.index)
}

/// Check that what the root and the snapshot key signed is taken, and what is to be remembered.
#[test]
fn trust_signed() {
    let site = Site::new();
    let checked = site.check().unwrap();
    assert_eq!((checked.latest.number, checked.head.number(), checked.warning), (1, 1, None));
    assert_eq!(checked.key, site.key.public().id());
    assert_eq!(checked.seen, Seen { keys: 1, snapshot: Some(checked.latest.link()) });
    site.check_as(&site.policy(), NOW, &checked.seen).unwrap();
}

/// Check that no byte of any file can be changed, left out or added, but for comments that nobody signs.
#[test]
fn trust_every_byte() {
    let mut site = Site::new();
    let refused = |site: &Site, what: &str, at: usize| {
        assert!(site.check().is_err(), "{what}, byte {at}");
    };
    type File = fn(&mut Site) -> &mut Vec<u8>;
    type Text = fn(&mut Site) -> &mut String;
    let files: [(&str, File); 3] = [
        ("keys.json", |site| &mut site.keys),
        ("latest.json", |site| &mut site.latest),
        ("snapshot", |site| &mut site.index),
    ];
    for (what, file) in files {
        let good = file(&mut site).clone();
        for at in 0..good.len() {
            for bit in [1, 0x20, 0x80] {
                file(&mut site)[at] ^= bit;
                refused(&site, what, at);
                file(&mut site)[at] ^= bit;
            }
            *file(&mut site) = good[..at].to_vec();
            refused(&site, what, at);
            *file(&mut site) = good.clone();
        }
        file(&mut site).push(b'\n');
        refused(&site, what, good.len());
        *file(&mut site) = good;
    }
    let signatures: [(&str, Text); 2] = [
        ("keys.json.minisig", |site| &mut site.keys_signature),
        ("snapshot's signature", |site| &mut site.index_signature),
    ];
    for (what, file) in signatures {
        let good = file(&mut site).clone();
        let signed = good.find('\n').unwrap() + 1;
        for at in 0..good.len() {
            for bit in [1, 2, 0x20] {
                let mut bytes = good.clone().into_bytes();
                bytes[at] ^= bit;
                *file(&mut site) = String::from_utf8(bytes).unwrap();
                // The newline at the end may become a character of the last line, which is refused too.
                if at >= signed {
                    refused(&site, what, at);
                } else {
                    let _ = site.check();
                }
            }
            *file(&mut site) = good[..at].to_owned();
            if at + 1 < good.len() {
                refused(&site, what, at);
            }
        }
        for more in ["\n", "x", "trusted comment: \n"] {
            *file(&mut site) = format!("{good}{more}");
            refused(&site, what, good.len());
        }
        *file(&mut site) = good;
    }
    site.check().unwrap();
}

/// Check that a list of keys which another root signed, a snapshot key itself, or nobody, is refused.
#[test]
fn trust_foreign_root() {
    let mut site = Site::new();
    let stranger = key();
    for signer in [&stranger, &site.key] {
        let signature = signer.sign(&site.keys, "keys").unwrap();
        let refused = site.policy().check_keys(&site.keys, signature.as_bytes(), &Seen::default());
        assert!(matches!(refused, Err(Error::ForeignRoot { found }) if found == signer.public().id()));
    }
    // With the root's id, but another key.
    let id = |text: &str| text.lines().nth(1).unwrap()[..14].to_owned();
    let forged = stranger.sign(&site.keys, "keys").unwrap();
    let forged = forged.replacen(&id(&forged), &id(&site.keys_signature), 1);
    site.keys_signature = forged;
    assert!(site.check().is_err());
    site.keys_signature = String::new();
    assert!(matches!(site.check(), Err(Error::Signature { .. })));
}

/// Check that a snapshot signed by a key that is not listed, by the root itself, or of another file is refused.
#[test]
fn trust_unknown_key() {
    let mut site = Site::new();
    let (good, stranger) = (site.index_signature.clone(), key());
    for signer in [&stranger, &site.root] {
        let signature = signer.sign(&site.index, "").unwrap();
        let keys = KeyList::decode(&site.keys).unwrap();
        let refused = keys.check_signed("the snapshot", &site.index, signature.as_bytes());
        assert!(matches!(refused, Err(Error::UnknownKey { version: 1, .. })), "{refused:?}");
    }
    site.index_signature = site.key.sign(&snapshot(2).1, "").unwrap();
    assert!(matches!(site.check(), Err(Error::Forged { .. })));
    site.index_signature = good;
    site.latest = snapshot(2).0.encode().unwrap();
    assert!(matches!(site.check(), Err(Error::Latest)));
}

/// Check that a signature of minisign's older kind, of the file instead of its hash, is refused.
#[test]
fn trust_legacy() {
    let legacy = Site::new().index_signature.replacen("\nRU", "\nRW", 1);
    let refused = Signature::parse("test", legacy.as_bytes()).unwrap_err();
    assert!(refused.to_string().contains("kind ED"), "{refused}");
}

/// Check that a key counts from its first second, less a day for slow clocks, to its last; and that what is beyond is
/// taken where the policy says so, with a warning.
#[test]
fn trust_times() {
    let site = Site::new();
    let end = NOW + 90 * DAY;
    let strict = site.policy();
    let lenient = Policy { expired: Expired::Warn, ..site.policy() };
    for (now, good) in [
        (NOW - DAY - 1, false),
        (NOW - DAY, true),
        (end - 1, true),
        (end, false),
        (0, false),
        (u64::MAX, false),
    ] {
        let checked = site.check_as(&strict, now, &Seen::default());
        assert_eq!(checked.is_ok(), good, "{now}");
        let warned = site.check_as(&lenient, now, &Seen::default()).unwrap().warning;
        assert_eq!(warned.is_none(), good, "{now}");
        if let Err(error) = checked {
            assert_eq!(warned, Some(error.to_string()));
        }
    }
    let expired = site.check_as(&strict, end, &Seen::default()).unwrap_err().to_string();
    assert!(expired.contains("expired on 2026-12-20"), "{expired}");
}

/// Check that a revoked key is refused, whenever it signed and whatever the policy, and that it cannot come back.
#[test]
fn trust_revoked() {
    let site = Site::new();
    let id = site.key.public().id();
    let site = site.with_keys(|list| list.revoke(id, NOW, "the disk was stolen").unwrap());
    let lenient = Policy { expired: Expired::Warn, ..site.policy() };
    let refused = site.check_as(&lenient, NOW, &Seen::default()).unwrap_err();
    assert!(matches!(&refused, Error::Revoked { key, .. } if *key == id));
    assert!(refused.to_string().contains("the disk was stolen"), "{refused}");
    let mut list = KeyList::decode(&site.keys).unwrap();
    assert!(list.add(site.key.public().clone(), NOW, NOW + 1).is_err());
    assert!(list.revoke(key().public().id(), NOW, " ").is_err(), "a reason is needed");
}

/// Check that an older snapshot, another of the same number, or an older list of keys is refused.
#[test]
fn trust_rollback() {
    let site = Site::new();
    let seen = |keys, number, digest| Seen { keys, snapshot: Some(crate::snapshot::Link { number, digest }) };
    let (policy, digest) = (site.policy(), Digest::of(&site.index));
    assert!(site.check_as(&policy, NOW, &seen(1, 1, digest)).is_ok());
    assert!(matches!(
        site.check_as(&policy, NOW, &seen(1, 2, digest)),
        Err(Error::RolledBack { what: "snapshot", offered: 1, seen: 2 })
    ));
    assert!(matches!(
        site.check_as(&policy, NOW, &seen(1, 1, Digest::of(b""))),
        Err(Error::Forked { number: 1 })
    ));
    assert!(matches!(
        site.check_as(&policy, NOW, &seen(2, 1, digest)),
        Err(Error::RolledBack { what: "key list", offered: 1, seen: 2 })
    ));
}

/// Check that a list of keys that contradicts itself is refused, though the root signed it.
#[test]
fn trust_key_list() {
    let site = Site::new();
    let other = key().public().clone();
    let list: serde_json::Value = serde_json::from_slice(&site.keys).unwrap();
    let id = list["keys"][0]["id"].clone();
    for (change, reason) in [
        (serde_json::json!({ "format": 2 }), "format 2 is none"),
        (serde_json::json!({ "version": 0 }), "version 0"),
        (serde_json::json!({ "keys": [list["keys"][0], list["keys"][0]] }), "there twice"),
        (serde_json::json!({ "revoked": [{ "id": id, "at": 1, "reason": "x" }] }), "both valid and revoked"),
        (
            serde_json::json!({ "keys": [{ "id": id, "key": other, "not_before": 1, "expires": 2 }] }),
            "has the id",
        ),
        (serde_json::json!({ "keys": vec![list["keys"][0].clone(); 257] }), "more than 256"),
        (serde_json::json!({ "keys": 1 }), "invalid type"),
    ] {
        let mut changed = list.clone();
        changed.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let json = changed.to_string();
        let signature = site.root.sign(json.as_bytes(), "keys").unwrap();
        let refused = site.policy().check_keys(json.as_bytes(), signature.as_bytes(), &Seen::default());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}: not because {reason}");
    }
    assert!(KeyList::decode(&vec![b' '; MAX_KEYS + 1]).is_err());
    let mut backwards = KeyList::new(NOW);
    assert!(backwards.add(other, NOW, NOW).is_err(), "no time at all");
    let next = KeyList::decode(&site.keys).unwrap().next(NOW + 1);
    assert_eq!((next.version, next.created, next.keys.len()), (2, NOW + 1, 1));
}

/// Check the JSON of a list of keys: other programs read it.
#[test]
fn trust_key_list_json() {
    let mut list = KeyList::new(NOW);
    let key: PublicKey = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse().unwrap();
    list.add(key, NOW, NOW + 90 * DAY).unwrap();
    list.revoke("0123456789abcdef".parse().unwrap(), NOW, "lost").unwrap();
    insta::assert_snapshot!(String::from_utf8(list.encode().unwrap()).unwrap());
}

/// Check that public keys are read from a line or a file, shown with minisign's id, and refused when they are none.
#[test]
fn trust_public_key() {
    let line = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let key: PublicKey = line.parse().unwrap();
    assert_eq!((key.to_string(), key.id().to_string()), (line.to_owned(), "E7620F1842B4E81F".to_owned()));
    assert_eq!(key.to_file().parse::<PublicKey>().unwrap(), key);
    assert_eq!(format!("\n  {line}\r\n").parse::<PublicKey>().unwrap(), key);
    for other in
        ["", "RWQ", &line[1..], &format!("{line}\n{line}"), "untrusted comment: x", &line.replace("RW", "RU")]
    {
        assert!(other.parse::<PublicKey>().is_err(), "{other}");
    }
    assert_eq!("e7620f1842b4e81f".parse::<KeyId>().unwrap(), key.id());
    for other in ["", "E7620F1842B4E81", "+7620F1842B4E81F", "x"] {
        assert!(other.parse::<KeyId>().is_err(), "{other}");
    }
}

/// Check that a secret key comes back from its file, with its password and with no other, and is not shown.
#[test]
fn trust_secret_key() {
    let (file, public) = SigningKey::generate("mine", Some("correct horse")).unwrap();
    assert!(SigningKey::is_encrypted(&file).unwrap());
    assert_eq!(SigningKey::read(&file, Some("correct horse")).unwrap().public(), &public);
    for password in [None, Some("correct house"), Some("")] {
        assert!(SigningKey::read(&file, password).is_err(), "{password:?}");
    }
    assert!(SigningKey::generate("mine", Some("")).is_err());
    let (file, public) = SigningKey::generate("mine", None).unwrap();
    let key = SigningKey::read(&file, None).unwrap();
    assert_eq!((key.public(), SigningKey::is_encrypted(&file).unwrap()), (&public, false));
    assert_eq!(format!("{key:?}"), format!("SigningKey({})", public.id()));
    for at in 0..file.trim_end().len() {
        let _ = SigningKey::read(&file[..at], None).unwrap_err();
    }
}

/// Check what is remembered: the newest of each archive, across programs, and that a damaged memory is not forgotten.
#[test]
fn trust_seen() {
    let directory = tempfile::tempdir().unwrap();
    let file = SeenFile::at(directory.path().join("state/seen.json"));
    assert_eq!(file.read("a").unwrap(), Seen::default());
    let seen = |keys, number| Seen { keys, snapshot: Some(snapshot(number).0.link()) };
    file.remember("a", seen(2, 3)).unwrap();
    file.remember("b", seen(1, 1)).unwrap();
    file.remember("a", seen(3, 2)).unwrap();
    assert_eq!(file.read("a").unwrap(), seen(3, 3), "the newest of both");
    assert_eq!(file.read("b").unwrap(), seen(1, 1));
    // However it is written, a place is one place.
    let place = directory.path().join("state");
    file.remember(place.to_str().unwrap(), seen(1, 1)).unwrap();
    assert_eq!(file.read(&format!("{}/../state/", place.display())).unwrap(), seen(1, 1));
    file.remember("https://btf.example/", seen(1, 1)).unwrap();
    assert_eq!(file.read("https://btf.example").unwrap(), seen(1, 1));
    std::fs::write(file.path(), "{").unwrap();
    assert!(file.read("a").unwrap_err().to_string().contains("seen.json"));
    assert!(file.remember("a", seen(1, 1)).is_err());

    let home = |name: &str| (name == "HOME").then(|| "/home/me".into());
    assert_eq!(
        SeenFile::of_user(home).unwrap().path().to_str(),
        Some("/home/me/.local/state/btf-archive/seen.json")
    );
    let state = |name: &str| (name == "XDG_STATE_HOME").then(|| "/state".into());
    assert_eq!(SeenFile::of_user(state).unwrap().path().to_str(), Some("/state/btf-archive/seen.json"));
    assert_eq!(SeenFile::of_user(|_| None), None);
}

/// Check that days are named as a calendar does.
#[test]
fn trust_date() {
    for (seconds, day) in [
        (0, "1970-01-01"),
        (951_782_399, "2000-02-28"),
        (951_782_400, "2000-02-29"),
        (951_868_800, "2000-03-01"),
        (4_107_542_400, "2100-03-01"),
        (1_790_000_000, "2026-09-21"),
    ] {
        assert_eq!(error::date(seconds), day);
    }
    assert_eq!(error::date(u64::MAX), "584554051223-11-09");
}
