//! From `keys.json` to the newest snapshot, wherever an archive's files come from.

use super::{Checked, Error, KEYS, KeyList, MAX_KEYS, MAX_SIGNATURE, Policy, Result, Seen};
use super::{keys_signature_path, signature_path};
use crate::snapshot::{self, Latest};

/// Why there is no newest snapshot to believe in.
#[derive(Debug)]
pub enum Fault<E> {
    /// It is not what the policy asks for.
    Untrusted(Error),
    /// A file could not be had.
    Unread(E),
}

impl<E> From<Error> for Fault<E> {
    fn from(error: Error) -> Self {
        Self::Untrusted(error)
    }
}

impl<E> From<crate::Error> for Fault<E> {
    fn from(error: crate::Error) -> Self {
        Self::Untrusted(error.into())
    }
}

impl Policy {
    /// Finds the newest snapshot of an archive and checks it, with the list of keys. `get` gives the file of a path, of at most
    /// so many bytes, or nothing where there is none; `now` is in seconds since 1970 (UTC). Nothing where nothing was published.
    ///
    /// # Errors
    /// Those of [`Policy::check_keys`] and [`Policy::check_snapshot`], [`Error::Unsigned`], and those of `get`.
    pub fn newest<E>(
        &self,
        get: impl Fn(&str, usize) -> Result<Option<Vec<u8>>, E>,
        now: u64,
        seen: &Seen,
    ) -> Result<Option<(KeyList, Checked)>, Fault<E>> {
        let find = || {
            let Some(json) = get(snapshot::LATEST, snapshot::MAX_LATEST).map_err(Fault::Unread)? else {
                return Ok(None);
            };
            let keys = self.keys(&get, seen)?;
            let latest = Latest::decode(&json)?;
            let path = snapshot::path(latest.number);
            let size = usize::try_from(latest.size).unwrap_or(usize::MAX).min(snapshot::MAX_RAW);
            let need = |path: &str, max| match get(path, max) {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(Fault::Untrusted(Error::Unsigned { what: "the snapshot" })),
                Err(error) => Err(Fault::Unread(error)),
            };
            let signature = need(&signature_path(&path), MAX_SIGNATURE)?;
            let Some(file) = get(&path, size).map_err(Fault::Unread)? else {
                let reason = format!("{path}, which latest.json names, is not there");
                return Err(crate::Error::Snapshot { what: "snapshot", reason }.into());
            };
            latest.digest.check(&file)?;
            let checked = self.check_snapshot(&keys, &json, &file, &signature, now, seen)?;
            Ok(Some((keys, checked)))
        };
        match find() {
            // Perhaps some files were read before new ones were put there, and some after.
            Err(Fault::Untrusted(Error::UnknownKey { .. } | Error::Forged { .. })) => find(),
            found => found,
        }
    }

    /// The list of keys of an archive, checked.
    ///
    /// # Errors
    /// Those of [`Policy::check_keys`], [`Error::Unsigned`], and those of `get`.
    pub fn keys<E>(
        &self,
        get: impl Fn(&str, usize) -> Result<Option<Vec<u8>>, E>,
        seen: &Seen,
    ) -> Result<KeyList, Fault<E>> {
        let need = |path: &str, max, what| match get(path, max) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Fault::Untrusted(Error::Unsigned { what })),
            Err(error) => Err(Fault::Unread(error)),
        };
        let json = need(KEYS, MAX_KEYS, "the archive")?;
        let signature = need(&signature_path(KEYS), MAX_SIGNATURE, KEYS)?;
        match self.check_keys(&json, &signature, seen) {
            Err(Error::Forged { .. }) => {}
            keys => return Ok(keys?),
        }
        // A new list may be on its way, its signature there already: the list's own has another name, too.
        let version = KeyList::decode(&json)?.version;
        let signature = need(&keys_signature_path(version), MAX_SIGNATURE, KEYS)?;
        Ok(self.check_keys(&json, &signature, seen)?)
    }
}
