//! A suite of a Debian repository: opened with its signature checked, and asked for its kernels.

use std::io::{self, BufReader, Read};
use std::time::SystemTime;

use btf_archive::{Digest, Key, Trust};
use flate2::bufread::MultiGzDecoder;
use url::Url;

use super::deb822::{self, Paragraphs};
use super::debian_kernel::{self, KernelPackage};
use super::index_cache::IndexCache;
use super::keyring::{self, Keyring};
use super::offer::{Checksum, Expected, OfferedKernel, Package, Places, Role, newest_first};
use super::release::{self, IndexFile, Release};
use super::version::VersionOrder;
use crate::apt_sources::Address;
use crate::fetch::{self, public_url};

/// The largest `InRelease` accepted, in bytes; Debian's are below 200 KB.
const RELEASE_LIMIT: u64 = 4 << 20;
/// The largest compressed index accepted, in bytes; Debian's are below 12 MB.
const INDEX_LIMIT: u64 = 256 << 20;
/// The most that an index may expand to, in bytes; Debian's are below 70 MB.
const EXPANDED_LIMIT: u64 = 4 << 30;
/// Memory that decompressing an index may take, in bytes: `xz -9` takes 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;

/// Why a suite or its kernels could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be fetched.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// The suite is at none of the addresses.
    #[error("no suite {suite} that can be used:{}", listed(.attempts))]
    NoSuite {
        /// The suite asked for.
        suite: String,
        /// What was tried, and what came of it.
        attempts: Vec<(String, Error)>,
    },
    /// A name that cannot be a suite's.
    #[error("{suite:?} cannot be the name of a suite")]
    SuiteName {
        /// The name.
        suite: String,
    },
    /// There is a `Release` file, but neither `InRelease` nor `Release.gpg`.
    #[error("{url} is not signed: there is neither InRelease nor Release.gpg")]
    Unsigned {
        /// The `Release` file.
        url: String,
    },
    /// The signature is missing, bad, or nobody's we know.
    #[error("{url}: {source}")]
    Signature {
        /// The signed file.
        url: String,
        /// What is wrong.
        source: keyring::Error,
    },
    /// The `Release` file is malformed, expired or another suite's.
    #[error("{url}: {source}")]
    Release {
        /// The file.
        url: String,
        /// What is wrong.
        source: release::Error,
    },
    /// The suite is not built for the architecture.
    #[error("suite {suite} has no packages for {arch}; it has {}", offered.join(", "))]
    NoArchitecture {
        /// The suite.
        suite: String,
        /// Debian's name of the architecture asked for.
        arch: String,
        /// Debian's names of what there is.
        offered: Vec<String>,
    },
    /// An index is not what the signed `Release` file says.
    #[error(
        "{url}: {found}, but the signed Release file says {expected}; if the mirror is being updated, try again"
    )]
    Tampered {
        /// The index.
        url: String,
        /// Size or hash of what came.
        found: String,
        /// Size or hash of what was signed.
        expected: String,
    },
    /// An index cannot be read.
    #[error("{url}: {source}")]
    Index {
        /// The index.
        url: String,
        /// Where and why.
        source: deb822::Error,
    },
    /// A package's path in the index leads out of the archive.
    #[error("{index}: package {package} is said to be at {path:?}, outside the archive")]
    Path {
        /// The index.
        index: String,
        /// Name of the package.
        package: String,
        /// What the index says.
        path: String,
    },
    /// The suite, architecture or a release cannot be part of a kernel's key.
    #[error(transparent)]
    Key(#[from] btf_archive::Error),
}

impl Error {
    /// Whether something was there and was refused, rather than missing or out of reach.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoSuite { attempts, .. } => attempts.iter().any(|(_, error)| error.is_refusal()),
            Self::Unsigned { .. }
            | Self::Signature { .. }
            | Self::Release { .. }
            | Self::Tampered { .. }
            | Self::Path { .. } => true,
            _ => false,
        }
    }

    /// Whether what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NoSuite { attempts, .. } => attempts.iter().all(|(_, error)| error.is_not_found()),
            Self::Fetch(error) => error.is_not_found(),
            Self::NoArchitecture { .. } => true,
            _ => false,
        }
    }
}

fn listed(attempts: &[(String, Error)]) -> String {
    attempts.iter().map(|(base, error)| format!("\n  {base}: {error}")).collect()
}

/// How suites are opened.
#[derive(Debug)]
pub struct Options {
    /// Whose signatures count.
    pub keyring: Keyring,
    /// Take `Release` files past their `Valid-Until`, and signatures of keys that have expired since.
    pub allow_expired: bool,
    /// Where indices are kept.
    pub cache: IndexCache,
}

/// One suite, its `Release` file checked.
#[derive(Debug)]
pub struct Suite {
    base: Url,
    dist: Url,
    name: String,
    release: Release,
    signer: String,
    expired: Option<String>,
}

impl Suite {
    /// Opens suite `name` at the first of `addresses` where it is and its signature is good.
    pub async fn open(
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
        let dist = join(&address.base, &format!("dists/{name}/"));
        let policy = keyring::Policy { now, allow_expired: options.allow_expired };
        let (url, text, signer) = signed_release(client, &dist, &options.keyring, &policy).await?;
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
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Fingerprint of the key that signed the suite.
    pub fn signer(&self) -> &str {
        &self.signer
    }

    /// The `Valid-Until` that the suite has passed, where that was allowed.
    pub fn expired(&self) -> Option<&str> {
        self.expired.as_deref()
    }

    /// The version that os-release has on hosts of this suite, in any spelling that [`Key::new`] knows.
    fn key_version(&self) -> &str {
        match self.release.codename.as_str() {
            // Experimental is an addition to sid, without releases of its own.
            "rc-buggy" => "sid",
            codename => self.release.version.as_deref().unwrap_or(codename),
        }
    }

    /// The package index of the suite's component main for an architecture in any known spelling, checked against the
    /// signed hash.
    pub async fn index(
        &self,
        client: &fetch::Client,
        arch: &str,
        cache: &IndexCache,
    ) -> Result<Index<'_>, Error> {
        let arch = debian_arch(arch);
        for (extension, decoder) in FORMS {
            let path = format!("main/binary-{arch}/Packages{extension}");
            let Some(file) = self.release.file(&path) else { continue };
            let url = join(&self.dist, &path);
            let name = format!("{}/{}/{arch}", public_url(&self.base), self.name);
            let bytes = match cache.get(&name, &file) {
                Some(bytes) => bytes,
                None => {
                    let bytes = self.fetch_index(client, &url, &file).await?;
                    cache.put(&name, &file, &bytes);
                    bytes
                }
            };
            return Ok(Index { suite: self, arch, url: public_url(&url), decoder, bytes });
        }
        let offered = self.release.architectures.iter().filter(|arch| *arch != "all").cloned().collect();
        Err(Error::NoArchitecture { suite: self.name.clone(), arch, offered })
    }

    /// A kernel of these packages, of which there is at least one.
    fn offered(&self, packages: Vec<KernelPackage>, arch: &str, index: &str) -> Result<OfferedKernel, Error> {
        let first = packages.first().expect("a kernel has a package");
        let release = first.release.as_str();
        let expected = debian_kernel::likely_embeds_btf(arch, release);
        Ok(OfferedKernel {
            key: Key::new("debian", self.key_version(), arch, release)?,
            flavour: debian_kernel::flavour(release).to_owned(),
            source: first.source.clone(),
            versions: VersionOrder::Deb,
            embeds_btf: if expected { Expected::Yes } else { Expected::No },
            origin: format!("{} at {}", self.name, public_url(&self.base)),
            places: Places::default(),
            packages: packages
                .into_iter()
                .map(|package| self.package(package, index))
                .collect::<Result<_, _>>()?,
        })
    }

    fn package(&self, package: KernelPackage, index: &str) -> Result<Package, Error> {
        let url = join(&self.base, &package.path);
        let path = &package.path;
        let outside = path.starts_with('/')
            || path.split('/').any(|part| part == "..")
            || !url.as_str().starts_with(self.base.as_str());
        if outside {
            return Err(Error::Path {
                index: index.to_owned(),
                package: package.package,
                path: package.path,
            });
        }
        Ok(Package {
            role: package.role,
            name: package.package,
            version: package.version,
            url,
            size: Some(package.size),
            checksum: Some(Checksum::Sha256(package.sha256)),
            trust: Trust::SignedIndex,
            signature_keys: None,
        })
    }

    async fn fetch_index(
        &self,
        client: &fetch::Client,
        url: &Url,
        file: &IndexFile,
    ) -> Result<Vec<u8>, Error> {
        let tampered =
            |found: String, expected: String| Error::Tampered { url: public_url(url), found, expected };
        if file.size > INDEX_LIMIT {
            return Err(tampered(
                "it is not fetched".into(),
                format!("{} bytes, more than any index has", file.size),
            ));
        }
        // By its hash the index is there even while the mirror is being updated.
        let by_hash = if self.release.by_hash {
            let url = join(url, &format!("by-hash/SHA256/{}", file.sha256));
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

/// A package index, still compressed, its hash checked.
#[derive(Debug)]
pub struct Index<'s> {
    suite: &'s Suite,
    arch: String,
    url: String,
    decoder: fn(Vec<u8>) -> io::Result<Box<dyn Read>>,
    bytes: Vec<u8>,
}

impl Index<'_> {
    /// All kernels in the index, newest first. A release that is there in several versions is listed as often.
    pub fn kernels(self) -> Result<Vec<OfferedKernel>, Error> {
        let Self { suite, arch, url, decoder, bytes } = self;
        let fail = |source| Error::Index { url: url.clone(), source };
        let reader = decoder(bytes).map_err(|source| fail(deb822::Error::Read { line: 1, source }))?;
        let mut paragraphs = Paragraphs::new(BufReader::with_capacity(1 << 16, reader.take(EXPANDED_LIMIT)));
        let mut packages = Vec::new();
        while let Some(paragraph) = paragraphs.next_paragraph().map_err(fail)? {
            packages.extend(debian_kernel::kernel_package(&paragraph));
        }
        let mut kernels = Vec::new();
        for packages in debian_kernel::by_kernel(packages) {
            if packages[0].role == Role::Debug {
                kernels.push(suite.offered(packages, &arch, &url)?);
            }
        }
        newest_first(&mut kernels);
        Ok(kernels)
    }
}

/// An index's extension, and how it is decompressed.
type Form = (&'static str, fn(Vec<u8>) -> io::Result<Box<dyn Read>>);

/// The forms of an index, the smallest first.
const FORMS: [Form; 3] = [
    (".xz", |bytes| {
        let decoder = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
        Ok(Box::new(liblzma::bufread::XzDecoder::new_stream(io::Cursor::new(bytes), decoder)))
    }),
    (".gz", |bytes| Ok(Box::new(MultiGzDecoder::new(io::Cursor::new(bytes))))),
    ("", |bytes| Ok(Box::new(io::Cursor::new(bytes)))),
];

/// The text of the suite's `Release` file, where it was, and who signed it.
async fn signed_release(
    client: &fetch::Client,
    dist: &Url,
    keyring: &Keyring,
    policy: &keyring::Policy,
) -> Result<(String, String, String), Error> {
    let url = join(dist, "InRelease");
    match client.bytes(&url, RELEASE_LIMIT).await {
        Ok(message) => {
            let url = public_url(&url);
            return match keyring.verify_inline(&message, policy) {
                Ok((text, signer)) => Ok((url, text, signer)),
                Err(source) => Err(Error::Signature { url, source }),
            };
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    let url = join(dist, "Release");
    let text = client.bytes(&url, RELEASE_LIMIT).await?;
    let signature = client.bytes(&join(dist, "Release.gpg"), RELEASE_LIMIT).await;
    let url = public_url(&url);
    let signature = match signature {
        Err(error) if error.is_not_found() => return Err(Error::Unsigned { url }),
        answer => answer?,
    };
    match keyring.verify_detached(&text, &signature, policy) {
        Ok(signer) => match String::from_utf8(text) {
            Ok(text) => Ok((url, text, signer)),
            Err(_) => Err(Error::Release { url, source: deb822::Error::NotUtf8 { line: 1 }.into() }),
        },
        Err(source) => Err(Error::Signature { url, source }),
    }
}

fn join(base: &Url, path: &str) -> Url {
    // Only fails for addresses that cannot be a base at all (`mailto:`), which no http address is.
    base.join(path).unwrap_or_else(|_| base.clone())
}

/// Debian's name of an architecture in any known spelling.
pub fn debian_arch(spelling: &str) -> String {
    match btf_archive::alias::arch(spelling).as_str() {
        "x86_64" => "amd64".into(),
        "ppc64le" => "ppc64el".into(),
        "loongarch64" => "loong64".into(),
        other => other.into(),
    }
}
