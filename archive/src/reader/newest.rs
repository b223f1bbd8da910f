//! Finding the newest snapshot, and whether to believe in it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Error, Reader};
use crate::snapshot::{self, Head, Latest};
use crate::trust::{self, Fault, KEYS, KeyId, KeyList, MAX_KEYS, Policy, Seen};

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
        match &self.policy {
            Some(policy) => self.signed(policy),
            None => self.unsigned(),
        }
    }

    /// The list of keys: as the pinned root signed it, or, without one, as it lies there; none where the archive has none.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::Object`].
    pub fn key_list(&self) -> Result<Option<KeyList>, Error> {
        if let Some(policy) = &self.policy {
            let get = |path: &str, limit| self.place.get(path, limit as u64);
            return policy.keys(get, &Seen::default()).map(Some).map_err(|fault| self.fault(fault));
        }
        let untrusted = |source| Error::Untrusted { location: self.place.name(""), source };
        let json = self.place.get(KEYS, MAX_KEYS as u64)?;
        json.map(|json| KeyList::decode(&json).map_err(untrusted)).transpose()
    }

    /// The newest snapshot, whoever made it.
    fn unsigned(&self) -> Result<Newest, Error> {
        let (latest, file) = self.files()?;
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
        let get = |path: &str, limit| self.place.get(path, limit as u64);
        let newest = policy.newest(get, now(), &before).map_err(|fault| self.fault(fault))?;
        let (keys, checked) = newest.ok_or_else(|| Error::NotAnArchive { location: location.clone() })?;
        if let Some(file) = &self.seen {
            file.remember(&location, checked.seen).map_err(untrusted)?;
        }
        let trust::Checked { latest, head, key, warning, .. } = checked;
        Ok(Newest { latest, head, keys: Some(keys), key: Some(key), warning })
    }

    fn fault(&self, fault: Fault<Error>) -> Error {
        match fault {
            Fault::Untrusted(source) => Error::Untrusted { location: self.place.name(""), source },
            Fault::Unread(error) => error,
        }
    }

    /// `latest.json`, and the file that it names, which has the digest it says.
    fn files(&self) -> Result<(Latest, Vec<u8>), Error> {
        let Some(json) = self.place.get(snapshot::LATEST, snapshot::MAX_LATEST as u64)? else {
            return Err(Error::NotAnArchive { location: self.place.name("") });
        };
        let latest = Latest::decode(&json).map_err(|source| self.refused(snapshot::LATEST, source))?;
        let path = snapshot::path(latest.number);
        let file = self.need(&path, latest.size.min(snapshot::MAX_RAW as u64))?;
        latest.digest.check(&file).map_err(|source| self.refused(&path, source))?;
        Ok((latest, file))
    }
}

/// Seconds since 1970 (UTC).
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
