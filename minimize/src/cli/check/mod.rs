//! `btf-minimize check`: on which kernels objects work, and why not.

mod html;
mod json;
mod matrix;
mod sarif;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use btf_archive::Digest;
use btf_minimize::check::{Checker, Config, Facts};

use super::files;
use super::kernels::{KernelArgs, Kernels};
use super::select::Selection;
use matrix::{Matrix, ObjectRows};

/// Say on which kernels BPF objects work, before they are shipped
///
/// For each kernel and each relocation: whether it holds, does no harm because a check stands before it, or makes the verifier refuse a program; which programs that concerns, and what
/// else they need and a kernel lacks: attach points, helpers, kernel functions, map types, configuration. Exit code 0 when every kernel that is required loads every program, else 1.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    kernels: KernelArgs,
    /// Kernels on which every program must work: 'debian>=11, ubuntu 18.04 generic' [default: all]
    #[arg(long, value_name = "EXPRESSION")]
    require: Option<Selection>,
    /// Only these programs, by name of the function or of the section; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    program: Vec<String>,
    /// A kernel configuration to check __kconfig variables against: the text of /boot/config-RELEASE [default: each kernel's own, where the archive has it]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to tell it
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    /// Where to write the report [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// BPF objects (ELF)
    #[arg(required = true, value_name = "OBJECT")]
    objects: Vec<PathBuf>,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// A summary for a terminal.
    #[default]
    Text,
    /// Everything, for machines.
    Json,
    /// For code review: results at lines of the source.
    Sarif,
    /// One page with everything: kernels across, relocations down.
    Html,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let kernels = args.kernels.open()?;
    let data = files::read_objects(&args.objects)?;
    let mut checkers = Vec::new();
    for (path, data) in args.objects.iter().zip(&data) {
        checkers.push(Checker::parse(data).with_context(|| path.display().to_string())?);
    }
    for name in &args.program {
        let known = |checker: &Checker<'_>| {
            checker.programs().iter().any(|one| one.name == name || one.section == name)
        };
        if !checkers.iter().any(known) {
            eprintln!("btf-minimize: no object has a program {name:?}");
            return Ok(ExitCode::from(3));
        }
    }
    kernels.tell_without_modules();
    let config = match &args.config {
        Some(path) => {
            Some(Config::parse(&std::fs::read_to_string(path).with_context(|| path.display().to_string())?))
        }
        None => None,
    };
    if let Some(require) = &args.require {
        let keys: Vec<_> = kernels.names.iter().filter_map(|kernel| kernel.key()).collect();
        let idle = require.idle(&keys);
        if !idle.is_empty() {
            eprintln!("btf-minimize: --require means no kernel here: {}", idle.join(", "));
            return Ok(ExitCode::from(3));
        }
    }

    let configured = checkers.iter().any(Checker::asks_for_config);
    // What kernels that share BTF may differ in.
    let facts_of = |index: usize| {
        let kernel = &kernels.names[index];
        let archived = kernel.record.as_ref().and_then(|record| record.config);
        (kernel.own_btf(), archived.filter(|_| configured && config.is_none()))
    };
    let results = kernels.each(|indices, opened| {
        let different: BTreeSet<_> = indices.iter().map(|&index| facts_of(index)).collect();
        opened.whole(|kernel| {
            let check = |(own_btf, archived): (_, Option<Digest>)| {
                let archived = archived.map(|digest| archived_config(&kernels, &digest)).transpose()?;
                let facts = Facts { own_btf, config: archived.as_ref().or(config.as_ref()) };
                anyhow::Ok(checkers.iter().map(|checker| checker.check(kernel, &facts)).collect::<Vec<_>>())
            };
            different.into_iter().map(|facts| Ok((facts, check(facts)?))).collect::<anyhow::Result<Vec<_>>>()
        })
    });
    let named = |(indices, result): (Vec<usize>, anyhow::Result<_>)| {
        let result = result.with_context(|| kernels.names[indices[0]].name.clone())?;
        anyhow::Ok((indices, result))
    };
    let groups = results.into_iter().map(named).collect::<anyhow::Result<Vec<_>>>()?;
    let mut reports = BTreeMap::new();
    for (indices, by_facts) in &groups {
        for &index in indices {
            let found = by_facts.iter().find(|(facts, _)| *facts == facts_of(index));
            reports.extend(found.map(|(_, reports)| (index, reports)));
        }
    }
    let required = |index: usize| match (&args.require, kernels.names[index].key()) {
        (Some(require), Some(key)) => require.means(key),
        (Some(_), None) => false,
        (None, _) => true,
    };
    let matrix = Matrix {
        kernels: &kernels.names,
        snapshot: kernels.snapshot,
        required: (0..kernels.names.len()).map(required).collect(),
        objects: args
            .objects
            .iter()
            .zip(&checkers)
            .enumerate()
            .map(|(index, (path, checker))| {
                ObjectRows::new(
                    path,
                    checker,
                    reports.values().map(|reports| &reports[index]).collect(),
                    &args.program,
                )
            })
            .collect(),
    };
    let text = match args.format {
        Format::Text => text::write(&matrix),
        Format::Json => json::write(&matrix)?,
        Format::Sarif => sarif::write(&matrix)?,
        Format::Html => html::write(&matrix),
    };
    match &args.output {
        Some(path) => files::write(path, text.as_bytes())?,
        None => std::io::stdout().lock().write_all(text.as_bytes())?,
    }
    Ok(if matrix.works_where_required() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A kernel's configuration in the archive.
fn archived_config(kernels: &Kernels, digest: &Digest) -> anyhow::Result<Config> {
    Ok(Config::parse(&String::from_utf8_lossy(&kernels.beside(digest)?)))
}
