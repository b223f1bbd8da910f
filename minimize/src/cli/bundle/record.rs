//! What a bundle was made of, so that it can be told when it no longer fits: in the bundle itself, or as JSON beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use btf_archive::Digest;
use btf_archive::bundle::{Bundle, MAGIC};
use serde::{Deserialize, Serialize};

use super::{Entry, Layout};
use crate::cli::files;
use crate::cli::kernels::{KernelArgs, Kernels};

const FORMAT: u32 = 1;
/// What the record's name has more than the bundle's.
const SUFFIX: &str = ".bundle.json";

/// What a bundle was made of.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) format: u32,
    /// The program, with its version.
    pub(super) generator: String,
    pub(super) layout: String,
    /// The archive's snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<u64>,
    /// The expression of `--select`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) select: Option<String>,
    /// What `--modules` said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) modules: Option<String>,
    pub(super) objects: Vec<Object>,
    /// For each kernel of an archive the first eight bytes of [`crate::cli::kernels::Blob::source`]. A single file has them in its table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) kernels: BTreeMap<String, String>,
    /// For each other kernel those of the digest of its minimised BTF. A single file has them in its table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) minimized: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    /// The file's name without its folder.
    pub(super) name: String,
    pub(super) sha256: Digest,
}

impl Record {
    /// A record without kernels.
    pub(super) fn new(
        layout: Layout,
        kernels: &Kernels,
        args: &KernelArgs,
        paths: &[PathBuf],
        objects: &[Vec<u8>],
    ) -> Record {
        Record {
            format: FORMAT,
            generator: concat!("btf-minimize ", env!("CARGO_PKG_VERSION")).to_owned(),
            layout: layout.name(),
            snapshot: kernels.snapshot,
            select: args.selection(),
            modules: args.modules(),
            objects: Object::of(paths, objects),
            kernels: BTreeMap::new(),
            minimized: BTreeMap::new(),
        }
    }

    pub(super) fn with(mut self, entries: &[Entry]) -> Record {
        for Entry { key, source, btf, .. } in entries {
            match source {
                Some(source) => self.kernels.insert(key.to_string(), beginning(source.as_bytes())),
                None => self.minimized.insert(key.to_string(), beginning(Digest::of(btf).as_bytes())),
            };
        }
        self
    }

    /// Writes the record beside a bundle.
    pub(super) fn write(&self, bundle: &Path) -> anyhow::Result<()> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        files::write(&beside(bundle), &json)
    }

    /// Reads a bundle's record.
    pub(super) fn read(bundle: &Path) -> anyhow::Result<Record> {
        let read = || -> anyhow::Result<Record> {
            if bundle.is_file() {
                let data = fs::read(bundle)?;
                if data.starts_with(&MAGIC) {
                    let bundle = Bundle::open(&data)?;
                    let mut record: Record = serde_json::from_str(bundle.record())?;
                    for kernel in bundle.kernels() {
                        let key = kernel.key().to_owned();
                        match kernel.source() {
                            Some(source) => record.kernels.insert(key, beginning(&source)),
                            None => record.minimized.insert(key, beginning(kernel.digest().as_bytes())),
                        };
                    }
                    return Ok(record);
                }
            }
            let path = beside(bundle);
            let json = fs::read(&path)
                .with_context(|| format!("there is no record of what it was made of, {}", path.display()))?;
            Ok(serde_json::from_slice(&json)?)
        };
        let record = read().with_context(|| bundle.display().to_string())?;
        anyhow::ensure!(record.format == FORMAT, "{}: a record of a newer format", bundle.display());
        Ok(record)
    }
}

impl Object {
    pub(super) fn of(paths: &[PathBuf], objects: &[Vec<u8>]) -> Vec<Object> {
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let object =
            |(path, data): (&PathBuf, &Vec<u8>)| Object { name: name(path), sha256: Digest::of(data) };
        paths.iter().zip(objects).map(object).collect()
    }
}

/// Where the record of a bundle lies that has no place for it.
pub(super) fn beside(bundle: &Path) -> PathBuf {
    let mut name = bundle.file_name().unwrap_or_default().to_owned();
    name.push(SUFFIX);
    bundle.with_file_name(name)
}

/// The first eight bytes of a digest, in hexadecimal.
pub(super) fn beginning(digest: &[u8]) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
