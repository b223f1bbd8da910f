//! The kernels of a command that goes over many: those of an archive, or files.

use std::path::PathBuf;

use anyhow::Context as _;
use btf_archive::reader::{Buffers, Reader, RootArgs};
use btf_archive::{Digest, KernelRecord, Key, Source, order};
use rayon::prelude::*;

use super::files;
use super::select::Selection;

/// Options that say which kernels.
#[derive(clap::Args)]
pub(crate) struct KernelArgs {
    /// An archive: a directory, or the address of one or of a server
    #[arg(long, value_name = "DIR|URL", required_unless_present = "btf")]
    archive: Option<String>,
    #[command(flatten)]
    roots: RootArgs,
    /// Only kernels that this means: 'debian>=11 x86_64, ubuntu 18.04 generic'
    #[arg(long, value_name = "EXPRESSION", requires = "archive")]
    select: Option<Selection>,
    /// A kernel: raw BTF, or an ELF file with a .BTF section; of either byte order; may be repeated
    #[arg(long, value_name = "FILE")]
    btf: Vec<PathBuf>,
}

/// Where a kernel's BTF is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blob {
    Archived(Digest),
    File(PathBuf),
}

/// One kernel.
#[derive(Clone, Debug)]
pub(crate) struct KernelName {
    /// Its key, or the name of its file.
    pub(crate) name: String,
    pub(crate) record: Option<KernelRecord>,
    pub(crate) blob: Blob,
}

impl KernelName {
    /// Whether it carries BTF itself, where that is known.
    pub(crate) fn own_btf(&self) -> Option<bool> {
        match self.record.as_ref()?.provenance.source {
            Source::Embedded => Some(true),
            Source::Dwarf => Some(false),
            Source::Upload => None,
        }
    }

    pub(crate) fn key(&self) -> Option<&Key> {
        self.record.as_ref().map(|record| &record.key)
    }
}

/// All kernels of a command.
pub(crate) struct Kernels {
    reader: Option<Reader>,
    /// In the order in which people read versions.
    pub(crate) names: Vec<KernelName>,
    /// The number of the archive's snapshot.
    pub(crate) snapshot: Option<u64>,
}

impl KernelArgs {
    /// The expression of `--select`, as it was written.
    pub(crate) fn selection(&self) -> Option<String> {
        self.select.as_ref().map(ToString::to_string)
    }

    /// Selects kernels, where the command line did not.
    pub(crate) fn select(&mut self, selection: Selection) {
        self.select = Some(selection);
    }

    /// Finds the kernels; none is read yet.
    pub(crate) fn open(&self) -> anyhow::Result<Kernels> {
        let mut kernels = Kernels { reader: None, names: Vec::new(), snapshot: None };
        for path in &self.btf {
            let name = path.display().to_string();
            kernels.names.push(KernelName { name, record: None, blob: Blob::File(path.clone()) });
        }
        if let Some(location) = &self.archive {
            let reader = self.roots.reader(location)?;
            let snapshot = reader.snapshot()?;
            if let Some(warning) = &reader.newest()?.warning {
                eprintln!("btf-minimize: warning: {location}: {warning}");
            }
            kernels.snapshot = Some(snapshot.number);
            for record in snapshot.kernels {
                if self.select.as_ref().is_none_or(|selection| selection.means(&record.key)) {
                    let (name, blob) = (record.key.to_string(), Blob::Archived(record.digest));
                    kernels.names.push(KernelName { name, record: Some(record), blob });
                }
            }
            kernels.reader = Some(reader);
        }
        kernels.names.sort_by_cached_key(|kernel| order(&kernel.name));
        anyhow::ensure!(
            !kernels.names.is_empty(),
            "there is no kernel to go over: --select means none of the archive's"
        );
        Ok(kernels)
    }
}

impl Kernels {
    fn one<R>(
        &self,
        blob: &Blob,
        buffers: &mut Buffers,
        work: impl FnOnce(&[u8]) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        match blob {
            Blob::Archived(digest) => {
                let reader = self.reader.as_ref().context("no archive is open")?;
                work(reader.blob_in(digest, buffers)?)
            }
            Blob::File(path) => work(files::KernelFile::open(path)?.bytes()),
        }
    }

    /// Works on every blob once, several at a time, whatever number of kernels share it; gives the results in the order of the names, each
    /// with the indices of its kernels.
    pub(crate) fn each<R: Send>(
        &self,
        work: impl Fn(&[usize], &[u8]) -> anyhow::Result<R> + Sync,
    ) -> Vec<(Vec<usize>, anyhow::Result<R>)> {
        let mut groups: Vec<(Vec<usize>, &Blob)> = Vec::new();
        let mut known = std::collections::BTreeMap::new();
        for (index, kernel) in self.names.iter().enumerate() {
            let group = *known.entry(&kernel.blob).or_insert_with(|| {
                groups.push((Vec::new(), &kernel.blob));
                groups.len() - 1
            });
            groups[group].0.push(index);
        }
        groups
            .into_par_iter()
            .map_init(Buffers::default, |buffers, (indices, blob)| {
                let result = self.one(blob, buffers, |bytes| work(&indices, bytes));
                (indices, result)
            })
            .collect()
    }
}
