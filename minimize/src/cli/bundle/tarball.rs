//! Bundles as tar files: plain ustar headers without owner or time, so that the same members give the same bytes.
//!
//! Readers take members by name and expect their bytes behind the header, so a member that is equal to another one is repeated; the compressor sees that.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use liblzma::write::XzEncoder;
use tar::{EntryType, Header};

use super::Layout;
use super::names::Member;

/// What xz does with a collection, and with a single small file.
const COLLECTION: u32 = 6;
const SINGLE: u32 = 0;

/// A bundle as a compressed tar file.
pub(super) fn pack(layout: Layout, members: &[Member<'_>]) -> io::Result<Vec<u8>> {
    if layout != Layout::Datadog {
        return gzip(members.iter());
    }
    // Compressed twice: each BTF is a tar file itself.
    let mut outer = tar::Builder::new(XzEncoder::new(Vec::new(), COLLECTION));
    for member in members {
        let file = member.name.strip_suffix(".tar.xz").unwrap_or(&member.name);
        let file = file.rsplit('/').next().unwrap_or(file);
        let mut inner = tar::Builder::new(XzEncoder::new(Vec::new(), SINGLE));
        append(&mut inner, file, &member.data)?;
        append(&mut outer, &member.name, &inner.into_inner()?.finish()?)?;
    }
    outer.into_inner()?.finish()
}

/// Members as `tar -cz` would write them.
pub(super) fn gzip<'a, 'b: 'a>(members: impl Iterator<Item = &'a Member<'b>>) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzBuilder::new().write(Vec::new(), Compression::best()));
    for member in members {
        append(&mut tar, &member.name, &member.data)?;
    }
    tar.into_inner()?.finish()
}

fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, data: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(data.len() as u64);
    let too_long = || io::Error::other(format!("{name}: too long a name for a tar file"));
    let ustar = header.as_ustar_mut().ok_or_else(too_long)?;
    // Written as it is: the crate would take a leading `./` away, which readers compare.
    let (prefix, rest) = match name {
        name if name.len() <= ustar.name.len() => ("", name),
        name => name
            .rmatch_indices('/')
            .map(|(at, _)| (&name[..at], &name[at + 1..]))
            .find(|(prefix, _)| prefix.len() <= ustar.prefix.len())
            .ok_or_else(too_long)?,
    };
    ustar.prefix[..prefix.len()].copy_from_slice(prefix.as_bytes());
    ustar.name.get_mut(..rest.len()).ok_or_else(too_long)?.copy_from_slice(rest.as_bytes());
    header.set_cksum();
    tar.append(&header, data)
}
