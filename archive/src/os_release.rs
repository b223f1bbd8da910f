//! os-release files: which distribution this is.
//!
//! The format is os-release(5): lines of `NAME=value`, the value quoted as in a shell. Only what identifies kernels is
//! kept. The parser is as lenient as the readers in the wild: a line it cannot read is passed over, and the last of
//! several assignments holds.

use crate::{Error, Key, alias};

/// The fields of an os-release file that say whose kernels a host runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`, as written but unquoted; `linux` where it is missing, as os-release(5) says.
    pub id: String,
    /// `VERSION_ID`; missing on rolling distributions and Debian's testing and unstable.
    pub version_id: Option<String>,
    /// `VERSION_CODENAME`.
    pub version_codename: Option<String>,
    /// `ID_LIKE`, the closest relative first.
    pub id_like: Vec<String>,
    /// `UBUNTU_CODENAME`: distributions derived from Ubuntu, with its kernels, name its release here.
    pub ubuntu_codename: Option<String>,
    /// `PRETTY_NAME`, for people.
    pub pretty_name: Option<String>,
}

impl OsRelease {
    /// Where the file lies, in the order os-release(5) gives.
    pub const PATHS: [&'static str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

    /// Reads the text of an os-release file.
    pub fn parse(text: &str) -> Self {
        let mut out = Self { id: "linux".to_owned(), ..Self::default() };
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = unshell(value);
            if value.is_empty() {
                continue;
            }
            match name {
                "ID" => out.id = value,
                "VERSION_ID" => out.version_id = Some(value),
                "VERSION_CODENAME" => out.version_codename = Some(value),
                "ID_LIKE" => out.id_like = value.split_whitespace().map(str::to_owned).collect(),
                "UBUNTU_CODENAME" => out.ubuntu_codename = Some(value),
                "PRETTY_NAME" => out.pretty_name = Some(value),
                _ => {}
            }
        }
        out
    }

    /// The keys under which an archive may hold the kernel `release` of this host, the likeliest first.
    ///
    /// `arch` is the architecture in any spelling. More than one where os-release leaves it open: Debian's testing and
    /// unstable share one file, and derivatives of Ubuntu run Ubuntu's kernels. Empty if nothing makes a [`Key`].
    pub fn keys(&self, arch: &str, release: &str) -> Vec<Key> {
        let mut out: Vec<Key> = Vec::new();
        let mut propose = |distro: &str, version: Option<&str>| {
            if let Some(key) = version.and_then(|version| Key::new(distro, version, arch, release).ok())
                && !out.contains(&key)
            {
                out.push(key);
            }
        };
        propose(&self.id, self.version_id.as_deref().or(self.version_codename.as_deref()));
        match alias::distro(&self.id).as_str() {
            "debian" if self.version_id.is_none() => propose("debian", Some("sid")),
            "ubuntu" => {}
            _ => propose("ubuntu", self.ubuntu_codename.as_deref()),
        }
        out
    }

    /// The first of [`OsRelease::keys`].
    ///
    /// # Errors
    /// [`Error::Key`] saying what is missing or unfit.
    pub fn key(&self, arch: &str, release: &str) -> Result<Key, Error> {
        let version = self.version_id.as_deref().or(self.version_codename.as_deref()).unwrap_or_default();
        Key::new(&self.id, version, arch, release)
    }
}

/// A shell word as os-release(5) allows it: bare, or in single or double quotes, with backslash escapes.
fn unshell(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (Some('\''), _) => out.push(c),
            (_, '\\') => out.extend(chars.next()),
            (None, ' ' | '\t' | '#') => break,
            _ => out.push(c),
        }
    }
    out
}
