//! Packages within reach: streamed or in parts, counted, and compared with what the index says of them.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use btf_archive::{Digest, Trust};

use super::Error;
use crate::fetch::{self, Client, Download, Ranges};
use crate::package::sparse::Parts;
use crate::package::{End, Error as PackageError, Identity, Signed};
use crate::repo::keyring::{Keyring, Policy};
use crate::repo::offer::{Checksum, Package};

/// Bytes and requests of one way.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent {
    bytes: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    /// Length of the package in bytes, once it is known; 0 before.
    length: Arc<AtomicU64>,
    /// Of all ways together, for somebody who watches.
    watched: Arc<AtomicU64>,
}

impl Spent {
    pub(super) fn watched_by(watched: &Arc<AtomicU64>) -> Self {
        Self { watched: Arc::clone(watched), ..Self::default() }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.watched.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Length of the package in bytes, where it was told.
    pub(super) fn length(&self) -> Option<u64> {
        Some(self.length.load(Ordering::Relaxed)).filter(|&length| length > 0)
    }

    fn learn(&self, length: Option<u64>) {
        self.length.store(length.unwrap_or(0), Ordering::Relaxed);
    }

    fn ask(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// A package being streamed. What arrived is counted, also what was never read.
pub(super) struct Stream {
    download: Download,
    arrived: Arc<AtomicU64>,
    counted: u64,
    parts: Arc<AtomicU64>,
    asked: u64,
    spent: Spent,
}

impl Stream {
    /// Begins to stream a package. Of one that is left early, `first` bytes are asked for at first.
    pub(super) fn open(
        client: &Client,
        package: &Package,
        first: Option<u64>,
        spent: &Spent,
    ) -> Result<Self, Error> {
        spent.ask();
        let download = match first {
            Some(first) => client.open_some(&package.url, first)?,
            None => client.open(&package.url)?,
        };
        check_length(package, download.len())?;
        spent.learn(download.len());
        let (arrived, parts) = (download.received(), download.parts());
        Ok(Self { download, arrived, counted: 0, parts, asked: 1, spent: spent.clone() })
    }

    /// Length of the package, where the server told it.
    pub(super) fn len(&self) -> Option<u64> {
        self.download.len()
    }

    fn count(&mut self) {
        let arrived = self.arrived.load(Ordering::Relaxed);
        self.spent.add(arrived - self.counted);
        self.counted = arrived;
        let parts = self.parts.load(Ordering::Relaxed);
        (self.asked..parts).for_each(|_| self.spent.ask());
        self.asked = parts;
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.download.read(buffer);
        self.count();
        count
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.count();
    }
}

/// A package read in parts.
pub(super) struct InParts {
    ranges: Ranges,
    spent: Spent,
}

impl InParts {
    pub(super) fn new(client: &Client, package: &Package, spent: &Spent) -> Self {
        Self { ranges: client.ranges(&package.url), spent: spent.clone() }
    }

    fn counted<T>(
        &self,
        offset: u64,
        ask: impl FnOnce(&Ranges) -> Result<T, fetch::Error>,
        len: impl Fn(&T) -> usize,
    ) -> Result<T, PackageError> {
        self.spent.ask();
        let answer = ask(&self.ranges).map_err(|error| match error {
            fetch::Error::RangeIgnored { .. } => {
                PackageError::NoParts { reason: "the server gives only whole files".into() }
            }
            error => PackageError::Input { offset, source: io::Error::other(error) },
        })?;
        self.spent.add(len(&answer) as u64);
        Ok(answer)
    }
}

impl Parts for InParts {
    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, PackageError> {
        self.counted(range.start, |ranges| ranges.read_blocking(range.clone()), Vec::len)
    }

    fn tail(&self, count: u64) -> Result<(u64, Vec<u8>), PackageError> {
        let (start, bytes) =
            self.counted(0, |ranges| ranges.tail_blocking(count), |(_, bytes)| bytes.len())?;
        self.spent.learn(Some(start + bytes.len() as u64));
        Ok((start, bytes))
    }
}

/// The server's length of a package beside the index's.
fn check_length(package: &Package, found: Option<u64>) -> Result<(), Error> {
    match (found, package.size) {
        (Some(found), Some(expected)) if found != expected => {
            Err(Error::differs(package, format!("it has {found} bytes, the index says {expected}")))
        }
        _ => Ok(()),
    }
}

/// What a package says of itself beside what the index says. Epochs are not compared: indices leave them out in places.
pub(super) fn check_identity(package: &Package, found: &Identity) -> Result<(), Error> {
    let plain = |version: &str| {
        let epoch =
            version.split_once(':').filter(|(epoch, _)| epoch.bytes().all(|byte| byte.is_ascii_digit()));
        epoch.map_or_else(|| version.to_owned(), |(_, rest)| rest.to_owned())
    };
    let known = !package.name.is_empty();
    if known && (&found.package, plain(&found.version)) != (&package.name, plain(&package.version)) {
        let reason = format!("it is {found}, the index says {} {}", package.name, package.version);
        return Err(Error::differs(package, reason));
    }
    Ok(())
}

/// The level of trust that reading a package has reached, and its hash where it was read to its end.
///
/// # Errors
/// Where the hash is not the index's, or a signature by one of the pinned keys is wrong.
pub(super) fn check_end(package: &Package, end: &End) -> Result<(Trust, Option<Digest>), Error> {
    let mut trust = package.trust;
    let expected = package.checksum.as_ref();
    if let (Some(found), Some(expected)) = (end.sha256, expected.and_then(Checksum::sha256)) {
        if found != expected {
            return Err(Error::differs(package, format!("it has sha256 {found}, the index says {expected}")));
        }
        if trust == Trust::SignedIndex {
            trust = Trust::SignedPackage;
        }
    }
    if let (Some(signed), Some(keys)) = (&end.signed, &package.signature_keys) {
        check_signature(package, signed, keys)?;
        if signed.payload_checked {
            trust = Trust::SignedPackage;
        }
    }
    Ok((trust, end.sha256))
}

/// An RPM package whose definition pins keys must be signed by one of them.
fn check_signature(package: &Package, signed: &Signed, keys: &std::path::Path) -> Result<(), Error> {
    let refused = |reason: String| Error::Signature { package: package.name.clone(), reason };
    let keyring = Keyring::open(keys).map_err(|error| refused(error.to_string()))?;
    let policy = Policy { now: SystemTime::now(), allow_expired: true };
    let mut last = "it carries no signature of its header".to_owned();
    for signature in &signed.signatures {
        match keyring.verify_detached(&signed.header, signature, &policy) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(refused(last))
}
