//! `btf-fetch get`: a file with the BTF, and its path on standard output.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use btf_loader::{Attempt, BuildId, Digest, Error, Found, Identity, Kernel, Key, Loader, Place, write_file};
use clap::{Args, CommandFactory as _};
use serde::Serialize;

use super::{Cli, Places, bytes, exit_code, matched};

/// Find BTF, fetch it if need be, and print the path of a file that holds it
///
/// The file holds raw BTF, as libbpf's btf_custom_path, aya, bpftrace (BPFTRACE_BTF) and bpftool take it.
#[derive(Args)]
pub(super) struct Options {
    /// Write the BTF to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The kernel with this build-id instead of the running one
    #[arg(long, value_name = "HEX")]
    build_id: Option<BuildId>,
    /// The kernel with this key instead of the running one: distro/version/arch/release
    #[arg(long, value_name = "D/V/A/R")]
    key: Option<Key>,
    #[command(flatten)]
    places: Places,
    /// Print what was found, or why nothing was, as JSON
    #[arg(long)]
    json: bool,
    /// Say nothing on standard error but errors and warnings
    #[arg(short, long)]
    quiet: bool,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Report<'a> {
    path: PathBuf,
    size: usize,
    digest: Digest,
    #[serde(rename = "match")]
    identity: Identity,
    place: &'a Place,
    key: Option<&'a Key>,
    build_id: Option<&'a BuildId>,
    attempts: &'a [Attempt],
}

/// What is printed with `--json` when there is nothing.
#[derive(Serialize)]
struct Failure<'a> {
    error: String,
    class: btf_loader::Class,
    attempts: &'a [Attempt],
}

pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    if options.places.exact && options.key.is_some() && options.build_id.is_none() {
        let message = "--exact needs --build-id beside --key: a key is a name";
        Cli::command().error(clap::error::ErrorKind::MissingRequiredArgument, message).exit();
    }
    let loader = Loader::new(options.places.settings()?);
    let kernel = match (options.build_id, options.key) {
        (None, None) => Kernel::running(&loader.settings().root)?,
        (Some(build_id), None) => Kernel::with_build_id(build_id),
        (Some(build_id), Some(key)) => Kernel::with_build_id(build_id).and_key(key),
        (None, Some(key)) => Kernel::with_key(key),
    };
    let found = match loader.find(&kernel) {
        Ok(found) => found,
        Err(error) => return explain(&error, options.json, loader.settings().urls.is_empty()),
    };
    let path = match options.output {
        Some(path) => {
            write_file(&path, found.btf()).with_context(|| format!("cannot write {}", path.display()))?;
            path
        }
        None => loader.raw_file(&found).map_err(|error| match found.cache_error() {
            // The first failure says the same, and the next step is another.
            Some(_) => anyhow::Error::new(error).context("give -o FILE, or --cache DIR"),
            None => error.into(),
        })?,
    };
    if !options.quiet && !options.json {
        let count = bytes(found.btf().len());
        eprintln!("btf-fetch: {}, {count}, from {}", matched(found.identity()), found.place());
    }
    warn(&found);
    let mut out = io::stdout().lock();
    if options.json {
        let report = Report {
            path,
            size: found.btf().len(),
            digest: found.digest(),
            identity: found.identity(),
            place: found.place(),
            key: found.key(),
            build_id: found.build_id(),
            attempts: found.attempts(),
        };
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a caller should know although there is BTF.
pub(super) fn warn(found: &Found) {
    if found.identity() == Identity::ByName {
        eprintln!("btf-fetch: warning: matched by name only, not by build-id (--exact refuses that)");
    }
    if let Some(error) = found.cache_error() {
        eprintln!("btf-fetch: warning: {error}");
    }
    for Attempt { place, reason } in found.attempts() {
        if reason.class() != btf_loader::Class::NotFound {
            eprintln!("btf-fetch: warning: {place}: {reason}");
        }
    }
}

/// Says why there is no BTF, and what to do.
pub(super) fn explain(error: &Error, json: bool, no_archives: bool) -> anyhow::Result<ExitCode> {
    eprintln!("btf-fetch: {error}");
    if no_archives {
        eprintln!("btf-fetch: no archive was asked: give --url URL, or set BTF_ARCHIVE_URLS");
    }
    if json {
        let attempts = if let Error::NoBtf(none) = error { &none.attempts[..] } else { &[] };
        let failure = Failure { error: error.to_string(), class: error.class(), attempts };
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &failure)?;
        writeln!(out)?;
    }
    Ok(ExitCode::from(exit_code(error)))
}
