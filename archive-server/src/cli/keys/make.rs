//! `keys root new`, `keys new`, `keys export`: key pairs as files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use btf_archive::trust::{PublicKey, SigningKey};

use super::files::{PasswordArgs, public_path, write_new};

/// Make a root key: FILE, encrypted with a password, and FILE.pub.
///
/// Keep FILE where no network goes, and a copy of it elsewhere: without it no key can be added or revoked any more. Give FILE.pub, or the
/// line that is printed, to everybody who reads the archive.
#[derive(clap::Args)]
pub(super) struct RootArgs {
    /// The new secret key's file. It must not exist.
    file: PathBuf,
    /// Do not encrypt it: only for tests.
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
    #[command(flatten)]
    password: PasswordArgs,
}

/// Make a snapshot key: FILE, not encrypted, because a service signs with it, and FILE.pub, for the root's list.
#[derive(clap::Args)]
pub(super) struct NewArgs {
    /// The new secret key's file. It must not exist.
    file: PathBuf,
}

/// Print the public half of a secret key.
#[derive(clap::Args)]
pub(super) struct ExportArgs {
    /// The secret key's file.
    file: PathBuf,
    #[command(flatten)]
    password: PasswordArgs,
}

pub(super) fn root(args: RootArgs) -> Result<()> {
    let password = if args.no_password { None } else { Some(args.password.new_password()?) };
    let public = make(&args.file, "BTF archive: root secret key", password.as_deref())?;
    println!("{public}");
    Ok(())
}

pub(super) fn new(args: NewArgs) -> Result<()> {
    let public = make_snapshot_key(&args.file)?;
    println!("{public}");
    Ok(())
}

pub(super) fn export(args: ExportArgs) -> Result<()> {
    println!("{}", args.password.read(&args.file)?.public());
    Ok(())
}

/// Makes a snapshot key in a file, and its public half beside it.
pub(super) fn make_snapshot_key(file: &Path) -> Result<PublicKey> {
    make(file, "BTF archive: snapshot secret key", None)
}

fn make(file: &Path, comment: &str, password: Option<&str>) -> Result<PublicKey> {
    let (secret, public) = SigningKey::generate(comment, password)?;
    let text = public.to_file();
    write_new(&[(file, secret.as_bytes(), 0o600), (&public_path(file), text.as_bytes(), 0o644)])?;
    Ok(public)
}
