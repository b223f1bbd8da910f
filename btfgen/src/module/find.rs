//! Finding modules: the files below `/lib/modules/RELEASE`, and of debug packages below `/usr/lib/debug/lib/modules/RELEASE`.

use std::io;
use std::path::{Path, PathBuf};

/// Folders inside each other that are looked into.
const MAX_DEPTH: usize = 32;

/// The modules below a folder, sorted by path: all files that [`name_of`] takes for modules. Symbolic links are not followed.
///
/// # Errors
/// The folder that cannot be read, and why.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    let mut pending = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        let failed = |error| (folder.clone(), error);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            if kind.is_dir() && depth < MAX_DEPTH {
                pending.push((path, depth + 1));
            } else if kind.is_file() && name_of(&path).is_some() {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What the kernel calls the module in a file: the file's name without `.ko`, `.debug` and the ending of a compression, and with
/// underscores for dashes. `None` if it is not named like a module.
pub fn name_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = [".xz", ".zst", ".gz"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let name = name.strip_suffix(".debug").unwrap_or(name);
    let name = name.strip_suffix(".ko").filter(|name| !name.is_empty())?;
    Some(name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check what is taken for a module, and its name.
    #[test]
    fn names() {
        let named = |path: &str| name_of(Path::new(path));
        for path in
            ["a/snd-pcm.ko", "snd_pcm.ko.xz", "snd-pcm.ko.debug", "snd-pcm.ko.debug.zst", "/snd-pcm.ko.gz"]
        {
            assert_eq!(named(path).as_deref(), Some("snd_pcm"), "{path}");
        }
        for path in ["vmlinux", ".ko", "modules.dep", "a.ko.txt", "a.ko/b", "a.o"] {
            assert_eq!(named(path), None, "{path}");
        }
    }
}
