//! Objects that come from elsewhere, as they are stored there: a mirror's, an import's. Each is checked before it is written.
//!
//! Blobs and parts are named by content and may come in any order, bases before their deltas. A snapshot arrives when all that it needs is there:
//! then [`Archive::arrive`] writes what names and signs it, `latest.json` last, and the catalog takes it over. A kill at any point leaves the snapshot
//! before in force, and doing it all again goes on from there.

use std::collections::HashMap;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::{Archive, Error, Result, Stored};
use crate::mirrored::{self, Mirrored};
use crate::snapshot::{self, Latest, part};
use crate::{Digest, Form, ObjectPath};

/// A snapshot that was made elsewhere and is to be the newest here.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The snapshot.
    pub latest: Latest,
    /// What names and signs it, as stored there: snapshots' files, the list of keys, signatures. `latest.json` need not be among them.
    pub objects: Vec<(ObjectPath, Bytes)>,
    /// What is said about this copy.
    pub mirrored: Mirrored,
}

impl Archive {
    /// What is said about this archive as a copy of another; none if it is not one.
    ///
    /// # Errors
    /// [`Error::Object`] for a file that is not what it should be.
    pub async fn mirrored(&self) -> Result<Option<Mirrored>> {
        let object = |source| Error::Object { path: mirrored::PATH.to_owned(), source };
        match self.tree.get(mirrored::PATH, mirrored::MAX as u64).await {
            Ok(json) => Mirrored::decode(&json).map(Some).map_err(object),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An object as stored, not checked; none if it is not there.
    ///
    /// # Errors
    /// [`Error::ObjectTooLarge`], [`Error::Store`].
    pub async fn object(&self, path: &ObjectPath) -> Result<Option<Bytes>> {
        match self.tree.get(&path.to_string(), path.max_size()).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An object's size as stored, in bytes; none if it is not there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn object_size(&self, path: &ObjectPath) -> Result<Option<u64>> {
        self.tree.size(&path.to_string()).await
    }

    /// Every blob that is there, in which form, and its size as stored. One that is there in both forms is said to be whole.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn blobs_here(&self) -> Result<HashMap<Digest, (Form, u64)>> {
        let mut blobs = HashMap::new();
        let mut found = self.tree.list("blobs");
        while let Some(found) = found.try_next().await? {
            if let Ok(ObjectPath::Blob(digest, form)) = found.path.parse() {
                let known = blobs.entry(digest).or_insert((form, found.size));
                if form == Form::Whole {
                    *known = (form, found.size);
                }
            }
        }
        Ok(blobs)
    }

    /// Takes a blob as stored elsewhere, once it has shown to be the one of this digest. The base of a delta must be here.
    ///
    /// # Errors
    /// [`Error::Object`] if it is not; [`Error::Missing`] without its base. Nothing is written then.
    pub async fn take_blob(&self, digest: &Digest, form: Form, stored: Bytes) -> Result<()> {
        self.writable()?;
        let path = ObjectPath::Blob(*digest, form);
        let raw_size = self.check_blob(digest, form, stored.clone()).await?;
        self.catalog.touch(&[(*digest, raw_size)]).await?;
        self.tree.put(&path.to_string(), stored).await
    }

    /// Checks that these bytes, as stored, are the blob of this digest; gives its raw size in bytes.
    ///
    /// # Errors
    /// Those of [`Archive::take_blob`].
    pub async fn check_blob(&self, digest: &Digest, form: Form, stored: Bytes) -> Result<u64> {
        let stored = match form {
            Form::Whole => Stored::Whole(stored),
            Form::Delta => Stored::Delta(stored),
        };
        Ok(self.decode_stored(digest, stored).await?.len() as u64)
    }

    /// Takes a part of a snapshot as stored elsewhere.
    ///
    /// # Errors
    /// [`Error::Object`] if it has not this digest.
    pub async fn take_part(&self, digest: &Digest, stored: Bytes) -> Result<()> {
        self.writable()?;
        let path = part::path(digest);
        digest.check(&stored).map_err(|source| Error::Object { path: path.clone(), source })?;
        if self.tree.size(&path).await? == Some(stored.len() as u64) {
            return Ok(());
        }
        self.tree.put(&path, stored).await
    }

    /// Makes a snapshot that was made elsewhere the newest. All that it needs must be here; whether it is to be believed, the caller has checked.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a newer one is here, or another of its number.
    pub async fn arrive(&self, arrival: &Arrival) -> Result<()> {
        let Arrival { latest, objects, mirrored } = arrival;
        let _alone = self.alone().await?;
        let (here, version) = match self.latest_version().await? {
            Some((here, version)) => (Some(here), Some(version)),
            None => (None, None),
        };
        let diverged = |here: &Latest| {
            here.number > latest.number || here.number == latest.number && here.digest != latest.digest
        };
        if let Some(here) = here.filter(diverged) {
            return Err(Error::Diverged { number: latest.number, here: here.number });
        }
        // The list of keys from the inside out, then snapshots before their signatures.
        let mut objects: Vec<_> = objects.iter().collect();
        objects.sort_by_key(|(path, _)| match path {
            ObjectPath::KeysVersionSignature(_) => 0,
            ObjectPath::KeysSignature => 1,
            ObjectPath::Keys => 2,
            ObjectPath::Snapshot(_) => 3,
            _ => 4,
        });
        for (path, bytes) in objects {
            match path {
                ObjectPath::Snapshot(_) => {
                    if !self.tree.put_new(&path.to_string(), bytes.clone()).await? {
                        return Err(Error::AlreadyThere { path: path.to_string() });
                    }
                }
                // After what it signs.
                ObjectPath::Latest | ObjectPath::LatestSignature => {}
                ObjectPath::Part(_) | ObjectPath::Blob(..) => {}
                _ => self.put_changed(&path.to_string(), bytes).await?,
            }
        }
        self.put_changed(mirrored::PATH, &mirrored.encode()?.into()).await?;
        if self.tree.swap(snapshot::LATEST, latest.encode()?, version.as_ref()).await?.is_none() {
            return Err(Error::Overtaken { path: snapshot::LATEST.to_owned() });
        }
        if let Some((path, bytes)) =
            arrival.objects.iter().find(|(path, _)| *path == ObjectPath::LatestSignature)
        {
            self.put_changed(&path.to_string(), bytes).await?;
        }
        self.catch_up().await
    }

    /// Writes an object unless it is there already as it should be.
    async fn put_changed(&self, path: &str, bytes: &Bytes) -> Result<()> {
        match self.tree.get(path, bytes.len() as u64).await {
            Ok(there) if there == bytes => Ok(()),
            Ok(_) | Err(Error::Missing { .. } | Error::ObjectTooLarge { .. }) => {
                self.tree.put(path, bytes.clone()).await
            }
            Err(error) => Err(error),
        }
    }
}
