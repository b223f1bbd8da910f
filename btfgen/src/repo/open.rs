//! From a repository of a definition to the parts of kernels in it, whatever its kind of index.

use btf_archive::Trust;
use url::Url;

use super::error::Error;
use super::found::{Finder, Parts};
use super::index_cache::IndexCache;
use super::keyring::Keyring;
use super::location::directory;
use super::repomd::Repomd;
use super::suite::{self, Suite};
use super::{debuginfod, listing, snapshot};
use crate::apt_sources::{Address, AptSources};
use crate::distro::{Distro, Kind, Release, Repository};
use crate::fetch::{self, public_url};

/// How repositories are read.
#[derive(Debug)]
pub struct Reader<'c> {
    /// Fetches indices.
    pub client: &'c fetch::Client,
    /// Keeps them.
    pub cache: IndexCache,
    /// A keyring that counts instead of those that definitions pin.
    pub keyring: Option<std::path::PathBuf>,
    /// An address that counts instead of those of Debian repositories.
    pub mirror: Option<Url>,
    /// Take indices past their end, and signatures of keys that have expired since.
    pub allow_expired: bool,
}

/// A repository as it was found.
#[derive(Debug)]
pub struct Opened {
    /// Its name.
    pub repository: String,
    /// Where it was.
    pub url: String,
    /// Fingerprint of the key that signed its index.
    pub signed_by: Option<String>,
    /// The level that descriptions in its index reach.
    pub trust: Trust,
    /// What a person should know about it.
    pub warnings: Vec<String>,
    /// Architectures that it does not have, as in keys, and what is to be said of that.
    pub missing: Vec<(String, Error)>,
    /// Architectures, as in keys, for which it cannot be read, while it can for others.
    pub failed: Vec<(String, Error)>,
    /// What is in it, for each architecture.
    pub parts: Vec<Parts>,
}

impl Reader<'_> {
    /// Reads a repository for some architectures, given as in keys. Those that it does not have are passed over.
    ///
    /// # Errors
    /// The repository can be read at none of its addresses, or not as it should be, for none of the architectures.
    pub async fn read(
        &self,
        distro: &Distro,
        release: &Release,
        repository: &Repository,
        arches: &[String],
    ) -> Result<Opened, Error> {
        let arches: Vec<&str> = arches
            .iter()
            .map(String::as_str)
            .filter(|arch| {
                repository.architectures.as_ref().is_none_or(|own| own.iter().any(|known| known == arch))
            })
            .collect();
        let mut opened = Opened {
            repository: repository.name.clone(),
            url: String::new(),
            signed_by: None,
            trust: Trust::None,
            warnings: Vec::new(),
            missing: Vec::new(),
            failed: Vec::new(),
            parts: Vec::new(),
        };
        if arches.is_empty() {
            return Ok(opened);
        }
        let of = Of { reader: self, distro, release, repository };
        match repository.kind {
            Kind::Deb => of.suite(&arches, &mut opened).await?,
            Kind::Directory => of.directory(&arches, &mut opened)?,
            _ => {
                for arch in arches {
                    if let Err(error) = of.remote(arch, &mut opened).await {
                        opened.failed.push((arch.to_owned(), error));
                    }
                }
            }
        }
        if opened.parts.is_empty() && !opened.failed.is_empty() {
            return Err(opened.failed.swap_remove(0).1);
        }
        Ok(opened)
    }
}

/// One repository of one release.
struct Of<'r> {
    reader: &'r Reader<'r>,
    distro: &'r Distro,
    release: &'r Release,
    repository: &'r Repository,
}

impl<'r> Of<'r> {
    /// A Debian suite, opened once for all architectures.
    async fn suite(&self, arches: &[&'r str], opened: &mut Opened) -> Result<(), Error> {
        let Self { reader, distro, repository, .. } = self;
        let name = repository.suite.as_deref().unwrap_or_default();
        let addresses = self.addresses()?;
        let options = suite::Options {
            keyring: self.keyring(addresses.iter().map(|address| &address.base), opened)?,
            allow_expired: reader.allow_expired,
        };
        let suite = Suite::open(reader.client, &addresses, name, &options).await?;
        if let Some(valid_until) = suite.expired() {
            let why =
                if reader.allow_expired { "--allow-expired" } else { "apt's setting Check-Valid-Until" };
            let url = public_url(suite.base());
            opened
                .warnings
                .push(format!("suite {name} at {url} expired at {valid_until}; taken because of {why}"));
        }
        opened.url = public_url(suite.base());
        opened.signed_by = suite.signer().map(str::to_owned);
        opened.trust = suite.trust();
        for arch in arches {
            match self.suite_of(&suite, arch).await {
                // A suite whose version moves (stable) says itself which it is.
                Ok(Some(finder)) => {
                    let own = &self.release.version;
                    let version = if own.is_empty() { suite.key_version() } else { own };
                    opened.parts.push(self.parts(finder, version, &opened.url));
                }
                Ok(None) => {
                    let index_arch = distro.index_arch(arch).unwrap_or(arch);
                    opened.missing.push(((*arch).to_owned(), suite.no_architecture(index_arch)));
                }
                Err(error) => opened.failed.push(((*arch).to_owned(), error)),
            }
        }
        Ok(())
    }

    /// What a suite has for one architecture; `None` where it has no index for it.
    async fn suite_of(&self, suite: &Suite, arch: &'r str) -> Result<Option<Finder<'r>>, Error> {
        let Self { reader, distro, repository, .. } = self;
        let index_arch = distro.index_arch(arch).unwrap_or(arch);
        let mut finder = Finder::new(distro, repository, arch);
        let mut indices = 0;
        for component in &repository.components {
            let read = suite.read(reader.client, component, index_arch, &reader.cache, &mut finder);
            indices += usize::from(read.await?);
        }
        Ok((indices > 0).then_some(finder))
    }

    fn directory(&self, arches: &[&'r str], opened: &mut Opened) -> Result<(), Error> {
        let path = self.repository.path.as_deref().unwrap_or(std::path::Path::new("."));
        opened.url = path.display().to_string();
        for arch in arches {
            let mut finder = Finder::new(self.distro, self.repository, arch);
            super::directory::read(path, &mut finder)?;
            opened.parts.push(self.parts(finder, &self.release.version, &opened.url));
        }
        Ok(())
    }

    /// Any other kind: a repository of one architecture at the first of its addresses where it can be read.
    async fn remote(&self, arch: &'r str, opened: &mut Opened) -> Result<(), Error> {
        let index_arch = self.distro.index_arch(arch).unwrap_or(arch);
        let mut attempts = Vec::new();
        for address in &self.repository.addresses {
            let parsed = Url::parse(&address.replace("{arch}", index_arch));
            let url = parsed
                .map_err(|error| Error::Malformed { url: address.clone(), reason: error.to_string() })?;
            let mut finder = Finder::new(self.distro, self.repository, arch);
            match self.remote_at(url.clone(), index_arch, &mut finder, opened).await {
                Ok(base) => {
                    opened.url = public_url(&base);
                    opened.parts.push(self.parts(finder, &self.release.version, &opened.url));
                    return Ok(());
                }
                Err(error) => attempts.push((public_url(&url), error)),
            }
        }
        match attempts.len() {
            0 => Err(Error::NoUrl { repository: self.repository.name.clone() }),
            1 => Err(attempts.remove(0).1),
            _ => Err(Error::NoAddress { repository: self.repository.name.clone(), attempts }),
        }
    }

    async fn remote_at(
        &self,
        url: Url,
        index_arch: &str,
        finder: &mut Finder<'_>,
        opened: &mut Opened,
    ) -> Result<Url, Error> {
        let client = self.reader.client;
        let url = if self.repository.kind == Kind::MirrorList { url } else { directory(url) };
        opened.trust = if url.scheme() == "https" { Trust::Transport } else { Trust::None };
        match self.repository.kind {
            Kind::Listing => listing::read(client, &url, finder).await?,
            Kind::Debuginfod => debuginfod::read(&url, &self.repository.kernels, finder)?,
            Kind::Snapshot => {
                let repository = self.repository;
                let takes = |version: &str| repository.takes(version);
                snapshot::read(client, &url, &repository.sources, takes, finder).await?;
            }
            Kind::MirrorList => {
                let mirrors = listing::mirrors(client, &url, index_arch, &self.release.version).await?;
                let mut attempts = Vec::new();
                for mirror in mirrors {
                    match self.repomd(&mirror, url.scheme() == "https", finder, opened).await {
                        Ok(()) => return Ok(mirror),
                        Err(error) => attempts.push((public_url(&mirror), error)),
                    }
                }
                return Err(Error::NoAddress { repository: self.repository.name.clone(), attempts });
            }
            Kind::Repomd | Kind::Deb | Kind::Directory => self.repomd(&url, true, finder, opened).await?,
        }
        Ok(url)
    }

    /// An RPM repository; `private` where nobody could have changed its address on the way here.
    async fn repomd(
        &self,
        url: &Url,
        private: bool,
        finder: &mut Finder<'_>,
        opened: &mut Opened,
    ) -> Result<(), Error> {
        let Reader { client, cache, allow_expired, .. } = self.reader;
        let keyring = self.keyring([url].into_iter(), opened)?;
        let repomd = Repomd::open(client, url, keyring.as_ref(), *allow_expired).await?;
        let start = finder.found.len();
        let read = repomd.read(client, cache, finder).await;
        if let Err(error) = read {
            finder.found.truncate(start);
            return Err(error);
        }
        for found in &mut finder.found[start..] {
            if !private && found.package.trust == Trust::Transport {
                found.package.trust = Trust::None;
            }
        }
        opened.trust =
            finder.found[start..].iter().map(|found| found.package.trust).min().unwrap_or(opened.trust);
        opened.signed_by.clone_from(&repomd.signer);
        Ok(())
    }

    /// Where a suite may be.
    fn addresses(&self) -> Result<Vec<Address>, Error> {
        let Self { reader, repository, .. } = self;
        let address = |base: Url| Address { base: directory(base), check_valid_until: true };
        if let Some(mirror) = &reader.mirror {
            return Ok(vec![address(mirror.clone())]);
        }
        if repository.apt {
            let suite = repository.suite.as_deref().unwrap_or_default();
            return Ok(AptSources::of_this_machine()?.addresses(suite)?);
        }
        let addresses: Vec<Address> =
            repository.addresses.iter().filter_map(|url| Url::parse(url).ok()).map(address).collect();
        if addresses.is_empty() {
            return Err(Error::NoUrl { repository: repository.name.clone() });
        }
        Ok(addresses)
    }

    /// The keyring that must have signed the index: the user's, else the definition's, else none.
    ///
    /// Keys that should sign but are not on this machine cannot be asked: then only what comes over https is taken, and
    /// trusted no more than that.
    fn keyring<'u>(
        &self,
        mut urls: impl Iterator<Item = &'u Url>,
        opened: &mut Opened,
    ) -> Result<Option<Keyring>, Error> {
        if let Some(path) = &self.reader.keyring {
            return Ok(Some(Keyring::open(path)?));
        }
        let Some(pinned) = &self.repository.index_keys else { return Ok(None) };
        if let Some(keyring) = pinned.open()? {
            return Ok(Some(keyring));
        }
        let (repository, files) = (self.repository.name.clone(), pinned.files.clone());
        if let Some(url) = urls.find(|url| url.scheme() != "https") {
            return Err(Error::NoKeys { repository, url: public_url(url), files });
        }
        let looked: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        opened.warnings.push(format!(
            "{repository}: the keys that sign it are not on this machine ({}), so it is trusted no more than its https",
            looked.join(", ")
        ));
        Ok(None)
    }

    fn parts(&self, finder: Finder<'_>, version: &str, url: &str) -> Parts {
        let name = &self.repository.name;
        Parts {
            version: version.to_owned(),
            arch: finder.arch.to_owned(),
            origin: if name == url { name.clone() } else { format!("{name} at {url}") },
            signature_keys: self.repository.package_keys.as_ref().and_then(crate::distro::PinnedKeys::file),
            found: finder.found,
        }
    }
}
