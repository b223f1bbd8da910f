//! `btfgen vmlinux`.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use btfgen::vmlinux::{self, From};

/// Take the BTF out of one vmlinux, or make it from the DWARF debug information.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 failed, nothing is written; 2 usage; 5 written, but without units of the DWARF that could not be read.")]
pub(crate) struct Args {
    /// The kernel: an ELF file with a .BTF section or with DWARF debug information
    vmlinux: PathBuf,
    /// Where to write the raw BTF
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
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

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let name = args.vmlinux.display().to_string();
    let file = File::open(&args.vmlinux).with_context(|| format!("{name}: cannot be opened"))?;
    // SAFETY: the mapping is read as plain bytes, every access is bounds-checked, and a file that is changed under it gives wrong bytes,
    // which the parsers take like any other hostile input. A file that is truncated under it ends the process by SIGBUS; mapping is
    // kept because reading a 600 MB vmlinux into memory instead would double the peak memory.
    #[allow(unsafe_code)]
    let data = unsafe { memmap2::Mmap::map(&file) }.with_context(|| format!("{name}: cannot be mapped"))?;
    let threads =
        args.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, std::num::NonZero::get);
    let alt = args.supplementary.find(&args.vmlinux, &data)?;
    let alt = alt.as_ref().map(|file| file as &dyn btfgen::elf::ReadAt);
    let extracted =
        vmlinux::extract_with(&data, alt, args.from.into(), threads).with_context(|| name.clone())?;
    super::output::write(&args.output, &extracted.btf)?;
    Ok(super::output::report(
        &name,
        &args.output,
        &extracted,
        start.elapsed(),
        args.json.then(|| serde_json::json!({})),
    ))
}
