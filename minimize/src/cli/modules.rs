//! The modules of a command's kernels: which of them count, and kernels opened with them.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use btf_minimize::{Error, Kernel, Object, WithModules};

use super::files::KernelFile;
use super::kernels::{Blob, Kernels};

/// Which modules of archived kernels count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Modules {
    All,
    /// Their names, with underscores.
    Named(Vec<String>),
}

impl FromStr for Modules {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        if text == "all" {
            return Ok(Modules::All);
        }
        let names = text.split(',').map(|name| underscored(name.trim()));
        Ok(Modules::Named(names.filter(|name| !name.is_empty()).collect()))
    }
}

impl fmt::Display for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Modules::All => f.write_str("all"),
            Modules::Named(names) => f.write_str(&names.join(",")),
        }
    }
}

impl Modules {
    fn mean(&self, name: &str) -> bool {
        match self {
            Modules::All => true,
            Modules::Named(names) => names.contains(&underscored(name)),
        }
    }
}

/// A module's name as the kernel says it, whatever its file is called.
fn underscored(name: &str) -> String {
    name.replace('-', "_")
}

/// A kernel's bytes, and where those of its modules are.
pub(crate) struct Opened<'k> {
    pub(super) kernels: &'k Kernels,
    pub(super) blob: &'k Blob,
    pub(super) bytes: &'k [u8],
}

impl Opened<'_> {
    /// Works on the kernel as these objects see it: with those types of modules that they ask for, where modules count.
    pub(crate) fn for_objects<R>(
        &self,
        objects: &[Object<'_>],
        work: impl FnOnce(&Kernel<'_>) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        let kernel = Kernel::open_for(self.bytes, objects)?;
        if self.has_modules() && kernel.lacks_any(objects) {
            let both = self.with_modules(|modules| WithModules::for_objects(&kernel, modules, objects))?;
            if let Some(both) = both {
                return work(&both.open_for(objects)?);
            }
        }
        work(&kernel)
    }

    /// Works on the kernel with everything that is in its modules, where modules count.
    pub(crate) fn whole<R>(&self, work: impl FnOnce(&Kernel<'_>) -> anyhow::Result<R>) -> anyhow::Result<R> {
        if self.has_modules() {
            let both = self.with_modules(|modules| WithModules::new(self.bytes, modules))?;
            return work(&both.open()?);
        }
        work(&Kernel::open(self.bytes)?)
    }

    fn has_modules(&self) -> bool {
        match self.blob {
            Blob::Archived { modules, .. } => modules.is_some(),
            Blob::File(_) => !self.kernels.module_files.is_empty(),
        }
    }

    /// Works on the modules' BTF; errors name the module.
    fn with_modules<R>(&self, work: impl FnOnce(&[&[u8]]) -> Result<R, Error>) -> anyhow::Result<R> {
        let (blob, files);
        let mut modules: Vec<(String, &[u8])> = Vec::new();
        match self.blob {
            Blob::Archived { btf, modules: Some(digest) } => {
                blob = self.kernels.beside(digest)?;
                let all = btf_archive::modules::Modules::parse(&blob)?;
                anyhow::ensure!(
                    all.base() == *btf,
                    "modules {digest}: they are of another kernel, {}",
                    all.base()
                );
                let meant =
                    |name: &str| self.kernels.modules.as_ref().is_some_and(|chosen| chosen.mean(name));
                let chosen = all.iter().filter(|(name, _)| meant(name));
                modules.extend(chosen.map(|(name, btf)| (format!("module {name}"), btf)));
            }
            Blob::Archived { modules: None, .. } => {}
            Blob::File(_) => {
                let paths = &self.kernels.module_files;
                files =
                    paths.iter().map(|path| KernelFile::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
                let names = paths.iter().map(|path| path.display().to_string());
                modules.extend(names.zip(files.iter().map(KernelFile::bytes)));
            }
        }
        let bytes: Vec<_> = modules.iter().map(|(_, btf)| *btf).collect();
        work(&bytes).map_err(|error| match error {
            Error::Module { index, reason } => anyhow::anyhow!("{}: {reason}", modules[index].0),
            error => error.into(),
        })
    }
}
