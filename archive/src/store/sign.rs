//! Signed archives: the root's list of keys, and signatures of what is published.
//!
//! An archive with `keys.json` is signed. Its snapshots are signed before `latest.json` names them; a kill at any point
//! leaves a `latest.json` whose snapshot has a good signature. `latest.json.minisig` comes after `latest.json`, and is for
//! people: readers hold `latest.json` against the signed snapshot.
//!
//! A new list of keys is written from the inside out: its signature under its own number, then `keys.json.minisig`, then
//! `keys.json`. Where the newest snapshot is signed by a key that the new list has no more, it is signed anew, by a key that
//! both lists have before, or else right after.

use bytes::Bytes;

use super::{Archive, Error, Result, now};
use crate::snapshot::{self, Latest};
use crate::trust::{
    KEYS, KeyList, MAX_KEYS, MAX_SIGNATURE, Policy, Seen, SigningKey, keys_signature_path, signature_path,
};

/// What errors call it.
const SNAPSHOT: &str = "the newest snapshot";

impl Archive {
    /// Signs with this key whatever is published from now on.
    pub fn sign_with(&mut self, key: SigningKey) {
        self.signing = Some(key);
    }

    /// Checks that publishing would not fail for want of a signature: before work that takes hours.
    ///
    /// # Errors
    /// [`Error::NeedsSigningKey`], [`Error::NoKeyList`], [`Error::Trust`].
    pub async fn check_signing(&self) -> Result<()> {
        self.signer().await.map(|_| ())
    }

    /// The list of keys as it lies there; none in an archive that is not signed. Whether the root signed it, its readers check.
    ///
    /// # Errors
    /// [`Error::Trust`] for a list that is none.
    pub async fn key_list(&self) -> Result<Option<KeyList>> {
        match self.keys_json().await {
            Ok(json) => Ok(Some(KeyList::decode(&json)?)),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `keys.json` as stored.
    ///
    /// # Errors
    /// [`Error::Missing`] in an archive that is not signed.
    pub async fn keys_json(&self) -> Result<Bytes> {
        self.tree.get(KEYS, MAX_KEYS as u64).await
    }

    /// The signature of the object at this path.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub async fn signature(&self, path: &str) -> Result<Bytes> {
        self.tree.get(&signature_path(path), MAX_SIGNATURE as u64).await
    }

    /// The signature of the list of keys of this version.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub async fn keys_signature(&self, version: u64) -> Result<Bytes> {
        self.tree.get(&keys_signature_path(version), MAX_SIGNATURE as u64).await
    }

    /// Puts the root's list of keys into the archive, and signs the newest snapshot anew if it must be. The list there before
    /// stays in force if anything fails.
    ///
    /// # Errors
    /// [`Error::Trust`] if no root of `policy` signed the list, or it is not newer than the one there;
    /// [`Error::NeedsSigningKey`] if the newest snapshot must be signed anew and no key of the list was given to
    /// [`Archive::sign_with`].
    pub async fn install_keys(&self, policy: &Policy, json: &[u8], signature: &[u8]) -> Result<KeyList> {
        let _alone = self.alone().await?;
        let old = self.key_list().await?;
        let seen = Seen { keys: old.as_ref().map_or(0, |list| list.version), snapshot: None };
        let list = policy.check_keys(json, signature, &seen)?;
        if old.as_ref().is_some_and(|old| old.version == list.version && *old != list) {
            let reason = format!("version {} is there already, with other keys", list.version);
            return Err(crate::trust::Error::KeyList { reason }.into());
        }
        let latest = self.latest().await?;
        let stale = match &latest {
            Some(latest) => self.signed_by(&list, latest).await?.is_err(),
            None => false,
        };
        let signer = match (&self.signing, stale) {
            (_, false) => None,
            (None, true) => return Err(Error::NeedsSigningKey { location: self.location() }),
            (Some(key), true) => {
                list.check_key(SNAPSHOT, key.public(), now())?;
                Some(key)
            }
        };
        let before = signer.filter(|key| {
            old.as_ref().is_some_and(|old| old.check_key(SNAPSHOT, key.public(), now()).is_ok())
        });
        if let (Some(key), Some(latest)) = (before, &latest) {
            self.sign_again(key, latest).await?;
        }
        for path in [keys_signature_path(list.version), signature_path(KEYS)] {
            self.tree.put(&path, Bytes::copy_from_slice(signature)).await?;
        }
        self.tree.put(KEYS, Bytes::copy_from_slice(json)).await?;
        if let (Some(key), Some(latest), None) = (signer, &latest, before) {
            self.sign_again(key, latest).await?;
        }
        Ok(list)
    }

    /// Signs the newest snapshot anew with the key given to [`Archive::sign_with`], which the list of keys must have. Does nothing
    /// where nothing was published.
    ///
    /// # Errors
    /// [`Error::NeedsSigningKey`], [`Error::NoKeyList`], [`Error::Trust`].
    pub async fn sign_newest(&self) -> Result<()> {
        let _alone = self.alone().await?;
        let key = self.signer().await?.ok_or_else(|| Error::NoKeyList { location: self.location() })?;
        match self.latest().await? {
            Some(latest) => self.sign_again(key, &latest).await,
            None => Ok(()),
        }
    }

    /// The key that signs what is published now; none where the archive is not signed.
    pub(super) async fn signer(&self) -> Result<Option<&SigningKey>> {
        let location = || self.location();
        match (self.key_list().await?, &self.signing) {
            (Some(list), Some(key)) => {
                list.check_key("what is published", key.public(), now())?;
                Ok(Some(key))
            }
            (Some(_), None) => Err(Error::NeedsSigningKey { location: location() }),
            (None, Some(_)) => Err(Error::NoKeyList { location: location() }),
            (None, None) => match self.tree.size(&signature_path(snapshot::LATEST)).await? {
                None => Ok(None),
                Some(_) => Err(Error::NoKeyList { location: location() }),
            },
        }
    }

    /// Signs a snapshot's file.
    pub(super) async fn sign_snapshot(&self, key: &SigningKey, latest: &Latest, file: &[u8]) -> Result<()> {
        let path = snapshot::path(latest.number);
        let name = path.rsplit('/').next().unwrap_or(&path);
        let signature = key.sign(file, &comment(name, latest))?;
        self.tree.put(&signature_path(&path), signature).await
    }

    /// Signs `latest.json`.
    pub(super) async fn sign_latest(&self, key: &SigningKey, latest: &Latest, json: &[u8]) -> Result<()> {
        let signature = key.sign(json, &comment(snapshot::LATEST, latest))?;
        self.tree.put(&signature_path(snapshot::LATEST), signature).await
    }

    /// Signs the newest snapshot anew if its signature, or that of `latest.json`, would not be taken. Does nothing where the
    /// archive is not signed, or there is no key to sign with.
    pub(super) async fn renew_signatures(&self, latest: &Latest) -> Result<()> {
        let (Some(key), Some(list)) = (&self.signing, self.key_list().await?) else { return Ok(()) };
        if list.check_key(SNAPSHOT, key.public(), now()).is_ok()
            && self.signed_by(&list, latest).await?.is_err()
        {
            self.sign_again(key, latest).await?;
        }
        Ok(())
    }

    /// Whether a key of the list, valid now, signed the newest snapshot and `latest.json`.
    async fn signed_by(&self, list: &KeyList, latest: &Latest) -> Result<Result<(), crate::trust::Error>> {
        let path = snapshot::path(latest.number);
        let files = [
            (self.snapshot_zst(latest.number).await?, path.as_str()),
            (self.latest_json().await?, snapshot::LATEST),
        ];
        for (bytes, path) in files {
            let signature = match self.signature(path).await {
                Ok(signature) => signature,
                Err(Error::Missing { .. }) => {
                    return Ok(Err(crate::trust::Error::Unsigned { what: SNAPSHOT }));
                }
                Err(error) => return Err(error),
            };
            let signed = list.check_signed(SNAPSHOT, &bytes, &signature);
            if let Err(error) = signed.and_then(|key| key.check_time(SNAPSHOT, now())) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    async fn sign_again(&self, key: &SigningKey, latest: &Latest) -> Result<()> {
        let file = self.snapshot_zst(latest.number).await?;
        // What has rotted must not get a fresh signature.
        let object = |source| Error::Object { path: snapshot::path(latest.number), source };
        latest.digest.check(&file).map_err(object)?;
        self.sign_snapshot(key, latest, &file).await?;
        self.sign_latest(key, latest, &latest.encode()?).await
    }
}

/// The comment that is signed with a file: as minisign writes it, and which snapshot it is about.
fn comment(name: &str, latest: &Latest) -> String {
    format!("timestamp:{}\tfile:{name}\tsnapshot:{}\thashed", now(), latest.number)
}
