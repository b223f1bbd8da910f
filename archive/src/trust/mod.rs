//! Who may say what an archive holds: a root key, the list of keys that it signs, and snapshots signed by one of those.
//!
//! - The *root* is a key pair that lies off line. Readers know its public half beforehand: they *pin* it.
//! - `keys.json` is the [`KeyList`]: the snapshot keys, each valid for some time, and those that were revoked. The root
//!   signs it (`keys.json.minisig`); its version only grows.
//! - A snapshot key lies on the machine that publishes. It signs the index of each snapshot
//!   (`snapshots/000042.json.zst.minisig`), and everything else is named by digest from there.
//!
//! `latest.json` is what its snapshot's index makes it, to the byte, so [`Policy::check_snapshot`] needs no signature of
//! its own for it; one is written all the same (`latest.json.minisig`), for people with `minisign`.
//!
//! Keys and signatures have minisign's formats. All of this is pure, bytes in and verdicts out, but for [`Seen`], which
//! is kept in a small file. The book describes it for others in `reference/snapshots.md`, and why it is so in
//! `explanation/trust.md`.

mod error;
mod keys;
mod minisign;
mod newest;
mod policy;
mod seen;
#[cfg(feature = "sign")]
mod signing;
#[cfg(all(test, feature = "sign"))]
mod tests;

pub use error::{Error, Result};
pub use keys::{KeyList, Revocation, SnapshotKey};
pub use minisign::{KeyId, PublicKey, Signature};
pub use newest::Fault;
pub use policy::{Checked, Expired, Policy};
pub use seen::{Seen, SeenFile};
#[cfg(feature = "sign")]
pub use signing::SigningKey;

/// The path of the key list in an archive.
pub const KEYS: &str = "keys.json";

/// The most bytes a key list may have.
pub const MAX_KEYS: usize = 256 << 10;

/// The most bytes a signature may have.
pub const MAX_SIGNATURE: usize = 4 << 10;

/// Where the signature of an object lies: `PATH.minisig`.
pub fn signature_path(path: &str) -> String {
    format!("{path}.minisig")
}

/// Where the signature of the key list of this version lies, whatever list is the newest: `keys/000003.json.minisig`.
///
/// While a new list is being written, `keys.json` and `keys.json.minisig` may be of different lists; this one fits then.
pub fn keys_signature_path(version: u64) -> String {
    format!("keys/{version:06}.json.minisig")
}

/// A small file's text, or why it cannot be had.
fn read_file(path: &std::path::Path) -> Result<String, String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_SIGNATURE as u64).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}
