//! A suite's `Release` file: what the suite is called, until when it holds, and the hash of every index.
//!
//! The format is that of Debian's repository format (wiki: DebianRepository/Format), the signed root from which everything else
//! is checked. Only SHA-256 is used; MD5 and SHA-1 lists are passed over.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use btf_archive::Digest;

use super::deb822::{self, Paragraph};

/// Why a `Release` file was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not in the control file format.
    #[error(transparent)]
    Syntax(#[from] deb822::Error),
    /// A field that everything rests on is missing or cannot be read.
    #[error("its field {field} is missing or malformed")]
    Field {
        /// Name of the field.
        field: &'static str,
    },
    /// It is another suite's: a mirror, or someone between, has mixed them up.
    #[error("it is for suite {found}, not {wanted}")]
    OtherSuite {
        /// The suite asked for.
        wanted: String,
        /// What the file calls itself.
        found: String,
    },
    /// It has passed its `Valid-Until`: the mirror stands still, or replays an old state.
    #[error("it expired at {valid_until}; is the mirror stale? --allow-expired takes it nevertheless")]
    Expired {
        /// The date as the file has it.
        valid_until: String,
    },
}

/// A file that a `Release` file vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexFile {
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
}

/// What a `Release` file says.
#[derive(Debug)]
pub(crate) struct Release {
    /// `bookworm`, `bookworm-security`; the name that does not move.
    pub(crate) codename: String,
    /// `stable`, `oldstable-security`; the name that moves.
    pub(crate) suite: String,
    /// `12.15`, where the suite is a release.
    pub(crate) version: Option<String>,
    /// Debian's names.
    pub(crate) architectures: Vec<String>,
    pub(crate) by_hash: bool,
    valid_until: Option<String>,
    label: String,
    files: HashMap<String, IndexFile>,
}

impl Release {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let paragraph = Paragraph::parse(text.as_bytes())?;
        let field = |name| paragraph.get(name).unwrap_or_default().to_owned();
        let mut files = HashMap::new();
        for line in paragraph.values("SHA256").filter(|line| !line.is_empty()) {
            let mut words = line.split_ascii_whitespace();
            let entry = (|| {
                let sha256 = words.next()?.parse().ok()?;
                let size = words.next()?.parse().ok()?;
                Some((words.next()?.to_owned(), IndexFile { size, sha256 }))
            })();
            let (name, file) = entry.ok_or(Error::Field { field: "SHA256" })?;
            files.insert(name, file);
        }
        if files.is_empty() {
            return Err(Error::Field { field: "SHA256" });
        }
        Ok(Self {
            codename: field("Codename"),
            suite: field("Suite"),
            version: paragraph.get("Version").map(str::to_owned),
            architectures: paragraph.words("Architectures").map(str::to_owned).collect(),
            by_hash: paragraph.get("Acquire-By-Hash") == Some("yes"),
            valid_until: paragraph.get("Valid-Until").map(str::to_owned),
            label: field("Label"),
            files,
        })
    }

    /// Refuses a file that was signed for another suite than `wanted`.
    pub(crate) fn check_suite(&self, wanted: &str) -> Result<(), Error> {
        // Before bullseye the security suites were called `buster/updates`, with the codename `buster`.
        let stem = wanted.strip_suffix("/updates").filter(|_| self.label == "Debian-Security");
        if [wanted, stem.unwrap_or(wanted)]
            .iter()
            .any(|name| [&self.codename, &self.suite].iter().any(|own| own == name))
        {
            return Ok(());
        }
        Err(Error::OtherSuite {
            wanted: wanted.to_owned(),
            found: format!("{} ({})", self.codename, self.suite),
        })
    }

    /// Refuses a file after its `Valid-Until`.
    pub(crate) fn check_valid(&self, now: SystemTime) -> Result<(), Error> {
        let Some(valid_until) = &self.valid_until else { return Ok(()) };
        let end = parse_date(valid_until).ok_or(Error::Field { field: "Valid-Until" })?;
        if end <= now {
            return Err(Error::Expired { valid_until: valid_until.clone() });
        }
        Ok(())
    }

    pub(crate) fn file(&self, name: &str) -> Option<IndexFile> {
        self.files.get(name).copied()
    }
}

/// A date in the form that `Release` files use: `Sat, 11 Jul 2026 10:16:37 UTC`.
fn parse_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_once(',')?.1.split_ascii_whitespace().collect();
    let &[day, month, year, time, "UTC" | "GMT" | "Z" | "+0000"] = words.as_slice() else { return None };
    let day: u64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = year.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let clock: Vec<u64> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let &[hour @ 0..24, minute @ 0..60, second @ 0..=60] = clock.as_slice() else { return None };

    // Days since the epoch in the proleptic Gregorian calendar, the year beginning in March.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = shifted_year / 4 - shifted_year / 100 + shifted_year / 400;
    let days = shifted_year * 365 + leap_days + (153 * shifted_month + 2) / 5 + day - 1 - 719_468;
    UNIX_EPOCH.checked_add(Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Origin: Debian\nLabel: Debian\nSuite: oldstable\nVersion: 12.15\nCodename: bookworm\n\
        Date: Sat, 11 Jul 2026 10:16:37 UTC\nValid-Until: Sat, 18 Jul 2026 10:16:37 UTC\nAcquire-By-Hash: yes\n\
        Architectures: all amd64 i386\nComponents: main contrib\nMD5Sum:\n f230d61720e789abf5df55d6026230c6 5 main/x\n\
        SHA256:\n 900739f3ad35b689d23f4a97ee2dc7943bebb3763c7c41f9a03072d639444e4d  8681800 main/binary-i386/Packages.xz\n";

    fn seconds(text: &str) -> Option<u64> {
        parse_date(text).map(|date| date.duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    /// Check that dates agree with date(1), across leap years and year ends.
    #[test]
    fn dates() {
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
        assert_eq!(seconds("Tue, 29 Feb 2000 23:59:59 GMT"), Some(951_868_799));
        assert_eq!(seconds("Sat, 11 Jul 2026 10:16:37 UTC"), Some(1_783_764_997));
        assert_eq!(seconds("Fri, 31 Dec 2100 12:00:00 +0000"), Some(4_133_937_600));
        for bad in [
            "",
            "Sat, 11 Jul 2026 10:16:37 CEST",
            "Sat, 32 Jul 2026 10:16:37 UTC",
            "11 Jul 2026",
            "Sat, 11 Jul 2026 25:00:00 UTC",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    /// Check that the fields and the SHA-256 list are read, and not the MD5 list.
    #[test]
    fn fields() {
        let release = Release::parse(TEXT).unwrap();
        assert_eq!((release.codename.as_str(), release.suite.as_str()), ("bookworm", "oldstable"));
        assert_eq!(release.version.as_deref(), Some("12.15"));
        assert!(release.by_hash);
        let file = release.file("main/binary-i386/Packages.xz").unwrap();
        assert_eq!(file.size, 8_681_800);
        assert!(release.file("main/x").is_none());
    }

    /// Check that a file for another suite is refused, and that both names of a suite are its own.
    #[test]
    fn suite() {
        let release = Release::parse(TEXT).unwrap();
        release.check_suite("bookworm").unwrap();
        release.check_suite("oldstable").unwrap();
        assert!(matches!(release.check_suite("trixie"), Err(Error::OtherSuite { .. })));
        assert!(matches!(release.check_suite("bookworm/updates"), Err(Error::OtherSuite { .. })));
        let security = Release::parse(&TEXT.replace("Label: Debian", "Label: Debian-Security")).unwrap();
        security.check_suite("bookworm/updates").unwrap();
    }

    /// Check that a file is refused from the second of its Valid-Until on.
    #[test]
    fn valid_until() {
        let release = Release::parse(TEXT).unwrap();
        let end = parse_date("Sat, 18 Jul 2026 10:16:37 UTC").unwrap();
        release.check_valid(end - Duration::from_secs(1)).unwrap();
        assert!(matches!(release.check_valid(end), Err(Error::Expired { .. })));
    }
}
