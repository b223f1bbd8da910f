//! Doors for the fuzzer to the readers of indices, which otherwise are reached only through a server.

use std::sync::LazyLock;

use btf_archive::Trust;
use url::Url;

use super::found::{Finder, Origin};
use super::release::Release;
use super::{cleartext, decode, listing, primary_db, primary_xml, repomd, snapshot, suite};
use crate::distro::Distros;

static DISTROS: LazyLock<Distros> = LazyLock::new(|| Distros::shipped().expect("built in"));
static BASE: LazyLock<Url> = LazyLock::new(|| Url::parse("https://mirror.example/r/").expect("an address"));

/// Kinds of index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// Debian's `Packages`.
    Packages,
    /// Debian's `InRelease`, its signature not looked at.
    Release,
    /// `repomd.xml`.
    Repomd,
    /// `primary.xml`.
    Primary,
    /// `primary.sqlite`.
    Database,
    /// A page with links.
    Listing,
    /// What a snapshot service says of a source package.
    Snapshot,
}

/// Reads an index, which may be compressed: the number of packages found, or why there are none.
///
/// # Errors
/// What the reader says.
///
/// # Panics
/// If it read more than it should have, or what is found lies outside of the repository.
pub fn read(kind: Index, bytes: &[u8]) -> Result<usize, String> {
    let id = if matches!(kind, Index::Packages | Index::Snapshot) { "debian" } else { "almalinux" };
    let distro = DISTROS.get(id).expect("built in");
    let repository = &distro.releases[0].repositories[0];
    let mut finder = Finder::new(distro, repository, "x86_64");
    let origin = Origin { base: &BASE, index: "index", trust: Trust::None };
    let reader = || {
        let input = std::io::Cursor::new(bytes.to_vec());
        decode::limited(decode::Form::of(bytes), input, 16 << 20).map_err(|error| error.to_string())
    };
    let outcome = match kind {
        Index::Release => {
            let message = cleartext::split(bytes).map_err(str::to_owned)?;
            return Release::parse(&message.text).map(|_| 0).map_err(|error| error.to_string());
        }
        Index::Repomd => return repomd::lists(bytes).map(|lists| lists.len()),
        Index::Packages => suite::packages(reader()?, &origin, &mut finder),
        Index::Primary => primary_xml::read(reader()?, &origin, &mut finder),
        Index::Database => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(primary_db::read(reader()?, &origin, &mut finder))
        }
        Index::Listing => listing::take(bytes, &BASE, &mut finder),
        Index::Snapshot => snapshot::take(bytes, &BASE, "linux", "index", &mut finder),
    };
    assert!(finder.found.iter().all(|found| found.package.url.as_str().starts_with(BASE.as_str())));
    outcome.map(|()| finder.found.len()).map_err(|error| error.to_string())
}
