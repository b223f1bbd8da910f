//! `--check-stale`: what changed since a bundle was made.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use btf_archive::Digest;
use btf_minimize::minimize;
use serde::Serialize;

use super::record::{Object, Record, beginning};
use crate::cli::files;
use crate::cli::kernels::{KernelArgs, Kernels};
use crate::cli::modules::Opened;
use crate::cli::telling::plural;

#[derive(Serialize)]
struct Report<'a> {
    bundle: &'a Path,
    stale: bool,
    /// One line each.
    changes: Vec<String>,
}

/// The objects as they are now.
pub(super) struct Objects<'a> {
    pub(super) paths: &'a [PathBuf],
    pub(super) data: &'a [Vec<u8>],
}

pub(super) fn run(
    bundle: &Path,
    mut args: KernelArgs,
    objects: &Objects<'_>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let Objects { paths, data } = *objects;
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
    match (args.modules(), &record.modules) {
        (None, Some(modules)) => args.choose_modules(modules.parse()?),
        (now, then) if now != *then => {
            let text = |modules: &Option<String>| modules.clone().unwrap_or_else(|| "none".to_owned());
            changes.push(format!("modules: {} became {}", text(then), text(&now)));
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
    let same_objects = !changes.iter().any(|change| change.starts_with("object "));
    changes.extend(of_kernels(&record, &kernels, objects, same_objects)?);

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

/// What changed about the kernels. With other objects, nothing can be said of minimised BTF.
fn of_kernels(
    record: &Record,
    kernels: &Kernels,
    objects: &Objects<'_>,
    same_objects: bool,
) -> anyhow::Result<Vec<String>> {
    let objects = files::open_objects(objects.paths, objects.data)?;
    let (mut then, mut minimized) = (record.kernels.clone(), record.minimized.clone());
    let mut changes = Vec::new();
    for kernel in &kernels.names {
        let key = super::key(kernel)?.to_string();
        if let Some(then) = then.remove(&key) {
            let of_file =
                |opened: &Opened<'_>| opened.for_objects(&[], |kernel| Ok(Digest::of(kernel.btf().bytes())));
            let now = match kernel.blob.source() {
                Some(digest) => digest,
                None => kernels.read(&kernel.blob, of_file)?,
            };
            if then != beginning(now.as_bytes()) {
                changes.push(format!("kernel {key}: has other BTF"));
            }
        } else if let Some(then) = minimized.remove(&key) {
            let minimize = |opened: &Opened<'_>| {
                opened.for_objects(&objects, |kernel| Ok(minimize(kernel, &objects)?.btf))
            };
            if same_objects {
                let now = Digest::of(&kernels.read(&kernel.blob, minimize)?);
                if then != beginning(now.as_bytes()) {
                    changes.push(format!("kernel {key}: what the objects need of it is other BTF"));
                }
            }
        } else {
            changes.push(format!("kernel {key}: is new"));
        }
    }
    changes.extend(then.into_keys().chain(minimized.into_keys()).map(|key| format!("kernel {key}: is gone")));
    Ok(changes)
}
