//! Finding the supplementary file (`dwz -m`) of a file's DWARF, as debuggers do: where the file says, or by build-id.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use btfgen::dwarf::Link;
use btfgen::elf::{Image, ReadAt};
use memmap2::Mmap;

/// Where a file's supplementary file may be.
#[derive(clap::Args)]
pub(crate) struct Sought {
    /// The supplementary file that the DWARF refers to, if it was processed by dwz -m [default: sought where the file says, and by
    /// build-id]
    #[arg(long, value_name = "FILE")]
    alt: Option<PathBuf>,
    /// Folder with debug files by build-id (.build-id/ab/cdef….debug)
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/debug")]
    debug_root: PathBuf,
}

impl Sought {
    /// The supplementary file of the file at `path`, whose content is `data`. `None` if it names none, or if it is not found: the
    /// conversion then says whether it was needed.
    pub(crate) fn find(&self, path: &Path, data: &dyn ReadAt) -> anyhow::Result<Option<Mmap>> {
        if let Some(given) = &self.alt {
            return map(given).map(Some);
        }
        // What is wrong with the file itself, its conversion says.
        let Ok(image) = Image::parse(data) else { return Ok(None) };
        let Ok(Some(link)) = Link::of(&image) else { return Ok(None) };
        let folder = std::path::absolute(path)?.parent().map(Path::to_path_buf).unwrap_or_default();
        let found = candidates(&link, &folder, &self.debug_root).into_iter().find_map(|candidate| {
            let file = map(&candidate).ok()?;
            let meant = link.check(&image, &Image::parse(&file).ok()?).is_ok();
            meant.then_some(file)
        });
        Ok(found)
    }
}

/// Where to look, best first. A tree of debug files may have been unpacked anywhere, so all folders that `folder` is in are tried as its root.
fn candidates(link: &Link, folder: &Path, debug_root: &Path) -> Vec<PathBuf> {
    let path = Path::new(OsStr::from_bytes(&link.path));
    let mut candidates = vec![folder.join(path)];
    if let Ok(below_root) = path.strip_prefix("/") {
        candidates.extend(folder.ancestors().map(|root| root.join(below_root)));
    }
    let id = hex::encode(&link.id);
    if let Some((first, rest)) = id.split_at_checked(2) {
        let by_id = Path::new(".build-id").join(first).join(format!("{rest}.debug"));
        candidates.extend(folder.ancestors().chain([debug_root]).map(|root| root.join(&by_id)));
    }
    candidates
}

fn map(path: &Path) -> anyhow::Result<Mmap> {
    let failed = |what| format!("{}: cannot be {what}", path.display());
    let file = File::open(path).with_context(|| failed("opened"))?;
    // SAFETY: as for the file that refers to it (see `vmlinux`): bytes are only read, and every access is bounds-checked.
    #[allow(unsafe_code)]
    unsafe { Mmap::map(&file) }.with_context(|| failed("mapped"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check the places and their order, for links as packages have them.
    #[test]
    fn places() {
        let link = |path: &[u8]| Link { path: path.into(), id: vec![0xab, 0xcd, 0xef] };
        let shown = |link: &Link| {
            let found = candidates(link, Path::new("/tree/usr/lib/debug/boot"), Path::new("/debug"));
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let relative = shown(&link(b"../../../.dwz/kernel"));
        assert_eq!(relative[0], "/tree/usr/lib/debug/boot/../../../.dwz/kernel");
        assert_eq!(relative[1], "/tree/usr/lib/debug/boot/.build-id/ab/cdef.debug");
        assert_eq!(relative[2], "/tree/usr/lib/debug/.build-id/ab/cdef.debug");
        assert_eq!(relative.last().unwrap(), "/debug/.build-id/ab/cdef.debug");
        let absolute = shown(&link(b"/usr/lib/debug/.dwz/kernel"));
        assert_eq!(absolute[0], "/usr/lib/debug/.dwz/kernel");
        assert!(absolute.contains(&"/tree/usr/lib/debug/.dwz/kernel".to_owned()));
        assert_eq!(
            candidates(&Link { path: b"x".to_vec(), id: vec![] }, Path::new("/"), Path::new("/")).len(),
            1
        );
    }
}
