//! Which repository: the options that `kernels` and `sync` share, and the way from them to a list of kernels.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use btf_archive::OsRelease;
use btfgen::apt_sources::{Address, AptSources};
use btfgen::fetch::{self, public_url};
use btfgen::repo::debian::{self, Options, Suite};
use btfgen::repo::index_cache::IndexCache;
use btfgen::repo::keyring::Keyring;
use btfgen::repo::offer::{self, OfferedKernel};
use btfgen::sync::Selection;
use globset::{Glob, GlobMatcher};
use tokio::runtime::Handle;
use url::Url;

/// Options that name a repository and choose among its kernels.
#[derive(clap::Args)]
pub(crate) struct RepositoryArgs {
    /// The distribution.
    #[arg(long, default_value = "debian", value_parser = ["debian"])]
    distro: String,
    /// Suites: bookworm, stable, bookworm-security, bookworm-backports, sid, … [default: this machine's]
    #[arg(long, value_name = "SUITE", value_delimiter = ',')]
    suite: Vec<String>,
    /// Architectures, in Debian's or the kernel's spelling: i386, amd64 or x86_64, arm64 or aarch64, … [default: this machine's]
    #[arg(long, value_name = "ARCH", value_delimiter = ',')]
    arch: Vec<String>,
    /// Only kernels whose release (uname -r) matches this glob, such as '6.1.*-686-pae'; may be repeated.
    #[arg(long, value_name = "PATTERN", value_parser = Glob::new)]
    kernel: Vec<Glob>,
    /// Only the newest N releases of each flavour and source package.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Address of the repository: the directory of dists/ and pool/ [default: from this machine's apt sources]
    #[arg(long, value_name = "URL")]
    mirror: Option<Url>,
    /// OpenPGP keyring with the keys that may sign the repository [default: Debian's, from package debian-archive-keyring]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// Take a Release file past its Valid-Until, and signatures of keys that have expired since.
    #[arg(long)]
    allow_expired: bool,
}

/// What a repository offers, after selection.
pub(crate) struct Offer {
    pub(crate) suites: Vec<OpenedSuite>,
    /// Newest first.
    pub(crate) kernels: Vec<OfferedKernel>,
    /// Kernels before selection.
    pub(crate) total: usize,
}

/// A suite as it was found.
#[derive(serde::Serialize)]
pub(crate) struct OpenedSuite {
    pub(crate) suite: String,
    pub(crate) url: String,
    /// Fingerprint of the key that signed it.
    pub(crate) signed_by: String,
}

impl RepositoryArgs {
    /// Opens every suite, reads every architecture's index, and selects.
    pub(crate) fn offer(&self, client: &fetch::Client, runtime: &Handle) -> anyhow::Result<Offer> {
        let suites = if self.suite.is_empty() { vec![suite_of_this_machine()?] } else { self.suite.clone() };
        let arches =
            if self.arch.is_empty() { vec![std::env::consts::ARCH.to_owned()] } else { self.arch.clone() };
        let keyring = match &self.keyring {
            Some(path) => Keyring::open(path)?,
            None => Keyring::debian()?,
        };
        let options = Options { keyring, allow_expired: self.allow_expired, cache: IndexCache::of_user() };

        let mut offer = Offer { suites: Vec::new(), kernels: Vec::new(), total: 0 };
        for name in &suites {
            let addresses = self.addresses(name)?;
            let suite = runtime.block_on(Suite::open(client, &addresses, name, &options))?;
            if let Some(valid_until) = suite.expired() {
                let why =
                    if self.allow_expired { "--allow-expired" } else { "apt's setting Check-Valid-Until" };
                eprintln!(
                    "btfgen: warning: suite {name} at {} expired at {valid_until}; taken because of {why}",
                    public_url(suite.base())
                );
            }
            for arch in &arches {
                let index = runtime.block_on(suite.index(client, arch, &options.cache))?;
                offer.kernels.extend(index.kernels()?);
            }
            offer.suites.push(OpenedSuite {
                suite: name.clone(),
                url: public_url(suite.base()),
                signed_by: suite.signer().to_owned(),
            });
        }
        offer::newest_first(&mut offer.kernels);
        offer.total = offer.kernels.len();
        let patterns: Vec<GlobMatcher> = self.kernel.iter().map(Glob::compile_matcher).collect();
        Selection { patterns, newest: self.limit }.apply(&mut offer.kernels);
        Ok(offer)
    }

    /// Whether a pattern was given, so that finding nothing means something.
    pub(crate) fn selects(&self) -> bool {
        !self.kernel.is_empty()
    }

    /// The patterns, for messages.
    pub(crate) fn patterns(&self) -> String {
        self.kernel.iter().map(Glob::glob).collect::<Vec<_>>().join(", ")
    }

    fn addresses(&self, suite: &str) -> anyhow::Result<Vec<Address>> {
        let Some(mirror) = &self.mirror else { return Ok(AptSources::of_this_machine()?.addresses(suite)?) };
        if !matches!(mirror.scheme(), "http" | "https") {
            bail!("{}: --mirror takes an http or https address", public_url(mirror));
        }
        let mut base = mirror.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(vec![Address { base, check_valid_until: true }])
    }
}

/// The suite of a Debian machine.
fn suite_of_this_machine() -> anyhow::Result<String> {
    let text = OsRelease::PATHS.iter().find_map(|path| std::fs::read_to_string(path).ok());
    let os = OsRelease::parse(&text.unwrap_or_default());
    os.version_codename
        .filter(|_| os.id == "debian")
        .context("this machine does not run Debian: name a suite with --suite")
}

/// A client and the runtime that its downloads run on.
pub(crate) fn network() -> anyhow::Result<(tokio::runtime::Runtime, fetch::Client)> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let client = fetch::Client::new(runtime.handle().clone(), fetch::Options::default())?;
    Ok((runtime, client))
}

/// The exit code of an error: 3 for what does not exist, 4 for what was refused, else 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let code = match error.downcast_ref::<debian::Error>() {
        Some(error) if error.is_refusal() => 4,
        Some(error) if error.is_not_found() => 3,
        _ => 1,
    };
    ExitCode::from(code)
}

/// Prints to stdout; a reader that has left is an error like any other, not a panic.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write to standard output")
}

/// A size for people, in bytes of powers of ten, as package tools print it.
pub(crate) fn human_size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
