//! Why there is no BTF: every outcome as a type.
//!
//! Finding BTF means asking several places. Each place that had none, or had something unfit, leaves an [`Attempt`]
//! with its [`Reason`]; [`NoBtf`] carries them all. The [`Class`] of a reason is what a program's exit code, or a
//! metric, is made of.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use btf_archive::{BuildId, Digest, Key, trust};
use serde::{Deserialize, Serialize};

use crate::Address;

/// Somewhere BTF can come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Place {
    /// The running kernel itself (`/sys/kernel/btf/vmlinux`).
    Kernel {
        /// The file.
        path: PathBuf,
    },
    /// A file where libbpf looks too.
    File {
        /// The file, raw BTF or ELF.
        path: PathBuf,
    },
    /// A bundle built into the program.
    Embedded,
    /// A bundle, or a directory with BTF of several kernels, that the caller named.
    Given {
        /// The bundle or directory.
        path: PathBuf,
    },
    /// The cache of earlier downloads.
    Cache {
        /// The cache's directory.
        path: PathBuf,
    },
    /// An archive.
    Archive {
        /// Its address.
        url: Address,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { path } | Self::File { path } | Self::Given { path } => {
                write!(f, "{}", path.display())
            }
            Self::Embedded => f.write_str("built-in bundle"),
            Self::Cache { path } => write!(f, "cache {}", path.display()),
            Self::Archive { url } => write!(f, "{url}"),
        }
    }
}

/// A kernel that an archive names instead of the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its key.
    pub key: Key,
    /// Its build-id, where the archive knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<BuildId>,
}

/// Why one place did not give the BTF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// There is no such file or cache entry.
    #[error("nothing there")]
    Absent,
    /// An ELF file without types.
    #[error("ELF file without a .BTF section")]
    NoBtfSection,
    /// The archive, bundle or directory does not have this kernel.
    #[error("not in this archive{}{}", if *.remembered { " (as it said a while ago)" } else { "" }, named(", nearest", .nearest))]
    NotInArchive {
        /// The kernels it has that come closest.
        nearest: Vec<Candidate>,
        /// It was not asked now: this is what it said within [`Settings::miss_lifetime`](crate::Settings::miss_lifetime).
        remembered: bool,
    },
    /// The archive has the kernel, and not its configuration.
    #[error("it has the kernel, but not its configuration")]
    NoConfig,
    /// The archive has the kernel, and not its modules.
    #[error("it has the kernel, but not its modules")]
    NoModules,
    /// Several kernels answer the description.
    #[error("the description fits several kernels{}", named("", .candidates))]
    Ambiguous {
        /// Those kernels.
        candidates: Vec<Candidate>,
    },
    /// There is only a name to go by, and the caller insists on the build-id.
    #[error("only a name to go by, and an exact match was asked for")]
    NotExact,
    /// It has only the types that some programs need, and the caller wants all of the kernel's.
    #[error("minimised, and all of the kernel's types are needed")]
    Minimised,
    /// A cache entry that is not what was once written. It counts as missing and is replaced by the next download.
    #[error("damaged cache entry: {0}")]
    CacheDamaged(String),

    /// The bytes are not those that the archive promised.
    #[error("hash mismatch: sha256 is {found}, promised was {expected}")]
    HashMismatch {
        /// The digest promised.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// The BTF is of another kernel than the one asked for.
    #[error("wrong kernel: its {what} is {found}, expected {expected}")]
    WrongKernel {
        /// What differs: `build-id`, `byte order`.
        what: &'static str,
        /// As it should be.
        expected: String,
        /// As it is.
        found: String,
    },
    /// Not the BTF of a kernel.
    #[error("not the BTF of a kernel ({0})")]
    NotBtf(String),
    /// The archive is not signed as the pinned root keys ask, or is older than it was.
    #[error("not trusted: {0}")]
    Untrusted(#[from] trust::Error),
    /// More bytes than allowed.
    #[error("larger than the allowed {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },

    /// The archive could not be asked, or could not answer for the moment.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The archive did not answer in time.
    #[error("no complete answer within {} s", .after.as_secs_f32())]
    TimedOut {
        /// The time it was given.
        after: Duration,
    },
    /// Neither the service answers there nor is there a tree of files.
    #[error("no BTF archive there: is the address right?")]
    NotTheService,
    /// An answer that is not an archive's.
    #[error("unusable answer: {0}")]
    BadAnswer(String),
    /// Another process is downloading into the same cache and did not finish in time.
    #[error("another process holds the download lock {}", .0.display())]
    Busy(PathBuf),
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a reason means for the caller, from the mildest to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Nobody asked has it: asking again will not help until an archive adds it.
    NotFound,
    /// It could not be found out: asking again may help.
    Failed,
    /// Something was found and must not be used.
    Refused,
}

impl Reason {
    /// What the reason means for the caller.
    pub fn class(&self) -> Class {
        match self {
            Self::Absent
            | Self::NoBtfSection
            | Self::NotInArchive { .. }
            | Self::NoConfig
            | Self::NoModules
            | Self::Ambiguous { .. }
            | Self::NotExact
            | Self::Minimised
            | Self::CacheDamaged(_) => Class::NotFound,
            Self::Unreachable(_)
            | Self::TimedOut { .. }
            | Self::NotTheService
            | Self::BadAnswer(_)
            | Self::Busy(_)
            | Self::Io(_) => Class::Failed,
            Self::HashMismatch { .. }
            | Self::WrongKernel { .. }
            | Self::NotBtf(_)
            | Self::Untrusted(_)
            | Self::TooLarge { .. } => Class::Refused,
        }
    }

    /// A short name that never changes, for logs, metrics and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::NoBtfSection => "no-btf-section",
            Self::NotInArchive { .. } => "not-in-archive",
            Self::NoConfig => "no-config",
            Self::NoModules => "no-modules",
            Self::Ambiguous { .. } => "ambiguous",
            Self::NotExact => "not-exact",
            Self::Minimised => "minimised",
            Self::CacheDamaged(_) => "cache-damaged",
            Self::HashMismatch { .. } => "hash-mismatch",
            Self::WrongKernel { .. } => "wrong-kernel",
            Self::NotBtf(_) => "not-btf",
            Self::Untrusted(error) => match error {
                trust::Error::Expired { .. } => "expired-signature",
                trust::Error::Revoked { .. } => "revoked-key",
                trust::Error::Unsigned { .. } => "unsigned",
                trust::Error::RolledBack { .. } | trust::Error::Forked { .. } => "rolled-back",
                _ => "untrusted",
            },
            Self::TooLarge { .. } => "too-large",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut { .. } => "timed-out",
            Self::NotTheService => "no-archive",
            Self::BadAnswer(_) => "bad-answer",
            Self::Busy(_) => "busy",
            Self::Io(_) => "io",
        }
    }

    /// The kernels that an archive named instead.
    pub fn candidates(&self) -> &[Candidate] {
        match self {
            Self::NotInArchive { nearest: candidates, .. } | Self::Ambiguous { candidates } => candidates,
            _ => &[],
        }
    }
}

impl From<btf_archive::Error> for Reason {
    fn from(error: btf_archive::Error) -> Self {
        match error {
            btf_archive::Error::DigestMismatch { expected, found } => Self::HashMismatch { expected, found },
            btf_archive::Error::TooLarge { limit } => Self::TooLarge { limit },
            other => Self::BadAnswer(other.to_string()),
        }
    }
}

/// Candidates as the end of a message, the first few of them.
fn named(word: &str, candidates: &[Candidate]) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    for (number, candidate) in candidates.iter().take(SHOWN).enumerate() {
        text += if number == 0 { word } else { "," };
        text += if number == 0 { ": " } else { " " };
        text += &candidate.key.to_string();
    }
    if candidates.len() > SHOWN {
        text += &format!(" and {} more", candidates.len() - SHOWN);
    }
    text
}

/// One place that did not give the BTF, and why.
#[derive(Debug)]
pub struct Attempt {
    /// Where.
    pub place: Place,
    /// Why not.
    pub reason: Reason,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

impl Serialize for Attempt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let candidates = self.reason.candidates();
        let mut out = serializer.serialize_struct("Attempt", if candidates.is_empty() { 4 } else { 5 })?;
        out.serialize_field("place", &self.place)?;
        out.serialize_field("class", &self.reason.class())?;
        out.serialize_field("reason", self.reason.name())?;
        out.serialize_field("message", &self.reason.to_string())?;
        if !candidates.is_empty() {
            out.serialize_field("candidates", candidates)?;
        }
        out.end()
    }
}

/// Attempts as the end of a message.
pub(crate) fn listed(attempts: &[Attempt]) -> String {
    attempts.iter().map(|attempt| format!("\n  {attempt}")).collect()
}

/// No place had BTF that may be used.
#[derive(Debug)]
pub struct NoBtf {
    /// The kernel asked for, for people.
    pub kernel: String,
    /// The places asked, in order. The files that simply were not there are among them.
    pub attempts: Vec<Attempt>,
}

impl NoBtf {
    /// The worst of the attempts: refused over failed over not found.
    pub fn class(&self) -> Class {
        worst(&self.attempts)
    }
}

fn worst(attempts: &[Attempt]) -> Class {
    attempts.iter().map(|attempt| attempt.reason.class()).max().unwrap_or(Class::NotFound)
}

impl fmt::Display for NoBtf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no BTF for {}", self.kernel)?;
        // That there is no file where there might have been one is worth a word only if there is nothing else to say.
        let mut told =
            self.attempts.iter().filter(|attempt| !matches!(attempt.reason, Reason::Absent)).peekable();
        if told.peek().is_none() {
            return f.write_str(
                ": neither the kernel itself, nor a file where libbpf looks, nor the cache has it",
            );
        }
        told.try_for_each(|attempt| write!(f, "\n  {attempt}"))
    }
}

impl std::error::Error for NoBtf {}

/// Why a loader could not be set up, or found no BTF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be used.
    #[error("{name} `{value}`: {reason}")]
    Setting {
        /// The setting's name: an environment variable.
        name: &'static str,
        /// Its value, without secrets.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that describes the running kernel cannot be read, or makes no sense.
    #[error("{}: {reason}", .path.display())]
    Machine {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No BTF.
    #[error(transparent)]
    NoBtf(#[from] Box<NoBtf>),
    /// No configuration of the running kernel.
    #[error("no configuration of the running kernel{}", listed(.attempts))]
    NoConfig {
        /// The places asked, in order.
        attempts: Vec<Attempt>,
    },
    /// The cache cannot be written.
    #[error("cannot write to the cache {}: {source}", .path.display())]
    Cache {
        /// The cache's directory, empty where none is known.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

impl Error {
    /// What the error means for the caller.
    pub fn class(&self) -> Class {
        match self {
            Self::NoBtf(none) => none.class(),
            Self::NoConfig { attempts } => worst(attempts),
            _ => Class::Failed,
        }
    }
}
