//! One database of two kinds: SQLite in a file, PostgreSQL by URL. Everything above this file writes one SQL for both.
//!
//! SQL is written with `?` for values, which become `$1`, `$2`, … on PostgreSQL; it uses text and whole numbers only, and what
//! both understand. The few words that differ are named here ([`Database::now`], [`Database::skip_locked`]).
//!
//! SQLite: readers share a pool and never wait for the writer. Writers of one process queue for one connection; writers of
//! several processes wait for SQLite's lock, which every write takes at its start (`BEGIN IMMEDIATE`) and holds for
//! milliseconds. `synchronous = FULL`: what a call has written is on disk when it returns.
//!
//! PostgreSQL: [`Database::begin`] takes one lock for all writers of kernels, so that it is as with SQLite; jobs are claimed
//! beside it ([`Database::begin_beside`]).

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, PgPool, Postgres, Row as _, SqlSafeStr, Sqlite, SqlitePool};

use super::super::{Error, Result};

/// How long a connection waits for another process's write, or for the server.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections that read, at most; on PostgreSQL, connections.
const READERS: u32 = 8;

/// The schema, step by step: version, name, SQLite's SQL. A released step never changes.
const SQLITE: &[(i64, &str, &str)] = &[
    (1, "kernels", include_str!("../../../migrations/sqlite/0001_kernels.sql")),
    (2, "jobs", include_str!("../../../migrations/sqlite/0002_jobs.sql")),
    (3, "base", include_str!("../../../migrations/sqlite/0003_base.sql")),
];

/// The same for PostgreSQL, which begins with schema 2.
const POSTGRES: &[(i64, &str, &str)] = &[
    (2, "catalog", include_str!("../../../migrations/postgres/0002_catalog.sql")),
    (3, "base", include_str!("../../../migrations/postgres/0003_base.sql")),
];

/// The advisory locks on PostgreSQL: of those who write kernels, and of the one who publishes or opens. Each with the schema,
/// for several archives may have theirs in one database.
const WRITERS: i32 = 0x6274_6601;
const PUBLISHERS: i32 = 0x6274_6602;

/// A database.
#[derive(Debug)]
pub(super) enum Database {
    Sqlite { readers: SqlitePool, writer: SqlitePool },
    Postgres { pool: PgPool, options: Box<PgConnectOptions> },
}

/// A value for a question mark.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    /// Our numbers stay far below 2^63.
    fn from(number: u64) -> Self {
        Self::Number(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<Option<u64>> for Value {
    fn from(number: Option<u64>) -> Self {
        Self::Number(number.map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

/// A statement and the values for its question marks. The text is ours, never a user's.
#[derive(Clone, Debug)]
pub(super) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    /// The value for the next question mark.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// More text.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// A question mark and its value.
    pub(super) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.text.push('?');
        self.values.push(value.into());
        self
    }

    fn sqlite(self) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
        let query = sqlx::query::<Sqlite>(AssertSqlSafe(self.text));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
        })
    }

    fn postgres(self) -> sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments> {
        let query = sqlx::query::<Postgres>(AssertSqlSafe(numbered(&self.text)));
        self.values.into_iter().fold(query, |query, value| match value {
            // PostgreSQL has no such character; nothing that is stored has it either.
            Value::Text(text) => query.bind(text.map(|text| text.replace('\0', "\u{fffd}"))),
            Value::Number(number) => query.bind(number),
        })
    }
}

/// `?` as `$1`, `$2`, …
fn numbered(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for (number, part) in text.split('?').enumerate() {
        if number > 0 {
            out.push_str(&format!("${number}"));
        }
        out.push_str(part);
    }
    out
}

/// A row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn maybe_text(&self, column: &str) -> Result<Option<String>> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(super) fn text(&self, column: &str) -> Result<String> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A number, which none of ours is below 0.
    pub(super) fn maybe_number(&self, column: &str) -> Result<Option<u64>> {
        let number: Option<i64> = match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        };
        let negative = |_| Error::Row { key: column.to_owned(), reason: "is negative".to_owned() };
        number.map(|number| u64::try_from(number).map_err(negative)).transpose()
    }

    pub(super) fn number(&self, column: &str) -> Result<u64> {
        let null = || Error::Row { key: column.to_owned(), reason: "is null".to_owned() };
        self.maybe_number(column)?.ok_or_else(null)
    }
}

/// Changes that become visible together, or not at all: dropped without [`Transaction::commit`], nothing was.
pub(in crate::store) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    pub(super) async fn fetch(&mut self, sql: Sql) -> Result<Vec<Row>> {
        Ok(match self {
            Self::Sqlite(on) => {
                sql.sqlite().fetch_all(&mut **on).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(on) => {
                sql.postgres().fetch_all(&mut **on).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Gives the number of rows it changed.
    pub(super) async fn execute(&mut self, sql: Sql) -> Result<u64> {
        Ok(match self {
            Self::Sqlite(on) => sql.sqlite().execute(&mut **on).await?.rows_affected(),
            Self::Postgres(on) => sql.postgres().execute(&mut **on).await?.rows_affected(),
        })
    }

    pub(in crate::store) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(on) => on.commit().await?,
            Self::Postgres(on) => on.commit().await?,
        }
        Ok(())
    }
}

/// While it lives, nobody else publishes to this catalog's archive.
#[derive(Debug)]
pub(in crate::store) struct Alone {
    _session: Option<PgConnection>,
}

impl Database {
    /// Opens SQLite's file, makes it if it is missing, and brings its schema up to date.
    pub(super) async fn sqlite(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        migrator(SQLITE).run(&writer).await?;
        let readers =
            SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await?;
        Ok(Self::Sqlite { readers, writer })
    }

    /// Connects to a PostgreSQL database (`postgres://…`), and brings its schema up to date.
    pub(super) async fn postgres(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)?.application_name("btf-archive");
        // A pool tries again for as long as its patience lasts, and then does not say why it could not.
        PgConnection::connect_with(&options).await?.close().await?;
        let pool = PgPoolOptions::new().max_connections(READERS).acquire_timeout(PATIENCE);
        let pool = pool.connect_with(options.clone()).await?;
        migrator(POSTGRES).run(&pool).await?;
        Ok(Self::Postgres { pool, options: Box::new(options) })
    }

    pub(super) async fn fetch(&self, sql: Sql) -> Result<Vec<Row>> {
        Ok(match self {
            Self::Sqlite { readers, .. } => {
                sql.sqlite().fetch_all(readers).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres { pool, .. } => {
                sql.postgres().fetch_all(pool).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(super) async fn fetch_one(&self, sql: Sql) -> Result<Option<Row>> {
        Ok(self.fetch(sql).await?.into_iter().next())
    }

    /// Gives the number of rows it changed.
    pub(super) async fn execute(&self, sql: Sql) -> Result<u64> {
        Ok(match self {
            Self::Sqlite { writer, .. } => sql.sqlite().execute(writer).await?.rows_affected(),
            Self::Postgres { pool, .. } => sql.postgres().execute(pool).await?.rows_affected(),
        })
    }

    /// Begins to write, alone.
    pub(super) async fn begin(&self) -> Result<Transaction> {
        let mut transaction = self.begin_beside().await?;
        if let Transaction::Postgres(on) = &mut transaction {
            let lock =
                sqlx::query::<Postgres>("SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))")
                    .bind(WRITERS);
            lock.execute(&mut **on).await?;
        }
        Ok(transaction)
    }

    /// Begins to write, on PostgreSQL beside others.
    pub(super) async fn begin_beside(&self) -> Result<Transaction> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Transaction::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres { pool, .. } => Transaction::Postgres(pool.begin().await?),
        })
    }

    /// Waits until nobody else publishes. With SQLite, the lock on the archive's directory is enough.
    pub(super) async fn alone(&self) -> Result<Alone> {
        let Self::Postgres { options, .. } = self else { return Ok(Alone { _session: None }) };
        // A connection of its own: the lock ends with it, however this process ends.
        let mut session = PgConnection::connect_with(options).await?;
        let lock = sqlx::query::<Postgres>("SELECT pg_advisory_lock($1, hashtext(current_schema()))")
            .bind(PUBLISHERS);
        lock.execute(&mut session).await?;
        Ok(Alone { _session: Some(session) })
    }

    /// SQL for the time, in seconds since 1970 (UTC): the server's, where several machines share one.
    pub(super) fn now(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "unixepoch()",
            Self::Postgres { .. } => "extract(epoch FROM clock_timestamp())::bigint",
        }
    }

    /// What ends a `SELECT` of rows to be changed, so that others pass over them meanwhile.
    pub(super) fn skip_locked(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "",
            Self::Postgres { .. } => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// SQL's function for where one text is in another.
    pub(super) fn position(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "instr",
            Self::Postgres { .. } => "strpos",
        }
    }

    /// Closes every connection; SQLite's writer last, for only it can fold the write-ahead log into the file.
    pub(super) async fn close(self) {
        match self {
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { pool, .. } => pool.close().await,
        }
    }
}

fn migrator(steps: &[(i64, &'static str, &'static str)]) -> Migrator {
    let steps = steps.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(steps.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that question marks are numbered in order.
    #[test]
    fn database_numbers() {
        assert_eq!(numbered("a = ? AND b IN (?, ?)"), "a = $1 AND b IN ($2, $3)");
        assert_eq!(numbered("TRUE"), "TRUE");
    }
}
