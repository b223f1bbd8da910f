//! Kernels as rows, in both directions.

use sqlx::sqlite::{SqliteExecutor, SqliteRow};
use sqlx::{AssertSqlSafe, Row};

use super::super::{Error, Result};
use crate::{KernelRecord, Key, Provenance, Source, Trust};

/// The columns of a kernel, from `kernels k` and its blob `b`.
pub(super) const SELECT: &str = "SELECT k.distro, k.version, k.arch, k.release, k.build_id, k.digest, b.raw_size, \
     b.zst_size, k.package, k.package_version, k.url, k.package_sha256, k.trust, k.source, k.generator, k.added \
     FROM kernels k JOIN blobs b ON b.digest = k.digest WHERE ";

// Conditions after [`SELECT`], each of which an index answers.
pub(super) const OF_KEY: &str = "k.distro = ? AND k.version = ? AND k.arch = ? AND k.release = ?";
pub(super) const OF_BUILD_ID: &str = "k.build_id = ? ORDER BY k.key_order";
pub(super) const OF_DIGEST: &str = "k.digest = ? ORDER BY k.key_order";
pub(super) const OF_PACKAGE: &str = "k.package = ? AND k.package_version = ? ORDER BY k.key_order";
pub(super) const OF_RELEASE: &str = "k.release = ? ORDER BY k.key_order";
pub(super) const OF_RELEASES: &str = "k.distro = ? AND k.release >= ? AND k.release < ? ORDER BY k.key_order";

/// The kernels that meet a condition (SQL of our own, never a user's text) with these values for its question marks.
pub(super) async fn fetch(
    on: impl SqliteExecutor<'_>,
    condition: &str,
    values: &[&str],
) -> Result<Vec<KernelRecord>> {
    let mut query = sqlx::query(AssertSqlSafe(format!("{SELECT}{condition}")));
    for value in values {
        query = query.bind((*value).to_owned());
    }
    query.fetch_all(on).await?.iter().map(record).collect()
}

/// The kernel of a key.
pub(super) async fn by_key(on: impl SqliteExecutor<'_>, key: &Key) -> Result<Option<KernelRecord>> {
    let found = fetch(on, OF_KEY, &[key.distro(), key.version(), key.arch(), key.release()]).await?;
    Ok(found.into_iter().next())
}

/// A row of [`SELECT`]'s columns as a record.
pub(super) fn record(row: &SqliteRow) -> Result<KernelRecord> {
    let text = |column| row.try_get::<String, _>(column);
    let optional = |column| row.try_get::<Option<String>, _>(column);
    let name = format!("{}/{}/{}/{}", text("distro")?, text("version")?, text("arch")?, text("release")?);
    let odd = |reason: String| Error::Row { key: name.clone(), reason };
    let size = |column: &str| -> Result<u64> {
        u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| odd(format!("{column} is negative")))
    };
    let parsed = |error: crate::Error| odd(error.to_string());
    Ok(KernelRecord {
        key: name.parse().map_err(parsed)?,
        build_id: optional("build_id")?.map(|hex| hex.parse()).transpose().map_err(parsed)?,
        digest: text("digest")?.parse().map_err(parsed)?,
        raw_size: size("raw_size")?,
        zst_size: size("zst_size")?,
        provenance: Provenance {
            package: optional("package")?,
            package_version: optional("package_version")?,
            url: optional("url")?,
            sha256: optional("package_sha256")?.map(|hex| hex.parse()).transpose().map_err(parsed)?,
            trust: Trust::from_name(&text("trust")?).ok_or_else(|| odd("unknown trust".to_owned()))?,
            source: Source::from_name(&text("source")?).ok_or_else(|| odd("unknown source".to_owned()))?,
            generator: text("generator")?,
        },
        added: size("added")?,
    })
}

/// A count as SQLite holds it. Ours stay far below 2^63.
pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
