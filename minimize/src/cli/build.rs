//! `btf-minimize build`: of a kernel's BTF, what some BPF objects need.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use btf_minimize::{Kernel, Minimized, Object, minimize};
use serde::Serialize;

use super::files;
use super::telling::{Told, locate, plural};

/// Keep of a kernel's BTF what BPF objects need
///
/// Every relocation of every object resolves against the result exactly as against the kernel's whole BTF. Ship it with the objects, and they load on kernels
/// without BTF of their own.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel: raw BTF, or an ELF file with a .BTF section; of either byte order
    #[arg(long, value_name = "FILE")]
    btf: PathBuf,
    /// A module of that kernel whose types count too: split BTF, or a .ko with it; may be repeated
    #[arg(long, value_name = "FILE")]
    module: Vec<PathBuf>,
    /// Where to write the minimised BTF
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write nothing if any relocation cannot be resolved
    #[arg(long)]
    strict: bool,
    /// Print a report as JSON
    #[arg(long)]
    json: bool,
    /// BPF objects (ELF)
    #[arg(required = true, value_name = "OBJECT")]
    objects: Vec<PathBuf>,
}

/// The report of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    kernel: &'a Path,
    /// The file written; absent if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Path>,
    /// Size of the minimised BTF.
    bytes: usize,
    /// Number of types in it.
    types: usize,
    objects: Vec<ObjectReport<'a>>,
}

#[derive(Serialize)]
struct ObjectReport<'a> {
    object: &'a Path,
    /// Number of relocations.
    relocations: usize,
    /// Those that cannot be resolved.
    problems: Vec<Told>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { btf, module, output, strict, json, objects } = args;
    build(&btf, &module, &output, &objects, strict, json)
}

pub(crate) fn build(
    btf: &Path,
    modules: &[PathBuf],
    output: &Path,
    paths: &[PathBuf],
    strict: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let file = files::KernelFile::open(btf)?;
    let data = files::read_objects(paths)?;
    let objects = files::open_objects(paths, &data)?;
    let with_modules =
        if modules.is_empty() { None } else { Some(files::with_modules(&file, btf, modules)?) };
    let kernel = match &with_modules {
        Some(both) => both.open_for(&objects),
        None => Kernel::open_for(file.bytes(), &objects),
    };
    let kernel = kernel.with_context(|| btf.display().to_string())?;
    let minimized = minimize(&kernel, &objects)?;
    let good = minimized.problems.is_empty();
    let written = good || !strict;
    if written {
        files::write(output, &minimized.btf)?;
    }
    let reports = report(paths, &objects, &minimized);
    for report in &reports {
        for problem in &report.problems {
            let reason = problem.answer.as_ref().map_or_else(String::new, ToString::to_string);
            eprintln!("btf-minimize: {}: {reason}", locate(report.object, problem));
        }
    }
    if !written {
        eprintln!("btf-minimize: {} was not written; without --strict it would be", output.display());
    }
    let (bytes, types) = (minimized.btf.len(), minimized.types.len());
    let mut out = std::io::stdout().lock();
    if json {
        let report =
            Report { kernel: btf, output: written.then_some(output), bytes, types, objects: reports };
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else if written {
        let relocations = plural(reports.iter().map(|report| report.relocations).sum(), "relocation");
        let (bytes, types) = (plural(bytes, "byte"), plural(types, "type"));
        let objects = plural(reports.len(), "object");
        writeln!(out, "{}: {bytes}, {types}, for {relocations} of {objects}", output.display())?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report<'a>(paths: &'a [PathBuf], objects: &[Object<'_>], minimized: &Minimized) -> Vec<ObjectReport<'a>> {
    let mut reports: Vec<_> = paths
        .iter()
        .zip(objects)
        .map(|(path, object)| ObjectReport {
            object: path,
            relocations: object.relocations().len(),
            problems: Vec::new(),
        })
        .collect();
    for problem in &minimized.problems {
        let object = &objects[problem.object];
        let relocation = &object.relocations()[problem.relocation];
        let told = Told::new(object, relocation, Some(&Err(problem.reason.clone())));
        reports[problem.object].problems.push(told);
    }
    reports
}
