//! Finding the newest snapshot, and whether to believe in it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Error, Reader};
use crate::snapshot::{self, Head, Latest};
use crate::trust::{self, KEYS, KeyId, KeyList, MAX_KEYS, MAX_SIGNATURE, Policy, Seen};
use crate::trust::{keys_signature_path, signature_path};

/// The newest snapshot of an archive.
#[derive(Clone, Debug)]
pub struct Newest {
    /// Which it is.
    pub latest: Latest,
    /// What its file holds.
    pub head: Head,
    /// The root's list of keys, where a root is pinned.
    pub keys: Option<KeyList>,
    /// The key that signed it, where a root is pinned.
    pub key: Option<KeyId>,
    /// What the policy let pass, to be told.
    pub warning: Option<String>,
}

impl Reader {
    pub(super) fn find_newest(&self) -> Result<Newest, Error> {
        let Some(policy) = &self.policy else { return self.unsigned() };
        match self.signed(policy) {
            // Perhaps we read some files before new ones were put there, and some after.
            Err(Error::Untrusted {
                source: trust::Error::UnknownKey { .. } | trust::Error::Forged { .. },
                ..
            }) => self.signed(policy),
            newest => newest,
        }
    }

    /// The list of keys: as the pinned root signed it, or, without one, as it lies there; none where the archive has none.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::Object`].
    pub fn key_list(&self) -> Result<Option<KeyList>, Error> {
        if let Some(policy) = &self.policy {
            return self.keys(policy, &Seen::default()).map(Some);
        }
        let untrusted = |source| Error::Untrusted { location: self.place.name(""), source };
        let json = self.place.get(KEYS, MAX_KEYS as u64)?;
        json.map(|json| KeyList::decode(&json).map_err(untrusted)).transpose()
    }

    /// The newest snapshot, whoever made it.
    fn unsigned(&self) -> Result<Newest, Error> {
        let (_, latest, file) = self.files()?;
        let head =
            Head::decode(&file).map_err(|source| self.refused(&snapshot::path(latest.number), source))?;
        if head.number() != latest.number {
            let reason = format!("says that it is number {}", head.number());
            let source = crate::Error::Snapshot { what: "snapshot", reason };
            return Err(self.refused(&snapshot::path(latest.number), source));
        }
        Ok(Newest { latest, head, keys: None, key: None, warning: None })
    }

    /// The newest snapshot, if it is what the policy asks for.
    fn signed(&self, policy: &Policy) -> Result<Newest, Error> {
        let location = self.place.name("");
        let untrusted = |source| Error::Untrusted { location: location.clone(), source };
        let before = match &self.seen {
            Some(file) => file.read(&location).map_err(untrusted)?,
            None => Seen::default(),
        };
        let keys = self.keys(policy, &before)?;
        let (json, latest, file) = self.files()?;
        let signature = self.signature(&signature_path(&snapshot::path(latest.number)), "the snapshot")?;
        let checked = policy.check_snapshot(&keys, &json, &file, &signature, now(), &before);
        let checked = checked.map_err(untrusted)?;
        if let Some(file) = &self.seen {
            file.remember(&location, checked.seen).map_err(untrusted)?;
        }
        let trust::Checked { latest, head, key, warning, .. } = checked;
        Ok(Newest { latest, head, keys: Some(keys), key: Some(key), warning })
    }

    /// The list of keys.
    fn keys(&self, policy: &Policy, seen: &Seen) -> Result<KeyList, Error> {
        let untrusted = |source| Error::Untrusted { location: self.place.name(""), source };
        let json = self.place.get(KEYS, MAX_KEYS as u64)?;
        let json = match json {
            Some(json) => json,
            // Something else is missing where nothing was published at all.
            None if self.place.get(snapshot::LATEST, snapshot::MAX_LATEST as u64)?.is_none() => {
                return Err(Error::NotAnArchive { location: self.place.name("") });
            }
            None => return Err(untrusted(trust::Error::Unsigned { what: "the archive" })),
        };
        let signature = self.signature(&signature_path(KEYS), KEYS)?;
        match policy.check_keys(&json, &signature, seen) {
            Err(trust::Error::Forged { .. }) => {}
            keys => return keys.map_err(untrusted),
        }
        // A new list may be on its way, its signature there already: the list's own has another name, too.
        let version = KeyList::decode(&json).map_err(untrusted)?.version;
        let signature = self.signature(&keys_signature_path(version), KEYS)?;
        policy.check_keys(&json, &signature, seen).map_err(untrusted)
    }

    /// The bytes of a signature of `what`.
    fn signature(&self, path: &str, what: &'static str) -> Result<Vec<u8>, Error> {
        let unsigned =
            || Error::Untrusted { location: self.place.name(""), source: trust::Error::Unsigned { what } };
        self.place.get(path, MAX_SIGNATURE as u64)?.ok_or_else(unsigned)
    }

    /// `latest.json`, as it is and as it was read, and the file that it names, which has the digest it says.
    fn files(&self) -> Result<(Vec<u8>, Latest, Vec<u8>), Error> {
        let Some(json) = self.place.get(snapshot::LATEST, snapshot::MAX_LATEST as u64)? else {
            return Err(Error::NotAnArchive { location: self.place.name("") });
        };
        let latest = Latest::decode(&json).map_err(|source| self.refused(snapshot::LATEST, source))?;
        let path = snapshot::path(latest.number);
        let file = self.need(&path, latest.size.min(snapshot::MAX_RAW as u64))?;
        latest.digest.check(&file).map_err(|source| self.refused(&path, source))?;
        Ok((json, latest, file))
    }
}

/// Seconds since 1970 (UTC).
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
