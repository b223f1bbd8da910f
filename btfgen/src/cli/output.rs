//! Writing a BTF file safely, and saying what was done.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use btf_archive::{Digest, Source};
use btfgen::vmlinux::Extracted;

/// The exit code for a result that is complete but for units that could not be read.
pub(crate) const INCOMPLETE: u8 = 5;

/// Writes a file so that it is there completely or not at all: a temporary file beside it, synchronised, then renamed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("{}: cannot be written", path.display());
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".btfgen-").tempfile_in(folder).with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    // A temporary file is its owner's only; a result has the mode that any new file would have.
    let mode = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mode);
    let mode = rustix::fs::Mode::from_raw_mode(0o666) & !mode;
    rustix::fs::fchmod(file.as_file(), mode).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).map_err(|error| error.error).with_context(failed)?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)
}

/// Prints what was done, and the losses on stderr. Returns the exit code.
///
/// `json`: print an object, with the members of this one added; `None`: print a line for people.
pub(crate) fn report(
    input: &str,
    output: &Path,
    extracted: &Extracted,
    elapsed: Duration,
    json: Option<serde_json::Value>,
) -> ExitCode {
    let Extracted { btf, source, build_id, report } = extracted;
    let source = match source {
        Source::Embedded => "embedded",
        Source::Dwarf => "dwarf",
        Source::Upload => "upload",
    };
    let build_id = build_id.as_ref().map(ToString::to_string);
    if let Some(details) = json {
        let lost: Vec<_> = report
            .lost
            .iter()
            .map(|unit| serde_json::json!({ "section": unit.section, "offset": unit.offset, "reason": unit.reason.to_string() }))
            .collect();
        let mut value = serde_json::json!({
            "input": input,
            "output": output,
            "source": source,
            "build_id": build_id,
            "bytes": btf.len(),
            "types": report.types,
            "digest": Digest::of(btf).to_string(),
            "units": report.units,
            "other_languages": report.other_languages,
            "degraded": report.degraded,
            "lost": lost,
            "seconds": elapsed.as_secs_f64(),
        });
        if let (Some(value), serde_json::Value::Object(mut details)) = (value.as_object_mut(), details) {
            value.append(&mut details);
        }
        println!("{value:#}");
    } else {
        println!(
            "{}: {} types, {} bytes, from {source}, build-id {}, {:.2} s",
            output.display(),
            report.types,
            btf.len(),
            build_id.as_deref().unwrap_or("none"),
            elapsed.as_secs_f64(),
        );
    }
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
        return ExitCode::SUCCESS;
    }
    let total = report.units + report.lost.len();
    eprintln!(
        "btfgen: {input}: {} of {total} units could not be converted; the output lacks their types",
        report.lost.len()
    );
    ExitCode::from(INCOMPLETE)
}
