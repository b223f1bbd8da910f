//! Which roots a command believes: the arguments that all readers of archives share.

use std::ffi::OsString;
use std::path::PathBuf;

use btf_archive::reader::{self, Reader};
use btf_archive::trust::{self, Expired, Policy, PublicKey, SeenFile};

/// Which roots are believed, and how strictly.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RootArgs {
    /// Believe only what this root vouches for: its public key (RWQ…), or a file with it; may be repeated. Without one,
    /// signatures are not looked at.
    #[arg(long = "root-key", value_name = "KEY|FILE", env = "BTF_ARCHIVE_KEYS", value_delimiter = ' ')]
    roots: Vec<String>,
    /// Where a key has expired, and no new one can come: warn instead of refusing.
    #[arg(long, requires = "roots")]
    allow_expired: bool,
    /// Remember here the newest snapshot seen of each archive, and refuse older ones [default: in the user's state
    /// directory, ~/.local/state/btf-archive/seen.json]
    #[arg(long, value_name = "FILE", requires = "roots")]
    seen: Option<PathBuf>,
}

impl RootArgs {
    /// What is believed; none if no root is pinned.
    pub(crate) fn policy(&self) -> Result<Option<Policy>, trust::Error> {
        if self.roots.is_empty() {
            return Ok(None);
        }
        let roots: Result<_, _> = self.roots.iter().map(|root| PublicKey::load(root)).collect();
        let expired = if self.allow_expired { Expired::Warn } else { Expired::Refuse };
        Ok(Some(Policy { roots: roots?, expired }))
    }

    /// A reader of an archive that believes that.
    pub(crate) fn reader(&self, location: &str) -> anyhow::Result<Reader> {
        let Some(policy) = self.policy()? else { return Ok(Reader::open(location)?) };
        let seen = self.seen.clone().map(SeenFile::at);
        let seen = seen.or_else(|| SeenFile::of_user(|name| std::env::var_os(name)));
        Ok(Reader::open_with(location, policy, seen)?)
    }
}

/// Whether an error says that something does not stand up to checking, rather than that it cannot be had.
pub(crate) fn refuses(error: &reader::Error) -> bool {
    matches!(error, reader::Error::Refused { .. } | reader::Error::Untrusted { .. })
}

/// A location as text: what readers open.
pub(crate) fn location(place: &OsString) -> anyhow::Result<&str> {
    place.to_str().ok_or_else(|| anyhow::anyhow!("{}: not UTF-8", place.display()))
}
