//! The command line: what is said to whom, and with which exit code. One file per command.

mod exec;
mod get;
mod install;
mod prefetch;
mod status;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use btf_loader::{Address, Class, Error, Identity, Settings};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

/// Find the BTF of the running kernel, or fetch it from an archive
///
/// Looked at in this order: the kernel itself (/sys/kernel/btf/vmlinux), the files where libbpf looks too
/// (/boot/vmlinux-R and so on), bundles and directories of --from, the cache, the archives. What is found elsewhere than in the kernel is matched by the
/// kernel's build-id, or else by its name, and verified.
#[derive(Parser)]
#[command(name = "btf-fetch", version, after_long_help = ENVIRONMENT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const ENVIRONMENT: &str = "\
Environment:
  BTF_ARCHIVE_URLS        addresses of archives, separated by spaces, asked in order
  BTF_ARCHIVE_CACHE_PATH  where downloads are kept; else /var/cache/btf-archive for root,
                          $XDG_CACHE_HOME/btf-archive or ~/.cache/btf-archive for others
  BTF_ARCHIVE_KEYS        root keys, or files with them, separated by spaces: only signed archives are believed then
  BTF_ARCHIVE_EXPIRED     what to do about expired keys: refuse (the default), or warn where no new one can come
  BTF_ARCHIVE_PATH        bundles and directories on disk, separated by colons, asked before the cache
  BTF_ARCHIVE_TIMEOUT     seconds that one archive may take (30)
  BTF_ARCHIVE_MAXTIME     seconds that all archives may take together (90)
  BTF_ARCHIVE_MAXSIZE     the largest BTF taken, in bytes (64M)
  BTF_ARCHIVE_CACHE_SIZE  how many bytes the cache keeps (256M)
  BTF_ARCHIVE_MISSES      seconds for which it is remembered that an archive has no BTF (600); 0: not at all
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY
                          proxies, as in other programs
  SSL_CERT_FILE, SSL_CERT_DIR
                          certificate authorities, instead of the system's

Exit codes:
  0  done
  1  failed: could not be found out, or a file could not be written
  2  wrong usage, on the command line or in an environment variable
  3  not found: nobody asked has the BTF of this kernel
  4  refused: something was found and must not be used (another kernel's, damaged, too large)";

#[derive(Subcommand)]
enum Command {
    Get(get::Options),
    Status(status::Options),
    Install(install::Options),
    Uninstall(install::Removal),
    Exec(exec::Options),
    Prefetch(prefetch::Options),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where to look and how far to go.
#[derive(Args)]
struct Places {
    /// Ask this archive; may be repeated, in order [env: BTF_ARCHIVE_URLS]
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<Address>,
    /// Believe only what this root key vouches for: minisign's public key (RWQ…), or a file with it; may be repeated
    /// [env: BTF_ARCHIVE_KEYS]
    #[arg(long = "root-key", value_name = "KEY|FILE")]
    roots: Vec<String>,
    /// Look into this bundle or directory before the cache; may be repeated [env: BTF_ARCHIVE_PATH]
    #[arg(long = "from", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Keep downloads in this directory [env: BTF_ARCHIVE_CACHE_PATH]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Give each archive this long [env: BTF_ARCHIVE_TIMEOUT] [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = Settings::parse_timeout)]
    timeout: Option<std::time::Duration>,
    /// Look for the host's files below this directory (in a container: the mount of the host's root)
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Refuse what is matched by name rather than by build-id
    #[arg(long)]
    exact: bool,
}

impl Places {
    /// The environment's settings, as far as the command line does not say otherwise.
    fn settings(self) -> Result<Settings, Error> {
        let mut settings = Settings::from_env()?;
        if !self.urls.is_empty() {
            settings.urls = self.urls;
        }
        if !self.roots.is_empty() {
            let value = self.roots.join(" ");
            let refuse = |reason| Error::Setting { name: "--root-key", value: value.clone(), reason };
            settings.roots = Settings::parse_roots(&value).map_err(refuse)?;
        }
        if !self.paths.is_empty() {
            settings.paths = self.paths;
        }
        settings.cache = self.cache.or(settings.cache);
        settings.timeout = self.timeout.unwrap_or(settings.timeout);
        settings.root = self.root;
        settings.exact_only = self.exact;
        Ok(settings)
    }
}

pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Get(options) => get::run(options),
        Command::Status(options) => status::run(options),
        Command::Install(options) => install::run(options),
        Command::Uninstall(options) => install::remove(options),
        Command::Exec(options) => exec::run(options),
        Command::Prefetch(options) => prefetch::run(options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "btf-fetch", &mut script);
            io::stdout().write_all(&script).map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
    };
    result.unwrap_or_else(|error| {
        // Who closed the pipe wants no more, not even a complaint.
        let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        if error.downcast_ref().is_some_and(closed) {
            return ExitCode::SUCCESS;
        }
        eprintln!("btf-fetch: {error:#}");
        ExitCode::from(error.downcast_ref().map_or(1, exit_code))
    })
}

/// The exit code for an error of the library.
fn exit_code(error: &Error) -> u8 {
    match (error, error.class()) {
        (Error::Setting { .. }, _) => 2,
        (_, Class::Failed) => 1,
        (_, Class::NotFound) => 3,
        (_, Class::Refused) => 4,
    }
}

/// How BTF was recognised, for people.
fn matched(identity: Identity) -> &'static str {
    match identity {
        Identity::Exact => "exact match",
        Identity::ByName => "match by name",
    }
}

/// Bytes for people.
fn bytes(count: usize) -> String {
    match count {
        0..1_000 => format!("{count} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}
