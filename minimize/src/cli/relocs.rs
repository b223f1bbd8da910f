//! `btf-minimize relocs`: the relocations of BPF objects, readable.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use btf_minimize::{Kernel, Object, resolve};
use serde::Serialize;

use super::files;
use super::telling::{Answer, Told, plural};

/// List the relocations of BPF objects
///
/// With --btf also what becomes of each on that kernel, as if all programs of the object were loaded.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A kernel to resolve against: raw BTF, or an ELF file with a .BTF section; of either byte order
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// A module of that kernel whose types count too: split BTF, or a .ko with it; may be repeated
    #[arg(long, value_name = "FILE", requires = "btf")]
    module: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// BPF objects (ELF)
    #[arg(required = true, value_name = "OBJECT")]
    objects: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Listing<'a> {
    object: &'a Path,
    relocations: Vec<Told>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let file = args.btf.as_deref().map(files::KernelFile::open).transpose()?;
    let files = files::read_objects(&args.objects)?;
    let objects = files::open_objects(&args.objects, &files)?;
    let with_modules = match (&args.btf, &file) {
        (Some(path), Some(file)) if !args.module.is_empty() => {
            Some(files::with_modules(file, path, &args.module)?)
        }
        _ => None,
    };
    let kernel = match (&with_modules, &file) {
        (Some(both), _) => Some(both.open_for(&objects)),
        (None, Some(file)) => Some(Kernel::open_for(file.bytes(), &objects)),
        (None, None) => None,
    };
    let name = || args.btf.as_deref().map_or_else(String::new, |path| path.display().to_string());
    let kernel = kernel.transpose().with_context(name)?;
    let list = |(path, object): (_, &Object<'_>)| {
        let answers = kernel.as_ref().map(|kernel| resolve(kernel, object));
        let told = object.relocations().iter().enumerate().map(|(index, relocation)| {
            Told::new(object, relocation, answers.as_ref().map(|answers| &answers[index]))
        });
        Listing { object: path, relocations: told.collect() }
    };
    let listings: Vec<_> = args.objects.iter().map(PathBuf::as_path).zip(&objects).map(list).collect();
    let failed = listings
        .iter()
        .flat_map(|listing| &listing.relocations)
        .any(|told| matches!(told.answer, Some(Answer::Error(_))));
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &listings)?;
        writeln!(out)?;
    } else {
        listings.iter().try_for_each(|listing| print(&mut out, listing)).context("standard output")?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints one object's relocations as a table, with a heading for each section.
fn print(out: &mut impl Write, listing: &Listing<'_>) -> io::Result<()> {
    let relocations = &listing.relocations;
    writeln!(out, "{}: {}", listing.object.display(), plural(relocations.len(), "relocation"))?;
    let width = |column: fn(&Told) -> usize| relocations.iter().map(column).max().unwrap_or(0);
    let place = |told: &Told| match (&told.function, told.short_source()) {
        (Some(function), "") => function.clone(),
        (Some(function), source) => format!("{function} ({source})"),
        (None, source) => source.to_string(),
    };
    let places = relocations.iter().map(|told| place(told).len()).max().unwrap_or(0);
    let (kinds, whats, accesses) =
        (width(|told| told.kind.len()), width(|told| told.what.len()), width(|told| told.access.len()));
    let mut section = None;
    for told in relocations {
        if section != Some(&told.section) {
            writeln!(out, "  {}", told.section)?;
            section = Some(&told.section);
        }
        let Told { instruction, kind, what, access, .. } = told;
        let mut line = format!("    {instruction:>5}");
        if places > 0 {
            line += &format!("  {:places$}", place(told));
        }
        line += &format!("  {kind:kinds$}  {what:whats$}  {access:accesses$}");
        if let Some(answer) = &told.answer {
            line += &format!("  {answer}");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
