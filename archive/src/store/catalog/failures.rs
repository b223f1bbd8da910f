//! What could not be made, and why: kernels and packages whose BTF failed, until it succeeds.

use sqlx::sqlite::{SqliteExecutor, SqliteRow};
use sqlx::{Row, SqlitePool};

use super::super::{Error, Result, now};
use super::{Catalog, rows};
use crate::Key;

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A kernel.
    Key(Key),
    /// A package, when its kernel is not known yet: its name, version and architecture as the caller writes them.
    Package(String),
}

/// A failure that has not been mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub subject: Subject,
    /// Why, the last time.
    pub reason: String,
    /// How often in all.
    pub attempts: u64,
    /// When first, in seconds since 1970 (UTC).
    pub first: u64,
    /// When last.
    pub last: u64,
}

impl Catalog {
    /// Records that BTF could not be made, once more if it is not the first time.
    pub async fn record_failure(&self, subject: &Subject, reason: &str) -> Result<()> {
        let (kind, name) = columns(subject);
        let now = rows::integer(now());
        sqlx::query(
            "INSERT INTO failures (kind, subject, reason, attempts, first_at, last_at) VALUES (?, ?, ?, 1, ?, ?) \
             ON CONFLICT (kind, subject) DO UPDATE SET \
             reason = excluded.reason, attempts = attempts + 1, last_at = excluded.last_at",
        )
        .bind(kind)
        .bind(name)
        .bind(reason)
        .bind(now)
        .bind(now)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Forgets a failure, because it was mended. Adding a kernel does that for its key by itself.
    pub async fn clear_failure(&self, subject: &Subject) -> Result<()> {
        clear(&self.writer, subject).await
    }

    /// The failure of this subject, if it has one.
    pub async fn failure(&self, subject: &Subject) -> Result<Option<Failure>> {
        let (kind, name) = columns(subject);
        let row = sqlx::query("SELECT * FROM failures WHERE kind = ? AND subject = ?")
            .bind(kind)
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(failure).transpose()
    }

    /// Every failure, the newest first.
    pub async fn failures(&self) -> Result<Vec<Failure>> {
        let readers: &SqlitePool = &self.readers;
        let rows =
            sqlx::query("SELECT * FROM failures ORDER BY last_at DESC, kind, subject").fetch_all(readers);
        rows.await?.iter().map(failure).collect()
    }
}

/// Forgets a failure.
pub(super) async fn clear(on: impl SqliteExecutor<'_>, subject: &Subject) -> Result<()> {
    let (kind, name) = columns(subject);
    sqlx::query("DELETE FROM failures WHERE kind = ? AND subject = ?")
        .bind(kind)
        .bind(name)
        .execute(on)
        .await?;
    Ok(())
}

fn columns(subject: &Subject) -> (&'static str, String) {
    match subject {
        Subject::Key(key) => ("key", key.to_string()),
        Subject::Package(name) => ("package", name.clone()),
    }
}

fn failure(row: &SqliteRow) -> Result<Failure> {
    let name: String = row.try_get("subject")?;
    let subject = match row.try_get::<&str, _>("kind")? {
        "key" => {
            let parsed = name.parse();
            Subject::Key(
                parsed.map_err(|error: crate::Error| Error::Row { key: name, reason: error.to_string() })?,
            )
        }
        _ => Subject::Package(name),
    };
    Ok(Failure {
        subject,
        reason: row.try_get("reason")?,
        attempts: row.try_get::<i64, _>("attempts")?.unsigned_abs(),
        first: row.try_get::<i64, _>("first_at")?.unsigned_abs(),
        last: row.try_get::<i64, _>("last_at")?.unsigned_abs(),
    })
}
