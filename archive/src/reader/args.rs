//! Which roots a program believes: the command-line arguments that all programs that read archives share.

use std::path::PathBuf;

use super::{Error, Reader};
use crate::trust::{self, Expired, Policy, PublicKey, SeenFile};

/// Which roots are believed, and how strictly.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RootArgs {
    /// Believe only what this root vouches for: its public key (RWQ…), or a file with it; may be repeated.
    ///
    /// The archive must be signed then, and not be older than when it was last seen. Without a root, signatures are not looked
    /// at.
    #[arg(long = "root-key", value_name = "KEY|FILE", env = "BTF_ARCHIVE_KEYS", value_delimiter = ' ')]
    pub roots: Vec<String>,
    /// Where keys have expired and new ones cannot come: warn instead of refusing.
    #[arg(long, requires = "roots")]
    pub allow_expired: bool,
    /// Remember here the newest snapshot seen of each archive, and refuse older ones [default:
    /// ~/.local/state/btf-archive/seen.json]
    #[arg(long, value_name = "FILE", requires = "roots")]
    pub seen: Option<PathBuf>,
}

impl RootArgs {
    /// What is believed; none if no root is pinned.
    ///
    /// # Errors
    /// [`trust::Error::Key`] for a key that is none.
    pub fn policy(&self) -> Result<Option<Policy>, trust::Error> {
        // An empty variable is one empty text.
        let mut roots = self.roots.iter().filter(|root| !root.trim().is_empty()).peekable();
        if roots.peek().is_none() {
            return Ok(None);
        }
        let roots: Result<_, _> = roots.map(|root| PublicKey::load(root)).collect();
        let expired = if self.allow_expired { Expired::Warn } else { Expired::Refuse };
        Ok(Some(Policy { roots: roots?, expired }))
    }

    /// A reader of the archive at `location` that believes that.
    ///
    /// # Errors
    /// Those of [`Reader::open`]; [`Error::Untrusted`] for a key that is none.
    pub fn reader(&self, location: &str) -> Result<Reader, Error> {
        let untrusted = |source| Error::Untrusted { location: "--root-key".to_owned(), source };
        let Some(policy) = self.policy().map_err(untrusted)? else { return Reader::open(location) };
        let seen = self.seen.clone().map(SeenFile::at);
        Reader::open_with(location, policy, seen.or_else(|| SeenFile::of_user(|name| std::env::var_os(name))))
    }
}
