//! Writing kernels: a key's digest never changes silently.

use super::super::{Added, Error, Result, now};
use super::database::{Sql, Transaction};
use super::{Catalog, failures, rows};
use crate::snapshot::Snapshot;
use crate::{Digest, KernelRecord, Key, Provenance, order};

/// A blob in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct StoredBlob {
    pub(in crate::store) digest: Digest,
    pub(in crate::store) raw_size: u64,
    pub(in crate::store) zst_size: u64,
    /// The blob on which it is stored as a delta.
    pub(in crate::store) base: Option<Digest>,
}

impl Catalog {
    /// Refuses what contradicts a known kernel of that key; gives the known one, if there is one.
    pub(in crate::store) async fn check(&self, record: &KernelRecord) -> Result<Option<KernelRecord>> {
        let known = self.by_key(&record.key).await?;
        known.map(|known| agree(known, record)).transpose()
    }

    /// Adds a kernel, unless it is known; what contradicts the known one is refused. `beside` are the blobs of its configuration
    /// and modules.
    pub(in crate::store) async fn insert(
        &self,
        record: KernelRecord,
        beside: &[StoredBlob],
    ) -> Result<Added> {
        let mut transaction = self.database.begin().await?;
        let added = match rows::by_key(&mut transaction, &record.key).await? {
            Some(known) => {
                Added::AlreadyThere(learn(&mut transaction, agree(known, &record)?, record).await?)
            }
            None => Added::New(insert(&mut transaction, record).await?),
        };
        remember_blobs(&mut transaction, beside).await?;
        failures::clear(&mut transaction, &added.record().key).await?;
        transaction.commit().await?;
        Ok(added)
    }

    /// Adds a kernel or gives a known one other BTF, and records why.
    pub(in crate::store) async fn replace(
        &self,
        record: KernelRecord,
        beside: &[StoredBlob],
        reason: &str,
    ) -> Result<Added> {
        let mut transaction = self.database.begin().await?;
        let added = match rows::by_key(&mut transaction, &record.key).await? {
            Some(known) if known.digest == record.digest => {
                Added::AlreadyThere(learn(&mut transaction, agree(known, &record)?, record).await?)
            }
            Some(known) => Added::New(overwrite(&mut transaction, &known, record, reason).await?),
            None => Added::New(insert(&mut transaction, record).await?),
        };
        remember_blobs(&mut transaction, beside).await?;
        failures::clear(&mut transaction, &added.record().key).await?;
        transaction.commit().await?;
        Ok(added)
    }

    /// Another version of a package has the same kernel: from now on its BTF is said to be from there. Nothing else changes, and
    /// nothing at all if the kernel has other BTF by now. Credentials in the URL are not kept.
    pub async fn restate(&self, key: &Key, digest: &Digest, provenance: &Provenance) -> Result<()> {
        let Provenance { package, package_version, url, sha256, trust, source, generator } = provenance;
        let sql = Sql::new(
            "UPDATE kernels SET package = ?, package_version = ?, url = ?, package_sha256 = ?, trust = ?, source = ?, \
             generator = ?",
        );
        let sql = sql
            .bind(package.clone())
            .bind(package_version.clone())
            .bind(url.as_deref().map(Provenance::public_url))
            .bind(sha256.map(|sha256| sha256.to_string()))
            .bind(trust.as_str())
            .bind(source.as_str())
            .bind(generator.as_str());
        let mut sql = of_key(sql, key);
        sql.push(" AND digest = ").push_bind(digest.to_string());
        self.database.execute(sql).await?;
        Ok(())
    }

    /// Takes over what a published snapshot says. Where it contradicts the catalog, the snapshot holds, and the catalog
    /// records the change.
    pub(in crate::store) async fn import(&self, snapshot: Snapshot) -> Result<()> {
        let reason = format!("snapshot {} has it so", snapshot.number);
        let mut transaction = self.database.begin().await?;
        for record in snapshot.kernels {
            match rows::by_key(&mut transaction, &record.key).await? {
                None => insert(&mut transaction, record).await?,
                Some(known) => match agree(known.clone(), &record) {
                    Ok(known) => learn(&mut transaction, known, record).await?,
                    Err(_) => overwrite(&mut transaction, &known, record, &reason).await?,
                },
            };
        }
        transaction.commit().await
    }

    /// Says that somebody is about to use these blobs (digest, raw size), before it is looked whether they are there: what
    /// removes unused ones leaves them alone for some hours, and is done with them when this returns.
    pub(in crate::store) async fn touch(&self, blobs: &[(Digest, u64)]) -> Result<()> {
        let now = self.database.now();
        let mut transaction = self.database.begin_beside().await?;
        let mut blobs = blobs.to_vec();
        // In one order, so that two who touch the same ones do not wait for each other.
        blobs.sort_unstable_by_key(|(digest, _)| *digest.as_bytes());
        for (digest, raw_size) in blobs {
            let sql = Sql::new(format!(
                "INSERT INTO blobs (digest, raw_size, zst_size, touched) VALUES (?, ?, 0, {now}) \
                 ON CONFLICT (digest) DO UPDATE SET touched = excluded.touched"
            ));
            transaction.execute(sql.bind(digest.to_string()).bind(raw_size)).await?;
        }
        transaction.commit().await
    }

    /// [`Self::touch`] for a blob that others are to be made on, if it is known.
    pub(in crate::store) async fn touch_known(&self, digest: &Digest) -> Result<()> {
        let now = self.database.now();
        let sql =
            Sql::new(format!("UPDATE blobs SET touched = {now} WHERE digest = ?")).bind(digest.to_string());
        self.database.execute(sql).await.map(|_| ())
    }

    /// Whether this key's BTF was once `digest` and deliberately replaced.
    pub(in crate::store) async fn was_replaced(&self, key: &Key, digest: &Digest) -> Result<bool> {
        let sql = Sql::new("SELECT id FROM replacements WHERE key = ? AND old_digest = ?");
        Ok(self.database.fetch_one(sql.bind(key.to_string()).bind(digest.to_string())).await?.is_some())
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
    on: &mut Transaction,
    known: &KernelRecord,
    record: KernelRecord,
    reason: &str,
) -> Result<KernelRecord> {
    let sql =
        Sql::new("INSERT INTO replacements (key, old_digest, new_digest, reason, at) VALUES (?, ?, ?, ?, ?)")
            .bind(known.key.to_string())
            .bind(known.digest.to_string())
            .bind(record.digest.to_string())
            .bind(reason)
            .bind(now());
    on.execute(sql).await?;
    on.execute(of_key(Sql::new("DELETE FROM kernels"), &known.key)).await?;
    insert(on, record).await
}

/// Keeps what a known kernel lacked: its build-id, configuration and modules; and the stored size and base of a blob that was
/// lost and written again.
async fn learn(on: &mut Transaction, known: KernelRecord, offered: KernelRecord) -> Result<KernelRecord> {
    let learnt = KernelRecord {
        build_id: known.build_id.or(offered.build_id),
        config: known.config.or(offered.config),
        modules: known.modules.or(offered.modules),
        zst_size: offered.zst_size,
        base: offered.base,
        ..known.clone()
    };
    if (known.build_id, known.config, known.modules) != (learnt.build_id, learnt.config, learnt.modules) {
        let sql = Sql::new("UPDATE kernels SET build_id = ?, config = ?, modules = ?")
            .bind(learnt.build_id.map(|id| id.to_string()))
            .bind(learnt.config.map(|digest| digest.to_string()))
            .bind(learnt.modules.map(|digest| digest.to_string()));
        on.execute(of_key(sql, &known.key)).await?;
    }
    if (known.zst_size, known.base) != (offered.zst_size, offered.base) {
        remember_blobs(on, &[btf_of(&offered)]).await?;
    }
    Ok(learnt)
}

fn btf_of(record: &KernelRecord) -> StoredBlob {
    StoredBlob {
        digest: record.digest,
        raw_size: record.raw_size,
        zst_size: record.zst_size,
        base: record.base,
    }
}

/// Adds a condition: the kernel of this key.
fn of_key(mut sql: Sql, key: &Key) -> Sql {
    let parts = [
        (" WHERE distro = ", key.distro()),
        (" AND version = ", key.version()),
        (" AND arch = ", key.arch()),
        (" AND release = ", key.release()),
    ];
    for (text, value) in parts {
        sql.push(text).push_bind(value);
    }
    sql
}

async fn remember_blobs(on: &mut Transaction, blobs: &[StoredBlob]) -> Result<()> {
    for blob in blobs {
        let sql = Sql::new(
            "INSERT INTO blobs (digest, raw_size, zst_size, base) VALUES (?, ?, ?, ?) \
             ON CONFLICT (digest) DO UPDATE SET zst_size = excluded.zst_size, base = excluded.base",
        );
        let base = blob.base.map(|base| base.to_string());
        let sql = sql.bind(blob.digest.to_string()).bind(blob.raw_size).bind(blob.zst_size).bind(base);
        on.execute(sql).await?;
    }
    Ok(())
}

async fn insert(on: &mut Transaction, record: KernelRecord) -> Result<KernelRecord> {
    remember_blobs(on, &[btf_of(&record)]).await?;
    let sql = Sql::new(
        "INSERT INTO kernels (distro, version, arch, release, key_order, release_order, build_id, digest, package, \
         package_version, url, package_sha256, trust, source, generator, added, config, modules) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(record.key.distro())
    .bind(record.key.version())
    .bind(record.key.arch())
    .bind(record.key.release())
    .bind(order(&record.key.to_string()))
    .bind(order(record.key.release()))
    .bind(record.build_id.map(|id| id.to_string()))
    .bind(record.digest.to_string())
    .bind(record.provenance.package.clone())
    .bind(record.provenance.package_version.clone())
    .bind(record.provenance.url.clone())
    .bind(record.provenance.sha256.map(|sha256| sha256.to_string()))
    .bind(record.provenance.trust.as_str())
    .bind(record.provenance.source.as_str())
    .bind(record.provenance.generator.as_str())
    .bind(record.added)
    .bind(record.config.map(|digest| digest.to_string()))
    .bind(record.modules.map(|digest| digest.to_string()));
    on.execute(sql).await?;
    Ok(record)
}
