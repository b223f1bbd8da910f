//! `keys.json`: the snapshot keys that the root vouches for, and those it does no more.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Error, KeyId, MAX_KEYS, PublicKey, Result, Signature};

/// The format of `keys.json` that this crate writes, and the only one it reads.
const FORMAT: u32 = 1;

/// The most keys a list may have, and the most revocations.
const MAX_ENTRIES: usize = 256;

/// How far a clock may be behind before a key's time has not come for it.
const CLOCK_SKEW: u64 = 24 * 3600;

/// The list of snapshot keys (`keys.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    format: u32,
    /// Its number, which only grows: 1 for the first.
    pub version: u64,
    /// When it was made, in seconds since 1970 (UTC).
    pub created: u64,
    /// The keys, of which each signature needs one.
    pub keys: Vec<SnapshotKey>,
    /// Keys that must not be believed any more, whatever they signed and when.
    #[serde(default)]
    pub revoked: Vec<Revocation>,
}

/// A key that signs snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotKey {
    /// Its id, which is in the key too.
    pub id: KeyId,
    /// The key.
    pub key: PublicKey,
    /// From when it is valid, in seconds since 1970 (UTC).
    pub not_before: u64,
    /// Until when it is valid, in seconds since 1970 (UTC).
    pub expires: u64,
}

/// A key that must not be believed any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The key's id.
    pub id: KeyId,
    /// When that was said, in seconds since 1970 (UTC).
    pub at: u64,
    /// Why.
    pub reason: String,
}

impl KeyList {
    /// The first list, of no keys.
    pub fn new(created: u64) -> Self {
        Self { format: FORMAT, version: 1, created, keys: Vec::new(), revoked: Vec::new() }
    }

    /// The list that follows this one, as long as nothing is changed in it.
    pub fn next(&self, created: u64) -> Self {
        Self { version: self.version.saturating_add(1), created, ..self.clone() }
    }

    /// Adds a key, or gives one that is there another time.
    ///
    /// # Errors
    /// [`Error::KeyList`] for a key that was revoked, a time that ends before it begins, or too many keys.
    pub fn add(&mut self, key: PublicKey, not_before: u64, expires: u64) -> Result<()> {
        let mut list = self.clone();
        list.keys.retain(|known| known.id != key.id());
        list.keys.push(SnapshotKey { id: key.id(), key, not_before, expires });
        list.check()?;
        *self = list;
        Ok(())
    }

    /// Revokes a key, which need not be in the list.
    ///
    /// # Errors
    /// [`Error::KeyList`] without a reason, or with too many revocations.
    pub fn revoke(&mut self, id: KeyId, at: u64, reason: &str) -> Result<()> {
        let mut list = self.clone();
        list.keys.retain(|known| known.id != id);
        list.revoked.retain(|known| known.id != id);
        list.revoked.push(Revocation { id, at, reason: reason.trim().to_owned() });
        list.check()?;
        *self = list;
        Ok(())
    }

    /// The bytes of `keys.json`.
    ///
    /// # Errors
    /// [`Error::KeyList`] for a list that no reader would take.
    pub fn encode(&self) -> Result<Vec<u8>> {
        self.check()?;
        let mut json = serde_json::to_vec_pretty(self).map_err(wrong)?;
        json.push(b'\n');
        if json.len() > MAX_KEYS {
            return Err(wrong("larger than 256 KiB"));
        }
        Ok(json)
    }

    /// Reads `keys.json`, without asking who signed it: readers of archives use
    /// [`Policy::check_keys`](super::Policy::check_keys).
    ///
    /// # Errors
    /// [`Error::KeyList`].
    pub fn decode(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        if json.len() > MAX_KEYS {
            return Err(wrong("larger than 256 KiB"));
        }
        let Format { format } = serde_json::from_slice(json).map_err(wrong)?;
        if format != FORMAT {
            return Err(wrong(format!("format {format} is none that this program reads: it may be too old")));
        }
        let list: Self = serde_json::from_slice(json).map_err(wrong)?;
        list.check()?;
        Ok(list)
    }

    /// The key of this id, if it may sign.
    ///
    /// # Errors
    /// [`Error::Revoked`], [`Error::UnknownKey`].
    fn key_of(&self, what: &'static str, key: KeyId) -> Result<&SnapshotKey> {
        if let Some(revoked) = self.revoked.iter().find(|revoked| revoked.id == key) {
            return Err(Error::Revoked { what, key, reason: revoked.reason.clone() });
        }
        let found = self.keys.iter().find(|known| known.id == key);
        found.ok_or(Error::UnknownKey { what, key, version: self.version })
    }

    /// Checks that a key of this list signed these bytes; the key's time is the caller's to judge
    /// ([`SnapshotKey::check_time`]).
    ///
    /// # Errors
    /// [`Error::Signature`], [`Error::Revoked`], [`Error::UnknownKey`], [`Error::Forged`].
    pub fn check_signed(&self, what: &'static str, bytes: &[u8], signature: &[u8]) -> Result<&SnapshotKey> {
        let signature = Signature::parse(what, signature)?;
        let key = self.key_of(what, signature.key())?;
        key.key.check(what, bytes, &signature)?;
        Ok(key)
    }

    /// Checks that this list has a key, valid at the time `now` (seconds since 1970, UTC): that what it signs will be taken.
    ///
    /// # Errors
    /// [`Error::Revoked`], [`Error::UnknownKey`], [`Error::Expired`], [`Error::NotYetValid`].
    pub fn check_key(&self, what: &'static str, key: &PublicKey, now: u64) -> Result<()> {
        let found = self.key_of(what, key.id())?;
        if found.key != *key {
            return Err(Error::UnknownKey { what, key: key.id(), version: self.version });
        }
        found.check_time(what, now)
    }

    /// Checks what a list promises.
    fn check(&self) -> Result<()> {
        if self.version == 0 {
            return Err(wrong("version 0: the first is 1"));
        }
        if self.keys.len() > MAX_ENTRIES || self.revoked.len() > MAX_ENTRIES {
            return Err(wrong("more than 256 keys or revocations"));
        }
        let mut ids = BTreeSet::new();
        for key in &self.keys {
            let SnapshotKey { id, key, not_before, expires } = key;
            if key.id() != *id {
                return Err(wrong(format!("key {id} has the id {}", key.id())));
            }
            if not_before >= expires {
                return Err(wrong(format!("key {id} expires before it is valid")));
            }
        }
        let revoked = self.revoked.iter().map(|revoked| revoked.id);
        if let Some(id) = self.keys.iter().map(|key| key.id).chain(revoked).find(|id| !ids.insert(*id)) {
            return Err(wrong(format!("key {id} is there twice, or both valid and revoked")));
        }
        match self.revoked.iter().find(|revoked| revoked.reason.trim().is_empty()) {
            Some(revoked) => Err(wrong(format!("key {} is revoked without a reason", revoked.id))),
            None => Ok(()),
        }
    }
}

impl SnapshotKey {
    /// Checks that the key is valid at this time, in seconds since 1970 (UTC). Clocks may be a day behind.
    ///
    /// # Errors
    /// [`Error::Expired`], [`Error::NotYetValid`].
    pub fn check_time(&self, what: &'static str, now: u64) -> Result<()> {
        let Self { id, not_before, expires, .. } = *self;
        if now >= expires {
            return Err(Error::Expired { what, key: id, expires });
        }
        if now.saturating_add(CLOCK_SKEW) < not_before {
            return Err(Error::NotYetValid { what, key: id, not_before });
        }
        Ok(())
    }
}

fn wrong(reason: impl ToString) -> Error {
    Error::KeyList { reason: reason.to_string() }
}
