//! `btfgen failures`: what could not be made, and why, and when it is tried again.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use btf_archive::store::{Archive, Failure, FailureClass, MAX_PAGE, Subject};
use serde::Serialize;

use super::effort::ArchiveArgs;
use super::repository::print;

/// List the kernels whose BTF could not be made: why, how often, and when they are tried again.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,
    /// Let the next sync try all of them again, also those that are not tried again by themselves.
    #[arg(long, conflicts_with = "clear")]
    retry_now: bool,
    /// Forget all of them.
    #[arg(long)]
    clear: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One failure in the output; times are seconds since 1970 (UTC).
#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_version: Option<String>,
    /// `passing`, `lasting` or `refused`.
    kind: &'static str,
    reason: String,
    attempts: u64,
    first: u64,
    last: u64,
    /// Null: when the package or this program has another version.
    retry_at: Option<u64>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let rows = runtime.block_on(async {
        let archive = args.archive.open().await?;
        let rows = rows(&archive).await?;
        if args.retry_now {
            archive.catalog().retry_failures().await?;
        }
        if args.clear {
            archive.catalog().clear_failures().await?;
        }
        archive.close().await;
        Ok::<_, btf_archive::store::Error>(rows)
    });
    let rows = rows.with_context(|| args.archive.named())?;
    if args.json {
        print(&(serde_json::to_string_pretty(&serde_json::json!({ "failures": rows }))? + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut out = String::new();
    for row in &rows {
        let what = row.key.as_ref().or(row.package.as_ref()).map_or("?", String::as_str);
        let when = match row.retry_at {
            _ if args.clear => "forgotten".to_owned(),
            _ if args.retry_now => "tried again by the next sync".to_owned(),
            Some(at) if at <= now => "tried again by the next sync".to_owned(),
            Some(at) => format!("tried again in {}", minutes(at - now)),
            None => "not tried again before the package or btfgen changes".to_owned(),
        };
        let (kind, reason) = (row.kind, &row.reason);
        let times = if row.attempts == 1 { String::new() } else { format!(" {} times", row.attempts) };
        let _ = writeln!(out, "{what}: {kind}{times}: {reason}; {when}");
    }
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

async fn rows(archive: &Archive) -> Result<Vec<Row>, btf_archive::store::Error> {
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let page = archive.catalog().failures(cursor.as_deref(), MAX_PAGE).await?;
        rows.extend(page.failures.into_iter().map(Row::from));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(rows);
        }
    }
}

impl From<Failure> for Row {
    fn from(failure: Failure) -> Self {
        let (key, package) = match failure.subject {
            Subject::Key(key) => (Some(key.to_string()), failure.package),
            Subject::Package(package) => (None, Some(package)),
        };
        Self {
            key,
            package,
            package_version: failure.package_version,
            kind: FailureClass::as_str(failure.class),
            reason: failure.reason,
            attempts: failure.attempts,
            first: failure.first,
            last: failure.last,
            retry_at: failure.retry_at,
        }
    }
}

/// A pause for people.
fn minutes(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
