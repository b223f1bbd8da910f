//! `btfgen kernels`: what a repository offers, and what an archive lacks of it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use btf_archive::store::Archive;
use btf_archive::{Digest, Key, Trust};
use btfgen::fetch::public_url;
use btfgen::repo::offer::{Checksum, Expected, Package, Role};
use btfgen::sync::{Planned, State, plan};
use serde::Serialize;

use super::repository::{
    FailedRepository, OpenedSuite, RepositoryArgs, exit_code, human_size, network, print,
};

/// List the kernels that repositories offer, newest first, and what an archive lacks of them.
///
/// Which repositories there are, definitions say: those that are built in, and those in the directory of --distros, which are checked first.
/// Indices must be signed by the keys that the definition names.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 failed, such as for a definition that is wrong; 2 usage; 3 there is no such distribution, version, repository or kernel; \
4 a repository was refused; 5 listed, but without repositories that could not be read.")]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Say of each kernel whether this archive has it.
    #[arg(long, value_name = "DIR|URL")]
    archive: Option<PathBuf>,
    /// The archive's catalog: postgres://USER@HOST/DATABASE, or the path of an SQLite file [default: in the archive's directory]
    #[arg(long, value_name = "URL|FILE", env = "BTF_ARCHIVE_CATALOG", hide_env_values = true)]
    catalog: Option<String>,
    /// List the distributions, their versions and repositories instead; nothing is fetched.
    #[arg(long)]
    list_distros: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One kernel in the output.
#[derive(Serialize)]
pub(crate) struct Row {
    key: Key,
    flavour: String,
    package: String,
    package_version: String,
    source_package: String,
    /// Of the package, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    /// The level that the package's description reached.
    trust: Trust,
    /// All packages of the kernel.
    packages: Vec<PackageRow>,
    /// Whether the kernel is expected to carry BTF itself: `yes`, `no` or `unknown`.
    embedded_btf: Expected,
    /// The repository.
    origin: String,
    /// `missing`, `present`, `superseded`, `failed` or, until it is tried again, `waiting`; absent when no archive was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<&'static str>,
    /// Why it failed, or what superseded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

/// One package in the output.
#[derive(Serialize)]
struct PackageRow {
    role: Role,
    package: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<Checksum>,
}

impl From<&Package> for PackageRow {
    fn from(package: &Package) -> Self {
        Self {
            role: package.role,
            package: package.name.clone(),
            size: package.size,
            url: public_url(&package.url),
            checksum: package.checksum,
        }
    }
}

#[derive(Serialize)]
struct Listing<'a> {
    suites: &'a [OpenedSuite],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    failed: &'a [FailedRepository],
    kernels: &'a [Row],
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match list(&args) {
        Err(error) if exit_code(&error) != ExitCode::FAILURE => {
            eprintln!("btfgen: {}", super::message(&error));
            Ok(exit_code(&error))
        }
        outcome => outcome,
    }
}

fn list(args: &Args) -> anyhow::Result<ExitCode> {
    if args.list_distros {
        return super::distros::list(&args.repository.definitions()?, args.json);
    }
    let (runtime, client) = network()?;
    let mut offer = args.repository.offer(&client, runtime.handle())?;
    let offered = std::mem::take(&mut offer.kernels);
    let planned = runtime.block_on(async {
        let archive = match &args.archive {
            Some(path) => Some(Archive::open_with(path, args.catalog.as_deref()).await?),
            None => None,
        };
        plan(archive.as_ref(), offered).await
    })?;
    let rows: Vec<Row> =
        planned.into_iter().map(|planned| Row::new(planned, args.archive.is_some())).collect();
    if args.json {
        let listing = Listing { suites: &offer.suites, failed: &offer.failed, kernels: &rows };
        print(&(serde_json::to_string_pretty(&listing)? + "\n"))?;
    } else {
        print(&table(&rows))?;
    }
    if rows.is_empty() && args.repository.selects() {
        eprintln!("btfgen: none of {} kernels matches {}", offer.total, args.repository.patterns());
        return Ok(ExitCode::from(3));
    }
    Ok(offer.exit_code())
}

impl Row {
    /// `beside_archive` tells whether the plan was made beside one.
    pub(crate) fn new(planned: Planned, beside_archive: bool) -> Self {
        let (state, because) = match planned.state {
            State::Missing => ("missing", None),
            State::Present => ("present", None),
            State::Superseded { by } => ("superseded", Some(by)),
            State::FailedBefore { reason, .. } => ("failed", Some(reason)),
            State::Waiting { reason, .. } => ("waiting", Some(reason)),
            State::Unobtainable { reason } => ("unobtainable", Some(reason)),
        };
        let kernel = planned.kernel;
        let package = kernel.principal();
        Self {
            url: public_url(&package.url),
            package: package.name.clone(),
            package_version: package.version.clone(),
            size: package.size,
            sha256: package.checksum.as_ref().and_then(Checksum::sha256),
            trust: package.trust,
            packages: kernel.packages.iter().map(Into::into).collect(),
            embedded_btf: kernel.embeds_btf,
            flavour: kernel.flavour,
            source_package: kernel.source,
            origin: kernel.origin,
            key: kernel.key,
            archive: beside_archive.then_some(state),
            because,
        }
    }
}

/// The rows for people, one line each.
pub(crate) fn table(rows: &[Row]) -> String {
    let width =
        |cell: fn(&Row) -> usize, title: &str| rows.iter().map(cell).max().unwrap_or(0).max(title.len());
    let key_width = width(|row| row.key.to_string().len(), "KERNEL");
    let version_width = width(|row| row.package_version.len(), "VERSION");
    let mut out = String::new();
    let mut line = |key: &str, version: &str, size: &str, btf: &str, state: &str| {
        let line = format!("{key:key_width$}  {version:version_width$}  {size:>9}  {btf:8}  {state}");
        let _ = writeln!(out, "{}", line.trim_end());
    };
    if rows.is_empty() {
        return out;
    }
    line("KERNEL", "VERSION", "PACKAGE", "BTF", if rows[0].archive.is_some() { "ARCHIVE" } else { "" });
    for row in rows {
        let btf = match row.embedded_btf {
            Expected::Yes => "embedded",
            Expected::No => "DWARF",
            Expected::Unknown => "?",
        };
        let state = match (row.archive, &row.because) {
            (Some(state), Some(because)) => format!("{state}: {because}"),
            (Some(state), None) => state.to_owned(),
            (None, _) => String::new(),
        };
        let size = row.size.map_or_else(|| "?".into(), human_size);
        line(&row.key.to_string(), &row.package_version, &size, btf, &state);
    }
    out
}
