//! A directory of this machine with packages in it, at any depth: what they are, their names say.

use std::fs;
use std::path::{Path, PathBuf};

use btf_archive::Trust;
use url::Url;

use super::error::Error;
use super::found::{Finder, Found};
use super::indexed::{IndexedPackage, PackageName};

/// How deep below the directory packages are looked for.
const DEPTH: usize = 8;

/// Hands to `finder` every package below `path`. Links to other directories are not followed.
pub(super) fn read(path: &Path, finder: &mut Finder<'_>) -> Result<(), Error> {
    let fail = |path: &Path, source| Error::Directory { path: path.to_owned(), source };
    let root = fs::canonicalize(path).map_err(|source| fail(path, source))?;
    let mut waiting: Vec<(PathBuf, usize)> = vec![(root, 0)];
    while let Some((dir, depth)) = waiting.pop() {
        for entry in fs::read_dir(&dir).map_err(|source| fail(&dir, source))? {
            let entry = entry.map_err(|source| fail(&dir, source))?;
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < DEPTH {
                waiting.push((entry.path(), depth + 1));
                continue;
            }
            let Some(name) = entry.file_name().to_str().and_then(PackageName::of_file) else { continue };
            let Some(part) = finder.part(&name) else { continue };
            // Behind a link, too, stands a file of whoever filled the directory.
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            let Ok(url) = Url::from_file_path(entry.path()) else { continue };
            if metadata.is_file() {
                let package = IndexedPackage {
                    name,
                    url,
                    size: Some(metadata.len()),
                    installed: None,
                    depends: false,
                    checksum: None,
                    trust: Trust::None,
                };
                finder.found.push(Found { part, package });
                finder.check_count(&dir.display().to_string())?;
            }
        }
    }
    Ok(())
}
