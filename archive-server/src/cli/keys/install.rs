//! `keys install`, `add`, `rotate`, `revoke`: the list of keys in an archive.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use btf_archive::reader::RootArgs;
use btf_archive::store::Archive;
use btf_archive::trust::{
    KeyId, KeyList, MAX_KEYS, MAX_SIGNATURE, Policy, PublicKey, SigningKey, signature_path,
};

use super::super::archive::{ArchiveArgs, SigningArgs};
use super::files::{RootSecretArgs, public_path};
use super::make::make_snapshot_key;
use super::now;
use super::sign::{TimeArgs, read, sign};

/// Put a list of keys, which the root signed elsewhere (`keys root sign`), into the archive.
///
/// Its signature, FILE.minisig, is checked against --root-key first, and its version must be higher than that of the list there.
/// Where the newest snapshot has no signature that the new list would make good, it is signed anew, with --signing-key. The archive
/// is made if there is none.
#[derive(clap::Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    roots: RootArgs,
    #[command(flatten)]
    signing: SigningArgs,
    /// The list of keys.
    file: PathBuf,
}

/// Add a snapshot key to the archive's list, or give one more time; with the root's secret key at hand.
#[derive(clap::Args)]
pub(super) struct AddArgs {
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    root: RootSecretArgs,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    time: TimeArgs,
    /// The snapshot key: a public key (RWQ…), or a file with it.
    #[arg(required = true, value_name = "KEY|FILE")]
    keys: Vec<String>,
}

/// Make a new snapshot key, add it to the archive's list, and sign the newest snapshot with it.
///
/// The keys before it stay valid until they expire, for mirrors that are behind.
#[derive(clap::Args)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    root: RootSecretArgs,
    #[command(flatten)]
    time: TimeArgs,
    /// The new secret key's file. It must not exist.
    file: PathBuf,
}

/// Revoke a snapshot key: readers refuse whatever it signed, and when.
///
/// If it signed the newest snapshot, that is signed anew with --signing-key, which must be another one of the list.
#[derive(clap::Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    root: RootSecretArgs,
    #[command(flatten)]
    signing: SigningArgs,
    /// The key's id, as `keys list` shows it.
    id: KeyId,
    /// Why. Everybody can read it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn install(args: InstallArgs) -> Result<()> {
    let policy = args.roots.policy()?.context("which root signed it? --root-key KEY|FILE")?;
    let json = read(&args.file, MAX_KEYS)?;
    let signature = read(signature_path(&args.file.to_string_lossy()).as_ref(), MAX_SIGNATURE)?;
    // Before an archive is made for it.
    policy.check_keys(&json, &signature, &Default::default())?;
    let mut archive = args.archive.create().await.context("cannot open the archive")?;
    args.signing.sign(&mut archive)?;
    told(&archive.install_keys(&policy, &json, &signature).await?);
    Ok(())
}

pub(super) async fn add(args: AddArgs) -> Result<()> {
    let mut archive = args.archive.create().await.context("cannot open the archive")?;
    args.signing.sign(&mut archive)?;
    let keys: Result<Vec<_>, _> = args.keys.iter().map(|key| PublicKey::load(key)).collect();
    let mut list = next(&archive).await?;
    for key in keys? {
        let (from, until) = args.time.span();
        list.add(key, from, until)?;
    }
    install_signed(&archive, &args.root.read()?, &list).await
}

pub(super) async fn rotate(args: RotateArgs) -> Result<()> {
    let mut archive = args.archive.open().await.context("cannot open the archive")?;
    let root = args.root.read()?;
    let mut list = next(&archive).await?;
    let public = make_snapshot_key(&args.file)?;
    let (from, until) = args.time.span();
    list.add(public.clone(), from, until)?;
    archive.sign_with(SigningKey::load_plain(&args.file)?);
    if let Err(error) = install_signed(&archive, &root, &list).await {
        // A key that nobody knows is no use; one that made it into the list is.
        let listed = archive.key_list().await.ok().flatten();
        if listed.is_none_or(|list| list.keys.iter().all(|key| key.id != public.id())) {
            let _ = std::fs::remove_file(&args.file);
            let _ = std::fs::remove_file(public_path(&args.file));
        }
        return Err(error);
    }
    archive.sign_newest().await?;
    println!("{public}");
    Ok(())
}

pub(super) async fn revoke(args: RevokeArgs) -> Result<()> {
    let mut archive = args.archive.open().await.context("cannot open the archive")?;
    args.signing.sign(&mut archive)?;
    let mut list = next(&archive).await?;
    list.revoke(args.id, now(), &args.reason)?;
    install_signed(&archive, &args.root.read()?, &list).await
}

/// The list that follows the archive's.
async fn next(archive: &Archive) -> Result<KeyList> {
    Ok(match archive.key_list().await? {
        Some(list) => list.next(now()),
        None => KeyList::new(now()),
    })
}

async fn install_signed(archive: &Archive, root: &SigningKey, list: &KeyList) -> Result<()> {
    let (json, signature) = sign(root, list)?;
    // The list there must be the same root's: its readers pinned that one.
    let policy = Policy::new(vec![root.public().clone()]);
    if let Ok(before) = archive.keys_json().await {
        let signature = archive.signature(btf_archive::trust::KEYS).await?;
        policy.check_keys(&before, &signature, &Default::default())?;
    }
    told(&archive.install_keys(&policy, &json, signature.as_bytes()).await?);
    Ok(())
}

fn told(list: &KeyList) {
    println!("list {}: {} keys, {} revoked", list.version, list.keys.len(), list.revoked.len());
}
