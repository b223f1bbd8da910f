//! Which repositories: the options that `kernels` and `sync` share, and the way from them to a list of kernels.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};
use btf_archive::{OsRelease, Trust, alias};
use btfgen::distro::{ClientCertificate, Distro, Distros, Release, Repository};
use btfgen::fetch::{self, public_url};
use btfgen::repo::index_cache::IndexCache;
use btfgen::repo::offer::{self, OfferedKernel};
use btfgen::repo::version::VersionOrder;
use btfgen::repo::{self, Opened, Reader};
use btfgen::sync::Selection;
use globset::{Glob, GlobMatcher};
use tokio::runtime::Handle;
use url::Url;

/// Repositories that are read at once.
const AT_ONCE: usize = 4;

/// Options that name repositories and choose among their kernels.
#[derive(clap::Args)]
pub(crate) struct RepositoryArgs {
    /// Distributions, or `all`; see --list-distros of `btfgen kernels` [default: those of --distros, else this machine's]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    distro: Vec<String>,
    /// Directory with definitions of one's own (*.toml), which add to those that are built in.
    #[arg(long, value_name = "DIR")]
    distros: Option<PathBuf>,
    /// Versions, suites or repositories of them: 12, bookworm, bookworm-backports, sid, 9-debug, or `all` [default: this machine's version; of other
    /// distributions all]
    #[arg(long, value_name = "SUITE", value_delimiter = ',')]
    suite: Vec<String>,
    /// Architectures, in the distribution's or the kernel's spelling: i386, amd64 or x86_64, arm64 or aarch64, …, or `all` [default: this machine's]
    #[arg(long, value_name = "ARCH", value_delimiter = ',')]
    arch: Vec<String>,
    /// Only kernels whose release (uname -r) matches this glob, such as '6.1.*-686-pae'; may be repeated.
    #[arg(long, value_name = "PATTERN", value_parser = Glob::new)]
    kernel: Vec<Glob>,
    /// Only the newest N releases of each flavour and source package.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Address of a Debian repository: the directory of dists/ and pool/ [default: the definition's; for Debian, from this machine's apt
    /// sources]
    #[arg(long, value_name = "URL")]
    mirror: Option<Url>,
    /// OpenPGP keyring with the keys that must have signed the repositories [default: what the definition names]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// Take a Release file past its Valid-Until, and signatures of keys that have expired since.
    #[arg(long)]
    allow_expired: bool,
}

/// What repositories offer, after selection.
pub(crate) struct Offer {
    pub(crate) suites: Vec<OpenedSuite>,
    /// Newest first.
    pub(crate) kernels: Vec<OfferedKernel>,
    /// Kernels before selection.
    pub(crate) total: usize,
    /// Repositories that could not be read, while others could.
    pub(crate) failed: Vec<FailedRepository>,
}

/// A repository as it was found.
#[derive(serde::Serialize)]
pub(crate) struct OpenedSuite {
    pub(crate) distro: String,
    /// Its suite or name.
    pub(crate) suite: String,
    pub(crate) url: String,
    /// Fingerprint of the key that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signed_by: Option<String>,
    /// The level that its descriptions of packages reach.
    pub(crate) trust: Trust,
}

/// A repository that could not be read.
#[derive(serde::Serialize)]
pub(crate) struct FailedRepository {
    pub(crate) distro: String,
    pub(crate) suite: String,
    pub(crate) reason: String,
    /// `refused`, `missing` or, for whatever may be otherwise tomorrow, `failed`.
    pub(crate) kind: &'static str,
}

impl FailedRepository {
    fn new(distro: &Distro, suite: String, error: &anyhow::Error) -> Self {
        let kind = match exit_code(error) {
            code if code == ExitCode::from(4) => "refused",
            code if code == ExitCode::from(3) => "missing",
            _ => "failed",
        };
        Self { distro: distro.id.clone(), suite, reason: super::message(error), kind }
    }
}

/// A repository to be read.
struct Chosen<'d> {
    distro: &'d Distro,
    release: Release,
    repository: Repository,
}

impl RepositoryArgs {
    /// The definitions, those of `--distros` included.
    pub(crate) fn definitions(&self) -> anyhow::Result<Distros> {
        Ok(match &self.distros {
            Some(dir) => Distros::with(dir)?,
            None => Distros::shipped()?,
        })
    }

    /// Reads every repository that is chosen, for every architecture, and selects.
    ///
    /// One that cannot be read does not keep the others from being read, unless none can.
    pub(crate) fn offer(&self, client: &fetch::Client, runtime: &Handle) -> anyhow::Result<Offer> {
        let distros = self.definitions()?;
        let chosen = self.choose(&distros)?;
        if let Some(mirror) = self.mirror.as_ref().filter(|url| !matches!(url.scheme(), "http" | "https")) {
            bail!("{}: --mirror takes an http or https address", public_url(mirror));
        }
        if let Some(path) = &self.keyring {
            // Said once, and before anything is fetched.
            btfgen::repo::keyring::Keyring::open(path)?;
        }
        let read = self.read_all(client, runtime, &chosen);

        let mut offer = Offer { suites: Vec::new(), kernels: Vec::new(), total: 0, failed: Vec::new() };
        let mut first_error = None;
        let mut missing = Vec::new();
        let mut parts: Vec<(&Distro, Vec<repo::Parts>)> = Vec::new();
        for (Chosen { distro, repository, .. }, outcome) in chosen.iter().zip(read) {
            let opened = match outcome {
                Ok(opened) => opened,
                Err(error) => {
                    offer.failed.push(FailedRepository::new(distro, repository.name.clone(), &error));
                    first_error.get_or_insert(error);
                    continue;
                }
            };
            for (arch, error) in opened.failed {
                let suite = format!("{} {arch}", repository.name);
                offer.failed.push(FailedRepository::new(distro, suite, &error.into()));
            }
            opened.warnings.iter().for_each(|warning| eprintln!("btfgen: warning: {warning}"));
            missing.extend(opened.missing);
            if opened.url.is_empty() {
                continue; // it has none of the architectures
            }
            match parts.iter_mut().find(|(known, _)| known.id == distro.id) {
                Some((_, parts)) => parts.extend(opened.parts),
                None => parts.push((distro, opened.parts)),
            }
            offer.suites.push(OpenedSuite {
                distro: distro.id.clone(),
                suite: opened.repository,
                url: opened.url,
                signed_by: opened.signed_by,
                trust: opened.trust,
            });
        }
        if let Some(error) = first_error.take_if(|_| offer.suites.is_empty() && offer.failed.len() == 1) {
            return Err(error);
        }
        for FailedRepository { distro, suite, reason, .. } in &offer.failed {
            eprintln!("btfgen: {distro} {suite}: {reason}");
        }
        if let Some(error) = first_error.filter(|_| offer.suites.is_empty()) {
            return Err(
                error.context(format!("none of {} repositories can be read; the first", offer.failed.len()))
            );
        }
        let has = |arch: &str| parts.iter().any(|(_, parts)| parts.iter().any(|parts| parts.arch() == arch));
        let all = self.arch.iter().any(|arch| arch == "all");
        if let Some(at) = missing.iter().position(|(arch, _)| !all && !has(arch)) {
            return Err(missing.swap_remove(at).1.into());
        }
        offer.kernels = parts.into_iter().flat_map(|(distro, parts)| repo::kernels(distro, parts)).collect();
        offer::newest_first(&mut offer.kernels);
        offer.total = offer.kernels.len();
        let patterns: Vec<GlobMatcher> = self.kernel.iter().map(Glob::compile_matcher).collect();
        Selection { patterns, newest: self.limit }.apply(&mut offer.kernels);
        Ok(offer)
    }

    /// Reads them, several at once, each on a thread: to unpack an index takes longer than to fetch it.
    fn read_all(
        &self,
        client: &fetch::Client,
        runtime: &Handle,
        chosen: &[Chosen<'_>],
    ) -> Vec<anyhow::Result<Opened>> {
        let next = AtomicUsize::new(0);
        let read = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..chosen.len().min(AT_ONCE) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(one) = chosen.get(number) else { break };
                        let outcome = runtime.block_on(self.read(client, one));
                        read.lock().unwrap_or_else(PoisonError::into_inner).push((number, outcome));
                    }
                });
            }
        });
        let mut read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
        read.sort_by_key(|(number, _)| *number);
        read.into_iter().map(|(_, outcome)| outcome).collect()
    }

    async fn read(&self, client: &fetch::Client, chosen: &Chosen<'_>) -> anyhow::Result<Opened> {
        let Chosen { distro, release, repository } = chosen;
        let certificate = distro.client_certificate.as_ref().and_then(ClientCertificate::installed);
        let client = match certificate {
            Some(certificate) => certificate.client(client).map_err(anyhow::Error::msg)?,
            None => client.clone(),
        };
        let reader = Reader {
            client: &client,
            cache: IndexCache::of_user(),
            keyring: self.keyring.clone(),
            mirror: self.mirror.clone(),
            allow_expired: self.allow_expired,
        };
        Ok(reader.read(distro, release, repository, &self.arches(distro)?).await?)
    }

    /// Architectures as in keys.
    fn arches(&self, distro: &Distro) -> anyhow::Result<Vec<String>> {
        if self.arch.iter().any(|arch| arch == "all") {
            return Ok(distro.architectures.iter().map(|(own, _)| own.clone()).collect());
        }
        let asked =
            if self.arch.is_empty() { vec![std::env::consts::ARCH.to_owned()] } else { self.arch.clone() };
        // A suite may have architectures that its definition does not know yet; of others there is no name for them.
        let arches = asked.iter().map(|arch| alias::arch(arch));
        let known =
            |arch: &String| distro.packaging == VersionOrder::Deb || distro.index_arch(arch).is_some();
        let arches: Vec<String> = arches.filter(known).collect();
        if arches.is_empty() {
            let has: Vec<&str> = distro.architectures.iter().map(|(own, _)| own.as_str()).collect();
            return Err(NotThere(format!(
                "{} has no {}; it has {}",
                distro.name,
                asked.join(", "),
                has.join(", ")
            ))
            .into());
        }
        Ok(arches)
    }

    fn choose<'d>(&self, distros: &'d Distros) -> anyhow::Result<Vec<Chosen<'d>>> {
        let host = host();
        let chosen = self.chosen_distros(distros, &host)?;
        let mut out = Vec::new();
        let mut add = |distro: &'d Distro, release: &Release, repository: &Repository| {
            out.push(Chosen { distro, release: release.clone(), repository: repository.clone() });
        };
        if self.suite.is_empty() {
            for distro in chosen {
                let at_home = alias::distro(&host.id) == distro.id && self.distros.is_none();
                let of_host = |release: &&Release| {
                    [&host.version_id, &host.version_codename]
                        .into_iter()
                        .flatten()
                        .any(|name| release.is_called(&distro.id, name))
                };
                let release = distro.releases.iter().find(of_host).filter(|_| at_home);
                if at_home && release.is_none() {
                    bail!(
                        "this machine runs a version of {} that is not known: name a suite with --suite",
                        distro.name
                    );
                }
                for release in distro
                    .releases
                    .iter()
                    .filter(|own| release.is_none_or(|only| only.version == own.version))
                {
                    release.repositories.iter().for_each(|repository| add(distro, release, repository));
                }
            }
            return Ok(out);
        }
        for suite in &self.suite {
            let mut found = false;
            for distro in &chosen {
                let all = || {
                    distro
                        .releases
                        .iter()
                        .flat_map(|release| release.repositories.iter().map(move |of| (release, of)))
                };
                let named = |of: &Repository| of.name == *suite || of.suite.as_deref() == Some(suite);
                let by_name: Vec<_> = all().filter(|(_, of)| suite == "all" || named(of)).collect();
                let by_version = || all().filter(|(release, _)| release.is_called(&distro.id, suite));
                let matching = if by_name.is_empty() { by_version().collect() } else { by_name };
                found |= !matching.is_empty();
                for (release, repository) in matching {
                    add(distro, release, repository);
                }
            }
            if found {
                continue;
            }
            // Debian's suites are more than definitions list: stable, bookworm-proposed-updates, rc-buggy.
            let deb = chosen.iter().find(|distro| distro.packaging == VersionOrder::Deb);
            let model = deb.and_then(|distro| {
                let mut repositories = distro.releases.iter().flat_map(|release| &release.repositories);
                repositories.find(|repository| repository.apt).map(|model| (distro, model))
            });
            let Some((distro, model)) = model else {
                let ids: Vec<&str> = chosen.iter().map(|distro| distro.id.as_str()).collect();
                return Err(NotThere(format!(
                    "there is no version or repository {suite} of {}; see `btfgen kernels --list-distros`",
                    ids.join(", ")
                ))
                .into());
            };
            let repository = model.of_suite(suite);
            add(
                distro,
                &Release { version: String::new(), names: Vec::new(), repositories: Vec::new() },
                &repository,
            );
        }
        Ok(out)
    }

    fn chosen_distros<'d>(&self, distros: &'d Distros, host: &OsRelease) -> anyhow::Result<Vec<&'d Distro>> {
        if self.distro.iter().any(|name| name == "all") {
            return Ok(distros.all().iter().collect());
        }
        if self.distro.is_empty() {
            if self.distros.is_some() {
                return Ok(distros.all().iter().filter(|distro| !distro.shipped).collect());
            }
            // Whoever names a suite or a mirror elsewhere means Debian's.
            let own = distros.get(&host.id).or_else(|| distros.get("debian"));
            return Ok(own.into_iter().collect());
        }
        self.distro
            .iter()
            .map(|name| {
                distros.get(name).ok_or_else(|| {
                    let meant = distros
                        .nearest(name)
                        .map(|near| format!("; did you mean {near}?"))
                        .unwrap_or_default();
                    NotThere(format!(
                        "there is no distribution {name}{meant} (`btfgen kernels --list-distros` lists them)"
                    ))
                    .into()
                })
            })
            .collect()
    }

    /// Whether a pattern was given, so that finding nothing means something.
    pub(crate) fn selects(&self) -> bool {
        !self.kernel.is_empty()
    }

    /// The patterns, for messages.
    pub(crate) fn patterns(&self) -> String {
        self.kernel.iter().map(Glob::glob).collect::<Vec<_>>().join(", ")
    }
}

impl Offer {
    /// The exit code that repositories which could not be read ask for: 4 where one was refused, 5 where one failed, 3 where all of
    /// them are not there.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let any = |kind| self.failed.iter().any(|failed| failed.kind == kind);
        match () {
            () if any("refused") => ExitCode::from(4),
            () if any("failed") => ExitCode::from(5),
            () if any("missing") => ExitCode::from(3),
            () => ExitCode::SUCCESS,
        }
    }
}

/// What was asked for does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotThere(String);

/// The distribution of this machine.
fn host() -> OsRelease {
    let text = OsRelease::PATHS.iter().find_map(|path| std::fs::read_to_string(path).ok());
    OsRelease::parse(&text.unwrap_or_default())
}

/// A client and the runtime that its downloads run on.
pub(crate) fn network() -> anyhow::Result<(tokio::runtime::Runtime, fetch::Client)> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let client = fetch::Client::new(runtime.handle().clone(), fetch::Options::default())?;
    Ok((runtime, client))
}

/// The exit code of an error: 3 for what does not exist, 4 for what was refused, else 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let code = match error.downcast_ref::<repo::Error>() {
        Some(error) if error.is_refusal() => 4,
        Some(error) if error.is_not_found() => 3,
        None if error.downcast_ref::<NotThere>().is_some() => 3,
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
