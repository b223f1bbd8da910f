//! `btf-fetch get`: a file with the BTF, and its path on standard output.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use btf_loader::{Attempt, BuildId, Digest, Error, Found, Identity, Kernel, Key, Loader, Place, write_file};
use clap::{Args, CommandFactory as _, ValueEnum};
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
    /// Write it in this form
    #[arg(long, value_enum, default_value_t = Form::Raw, requires = "output")]
    form: Form,
    /// Write no more than this BPF object needs; may be repeated
    #[arg(long = "for", value_name = "OBJECT", requires = "output", conflicts_with = "form")]
    objects: Vec<PathBuf>,
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

/// The forms in which BTF is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// As it is
    Raw,
    /// An ELF file with a .BTF section, for libbpf before 1.0.1
    Elf,
    /// Without ENUM64 and tags, for libbpf before 1.0
    NoEnum64,
    /// With the BTF of all of the kernel's modules, as one
    Merged,
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
    if options.output.is_none() && !options.json {
        return path_alone(&loader, &kernel, options.quiet);
    }
    let found = match loader.find(&kernel) {
        Ok(found) => found,
        Err(error) => return explain(&error, options.json, loader.settings().urls.is_empty()),
    };
    let path = match options.output {
        Some(path) => {
            let bytes = formed(options.form, &options.objects, &loader, &kernel, &found)?;
            write_file(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
            path
        }
        None => loader.raw_file(&found).map_err(advise)?,
    };
    if !options.quiet && !options.json {
        let count = bytes(found.btf().len());
        eprintln!("btf-fetch: {}, {count}, from {}", matched(found.identity()), found.place());
    }
    warn(found.identity(), found.attempts(), found.warning(), found.cache_error());
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

/// What was found, in the form asked for.
fn formed<'a>(
    form: Form,
    objects: &[PathBuf],
    loader: &Loader,
    kernel: &Kernel,
    found: &'a Found,
) -> anyhow::Result<Cow<'a, [u8]>> {
    if !objects.is_empty() {
        let read = |path: &PathBuf| fs::read(path).with_context(|| path.display().to_string());
        let objects = objects.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
        let objects: Vec<&[u8]> = objects.iter().map(Vec::as_slice).collect();
        return Ok(btf_loader::minimised(found.btf(), &objects)?.into());
    }
    Ok(match form {
        Form::Raw => found.btf().into(),
        Form::Elf => btf_loader::elf(found.btf(), found.build_id())?.into(),
        Form::NoEnum64 => btf_loader::no_enum64(found.btf())?.into(),
        Form::Merged => loader.with_modules(kernel, found)?.into(),
    })
}

/// The path and nothing else, for which the bytes need not be in memory.
fn path_alone(loader: &Loader, kernel: &Kernel, quiet: bool) -> anyhow::Result<ExitCode> {
    let located = match loader.locate(kernel) {
        Ok(located) => located,
        Err(error @ Error::Cache { .. }) => return Err(advise(error)),
        Err(error) => return explain(&error, false, loader.settings().urls.is_empty()),
    };
    if !quiet {
        let count = bytes(usize::try_from(located.size).unwrap_or(usize::MAX));
        eprintln!("btf-fetch: {}, {count}, from {}", matched(located.identity), located.place);
    }
    warn(located.identity, &located.attempts, located.warning.as_deref(), located.cache_error.as_ref());
    writeln!(io::stdout().lock(), "{}", located.path.display())?;
    Ok(ExitCode::SUCCESS)
}

/// A copy cannot be written; what to do instead.
fn advise(error: Error) -> anyhow::Error {
    anyhow::Error::new(error).context("give -o FILE, or --cache DIR")
}

/// What a caller should know although there is BTF.
pub(super) fn warn(
    identity: Identity,
    attempts: &[Attempt],
    warning: Option<&str>,
    cache_error: Option<&Error>,
) {
    if let Some(warning) = warning {
        eprintln!("btf-fetch: warning: {warning}");
    }
    if identity == Identity::ByName {
        eprintln!("btf-fetch: warning: matched by name only, not by build-id (--exact refuses that)");
    }
    if let Some(error) = cache_error {
        eprintln!("btf-fetch: warning: {error}");
    }
    for Attempt { place, reason } in attempts {
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
