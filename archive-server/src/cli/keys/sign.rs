//! `keys root sign`: the root signs the next list of keys, without any archive.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use btf_archive::trust::{KeyId, KeyList, MAX_KEYS, PublicKey, SigningKey, signature_path};

use super::files::{RootSecretArgs, write_new};
use super::now;

/// Sign the next list of keys, on a machine without a network.
///
/// Takes the archive's keys.json (--list; none for the first), changes it, and writes OUTPUT and OUTPUT.minisig, for
/// `keys install`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    root: RootSecretArgs,
    /// The list that the new one follows: the archive's keys.json
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    #[command(flatten)]
    change: Change,
    /// The new list's file. It must not exist, nor its .minisig.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// What is to change in a list of keys.
#[derive(clap::Args)]
struct Change {
    /// Add this snapshot key, a public key (RWQ…) or a file with it, or give it more time; may be repeated.
    #[arg(long, value_name = "KEY|FILE")]
    add: Vec<String>,
    #[command(flatten)]
    time: TimeArgs,
    /// Revoke the key of this id; may be repeated.
    #[arg(long, value_name = "ID", requires = "reason")]
    revoke: Vec<KeyId>,
    /// Why it is revoked. Everybody can read it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// How long a key is valid.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct TimeArgs {
    /// Days for which the key is valid, from now on.
    #[arg(long, value_name = "N", default_value_t = 180, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

impl TimeArgs {
    /// From when until when, in seconds since 1970 (UTC).
    pub(super) fn span(self) -> (u64, u64) {
        let now = now();
        (now, now + u64::from(self.days) * 86_400)
    }
}

pub(super) fn run(args: Args) -> Result<()> {
    let Args { root, list, change, output } = args;
    let mut next = match &list {
        Some(file) => KeyList::decode(&read(file, MAX_KEYS)?)?.next(now()),
        None => KeyList::new(now()),
    };
    for key in &change.add {
        let (from, until) = change.time.span();
        next.add(PublicKey::load(key)?, from, until)?;
    }
    for id in change.revoke {
        next.revoke(id, now(), change.reason.as_deref().unwrap_or_default())?;
    }
    let (json, signature) = sign(&root.read()?, &next)?;
    let signature_file = PathBuf::from(signature_path(&output.to_string_lossy()));
    write_new(&[(&output, &json, 0o644), (&signature_file, signature.as_bytes(), 0o644)])?;
    println!("list {}: {} keys, {} revoked", next.version, next.keys.len(), next.revoked.len());
    Ok(())
}

/// A list of keys as the archive has it, and the root's signature.
pub(super) fn sign(root: &SigningKey, list: &KeyList) -> Result<(Vec<u8>, String)> {
    let json = list.encode()?;
    let comment = format!("timestamp:{}\tfile:keys.json\tkeys:{}\thashed", now(), list.version);
    let signature = root.sign(&json, &comment)?;
    Ok((json, signature))
}

/// The bytes of a file, if there are not too many.
pub(super) fn read(file: &std::path::Path, limit: usize) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let open = std::fs::File::open(file).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    open.with_context(|| file.display().to_string())?;
    anyhow::ensure!(bytes.len() <= limit, "{}: larger than {limit} bytes", file.display());
    Ok(bytes)
}
