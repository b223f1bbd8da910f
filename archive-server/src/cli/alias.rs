//! `btf-archive-server alias`: other names for kernels.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use btf_archive::Key;
use serde_json::{Value, json};

use super::NOT_FOUND;
use super::archive::ArchiveArgs;

/// Give kernels of an archive other names, by which this archive's service finds them too.
///
/// Names are keys: os-release's ID and VERSION_ID, architecture, `uname -r`. Snapshots, mirrors and bundles have kernels under their own keys only.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Let ALIAS stand for the kernel KEY.
    Add {
        #[command(flatten)]
        archive: ArchiveArgs,
        /// The other name: a key that no kernel has.
        alias: Key,
        /// The kernel's own key.
        key: Key,
    },
    /// Take a name away again.
    Remove {
        #[command(flatten)]
        archive: ArchiveArgs,
        /// The other name.
        alias: Key,
    },
    /// List the other names and what they stand for.
    List {
        #[command(flatten)]
        archive: ArchiveArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let context = "cannot open the archive";
    match args.command {
        Command::Add { archive, alias, key } => {
            archive.open().await.context(context)?.catalog().add_alias(&alias, &key).await?;
            println!("{alias} stands for {key}");
        }
        Command::Remove { archive, alias } => {
            if !archive.open().await.context(context)?.catalog().remove_alias(&alias).await? {
                eprintln!("btf-archive-server: {alias} is no alias: `alias list` shows them");
                return Ok(ExitCode::from(NOT_FOUND));
            }
            println!("removed {alias}");
        }
        Command::List { archive, json } => {
            let aliases = archive.open().await.context(context)?.catalog().aliases().await?;
            if json {
                let values = aliases.iter().map(|(alias, key)| json!({ "alias": alias, "key": key }));
                println!("{}", Value::Array(values.collect()));
            } else {
                aliases.iter().for_each(|(alias, key)| println!("{alias}  {key}"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
