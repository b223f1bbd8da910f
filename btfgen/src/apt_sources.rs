//! Where this machine finds the Debian archive: apt's own configuration.
//!
//! Reads the one-line `*.list` files and the deb822 `*.sources` files of sources.list(5) and answers one question: at which
//! addresses may the archive that holds a given suite be? A machine lists two Debian archives, the main one and the
//! security one, perhaps through `mirror+file:`, and any number of third parties'. A source whose `Signed-By` does not name Debian's
//! keyring is a third party's. One that names no key at all may be Debian's: it comes later in the list, and whoever
//! uses an address checks the signature of the `Release` file behind it anyway.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use url::Url;

use crate::repo::deb822::{Paragraph, Paragraphs};

/// Why apt's configuration gave no address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory of the configuration could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing in the configuration can hold the suite.
    #[error("apt's configuration on this machine names no Debian archive for suite {suite}{}; give its address with --mirror URL", listed(.skipped))]
    NoSource {
        /// The suite asked for.
        suite: String,
        /// The sources looked at, and why none is it.
        skipped: Vec<Skipped>,
    },
}

fn listed(skipped: &[Skipped]) -> String {
    skipped.iter().map(|source| format!("\n  {source}")).collect()
}

/// A source that was not taken, and why.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// The file of the configuration.
    pub file: PathBuf,
    /// What was there.
    pub entry: String,
    /// Why it is not taken.
    pub reason: &'static str,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.file.display(), self.entry, self.reason)
    }
}

/// An address at which an archive may be: the directory that holds `dists/` and `pool/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Ends in a slash.
    pub base: Url,
    /// False when apt is told not to look at the `Valid-Until` of this archive's `Release` files.
    pub check_valid_until: bool,
}

/// The binary package sources that apt knows.
#[derive(Debug)]
pub struct AptSources {
    sources: Vec<Source>,
    skipped: Vec<Skipped>,
    check_valid_until: bool,
}

#[derive(Debug)]
struct Source {
    bases: Vec<Url>,
    suites: Vec<String>,
    /// `Signed-By` names Debian's keyring.
    signed_by_debian: bool,
    check_valid_until: Option<bool>,
}

impl Source {
    fn is_security(&self) -> bool {
        self.suites.iter().any(|suite| is_security(suite))
    }
}

/// Whether a suite lives in the security archive: `bookworm-security`, and `buster/updates` as it was called before.
fn is_security(suite: &str) -> bool {
    suite.ends_with("-security") || suite.ends_with("/updates")
}

impl AptSources {
    /// Reads this machine's configuration, from where `apt-config` says it is, else below `/etc/apt`.
    pub fn of_this_machine() -> Result<Self, Error> {
        let configured = apt_config();
        Self::read(&configured.list, &configured.parts, configured.check_valid_until)
    }

    /// Reads the file `list` and the `*.list` and `*.sources` files of the directory `parts`; either may be absent.
    ///
    /// `check_valid_until` is apt's `Acquire::Check-Valid-Until`, which a source may override.
    pub fn read(list: &Path, parts: &Path, check_valid_until: bool) -> Result<Self, Error> {
        let mut all = Self { sources: Vec::new(), skipped: Vec::new(), check_valid_until };
        if list.is_file() {
            all.read_list(list)?;
        }
        let entries = match fs::read_dir(parts) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::Read { path: parts.to_owned(), source }),
        };
        let mut entries: Vec<PathBuf> = entries;
        entries.sort();
        for path in entries {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("list") => all.read_list(&path)?,
                Some("sources") => all.read_deb822(&path)?,
                _ => {}
            }
        }
        Ok(all)
    }

    /// The addresses where `suite` may be, the likeliest first.
    pub fn addresses(&self, suite: &str) -> Result<Vec<Address>, Error> {
        let same_archive = |source: &&Source| source.is_security() == is_security(suite);
        let mut sources: Vec<&Source> = self.sources.iter().filter(same_archive).collect();
        let lists_suite = |source: &Source| source.suites.iter().any(|listed| listed == suite);
        sources.sort_by_key(|source| (!source.signed_by_debian, !lists_suite(source)));

        let mut addresses: Vec<Address> = Vec::new();
        let mut offer = |base: Url, source: &Source| {
            if addresses.iter().all(|address| address.base != base) {
                let check_valid_until = source.check_valid_until.unwrap_or(self.check_valid_until);
                addresses.push(Address { base, check_valid_until });
            }
        };
        for source in &sources {
            source.bases.iter().for_each(|base| offer(base.clone(), source));
        }
        if sources.is_empty() && is_security(suite) {
            // Mirrors that carry both keep them side by side: `…/debian/` and `…/debian-security/`.
            for source in &self.sources {
                for base in &source.bases {
                    let beside = base
                        .path()
                        .strip_suffix("/debian/")
                        .map(|parent| format!("{parent}/debian-security/"));
                    if let Some(path) = beside {
                        let mut base = base.clone();
                        base.set_path(&path);
                        offer(base, source);
                    }
                }
            }
        }
        if addresses.is_empty() {
            return Err(Error::NoSource { suite: suite.to_owned(), skipped: self.skipped.clone() });
        }
        Ok(addresses)
    }

    fn read_list(&mut self, path: &Path) -> Result<(), Error> {
        for line in read(path)?.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t'])) else {
                continue; // blank, a comment, or deb-src
            };
            let rest = rest.trim_start();
            let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((options, rest)) => (options, rest),
                None => ("", rest),
            };
            let option = |name: &str| {
                options
                    .split_ascii_whitespace()
                    .find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
            };
            let mut words = rest.split_ascii_whitespace();
            let (Some(uri), Some(suite)) = (words.next(), words.next()) else { continue };
            let components: Vec<&str> = words.collect();
            self.add(
                path,
                &[uri],
                &[suite],
                &components,
                option("signed-by").map(str::to_owned),
                option("check-valid-until").and_then(switch),
            )?;
        }
        Ok(())
    }

    fn read_deb822(&mut self, path: &Path) -> Result<(), Error> {
        let text = read(path)?;
        let mut paragraphs = Paragraphs::new(text.as_bytes());
        loop {
            let paragraph = match paragraphs.next_paragraph() {
                Ok(Some(paragraph)) => paragraph,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let source = io::Error::new(io::ErrorKind::InvalidData, error);
                    return Err(Error::Read { path: path.to_owned(), source });
                }
            };
            self.add_deb822(path, &paragraph)?;
        }
    }

    fn add_deb822(&mut self, path: &Path, paragraph: &Paragraph<'_>) -> Result<(), Error> {
        let enabled = paragraph.get("Enabled").and_then(switch).unwrap_or(true);
        if !enabled || !paragraph.words("Types").any(|kind| kind == "deb") {
            return Ok(());
        }
        let signed_by = paragraph.values("Signed-By").collect::<Vec<_>>().join("\n");
        self.add(
            path,
            &paragraph.words("URIs").collect::<Vec<_>>(),
            &paragraph.words("Suites").collect::<Vec<_>>(),
            &paragraph.words("Components").collect::<Vec<_>>(),
            (!signed_by.is_empty()).then_some(signed_by),
            paragraph.get("Check-Valid-Until").and_then(switch),
        )
    }

    fn add(
        &mut self,
        file: &Path,
        uris: &[&str],
        suites: &[&str],
        components: &[&str],
        signed_by: Option<String>,
        check_valid_until: Option<bool>,
    ) -> Result<(), Error> {
        let mut skip = |entry: &str, reason| {
            self.skipped.push(Skipped { file: file.to_owned(), entry: entry.to_owned(), reason });
        };
        let entry = format!("{} {}", uris.join(" "), suites.join(" "));
        let signed_by_debian = signed_by.as_deref().is_some_and(|key| key.contains("debian-archive"));
        // An inline key block or a fingerprint says nothing about whose it is: such a source stays a candidate.
        if signed_by.is_some_and(|key| key.starts_with('/')) && !signed_by_debian {
            skip(&entry, "its Signed-By names another keyring than Debian's");
            return Ok(());
        }
        if !components.contains(&"main") {
            skip(&entry, "it has no component main");
            return Ok(());
        }
        let mut bases = Vec::new();
        for uri in uris {
            if let Some(list) = uri.strip_prefix("mirror+file:") {
                let path = Path::new("/").join(list.trim_start_matches('/'));
                bases.extend(read(&path)?.lines().filter_map(mirror_of_line));
            } else if let Some(base) = http_base(uri) {
                bases.push(base);
            } else {
                skip(uri, "only http, https and mirror+file addresses are used");
            }
        }
        let suites = suites.iter().map(|suite| suite.trim_end_matches('/').to_owned()).collect();
        self.sources.push(Source { bases, suites, signed_by_debian, check_valid_until });
        Ok(())
    }
}

/// One line of a mirror list (apt-transport-mirror(1)): an address, then attributes after a tab.
fn mirror_of_line(line: &str) -> Option<Url> {
    http_base(line.split('#').next()?.split_ascii_whitespace().next()?)
}

/// The address of an archive as a directory.
fn http_base(uri: &str) -> Option<Url> {
    let mut url = Url::parse(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Some(url)
}

/// apt's spellings of yes and no.
fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" | "with" | "on" | "enable" | "1" => Some(true),
        "no" | "false" | "without" | "off" | "disable" | "0" => Some(false),
        _ => None,
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

struct AptConfig {
    list: PathBuf,
    parts: PathBuf,
    check_valid_until: bool,
}

/// Asks `apt-config`, the interface that apt offers to scripts; its defaults where the program is missing.
fn apt_config() -> AptConfig {
    let mut config = AptConfig {
        list: PathBuf::from("/etc/apt/sources.list"),
        parts: PathBuf::from("/etc/apt/sources.list.d"),
        check_valid_until: true,
    };
    let answer = Command::new("apt-config")
        .args(["shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"])
        .args(["CHECK", "Acquire::Check-Valid-Until/b"])
        .output();
    let Ok(answer) = answer else { return config };
    for line in String::from_utf8_lossy(&answer.stdout).lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.trim_matches('\'');
        match name {
            "LIST" => config.list = PathBuf::from(value),
            "PARTS" => config.parts = PathBuf::from(value),
            "CHECK" => config.check_valid_until = switch(value).unwrap_or(true),
            _ => {}
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration made of the named files; the first name is the main list.
    fn configured(files: &[(&str, &str)]) -> (tempfile::TempDir, AptSources) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("parts")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text.replace("@DIR@", dir.path().to_str().unwrap())).unwrap();
        }
        let sources =
            AptSources::read(&dir.path().join("sources.list"), &dir.path().join("parts"), true).unwrap();
        (dir, sources)
    }

    fn bases(sources: &AptSources, suite: &str) -> Vec<String> {
        sources.addresses(suite).unwrap().iter().map(|address| address.base.to_string()).collect()
    }

    const DEB822: &str = "# A comment\nTypes: deb deb-src\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\n\
        Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
        Types: deb\nURIs: http://mirror.test/sec\nSuites: bookworm-security\nComponents: main\n\
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\nCheck-Valid-Until: no\n";

    /// Check that each suite is looked for in its own archive, whether the configuration lists that suite or another.
    #[test]
    fn deb822_main_and_security() {
        let (_dir, sources) = configured(&[("parts/debian.sources", DEB822)]);
        for suite in ["bookworm", "bookworm-backports", "sid", "stable"] {
            assert_eq!(bases(&sources, suite), ["http://mirror.test/debian/"], "{suite}");
        }
        for suite in ["bookworm-security", "trixie-security", "buster/updates"] {
            assert_eq!(bases(&sources, suite), ["http://mirror.test/sec/"], "{suite}");
        }
        assert!(sources.addresses("sid").unwrap()[0].check_valid_until);
        assert!(!sources.addresses("bookworm-security").unwrap()[0].check_valid_until);
    }

    /// Check that one-line sources are read, with options in every spacing.
    #[test]
    fn one_line() {
        let (_dir, sources) = configured(&[(
            "sources.list",
            "deb http://mirror.test/debian bookworm main # ours\n\
             deb-src http://sources.test/debian bookworm main\n\
             #deb http://commented.test/debian bookworm main\n\
             deb [ arch=amd64,i386 signed-by=/usr/share/keyrings/debian-archive-keyring.pgp check-valid-until=no ] https://signed.test/debian/ sid main\n\
             deb cdrom:[Debian GNU/Linux 12 _Bookworm_]/ bookworm main\n",
        )]);
        // The one that names Debian's keyring first, then the one that names none.
        assert_eq!(
            bases(&sources, "bookworm"),
            ["https://signed.test/debian/", "http://mirror.test/debian/"]
        );
        assert!(!sources.addresses("sid").unwrap()[0].check_valid_until);
        // Nobody lists a security suite: it is looked for beside the main archive.
        let beside = ["http://mirror.test/debian-security/", "https://signed.test/debian-security/"];
        assert_eq!(bases(&sources, "bookworm-security"), beside);
    }

    /// Check that third parties' sources are not taken, and that the error says why, file by file.
    #[test]
    fn third_parties() {
        let (_dir, sources) = configured(&[
            (
                "parts/vendor.list",
                "deb [signed-by=/etc/apt/keyrings/vendor.gpg] https://apt.vendor.test bookworm main\n",
            ),
            ("parts/docker.list", "deb https://download.vendor.test/linux/debian bookworm stable\n"),
            ("parts/off.sources", &DEB822.replace("Types: deb", "Enabled: no\nTypes: deb")),
            (
                "parts/source.sources",
                &DEB822
                    .replace("Types: deb deb-src", "Types: deb-src")
                    .replace("Types: deb\n", "Types: deb-src\n"),
            ),
            ("parts/old.list.disabled", "deb http://mirror.test/debian bookworm main\n"),
        ]);
        let error = sources.addresses("bookworm").unwrap_err().to_string();
        assert!(error.contains("vendor.list") && error.contains("another keyring"), "{error}");
        assert!(error.contains("docker.list") && error.contains("no component main"), "{error}");
        assert!(error.contains("--mirror URL"), "{error}");
    }

    /// Check that `mirror+file:` is followed to the mirrors that the file lists.
    #[test]
    fn mirror_file() {
        let (_dir, sources) = configured(&[
            (
                "mirrors",
                "# ours\nhttp://one.test/debian\tpriority:1\n\nhttps://two.test/debian/\nftp://three.test/debian\n",
            ),
            (
                "parts/debian.sources",
                &DEB822.replace("http://mirror.test/debian", "mirror+file://@DIR@/mirrors"),
            ),
        ]);
        assert_eq!(bases(&sources, "bookworm"), ["http://one.test/debian/", "https://two.test/debian/"]);
    }

    /// Check that an unreadable file is named, with the line where a deb822 file stops being one.
    #[test]
    fn broken_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.sources"), "Types: deb\nrubbish\n").unwrap();
        let error = AptSources::read(Path::new("/nonexistent"), dir.path(), true).unwrap_err().to_string();
        assert!(error.contains("x.sources: line 2"), "{error}");
    }
}
