//! `btf-fetch status`: what this machine has, and what would be used.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use btf_loader::{Finding, Loader, Survey};
use clap::Args;

use super::{Places, bytes, matched};

/// Show what this kernel is, which BTF this machine has for it, and what would be used
///
/// No archive is asked. The JSON form is an inventory of the machine.
#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    places: Places,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let survey = Loader::new(options.places.settings()?).survey()?;
    let text = if options.json { serde_json::to_string_pretty(&survey)? + "\n" } else { text(&survey)? };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The survey for people.
fn text(survey: &Survey) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let unknown = || "unknown".to_owned();
    let release = survey.release.as_deref().unwrap_or("unknown").escape_debug();
    writeln!(out, "kernel    {release} {}", survey.arch.as_deref().unwrap_or_default().escape_debug())?;
    writeln!(out, "build-id  {}", survey.build_id.map_or_else(unknown, |build_id| build_id.to_string()))?;
    let keys: Vec<String> = survey.keys.iter().map(ToString::to_string).collect();
    writeln!(out, "key       {}", if keys.is_empty() { unknown() } else { keys.join(", ") })?;
    writeln!(out, "\nlooked at, in order:")?;
    for finding in &survey.places {
        match finding {
            Finding::Usable { place, identity, size } => {
                writeln!(out, "  {place}: {}, {}", bytes(*size), matched(*identity))?;
            }
            Finding::Unusable(attempt) => writeln!(out, "  {attempt}")?,
            _ => {}
        }
    }
    for url in &survey.archives {
        writeln!(out, "  {url}: asked only if there is nothing on this machine")?;
    }
    match (&survey.used, survey.archives.is_empty()) {
        (Some(place), _) => writeln!(out, "\nused: {place}, the first that is fit"),
        (None, false) => writeln!(out, "\nused: nothing here; `btf-fetch get` would ask the archives"),
        (None, true) => {
            writeln!(
                out,
                "\nused: nothing here, and there is no archive to ask: set BTF_ARCHIVE_URLS or give --url"
            )
        }
    }?;
    Ok(out)
}
