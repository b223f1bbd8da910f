//! Other names that an archive's operator gives to kernels: a rebuild under a vendor's name, a distribution that ships another's kernels.
//!
//! The spellings of distributions, versions and architectures are not kept here: those are the same everywhere ([`crate::alias`]). An alias is a key
//! that no kernel has, and stands for the key of one that is there.

use super::super::{Error, Result};
use super::database::Sql;
use super::{Catalog, rows};
use crate::{KernelRecord, Key};

impl Catalog {
    /// Gives a kernel another name; one that has been given before now stands for this kernel.
    ///
    /// # Errors
    /// [`Error::Query`] if the name is a kernel's own, or `key` is none's.
    pub async fn add_alias(&self, alias: &Key, key: &Key) -> Result<()> {
        let refused = |what, reason: String| Err(Error::Query { what, reason });
        let mut transaction = self.database.begin().await?;
        if rows::by_key(&mut transaction, alias).await?.is_some() {
            return refused("alias", format!("{alias} is a kernel of its own here"));
        }
        if rows::by_key(&mut transaction, key).await?.is_none() {
            return refused("key", format!("there is no kernel {key} here"));
        }
        let now = self.database.now();
        let sql = Sql::new(format!(
            "INSERT INTO aliases (alias, release, key, added) VALUES (?, ?, ?, {now}) \
             ON CONFLICT (alias) DO UPDATE SET key = excluded.key, added = excluded.added"
        ));
        let sql = sql.bind(alias.to_string()).bind(alias.release()).bind(key.to_string());
        transaction.execute(sql).await?;
        transaction.commit().await
    }

    /// Takes a name away again; says whether it was one.
    pub async fn remove_alias(&self, alias: &Key) -> Result<bool> {
        let sql = Sql::new("DELETE FROM aliases WHERE alias = ?").bind(alias.to_string());
        Ok(self.database.execute(sql).await? > 0)
    }

    /// Every alias with the key that it stands for, in order of the aliases' bytes.
    pub async fn aliases(&self) -> Result<Vec<(Key, Key)>> {
        let rows = self.database.fetch(Sql::new("SELECT alias, key FROM aliases ORDER BY alias")).await?;
        rows.iter().map(|row| Ok((parse(row.text("alias")?)?, parse(row.text("key")?)?))).collect()
    }

    /// The kernel of this key, or the one for which it is an alias.
    pub async fn by_name(&self, name: &Key) -> Result<Option<KernelRecord>> {
        if let Some(known) = self.by_key(name).await? {
            return Ok(Some(known));
        }
        let sql = Sql::new("SELECT key FROM aliases WHERE alias = ?").bind(name.to_string());
        match self.database.fetch_one(sql).await? {
            Some(row) => self.by_key(&parse(row.text("key")?)?).await,
            None => Ok(None),
        }
    }

    /// The kernels that have an alias of this release, each with that alias.
    pub(super) async fn of_alias_release(&self, release: &str) -> Result<Vec<(Key, KernelRecord)>> {
        let sql = Sql::new("SELECT alias, key FROM aliases WHERE release = ? ORDER BY alias").bind(release);
        let mut found = Vec::new();
        for row in self.database.fetch(sql).await? {
            if let Some(kernel) = self.by_key(&parse(row.text("key")?)?).await? {
                found.push((parse(row.text("alias")?)?, kernel));
            }
        }
        Ok(found)
    }
}

fn parse(name: String) -> Result<Key> {
    name.parse().map_err(|error: crate::Error| Error::Row { key: name, reason: error.to_string() })
}
