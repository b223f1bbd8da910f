//! `btf-archive-server add`: one BTF by hand.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use btf_archive::store::{Added, Error, KernelDraft};
use btf_archive::{BuildId, Key, Provenance, Source, Trust};
use btf_archive_server::intake::{self, Intake};
use serde_json::json;

use super::REFUSED;
use super::archive::{ArchiveArgs, SigningArgs};

/// Add the BTF of one kernel by hand, and publish a snapshot.
///
/// For kernels that no distribution has: your own, a vendor's. The archive is made if DIR is new or empty. A kernel that is
/// there already with other BTF is refused, with exit code 4.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    signing: SigningArgs,
    /// The kernel: os-release's ID and VERSION_ID, architecture, `uname -r`, as in debian/11/i386/5.10.0-30-686-pae.
    #[arg(long, value_name = "D/V/A/R")]
    key: Key,
    /// The kernel's GNU build-id, if FILE is not an ELF file that has it. Without one, only names find this kernel.
    #[arg(long, value_name = "HEX")]
    build_id: Option<BuildId>,
    /// Print the kernel's record as JSON.
    #[arg(long)]
    json: bool,
    /// Raw BTF (such as /sys/kernel/btf/vmlinux) or an ELF file with a .BTF section (a vmlinux).
    file: PathBuf,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let Args { archive: place, signing, key, build_id: told, json, file } = args;
    let Intake { btf, build_id } = match intake::read(&file) {
        Ok(intake) => intake,
        Err(error @ intake::Error::Io(_)) => return Err(error).with_context(|| file.display().to_string()),
        Err(error) => return Ok(refuse(anyhow::Error::new(error).context(file.display().to_string()))),
    };
    if let (Some(told), Some(found)) = (told, build_id)
        && told != found
    {
        let reason = format!("{}: has build-id {found}, not {told}", file.display());
        return Ok(refuse(anyhow::anyhow!(reason)));
    }
    let mut archive = place.create().await.context("cannot open the archive")?;
    signing.sign(&mut archive)?;
    archive.check_signing().await?;
    let provenance = Provenance {
        package: None,
        package_version: None,
        url: None,
        sha256: None,
        trust: Trust::None,
        source: Source::Upload,
        generator: concat!("btf-archive-server ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let draft = KernelDraft { key, build_id: told.or(build_id), provenance, digest: None };
    let added = match archive.add(draft, btf).await {
        Ok(added) => added,
        Err(error @ (Error::Conflict { .. } | Error::BuildIdConflict { .. })) => {
            return Ok(refuse(error.into()));
        }
        Err(error) => return Err(error).context(place.named()),
    };
    let published =
        archive.publish().await.context("the kernel is added, but no snapshot could be published")?;

    let record = added.record();
    let number = published.latest.number;
    if json {
        println!(
            "{}",
            json!({ "kernel": record, "new": matches!(added, Added::New(_)), "snapshot": number })
        );
        return Ok(ExitCode::SUCCESS);
    }
    let did = if matches!(added, Added::New(_)) { "added" } else { "already there:" };
    println!("{did} {}", record.key);
    println!("  sha256    {} ({} bytes, {} stored)", record.digest, record.raw_size, record.zst_size);
    match &record.build_id {
        Some(build_id) => println!("  build-id  {build_id}"),
        None => println!(
            "  build-id  unknown: only names find this kernel; add it again with --build-id to tell it"
        ),
    }
    println!("  snapshot  {number}");
    Ok(ExitCode::SUCCESS)
}

fn refuse(reason: anyhow::Error) -> ExitCode {
    eprintln!("btf-archive-server: refused: {reason:#}");
    ExitCode::from(REFUSED)
}
