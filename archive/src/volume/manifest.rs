//! The manifest of a volume.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::select::Selection;
use crate::snapshot::Link;
use crate::{Digest, ObjectPath};

/// The name of the member.
pub(super) const NAME: &str = "manifest.json";

/// The most bytes a manifest may have: 64 MiB, some 300,000 objects.
pub const MAX_MANIFEST: u64 = 64 << 20;

/// The most bytes that what names and signs a snapshot may have: readers keep it in memory.
const MAX_HEAD: u64 = 256 << 20;

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// What a volume holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The snapshot that the export brings.
    pub snapshot: Link,
    /// The snapshot that it builds on: what that one has is not in it.
    pub since: Option<Link>,
    /// Which of the snapshot's kernels are in it.
    pub selection: Selection,
    /// Which volume of the export this is; the first is 1.
    pub volume: u32,
    /// How many volumes the export has.
    pub volumes: u32,
    /// The objects, in the order in which they lie in the file: first what names and signs, then parts, then blobs, bases before their deltas.
    pub objects: Vec<Entry>,
}

/// An object in a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its path in an archive.
    pub path: ObjectPath,
    /// Its size as stored, in bytes.
    pub size: u64,
    /// The sha256 of its bytes as stored: for a blob another one than that of its name.
    pub sha256: Digest,
}

impl Entry {
    /// The entry of an object with these bytes.
    pub fn of(path: ObjectPath, bytes: &[u8]) -> Self {
        Self { path, size: bytes.len() as u64, sha256: Digest::of(bytes) }
    }
}

/// The JSON of all but the objects, which have a line each.
#[derive(Serialize, Deserialize)]
struct HeadJson {
    format: u32,
    snapshot: Link,
    since: Option<Link>,
    #[serde(default, skip_serializing_if = "Selection::is_everything")]
    selection: Selection,
    volume: u32,
    volumes: u32,
}

#[derive(Deserialize)]
struct Json {
    #[serde(flatten)]
    head: HeadJson,
    objects: Vec<Entry>,
}

impl Manifest {
    /// What belongs to one export in the manifests of all its volumes.
    pub fn same_export(&self, other: &Self) -> bool {
        let export = |of: &Self| (of.snapshot, of.since, of.volumes, of.selection.clone());
        export(self) == export(other)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// Why a reader would refuse it.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        self.check()?;
        let Self { snapshot, since, selection, volume, volumes, objects } = self.clone();
        let head = HeadJson { format: FORMAT, snapshot, since, selection, volume, volumes };
        let text = |error: serde_json::Error| error.to_string();
        let mut json = serde_json::to_vec(&head).map_err(text)?;
        json.pop();
        json.extend_from_slice(b",\n\"objects\":[");
        for (place, entry) in objects.iter().enumerate() {
            json.extend_from_slice(if place == 0 { b"\n" } else { b",\n" });
            serde_json::to_writer(&mut json, entry).map_err(text)?;
        }
        json.extend_from_slice(b"\n]}\n");
        if json.len() as u64 > MAX_MANIFEST { Err("larger than 64 MiB".to_owned()) } else { Ok(json) }
    }

    /// Reads a manifest's bytes.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn decode(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let text = |error: serde_json::Error| format!("manifest: {error}");
        let Format { format } = serde_json::from_slice(json).map_err(text)?;
        if format != FORMAT {
            return Err(format!("format {format} is none that this program reads: it may be too old"));
        }
        let Json { head, objects } = serde_json::from_slice(json).map_err(text)?;
        let HeadJson { snapshot, since, selection, volume, volumes, .. } = head;
        let manifest = Self { snapshot, since, selection, volume, volumes, objects };
        manifest.check().map_err(|reason| format!("manifest: {reason}"))?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if self.volume == 0 || self.volume > self.volumes {
            return Err(format!("volume {} of {}", self.volume, self.volumes));
        }
        if self.since.is_some_and(|since| since.number >= self.snapshot.number) {
            return Err("the snapshot that it builds on is not older".to_owned());
        }
        let mut seen = BTreeSet::new();
        let (mut before, mut head) = (0, 0_u64);
        for Entry { path, size, .. } in &self.objects {
            if *size > path.max_size() {
                return Err(format!("{path} has {size} bytes, more than such an object may have"));
            }
            if !seen.insert(path) {
                return Err(format!("{path} is there twice"));
            }
            let rank = match path {
                ObjectPath::Blob(..) => 2,
                ObjectPath::Part(_) => 1,
                _ => 0,
            };
            if rank < before {
                return Err(format!("{path} comes too late"));
            }
            before = rank;
            if rank == 0 {
                head = head.saturating_add(*size);
            }
        }
        if head > MAX_HEAD { Err("more than 256 MiB of snapshots and keys".to_owned()) } else { Ok(()) }
    }
}
