//! `btfgen vmlinux`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use btf::{BaseIndex, Btf, ValidateOptions};
use btfgen::elf::Contents;
use btfgen::module::On;
use btfgen::vmlinux::{self, Extracted, From};
use serde_json::json;

use super::module;
use super::modules::{self, Conversion, Module};
use super::output::{self, Batch};

/// Take the BTF out of one vmlinux, or make it from the DWARF debug information.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 failed, nothing is written; 2 usage; 5 written, but without units of the DWARF, or modules, that could not be read.")]
pub(crate) struct Args {
    /// The kernel: an ELF file with a .BTF section or with DWARF debug information
    vmlinux: PathBuf,
    /// Where to write the raw BTF; with --modules and without --merged a folder
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Take the modules in this folder too: into the folder OUTPUT, as vmlinux.btf and a NAME.btf for each module
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// Write one file with the types of vmlinux and of all modules, without duplicates
    #[arg(long, requires = "modules")]
    merged: bool,
    /// Where the BTF is to come from
    #[arg(long, value_enum, default_value_t = FromArg::Auto)]
    from: FromArg,
    /// Number of threads [default: one per processor]
    #[arg(short = 'j', long, value_name = "N")]
    threads: Option<std::num::NonZero<usize>>,
    #[command(flatten)]
    supplementary: super::supplementary::Sought,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum FromArg {
    /// The embedded .BTF section where there is one, else DWARF
    Auto,
    /// The embedded .BTF section
    Embedded,
    /// DWARF
    Dwarf,
}

impl std::convert::From<FromArg> for From {
    fn from(from: FromArg) -> From {
        match from {
            FromArg::Auto => From::Auto,
            FromArg::Embedded => From::Embedded,
            FromArg::Dwarf => From::Dwarf,
        }
    }
}

/// The number of threads asked for, or that of processors.
pub(crate) fn threads(asked: Option<std::num::NonZero<usize>>) -> usize {
    asked.or_else(|| std::thread::available_parallelism().ok()).map_or(1, std::num::NonZero::get)
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let name = args.vmlinux.display().to_string();
    let files = match &args.modules {
        Some(folder) => modules::expand(std::slice::from_ref(folder))?,
        None => Vec::new(),
    };
    let data = Contents::open(&args.vmlinux).with_context(|| name.clone())?;
    let mut extracted = {
        let alt = args.supplementary.find(&args.vmlinux, &data)?;
        let alt = alt.as_ref().map(|file| file as &dyn btfgen::elf::ReadAt);
        vmlinux::extract_with(&data, alt, args.from.into(), threads(args.threads))
            .with_context(|| name.clone())?
    };
    // Unmapping a kernel takes as long as writing what was made of it. Nothing waits for it: the process's end would do as much.
    if threads(args.threads) > 1 {
        std::thread::spawn(|| drop(data));
    }
    let mut details = json!({});
    let mut modules_exit = ExitCode::SUCCESS;
    let mut place = args.output.clone();
    if args.modules.is_some() {
        if !args.merged {
            module::folder(&args.output)?;
            place = args.output.join("vmlinux.btf");
        }
        let done = with_modules(&args, &files, &mut extracted).with_context(|| name.clone())?;
        details["modules"] = modules::json(&done);
        if !args.json {
            modules::tell(&done, &args.output, start.elapsed());
        }
        modules_exit = modules::tell_losses(&done);
    }
    output::write(&place, &extracted.btf)?;
    let exit = output::report(&name, &place, &extracted, start.elapsed(), args.json.then_some(details));
    // The kernel's BTF is written even where all modules failed.
    Ok(if modules_exit == ExitCode::SUCCESS { exit } else { ExitCode::from(output::INCOMPLETE) })
}

/// Converts the modules on top of the kernel: to files of their own, or into the kernel's BTF.
fn with_modules(args: &Args, files: &[PathBuf], kernel: &mut Extracted) -> anyhow::Result<Vec<Module>> {
    let base = Btf::parse(&kernel.btf)?;
    let index = BaseIndex::of(&base)?;
    let conversion = Conversion {
        files,
        index: &index,
        from: args.from.into(),
        on: On::Base,
        threads: threads(args.threads),
    };
    let mut batch = Batch::default();
    let done = conversion.run(|name, module| {
        if args.merged {
            return Ok(None);
        }
        let output = args.output.join(format!("{name}.btf"));
        batch.write(output.clone(), &module.btf)?;
        Ok(Some(output))
    });
    if !args.merged {
        batch.finish(&args.output)?;
    } else {
        drop(index);
        let merged = merge(&base, &done)?;
        kernel.report.types = Btf::parse(&merged)?.type_count() as usize - 1;
        kernel.btf = merged;
    }
    Ok(done)
}

/// The types of the kernel and its modules in one.
fn merge(base: &Btf<'_>, modules: &[Module]) -> anyhow::Result<Vec<u8>> {
    let made = modules.iter().filter_map(|module| module.result.as_ref().ok());
    let splits: Vec<Btf<'_>> =
        made.map(|module| Btf::parse_split(&module.btf, base)).collect::<btf::Result<_>>()?;
    let merged = btf::merge(base, &splits)?.finish(base.endian())?;
    btf::validate(&Btf::parse(&merged)?, &ValidateOptions::default())
        .context("the merged BTF is not valid (this is a bug)")?;
    Ok(merged)
}
