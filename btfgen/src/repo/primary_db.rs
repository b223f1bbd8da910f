//! `primary.sqlite`: the database that stands for `primary.xml` in repositories that have no XML.
//!
//! A stranger's database is a program: it may hold views and computed columns that never end. So the table must be a plain one, its schema is not
//! trusted to call functions, statements are stopped after a number of steps, and nothing is ever written to it.

use std::io::{self, Read, Write as _};
use std::path::Path;

use futures::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};

use super::error::Error;
use super::found::{Finder, Origin};
use super::primary_xml::Entry;

/// The largest database accepted, in bytes; the largest known is below 300 MB.
pub(super) const DATABASE_LIMIT: u64 = 1 << 30;
/// Steps of SQLite's machine after which reading is given up, in units of a thousand: some minutes.
const STEPS: u32 = 10_000_000;

/// Hands to `finder` every package of the database, which is read from `input` into a temporary file.
pub(super) async fn read(
    mut input: impl Read,
    origin: &Origin<'_>,
    finder: &mut Finder<'_>,
) -> Result<(), Error> {
    let fail = |reason: String| Error::Malformed { url: origin.index.into(), reason };
    let file = (|| {
        let mut file = tempfile::NamedTempFile::new()?;
        io::copy(&mut input, &mut file)?;
        file.flush()?;
        Ok::<_, io::Error>(file)
    })();
    let file = file.map_err(|error| fail(error.to_string()))?;
    query(file.path(), origin, finder).await
}

async fn query(path: &Path, origin: &Origin<'_>, finder: &mut Finder<'_>) -> Result<(), Error> {
    let fail = |error: sqlx::Error| Error::Malformed { url: origin.index.into(), reason: error.to_string() };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON");
    let mut connection = options.connect().await.map_err(fail)?;
    {
        let mut handle = connection.lock_handle().await.map_err(fail)?;
        let mut left = STEPS;
        handle.set_progress_handler(1000, move || {
            left = left.saturating_sub(1);
            left > 0
        });
    }
    check_schema(&mut connection, origin).await?;
    let mut rows = sqlx::query(
        "SELECT name, arch, epoch, version, release, checksum_type, pkgId, size_package, size_installed, \
         location_href, location_base, rpm_sourcerpm FROM packages",
    )
    .fetch(&mut connection);
    while let Some(row) = rows.try_next().await.map_err(fail)? {
        entry(&row).offer(origin, finder)?;
    }
    Ok(())
}

/// Refuses a database whose packages are computed instead of stored.
async fn check_schema(connection: &mut SqliteConnection, origin: &Origin<'_>) -> Result<(), Error> {
    let fail = |reason: String| Error::Malformed { url: origin.index.into(), reason };
    let kind: Option<String> = sqlx::query_scalar("SELECT type FROM sqlite_schema WHERE name = 'packages'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(|error| fail(error.to_string()))?;
    if kind.as_deref() != Some("table") {
        return Err(fail("it has no table `packages`".into()));
    }
    let hidden: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pragma_table_xinfo('packages') WHERE hidden <> 0")
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| fail(error.to_string()))?;
    if hidden != 0 {
        return Err(fail("its table `packages` has computed columns".into()));
    }
    Ok(())
}

fn entry(row: &SqliteRow) -> Entry {
    let text = |column: &str| row.try_get::<Option<String>, _>(column).ok().flatten();
    let number = |column: &str| {
        row.try_get::<Option<i64>, _>(column).ok().flatten().and_then(|n| u64::try_from(n).ok())
    };
    Entry {
        name: text("name").unwrap_or_default(),
        arch: text("arch").unwrap_or_default(),
        epoch: text("epoch").unwrap_or_default(),
        version: text("version").unwrap_or_default(),
        release: text("release").unwrap_or_default(),
        checksum_type: text("checksum_type").unwrap_or_default(),
        checksum: text("pkgId").unwrap_or_default(),
        size: number("size_package"),
        installed: number("size_installed"),
        href: text("location_href").unwrap_or_default(),
        base: text("location_base").filter(|base| !base.is_empty()),
        source_rpm: text("rpm_sourcerpm").unwrap_or_default(),
        depends: false,
    }
}
