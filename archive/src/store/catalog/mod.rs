//! The catalog: what an archive knows, for lookups. SQLite in WAL mode.
//!
//! Readers share a pool and never wait for the writer. Writers of one process queue for one connection; writers of
//! several processes wait for SQLite's lock, which every write takes at its start (`BEGIN IMMEDIATE`) and holds for
//! milliseconds. `synchronous = FULL`: what a call has written is on disk when it returns.

mod failures;
mod list;
mod lookup;
mod rows;
mod write;

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlSafeStr, SqlitePool};

pub use failures::{Failure, Subject};
pub use list::{Filter, MAX_PAGE, Page};
pub use lookup::{Lookup, LookupQuery};

use super::Result;
use crate::snapshot::Latest;
use crate::{BuildId, Digest, KernelRecord, Key};

/// How long a connection waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that read, at most.
const READERS: u32 = 8;

/// The schema, step by step. A released step never changes.
const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "kernels", include_str!("../../../migrations/sqlite/0001_kernels.sql"))];

/// What an archive knows, for lookups.
#[derive(Debug)]
pub struct Catalog {
    readers: SqlitePool,
    writer: SqlitePool,
}

impl Catalog {
    /// Opens the file, makes it if it is missing, and brings its schema up to date. The caller holds the archive's lock.
    pub(super) async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        let steps = MIGRATIONS.iter().map(|&(version, name, sql)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        });
        Migrator::with_migrations(steps.collect()).run(&writer).await?;
        let readers =
            SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await?;
        Ok(Self { readers, writer })
    }

    /// Closes every connection; the writer last, for only it can fold the write-ahead log into the file.
    pub(super) async fn close(self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// The kernel of this key.
    pub async fn by_key(&self, key: &Key) -> Result<Option<KernelRecord>> {
        rows::by_key(&self.readers, key).await
    }

    /// The kernels of this build-id: one, or the same kernel under several keys.
    pub async fn by_build_id(&self, build_id: &BuildId) -> Result<Vec<KernelRecord>> {
        rows::fetch(&self.readers, rows::OF_BUILD_ID, &[&build_id.to_string()]).await
    }

    /// The kernels whose BTF has this digest.
    pub async fn by_digest(&self, digest: &Digest) -> Result<Vec<KernelRecord>> {
        rows::fetch(&self.readers, rows::OF_DIGEST, &[&digest.to_string()]).await
    }

    /// The kernels that were made from this version of a package.
    pub async fn by_package(&self, package: &str, package_version: &str) -> Result<Vec<KernelRecord>> {
        rows::fetch(&self.readers, rows::OF_PACKAGE, &[package, package_version]).await
    }

    /// How many kernels there are.
    pub async fn count(&self) -> Result<u64> {
        let row = sqlx::query("SELECT count(*) FROM kernels").fetch_one(&self.readers).await?;
        Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
    }

    /// Every kernel, in order of the keys.
    pub(super) async fn all(&self) -> Result<Vec<KernelRecord>> {
        let mut all = rows::fetch(&self.readers, "TRUE", &[]).await?;
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }

    /// The number of the newest snapshot that this catalog has seen.
    pub(super) async fn newest_snapshot(&self) -> Result<Option<u64>> {
        let row = sqlx::query("SELECT max(number) FROM snapshots").fetch_one(&self.readers).await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(i64::unsigned_abs))
    }

    /// Remembers a published snapshot.
    pub(super) async fn record_snapshot(&self, latest: &Latest) -> Result<()> {
        sqlx::query(
            "INSERT INTO snapshots (number, digest, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(rows::integer(latest.number))
        .bind(latest.digest.to_string())
        .bind(rows::integer(latest.created))
        .execute(&self.writer)
        .await?;
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
            let sql = format!("EXPLAIN QUERY PLAN {}{condition}", rows::SELECT);
            let plan = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&catalog.readers).await.unwrap();
            let steps: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
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
