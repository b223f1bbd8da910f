//! Which snapshots and blobs are kept, and forgetting those that are not.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::super::{Error, Result};
use super::Catalog;
use super::database::{Sql, Transaction};
use crate::Digest;

impl Catalog {
    /// Keeps a snapshot for good, or (without a reason) no longer than the others. Says whether it is known.
    pub async fn pin_snapshot(&self, number: u64, reason: Option<&str>) -> Result<bool> {
        let sql = Sql::new("UPDATE snapshots SET pinned = ? WHERE number = ? AND removed IS NULL");
        let reason = reason.map(str::to_owned);
        Ok(self.database.execute(sql.bind(reason).bind(number)).await? > 0)
    }

    /// The snapshots that are kept for good, and why.
    pub async fn pinned_snapshots(&self) -> Result<BTreeMap<u64, String>> {
        let sql =
            Sql::new("SELECT number, pinned FROM snapshots WHERE pinned IS NOT NULL AND removed IS NULL");
        let rows = self.database.fetch(sql).await?;
        rows.iter().map(|row| Ok((row.number("number")?, row.text("pinned")?))).collect()
    }

    /// The snapshots that were here once, and were removed because they are not retained.
    pub async fn removed_snapshots(&self) -> Result<BTreeSet<u64>> {
        let rows =
            self.database.fetch(Sql::new("SELECT number FROM snapshots WHERE removed IS NOT NULL")).await?;
        rows.iter().map(|row| row.number("number")).collect()
    }

    /// Records that these snapshots are not here: they were removed, or never fetched by a mirror.
    pub(in crate::store) async fn snapshots_removed(&self, numbers: &[u64]) -> Result<()> {
        let now = self.database.now();
        let mut transaction = self.database.begin().await?;
        for number in numbers {
            let sql = Sql::new(format!(
                "INSERT INTO snapshots (number, digest, created, removed) VALUES (?, '', 0, {now}) \
                 ON CONFLICT (number) DO UPDATE SET removed = excluded.removed"
            ));
            transaction.execute(sql.bind(*number)).await?;
        }
        transaction.commit().await
    }

    /// The digest of a snapshot's file, if this catalog has seen it.
    pub(in crate::store) async fn snapshot_digest(&self, number: u64) -> Result<Option<Digest>> {
        let sql = Sql::new("SELECT digest FROM snapshots WHERE number = ? AND digest <> ''").bind(number);
        let odd =
            |error: crate::Error| Error::Row { key: format!("snapshot {number}"), reason: error.to_string() };
        let row = self.database.fetch_one(sql).await?;
        row.map(|row| row.text("digest")?.parse().map_err(odd)).transpose()
    }

    /// A blob was written anew, whole.
    pub(in crate::store) async fn restored(
        &self,
        digest: &Digest,
        raw_size: u64,
        zst_size: u64,
    ) -> Result<()> {
        let sql = Sql::new(
            "INSERT INTO blobs (digest, raw_size, zst_size) VALUES (?, ?, ?) \
             ON CONFLICT (digest) DO UPDATE SET zst_size = excluded.zst_size, base = NULL",
        );
        self.database.execute(sql.bind(digest.to_string()).bind(raw_size).bind(zst_size)).await?;
        Ok(())
    }

    /// Forgets those of these blobs that no kernel has, that no other blob is made on, and that nobody touched within `grace`. They are to be
    /// removed from the tree before the transaction is committed: who touches one of them waits for that.
    pub(in crate::store) async fn discard(
        &self,
        digests: &[Digest],
        grace: Duration,
    ) -> Result<(Transaction, HashSet<Digest>)> {
        let now = self.database.now();
        let mut transaction = self.database.begin().await?;
        let mut named = HashSet::new();
        let rows = transaction.fetch(Sql::new("SELECT digest, config, modules FROM kernels")).await?;
        for row in &rows {
            named.extend([row.maybe_text("digest")?, row.maybe_text("config")?, row.maybe_text("modules")?]);
        }
        // In the order in which others touch them. With a row of its own, a blob that the catalog never heard of is locked like the others.
        let mut ordered: Vec<_> = digests.iter().map(ToString::to_string).collect();
        ordered.sort_unstable();
        for digest in ordered {
            let lock = Sql::new(
                "INSERT INTO blobs (digest, raw_size, zst_size, touched) VALUES (?, 0, 0, 0) \
                 ON CONFLICT (digest) DO UPDATE SET touched = blobs.touched",
            );
            transaction.execute(lock.bind(digest)).await?;
        }
        let mut free = HashSet::new();
        for digest in digests {
            let text = digest.to_string();
            if named.contains(&Some(text.clone())) {
                continue;
            }
            let based = Sql::new("SELECT digest FROM blobs WHERE base = ? LIMIT 1").bind(text.as_str());
            if !transaction.fetch(based).await?.is_empty() {
                continue;
            }
            let forget = format!("DELETE FROM blobs WHERE digest = ? AND touched <= {now} - ?");
            if transaction.execute(Sql::new(forget).bind(text.as_str()).bind(grace.as_secs())).await? > 0 {
                free.insert(*digest);
            }
        }
        Ok((transaction, free))
    }

    /// Whether a snapshot of this number is not here and should not be.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn is_removed(&self, number: u64) -> Result<bool, Error> {
        let sql =
            Sql::new("SELECT number FROM snapshots WHERE number = ? AND removed IS NOT NULL").bind(number);
        Ok(self.database.fetch_one(sql).await?.is_some())
    }
}
