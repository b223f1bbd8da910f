//! Writing kernels: a key's digest never changes silently.

use sqlx::{Connection, SqliteConnection};

use super::super::{Added, Error, Result, now};
use super::{Catalog, Subject, failures, rows};
use crate::snapshot::Snapshot;
use crate::{Digest, KernelRecord, Key, order};

impl Catalog {
    /// Refuses what contradicts a known kernel of that key; gives the known one, if there is one.
    pub(in crate::store) async fn check(&self, record: &KernelRecord) -> Result<Option<KernelRecord>> {
        let known = self.by_key(&record.key).await?;
        known.map(|known| agree(known, record)).transpose()
    }

    /// Adds a kernel, unless it is known; what contradicts the known one is refused.
    pub(in crate::store) async fn insert(&self, record: KernelRecord) -> Result<Added> {
        let mut writer = self.writer.acquire().await?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let added = match rows::by_key(&mut *transaction, &record.key).await? {
            Some(known) => {
                Added::AlreadyThere(learn(&mut transaction, agree(known, &record)?, record).await?)
            }
            None => Added::New(insert(&mut transaction, record).await?),
        };
        failures::clear(&mut *transaction, &Subject::Key(added.record().key.clone())).await?;
        transaction.commit().await?;
        Ok(added)
    }

    /// Adds a kernel or gives a known one other BTF, and records why.
    pub(in crate::store) async fn replace(&self, record: KernelRecord, reason: &str) -> Result<Added> {
        let mut writer = self.writer.acquire().await?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let added = match rows::by_key(&mut *transaction, &record.key).await? {
            Some(known) if known.digest == record.digest => {
                Added::AlreadyThere(learn(&mut transaction, agree(known, &record)?, record).await?)
            }
            Some(known) => Added::New(overwrite(&mut transaction, &known, record, reason).await?),
            None => Added::New(insert(&mut transaction, record).await?),
        };
        failures::clear(&mut *transaction, &Subject::Key(added.record().key.clone())).await?;
        transaction.commit().await?;
        Ok(added)
    }

    /// Takes over what a published snapshot says. Where it contradicts the catalog, the snapshot holds, and the catalog
    /// records the change.
    pub(in crate::store) async fn import(&self, snapshot: Snapshot) -> Result<()> {
        let reason = format!("snapshot {} has it so", snapshot.number);
        let mut writer = self.writer.acquire().await?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        for record in snapshot.kernels {
            match rows::by_key(&mut *transaction, &record.key).await? {
                None => insert(&mut transaction, record).await?,
                Some(known) => match agree(known.clone(), &record) {
                    Ok(known) => learn(&mut transaction, known, record).await?,
                    Err(_) => overwrite(&mut transaction, &known, record, &reason).await?,
                },
            };
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Whether this key's BTF was once `digest` and deliberately replaced.
    pub(in crate::store) async fn was_replaced(&self, key: &Key, digest: &Digest) -> Result<bool> {
        let found = sqlx::query("SELECT 1 FROM replacements WHERE key = ? AND old_digest = ?")
            .bind(key.to_string())
            .bind(digest.to_string())
            .fetch_optional(&self.readers)
            .await?;
        Ok(found.is_some())
    }
}

/// The known record, unless the offered one says that it is another kernel or has other BTF.
fn agree(known: KernelRecord, offered: &KernelRecord) -> Result<KernelRecord> {
    if let (Some(ours), Some(theirs)) = (known.build_id, offered.build_id)
        && ours != theirs
    {
        return Err(Error::BuildIdConflict {
            key: known.key.into(),
            known: ours.into(),
            offered: theirs.into(),
        });
    }
    if known.digest != offered.digest {
        return Err(Error::Conflict { key: known.key.into(), known: known.digest, offered: offered.digest });
    }
    Ok(known)
}

/// Puts a record in the place of a known one, and records why.
async fn overwrite(
    on: &mut SqliteConnection,
    known: &KernelRecord,
    record: KernelRecord,
    reason: &str,
) -> Result<KernelRecord> {
    sqlx::query("INSERT INTO replacements (key, old_digest, new_digest, reason, at) VALUES (?, ?, ?, ?, ?)")
        .bind(known.key.to_string())
        .bind(known.digest.to_string())
        .bind(record.digest.to_string())
        .bind(reason)
        .bind(rows::integer(now()))
        .execute(&mut *on)
        .await?;
    sqlx::query("DELETE FROM kernels WHERE distro = ? AND version = ? AND arch = ? AND release = ?")
        .bind(known.key.distro())
        .bind(known.key.version())
        .bind(known.key.arch())
        .bind(known.key.release())
        .execute(&mut *on)
        .await?;
    insert(on, record).await
}

/// Keeps what a known kernel lacked: its build-id; and the stored size of a blob that was lost and written again.
async fn learn(
    on: &mut SqliteConnection,
    known: KernelRecord,
    offered: KernelRecord,
) -> Result<KernelRecord> {
    let build_id = known.build_id.or(offered.build_id);
    if known.build_id != build_id {
        sqlx::query(
            "UPDATE kernels SET build_id = ? WHERE distro = ? AND version = ? AND arch = ? AND release = ?",
        )
        .bind(build_id.map(|id| id.to_string()))
        .bind(known.key.distro())
        .bind(known.key.version())
        .bind(known.key.arch())
        .bind(known.key.release())
        .execute(&mut *on)
        .await?;
    }
    if known.zst_size != offered.zst_size {
        remember_blob(on, &offered).await?;
    }
    Ok(KernelRecord { build_id, zst_size: offered.zst_size, ..known })
}

async fn remember_blob(on: &mut SqliteConnection, record: &KernelRecord) -> Result<()> {
    sqlx::query(
        "INSERT INTO blobs (digest, raw_size, zst_size) VALUES (?, ?, ?) \
         ON CONFLICT (digest) DO UPDATE SET zst_size = excluded.zst_size",
    )
    .bind(record.digest.to_string())
    .bind(rows::integer(record.raw_size))
    .bind(rows::integer(record.zst_size))
    .execute(on)
    .await?;
    Ok(())
}

async fn insert(on: &mut SqliteConnection, record: KernelRecord) -> Result<KernelRecord> {
    remember_blob(&mut *on, &record).await?;
    sqlx::query(
        "INSERT INTO kernels (distro, version, arch, release, key_order, release_order, build_id, digest, package, \
         package_version, url, package_sha256, trust, source, generator, added) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(record.key.distro())
    .bind(record.key.version())
    .bind(record.key.arch())
    .bind(record.key.release())
    .bind(order(&record.key.to_string()))
    .bind(order(record.key.release()))
    .bind(record.build_id.map(|id| id.to_string()))
    .bind(record.digest.to_string())
    .bind(&record.provenance.package)
    .bind(&record.provenance.package_version)
    .bind(&record.provenance.url)
    .bind(record.provenance.sha256.map(|sha256| sha256.to_string()))
    .bind(record.provenance.trust.as_str())
    .bind(record.provenance.source.as_str())
    .bind(&record.provenance.generator)
    .bind(rows::integer(record.added))
    .execute(on)
    .await?;
    Ok(record)
}
