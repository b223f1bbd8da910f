//! What was seen of an archive before, so that nothing older is taken: a small file, replaced atomically.
//!
//! ```json
//! {"https://btf.example": {"keys": 3, "snapshot": {"number": 42, "digest": "…"}}}
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::snapshot::Link;

/// The most bytes the file may have.
const MAX_FILE: u64 = 16 << 20;

/// The newest that was seen of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The highest version of its list of keys; 0 if none was seen.
    pub keys: u64,
    /// Its highest snapshot.
    pub snapshot: Option<Link>,
}

impl Seen {
    /// The newer of both, in each respect.
    fn or_newer(self, other: Self) -> Self {
        let newer = |seen: &Self| seen.snapshot.map_or(0, |link| link.number);
        let snapshot = if newer(&self) >= newer(&other) { self.snapshot } else { other.snapshot };
        Self { keys: self.keys.max(other.keys), snapshot }
    }
}

/// The file in which a host remembers what it has seen, of any number of archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenFile(PathBuf);

impl SeenFile {
    /// The file at this path; it need not be there.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The file of the user with these environment variables: `$XDG_STATE_HOME/btf-archive/seen.json`, below
    /// `$HOME/.local/state` without the first; none without a home.
    pub fn of_user(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<Self> {
        let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = set("XDG_STATE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
        Some(Self(state.join("btf-archive/seen.json")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What was seen of the archive at `location`; nothing, if there is no file yet.
    ///
    /// # Errors
    /// [`Error::Seen`] for a file that cannot be read: a reader must not forget because of one.
    pub fn read(&self, location: &str) -> Result<Seen> {
        Ok(self.all()?.get(&name(location)).copied().unwrap_or_default())
    }

    /// Remembers what was seen of the archive at `location`, unless something newer was seen meanwhile.
    ///
    /// # Errors
    /// [`Error::Seen`].
    pub fn remember(&self, location: &str, seen: Seen) -> Result<()> {
        let directory = match self.0.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let fail = |error: std::io::Error| self.error(error);
        fs::create_dir_all(directory).map_err(fail)?;
        // Held until the end: several programs may remember at once.
        let lock = self.beside(".lock");
        let lock = File::options().create(true).truncate(false).write(true).open(lock).map_err(fail)?;
        lock.lock().map_err(fail)?;
        let (mut all, name) = (self.all()?, name(location));
        let known = all.get(&name).copied().unwrap_or_default();
        let newest = seen.or_newer(known);
        if newest == known {
            return Ok(());
        }
        all.insert(name, newest);
        let mut json = serde_json::to_vec_pretty(&all).map_err(|error| self.error(error))?;
        json.push(b'\n');
        let temporary = self.beside(".new");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.0)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(fail)
    }

    fn all(&self) -> Result<BTreeMap<String, Seen>> {
        match fs::metadata(&self.0) {
            Ok(file) if file.len() > MAX_FILE => return Err(self.error("it is larger than 16 MiB")),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            _ => {}
        }
        let json = fs::read(&self.0).map_err(|error| self.error(error))?;
        serde_json::from_slice(&json).map_err(|error| {
            self.error(format!(
                "not what this program wrote: {error}; remove it to trust anew what archives say"
            ))
        })
    }

    /// The path of a file beside this one.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    fn error(&self, reason: impl ToString) -> Error {
        Error::Seen { path: self.0.clone(), reason: reason.to_string() }
    }
}

/// The one name of an archive: an address without the slash at its end, or a directory's path from the root.
fn name(location: &str) -> String {
    let path = location.strip_prefix("file://").unwrap_or(location);
    match fs::canonicalize(path) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => location.trim_end_matches('/').to_owned(),
    }
}
