//! Adding a kernel: the blob first, then the catalog's row.

use bytes::Bytes;

use super::catalog::StoredBlob;
use super::tree::run;
use super::{Archive, Error, Result, now};
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
        let blobs = self.store_beside(&mut record, beside).await?;
        record.zst_size = self.store_blob(&record.digest, raw).await?;
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
        let blobs = self.store_beside(&mut record, beside).await?;
        record.zst_size = self.store_blob(&record.digest, raw).await?;
        self.catalog.replace(record, &blobs, reason).await
    }

    /// Makes sure that the blobs of what is beside the BTF are there, and puts their digests into the record.
    async fn store_beside(&self, record: &mut KernelRecord, beside: Beside) -> Result<Vec<StoredBlob>> {
        let base = record.digest;
        let encoded = run(move || beside.modules.map(|all| modules::encode(&base, &all)).transpose()).await?;
        let mut blobs = Vec::new();
        let places = [(&mut record.config, beside.config), (&mut record.modules, encoded.map(Bytes::from))];
        for (place, raw) in places {
            let Some(raw) = raw else { continue };
            if raw.len() > blob::MAX_RAW {
                let (key, size) = (record.key.clone().into(), raw.len());
                return Err(Error::TooLarge { key, size, limit: blob::MAX_RAW });
            }
            let (digest, raw_size) = (Digest::of(&raw), raw.len() as u64);
            let zst_size = self.store_blob(&digest, raw).await?;
            *place = Some(digest);
            blobs.push(StoredBlob { digest, raw_size, zst_size, base: None });
        }
        Ok(blobs)
    }

    /// Makes sure that the blob is there; gives its stored size in bytes.
    async fn store_blob(&self, digest: &Digest, raw: Bytes) -> Result<u64> {
        let path = blob::path(digest);
        self.catalog.touch(&[(*digest, raw.len() as u64)]).await?;
        if let Some(size) = self.tree.size(&path).await? {
            return Ok(size);
        }
        let zst = run(move || blob::compress(&raw)).await;
        let size = zst.len() as u64;
        self.tree.put(&path, zst).await?;
        Ok(size)
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
