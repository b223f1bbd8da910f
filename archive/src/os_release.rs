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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(text: &str) -> Vec<String> {
        OsRelease::parse(text).keys("x86_64", "5.4.0").iter().map(Key::to_string).collect()
    }

    /// Check the files of distributions that quote and number differently.
    #[test]
    fn os_release_of_distributions() {
        for (text, key) in [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n",
                "debian/12",
            ),
            (
                "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"18.04\"\nUBUNTU_CODENAME=bionic\n",
                "ubuntu/18.04",
            ),
            ("ID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"7\"\n", "centos/7"),
            ("ID=\"rhel\"\r\nVERSION_ID=\"8.6\"\r\n", "rhel/8"),
            ("ID=\"amzn\"\nVERSION_ID=\"2018.03\"\n", "amzn/2018"),
            ("NAME=\"SLES\"\nVERSION=\"12-SP5\"\nVERSION_ID=\"12.5\"\nID=\"sles\"\n", "sles/12.5"),
            ("ID='opensuse-leap'\nVERSION_ID='15.4'\n", "opensuse-leap/15.4"),
            ("ID=fedora\nVERSION_ID=39 # a comment\n", "fedora/39"),
        ] {
            assert_eq!(keys(text), [format!("{key}/x86_64/5.4.0")]);
        }
    }

    /// Check that a file which leaves the version open gives every version it can mean.
    #[test]
    fn os_release_several_keys() {
        let sid = "PRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nVERSION_CODENAME=forky\nID=debian\n";
        assert_eq!(keys(sid), ["debian/14/x86_64/5.4.0", "debian/sid/x86_64/5.4.0"]);
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"21.3\"\nUBUNTU_CODENAME=jammy\n";
        assert_eq!(keys(mint), ["linuxmint/21.3/x86_64/5.4.0", "ubuntu/22.04/x86_64/5.4.0"]);
        assert_eq!(keys("ID=arch\n"), [""; 0]);
        assert_eq!(keys("# nothing\n"), [""; 0]);
    }

    /// Check quoting as os-release(5) has it, and that odd lines are passed over.
    #[test]
    fn os_release_quoting() {
        let text = "junk\n =x\n#ID=no\n  ID=\"a\\\"b\\$c\"\nPRETTY_NAME='it''s \\n'\nVERSION_ID=\"unclosed\nID_LIKE=one\\ two\n";
        let found = OsRelease::parse(text);
        assert_eq!(found.id, "a\"b$c");
        assert_eq!(found.pretty_name.as_deref(), Some("its \\n"));
        assert_eq!(found.version_id.as_deref(), Some("unclosed"));
        assert_eq!(found.id_like, ["one", "two"]);
        assert_eq!(OsRelease::parse("").id, "linux");
        assert_eq!(OsRelease::parse("ID=a\nID=b\nID=\n").id, "b");
    }

    /// Check that a key which cannot be made says which part is missing.
    #[test]
    fn os_release_key_missing_version() {
        let refused = OsRelease::parse("ID=arch\n").key("x86_64", "6.1").unwrap_err();
        assert_eq!(refused.to_string(), "kernel key: version `` is empty");
    }

    proptest! {
        /// Check that no text makes the parser panic or invent bytes.
        #[test]
        fn os_release_any_text(text in "([A-Z_]{0,8}=?[\"'\\\\a-z .#é]{0,12}\n?){0,12}") {
            let found = OsRelease::parse(&text);
            prop_assert!(found.id == "linux" || found.id.len() <= text.len());
        }
    }
}
