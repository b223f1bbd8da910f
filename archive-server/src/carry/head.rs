//! The head of an archive: the files that name and sign its newest snapshot, as they lie there, and whether to believe them.
//!
//! With a pinned root, the root must have signed the list of keys, one of those keys the snapshot, and neither may be older than what was taken
//! before. Without one, the digests must agree, and the snapshot must not be older than the one taken before.

use std::time::{SystemTime, UNIX_EPOCH};

use btf_archive::ObjectPath;
use btf_archive::mirrored::{Lapse, Mirrored};
use btf_archive::snapshot::{self, Latest};
use btf_archive::trust::{self, Expired, KeyList, Policy, PublicKey, Seen};
use bytes::Bytes;

/// The files, as they lie in an archive.
#[derive(Clone, Debug, Default)]
pub struct Head {
    files: Vec<(ObjectPath, Bytes)>,
}

/// A head that is believed.
#[derive(Clone, Debug)]
pub struct Believed {
    /// The snapshot.
    pub latest: Latest,
    /// What its file holds.
    pub snapshot: snapshot::Head,
    /// The files that name and sign it.
    pub files: Vec<(ObjectPath, Bytes)>,
    /// What is to be remembered.
    pub seen: Seen,
    /// What the policy let pass.
    pub warning: Option<String>,
    /// Whether there is a list of keys.
    pub is_signed: bool,
}

/// Whom to believe.
#[derive(Clone, Debug)]
pub struct Belief {
    /// The pinned roots; none: whoever made it.
    pub roots: Vec<PublicKey>,
    /// What to do about expired keys.
    pub expired: Expired,
    /// The newest that was taken before.
    pub seen: Seen,
}

/// Why a head is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no `latest.json`, or not what it names.
    #[error("{0} is missing: nothing has been published there, or it is no archive")]
    Missing(ObjectPath),
    /// It is not what the roots vouch for, or older than what was taken.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// Bytes that are not what they should be.
    #[error(transparent)]
    Content(#[from] btf_archive::Error),
    /// Another root than the one that this archive pinned.
    #[error(
        "root key {given} is given, but this archive pinned {pinned} when it was first copied: another archive belongs in another directory; if the root \
         was really changed, correct `roots` in mirror.json"
    )]
    OtherRoot {
        /// The roots given.
        given: String,
        /// The roots pinned.
        pinned: String,
    },
}

impl Belief {
    /// Whom to believe, given what is remembered of this copy and the roots named now.
    ///
    /// # Errors
    /// [`Error::OtherRoot`].
    pub fn new(
        mirrored: Option<&Mirrored>,
        roots: Vec<PublicKey>,
        expired: Expired,
        here: Option<&Latest>,
    ) -> Result<Self, Error> {
        let pinned = mirrored.map_or(&[][..], |mirrored| &mirrored.roots);
        let names = |roots: &[PublicKey]| {
            roots.iter().map(|root| root.id().to_string()).collect::<Vec<_>>().join(", ")
        };
        if !pinned.is_empty() && roots.iter().any(|root| !pinned.contains(root)) {
            return Err(Error::OtherRoot { given: names(&roots), pinned: names(pinned) });
        }
        let roots = if pinned.is_empty() { roots } else { pinned.to_vec() };
        let seen = mirrored.map_or(Seen::default(), |mirrored| mirrored.seen);
        // Somebody may have put an older tree back: what was seen counts, and what is there.
        let number = |link: &snapshot::Link| link.number;
        let snapshot = seen.snapshot.into_iter().chain(here.map(Latest::link)).max_by_key(number);
        Ok(Self { roots, expired, seen: Seen { snapshot, ..seen } })
    }
}

impl Head {
    /// A head of these files; what does not belong to one is passed over.
    pub fn of(files: impl IntoIterator<Item = (ObjectPath, Bytes)>) -> Self {
        Self { files: files.into_iter().collect() }
    }

    /// Fetches the files, of which `get` gives one by its path.
    ///
    /// # Errors
    /// Those of `get`.
    pub async fn load<E>(get: impl AsyncFn(ObjectPath) -> Result<Option<Bytes>, E>) -> Result<Self, E> {
        let mut head = Self::default();
        // The list of keys before what they sign: a new key is listed before it signs.
        for path in
            [ObjectPath::Keys, ObjectPath::KeysSignature, ObjectPath::Latest, ObjectPath::LatestSignature]
        {
            head.add(path, &get).await?;
        }
        if let Some(list) = head.file(ObjectPath::Keys).and_then(|json| KeyList::decode(json).ok()) {
            head.add(ObjectPath::KeysVersionSignature(list.version), &get).await?;
        }
        if let Some(latest) = head.file(ObjectPath::Latest).and_then(|json| Latest::decode(json).ok()) {
            head.add(ObjectPath::Snapshot(latest.number), &get).await?;
            head.add(ObjectPath::SnapshotSignature(latest.number), &get).await?;
        }
        Ok(head)
    }

    /// The files.
    pub fn into_files(self) -> Vec<(ObjectPath, Bytes)> {
        self.files
    }

    async fn add<E>(
        &mut self,
        path: ObjectPath,
        get: &impl AsyncFn(ObjectPath) -> Result<Option<Bytes>, E>,
    ) -> Result<(), E> {
        if path == ObjectPath::KeysSignature && self.file(ObjectPath::Keys).is_none() {
            return Ok(());
        }
        self.files.extend(get(path).await?.map(|bytes| (path, bytes)));
        Ok(())
    }

    fn file(&self, path: ObjectPath) -> Option<&Bytes> {
        self.files.iter().find(|(known, _)| *known == path).map(|(_, bytes)| bytes)
    }

    fn need(&self, path: ObjectPath) -> Result<&Bytes, Error> {
        self.file(path).ok_or(Error::Missing(path))
    }

    /// Checks the files.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Trust`], [`Error::Content`].
    pub fn check(&self, belief: &Belief) -> Result<Believed, Error> {
        let json = self.need(ObjectPath::Latest)?;
        let latest = Latest::decode(json)?;
        let file = self.need(ObjectPath::Snapshot(latest.number))?;
        let is_signed = self.file(ObjectPath::Keys).is_some();
        let (snapshot, seen, warning) = if belief.roots.is_empty() {
            let snapshot = unsigned(&latest, json, file, &belief.seen)?;
            let keys = self.file(ObjectPath::Keys).map(|json| KeyList::decode(json)).transpose()?;
            let keys = keys.map_or(0, |list| list.version).max(belief.seen.keys);
            (snapshot, Seen { keys, snapshot: Some(latest.link()) }, None)
        } else {
            let keys = self.keys(belief)?;
            let signature = self.file(ObjectPath::SnapshotSignature(latest.number));
            let signature = signature.ok_or(trust::Error::Unsigned { what: "the snapshot" })?;
            let checked = policy(belief).check_snapshot(&keys, json, file, signature, now(), &belief.seen)?;
            (checked.head, checked.seen, checked.warning)
        };
        Ok(Believed { latest, snapshot, files: self.files.clone(), seen, warning, is_signed })
    }

    /// The list of keys, as a pinned root signed it.
    fn keys(&self, belief: &Belief) -> Result<KeyList, Error> {
        let unsigned = || trust::Error::Unsigned { what: "the archive" };
        let json = self.file(ObjectPath::Keys).ok_or_else(unsigned)?;
        let version = KeyList::decode(json)?.version;
        let check = |signature: &Bytes| policy(belief).check_keys(json, signature, &belief.seen);
        let signature = self.file(ObjectPath::KeysSignature).ok_or_else(unsigned)?;
        match (check(signature), self.file(ObjectPath::KeysVersionSignature(version))) {
            // A new list may be on its way, its signature there already.
            (Err(trust::Error::Forged { .. }), Some(own)) => Ok(check(own)?),
            (checked, _) => Ok(checked?),
        }
    }
}

impl Believed {
    /// What is to be written about the copy that takes this.
    pub fn mirrored(&self, before: Option<Mirrored>, belief: &Belief, oldest: u64) -> Mirrored {
        let mut mirrored = before.unwrap_or_else(|| Mirrored::new(oldest));
        mirrored.oldest = oldest;
        mirrored.roots = belief.roots.clone();
        mirrored.seen = self.seen;
        if let Some(reason) = &self.warning {
            mirrored.lapsed(Lapse { snapshot: self.latest.number, at: now(), reason: reason.clone() });
        }
        mirrored
    }
}

fn policy(belief: &Belief) -> Policy {
    let mut policy = Policy::new(belief.roots.clone());
    policy.expired = belief.expired;
    policy
}

/// A snapshot that nobody vouches for: at least it must be what `latest.json` says, and no step back.
fn unsigned(latest: &Latest, json: &[u8], file: &[u8], seen: &Seen) -> Result<snapshot::Head, Error> {
    latest.digest.check(file)?;
    let snapshot = snapshot::Head::decode(file)?;
    if Latest::of(snapshot.number(), snapshot.created(), file).encode()? != json {
        return Err(trust::Error::Latest.into());
    }
    match seen.snapshot {
        Some(before) if latest.number < before.number => {
            let (offered, seen) = (latest.number, before.number);
            Err(trust::Error::RolledBack { what: "snapshot", offered, seen }.into())
        }
        Some(before) if latest.number == before.number && latest.digest != before.digest => {
            Err(trust::Error::Forked { number: latest.number }.into())
        }
        _ => Ok(snapshot),
    }
}

/// Seconds since 1970 (UTC).
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
