//! Writing a BTF file safely, and saying what was done.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use btf_archive::{Digest, Source};
use btfgen::vmlinux::Extracted;
use serde_json::{Value, json};

/// The exit code for a result that is complete but for units that could not be read.
pub(crate) const INCOMPLETE: u8 = 5;

/// Writes a file so that it is there completely or not at all: a temporary file beside it, synchronised, then renamed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("{}: cannot be written", path.display());
    let file = temporary(path, bytes)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).map_err(|error| error.error).with_context(failed)?;
    let folder = folder_of(path);
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)
}

/// Files of one folder, each of which will be there completely or not at all. They are synchronised together, which takes no longer than for a
/// single one.
#[derive(Default)]
pub(crate) struct Batch {
    written: Vec<(tempfile::TempPath, PathBuf)>,
}

impl Batch {
    /// Writes a file, under a temporary name beside its own.
    pub(crate) fn write(&mut self, path: PathBuf, bytes: &[u8]) -> anyhow::Result<()> {
        let file = temporary(&path, bytes)?;
        self.written.push((file.into_temp_path(), path));
        Ok(())
    }

    /// Gives all files their names, once they are on the disk.
    pub(crate) fn finish(self, folder: &Path) -> anyhow::Result<()> {
        let failed = || format!("{}: cannot be synchronised", folder.display());
        let opened = std::fs::File::open(folder).with_context(failed)?;
        rustix::fs::syncfs(&opened).with_context(failed)?;
        for (file, path) in self.written {
            let failed = || format!("{}: cannot be written", path.display());
            file.persist(&path).map_err(|error| error.error).with_context(failed)?;
        }
        opened.sync_all().with_context(failed)
    }
}

/// A temporary file beside a path, with the mode that a new file there would have.
fn temporary(path: &Path, bytes: &[u8]) -> anyhow::Result<tempfile::NamedTempFile> {
    let failed = || format!("{}: cannot be written", path.display());
    let mut file =
        tempfile::Builder::new().prefix(".btfgen-").tempfile_in(folder_of(path)).with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    rustix::fs::fchmod(file.as_file(), new_file_mode()).with_context(failed)?;
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The mode of new files. The mask can only be read by setting it, which two threads must not do at the same time.
fn new_file_mode() -> rustix::fs::Mode {
    static MODE: std::sync::OnceLock<rustix::fs::Mode> = std::sync::OnceLock::new();
    *MODE.get_or_init(|| {
        let mask = rustix::process::umask(rustix::fs::Mode::empty());
        rustix::process::umask(mask);
        rustix::fs::Mode::from_raw_mode(0o666) & !mask
    })
}

/// Prints what was done, and the losses on stderr. Returns the exit code.
///
/// `more`: print an object, with the members of this one added; `None`: print a line for people.
pub(crate) fn report(
    input: &str,
    output: &Path,
    extracted: &Extracted,
    elapsed: Duration,
    more: Option<Value>,
) -> ExitCode {
    let Extracted { btf, source, build_id, report } = extracted;
    if let Some(more) = more {
        let mut value = json!({
            "input": input,
            "output": output,
            "seconds": elapsed.as_secs_f64(),
        });
        add_members(&mut value, details(extracted));
        add_members(&mut value, more);
        println!("{value:#}");
    } else {
        println!(
            "{}: {} types, {} bytes, from {}, build-id {}, {:.2} s",
            output.display(),
            report.types,
            btf.len(),
            name_of(*source),
            build_id.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
            elapsed.as_secs_f64(),
        );
    }
    match tell_losses(input, extracted) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(INCOMPLETE),
    }
}

fn name_of(source: Source) -> &'static str {
    match source {
        Source::Embedded => "embedded",
        Source::Dwarf => "dwarf",
        Source::Upload => "upload",
    }
}

/// What is known of BTF that was made, as a JSON object.
pub(crate) fn details(extracted: &Extracted) -> Value {
    let Extracted { btf, source, build_id, report } = extracted;
    let lost: Vec<_> = report
        .lost
        .iter()
        .map(|unit| json!({ "section": unit.section, "offset": unit.offset, "reason": unit.reason.to_string() }))
        .collect();
    json!({
        "source": name_of(*source),
        "build_id": build_id.as_ref().map(ToString::to_string),
        "bytes": btf.len(),
        "types": report.types,
        "digest": Digest::of(btf).to_string(),
        "units": report.units,
        "other_languages": report.other_languages,
        "degraded": report.degraded,
        "lost": lost,
    })
}

/// Adds the members of one JSON object to another.
pub(crate) fn add_members(value: &mut Value, members: Value) {
    if let (Value::Object(value), Value::Object(mut members)) = (value, members) {
        value.append(&mut members);
    }
}

/// Prints on stderr what a conversion could not do. Returns whether nothing is missing.
pub(crate) fn tell_losses(input: &str, extracted: &Extracted) -> bool {
    let report = &extracted.report;
    if report.degraded > 0 {
        eprintln!(
            "btfgen: {input}: {} types could not be expressed exactly in BTF and were simplified",
            report.degraded
        );
    }
    for unit in &report.lost {
        eprintln!("btfgen: {input}: missing from the output: {unit}");
    }
    if report.lost.is_empty() {
        return true;
    }
    let total = report.units + report.lost.len();
    eprintln!(
        "btfgen: {input}: {} of {total} units could not be converted; the output lacks their types",
        report.lost.len()
    );
    false
}
