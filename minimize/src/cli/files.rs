//! Reading kernels and objects, and writing a result whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use btf_minimize::{Error, Kernel, Object, WithModules};
use memmap2::{Mmap, MmapOptions};

/// The bytes of a kernel's file, mapped where that can be done.
pub(crate) enum KernelFile {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl KernelFile {
    /// Opens raw BTF or an ELF file: a vmlinux may have a gigabyte, of which only the section with the BTF is ever touched.
    pub(crate) fn open(path: &Path) -> anyhow::Result<KernelFile> {
        let name = || path.display().to_string();
        let mut file = File::open(path).with_context(name)?;
        // Reading 4 MB into fresh memory instead takes as long as everything else that the program does (2 of 4 ms).
        // SAFETY: the mapping is private and only read. Somebody who changes the file meanwhile can make the answer wrong or, shortening it, end this
        // process, as with a changed input of any tool; every reader of the bytes checks each access against the slice's length.
        #[allow(unsafe_code)]
        if let Ok(map) = unsafe { MmapOptions::new().map_copy_read_only(&file) } {
            return Ok(KernelFile::Mapped(map));
        }
        let mut data = Vec::new();
        file.read_to_end(&mut data).with_context(name)?; // BTF in an older kernel's sysfs cannot be mapped
        Ok(KernelFile::Read(data))
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            KernelFile::Mapped(map) => map,
            KernelFile::Read(data) => data,
        }
    }

    /// Opens the kernel in it.
    pub(crate) fn kernel(&self, path: &Path) -> anyhow::Result<Kernel<'_>> {
        Kernel::open(self.bytes()).with_context(|| path.display().to_string())
    }
}

/// A kernel with modules.
pub(crate) fn with_modules(
    kernel: &KernelFile,
    path: &Path,
    modules: &[PathBuf],
) -> anyhow::Result<WithModules> {
    let open = |module: &PathBuf| KernelFile::open(module);
    let files = modules.iter().map(open).collect::<anyhow::Result<Vec<_>>>()?;
    let bytes: Vec<_> = files.iter().map(KernelFile::bytes).collect();
    WithModules::new(kernel.bytes(), &bytes).map_err(|error| match error {
        Error::Module { index, reason } => anyhow::anyhow!("{}: {reason}", modules[index].display()),
        error => anyhow::Error::new(error).context(path.display().to_string()),
    })
}

/// Reads the files of BPF objects.
pub(crate) fn read_objects(paths: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    paths.iter().map(|path| fs::read(path).with_context(|| path.display().to_string())).collect()
}

/// Opens what [`read_objects`] read.
pub(crate) fn open_objects<'a>(paths: &[PathBuf], files: &'a [Vec<u8>]) -> anyhow::Result<Vec<Object<'a>>> {
    let open = |(path, data): (&PathBuf, &'a Vec<u8>)| {
        Object::parse(data).with_context(|| path.display().to_string())
    };
    paths.iter().zip(files).map(open).collect()
}

/// The folder that a file lies in.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file under a temporary name beside it, and gives it its name once it is safely on disk.
pub(crate) fn write(path: &Path, data: &[u8]) -> anyhow::Result<()> {
    let folder = folder(path);
    let store = || -> anyhow::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".btf-minimize-")
            .permissions(Permissions::from_mode(0o666)) // less the umask
            .tempfile_in(folder)?;
        file.write_all(data)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    };
    store().with_context(|| format!("cannot write {}", path.display()))
}
