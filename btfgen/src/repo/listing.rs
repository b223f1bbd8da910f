//! Pages of links to packages, as web servers make of directories, and lists of mirrors.

use std::borrow::Cow;

use btf_archive::Trust;
use url::Url;

use super::error::Error;
use super::found::{Finder, Found};
use super::indexed::{IndexedPackage, PackageName};
use super::location::relative;
use crate::fetch::{self, Scope, public_url};

/// The largest page accepted, in bytes; the largest known, Oracle's, is below 5 MB.
const PAGE_LIMIT: u64 = 32 << 20;
/// The longest link that is looked at, in bytes.
const LINK_LIMIT: usize = 512;
/// The largest list of mirrors accepted, in bytes.
const MIRRORS_LIMIT: u64 = 1 << 20;
/// The most mirrors that are looked at.
const MIRRORS: usize = 20;

/// Hands to `finder` every package that the page at `url` links to. Links that lead elsewhere are passed over.
pub(super) async fn read(client: &fetch::Client, url: &Url, finder: &mut Finder<'_>) -> Result<(), Error> {
    take(&client.bytes(url, PAGE_LIMIT).await?, url, finder)
}

/// Hands to `finder` every package that a page links to.
pub(super) fn take(page: &[u8], url: &Url, finder: &mut Finder<'_>) -> Result<(), Error> {
    let trust = if url.scheme() == "https" { Trust::Transport } else { Trust::None };
    let mut seen = std::collections::HashSet::new();
    for link in links(page) {
        // Servers write links in full or from their root, too.
        let link = match url.join(&link) {
            Ok(full) => full.as_str().strip_prefix(url.as_str()).map(str::to_owned),
            Err(_) => None,
        };
        let Some(target) = link.and_then(|link| relative(url, &link)) else { continue };
        let file = target.path_segments().and_then(Iterator::last).map(percent_decoded);
        let Some(name) = file.and_then(|file| PackageName::of_file(&file)) else { continue };
        let Some(part) = finder.part(&name) else { continue };
        if seen.insert(target.clone()) {
            let package = IndexedPackage {
                name,
                url: target,
                size: None,
                installed: None,
                depends: false,
                checksum: None,
                trust,
            };
            finder.found.push(Found { part, package });
            finder.check_count(&public_url(url))?;
        }
    }
    Ok(())
}

/// The values of all `href` attributes of a page, which need not be well-formed.
fn links(page: &[u8]) -> impl Iterator<Item = String> {
    let page = String::from_utf8_lossy(page).into_owned();
    let lower = page.to_ascii_lowercase();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + lower[at..].find("href")? + "href".len();
            at = start;
            let Some(rest) = page[start..].trim_start().strip_prefix('=') else { continue };
            let rest = rest.trim_start();
            // However the page goes on: a link is looked for nearby only, or many of them would take forever.
            let rest = &rest[..rest.floor_char_boundary(LINK_LIMIT)];
            // What does not end here is no link.
            let value = match rest.chars().next() {
                Some(quote @ ('"' | '\'')) => rest[1..].split_once(quote).map(|(value, _)| value),
                _ => rest.find([' ', '\t', '\r', '\n', '>']).map(|end| &rest[..end]),
            };
            let value = value.filter(|value| !value.contains(['<', '>']));
            if let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) {
                return Some(entities(value).into_owned());
            }
        }
    })
}

/// HTML's entities, as far as they occur in links.
fn entities(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let replaced = [("&#43;", "+"), ("&#x2B;", "+"), ("&#x2b;", "+"), ("&plus;", "+"), ("&amp;", "&")];
    Cow::Owned(
        replaced.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character)),
    )
}

/// A file name without its percent signs; what is no UTF-8 then is no package's name.
fn percent_decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%').and_then(|digits| hex::decode(digits).ok());
        match digits.as_deref() {
            Some(&[byte]) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// The repositories that the list at `url` names, one a line; `$basearch` and `$releasever` are replaced.
pub(super) async fn mirrors(
    client: &fetch::Client,
    url: &Url,
    arch: &str,
    version: &str,
) -> Result<Vec<Url>, Error> {
    let text = client.bytes(url, MIRRORS_LIMIT).await?;
    let text = String::from_utf8_lossy(&text);
    let mirrors: Vec<Url> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.replace("$basearch", arch).replace("$releasever", version))
        .filter_map(|line| Url::parse(&line).ok())
        // What was asked for in private is not fetched in public, and nobody sends us to files of this machine.
        .filter(|mirror| mirror.scheme() == "https" || mirror.scheme() == "http" && url.scheme() == "http")
        // Nor into a private network, unless the list is there itself.
        .filter(|mirror| !is_private(mirror) || is_private(url))
        .map(super::location::directory)
        .take(MIRRORS)
        .collect();
    if mirrors.is_empty() {
        let reason = "no address of a repository is in this list of mirrors".into();
        return Err(Error::Malformed { url: public_url(url), reason });
    }
    Ok(mirrors)
}

/// Whether an address, as it is written, is none of the public Internet.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => Scope::of(address.into()) != Scope::Public,
        Some(url::Host::Ipv6(address)) => Scope::of(address.into()) != Scope::Public,
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that links are found in pages of several servers, and in what is hardly a page.
    #[test]
    fn hrefs() {
        let page = br#"<HTML><a href="a-1-1.x86_64.rpm">a</a> <A HREF='b&#43;c.rpm'>b</A><a href=c.rpm>c</a>
            <a href = "?C=N&amp;O=D">Name</a> <a href="">none</a> <a name="href">x</a> <a href="unclosed>"#;
        let found: Vec<String> = links(page).collect();
        assert_eq!(found, ["a-1-1.x86_64.rpm", "b+c.rpm", "c.rpm", "?C=N&O=D"]);
        // Each of these would read to the page's end, if it could.
        assert_eq!(links(&b"href='\"".repeat(100_000)).filter(|link| link.len() > LINK_LIMIT).count(), 0);
        assert_eq!(links(&b"href=\xc3\xa4".repeat(100_000)).count(), 0);
    }

    /// Check that percent signs are decoded once.
    #[test]
    fn percent() {
        assert_eq!(percent_decoded("a%2Bb%252B%2.rpm%"), "a+b%2B%2.rpm%");
        assert_eq!(percent_decoded("%ff"), "");
    }

    /// Check which addresses a public list of mirrors may not name.
    #[test]
    fn private_addresses() {
        for (url, private) in [
            ("http://127.0.0.1/", true),
            ("http://[::1]/", true),
            ("http://169.254.169.254/", true),
            ("http://10.0.0.1/", true),
            ("http://localhost:8080/", true),
            ("http://93.184.215.14/", false),
            ("http://mirror.example/", false),
        ] {
            assert_eq!(is_private(&url.parse().unwrap()), private, "{url}");
        }
    }
}
