//! What a reader believes: which roots it pinned, and what it does about expired keys.

use super::{Error, KeyId, KeyList, PublicKey, Result, Seen, Signature};
use crate::snapshot::{Head, Latest};

/// What a reader does about a key whose time has passed, or has not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expired {
    /// Refuses what it signed.
    #[default]
    Refuse,
    /// Takes it and says so: where no new key can come, and clocks are not always right.
    Warn,
}

/// What a reader believes.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The roots it pinned; any of them may have signed the list of keys.
    pub roots: Vec<PublicKey>,
    /// What it does about a key whose time has passed.
    pub expired: Expired,
}

/// A snapshot that stood up to a [`Policy`].
#[derive(Clone, Debug)]
pub struct Checked {
    /// The snapshot.
    pub latest: Latest,
    /// What its file holds.
    pub head: Head,
    /// The key that signed it.
    pub key: KeyId,
    /// What is to be remembered.
    pub seen: Seen,
    /// What was let pass by [`Expired::Warn`].
    pub warning: Option<String>,
}

impl Policy {
    /// Believes what these roots vouch for, and refuses expired keys.
    pub fn new(roots: Vec<PublicKey>) -> Self {
        Self { roots, expired: Expired::default() }
    }

    /// Checks the list of keys: that a pinned root signed it, and that none newer was seen.
    ///
    /// # Errors
    /// [`Error::ForeignRoot`], [`Error::Signature`], [`Error::Forged`], [`Error::KeyList`], [`Error::RolledBack`].
    pub fn check_keys(&self, json: &[u8], signature: &[u8], seen: &Seen) -> Result<KeyList> {
        const WHAT: &str = "keys.json";
        let signature = Signature::parse(WHAT, signature)?;
        let found = signature.key();
        let root = self.roots.iter().find(|root| root.id() == found);
        root.ok_or(Error::ForeignRoot { found })?.check(WHAT, json, &signature)?;
        let list = KeyList::decode(json)?;
        if list.version < seen.keys {
            return Err(Error::RolledBack { what: "key list", offered: list.version, seen: seen.keys });
        }
        Ok(list)
    }

    /// Checks the newest snapshot: that `latest` names exactly the file `snapshot`, that a listed key signed that, valid
    /// at the time `now` (seconds since 1970, UTC), and that none newer was seen.
    ///
    /// # Errors
    /// Those of [`KeyList::check_signed`] and [`SnapshotKey::check_time`](super::SnapshotKey::check_time);
    /// [`Error::Latest`], [`Error::RolledBack`], [`Error::Forked`], [`Error::Content`].
    pub fn check_snapshot(
        &self,
        keys: &KeyList,
        latest: &[u8],
        snapshot: &[u8],
        signature: &[u8],
        now: u64,
        seen: &Seen,
    ) -> Result<Checked> {
        const WHAT: &str = "the snapshot";
        // The signature first: nothing is decompressed for whoever cannot sign.
        let key = keys.check_signed(WHAT, snapshot, signature)?;
        let warning = match (key.check_time(WHAT, now), self.expired) {
            (Ok(()), _) => None,
            (Err(error), Expired::Warn) => Some(error.to_string()),
            (Err(error), Expired::Refuse) => return Err(error),
        };
        let head = Head::decode(snapshot)?;
        let (said, latest) = (latest, Latest::of(head.number(), head.created(), snapshot));
        if latest.encode()? != said {
            return Err(Error::Latest);
        }
        if let Some(before) = seen.snapshot {
            if latest.number < before.number {
                return Err(Error::RolledBack {
                    what: "snapshot",
                    offered: latest.number,
                    seen: before.number,
                });
            }
            if latest.number == before.number && latest.digest != before.digest {
                return Err(Error::Forked { number: latest.number });
            }
        }
        let seen = Seen { keys: keys.version, snapshot: Some(latest.link()) };
        Ok(Checked { latest, head, key: key.id, seen, warning })
    }
}
