//! The walk over all places, from the nearest to the farthest.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use btf_archive::{BuildId, Digest, Key};
use serde::Serialize;

use crate::cache::{Cache, Cached, Lock};
use crate::error::{Attempt, Error, NoBtf, Place, Reason};
use crate::events::{Asked, Observer, Outcome};
use crate::given::{self, Given};
use crate::http::Client;
use crate::misses::Misses;
use crate::remote::Download;
use crate::tree::Tree;
use crate::{Address, Kernel, Settings, local, remote};

/// How a kernel's BTF was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Identity {
    /// By build-id, or it is the kernel's own: there can be no mistake.
    #[serde(rename = "exact")]
    Exact,
    /// By distribution, version, architecture and release. Rebuilt kernels and containers can make that wrong.
    #[serde(rename = "by name")]
    ByName,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exact => "exact",
            Self::ByName => "by name",
        })
    }
}

/// BTF that may be used, and how it was found.
#[derive(Debug)]
pub struct Found {
    btf: Vec<u8>,
    digest: Option<Digest>,
    is_whole: bool,
    identity: Identity,
    place: Place,
    path: Option<PathBuf>,
    key: Option<Key>,
    build_id: Option<BuildId>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) warning: Option<String>,
    pub(crate) cache_error: Option<Error>,
}

impl Found {
    /// The raw BTF.
    pub fn btf(&self) -> &[u8] {
        &self.btf
    }

    /// The raw BTF, by value.
    pub fn into_btf(self) -> Vec<u8> {
        self.btf
    }

    /// The digest of the raw BTF (computed by each call, where the place did not tell).
    pub fn digest(&self) -> Digest {
        self.digest.unwrap_or_else(|| Digest::of(&self.btf))
    }

    /// Whether it has all of the kernel's types. What a bundle has is minimised: enough for the programs it was made
    /// for, and for no others.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// How it was recognised.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Where it was found.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A file that holds the raw BTF and nothing else, if there is one; [`Loader::raw_file`] makes one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Its kernel's key, as far as known.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Its kernel's build-id, as far as known.
    pub fn build_id(&self) -> Option<&BuildId> {
        self.build_id.as_ref()
    }

    /// The places asked before, and why they did not do.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// What the caller should know all the same: the snapshot was signed by an expired key, which
    /// [`Settings::allow_expired`] let pass.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Why the download could not be kept in the cache, if it could not.
    pub fn cache_error(&self) -> Option<&Error> {
        self.cache_error.as_ref()
    }
}

impl Found {
    /// The same, out of a bundle or directory.
    fn given(self, given: Given, kernel: &Kernel) -> Self {
        let Given { raw: btf, digest, key, build_id, path, is_whole, warning } = given;
        let identity = identity(kernel, build_id.as_ref());
        Self { btf, digest, is_whole, identity, path, key, build_id, warning, ..self }
    }
}

/// Finds BTF, as its [`Settings`] say.
///
/// Cheap to clone: clones share connections.
#[derive(Clone, Debug)]
pub struct Loader {
    settings: Arc<Settings>,
    cache: Option<Cache>,
    client: Arc<Client>,
    observer: Observer,
}

impl Loader {
    /// A loader with these settings.
    pub fn new(settings: Settings) -> Self {
        let cache = settings.cache.clone().map(|dir| Cache::new(dir, settings.cache_size));
        let client = Arc::new(Client::with_retries(settings.retries));
        Self { settings: Arc::new(settings), cache, client, observer: Observer::default() }
    }

    /// Calls `observer` with what each place said, and how long it took: for metrics and logs.
    #[must_use]
    pub fn observed(mut self, observer: impl Fn(&Asked<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    /// A loader with the settings of the environment.
    ///
    /// # Errors
    /// Those of [`Settings::from_env`].
    pub fn from_env() -> Result<Self, Error> {
        Ok(Self::new(Settings::from_env()?))
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// The BTF of the running kernel.
    ///
    /// # Errors
    /// [`Error::NoBtf`] with what each place said, [`Error::Machine`] if the running kernel cannot be told.
    pub fn get(&self) -> Result<Found, Error> {
        self.find(&Kernel::running(&self.settings.root)?)
    }

    /// The BTF of a kernel.
    ///
    /// # Errors
    /// [`Error::NoBtf`] with what each place said.
    pub fn find(&self, kernel: &Kernel) -> Result<Found, Error> {
        let mut attempts = Vec::new();
        let start = Instant::now();
        let found =
            self.first(self.near(kernel), kernel, start, &mut attempts).or_else(|| match self.turn(kernel) {
                Ok(Turn::Found(found)) => Some(*found),
                Ok(Turn::Download(_lock)) => self.first(self.far(), kernel, start, &mut attempts),
                Err(attempt) => {
                    attempts.push(attempt);
                    None
                }
            });
        match found {
            Some(found) => Ok(Found { attempts, ..found }),
            None => Err(Box::new(NoBtf { kernel: kernel.to_string(), attempts }).into()),
        }
    }

    /// A file that holds what was found as raw BTF and nothing else, which is what aya and bpftrace take: the file it
    /// was found in, or a copy in the cache.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn raw_file(&self, found: &Found) -> Result<PathBuf, Error> {
        if let Some(path) = found.path() {
            return Ok(path.to_owned());
        }
        let none = "there is none: no home directory, and BTF_ARCHIVE_CACHE_PATH is not set";
        let cache = self.cache.as_ref().ok_or_else(|| self.cache_error(io::Error::other(none)))?;
        cache.store_blob(found.btf(), &found.digest()).map_err(|source| self.cache_error(source))
    }
}

/// What comes after waiting for other downloads on this machine.
enum Turn {
    /// The other one left it in the cache.
    Found(Box<Found>),
    /// It is ours to download.
    Download(Option<Lock>),
}

/// The places, in order, and how each is asked.
impl Loader {
    /// The places on this machine that may have a kernel's BTF, in order.
    pub(crate) fn near(&self, kernel: &Kernel) -> Vec<Place> {
        let root = &self.settings.root;
        let mut places = Vec::new();
        if kernel.is_running() {
            places.push(Place::Kernel { path: local::sysfs_path(root) });
            let paths = kernel.release().map(|release| local::fallback_paths(root, release));
            places.extend(paths.into_iter().flatten().map(|path| Place::File { path }));
        }
        places.extend(self.settings.embedded.map(|_| Place::Embedded));
        places.extend(self.settings.paths.iter().map(|path| Place::Given { path: path.clone() }));
        places.extend(self.cache_place());
        places
    }

    /// The places elsewhere, in order.
    pub(crate) fn far(&self) -> Vec<Place> {
        self.settings.urls.iter().map(|url| Place::Archive { url: url.clone() }).collect()
    }

    /// The places that may have a tree of files, in order.
    pub(crate) fn trees(&self) -> impl Iterator<Item = Place> {
        let given = self.settings.paths.iter().map(|path| Place::Given { path: path.clone() });
        given.chain(self.far())
    }

    /// Asks a place for something by its tree of files.
    pub(crate) fn in_tree<T>(
        &self,
        place: &Place,
        ask: &dyn Fn(&Tree<'_>) -> Result<T, Reason>,
    ) -> Result<T, Reason> {
        match place {
            Place::Given { path } => {
                let get = |name: &str, max: usize| given::file(&path.join(name), max);
                let (location, policy) = (path.display().to_string(), self.settings.policy());
                let believed = self.settings.believed(policy.as_ref(), &location);
                ask(&Tree::open(&get, believed)?.ok_or(Reason::Absent)?)
            }
            Place::Archive { url } => remote::in_tree(&self.client, url, &self.settings, ask),
            _ => Err(Reason::Absent),
        }
    }

    fn cache_place(&self) -> Option<Place> {
        self.cache.as_ref().map(|cache| Place::Cache { path: cache.dir().to_owned() })
    }

    /// Waits until it is our turn to download: one at a time on a machine. Whoever waited may find it in the cache
    /// then.
    fn turn(&self, kernel: &Kernel) -> Result<Turn, Attempt> {
        let (Some(cache), Some(place), false) =
            (&self.cache, self.cache_place(), self.settings.urls.is_empty())
        else {
            return Ok(Turn::Download(None));
        };
        let misses = Misses::new(cache, self.settings.miss_lifetime);
        if self.settings.urls.iter().all(|url| misses.recall(url, kernel, self.settings.exact_only).is_some())
        {
            return Ok(Turn::Download(None));
        }
        let archives = u32::try_from(self.settings.urls.len()).unwrap_or(u32::MAX);
        match cache.lock(self.settings.timeout.saturating_mul(archives).min(self.settings.max_time)) {
            Ok(lock) => Ok(match self.ask(&place, kernel, Duration::ZERO) {
                Ok(found) => Turn::Found(Box::new(found)),
                Err(_) => Turn::Download(Some(lock)),
            }),
            Err(reason) => Err(Attempt { place, reason }),
        }
    }

    /// The first of the places that has the BTF, and what those before it said.
    fn first(
        &self,
        places: Vec<Place>,
        kernel: &Kernel,
        start: Instant,
        attempts: &mut Vec<Attempt>,
    ) -> Option<Found> {
        places.into_iter().find_map(|place| {
            let asked = Instant::now();
            let answer = self.ask(&place, kernel, self.settings.max_time.saturating_sub(start.elapsed()));
            let outcome = match &answer {
                Ok(found) => Outcome::Found { size: found.btf.len(), identity: found.identity },
                Err(reason) => Outcome::Not(reason),
            };
            self.observer.tell(&Asked { place: &place, outcome, elapsed: asked.elapsed() });
            answer.map_err(|reason| attempts.push(Attempt { place, reason })).ok()
        })
    }

    /// Asks one place for the BTF of a kernel; archives have `left` to answer.
    pub(crate) fn ask(&self, place: &Place, kernel: &Kernel, left: Duration) -> Result<Found, Reason> {
        let max_size = self.settings.max_size;
        let found = Found {
            btf: Vec::new(),
            digest: None,
            is_whole: true,
            identity: Identity::Exact,
            place: place.clone(),
            path: None,
            key: None,
            build_id: None,
            attempts: Vec::new(),
            warning: None,
            cache_error: None,
        };
        let found = match place {
            Place::Kernel { path } => {
                let btf = local::kernel(path, max_size)?;
                Found { btf, path: Some(path.clone()), build_id: kernel.build_id().copied(), ..found }
            }
            Place::File { path } => {
                let local = local::file(path, kernel, max_size)?;
                let identity = identity(kernel, local.build_id.as_ref());
                let path = local.is_raw.then(|| path.clone());
                Found { btf: local.raw, identity, path, build_id: local.build_id, ..found }
            }
            Place::Embedded => {
                let bundle = self.settings.embedded.ok_or(Reason::Absent)?;
                found.given(given::in_bundle(bundle.0, kernel, max_size)?, kernel)
            }
            Place::Given { path } => {
                let (location, policy) = (path.display().to_string(), self.settings.policy());
                let believed = self.settings.believed(policy.as_ref(), &location);
                found.given(given::on_disk(path, kernel, max_size, believed)?, kernel)
            }
            Place::Cache { .. } => {
                let cached = self.cache.as_ref().ok_or(Reason::Absent)?.read(kernel, max_size)?;
                let identity = identity(kernel, cached.build_id.as_ref());
                let Cached { raw: btf, digest, path, key, build_id } = cached;
                Found { btf, digest: Some(digest), identity, path: Some(path), key, build_id, ..found }
            }
            Place::Archive { url } => {
                let download = self.download(url, kernel, left)?;
                let identity = identity(kernel, download.build_id.as_ref());
                let (path, cache_error) =
                    match self.cache.as_ref().map(|cache| cache.store(&download, kernel, url)) {
                        None => (None, None),
                        Some(Ok(path)) => (Some(path), None),
                        Some(Err(source)) => (None, Some(self.cache_error(source))),
                    };
                let Download { raw: btf, digest, key, build_id, warning } = download;
                Found {
                    btf,
                    digest: Some(digest),
                    identity,
                    path,
                    key,
                    build_id,
                    warning,
                    cache_error,
                    ..found
                }
            }
        };
        if found.identity == Identity::ByName && self.settings.exact_only {
            return Err(Reason::NotExact);
        }
        if !found.is_whole && self.settings.whole_only {
            return Err(Reason::Minimised);
        }
        Ok(found)
    }

    /// Asks an archive, unless it said no a while ago.
    fn download(&self, url: &Address, kernel: &Kernel, left: Duration) -> Result<Download, Reason> {
        let exact_only = self.settings.exact_only;
        let misses = self.cache.as_ref().map(|cache| Misses::new(cache, self.settings.miss_lifetime));
        if let Some(reason) = misses.as_ref().and_then(|misses| misses.recall(url, kernel, exact_only)) {
            return Err(reason);
        }
        let answer = remote::fetch(&self.client, url, kernel, &self.settings, left);
        if let Some(misses) = misses {
            misses.note(url, kernel, exact_only, answer.as_ref().map(drop));
        }
        answer
    }

    fn cache_error(&self, source: io::Error) -> Error {
        Error::Cache { path: self.settings.cache.clone().unwrap_or_default(), source }
    }
}

/// Exact if the BTF is known to be of the build-id asked for. One of another build-id was refused before.
pub(crate) fn identity(kernel: &Kernel, build_id: Option<&BuildId>) -> Identity {
    match (kernel.build_id(), build_id) {
        (Some(wanted), Some(found)) if wanted == found => Identity::Exact,
        _ => Identity::ByName,
    }
}
