//! Listing kernels, page by page.

use super::super::{Error, Result};
use super::database::Sql;
use super::{Catalog, rows};
use crate::{BuildId, KernelRecord, Key, alias, order};

/// The most kernels on one page.
pub const MAX_PAGE: usize = 1000;

/// The most words of [`Filter::q`] that count.
const MAX_WORDS: usize = 8;

/// Which kernels to list: those that meet everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The distribution, in any spelling.
    pub distro: Option<String>,
    /// The version, in any spelling; a codename works without the distribution.
    pub version: Option<String>,
    /// The architecture, in any spelling.
    pub arch: Option<String>,
    /// The release, exactly.
    pub release: Option<String>,
    /// The build-id, exactly.
    pub build_id: Option<BuildId>,
    /// Words, of which each must be somewhere in the key, case aside. At most eight count.
    pub q: Option<String>,
}

/// Some of the kernels of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The kernels, in order of distribution, version, architecture and release, as people order those.
    pub kernels: Vec<KernelRecord>,
    /// Where the next page starts; none if this is the last.
    pub next: Option<String>,
}

impl Catalog {
    /// The kernels that meet a filter, at most `limit` (at least 1, at most [`MAX_PAGE`]), after the cursor that the
    /// page before gave. Kernels added or removed between pages disturb no other.
    ///
    /// # Errors
    /// [`Error::Query`] for a cursor that is none.
    pub async fn list(&self, filter: &Filter, cursor: Option<&str>, limit: usize) -> Result<Page> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut query = Sql::new(rows::SELECT);
        query.push("TRUE");
        let distro = filter.distro.as_deref().map(alias::distro);
        let version = filter.version.as_deref().map(|version| match &distro {
            Some(distro) => alias::version(distro, version),
            None => alias::version_of_any(version),
        });
        let columns = [
            ("distro", distro),
            ("version", version),
            ("arch", filter.arch.as_deref().map(alias::arch)),
            ("release", filter.release.clone()),
            ("build_id", filter.build_id.map(|id| id.to_string())),
        ];
        for (column, value) in columns {
            if let Some(value) = value {
                query.push(" AND k.").push(column).push(" = ").push_bind(value);
            }
        }
        for word in filter.q.as_deref().unwrap_or_default().split_whitespace().take(MAX_WORDS) {
            // A plain search knows no wildcards that would have to be escaped.
            query.push(" AND ").push(self.database.position());
            query.push("(lower(k.distro || '/' || k.version || '/' || k.arch || '/' || k.release), ");
            query.push_bind(word.to_ascii_lowercase()).push(") > 0");
        }
        if let Some(cursor) = cursor {
            let key: Key = cursor
                .parse()
                .map_err(|error: crate::Error| Error::Query { what: "cursor", reason: error.to_string() })?;
            query.push(" AND k.key_order > ").push_bind(order(&key.to_string()));
        }
        // One more than asked for tells whether there is a next page.
        query.push(" ORDER BY k.key_order LIMIT ").push_bind(limit as u64 + 1);
        let found = self.database.fetch(query).await?;
        let mut kernels = found.iter().map(rows::record).collect::<Result<Vec<_>>>()?;
        let more = kernels.len() > limit;
        kernels.truncate(limit);
        let next = kernels.last().filter(|_| more).map(|last| last.key.to_string());
        Ok(Page { kernels, next })
    }
}
