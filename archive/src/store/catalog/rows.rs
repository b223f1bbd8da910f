//! Kernels as rows, in both directions.

use super::super::{Error, Result};
use super::database::{Row, Sql, Transaction};
use crate::{KernelRecord, Key, Provenance, Source, Trust};

/// The columns of a kernel, from `kernels k` and its blob `b`.
pub(super) const SELECT: &str = "SELECT k.distro, k.version, k.arch, k.release, k.build_id, k.digest, b.raw_size, \
     b.zst_size, b.base, k.package, k.package_version, k.url, k.package_sha256, k.trust, k.source, k.generator, k.added, \
     k.config, k.modules FROM kernels k JOIN blobs b ON b.digest = k.digest WHERE ";

// Conditions after [`SELECT`], each of which an index answers.
pub(super) const OF_KEY: &str = "k.distro = ? AND k.version = ? AND k.arch = ? AND k.release = ?";
pub(super) const OF_BUILD_ID: &str = "k.build_id = ? ORDER BY k.key_order";
pub(super) const OF_DIGEST: &str = "k.digest = ? ORDER BY k.key_order";
pub(super) const OF_PACKAGE: &str = "k.package = ? AND k.package_version = ? ORDER BY k.key_order";
pub(super) const OF_RELEASE: &str = "k.release = ? ORDER BY k.key_order";
pub(super) const OF_RELEASES: &str = "k.distro = ? AND k.release >= ? AND k.release < ? ORDER BY k.key_order";

/// Asks for the kernels that meet a condition with these values for its question marks.
pub(super) fn select(condition: &str, values: &[&str]) -> Sql {
    values.iter().fold(Sql::new(format!("{SELECT}{condition}")), |sql, value| sql.bind(*value))
}

/// The kernel of a key, for those who are about to change it.
pub(super) async fn by_key(on: &mut Transaction, key: &Key) -> Result<Option<KernelRecord>> {
    let sql = select(OF_KEY, &[key.distro(), key.version(), key.arch(), key.release()]);
    on.fetch(sql).await?.first().map(record).transpose()
}

/// A row of [`SELECT`]'s columns as a record.
pub(super) fn record(row: &Row) -> Result<KernelRecord> {
    let name = format!(
        "{}/{}/{}/{}",
        row.text("distro")?,
        row.text("version")?,
        row.text("arch")?,
        row.text("release")?
    );
    let odd = |reason: String| Error::Row { key: name.clone(), reason };
    let parsed = |error: crate::Error| odd(error.to_string());
    let digest = |column| row.maybe_text(column)?.map(|hex| hex.parse()).transpose().map_err(parsed);
    Ok(KernelRecord {
        key: name.parse().map_err(parsed)?,
        build_id: row.maybe_text("build_id")?.map(|hex| hex.parse()).transpose().map_err(parsed)?,
        digest: row.text("digest")?.parse().map_err(parsed)?,
        raw_size: row.number("raw_size")?,
        zst_size: row.number("zst_size")?,
        base: digest("base")?,
        config: digest("config")?,
        modules: digest("modules")?,
        provenance: Provenance {
            package: row.maybe_text("package")?,
            package_version: row.maybe_text("package_version")?,
            url: row.maybe_text("url")?,
            sha256: digest("package_sha256")?,
            trust: Trust::from_name(&row.text("trust")?).ok_or_else(|| odd("unknown trust".to_owned()))?,
            source: Source::from_name(&row.text("source")?)
                .ok_or_else(|| odd("unknown source".to_owned()))?,
            generator: row.text("generator")?,
        },
        added: row.number("added")?,
    })
}
