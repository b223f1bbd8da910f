//! `btf-archive-server serve`: the HTTP service.

use std::io::{ErrorKind, Write as _};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use btf_archive::store::{Archive, Error};
use btf_archive_server::Options;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::archive::ArchiveArgs;

/// Serve an archive over HTTP.
///
/// Prints one line, `listening on URL`, on stdout when it can answer; the access log goes to stderr
/// (BTF_ARCHIVE_SERVER_LOG=access=off,info silences it). SIGTERM and SIGINT let downloads finish.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,
    /// Change nothing, not even the catalog: serve what the newest snapshot has, and what is published later.
    #[arg(long)]
    read_only: bool,
    /// Seconds between looks for snapshots that others published.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u32).range(1..))]
    refresh: u32,
    /// Read the whole archive again and again, this many bytes a second (as stored), and report what has rotted in the log and the metrics.
    #[arg(long, value_name = "BYTES")]
    scrub: Option<NonZeroU64>,
    /// Where to listen. Port 0 takes any free one.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8080",
        env = "BTF_ARCHIVE_SERVER_LISTEN"
    )]
    listen: String,
    /// Write the URL into this file when the service can answer; it is removed at the end.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Seconds until a request that got no answer yet is given up.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u32).range(1..))]
    request_timeout: u32,
    /// Seconds that downloads get to finish when the service stops.
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    shutdown_timeout: u32,
    /// The most connections at once; more wait.
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    // A file from a run that was killed must not look like ours.
    if let Some(file) = &args.ready_file {
        remove(file)?;
    }
    let opened = if args.read_only { args.archive.open_read_only().await } else { open(&args.archive).await };
    let archive = opened.with_context(|| {
        format!(
            "cannot open {}; `btfgen sync` or `btf-archive-server add` makes an archive",
            args.archive.named()
        )
    })?;
    let listener =
        TcpListener::bind(&args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    // Before the address is told: whoever learns it may stop us at once.
    let stop = stop_signal()?;
    let url = format!("http://{}", listener.local_addr()?);
    if let Some(file) = &args.ready_file {
        announce(file, &url)?;
    }
    {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "listening on {url}").and_then(|()| stdout.flush()).context("stdout")?;
    }
    let options = Options {
        deadline: Duration::from_secs(args.request_timeout.into()),
        grace: Duration::from_secs(args.shutdown_timeout.into()),
        connections: args.max_connections as usize,
        refresh: Duration::from_secs(args.refresh.into()),
        scrub: args.scrub,
    };
    btf_archive_server::serve(archive, listener, options, stop).await;
    if let Some(file) = &args.ready_file {
        remove(file)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the archive; where nothing may be written, to be read only.
async fn open(place: &ArchiveArgs) -> Result<Archive, Error> {
    match place.open().await {
        Err(Error::Io { path, source })
            if matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
        {
            let path = path.display();
            tracing::warn!("{path}: {source}: serving the newest snapshot of an archive that is only read");
            place.open_read_only().await
        }
        opened => opened,
    }
}

/// Ready when SIGTERM or SIGINT comes.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Writes the URL so that nobody can read half of it.
fn announce(file: &Path, url: &str) -> Result<()> {
    let context = || format!("ready file {}", file.display());
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(directory).with_context(context)?;
    writeln!(temporary, "{url}").with_context(context)?;
    temporary.as_file().sync_all().with_context(context)?;
    temporary.persist(file).with_context(context)?;
    Ok(())
}

fn remove(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("ready file {}", file.display()))
        }
        _ => Ok(()),
    }
}
