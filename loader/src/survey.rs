//! What a machine has: every place asked, none skipped, and nothing downloaded.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::error::{Attempt, Error, Place};
use crate::{Address, BuildId, Identity, Kernel, Key, Loader};

/// What this machine has for its running kernel, and what a loader would use. Its JSON form is an inventory of the
/// machine.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Survey {
    /// `uname -r`.
    pub release: Option<String>,
    /// The architecture, in the spelling of keys.
    pub arch: Option<String>,
    /// The build-id of the running kernel; `None` if it does not tell.
    pub build_id: Option<BuildId>,
    /// The keys under which an archive may hold the kernel, the likeliest first.
    pub keys: Vec<Key>,
    /// The places on this machine, in the order they are tried.
    pub places: Vec<Finding>,
    /// The place that would be used: the first usable one.
    pub used: Option<Place>,
    /// The directory of the cache.
    pub cache: Option<PathBuf>,
    /// The archives that would be asked if nothing is found here, in order.
    pub archives: Vec<Address>,
}

/// What one place has.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Finding {
    /// BTF that may be used.
    Usable {
        /// Where.
        place: Place,
        /// How it was recognised.
        #[serde(rename = "match")]
        identity: Identity,
        /// Bytes of raw BTF.
        size: usize,
    },
    /// None, or none that may be used.
    Unusable(Attempt),
}

impl Loader {
    /// Looks at every place on this machine, without asking any archive.
    ///
    /// # Errors
    /// [`Error::Machine`] if the running kernel cannot be told.
    pub fn survey(&self) -> Result<Survey, Error> {
        let kernel = Kernel::running(&self.settings().root)?;
        let look = |place: Place| match self.ask(&place, &kernel, Duration::ZERO) {
            Ok(found) => Finding::Usable { place, identity: found.identity(), size: found.btf().len() },
            Err(reason) => Finding::Unusable(Attempt { place, reason }),
        };
        let places: Vec<Finding> = self.near(&kernel).into_iter().map(look).collect();
        let used = places.iter().find_map(|finding| match finding {
            Finding::Usable { place, .. } => Some(place.clone()),
            Finding::Unusable(_) => None,
        });
        Ok(Survey {
            release: kernel.release().map(str::to_owned),
            arch: kernel.arch().map(str::to_owned),
            build_id: kernel.build_id().copied(),
            keys: kernel.keys().to_vec(),
            places,
            used,
            cache: self.settings().cache.clone(),
            archives: self.settings().urls.clone(),
        })
    }
}
