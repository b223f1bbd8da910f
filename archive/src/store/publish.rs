//! Publishing a snapshot, and bringing a catalog up to date with the tree.

use std::collections::HashMap;

use bytes::Bytes;

use super::tree::{Version, run};
use super::{Archive, Error, Result, now};
use crate::KernelRecord;
use crate::snapshot::{self, Encoded, Head, Index, Latest, PartRef, Snapshot};

/// How often publishing is tried when others publish to the same bucket from other catalogs.
const ATTEMPTS: usize = 5;

/// What publishing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The newest snapshot.
    pub latest: Latest,
    /// Whether it is new: the catalog knew something that the one before did not.
    pub new: bool,
}

impl Archive {
    /// Writes everything the catalog knows as the next snapshot: parts, index, then `latest.json`. Does nothing if nothing
    /// changed.
    ///
    /// One process publishes at a time; others wait.
    ///
    /// # Errors
    /// [`Error::BreaksWithSnapshot`] if the catalog lacks a kernel of the newest snapshot, or has it with other BTF
    /// without a recorded reason; [`Error::RolledBack`] if the tree lacks snapshots that were published;
    /// [`Error::NeedsSigningKey`], [`Error::NoKeyList`] and [`Error::Trust`] if this is a signed archive and it cannot be signed, or the other way round.
    pub async fn publish(&self) -> Result<Published> {
        let _alone = self.alone().await?;
        // Only those with other catalogs for the same bucket can come between.
        for _ in 0..ATTEMPTS {
            if let Some(published) = self.try_to_publish().await? {
                return Ok(published);
            }
            self.catch_up().await?;
        }
        Err(Error::Overtaken { path: snapshot::LATEST.to_owned() })
    }

    /// Publishes, unless somebody else does so meanwhile.
    async fn try_to_publish(&self) -> Result<Option<Published>> {
        let (mut latest, mut version) = match self.latest_version().await? {
            Some((latest, version)) => (Some(latest), Some(version)),
            None => (None, None),
        };
        // What others published from other catalogs is in the next snapshot too.
        if latest.as_ref().map(|latest| latest.number) > self.catalog.newest_snapshot().await? {
            self.catch_up().await?;
        }
        // A snapshot that a killed process wrote but did not announce stays what it is: announce it first.
        while let Some((next, file)) = self.unannounced(latest.as_ref()).await? {
            version = self.announce(&next, &file, version.as_ref()).await?;
            if version.is_none() {
                return Ok(None);
            }
            latest = Some(next);
        }
        let number = latest.as_ref().map_or(0, |latest| latest.number);
        if let Some(seen) = self.catalog.newest_snapshot().await?.filter(|seen| *seen > number) {
            return Err(Error::RolledBack { latest: number, seen });
        }
        let kernels = self.catalog.all().await?;
        let mut before = None;
        if let Some(latest) = &latest {
            let (index, snapshot) = self.checked_snapshot(latest).await?;
            self.check_continuity(&snapshot, &kernels).await?;
            // One of format 1 is followed by one of today's, whatever it says.
            if let Some(index) = index {
                if snapshot.kernels == kernels {
                    self.renew_signatures(latest).await?;
                    return Ok(Some(Published { latest: latest.clone(), new: false }));
                }
                before = Some((index, snapshot));
            }
        }
        // Before anything is written: what cannot be signed must not be there.
        self.signer().await?;
        let previous = latest.as_ref().map(Latest::link);
        let snapshot = Snapshot::new(now(), previous, kernels);
        let encode = move || snapshot.encode(before.as_ref().map(|(index, snapshot)| (index, snapshot)));
        let Encoded { parts, index, latest } = run(encode).await?;
        for (part, zst) in parts {
            self.put_part(&part, zst).await?;
        }
        let path = snapshot::path(latest.number);
        let index = Bytes::from(index);
        if !self.tree.put_new(&path, index.clone()).await? {
            return Ok(None);
        }
        let announced = self.announce(&latest, &index, version.as_ref()).await?;
        Ok(announced.map(|_| Published { latest, new: true }))
    }

    /// Writes a part of a snapshot, unless it is there.
    async fn put_part(&self, part: &PartRef, zst: Vec<u8>) -> Result<()> {
        let path = part.path();
        if self.tree.size(&path).await? == Some(part.size) {
            return Ok(());
        }
        self.tree.put(&path, zst).await
    }

    /// The snapshot that follows the newest announced one, if it was written, and its file.
    async fn unannounced(&self, latest: Option<&Latest>) -> Result<Option<(Latest, Bytes)>> {
        let number = latest.map_or(1, |latest| latest.number.saturating_add(1));
        let zst = match self.snapshot_zst(number).await {
            Ok(zst) => zst,
            Err(Error::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let path = snapshot::path(number);
        let stored = zst.clone();
        let found = run(move || Head::decode(&stored)).await;
        let found = found.map_err(|source| Error::Object { path: path.clone(), source })?;
        if found.number() != number || found.previous() != latest.map(Latest::link) {
            return Err(Error::AlreadyThere { path });
        }
        Ok(Some((Latest::of(number, found.created(), &zst), zst)))
    }

    /// Signs a snapshot, if this is a signed archive, and names it in `latest.json`, if that is still as it was `before`;
    /// gives its new state.
    async fn announce(
        &self,
        latest: &Latest,
        file: &[u8],
        before: Option<&Version>,
    ) -> Result<Option<Version>> {
        let signer = self.signer().await?;
        let json = latest.encode()?;
        if let Some(signer) = &signer {
            self.sign_snapshot(signer, latest, file).await?;
        }
        let swapped = self.tree.swap(snapshot::LATEST, json.clone(), before).await?;
        if swapped.is_some() {
            if let Some(signer) = &signer {
                self.sign_latest(signer, latest, &json).await?;
            }
            self.catalog.record_snapshot(latest).await?;
        }
        Ok(swapped)
    }

    /// `latest.json` and which state of it that is.
    pub(super) async fn latest_version(&self) -> Result<Option<(Latest, Version)>> {
        let object = |source| Error::Object { path: snapshot::LATEST.to_owned(), source };
        match self.tree.get_version(snapshot::LATEST, snapshot::MAX_LATEST as u64).await {
            Ok((json, version)) => Ok(Some((Latest::decode(&json).map_err(object)?, version))),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The snapshot that `latest.json` names, checked against the digest there, and its index if it has one.
    async fn checked_snapshot(&self, latest: &Latest) -> Result<(Option<Index>, Snapshot)> {
        let path = snapshot::path(latest.number);
        let zst = self.snapshot_zst(latest.number).await?;
        let latest = latest.clone();
        let checked = run(move || {
            latest.digest.check(&zst)?;
            Head::decode(&zst)
        });
        match checked.await.map_err(|source| Error::Object { path, source })? {
            Head::Whole(snapshot) => Ok((None, snapshot)),
            Head::Index(index) => {
                let snapshot = self.assemble(index.clone()).await?;
                Ok((Some(index), snapshot))
            }
        }
    }

    /// Checks that nothing of the last snapshot was lost or silently changed.
    async fn check_continuity(&self, before: &Snapshot, kernels: &[KernelRecord]) -> Result<()> {
        let now: HashMap<_, _> = kernels.iter().map(|kernel| (&kernel.key, kernel)).collect();
        for old in &before.kernels {
            let what = match now.get(&old.key) {
                None => "lacks it".to_owned(),
                Some(new) if new.digest == old.digest => continue,
                Some(_) if self.catalog.was_replaced(&old.key, &old.digest).await? => continue,
                Some(new) => format!("has it with BTF {} instead of {}", new.digest, old.digest),
            };
            return Err(Error::BreaksWithSnapshot {
                number: before.number,
                key: old.key.clone().into(),
                what,
            });
        }
        Ok(())
    }

    /// Takes over what the newest snapshot knows and the catalog does not: a copied tree has no catalog, and one that
    /// was put back from a backup is old.
    pub(super) async fn catch_up(&self) -> Result<()> {
        let Some(latest) = self.latest().await? else { return Ok(()) };
        if self.catalog.newest_snapshot().await? >= Some(latest.number) {
            return Ok(());
        }
        let (_, snapshot) = self.checked_snapshot(&latest).await?;
        self.catalog.import(snapshot).await?;
        self.catalog.record_snapshot(&latest).await
    }
}
