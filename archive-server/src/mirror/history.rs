//! The snapshots between the one here and the newest there, back from that: each is named, by digest, by the one after it.

use std::collections::HashSet;

use btf_archive::snapshot::{Head, Index, Latest, PartRef, Snapshot};
use btf_archive::store::{self, Archive};
use btf_archive::{Digest, ObjectPath};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{Error, Fetcher};
use crate::carry::head::Believed;

/// How many parts are fetched at once.
const PARTS_AT_ONCE: usize = 8;

/// What lies between.
#[derive(Debug)]
pub(super) struct Past {
    /// The files of the snapshots in between, and their signatures. Their parts are here already.
    pub(super) objects: Vec<(ObjectPath, Bytes)>,
    /// The oldest of them.
    pub(super) oldest: u64,
    /// Whether they do not reach back to the one here.
    pub(super) gap: bool,
}

/// Fetches them, with their parts.
pub(super) async fn fetch(
    archive: &Archive,
    fetcher: &Fetcher,
    believed: &Believed,
    here: Option<&Latest>,
) -> Result<Past, Error> {
    let newest = believed.latest.number;
    let mut seen = HashSet::new();
    parts(archive, fetcher, &believed.snapshot, &mut seen).await?;
    let mut past = Past { objects: Vec::new(), oldest: newest, gap: here.is_none() };
    let Some(here) = here.filter(|here| here.number != newest) else { return Ok(past) };
    let mut previous = believed.snapshot.previous();
    while let Some(link) = previous {
        if link.number <= here.number {
            // The chain must go through what is here.
            if link != here.link() {
                return Err(store::Error::Diverged { number: newest, here: here.number }.into());
            }
            return Ok(past);
        }
        let path = ObjectPath::Snapshot(link.number);
        let take = async |bytes: Bytes| {
            link.digest.check(&bytes).map_err(|error| error.to_string())?;
            let head = Head::decode(&bytes).map_err(|error| error.to_string())?;
            Ok((bytes, head))
        };
        // A server may have given up snapshots of long ago.
        let Some((bytes, head)) = fetcher.fetch(&path, take).await? else { break };
        parts(archive, fetcher, &head, &mut seen).await?;
        let signature = ObjectPath::SnapshotSignature(link.number);
        past.objects.push((path, bytes));
        past.objects.extend(
            fetcher.fetch(&signature, async |bytes| Ok(bytes)).await?.map(|bytes| (signature, bytes)),
        );
        past.oldest = link.number;
        previous = head.previous();
    }
    past.gap = true;
    Ok(past)
}

/// Fetches the parts of a snapshot that are not here.
async fn parts(
    archive: &Archive,
    fetcher: &Fetcher,
    head: &Head,
    seen: &mut HashSet<Digest>,
) -> Result<(), Error> {
    let new: Vec<&PartRef> = head.parts().iter().filter(|part| seen.insert(part.digest)).collect();
    let fetch = |part: &'_ PartRef| {
        let part = part.clone();
        async move {
            let path = ObjectPath::Part(part.digest);
            if archive.object_size(&path).await? == Some(part.size) {
                return Ok(());
            }
            let take = async |bytes: Bytes| {
                archive.take_part(&part.digest, bytes).await.map_err(|error| error.to_string())
            };
            match fetcher.fetch(&path, take).await? {
                Some(()) => Ok(()),
                None => Err(Error::Archive(store::Error::Missing { path: path.to_string() })),
            }
        }
    };
    futures::stream::iter(new).map(fetch).buffer_unordered(PARTS_AT_ONCE).try_collect().await
}

/// The whole snapshot of an index whose parts are here.
pub(super) async fn assemble(archive: &Archive, index: &Index) -> Result<Snapshot, Error> {
    let error = |source| Error::Snapshot { number: index.number, source };
    let mut assembly = index.assemble();
    for part in &index.parts {
        assembly.add(&archive.part_zst(&part.digest).await?).map_err(error)?;
    }
    assembly.finish().map_err(error)
}
