//! Reading kernels and objects, and writing a result whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use btf_minimize::{Kernel, Object};
use object::read::{Object as _, ObjectSection as _, ReadCache};

/// Reads a kernel's BTF: the whole file, or of an ELF file (a vmlinux may have a gigabyte) only its `.BTF` section.
pub(crate) fn read_btf(path: &Path) -> anyhow::Result<Vec<u8>> {
    let name = || path.display().to_string();
    let mut file = File::open(path).with_context(name)?;
    let mut magic = Vec::new();
    (&file).take(4).read_to_end(&mut magic).with_context(name)?;
    if magic != b"\x7fELF" {
        file.rewind().with_context(name)?;
        let mut data = Vec::new();
        file.read_to_end(&mut data).with_context(name)?;
        return Ok(data);
    }
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).with_context(name)?;
    let section = elf.section_by_name(".BTF").ok_or(btf_minimize::Error::NoBtf).with_context(name)?;
    let data = section.data().with_context(|| format!("{}: section .BTF", name()))?;
    Ok(data.to_vec())
}

/// Opens what [`read_btf`] read.
pub(crate) fn open_kernel<'a>(path: &Path, data: &'a [u8]) -> anyhow::Result<Kernel<'a>> {
    Kernel::open(data).with_context(|| path.display().to_string())
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

/// Writes a file under a temporary name beside it, and gives it its name once it is safely on disk.
pub(crate) fn write(path: &Path, data: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
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
