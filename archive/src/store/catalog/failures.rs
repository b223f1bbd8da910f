//! What could not be made, and why, and when to try again: kernels and packages whose BTF failed, until it succeeds.

use std::time::Duration;

use super::super::{Error, Result};
use super::database::{Row, Sql, Transaction};
use super::{Catalog, MAX_PAGE};
use crate::Key;

/// The first pause of [`Retry::BackOff`]; each further failure doubles it.
const FIRST_PAUSE: u64 = 600;
/// The longest pause of [`Retry::BackOff`].
const LONGEST_PAUSE: u64 = 24 * 3600;

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A kernel.
    Key(Key),
    /// A package, when its kernel is not known yet: its name, version and architecture as the caller writes them.
    Package(String),
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// The network or a server failed: later it may work.
    Passing,
    /// It lies in the package: the same comes again until something changes.
    Lasting,
    /// What was made contradicts the archive, or is not trusted enough.
    Refused,
}

impl FailureClass {
    /// The name in JSON, the catalog and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Lasting => "lasting",
            Self::Refused => "refused",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Passing, Self::Lasting, Self::Refused].into_iter().find(|class| class.as_str() == name)
    }
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// When something has changed, or somebody asks for it.
    Never,
    /// After that long.
    After(Duration),
    /// After ten minutes, and twice as long after each further failure, up to a day.
    BackOff,
}

/// A failure, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureReport {
    /// What failed.
    pub subject: Subject,
    /// What kind of failure it is.
    pub class: FailureClass,
    /// Why, for people.
    pub reason: String,
    /// When to try again.
    pub retry: Retry,
    /// Name of the package that it was to be made of.
    pub package: Option<String>,
    /// Version of that package.
    pub package_version: Option<String>,
    /// The program that tried, with its version.
    pub generator: Option<String>,
}

impl FailureReport {
    /// A report without a package; passing failures are tried again, others are not.
    pub fn new(subject: Subject, class: FailureClass, reason: impl Into<String>) -> Self {
        let retry = if class == FailureClass::Passing { Retry::BackOff } else { Retry::Never };
        let reason = reason.into();
        Self { subject, class, reason, retry, package: None, package_version: None, generator: None }
    }
}

/// A failure that has not been mended. Times are seconds since 1970 (UTC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub subject: Subject,
    /// What kind of failure it is.
    pub class: FailureClass,
    /// Why, the last time.
    pub reason: String,
    /// How often in all.
    pub attempts: u64,
    /// When first.
    pub first: u64,
    /// When last.
    pub last: u64,
    /// When to try again; none: when something has changed.
    pub retry_at: Option<u64>,
    /// Name of the package that it was to be made of.
    pub package: Option<String>,
    /// Version of that package.
    pub package_version: Option<String>,
    /// The program that tried, with its version.
    pub generator: Option<String>,
}

/// Some of the failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failures {
    /// Those of kernels first; in the order of their names' bytes.
    pub failures: Vec<Failure>,
    /// Where the next page starts; none if this is the last.
    pub next: Option<String>,
}

impl Catalog {
    /// Records that BTF could not be made, once more if it is not the first time.
    pub async fn record_failure(&self, report: &FailureReport) -> Result<()> {
        let (kind, name) = columns(&report.subject);
        let now = self.database.now();
        let mut transaction = self.database.begin().await?;
        let known = Sql::new("SELECT attempts FROM failures WHERE kind = ? AND subject = ?");
        let known = transaction.fetch(known.bind(kind).bind(name.as_str())).await?;
        let attempts = known.first().map_or(Ok(0), |row| row.number("attempts"))?;
        let pause = match report.retry {
            Retry::Never => None,
            Retry::After(pause) => Some(pause.as_secs()),
            Retry::BackOff => Some((FIRST_PAUSE << attempts.min(16)).min(LONGEST_PAUSE)),
        };
        let sql = Sql::new(format!(
            "INSERT INTO failures (kind, subject, reason, attempts, first_at, last_at, class, retry_at, package, \
             package_version, generator) VALUES (?, ?, ?, 1, {now}, {now}, ?, {now} + ?, ?, ?, ?) \
             ON CONFLICT (kind, subject) DO UPDATE SET reason = excluded.reason, attempts = failures.attempts + 1, \
             last_at = excluded.last_at, class = excluded.class, retry_at = excluded.retry_at, \
             package = excluded.package, package_version = excluded.package_version, generator = excluded.generator"
        ));
        let sql =
            sql.bind(kind).bind(name).bind(report.reason.as_str()).bind(report.class.as_str()).bind(pause);
        let sql = sql.bind(report.package.clone()).bind(report.package_version.clone());
        transaction.execute(sql.bind(report.generator.clone())).await?;
        transaction.commit().await
    }

    /// Forgets a failure, because it was mended. Adding a kernel does that for its key by itself.
    pub async fn clear_failure(&self, subject: &Subject) -> Result<()> {
        self.database.execute(deletion(subject)).await?;
        Ok(())
    }

    /// Forgets every failure; gives their number.
    pub async fn clear_failures(&self) -> Result<u64> {
        self.database.execute(Sql::new("DELETE FROM failures")).await
    }

    /// Lets every failure be tried again at once, the lasting ones too; gives their number.
    pub async fn retry_failures(&self) -> Result<u64> {
        let now = self.database.now();
        self.database.execute(Sql::new(format!("UPDATE failures SET retry_at = {now}"))).await
    }

    /// The failure of this subject, if it has one.
    pub async fn failure(&self, subject: &Subject) -> Result<Option<Failure>> {
        let (kind, name) = columns(subject);
        let sql = Sql::new("SELECT * FROM failures WHERE kind = ? AND subject = ?").bind(kind).bind(name);
        self.database.fetch_one(sql).await?.as_ref().map(failure).transpose()
    }

    /// The failures, at most `limit` (at least 1, at most [`MAX_PAGE`]), after the cursor that the page before gave.
    ///
    /// # Errors
    /// [`Error::Query`] for a cursor that is none.
    pub async fn failures(&self, cursor: Option<&str>, limit: usize) -> Result<Failures> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut sql = Sql::new("SELECT * FROM failures");
        if let Some(cursor) = cursor {
            let odd =
                || Error::Query { what: "cursor", reason: "is not one of a list of failures".to_owned() };
            let (kind, subject) = cursor.split_once(' ').ok_or_else(odd)?;
            sql.push(" WHERE (kind, subject) > (").push_bind(kind).push(", ").push_bind(subject).push(")");
        }
        // One more than asked for tells whether there is a next page.
        sql.push(" ORDER BY kind, subject LIMIT ").push_bind(limit as u64 + 1);
        let mut failures = self.database.fetch(sql).await?.iter().map(failure).collect::<Result<Vec<_>>>()?;
        let more = failures.len() > limit;
        failures.truncate(limit);
        let next = failures.last().filter(|_| more).map(|last| {
            let (kind, subject) = columns(&last.subject);
            format!("{kind} {subject}")
        });
        Ok(Failures { failures, next })
    }
}

/// Forgets the failure of a kernel.
pub(super) async fn clear(on: &mut Transaction, key: &Key) -> Result<()> {
    on.execute(deletion(&Subject::Key(key.clone()))).await?;
    Ok(())
}

fn deletion(subject: &Subject) -> Sql {
    let (kind, name) = columns(subject);
    Sql::new("DELETE FROM failures WHERE kind = ? AND subject = ?").bind(kind).bind(name)
}

fn columns(subject: &Subject) -> (&'static str, String) {
    match subject {
        Subject::Key(key) => ("key", key.to_string()),
        Subject::Package(name) => ("package", name.clone()),
    }
}

fn failure(row: &Row) -> Result<Failure> {
    let name = row.text("subject")?;
    let odd = |reason: String| Error::Row { key: name.clone(), reason };
    let subject = match row.text("kind")?.as_str() {
        "key" => Subject::Key(name.parse().map_err(|error: crate::Error| odd(error.to_string()))?),
        _ => Subject::Package(name.clone()),
    };
    Ok(Failure {
        subject,
        class: FailureClass::from_name(&row.text("class")?).ok_or_else(|| odd("unknown class".to_owned()))?,
        reason: row.text("reason")?,
        attempts: row.number("attempts")?,
        first: row.number("first_at")?,
        last: row.number("last_at")?,
        retry_at: row.maybe_number("retry_at")?,
        package: row.maybe_text("package")?,
        package_version: row.maybe_text("package_version")?,
        generator: row.maybe_text("generator")?,
    })
}
