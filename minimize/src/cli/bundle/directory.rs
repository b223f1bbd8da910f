//! Bundles as directories: made beside their place and then given their name, so that there is never half of one.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::names::Member;
use super::record::{self, Record};
use crate::cli::files;

/// Writes the files, equal ones as hard links where the file system has them; gives how many bytes that takes.
pub(super) fn write(path: &Path, members: &[Member<'_>], record: Record) -> anyhow::Result<u64> {
    let store = || -> anyhow::Result<u64> {
        let old = path.exists() && fs::read_dir(path)?.next().is_some();
        anyhow::ensure!(
            !old || record::beside(path).exists(),
            "it is there already, and not a bundle that btf-minimize wrote; remove it, or name another place"
        );
        let folder = files::folder(path);
        let fresh = tempfile::Builder::new().prefix(".btf-minimize-").tempdir_in(folder)?;
        let bytes = fill(fresh.path(), members)?;
        fs::set_permissions(fresh.path(), Permissions::from_mode(0o755))?;
        let away = tempfile::Builder::new().prefix(".btf-minimize-").tempdir_in(folder)?;
        if old {
            fs::rename(path, away.path().join("old"))?;
        }
        fs::rename(fresh.path(), path)?;
        File::open(folder)?.sync_all()?;
        Ok(bytes)
    };
    let bytes = store().with_context(|| format!("cannot write {}", path.display()))?;
    record.write(path)?;
    Ok(bytes)
}

fn fill(root: &Path, members: &[Member<'_>]) -> anyhow::Result<u64> {
    let mut known = HashMap::new();
    let mut bytes = 0;
    for member in members {
        let path = root.join(&member.name);
        fs::create_dir_all(files::folder(&path))?;
        if let Some(same) = known.get(&member.data)
            && fs::hard_link(same, &path).is_ok()
        {
            continue;
        }
        fs::write(&path, &member.data)?;
        File::open(&path)?.sync_all()?;
        bytes += member.data.len() as u64;
        known.insert(&member.data, path);
    }
    Ok(bytes)
}
