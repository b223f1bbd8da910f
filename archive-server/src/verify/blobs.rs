//! Checking one blob.

use std::collections::BTreeSet;
use std::fmt;

use btf::{Btf, ValidateOptions};
use btf_archive::modules::Modules;
use btf_archive::store::{Archive, Error};
use btf_archive::{Digest, KernelRecord, Key};

/// What a blob holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Btf,
    Modules,
    Config,
}

/// What is recorded about how a blob is stored.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sizes {
    raw: u64,
    stored: u64,
    base: Option<Digest>,
}

/// What is recorded about a blob, and by which kernels.
pub(super) struct Expected {
    content: Content,
    /// Where it is recorded.
    pub(super) sizes: Option<Sizes>,
    /// The first kernels that have it.
    kernels: BTreeSet<String>,
    more: u64,
}

impl Sizes {
    pub(super) fn of(kernel: &KernelRecord) -> Self {
        Self { raw: kernel.raw_size, stored: kernel.zst_size, base: kernel.base }
    }
}

impl Expected {
    pub(super) fn new(content: Content, sizes: Option<Sizes>) -> Self {
        Self { content, sizes, kernels: BTreeSet::new(), more: 0 }
    }

    pub(super) fn needed_by(&mut self, key: &Key, told: usize) {
        let key = key.to_string();
        if self.kernels.len() < told {
            self.kernels.insert(key);
        } else if !self.kernels.contains(&key) {
            self.more += 1;
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.content {
            Content::Btf => "BTF",
            Content::Modules => "modules",
            Content::Config => "configuration",
        };
        let kernels: Vec<_> = self.kernels.iter().map(String::as_str).collect();
        write!(f, "{what} of {}", kernels.join(", "))?;
        if self.more > 0 { write!(f, " and others") } else { Ok(()) }
    }
}

/// A blob that is what it should be.
pub(super) struct Checked {
    /// Its size in bytes.
    pub(super) raw: u64,
    /// Its size as stored, in bytes.
    pub(super) stored: u64,
    /// What it is made on, if it is stored as a delta.
    pub(super) base: Option<Digest>,
    /// Whether it is stored in another form than is recorded, as after a repair: readers try both.
    pub(super) differs: bool,
}

/// Checks one blob; gives the reason if it is not what it should be.
pub(super) async fn check(archive: &Archive, digest: Digest, expected: &Expected) -> Result<Checked, String> {
    let found = archive.stored(&digest).await.map_err(|error| match error {
        Error::Missing { .. } => "is missing".to_owned(),
        error => error.to_string(),
    })?;
    let stored = found.bytes().len() as u64;
    let base = found.base().map_err(|error| error.to_string())?;
    let recorded = expected.sizes.as_ref();
    let differs = recorded.is_some_and(|sizes| (sizes.stored, sizes.base) != (stored, base));
    let decoded = archive.decode_stored(&digest, found).await;
    let raw = decoded.map_err(|error| match error {
        Error::Object { path, source } if path.contains(&digest.to_string()) => source.to_string(),
        error => error.to_string(),
    })?;
    let size = raw.len() as u64;
    if let Some(sizes) = recorded.filter(|sizes| sizes.raw != size) {
        return Err(format!("holds {size} bytes, recorded are {}", sizes.raw));
    }
    let content = expected.content;
    let check = move || match content {
        Content::Btf => Btf::parse(&raw)
            .and_then(|btf| btf::validate(&btf, &ValidateOptions::default()))
            .map_err(|error| format!("is not valid BTF: {error}")),
        Content::Modules => Modules::parse(&raw).map(drop).map_err(|error| error.to_string()),
        Content::Config => Ok(()),
    };
    match tokio::task::spawn_blocking(check).await {
        Ok(checked) => checked.map(|()| Checked { raw: size, stored, base, differs }),
        Err(failed) => Err(format!("could not be checked: {failed}")),
    }
}
