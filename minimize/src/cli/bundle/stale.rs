//! `--check-stale`: what changed since a bundle was made.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use btf_archive::Digest;
use serde::Serialize;

use super::record::{Object, Record, beginning};
use crate::cli::files;
use crate::cli::kernels::{Blob, KernelArgs};
use crate::cli::telling::plural;

#[derive(Serialize)]
struct Report<'a> {
    bundle: &'a Path,
    stale: bool,
    /// One line each.
    changes: Vec<String>,
}

pub(super) fn run(
    bundle: &Path,
    mut args: KernelArgs,
    paths: &[PathBuf],
    data: &[Vec<u8>],
    json: bool,
) -> anyhow::Result<ExitCode> {
    let record = Record::read(bundle)?;
    let mut changes = Vec::new();
    match (args.selection(), &record.select) {
        (None, Some(select)) => args.select(select.parse()?),
        (now, then) if now != *then => {
            let text =
                |selection: &Option<String>| selection.clone().unwrap_or_else(|| "everything".to_owned());
            changes.push(format!("selection: {} became {}", text(then), text(&now)));
        }
        _ => {}
    }
    let mut then: BTreeMap<&str, &Digest> =
        record.objects.iter().map(|object| (object.name.as_str(), &object.sha256)).collect();
    for object in &Object::of(paths, data) {
        match then.remove(object.name.as_str()) {
            None => changes.push(format!("object {}: is new", object.name)),
            Some(digest) if *digest != object.sha256 => {
                changes.push(format!("object {}: changed", object.name));
            }
            Some(_) => {}
        }
    }
    changes.extend(then.keys().map(|name| format!("object {name}: is gone")));

    let kernels = args.open()?;
    let mut then: BTreeMap<&str, &str> =
        record.kernels.iter().map(|(key, digest)| (key.as_str(), digest.as_str())).collect();
    for kernel in &kernels.names {
        let digest = match &kernel.blob {
            Blob::Archived(digest) => *digest,
            Blob::File(path) => {
                let file = files::KernelFile::open(path)?;
                Digest::of(file.kernel(path)?.btf().bytes())
            }
        };
        let key = super::key(kernel)?;
        match then.remove(key.to_string().as_str()) {
            None => changes.push(format!("kernel {key}: is new")),
            Some(beginning_then) if beginning_then != beginning(digest.as_bytes()) => {
                changes.push(format!("kernel {key}: has other BTF"));
            }
            Some(_) => {}
        }
    }
    changes.extend(then.keys().map(|key| format!("kernel {key}: is gone")));

    let report = Report { bundle, stale: !changes.is_empty(), changes };
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else if report.stale {
        writeln!(out, "{}: {}", bundle.display(), plural(report.changes.len(), "change"))?;
        report.changes.iter().try_for_each(|change| writeln!(out, "  {change}"))?;
    } else {
        let (objects, kernels) = (plural(paths.len(), "object"), plural(kernels.names.len(), "kernel"));
        writeln!(out, "{}: up to date with {objects} and {kernels}", bundle.display())?;
    }
    Ok(if report.stale { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
