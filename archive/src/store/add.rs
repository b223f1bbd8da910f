//! Adding a kernel: the blob first, then the catalog's row.

use bytes::Bytes;

use super::bases::Candidates;
use super::catalog::StoredBlob;

use super::tree::run;
use super::{Archive, Error, Result, now};
use crate::delta::Header;
use crate::{BuildId, Digest, KernelRecord, Key, Provenance, blob, modules};

/// What is said about a kernel when its BTF is handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelDraft {
    /// Its name.
    pub key: Key,
    /// Its GNU build-id, where known.
    pub build_id: Option<BuildId>,
    /// Where the BTF came from. Credentials in its URL are not kept.
    pub provenance: Provenance,
    /// The digest the raw BTF must have, where the caller was told one.
    pub digest: Option<Digest>,
}

/// What a kernel has beside its BTF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Its configuration, as `/boot/config-RELEASE` has it.
    pub config: Option<Bytes>,
    /// Its modules' split BTF, by name.
    pub modules: Option<Vec<(String, Vec<u8>)>>,
}

/// What adding a kernel did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// The archive knows it now.
    New(KernelRecord),
    /// The archive knew it, with this BTF.
    AlreadyThere(KernelRecord),
}

impl Added {
    /// The kernel as the archive knows it.
    pub fn record(&self) -> &KernelRecord {
        match self {
            Self::New(record) | Self::AlreadyThere(record) => record,
        }
    }
}

impl Archive {
    /// Adds a kernel's BTF. When this returns, both blob and catalog row are on disk.
    ///
    /// Adding what is there already does nothing, except that a build-id that was unknown is kept and a blob that was
    /// lost is written again. A recorded failure of this key is cleared.
    ///
    /// # Errors
    /// [`Error::NotBtf`], [`Error::TooLarge`], [`Error::Input`] if the digest is not the promised one;
    /// [`Error::Conflict`] and [`Error::BuildIdConflict`] if the key is known with other BTF or as another kernel.
    /// Nothing that is visible has changed then.
    pub async fn add(&self, draft: KernelDraft, raw: impl Into<Bytes>) -> Result<Added> {
        self.add_with(draft, raw, Beside::default()).await
    }

    /// Adds a kernel's BTF, and what it has beside that. A known kernel that lacks such things gets them; those that it has
    /// stay.
    ///
    /// # Errors
    /// Those of [`Archive::add`], and [`Error::Input`] for modules of impossible names.
    pub async fn add_with(&self, draft: KernelDraft, raw: impl Into<Bytes>, beside: Beside) -> Result<Added> {
        self.writable()?;
        let raw = raw.into();
        let mut record = inspect(draft, raw.clone()).await?;
        // Refused before a second is spent on compressing what will not be kept.
        self.catalog.check(&record).await?;
        let blobs = self.store_all(&mut record, raw, beside).await?;
        self.catalog.insert(record, &blobs).await
    }

    /// Gives a known kernel other BTF, deliberately: the reason is recorded, and snapshots may follow it.
    ///
    /// A kernel that is not known is added; the same BTF as before is no change, and is treated as by [`Archive::add`].
    ///
    /// # Errors
    /// Those of [`Archive::add`] but [`Error::Conflict`]; [`Error::Query`] without a reason.
    pub async fn replace(&self, draft: KernelDraft, raw: impl Into<Bytes>, reason: &str) -> Result<Added> {
        self.replace_with(draft, raw, Beside::default(), reason).await
    }

    /// [`Archive::replace`] with what the kernel has beside its BTF.
    ///
    /// # Errors
    /// Those of [`Archive::replace`] and [`Archive::add_with`].
    pub async fn replace_with(
        &self,
        draft: KernelDraft,
        raw: impl Into<Bytes>,
        beside: Beside,
        reason: &str,
    ) -> Result<Added> {
        self.writable()?;
        if reason.trim().is_empty() {
            return Err(Error::Query {
                what: "reason",
                reason: "replacing a kernel's BTF needs one".to_owned(),
            });
        }
        let raw = raw.into();
        let mut record = inspect(draft, raw.clone()).await?;
        let blobs = self.store_all(&mut record, raw, beside).await?;
        self.catalog.replace(record, &blobs, reason).await
    }

    /// Makes sure that all blobs of a kernel are there, and puts what there is to know of them into the record; gives those beside the BTF.
    async fn store_all(
        &self,
        record: &mut KernelRecord,
        raw: Bytes,
        beside: Beside,
    ) -> Result<Vec<StoredBlob>> {
        let (candidates, configs) = self.candidates(&record.key).await?;
        let base = record.digest;
        let encoded = run(move || beside.modules.map(|all| modules::encode(&base, &all)).transpose()).await?;
        let mut blobs = Vec::new();
        let none = Candidates::default();
        let places = [
            (&mut record.config, beside.config, &configs),
            (&mut record.modules, encoded.map(Bytes::from), &none),
        ];
        for (place, raw, candidates) in places {
            let Some(raw) = raw else { continue };
            if raw.len() > blob::MAX_RAW {
                let (key, size) = (record.key.clone().into(), raw.len());
                return Err(Error::TooLarge { key, size, limit: blob::MAX_RAW });
            }
            let digest = Digest::of(&raw);
            *place = Some(digest);
            blobs.push(self.store_blob(&digest, raw, candidates, blob::compress).await?);
        }
        let stored = self.store_blob(&record.digest, raw, &candidates, blob::compress_keyframe).await?;
        (record.zst_size, record.base) = (stored.zst_size, stored.base);
        Ok(blobs)
    }

    /// Makes sure that the blob is there, as a delta if it is much like another one, else as `compress` makes it.
    async fn store_blob(
        &self,
        digest: &Digest,
        raw: Bytes,
        candidates: &Candidates,
        compress: fn(&[u8]) -> Vec<u8>,
    ) -> Result<StoredBlob> {
        let (digest, raw_size) = (*digest, raw.len() as u64);
        let blob = |zst_size, base| StoredBlob { digest, raw_size, zst_size, base };
        self.catalog.touch(&[(digest, raw_size)]).await?;
        if let Some(size) = self.tree.size(&blob::path(&digest)).await? {
            return Ok(blob(size, None));
        }
        if let Some(size) = self.tree.size(&blob::delta_path(&digest)).await? {
            let header = self.tree.get_range(&blob::delta_path(&digest), 0..Header::LEN as u64).await?;
            // What is no delta is written again.
            if let Ok(header) = Header::parse(&header) {
                return Ok(blob(size, Some(header.base)));
            }
        }
        if let Some(made) = self.as_delta(&digest, &raw, candidates).await? {
            let size = made.delta.len() as u64;
            self.tree.put(&blob::delta_path(&digest), made.delta).await?;
            return Ok(blob(size, Some(made.base)));
        }
        let zst = run(move || compress(&raw)).await;
        let size = zst.len() as u64;
        self.tree.put(&blob::path(&digest), zst).await?;
        Ok(blob(size, None))
    }
}

/// Checks what was handed in; gives the record, without the stored size.
async fn inspect(draft: KernelDraft, raw: Bytes) -> Result<KernelRecord> {
    let KernelDraft { key, build_id, mut provenance, digest: promised } = draft;
    provenance.url = provenance.url.as_deref().map(Provenance::public_url);
    if raw.len() > blob::MAX_RAW {
        return Err(Error::TooLarge { key: key.into(), size: raw.len(), limit: blob::MAX_RAW });
    }
    let raw_size = raw.len() as u64;
    let checked = run(move || {
        let found = Digest::of(&raw);
        if let Some(expected) = promised.filter(|promised| *promised != found) {
            return Err(crate::Error::DigestMismatch { expected, found }.into());
        }
        let valid =
            btf::Btf::parse(&raw).and_then(|view| btf::validate(&view, &btf::ValidateOptions::default()));
        valid.map(|()| (key.clone(), found)).map_err(|source| Error::NotBtf { key: key.into(), source })
    });
    let (key, digest) = checked.await?;
    Ok(KernelRecord {
        key,
        build_id,
        digest,
        raw_size,
        zst_size: 0,
        base: None,
        config: None,
        modules: None,
        provenance,
        added: now(),
    })
}
