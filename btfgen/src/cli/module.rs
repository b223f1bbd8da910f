//! `btfgen module`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use btf::{BaseIndex, Btf};
use btf_archive::Digest;
use btfgen::elf::Contents;
use btfgen::module::{self, On};
use serde_json::json;

use super::modules::{self, Conversion};
use super::output::{self, Batch};
use super::vmlinux::{FromArg, threads};

/// Make kernel modules' split BTF, on top of their kernel's BTF.
///
/// Modules are object files with DWARF debug information (.ko, .ko.debug), also compressed (.xz, .zst, .gz). One that has BTF itself keeps it, if
/// it was made for the same base.
#[derive(clap::Args)]
#[command(after_help = "\
With several modules, or a folder, the output is a folder: each module's BTF is NAME.btf in it, by the name that the kernel gives to the module \
(snd_pcm.btf for snd-pcm.ko.xz). A module that fails does not stop the others.

Exit codes: 0 done; 1 failed, nothing is written; 2 usage; 5 written, but some modules failed or lack units of the DWARF that could not be read.")]
pub(crate) struct Args {
    /// Modules, or folders with modules in them, such as /usr/lib/debug/lib/modules/RELEASE
    #[arg(required = true, value_name = "MODULE")]
    inputs: Vec<PathBuf>,
    /// The kernel's BTF: a raw file, or a vmlinux with a .BTF section
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// Where to write the split BTF: a file for one module, a folder for more
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Write ELF files with the sections .BTF and .BTF.base, for any kernel that has the types they name
    #[arg(long)]
    distilled: bool,
    /// Where the BTF is to come from
    #[arg(long, value_enum, default_value_t = FromArg::Auto)]
    from: FromArg,
    /// Number of threads [default: one per processor]
    #[arg(short = 'j', long, value_name = "N")]
    threads: Option<std::num::NonZero<usize>>,
    /// Print what became of each module as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let files = modules::expand(&args.inputs)?;
    let into_folder =
        files.len() > 1 || args.output.is_dir() || args.inputs.iter().any(|input| input.is_dir());
    if into_folder {
        folder(&args.output)?;
    }
    let base_name = args.base.display().to_string();
    let file = Contents::open(&args.base).with_context(|| base_name.clone())?;
    let bytes = module::base(&file).with_context(|| format!("{base_name}: is no base for modules"))?;
    let base = Btf::parse(&bytes).with_context(|| base_name.clone())?;
    let index = BaseIndex::of(&base).with_context(|| base_name.clone())?;

    let conversion = Conversion {
        files: &files,
        index: &index,
        from: args.from.into(),
        on: if args.distilled { On::DistilledBase } else { On::Base },
        threads: threads(args.threads),
    };
    let mut batch = Batch::default();
    let done = conversion.run(|name, module| {
        if !into_folder {
            output::write(&args.output, &module.btf)?;
            return Ok(Some(args.output.clone()));
        }
        let output = args.output.join(format!("{name}.btf"));
        batch.write(output.clone(), &module.btf)?;
        Ok(Some(output))
    });
    if into_folder {
        batch.finish(&args.output)?;
    }
    if args.json {
        let base = json!({ "input": base_name, "digest": Digest::of(&bytes).to_string(), "types": base.type_count() - 1 });
        let value = json!({ "base": base, "modules": modules::json(&done), "seconds": start.elapsed().as_secs_f64() });
        println!("{value:#}");
    } else {
        modules::tell(&done, &args.output, start.elapsed());
    }
    Ok(modules::tell_losses(&done))
}

/// Makes a folder, unless it is there. What is above it must be.
pub(crate) fn folder(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if path.exists() {
        bail!("{}: is no folder; several modules need one as --output", path.display());
    }
    std::fs::create_dir(path).with_context(|| format!("{}: the folder cannot be made", path.display()))
}
