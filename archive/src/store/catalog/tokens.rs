//! Tokens: who may change the archive over the network.
//!
//! A token is 256 random bits, shown once when it is made; the catalog keeps their sha256. So many random bits need no slow hash: there is
//! nothing to guess. A token has scopes, ends at a time if it should, and can be revoked.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::super::{Error, Result};
use super::Catalog;
use super::database::{Row, Sql};
use crate::Digest;

/// What every token begins with, so that a person or a scanner knows one when it is found in a log or a repository.
const PREFIX: &str = "btfa_";
/// Bytes of the secret, and of the public id in front of it.
const SECRET: usize = 32;
const ID: usize = 4;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Adding kernels.
    Upload,
    /// Everything, including the replacement of kernels.
    Admin,
}

impl Scope {
    /// The name on the command line and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = [Self::Upload, Self::Admin].into_iter().find(|scope| scope.as_str() == name);
        found.ok_or_else(|| Error::Query {
            what: "scope",
            reason: format!("{name} is neither upload nor admin"),
        })
    }
}

/// What is known of a token; never its secret. Times are seconds since 1970 (UTC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its public name: eight hexadecimal digits, which are in the token too.
    pub id: String,
    /// Whose it is, or what for.
    pub label: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: u64,
    /// When it ends; none: never.
    pub expires: Option<u64>,
    /// When it was revoked.
    pub revoked: Option<u64>,
}

/// Whether a token allows something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It does.
    Granted(Token),
    /// There is no such token.
    Unknown,
    /// It was good until then.
    Expired(Token),
    /// It was revoked.
    Revoked(Token),
    /// It is good, but not for this.
    OutOfScope(Token),
}

/// Something that was done, and who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number; later ones are higher.
    pub id: u64,
    /// When, in seconds since 1970 (UTC).
    pub at: u64,
    /// Who: `token ID`, or a user of the archive's own machine.
    pub actor: String,
    /// What was done, as a word: `token-made`, `kernel-replaced`, …
    pub action: String,
    /// To what.
    pub subject: String,
    /// What else there is to say.
    pub detail: String,
}

impl Catalog {
    /// Makes a token that ends after `lifetime`, if that is given; gives the token itself, which is not kept, and what is known of it.
    ///
    /// # Errors
    /// [`Error::Query`] without a scope or a label; [`Error::Random`] if the system has no random numbers.
    pub async fn make_token(
        &self,
        label: &str,
        scopes: &[Scope],
        lifetime: Option<Duration>,
    ) -> Result<(String, Token)> {
        let missing = |what, reason: &str| Err(Error::Query { what, reason: reason.to_owned() });
        if scopes.is_empty() {
            return missing("scope", "a token needs at least one");
        }
        if label.trim().is_empty() {
            return missing("label", "a token needs one, so that people know whose it is");
        }
        let mut random = [0; ID + SECRET];
        getrandom::fill(&mut random).map_err(|error| Error::Random { reason: error.to_string() })?;
        let id = hex::encode(&random[..ID]);
        let token = format!("{PREFIX}{id}_{}", hex::encode(&random[ID..]));
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
        let now = self.database.now();
        let sql = Sql::new(format!(
            "INSERT INTO tokens (id, hash, label, scopes, created, expires) VALUES (?, ?, ?, ?, {now}, {now} + ?)"
        ));
        let sql = sql.bind(id.as_str()).bind(Digest::of(token.as_bytes()).to_string());
        let sql = sql.bind(label).bind(names.join(" ")).bind(lifetime.map(|time| time.as_secs()));
        self.database.execute(sql).await?;
        let made = self.token(&id).await?;
        let lost = || Error::Row { key: format!("token {id}"), reason: "is gone".to_owned() };
        Ok((token, made.ok_or_else(lost)?))
    }

    /// Every token, the oldest first.
    pub async fn tokens(&self) -> Result<Vec<Token>> {
        let rows = self.database.fetch(Sql::new("SELECT * FROM tokens ORDER BY created, id")).await?;
        rows.iter().map(token).collect()
    }

    /// The token of this id.
    pub async fn token(&self, id: &str) -> Result<Option<Token>> {
        let row = self.database.fetch_one(Sql::new("SELECT * FROM tokens WHERE id = ?").bind(id)).await?;
        row.as_ref().map(token).transpose()
    }

    /// Revokes a token; says whether it is known. One that was revoked before stays revoked since then.
    pub async fn revoke_token(&self, id: &str) -> Result<bool> {
        let now = self.database.now();
        let sql = Sql::new(format!("UPDATE tokens SET revoked = coalesce(revoked, {now}) WHERE id = ?"));
        Ok(self.database.execute(sql.bind(id)).await? > 0)
    }

    /// Whether a token, as somebody handed it in, allows something.
    pub async fn permits(&self, offered: &str, scope: Scope) -> Result<Permission> {
        let Some((id, _)) = offered.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else {
            return Ok(Permission::Unknown);
        };
        let now = self.database.now();
        let sql = format!("SELECT t.*, {now} AS now FROM tokens t WHERE id = ?");
        let Some(row) = self.database.fetch_one(Sql::new(sql).bind(id)).await? else {
            return Ok(Permission::Unknown);
        };
        let kept: Digest = row.text("hash")?.parse().map_err(|error: crate::Error| Error::Row {
            key: format!("token {id}"),
            reason: error.to_string(),
        })?;
        if !same(&kept, &Digest::of(offered.as_bytes())) {
            return Ok(Permission::Unknown);
        }
        let (found, now) = (token(&row)?, row.number("now")?);
        Ok(if found.revoked.is_some() {
            Permission::Revoked(found)
        } else if found.expires.is_some_and(|expires| expires <= now) {
            Permission::Expired(found)
        } else if found.scopes.contains(&scope) || found.scopes.contains(&Scope::Admin) {
            Permission::Granted(found)
        } else {
            Permission::OutOfScope(found)
        })
    }

    /// Records that somebody did something.
    pub async fn audit(&self, actor: &str, action: &str, subject: &str, detail: &str) -> Result<()> {
        let now = self.database.now();
        let sql =
            format!("INSERT INTO audit (at, actor, action, subject, detail) VALUES ({now}, ?, ?, ?, ?)");
        let sql = Sql::new(sql).bind(actor).bind(action).bind(subject).bind(detail);
        self.database.execute(sql).await?;
        Ok(())
    }

    /// What was done, the latest first, at most `limit`; before the entry of number `before`, if that is given.
    pub async fn audit_log(&self, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>> {
        let mut sql = Sql::new("SELECT * FROM audit");
        if let Some(before) = before {
            sql.push(" WHERE id < ").push_bind(before);
        }
        sql.push(" ORDER BY id DESC LIMIT ").push_bind(limit.clamp(1, super::MAX_PAGE) as u64);
        let entry = |row: &Row| {
            Ok(AuditEntry {
                id: row.number("id")?,
                at: row.number("at")?,
                actor: row.text("actor")?,
                action: row.text("action")?,
                subject: row.text("subject")?,
                detail: row.text("detail")?,
            })
        };
        self.database.fetch(sql).await?.iter().map(entry).collect()
    }
}

/// Whether two digests are the same, in a time that does not tell where they differ.
fn same(a: &Digest, b: &Digest) -> bool {
    let differ = a.as_bytes().iter().zip(b.as_bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    std::hint::black_box(differ) == 0
}

fn token(row: &Row) -> Result<Token> {
    Ok(Token {
        id: row.text("id")?,
        label: row.text("label")?,
        scopes: row.text("scopes")?.split(' ').map(str::parse).collect::<Result<_>>()?,
        created: row.number("created")?,
        expires: row.maybe_number("expires")?,
        revoked: row.maybe_number("revoked")?,
    })
}
