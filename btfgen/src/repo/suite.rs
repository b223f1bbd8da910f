//! A suite of a Debian repository: opened with its signature checked, and asked for its packages.

use std::io::{BufReader, Read};
use std::time::SystemTime;

use btf_archive::{Digest, Trust};
use url::Url;

use super::cleartext;
use super::deb822::{self, Paragraph, Paragraphs};
use super::decode::{self, Form};
use super::error::Error;
use super::found::{Finder, Found, Origin};
use super::index_cache::IndexCache;
use super::indexed::{IndexedPackage, PackageName};
use super::keyring::{self, Keyring};
use super::location::{join, within};
use super::offer::Checksum;
use super::release::{self, IndexFile, Release};
use crate::apt_sources::Address;
use crate::fetch::{self, public_url};

/// The largest `InRelease` accepted, in bytes; Debian's are below 200 KB.
const RELEASE_LIMIT: u64 = 4 << 20;
/// The largest compressed index accepted, in bytes; Debian's are below 12 MB.
pub(super) const INDEX_LIMIT: u64 = 256 << 20;
/// What said what an index should be.
const SAID_BY: &str = "the signed Release file";

/// How suites are opened.
#[derive(Debug)]
pub(super) struct Options {
    /// Whose signatures count; without one, the suite is taken unsigned.
    pub(super) keyring: Option<Keyring>,
    /// Take `Release` files past their `Valid-Until`, and signatures of keys that have expired since.
    pub(super) allow_expired: bool,
}

/// One suite, its `Release` file checked.
#[derive(Debug)]
pub(super) struct Suite {
    base: Url,
    dist: Url,
    name: String,
    release: Release,
    signer: Option<String>,
    expired: Option<String>,
}

impl Suite {
    /// Opens suite `name` at the first of `addresses` where it is and its signature is good.
    pub(super) async fn open(
        client: &fetch::Client,
        addresses: &[Address],
        name: &str,
        options: &Options,
    ) -> Result<Self, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if name.is_empty()
            || !name.chars().all(plain)
            || name.starts_with(['/', '.'])
            || name.contains("..")
            || name.contains("//")
        {
            return Err(Error::SuiteName { suite: name.to_owned() });
        }
        let mut attempts = Vec::new();
        for address in addresses {
            match Self::open_at(client, address, name, options).await {
                Ok(suite) => return Ok(suite),
                Err(error) => attempts.push((public_url(&address.base), error)),
            }
        }
        Err(Error::NoSuite { suite: name.to_owned(), attempts })
    }

    async fn open_at(
        client: &fetch::Client,
        address: &Address,
        name: &str,
        options: &Options,
    ) -> Result<Self, Error> {
        let now = SystemTime::now();
        let dist = join(&address.base, &format!("dists/{name}/"))?;
        let policy = keyring::Policy { now, allow_expired: options.allow_expired };
        let (url, text, signer) = signed_release(client, &dist, options.keyring.as_ref(), &policy).await?;
        let fail = |source| Error::Release { url: url.clone(), source };
        let release = Release::parse(&text).map_err(fail)?;
        release.check_suite(name).map_err(fail)?;
        let mut expired = None;
        match release.check_valid(now) {
            Err(release::Error::Expired { valid_until })
                if options.allow_expired || !address.check_valid_until =>
            {
                expired = Some(valid_until);
            }
            verdict => verdict.map_err(fail)?,
        }
        Ok(Self { base: address.base.clone(), dist, name: name.to_owned(), release, signer, expired })
    }

    /// Where the suite was found: the directory of `dists/` and `pool/`.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Fingerprint of the key that signed the suite, where a signature was asked for.
    pub(super) fn signer(&self) -> Option<&str> {
        self.signer.as_deref()
    }

    /// The level that descriptions in its indices reach.
    pub(super) fn trust(&self) -> Trust {
        match (&self.signer, self.base.scheme()) {
            (Some(_), _) => Trust::SignedIndex,
            (None, "https") => Trust::Transport,
            (None, _) => Trust::None,
        }
    }

    /// The `Valid-Until` that the suite has passed, where that was allowed.
    pub(super) fn expired(&self) -> Option<&str> {
        self.expired.as_deref()
    }

    /// The version that os-release has on hosts of this suite, in any spelling that [`btf_archive::Key::new`] knows.
    pub(super) fn key_version(&self) -> &str {
        match self.release.codename.as_str() {
            // Experimental is an addition to sid, without releases of its own.
            "rc-buggy" => "sid",
            codename => self.release.version.as_deref().unwrap_or(codename),
        }
    }

    /// Hands to `finder` every package of a component for an architecture in the index's spelling. The index has the signed hash, packed or unpacked.
    ///
    /// False where the suite has no such component.
    pub(super) async fn read(
        &self,
        client: &fetch::Client,
        component: &str,
        arch: &str,
        cache: &IndexCache,
        finder: &mut Finder<'_>,
    ) -> Result<bool, Error> {
        let path = |form: Form| format!("{component}/binary-{arch}/Packages{}", form.extension());
        let forms = Form::ALL.into_iter();
        let found = forms.filter_map(|form| Some((form, self.release.file(&path(form))?))).next();
        let Some((form, file)) = found else { return Ok(false) };
        let url = join(&self.dist, &path(form))?;
        let name = match component {
            "main" => format!("{}/{}/{arch}", public_url(&self.base), self.name),
            other => format!("{}/{}/{other}/{arch}", public_url(&self.base), self.name),
        };
        let unpacked = self.release.file(&path(Form::Plain));
        let shown = public_url(&url);
        let start = finder.found.len();
        match unpacked.and_then(|file| cache.open(&name, &file)).map(|kept| self.take(kept, &shown, finder)) {
            Some(Ok(())) => return Ok(true),
            Some(Err(error)) => {
                tracing::info!("{name} is fetched again: as it was kept, {error}");
                finder.found.truncate(start);
            }
            None => {}
        }
        let known = if unpacked.is_none() { cache.get(&name, &file) } else { None };
        let bytes = match known {
            Some(bytes) => bytes,
            None => {
                let bytes = self.fetch_index(client, &url, &file).await?;
                if unpacked.is_none() {
                    cache.put(&name, &file, &bytes);
                }
                bytes
            }
        };
        let reader = decode::reader(form, std::io::Cursor::new(bytes)).map_err(|source| Error::Index {
            url: shown.clone(),
            source: deb822::Error::Read { line: 1, source },
        })?;
        match unpacked {
            Some(file) => self.take(cache.keep(&name, &file, reader), &shown, finder)?,
            None => self.take(reader, &shown, finder)?,
        }
        Ok(true)
    }

    fn take(&self, index: impl Read, url: &str, finder: &mut Finder<'_>) -> Result<(), Error> {
        packages(index, &Origin { base: &self.base, index: url, trust: self.trust() }, finder)
    }

    /// The error of a suite that has no index for an architecture.
    pub(super) fn no_architecture(&self, arch: &str) -> Error {
        let offered = self.release.architectures.iter().filter(|arch| *arch != "all").cloned().collect();
        Error::NoArchitecture { suite: self.name.clone(), arch: arch.to_owned(), offered }
    }

    async fn fetch_index(
        &self,
        client: &fetch::Client,
        url: &Url,
        file: &IndexFile,
    ) -> Result<Vec<u8>, Error> {
        let tampered = |found: String, expected: String| Error::Tampered {
            url: public_url(url),
            found,
            expected,
            said_by: SAID_BY,
        };
        if file.size > INDEX_LIMIT {
            return Err(tampered(
                "it is not fetched".into(),
                format!("{} bytes, more than any index has", file.size),
            ));
        }
        // By its hash the index is there even while the mirror is being updated.
        let by_hash = if self.release.by_hash {
            let url = join(url, &format!("by-hash/SHA256/{}", file.sha256))?;
            Some(client.bytes(&url, file.size).await)
                .filter(|answer| !answer.as_ref().is_err_and(fetch::Error::is_not_found))
        } else {
            None
        };
        let answer = match by_hash {
            Some(answer) => answer,
            None => client.bytes(url, file.size).await,
        };
        let bytes = match answer {
            Err(fetch::Error::TooLong { limit, .. }) => {
                return Err(tampered(format!("it has more than {limit} bytes"), format!("{limit} bytes")));
            }
            answer => answer?,
        };
        if bytes.len() as u64 != file.size {
            return Err(tampered(format!("it has {} bytes", bytes.len()), format!("{} bytes", file.size)));
        }
        let found = Digest::of(&bytes);
        if found != file.sha256 {
            return Err(tampered(format!("its sha256 is {found}"), file.sha256.to_string()));
        }
        Ok(bytes)
    }
}

/// Hands to `finder` every package of an unpacked index.
pub(super) fn packages(index: impl Read, origin: &Origin<'_>, finder: &mut Finder<'_>) -> Result<(), Error> {
    let Origin { base, index: url, trust } = *origin;
    let fail = |source| Error::Index { url: url.to_owned(), source };
    let mut paragraphs = Paragraphs::new(BufReader::with_capacity(1 << 16, index));
    while let Some(paragraph) = paragraphs.next_of(may_be_kernel).map_err(fail)? {
        let Some(name) = name(&paragraph) else { continue };
        let Some(part) = finder.part(&name) else { continue };
        let Some(path) = paragraph.get("Filename") else { continue };
        let number = |field| paragraph.get(field).and_then(|value| value.parse::<u64>().ok());
        let package = IndexedPackage {
            url: within(base, path, &name.name, url)?,
            name,
            size: number("Size"),
            // In KiB.
            installed: number("Installed-Size").and_then(|kib| kib.checked_mul(1 << 10)),
            depends: paragraph.get("Depends").is_some_and(|depends| !depends.is_empty()),
            checksum: checksum(&paragraph),
            trust,
        };
        finder.found.push(Found { part, package });
        finder.check_count(url)?;
    }
    Ok(())
}

/// Most of an index's packages have nothing to do with kernels: they are dismissed before anything is looked at but their names.
fn may_be_kernel(package: &[u8]) -> bool {
    package.starts_with(b"linux") || memchr::memmem::find(package, b"kernel").is_some()
}

fn name(paragraph: &Paragraph<'_>) -> Option<PackageName> {
    let package = paragraph.get("Package")?;
    // `Source: linux-signed-amd64 (7.2.13+1)`: the version in parentheses is the source's, where it differs.
    let source = paragraph.get("Source").and_then(|source| source.split_ascii_whitespace().next());
    let name = PackageName {
        name: package.to_owned(),
        version: paragraph.get("Version")?.to_owned(),
        release: String::new(),
        epoch: None,
        arch: paragraph.get("Architecture")?.to_owned(),
        source: Some(source.unwrap_or(package).to_owned()),
    };
    name.is_plain().then_some(name)
}

/// The hash that the index gives: SHA-256, by which everything here is named, where there is one.
fn checksum(paragraph: &Paragraph<'_>) -> Option<Checksum> {
    ["SHA256", "SHA512", "SHA1"]
        .iter()
        .find_map(|field| Checksum::parse(field, paragraph.get(field)?))
        .or_else(|| Checksum::parse("md5", paragraph.get("MD5sum")?))
}

/// The text of the suite's `Release` file, where it was, and who signed it, if that was to be checked.
async fn signed_release(
    client: &fetch::Client,
    dist: &Url,
    keyring: Option<&Keyring>,
    policy: &keyring::Policy,
) -> Result<(String, String, Option<String>), Error> {
    let url = join(dist, "InRelease")?;
    match client.bytes(&url, RELEASE_LIMIT).await {
        Ok(message) => {
            let url = public_url(&url);
            let verified = match keyring {
                Some(keyring) => {
                    keyring.verify_inline(&message, policy).map(|(text, signer)| (text, Some(signer)))
                }
                None => cleartext::split(&message)
                    .map(|message| (message.text, None))
                    .map_err(|reason| keyring::Error::Unsigned { reason: reason.into() }),
            };
            return match verified {
                Ok((text, signer)) => Ok((url, text, signer)),
                Err(source) => Err(Error::Signature { url, source }),
            };
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    let url = join(dist, "Release")?;
    let text = client.bytes(&url, RELEASE_LIMIT).await?;
    let signer = match keyring {
        Some(keyring) => {
            let signature = client.bytes(&join(dist, "Release.gpg")?, RELEASE_LIMIT).await;
            let url = public_url(&url);
            let signature = match signature {
                Err(error) if error.is_not_found() => return Err(Error::Unsigned { url }),
                answer => answer?,
            };
            let signer = keyring.verify_detached(&text, &signature, policy);
            Some(signer.map_err(|source| Error::Signature { url, source })?)
        }
        None => None,
    };
    let url = public_url(&url);
    match String::from_utf8(text) {
        Ok(text) => Ok((url, text, signer)),
        Err(_) => Err(Error::Release { url, source: deb822::Error::NotUtf8 { line: 1 }.into() }),
    }
}
