//! `btfgen package`: one Debian package, from a file or a URL, to BTF.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use btf_archive::{Provenance, Trust};
use btfgen::fetch::public_url;
use btfgen::package::{self, Error, Kernel, Options};
use btfgen::vmlinux;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use url::Url;

use super::repository::{human_size, network};
use super::vmlinux::{FromArg, threads};

/// Take the BTF of the kernel in a Debian package (.deb, .ddeb), or make it from the kernel's debug information.
///
/// The package is read in one pass and only until its vmlinux is complete; nothing is unpacked to disk.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 failed, nothing is written; 2 usage; 3 the package has no kernel of that release; \
5 written, but without units of the DWARF that could not be read.")]
pub(crate) struct Args {
    /// The package: a file, or an http or https URL
    #[arg(value_name = "FILE_OR_URL")]
    package: String,
    /// Where to write the raw BTF
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Which kernel of the package, as `uname -r` says it [default: the only one]
    #[arg(long, value_name = "RELEASE")]
    kernel: Option<String>,
    /// Where the BTF is to come from
    #[arg(long, value_enum, default_value_t = FromArg::Auto)]
    from: FromArg,
    /// Number of threads [default: one per processor]
    #[arg(short = 'j', long, value_name = "N")]
    threads: Option<std::num::NonZero<usize>>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let folder = args.output.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        bail!("{}: no such directory; create it, or choose another place with --output", folder.display());
    }
    let threads = threads(args.threads);
    let Source { name, url, length, reader } = Source::open(&args.package)?;
    let options = Options { release: args.kernel, length, threads, ..Options::default() };

    let kernel = match package::read(progress(length).wrap_read(reader), &options) {
        Ok(kernel) => kernel,
        Err(error) => {
            let code = if matches!(error, Error::OtherKernel { .. }) { 3 } else { 1 };
            eprintln!("btfgen: {}", super::message(&anyhow::Error::new(error).context(name)));
            return Ok(ExitCode::from(code));
        }
    };
    let read_in = start.elapsed();
    let Kernel { identity, release, path, vmlinux, bytes_read, sha256 } = kernel;
    let extracted =
        vmlinux::extract(&vmlinux, args.from.into(), threads).with_context(|| format!("{name}: {path}"))?;
    super::output::write(&args.output, &extracted.btf)?;

    let trust = match &url {
        Some(url) if url.scheme() == "https" => Trust::Transport,
        _ => Trust::None,
    };
    let provenance = Provenance {
        package: Some(identity.package.clone()),
        package_version: Some(identity.version.clone()),
        url: url.as_ref().map(public_url),
        sha256,
        trust,
        source: extracted.source,
        generator: concat!("btfgen ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    if !args.json {
        let of = length.map_or_else(String::new, |length| format!(" of {}", human_size(length)));
        println!(
            "{identity}: {path}, {}, found in {}{of}, {:.2} s",
            human_size(btfgen::elf::ReadAt::len(&vmlinux)),
            human_size(bytes_read),
            read_in.as_secs_f64(),
        );
    }
    let details = json!({
        "package": identity,
        "release": release,
        "vmlinux": path,
        "vmlinux_bytes": btfgen::elf::ReadAt::len(&vmlinux),
        "package_bytes": length,
        "bytes_read": bytes_read,
        "read_seconds": read_in.as_secs_f64(),
        "provenance": provenance,
    });
    Ok(super::output::report(&name, &args.output, &extracted, start.elapsed(), args.json.then_some(details)))
}

/// A package being read.
struct Source {
    /// For messages, without credentials.
    name: String,
    url: Option<Url>,
    /// Bytes, where known.
    length: Option<u64>,
    reader: Box<dyn Read>,
}

impl Source {
    fn open(package: &str) -> anyhow::Result<Self> {
        if !package.contains("://") {
            let name = Path::new(package).display().to_string();
            let file = File::open(package).with_context(|| format!("{name}: cannot be opened"))?;
            let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
            return Ok(Self { name, url: None, length, reader: Box::new(file) });
        }
        let url = Url::parse(package).context("the package's URL is malformed")?;
        let (runtime, client) = network()?;
        let download = client.open(&url)?;
        let length = download.len();
        // The download needs its runtime; it is dropped before it.
        let reader = Box::new(WithRuntime { download, _runtime: runtime });
        Ok(Self { name: public_url(&url), url: Some(url), length, reader })
    }
}

struct WithRuntime<R> {
    download: R,
    _runtime: tokio::runtime::Runtime,
}

impl<R: Read> Read for WithRuntime<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.download.read(buffer)
    }
}

/// A bar on stderr while the package is read; invisible where stderr is not a terminal. Most packages end early, so it
/// shows bytes and speed, not a time left.
fn progress(length: Option<u64>) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = "reading {bytes} of {total_bytes} ({bytes_per_sec})";
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_finish(indicatif::ProgressFinish::AndClear)
}
