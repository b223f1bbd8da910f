//! Why an archive, or a key, is not trusted.

use super::KeyId;

/// The result of a check.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an archive, or a key, is not trusted. Times are in seconds since 1970 (UTC).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that is no key of minisign's.
    #[error("no {what}: {reason}")]
    Key {
        /// `public key` or `secret key`.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Bytes that are no signature of minisign's.
    #[error("{what}: no minisign signature: {reason}")]
    Signature {
        /// What it should sign.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no signature.
    #[error("{what} is not signed, and a root key is pinned: is this the archive that the key belongs to?")]
    Unsigned {
        /// What lacks one.
        what: &'static str,
    },
    /// The key list is signed by a key that is not pinned.
    #[error("keys.json is signed by {found}, which is not a pinned root key")]
    ForeignRoot {
        /// The key that signed it.
        found: KeyId,
    },
    /// A signature that was not made of these bytes by that key.
    #[error("{what}: the signature by key {key} does not fit: it was changed after it was signed")]
    Forged {
        /// What it should sign.
        what: &'static str,
        /// The key that it names.
        key: KeyId,
    },
    /// Signed by a key that the root did not list.
    #[error("{what} is signed by key {key}, which is not in the root's list of keys (version {version})")]
    UnknownKey {
        /// What is signed.
        what: &'static str,
        /// The key.
        key: KeyId,
        /// The list's version.
        version: u64,
    },
    /// Signed by a key that was revoked.
    #[error("{what} is signed by key {key}, which was revoked: {reason}")]
    Revoked {
        /// What is signed.
        what: &'static str,
        /// The key.
        key: KeyId,
        /// Why it was revoked, as the list says.
        reason: String,
    },
    /// Signed by a key whose time has passed.
    #[error("{what} is signed by key {key}, which expired on {}", date(*.expires))]
    Expired {
        /// What is signed.
        what: &'static str,
        /// The key.
        key: KeyId,
        /// When it expired.
        expires: u64,
    },
    /// Signed by a key whose time has not come.
    #[error("{what} is signed by key {key}, which is valid only from {} on: is the clock right?", date(*.not_before))]
    NotYetValid {
        /// What is signed.
        what: &'static str,
        /// The key.
        key: KeyId,
        /// When it begins to be valid.
        not_before: u64,
    },
    /// A key list that is none, or contradicts itself.
    #[error("keys.json: {reason}")]
    KeyList {
        /// What is wrong with it.
        reason: String,
    },
    /// Something older than what was seen there before.
    #[error(
        "{what} {offered} is offered, but {seen} was seen here before: an old copy is passed off as the newest"
    )]
    RolledBack {
        /// `snapshot` or `key list`.
        what: &'static str,
        /// The number offered.
        offered: u64,
        /// The highest number seen.
        seen: u64,
    },
    /// Another snapshot of a number that was seen before.
    #[error("snapshot {number} is another one than the snapshot {number} that was seen here before")]
    Forked {
        /// Their number.
        number: u64,
    },
    /// `latest.json` says something else than the signed snapshot.
    #[error("latest.json does not describe the signed snapshot that it names")]
    Latest,
    /// What is signed is not well-formed, or not what the one before it named.
    #[error(transparent)]
    Content(#[from] crate::Error),
    /// The file of what was seen before.
    #[error("{path}: {reason}", path = path.display())]
    Seen {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A day, as `2026-11-20`.
pub(super) fn date(seconds: u64) -> String {
    // Days to a date of the proleptic Gregorian calendar, in eras of 400 years that begin in March.
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, year) } else { (month - 9, year + 1) };
    format!("{}-{month:02}-{day:02}", era * 400 + year)
}
