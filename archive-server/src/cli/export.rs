//! `btf-archive-server export`: an archive as files to be carried.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use btf_archive::store::{self, Archive};
use btf_archive_server::export::{self, Request, Written};

use super::archive::ArchiveArgs;
use super::selection::{SelectionArgs, bytes};
use super::{INCOMPLETE, REFUSED, progress};

/// Write an archive, or what is new in it, to files: for machines that no network reaches.
///
/// The same snapshot gives the same bytes. `import` takes `volumes` and `oci`. Exit code 5: the archive lacks blobs that were asked for; 4: some have
/// rotted.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,
    /// Write to this file, or into this directory (--layout static, oci and btfhub).
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Layout::Volumes)]
    layout: Layout,
    /// Only what is new since this snapshot, which the other side has.
    #[arg(long, value_name = "NUMBER")]
    since: Option<u64>,
    /// Split into files of at most so many bytes: 650M, 4G. Each has a number in its name, and can be imported by itself.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_size: Option<u64>,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Layout {
    /// A tar file with a manifest, or several.
    Volumes,
    /// A directory with every blob whole, for any web server.
    Static,
    /// An OCI image layout, which `skopeo copy oci:DIR:latest …` brings into a registry.
    Oci,
    /// DISTRO/VERSION/ARCH/RELEASE.btf.tar.xz, as BTFHub has it.
    Btfhub,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let Args { archive: place, output, layout, since, max_size, selection, json } = args;
    if since.is_some() && matches!(layout, Layout::Static | Layout::Btfhub) {
        bail!("--since: only volumes and oci layouts can build on a snapshot");
    }
    if max_size.is_some() && matches!(layout, Layout::Static | Layout::Btfhub) {
        bail!("--max-size: only volumes and the layers of oci layouts can be split");
    }
    let request = Request { since, selection: selection.read()?, max_size };
    let archive = place.open_read_only().await?;
    let bar = progress::bar("objects");
    let written = write(&archive, layout, &request, &output, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    let written = written.await;
    bar.finish_and_clear();
    let written = match written {
        Ok(written) => written,
        Err(error) => return fail(error),
    };
    written
        .lacking
        .iter()
        .for_each(|host| eprintln!("btf-archive-server: the archive has no BTF for {host}"));
    if json {
        println!("{}", serde_json::to_string(&written)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Written { snapshot, since, kernels, files, bytes, .. } = &written;
    let what = since.map_or(String::new(), |since| format!(", what is new since {}", since.number));
    println!("snapshot {}{what}: {kernels} kernels, {bytes} bytes", snapshot.number);
    files.iter().for_each(|file| println!("{file}"));
    Ok(ExitCode::SUCCESS)
}

/// What lacks blobs is incomplete, what has rotted is refused.
fn fail(error: export::Error) -> Result<ExitCode> {
    let code = match &error {
        export::Error::Missing(_) => INCOMPLETE,
        export::Error::Object { .. } | export::Error::Archive(store::Error::Object { .. }) => REFUSED,
        _ => return Err(error.into()),
    };
    eprintln!("btf-archive-server: {error}");
    Ok(ExitCode::from(code))
}

async fn write(
    archive: &Archive,
    layout: Layout,
    request: &Request,
    output: &std::path::Path,
    progress: impl FnMut(u64, u64),
) -> Result<Written, export::Error> {
    match layout {
        Layout::Volumes => export::volumes::export(archive, request, output, progress).await,
        Layout::Static => export::tree::export(archive, request, output, progress).await,
        Layout::Oci => export::oci::export(archive, request, output, progress).await,
        Layout::Btfhub => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            export::btfhub::export(archive, request, output, cores, progress).await
        }
    }
}
