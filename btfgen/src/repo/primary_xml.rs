//! `primary.xml`: what an RPM repository says of its packages, one `<package>` after the other.

use std::io::Read;

use url::Url;

use super::error::Error;
use super::found::{Finder, Found, Origin};
use super::indexed::{IndexedPackage, PackageName};
use super::location::within;
use super::offer::Checksum;
use super::xml::{Node, attribute, walk};

/// The longest text of an element that is kept, in bytes.
const TEXT_LIMIT: usize = 4096;

/// What has been read of a package, by `primary.xml` or by the database that stands for it.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) arch: String,
    pub(super) epoch: String,
    pub(super) version: String,
    pub(super) release: String,
    pub(super) checksum_type: String,
    pub(super) checksum: String,
    pub(super) size: Option<u64>,
    pub(super) installed: Option<u64>,
    pub(super) href: String,
    pub(super) base: Option<String>,
    pub(super) source_rpm: String,
    pub(super) depends: bool,
}

impl Entry {
    /// Hands the package to `finder`, if it is a part of a kernel.
    pub(super) fn offer(self, origin: &Origin<'_>, finder: &mut Finder<'_>) -> Result<(), Error> {
        let name = PackageName {
            name: self.name,
            version: self.version,
            release: self.release,
            epoch: self.epoch.parse().ok(),
            arch: self.arch,
            // `kernel-4.18.0-348.el8.src.rpm`
            source: PackageName::of_source(&self.source_rpm),
        };
        if !name.is_plain() {
            return Ok(());
        }
        let Some(part) = finder.part(&name) else { return Ok(()) };
        let outside =
            |path: String| Error::Path { index: origin.index.into(), package: name.name.clone(), path };
        // Packages elsewhere than in the repository itself: whoever writes the index could send us anywhere.
        if let Some(base) = self.base.filter(|base| Url::parse(base).as_ref() != Ok(origin.base)) {
            return Err(outside(base));
        }
        let package = IndexedPackage {
            url: within(origin.base, &self.href, &name.name, origin.index)?,
            name,
            size: self.size,
            installed: self.installed,
            depends: self.depends,
            checksum: Checksum::parse(&self.checksum_type, self.checksum.trim()),
            trust: origin.trust,
        };
        finder.found.push(Found { part, package });
        finder.check_count(origin.index)
    }
}

/// Hands to `finder` every package of the document.
pub(super) fn read(input: impl Read, origin: &Origin<'_>, finder: &mut Finder<'_>) -> Result<(), Error> {
    let mut entry: Option<Entry> = None;
    let mut path: Vec<String> = Vec::new();
    let mut refused = None;
    let walked = walk(input, |node| {
        match node {
            Node::Open(element) => {
                let name = element.local_name().as_ref().to_owned();
                if path.len() == 1 && name == "package" {
                    entry = Some(Entry::default());
                } else if let Some(entry) = &mut entry {
                    entry.open(&name, element)?;
                }
                path.push(name);
            }
            Node::Text(text) => {
                if let (Some(entry), Some(name)) = (&mut entry, path.last()) {
                    entry.text(name, text)?;
                }
            }
            Node::Close => {
                path.pop();
                if path.len() == 1
                    && let Some(entry) = entry.take()
                    && let Err(error) = entry.offer(origin, finder)
                {
                    refused = Some(error);
                    return Err(String::new());
                }
            }
        }
        Ok(())
    });
    match (refused, walked) {
        (Some(error), _) => Err(error),
        (None, walked) => walked.map_err(|reason| Error::Malformed { url: origin.index.into(), reason }),
    }
}

impl Entry {
    fn open(&mut self, name: &str, element: &quick_xml::events::BytesStart<'_>) -> Result<(), String> {
        let text = |attribute_name| attribute(element, attribute_name).map(Option::unwrap_or_default);
        let number = |value: String| value.parse().ok();
        match name {
            "version" => {
                (self.epoch, self.version, self.release) = (text("epoch")?, text("ver")?, text("rel")?);
            }
            "checksum" => self.checksum_type = text("type")?,
            "size" => (self.size, self.installed) = (number(text("package")?), number(text("installed")?)),
            "location" => (self.href, self.base) = (text("href")?, attribute(element, "base")?),
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, element: &str, text: &str) -> Result<(), String> {
        let field = match element {
            "name" => &mut self.name,
            "arch" => &mut self.arch,
            "checksum" => &mut self.checksum,
            "sourcerpm" => &mut self.source_rpm,
            _ => return Ok(()),
        };
        if field.len() + text.len() > TEXT_LIMIT {
            return Err(format!("<{element}> is longer than {TEXT_LIMIT} bytes"));
        }
        field.push_str(text);
        Ok(())
    }
}
