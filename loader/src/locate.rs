//! A file with the BTF, for who needs no bytes: libbpf's `btf_custom_path`, and programs that take a path.
//!
//! Five megabytes in fresh memory take longer than everything else of a cache hit, so what lies in the cache is checked in
//! pieces here, and the kernel's own BTF is not read at all.

use std::path::PathBuf;

use crate::error::{Attempt, Error, Place};
use crate::loader::identity;
use crate::{Found, Identity, Kernel, Loader, local};

/// A file that holds raw BTF and nothing else, and how it was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Located {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// How it was recognised.
    pub identity: Identity,
    /// Where it was found; the file may be a copy.
    pub place: Place,
    /// The places asked before, and why they did not do; those that simply had none may be left out.
    pub attempts: Vec<Attempt>,
    /// See [`Found::warning`].
    pub warning: Option<String>,
    /// Why the download could not be kept in the cache, if it could not.
    pub cache_error: Option<Error>,
}

impl Loader {
    /// A file with the BTF of a kernel: as [`Loader::find`] and [`Loader::raw_file`], in a fraction of the time where it is
    /// the kernel's own or in the cache.
    ///
    /// # Errors
    /// Those of both.
    pub fn locate(&self, kernel: &Kernel) -> Result<Located, Error> {
        if let Some(located) = self.at_hand(kernel) {
            return Ok(located);
        }
        let found = self.find(kernel)?;
        let path = self.raw_file(&found)?;
        let (size, identity, place) = (found.btf().len() as u64, found.identity(), found.place().clone());
        let Found { attempts, warning, cache_error, .. } = found;
        Ok(Located { path, size, identity, place, attempts, warning, cache_error })
    }

    /// The kernel's own BTF, or the cache's where no place before it has anything. Whatever is not as it should be, is left
    /// to [`Loader::find`], which tells it.
    fn at_hand(&self, kernel: &Kernel) -> Option<Located> {
        let located = |path, size, identity, place| {
            Some(Located {
                path,
                size,
                identity,
                place,
                attempts: Vec::new(),
                warning: None,
                cache_error: None,
            })
        };
        for place in self.near(kernel) {
            match place {
                Place::Kernel { path } => {
                    if let Some(size) = local::kernel_size(&path) {
                        return located(path.clone(), size, Identity::Exact, Place::Kernel { path });
                    }
                }
                Place::File { path } if !path.exists() => {}
                Place::Cache { .. } => {
                    let (path, size, build_id) = self.cache()?.verify(kernel, self.settings().max_size)?;
                    let identity = identity(kernel, build_id.as_ref());
                    if identity == Identity::ByName && self.settings().exact_only {
                        return None;
                    }
                    return located(path, size, identity, place);
                }
                _ => return None,
            }
        }
        None
    }
}
