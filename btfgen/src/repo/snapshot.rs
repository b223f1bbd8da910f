//! A service in the manner of Debian's snapshots, which keeps every version that there ever was: JSON below `mr/`, files by their SHA-1.

use std::collections::HashMap;

use btf_archive::Trust;
use serde::Deserialize;
use url::Url;

use super::error::Error;
use super::found::{Finder, Found};
use super::indexed::{IndexedPackage, PackageName};
use super::location::join;
use super::offer::Checksum;
use crate::fetch::{self, public_url};

/// The largest answer accepted, in bytes; those for the kernel's source package are below 3 MB.
const ANSWER_LIMIT: u64 = 64 << 20;
/// The most versions of a source package that are asked for.
const VERSIONS: usize = 20_000;

/// `mr/package/SOURCE/`.
#[derive(Deserialize)]
struct Versions {
    result: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

/// `mr/package/SOURCE/VERSION/allfiles?fileinfo=1`.
#[derive(Deserialize)]
struct Files {
    result: Binaries,
    fileinfo: HashMap<String, Vec<FileInfo>>,
}

#[derive(Deserialize)]
struct Binaries {
    #[serde(default)]
    binaries: Vec<Binary>,
}

#[derive(Deserialize)]
struct Binary {
    name: String,
    version: String,
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    architecture: String,
    hash: String,
}

#[derive(Deserialize)]
struct FileInfo {
    size: u64,
}

/// Hands to `finder` every package that was ever built of the source packages.
pub(super) async fn read(
    client: &fetch::Client,
    base: &Url,
    sources: &[String],
    takes: impl Fn(&str) -> bool,
    finder: &mut Finder<'_>,
) -> Result<(), Error> {
    for source in sources {
        let versions: Versions = ask(client, &join(base, &format!("mr/package/{source}/"))?).await?;
        // Binary packages of a version not wanted would only be dismissed one by one.
        for Version { version } in versions.result.into_iter().filter(|of| takes(&of.version)).take(VERSIONS)
        {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+~:-".contains(&byte);
            if !version.bytes().all(plain) || version.contains("..") {
                continue;
            }
            let url = join(base, &format!("mr/package/{source}/{version}/allfiles?fileinfo=1"))?;
            let files = client.bytes(&url, ANSWER_LIMIT).await?;
            take(&files, base, source, &public_url(&url), finder)?;
        }
    }
    Ok(())
}

/// Hands to `finder` the packages of one version of a source package.
pub(super) fn take(
    files: &[u8],
    base: &Url,
    source: &str,
    index: &str,
    finder: &mut Finder<'_>,
) -> Result<(), Error> {
    let files: Files = serde_json::from_slice(files)
        .map_err(|error| Error::Malformed { url: index.to_owned(), reason: error.to_string() })?;
    let trust = if base.scheme() == "https" { Trust::Transport } else { Trust::None };
    for binary in files.result.binaries {
        for File { architecture, hash } in binary.files {
            let name = PackageName {
                name: binary.name.clone(),
                version: binary.version.clone(),
                release: String::new(),
                epoch: None,
                arch: architecture,
                source: Some(source.to_owned()),
            };
            let Some(checksum) = Checksum::parse("sha1", &hash).filter(|_| name.is_plain()) else { continue };
            let Some(part) = finder.part(&name) else { continue };
            let size = files.fileinfo.get(&hash).and_then(|infos| infos.first()).map(|info| info.size);
            let package = IndexedPackage {
                name,
                url: join(base, &format!("file/{}", hash.to_ascii_lowercase()))?,
                size,
                installed: None,
                depends: false,
                checksum: Some(checksum),
                trust,
            };
            finder.found.push(Found { part, package });
            finder.check_count(index)?;
        }
    }
    Ok(())
}

async fn ask<T: serde::de::DeserializeOwned>(client: &fetch::Client, url: &Url) -> Result<T, Error> {
    let bytes = client.bytes(url, ANSWER_LIMIT).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::Malformed { url: public_url(url), reason: error.to_string() })
}
