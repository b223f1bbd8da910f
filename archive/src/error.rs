//! Why bytes or names could not be taken for what they claim to be.

use crate::Digest;

/// The result of this crate's pure functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why bytes or names could not be taken for what they claim to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that is no build-id.
    #[error("`{text}` is no build-id: {reason}")]
    BuildId {
        /// The text, cut to a printable length.
        text: String,
        /// What a build-id needs and this has not.
        reason: &'static str,
    },
    /// An ELF note section that does not hold together.
    #[error("ELF notes, offset {offset}: {reason}")]
    Notes {
        /// Bytes from the start of the notes.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Text that is no sha256 digest.
    #[error("`{text}` is no sha256 digest: it needs 64 hexadecimal digits")]
    Digest {
        /// The text, cut to a printable length.
        text: String,
    },
    /// A part of a kernel's key that cannot be one.
    #[error("kernel key: {part} `{text}` {reason}")]
    Key {
        /// `distro`, `version`, `arch`, `release`, or `key` for the whole.
        part: &'static str,
        /// The text, cut to a printable length.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Compressed bytes that cannot be decompressed.
    #[error("zstd: {reason}")]
    Zstd {
        /// The decoder's own words.
        reason: String,
    },
    /// Compressed bytes that hold more than the caller allows.
    #[error("decompresses to more than the allowed {limit} bytes")]
    TooLarge {
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// Bytes whose digest is not the promised one.
    #[error("sha256 is {found}, expected {expected}")]
    DigestMismatch {
        /// The digest that was promised.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// A bundle that is not one.
    #[error("bundle, offset {offset}: {reason}")]
    Bundle {
        /// Bytes from the start of the bundle.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A blob of modules that is not one.
    #[error("modules, offset {offset}: {reason}")]
    Modules {
        /// Bytes from its start.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A path that no object of an archive has.
    #[error("`{text}` is no object of an archive")]
    Path {
        /// The path, cut to a printable length.
        text: String,
    },
    /// A selection of kernels that makes no sense.
    #[error("selection: {reason}")]
    Selection {
        /// What is wrong with it.
        reason: String,
    },
    /// A volume of an export that is not one.
    #[error("export, offset {offset}: {reason}")]
    Volume {
        /// Bytes from the start of the file.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A delta that is not one, or not one on this base.
    #[error("delta: its {part}, offset {offset}, {reason}")]
    Delta {
        /// The stream, or another part.
        part: &'static str,
        /// Bytes from the start of that.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A snapshot or `latest.json` that is not one.
    #[error("{what}: {reason}")]
    Snapshot {
        /// `snapshot` or `latest.json`.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// At most the first 80 characters of hostile text, for a message, control characters escaped.
pub(crate) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut out: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}
