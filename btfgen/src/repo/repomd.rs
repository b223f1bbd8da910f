//! An RPM repository: `repodata/repomd.xml`, its signature, and the list of packages that it vouches for.

use std::io::Read;
use std::time::SystemTime;

use btf_archive::{Digest, Trust};
use sha1::Digest as _;
use url::Url;

use super::decode::{self, Form};
use super::error::Error;
use super::found::{Finder, Origin};
use super::index_cache::IndexCache;
use super::keyring::{self, Keyring};
use super::location::{join, within};
use super::offer::Checksum;
use super::release::IndexFile;
use super::suite::INDEX_LIMIT;
use super::xml::{Node, attribute, walk};
use super::{primary_db, primary_xml};
use crate::fetch::{self, public_url};

/// The largest `repomd.xml` accepted, in bytes; real ones are below 20 KB.
const REPOMD_LIMIT: u64 = 4 << 20;

/// What a repository says of one of its lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    kind: String,
    href: String,
    checksum_type: String,
    checksum: String,
    size: Option<u64>,
    /// Of the list when it is unpacked.
    open_checksum_type: String,
    open_checksum: String,
    open_size: Option<u64>,
}

/// A repository whose `repomd.xml` has been read, and its signature checked where that was asked for.
#[derive(Debug)]
pub(super) struct Repomd {
    base: Url,
    url: String,
    lists: Vec<List>,
    /// Fingerprint of the key that signed it.
    pub(super) signer: Option<String>,
}

impl Repomd {
    /// Reads the repository at `base`, which must be signed by `keyring` if there is one.
    pub(super) async fn open(
        client: &fetch::Client,
        base: &Url,
        keyring: Option<&Keyring>,
        allow_expired: bool,
    ) -> Result<Self, Error> {
        let location = join(base, "repodata/repomd.xml")?;
        let url = public_url(&location);
        let text = client.bytes(&location, REPOMD_LIMIT).await?;
        let signer = match keyring {
            Some(keyring) => {
                let location = join(base, "repodata/repomd.xml.asc")?;
                let signature = match client.bytes(&location, REPOMD_LIMIT).await {
                    Err(error) if error.is_not_found() => {
                        return Err(Error::UnsignedRepomd { repomd: url, url: public_url(&location) });
                    }
                    answer => answer?,
                };
                let policy = keyring::Policy { now: SystemTime::now(), allow_expired };
                let signer = keyring.verify_detached(&text, &signature, &policy);
                Some(signer.map_err(|source| Error::Signature { url: url.clone(), source })?)
            }
            None => None,
        };
        let lists = lists(&text).map_err(|reason| Error::Malformed { url: url.clone(), reason })?;
        Ok(Self { base: base.clone(), url, lists, signer })
    }

    /// Hands to `finder` every package of the repository.
    pub(super) async fn read(
        &self,
        client: &fetch::Client,
        cache: &IndexCache,
        finder: &mut Finder<'_>,
    ) -> Result<(), Error> {
        let list = ["primary", "primary_db"]
            .iter()
            .find_map(|kind| self.lists.iter().find(|list| list.kind == *kind));
        let Some(list) = list else {
            let kinds: Vec<&str> = self.lists.iter().map(|list| list.kind.as_str()).take(20).collect();
            let reason = format!("it names neither primary nor primary_db, only {}", kinds.join(", "));
            return Err(Error::Malformed { url: self.url.clone(), reason });
        };
        let location = within(&self.base, &list.href, &list.kind, &self.url)?;
        let index = public_url(&location);
        let checksum = Checksum::parse(&list.checksum_type, &list.checksum);
        let signed = self.signer.is_some() && checksum.is_some_and(|checksum| checksum.is_strong());
        let trust = match self.base.scheme() {
            _ if signed => Trust::SignedIndex,
            "https" => Trust::Transport,
            _ => Trust::None,
        };
        let origin = Origin { base: &self.base, index: &index, trust };
        let fail = |error: std::io::Error| Error::Malformed { url: index.clone(), reason: error.to_string() };
        let name = format!("{}/{}", public_url(&self.base), list.kind);
        let unpacked = list.unpacked();
        if let Some(kept) = unpacked.and_then(|file| cache.open(&name, &file)) {
            let start = finder.found.len();
            match packages(kept, &list.kind, &origin, finder).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::info!("{name} is fetched again: as it was kept, {error}");
                    finder.found.truncate(start);
                }
            }
        }
        let packed = list.size.zip(checksum.and_then(|checksum| checksum.sha256()));
        let packed = packed.map(|(size, sha256)| IndexFile { size, sha256 }).filter(|_| unpacked.is_none());
        let bytes = match packed.and_then(|file| cache.get(&name, &file)) {
            Some(bytes) => bytes,
            None => {
                let bytes = self.fetch(client, &location, list, checksum).await?;
                if let Some(file) = &packed {
                    cache.put(&name, file, &bytes);
                }
                bytes
            }
        };
        let form = Form::of(&bytes);
        let limit = if list.kind == "primary" { decode::EXPANDED_LIMIT } else { primary_db::DATABASE_LIMIT };
        let reader = decode::limited(form, std::io::Cursor::new(bytes), limit).map_err(fail)?;
        match unpacked {
            Some(file) => packages(cache.keep(&name, &file, reader), &list.kind, &origin, finder).await,
            None => packages(reader, &list.kind, &origin, finder).await,
        }
    }

    /// A list's bytes, its checksum checked.
    async fn fetch(
        &self,
        client: &fetch::Client,
        location: &Url,
        list: &List,
        checksum: Option<Checksum>,
    ) -> Result<Vec<u8>, Error> {
        let tampered = |found: String, expected: String| Error::Tampered {
            url: public_url(location),
            found,
            expected,
            said_by: "repomd.xml",
        };
        if let Some(size) = list.size.filter(|size| *size > INDEX_LIMIT) {
            return Err(tampered(
                "it is not fetched".into(),
                format!("{size} bytes, more than any list has"),
            ));
        }
        let bytes = match client.bytes(location, list.size.unwrap_or(INDEX_LIMIT)).await {
            Err(fetch::Error::TooLong { limit, .. }) => {
                return Err(tampered(format!("it has more than {limit} bytes"), format!("{limit} bytes")));
            }
            answer => answer?,
        };
        if let Some(size) = list.size.filter(|size| *size != bytes.len() as u64) {
            return Err(tampered(format!("it has {} bytes", bytes.len()), format!("{size} bytes")));
        }
        let found = match checksum {
            Some(Checksum::Sha256(_)) => Some(Checksum::Sha256(Digest::of(&bytes))),
            Some(Checksum::Sha512(_)) => Some(Checksum::Sha512(sha2::Sha512::digest(&bytes).into())),
            Some(Checksum::Sha1(_)) => Some(Checksum::Sha1(sha1::Sha1::digest(&bytes).into())),
            // Too weak to be worth another library; nothing is trusted because of it.
            Some(Checksum::Md5(_)) | None => None,
        };
        if let (Some(found), Some(expected)) = (found, checksum)
            && found != expected
        {
            return Err(tampered(format!("its checksum is {found}"), expected.to_string()));
        }
        Ok(bytes)
    }
}

impl List {
    /// The list as it is when it is unpacked, where that is told.
    fn unpacked(&self) -> Option<IndexFile> {
        let checksum = Checksum::parse(&self.open_checksum_type, &self.open_checksum)?;
        Some(IndexFile { size: self.open_size?, sha256: checksum.sha256()? })
    }
}

/// Hands to `finder` every package of an unpacked list.
async fn packages(
    list: impl Read,
    kind: &str,
    origin: &Origin<'_>,
    finder: &mut Finder<'_>,
) -> Result<(), Error> {
    if kind == "primary" {
        primary_xml::read(list, origin, finder)
    } else {
        primary_db::read(list, origin, finder).await
    }
}

/// The lists that a `repomd.xml` names.
pub(super) fn lists(text: &[u8]) -> Result<Vec<List>, String> {
    let mut lists: Vec<List> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    walk(text, |node| {
        match node {
            Node::Open(element) => {
                let name = element.local_name().as_ref().to_owned();
                if path.len() == 1 && name == "data" {
                    let kind = attribute(element, "type")?.unwrap_or_default();
                    lists.push(List { kind, ..List::default() });
                } else if path.len() == 2
                    && let Some(list) = lists.last_mut()
                {
                    match name.as_str() {
                        "location" => list.href = attribute(element, "href")?.unwrap_or_default(),
                        "checksum" => list.checksum_type = attribute(element, "type")?.unwrap_or_default(),
                        "open-checksum" => {
                            list.open_checksum_type = attribute(element, "type")?.unwrap_or_default();
                        }
                        _ => {}
                    }
                }
                path.push(name);
            }
            Node::Text(text) if path.len() == 3 => match (path[2].as_str(), lists.last_mut()) {
                ("checksum", Some(list)) => list.checksum.push_str(text.trim()),
                ("open-checksum", Some(list)) => list.open_checksum.push_str(text.trim()),
                ("size", Some(list)) => list.size = text.trim().parse().ok(),
                ("open-size", Some(list)) => list.open_size = text.trim().parse().ok(),
                _ => {}
            },
            Node::Text(_) => {}
            Node::Close => drop(path.pop()),
        }
        Ok(())
    })?;
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that lists are read with their place, sizes and checksums, packed and unpacked.
    #[test]
    fn lists_of_a_repository() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1700000000</revision>
  <data type="primary">
    <checksum type="sha256">ab12</checksum>
    <open-checksum type="sha256">cd34</open-checksum>
    <location href="repodata/ab12-primary.xml.gz"/>
    <timestamp>1700000000</timestamp>
    <size>1234</size>
    <open-size>99999</open-size>
  </data>
  <data type="primary_db"><checksum type="sha">ef</checksum><location href="repodata/p.sqlite.bz2"/></data>
</repomd>"#;
        let list = |kind: &str, href: &str, checksum_type: &str, checksum: &str, size| List {
            kind: kind.into(),
            href: href.into(),
            checksum_type: checksum_type.into(),
            checksum: checksum.into(),
            size,
            ..List::default()
        };
        let primary = list("primary", "repodata/ab12-primary.xml.gz", "sha256", "ab12", Some(1234));
        let (open_checksum_type, open_checksum) = ("sha256".into(), "cd34".into());
        let expected = [
            List { open_checksum_type, open_checksum, open_size: Some(99_999), ..primary },
            list("primary_db", "repodata/p.sqlite.bz2", "sha", "ef", None),
        ];
        assert_eq!(lists(text.as_bytes()).unwrap(), expected);
        assert!(lists(b"not xml <").is_err());
    }
}
