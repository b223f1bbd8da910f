//! `btfgen package`: one package, from a file or a URL, to BTF.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use btf_archive::{Provenance, Trust};
use btfgen::fetch::public_url;
use btfgen::package::Error as PackageError;
use btfgen::route::{self, Error, Failed, Fetched, Modules, Options, Verify};
use btfgen::vmlinux::Extracted;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use url::Url;

use super::module::folder;
use super::output::{self, Batch, INCOMPLETE};
use super::repository::{human_size, network};
use super::vmlinux::{FromArg, threads};

/// Take the BTF of the kernel in a package (.deb, .ddeb, .rpm), or make it from the kernel's debug information.
///
/// Packages of bootable kernels and debug packages are both read. No more is read of them than is needed, nothing is unpacked to disk, and
/// --explain tells what was tried and what it cost.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 failed, nothing is written; 2 usage; 3 the package has no kernel of that release; 4 its signature was refused; \
5 written, but some modules failed, the configuration is not there, or units of the DWARF could not be read.")]
pub(crate) struct Args {
    /// The package: a file, or an http, https or file URL
    #[arg(value_name = "FILE_OR_URL")]
    package: String,
    /// Where to write the raw BTF
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write the split BTF of the kernel's modules in this package to a folder: NAME.btf, by the name that the kernel gives to the module
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// Write the kernel's configuration, if the package has it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which kernel of the package, as `uname -r` says it [default: the only one]
    #[arg(long, value_name = "RELEASE")]
    kernel: Option<String>,
    /// Where the BTF is to come from
    #[arg(long, value_enum, default_value_t = FromArg::Auto)]
    from: FromArg,
    /// How much to read: as little as needed, or all, so that the package's sha256 is recorded
    #[arg(long, value_enum, default_value_t = VerifyArg::Sparse)]
    verify: VerifyArg,
    /// Tell which ways were considered, and what they cost
    #[arg(long)]
    explain: bool,
    /// Number of threads [default: one per processor]
    #[arg(short = 'j', long, value_name = "N")]
    threads: Option<std::num::NonZero<usize>>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// How much of a package is read, on the command line.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum VerifyArg {
    /// As little as needed
    Sparse,
    /// To its end
    Full,
}

impl From<VerifyArg> for Verify {
    fn from(verify: VerifyArg) -> Self {
        match verify {
            VerifyArg::Sparse => Verify::Sparse,
            VerifyArg::Full => Verify::Full,
        }
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    super::allocator::give_back_freed_memory();
    for output in [Some(&args.output), args.config.as_ref()].into_iter().flatten() {
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            bail!("{}: no such directory; create it, or choose another place", folder.display());
        }
    }
    if let Some(path) = &args.modules {
        folder(path)?;
    }
    let (name, url) = locate(&args.package)?;
    let (_runtime, client) = network()?;
    let arrived = Arc::new(AtomicU64::new(0));
    let options = Options {
        modules: args.modules.is_some(),
        config: args.config.is_some(),
        verify: args.verify.into(),
        from: args.from.into(),
        threads: threads(args.threads),
        arrived: Arc::clone(&arrived),
        ..Options::default()
    };
    let bar = progress(arrived);
    let result = route::fetch_package(&client, &url, args.kernel.as_deref(), &options);
    bar.finish();
    let fetched = match result {
        Ok(fetched) => fetched,
        Err(failed) => return Ok(fail(&name, failed, args.explain)),
    };
    write(&args, &fetched)?;
    Ok(tell(&args, &name, &fetched, start.elapsed()))
}

/// The package's name in messages, without credentials, and its URL.
fn locate(package: &str) -> anyhow::Result<(String, Url)> {
    if package.contains("://") {
        let url = Url::parse(package).context("the package's URL is malformed")?;
        return Ok((public_url(&url), url));
    }
    let name = Path::new(package).display().to_string();
    let path = std::fs::canonicalize(package).with_context(|| format!("{name}: cannot be opened"))?;
    if path.is_dir() {
        bail!("{name}: Is a directory; give a package");
    }
    match Url::from_file_path(path) {
        Ok(url) => Ok((name, url)),
        Err(()) => bail!("{name}: its path cannot be written as a URL; give it another name"),
    }
}

fn fail(name: &str, failed: Failed, explain: bool) -> ExitCode {
    let Failed { error, explanation } = failed;
    if explain {
        eprint!("{explanation}");
    }
    let code = match &error {
        Error::Package(PackageError::OtherKernel { .. }) => 3,
        error if error.is_refusal() => 4,
        _ => 1,
    };
    eprintln!("btfgen: {}", super::message(&anyhow::Error::new(error).context(name.to_owned())));
    ExitCode::from(code)
}

fn write(args: &Args, fetched: &Fetched) -> anyhow::Result<()> {
    output::write(&args.output, &fetched.btf)?;
    if let (Some(path), Some(config)) = (&args.config, &fetched.config) {
        output::write(path, config)?;
    }
    if let Some(folder) = &args.modules {
        let mut batch = Batch::default();
        for (name, btf) in &fetched.modules.btf {
            batch.write(folder.join(format!("{name}.btf")), btf)?;
        }
        batch.finish(folder)?;
    }
    Ok(())
}

/// Says what was done. Returns the exit code.
fn tell(args: &Args, name: &str, fetched: &Fetched, elapsed: Duration) -> ExitCode {
    let Fetched { identity, path, explanation, modules, .. } = fetched;
    let extracted = Extracted {
        btf: fetched.btf.clone(),
        source: fetched.source,
        build_id: fetched.build_id,
        report: fetched.report.clone(),
    };
    if !args.json {
        let (bytes, requests) = (human_size(explanation.bytes()), explanation.requests());
        let reads = if requests == 1 { "read" } else { "reads" };
        println!("{identity}: {path}, by {requests} {reads} of {bytes}");
        if args.explain {
            print!("{explanation}");
        }
    }
    let details = args.json.then(|| {
        let package_bytes =
            explanation.steps.iter().find(|step| step.taken).and_then(|step| step.package_bytes);
        let mut value = json!({
            "package": identity,
            "release": fetched.release,
            "path": path,
            "package_bytes": package_bytes,
            "bytes_read": explanation.bytes(),
            "requests": explanation.requests(),
            "provenance": provenance(fetched),
        });
        if args.explain {
            value["explanation"] = json!(explanation.steps);
        }
        if args.config.is_some() {
            value["config_bytes"] = json!(fetched.config.as_ref().map(Vec::len));
        }
        if args.modules.is_some() {
            value["modules"] = modules_json(modules);
        }
        value
    });
    let code = output::report(name, &args.output, &extracted, elapsed, details);
    let mut complete = true;
    if let (Some(path), None) = (&args.config, &fetched.config) {
        eprintln!("btfgen: {name}: {}: not written, the package has no configuration", path.display());
        complete = false;
    }
    if let Some(folder) = &args.modules {
        complete &= tell_modules(name, folder, modules, args.json);
    }
    if complete { code } else { ExitCode::from(INCOMPLETE) }
}

fn provenance(fetched: &Fetched) -> Provenance {
    let url = (fetched.url.scheme() != "file").then(|| public_url(&fetched.url));
    Provenance {
        package: Some(fetched.identity.package.clone()),
        package_version: Some(fetched.identity.version.clone()),
        trust: if url.is_some() { fetched.trust } else { Trust::None },
        url,
        sha256: fetched.sha256,
        source: fetched.source,
        generator: concat!("btfgen ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

fn modules_json(modules: &Modules) -> Value {
    let made: Vec<&String> = modules.btf.keys().collect();
    json!({ "made": made, "failed": modules.failed })
}

/// Says what became of the modules. Returns whether none failed.
fn tell_modules(name: &str, folder: &Path, modules: &Modules, json: bool) -> bool {
    /// Failures listed; what all have in common is said once.
    const LISTED: usize = 20;
    let Modules { btf, failed } = modules;
    if !json {
        let bytes: usize = btf.values().map(Vec::len).sum();
        println!(
            "{}: {} of {} modules, {bytes} bytes",
            folder.display(),
            btf.len(),
            btf.len() + failed.len()
        );
    }
    for reason in failed.values().take(LISTED) {
        eprintln!("btfgen: {name}: {reason}");
    }
    if failed.len() > LISTED {
        eprintln!("btfgen: {name}: and {} modules more", failed.len() - LISTED);
    }
    if btf.is_empty() && failed.is_empty() {
        eprintln!("btfgen: {name}: the package has no modules of this kernel");
        return false;
    }
    failed.is_empty()
}

/// A line on stderr while packages are read; invisible where stderr is not a terminal. Most are left early, so it shows bytes and speed, not a time left.
struct Progress {
    bar: ProgressBar,
    ended: Arc<std::sync::atomic::AtomicBool>,
}

impl Progress {
    fn finish(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }
}

fn progress(arrived: Arc<AtomicU64>) -> Progress {
    let template = "reading: {bytes} ({bytes_per_sec})";
    let bar = ProgressBar::no_length()
        .with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    if !bar.is_hidden() {
        let (bar, ended) = (bar.clone(), Arc::clone(&ended));
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                bar.set_position(arrived.load(Ordering::Relaxed));
                std::thread::sleep(Duration::from_millis(100));
            }
        });
    }
    Progress { bar, ended }
}
