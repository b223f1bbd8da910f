//! Which package this is: from the control file of a Debian package (deb-control(5)), or the header of an RPM package.

use std::fmt;
use std::io::BufRead;

use serde::Serialize;

use super::Error;
use super::ar::{Ar, Member};
use super::member::Kind;
use super::tar::Tar;
use super::unpacked::{Unpacked, codec_of_member};
use crate::repo::deb822::Paragraph;

/// The control file, in bytes.
const CONTROL_LEN: u64 = 1 << 20;

/// Name, version and architecture of a package, and what it says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Name of the package.
    pub package: String,
    /// Its version, with epoch and revision or release.
    pub version: String,
    /// Its architecture, as the distribution spells it.
    pub architecture: String,
    /// What it says of itself in one line.
    #[serde(skip)]
    pub synopsis: String,
    /// What a Debian package depends on, in one line.
    #[serde(skip)]
    pub depends: String,
}

impl Identity {
    /// Whether the package's name says that it is a package of the kernel `release` and of no other: `linux-image-RELEASE[-dbg]` in
    /// Debian, where also `linux-binary-RELEASE`, and `linux-image-unsigned-RELEASE[-dbgsym]` in Ubuntu.
    pub fn is_package_of(&self, release: &str) -> bool {
        let name = ["linux-image-", "linux-binary-"].iter().find_map(|head| self.package.strip_prefix(head));
        let name = name.map(|name| name.strip_prefix("unsigned-").unwrap_or(name));
        let ending = name.and_then(|name| name.strip_prefix(release));
        matches!(ending, Some("" | "-dbg" | "-dbgsym" | "-unsigned" | "-unsigned-dbg"))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.package, self.version, self.architecture)
    }
}

/// Reads the member `control.tar…`, whose header `ar` has just read.
pub(super) fn read<R: BufRead>(ar: &mut Ar<R>, member: &Member) -> Result<Identity, Error> {
    let Some(codec) = codec_of_member(&member.name) else {
        return Err(Error::compression_of(&member.name));
    };
    let mut tar = Tar::new(Unpacked::new(ar, &member.name, Some(codec), 1)?, &member.name);
    while let Some(found) = tar.next_member()? {
        if found.path != b"control" || found.kind != Kind::File {
            continue;
        }
        let part = format!("the control file in {}", member.name);
        if found.size > CONTROL_LEN {
            return Err(Error::limit(part, found.offset, format!("it has {} bytes", found.size)));
        }
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match tar.read_data(&mut buffer)? {
                0 => break,
                count => text.extend_from_slice(&buffer[..count]),
            }
        }
        return parse(&text).map_err(|reason| Error::malformed(part, found.offset, reason));
    }
    Err(Error::malformed(format!("the unpacked {}", member.name), tar.offset(), "it has no control file"))
}

fn parse(text: &[u8]) -> Result<Identity, String> {
    let paragraph = Paragraph::parse(text).map_err(|error| error.to_string())?;
    let field = |name: &str| {
        let value = paragraph.get(name).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| format!("no field {name}"))?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.~:_".contains(&byte);
        if value.len() > 256 || !value.bytes().all(plain) {
            return Err(format!("the field {name} has characters it must not have, or too many"));
        }
        Ok(value.to_owned())
    };
    // Free text, shown to people: nothing that steers a terminal, and not too much of it.
    let shown = |text: &str| text.chars().filter(|char| !char.is_control()).take(300).collect::<String>();
    Ok(Identity {
        package: field("Package")?,
        version: field("Version")?,
        architecture: field("Architecture")?,
        synopsis: shown(paragraph.get("Description").unwrap_or_default()),
        depends: shown(&paragraph.words("Depends").collect::<Vec<_>>().join(" ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that a control file gives the identity, and that text for people cannot steer a terminal.
    #[test]
    fn control_file() {
        let identity = parse(
            b"Package: linux-image-6.1.0-1-686-pae-dbg\nVersion: 1:6.1.2-1\nArchitecture: i386\n\
              Depends: a (= 1),\n b\nDescription: Debug \x1b[31msymbols\n more\n",
        )
        .unwrap();
        assert_eq!(identity.to_string(), "linux-image-6.1.0-1-686-pae-dbg 1:6.1.2-1 (i386)");
        assert_eq!(identity.synopsis, "Debug [31msymbols");
        assert_eq!(identity.depends, "a (= 1), b");
    }

    /// Check that missing fields and fields with foreign characters are refused.
    #[test]
    fn control_refused() {
        assert_eq!(parse(b"").unwrap_err(), "no field Package");
        assert_eq!(parse(b"Package: a\nArchitecture: all\n").unwrap_err(), "no field Version");
        assert!(parse(b"Package: a/../b\nVersion: 1\nArchitecture: all\n").is_err());
        assert!(parse(b"Package: a\nVersion: \x1b[2J\nArchitecture: all\n").is_err());
        assert!(parse(b"\xff").is_err());
    }

    /// Check which package names name a kernel's package.
    #[test]
    fn names_of_packages() {
        let named = |package: &str, release: &str| {
            let text = format!("Package: {package}\nVersion: 1\nArchitecture: all\n");
            parse(text.as_bytes()).unwrap().is_package_of(release)
        };
        assert!(named("linux-image-6.1.0-50-686-pae-dbg", "6.1.0-50-686-pae"));
        assert!(named("linux-image-unsigned-5.15.0-1-generic-dbgsym", "5.15.0-1-generic"));
        assert!(!named("linux-image-6.1.0-50-686-pae-dbg", "6.1.0-50-686"));
        assert!(named("linux-image-6.1.0-50-686-pae", "6.1.0-50-686-pae"));
        assert!(named("linux-binary-7.2.1+deb14-amd64", "7.2.1+deb14-amd64"));
        assert!(!named("kernels", "kernels"));
    }
}
