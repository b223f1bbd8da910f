//! The catalog: what an archive knows, for lookups. SQLite beside the tree, or PostgreSQL, which several machines can share.

mod aliases;
mod bases;
mod database;
mod failures;
mod jobs;
mod list;
mod lookup;
mod retained;
mod rows;
mod tokens;
mod worker;
mod write;

use std::path::Path;

pub use failures::{Failure, FailureClass, FailureReport, Failures, Retry, Subject};
pub use jobs::{Backlog, Job, Worker};
pub use list::{Filter, MAX_PAGE, Page};
pub use lookup::{Lookup, LookupQuery};
pub use tokens::{AuditEntry, Permission, Scope, Token};

pub(super) use bases::Related;
pub(super) use database::Alone;
use database::{Database, Sql};
pub(super) use write::StoredBlob;

use super::{Error, Result};
use crate::snapshot::Latest;
use crate::{BuildId, Digest, KernelRecord, Key, Provenance};

/// What an archive knows, for lookups.
#[derive(Debug)]
pub struct Catalog {
    database: Database,
}

impl Catalog {
    /// Opens SQLite's file, makes it if it is missing, and brings its schema up to date. The caller holds the archive's
    /// lock.
    pub(super) async fn open(path: &Path) -> Result<Self> {
        Ok(Self { database: Database::sqlite(path).await? })
    }

    /// Connects to a catalog by URL: `postgres://USER@HOST/DATABASE`.
    ///
    /// # Errors
    /// [`Error::UnsupportedCatalog`] for another scheme.
    pub(super) async fn connect(url: &str) -> Result<Self> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Error::UnsupportedCatalog { location: Provenance::public_url(url) });
        }
        Ok(Self { database: Database::postgres(url).await? })
    }

    /// Closes every connection.
    pub(super) async fn close(self) {
        self.database.close().await;
    }

    /// Waits until nobody else publishes from this catalog.
    pub(super) async fn alone(&self) -> Result<Alone> {
        self.database.alone().await
    }

    /// The kernel of this key.
    pub async fn by_key(&self, key: &Key) -> Result<Option<KernelRecord>> {
        let found =
            self.fetch(rows::OF_KEY, &[key.distro(), key.version(), key.arch(), key.release()]).await?;
        Ok(found.into_iter().next())
    }

    /// The kernels of this build-id: one, or the same kernel under several keys.
    pub async fn by_build_id(&self, build_id: &BuildId) -> Result<Vec<KernelRecord>> {
        self.fetch(rows::OF_BUILD_ID, &[&build_id.to_string()]).await
    }

    /// The kernels whose BTF has this digest.
    pub async fn by_digest(&self, digest: &Digest) -> Result<Vec<KernelRecord>> {
        self.fetch(rows::OF_DIGEST, &[&digest.to_string()]).await
    }

    /// The kernels that were made from this version of a package.
    pub async fn by_package(&self, package: &str, package_version: &str) -> Result<Vec<KernelRecord>> {
        self.fetch(rows::OF_PACKAGE, &[package, package_version]).await
    }

    /// How many kernels there are.
    pub async fn count(&self) -> Result<u64> {
        let row = self.database.fetch_one(Sql::new("SELECT count(*) AS kernels FROM kernels")).await?;
        row.map_or(Ok(0), |row| row.number("kernels"))
    }

    /// The kernels that meet a condition (SQL of our own) with these values for its question marks.
    async fn fetch(&self, condition: &str, values: &[&str]) -> Result<Vec<KernelRecord>> {
        self.database.fetch(rows::select(condition, values)).await?.iter().map(rows::record).collect()
    }

    /// Every kernel, in order of the keys.
    pub(super) async fn all(&self) -> Result<Vec<KernelRecord>> {
        let mut all = self.fetch("TRUE", &[]).await?;
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }

    /// The number of the newest snapshot that this catalog has seen.
    pub(super) async fn newest_snapshot(&self) -> Result<Option<u64>> {
        let row = self.database.fetch_one(Sql::new("SELECT max(number) AS newest FROM snapshots")).await?;
        row.map_or(Ok(None), |row| row.maybe_number("newest"))
    }

    /// Remembers a published snapshot.
    pub(super) async fn record_snapshot(&self, latest: &Latest) -> Result<()> {
        let sql = Sql::new(
            "INSERT INTO snapshots (number, digest, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(latest.number)
        .bind(latest.digest.to_string())
        .bind(latest.created);
        self.database.execute(sql).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that an index answers every lookup: at no number of kernels is a table read from end to end.
    #[tokio::test]
    async fn catalog_lookups_use_indexes() {
        let root = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&root.path().join("catalog.sqlite")).await.unwrap();
        let known = [
            rows::OF_KEY,
            rows::OF_BUILD_ID,
            rows::OF_DIGEST,
            rows::OF_PACKAGE,
            rows::OF_RELEASE,
            rows::OF_RELEASES,
            "k.key_order > ? ORDER BY k.key_order LIMIT 100",
        ];
        let conditions = known.map(str::to_owned).into_iter().chain(lookup::neighbour_conditions());
        for condition in conditions {
            let sql = Sql::new(format!("EXPLAIN QUERY PLAN {}{condition}", rows::SELECT));
            let plan = catalog.database.fetch(sql).await.unwrap();
            let steps: Vec<String> = plan.iter().map(|row| row.text("detail").unwrap()).collect();
            let neighbours = condition.contains("LIMIT");
            assert!(
                steps
                    .iter()
                    .all(|step| !step.starts_with("SCAN") || neighbours && step.contains("USING INDEX")),
                "{condition}: {steps:?}"
            );
            // Neighbours come in order from the index; only a few rows of the others are sorted.
            assert!(
                !neighbours || !steps.iter().any(|step| step.contains("TEMP B-TREE")),
                "{condition}: {steps:?}"
            );
        }
    }
}
