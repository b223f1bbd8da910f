//! Keys and certificates that definitions name, as far as they are on this machine.

use std::path::{Path, PathBuf};

use super::definition::ClientCertificate;
use crate::fetch;
use crate::repo::keyring::{self, Keyring};

/// Keys that may sign, pinned by a definition: files, of which the first that exists is used, and the certificates that may be
/// in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedKeys {
    /// Keyring files.
    pub files: Vec<PathBuf>,
    /// Fingerprints in upper-case hexadecimal; any certificate where there are none.
    pub fingerprints: Vec<String>,
}

impl PinnedKeys {
    /// The keyring of the first file that exists, with those of its certificates that are pinned; `None` where there is no such file.
    ///
    /// # Errors
    /// The file cannot be read, or holds none of the pinned certificates.
    pub fn open(&self) -> Result<Option<Keyring>, keyring::Error> {
        let Some(path) = self.installed() else { return Ok(None) };
        let keyring = Keyring::open(path)?;
        if self.fingerprints.is_empty() {
            Ok(Some(keyring))
        } else {
            keyring.pinned(&self.fingerprints).map(Some)
        }
    }

    /// The first file that exists.
    pub fn installed(&self) -> Option<&Path> {
        self.files.iter().map(PathBuf::as_path).find(|path| path.is_file())
    }

    /// The first file that exists, if all its certificates are pinned ones, so that it can be handed on by its path.
    pub fn file(&self) -> Option<PathBuf> {
        let path = self.installed()?;
        let keyring = Keyring::open(path).ok()?;
        (self.fingerprints.is_empty() || keyring.holds_only(&self.fingerprints)).then(|| path.to_owned())
    }
}

impl ClientCertificate {
    /// The same with the names of files that are on this machine, if there are such.
    ///
    /// A `*` in the certificate's file name stands for anything: entitlements are named after their serial number.
    pub fn installed(&self) -> Option<Self> {
        let (certificate, key) = self.pair()?;
        Some(Self {
            certificate,
            key,
            authority: self.authority.clone().filter(|authority| authority.is_file()),
        })
    }

    /// A client that logs in with it, and shares everything else with `client`.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be; the message names it.
    pub fn client(&self, client: &fetch::Client) -> Result<fetch::Client, String> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let identity = [read(&self.key)?, read(&self.certificate)?].join(&b'\n');
        let authority = self.authority.as_deref().map(read).transpose()?.unwrap_or_default();
        client
            .with_certificate(&identity, &authority)
            .map_err(|error| format!("{}: {error}", self.certificate.display()))
    }

    fn pair(&self) -> Option<(PathBuf, PathBuf)> {
        let name = self.certificate.file_name()?.to_str()?;
        let Some((before, after)) = name.split_once('*') else {
            return (self.certificate.is_file() && self.key.is_file())
                .then(|| (self.certificate.clone(), self.key.clone()));
        };
        let folder = self.certificate.parent()?;
        let mut found: Vec<(PathBuf, PathBuf)> = std::fs::read_dir(folder)
            .ok()?
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let stem = name.strip_prefix(before)?.strip_suffix(after)?.to_owned();
                let key = self.key.with_file_name(self.key.file_name()?.to_str()?.replace('*', &stem));
                key.is_file().then(|| (entry.path(), key))
            })
            .collect();
        found.sort();
        found.into_iter().next()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Check that an entitlement is found by its pattern when it has its key, and not without.
    #[test]
    fn entitlements() {
        let dir = tempfile::tempdir().unwrap();
        let pattern = ClientCertificate {
            certificate: dir.path().join("*.pem"),
            key: dir.path().join("*-key.pem"),
            authority: None,
        };
        assert_eq!(pattern.installed(), None);
        for name in ["1.pem", "2.pem", "2-key.pem", "3.txt"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let (certificate, key) = (dir.path().join("2.pem"), dir.path().join("2-key.pem"));
        assert_eq!(pattern.installed(), Some(ClientCertificate { certificate, key, authority: None }));
    }
}
