//! Kernels on whose blobs another kernel's may be made as a delta.

use super::super::{Error, Result};
use super::Catalog;
use super::database::{Row, Sql};
use crate::Digest;

/// A kernel whose blob may be a base.
#[derive(Clone, Debug)]
pub(in crate::store) struct Related {
    pub(in crate::store) arch: String,
    pub(in crate::store) release: String,
    pub(in crate::store) digest: Digest,
    /// What its blob is made on, if it is a delta.
    pub(in crate::store) base: Option<Digest>,
    /// Whether that is a delta, too.
    pub(in crate::store) is_deep: bool,
    pub(in crate::store) config: Option<Digest>,
}

const SELECT: &str = "SELECT k.arch, k.release, k.digest, b.base, bb.base AS base_base, k.config FROM kernels k \
     JOIN blobs b ON b.digest = k.digest LEFT JOIN blobs bb ON bb.digest = b.base WHERE ";

/// How many kernels of other series are looked at.
const OTHERS: u64 = 256;

impl Catalog {
    /// The kernels of one upstream series (`6.12`), of every architecture.
    pub(in crate::store) async fn of_series(&self, series: &str) -> Result<Vec<Related>> {
        // `-` and `.`, which follow the series' numbers, are next to each other, and `/` comes behind them.
        let sql = Sql::new(format!("{SELECT}k.release >= ? AND k.release < ?"));
        let sql = sql.bind(format!("{series}-")).bind(format!("{series}/"));
        self.database.fetch(sql).await?.iter().map(related).collect()
    }

    /// Kernels whose blobs are whole, of this architecture first.
    pub(in crate::store) async fn whole_ones(&self, arch: &str) -> Result<Vec<Related>> {
        let sql = Sql::new(format!(
            "{SELECT}b.base IS NULL ORDER BY CASE WHEN k.arch = ? THEN 0 ELSE 1 END, k.release_order DESC LIMIT ?"
        ));
        self.database.fetch(sql.bind(arch).bind(OTHERS)).await?.iter().map(related).collect()
    }

    /// What this blob is recorded to be made on; none for one that is whole or not known.
    pub(in crate::store) async fn base_of(&self, digest: &Digest) -> Result<Option<Digest>> {
        let sql = Sql::new("SELECT base FROM blobs WHERE digest = ?").bind(digest.to_string());
        match self.database.fetch_one(sql).await? {
            Some(row) => self::digest(&row, "base"),
            None => Ok(None),
        }
    }
}

fn related(row: &Row) -> Result<Related> {
    let odd = |reason: String| Error::Row { key: "a blob's base".to_owned(), reason };
    Ok(Related {
        arch: row.text("arch")?,
        release: row.text("release")?,
        digest: digest(row, "digest")?.ok_or_else(|| odd("has no digest".to_owned()))?,
        base: digest(row, "base")?,
        is_deep: row.maybe_text("base_base")?.is_some(),
        config: digest(row, "config")?,
    })
}

fn digest(row: &Row, column: &str) -> Result<Option<Digest>> {
    let odd = |error: crate::Error| Error::Row { key: "a blob's base".to_owned(), reason: error.to_string() };
    row.maybe_text(column)?.map(|hex| hex.parse()).transpose().map_err(odd)
}
