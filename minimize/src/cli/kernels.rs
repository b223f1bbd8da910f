//! The kernels of a command that goes over many: those of an archive, or files.

use std::path::PathBuf;

use anyhow::Context as _;
use btf_archive::reader::{Buffers, Reader, RootArgs};
use btf_archive::{Digest, KernelRecord, Key, Source, order};
use rayon::prelude::*;

use super::files;
use super::modules::{Modules, Opened};
use super::select::Selection;
use super::telling::plural;

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
    /// Modules of the archive's kernels whose types count too: their names, separated by commas, or 'all'
    #[arg(long, value_name = "NAMES", requires = "archive")]
    modules: Option<Modules>,
    /// A module whose types count too, of the one kernel that --btf names: split BTF, or a .ko with it; may be repeated
    #[arg(long, value_name = "FILE", requires = "btf")]
    module: Vec<PathBuf>,
}

/// Where a kernel's BTF is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blob {
    Archived {
        btf: Digest,
        /// That of its modules, where they count.
        modules: Option<Digest>,
    },
    File(PathBuf),
}

impl Blob {
    /// What tells whether a kernel is still the same: the digest of its BTF, and with modules that of both digests. Files have none.
    pub(crate) fn source(&self) -> Option<Digest> {
        match self {
            Blob::Archived { btf, modules: None } => Some(*btf),
            Blob::Archived { btf, modules: Some(modules) } => {
                Some(Digest::of(&[*btf.as_bytes(), *modules.as_bytes()].concat()))
            }
            Blob::File(_) => None,
        }
    }
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
    /// Which modules count, of archived kernels.
    pub(super) modules: Option<Modules>,
    /// Those of the one file.
    pub(super) module_files: Vec<PathBuf>,
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

    /// What `--modules` says, as it was written.
    pub(crate) fn modules(&self) -> Option<String> {
        self.modules.as_ref().map(ToString::to_string)
    }

    /// Chooses modules, where the command line did not.
    pub(crate) fn choose_modules(&mut self, modules: Modules) {
        self.modules = Some(modules);
    }

    /// Finds the kernels; none is read yet.
    pub(crate) fn open(&self) -> anyhow::Result<Kernels> {
        anyhow::ensure!(
            self.module.is_empty() || (self.btf.len() == 1 && self.archive.is_none()),
            "--module is for one kernel, named with --btf; for an archive's there is --modules"
        );
        let mut kernels = Kernels {
            reader: None,
            modules: self.modules.clone(),
            module_files: self.module.clone(),
            names: Vec::new(),
            snapshot: None,
        };
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
                    let modules = record.modules.filter(|_| self.modules.is_some());
                    let (name, blob) =
                        (record.key.to_string(), Blob::Archived { btf: record.digest, modules });
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
    /// Says which archived kernels have no modules there, if modules were asked for.
    pub(crate) fn tell_without_modules(&self) {
        let without = |kernel: &&KernelName| {
            self.modules.is_some() && matches!(kernel.blob, Blob::Archived { modules: None, .. })
        };
        let without: Vec<_> = self.names.iter().filter(without).collect();
        if let [first, ..] = without[..] {
            let count = plural(without.len(), "kernel");
            eprintln!("btf-minimize: the archive has no modules of {count}, such as {}", first.name);
        }
    }

    /// Works on one blob.
    pub(crate) fn read<R>(
        &self,
        blob: &Blob,
        work: impl FnOnce(&Opened<'_>) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        self.read_in(blob, &mut Buffers::default(), work)
    }

    fn read_in<R>(
        &self,
        blob: &Blob,
        buffers: &mut Buffers,
        work: impl FnOnce(&Opened<'_>) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        match blob {
            Blob::Archived { btf, .. } => {
                let reader = self.reader.as_ref().context("no archive is open")?;
                work(&Opened { kernels: self, blob, bytes: reader.blob_in(btf, buffers)? })
            }
            Blob::File(path) => {
                let file = files::KernelFile::open(path)?;
                work(&Opened { kernels: self, blob, bytes: file.bytes() })
            }
        }
    }

    /// What an archive has beside a kernel's BTF: a blob of this digest.
    pub(crate) fn beside(&self, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        Ok(self.reader.as_ref().context("no archive is open")?.blob(digest)?)
    }

    /// Works on every blob once, several at a time, whatever number of kernels share it; gives the results in the order of the names, each
    /// with the indices of its kernels.
    pub(crate) fn each<R: Send>(
        &self,
        work: impl Fn(&[usize], &Opened<'_>) -> anyhow::Result<R> + Sync,
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
                let result = self.read_in(blob, buffers, |opened| work(&indices, opened));
                (indices, result)
            })
            .collect()
    }
}
