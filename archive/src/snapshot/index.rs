//! The index of a snapshot: its number, when it was made, which it follows, and its parts.

use serde::{Deserialize, Serialize};

use super::{Link, MAX_RAW, Snapshot, check_order, format_of, parse, part, unfit, unknown_format};
use crate::{Digest, KernelRecord, Key, Result, blob};

/// The most raw JSON bytes an index may have: 16 MiB, about 80,000 parts.
const MAX_INDEX: usize = 16 << 20;

/// What the file of a snapshot, `snapshots/000042.json.zst`, holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// Format 1: everything.
    Whole(Snapshot),
    /// Format 2: where the parts are.
    Index(Index),
}

/// The index of a snapshot (format 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its number; the first is 1.
    pub number: u64,
    /// When it was made, in seconds since 1970 (UTC).
    pub created: u64,
    /// The snapshot it follows; none for the first.
    pub previous: Option<Link>,
    /// How many kernels it has, in all parts.
    pub kernels: u64,
    /// The parts, in order of their kernels' keys.
    pub parts: Vec<PartRef>,
}

/// A part of a snapshot, as its index names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRef {
    /// The key of its first kernel.
    pub first: Key,
    /// How many kernels it has; at least one.
    pub kernels: u64,
    /// The sha256 of its file as stored, by which that is found.
    pub digest: Digest,
    /// The size of its file as stored, in bytes.
    pub size: u64,
}

/// The JSON of an index, in the order of its fields.
#[derive(Serialize, Deserialize)]
struct IndexJson {
    format: u32,
    number: u64,
    created: u64,
    previous: Option<Link>,
    kernels: u64,
    parts: Vec<PartRef>,
}

/// The JSON of format 1.
#[derive(Deserialize)]
struct WholeJson {
    number: u64,
    created: u64,
    previous: Option<Link>,
    kernels: Vec<KernelRecord>,
}

impl Head {
    /// Reads a snapshot's file of either format. The caller has checked its digest.
    ///
    /// # Errors
    /// Those of [`blob::decompress`]; [`Error::Snapshot`](crate::Error::Snapshot) for JSON that is none, an unknown
    /// format, or one that contradicts itself.
    pub fn decode(zst: &[u8]) -> Result<Self> {
        const WHAT: &str = "snapshot";
        let json = blob::decompress(zst, MAX_RAW)?;
        let head = match format_of(WHAT, &json)? {
            1 => {
                let WholeJson { number, created, previous, kernels } = parse(WHAT, &json)?;
                check_order(WHAT, &kernels)?;
                Self::Whole(Snapshot { number, created, previous, kernels })
            }
            super::FORMAT if json.len() > MAX_INDEX => return Err(unfit(WHAT, "its index exceeds 16 MiB")),
            super::FORMAT => {
                let IndexJson { number, created, previous, kernels, parts, .. } = parse(WHAT, &json)?;
                let index = Index { number, created, previous, kernels, parts };
                index.check_parts()?;
                Self::Index(index)
            }
            format => return Err(unknown_format(WHAT, format)),
        };
        let follows = head.previous().map_or(0, |link| link.number);
        if follows.checked_add(1) != Some(head.number()) {
            return Err(unfit(WHAT, format!("number {} cannot follow {follows}", head.number())));
        }
        Ok(head)
    }

    /// The snapshot's number.
    pub fn number(&self) -> u64 {
        match self {
            Self::Whole(Snapshot { number, .. }) | Self::Index(Index { number, .. }) => *number,
        }
    }

    /// When it was made, in seconds since 1970 (UTC).
    pub fn created(&self) -> u64 {
        match self {
            Self::Whole(Snapshot { created, .. }) | Self::Index(Index { created, .. }) => *created,
        }
    }

    /// The snapshot it follows.
    pub fn previous(&self) -> Option<Link> {
        match self {
            Self::Whole(Snapshot { previous, .. }) | Self::Index(Index { previous, .. }) => *previous,
        }
    }

    /// Its parts; format 1 has none.
    pub fn parts(&self) -> &[PartRef] {
        match self {
            Self::Whole(_) => &[],
            Self::Index(index) => &index.parts,
        }
    }
}

impl PartRef {
    /// Where the part lies in an archive, relative to its root: `snapshots/parts/ab/abcd….json.zst`.
    pub fn path(&self) -> String {
        part::path(&self.digest)
    }
}

/// A snapshot that is being put together of its parts, in bounded memory.
#[derive(Debug)]
pub struct Assembly<'i> {
    index: &'i Index,
    parts: usize,
    raw: usize,
    kernels: Vec<KernelRecord>,
}

impl Assembly<'_> {
    /// Adds the next part, from the bytes of its file.
    ///
    /// # Errors
    /// Those of [`Index::read_part`]; [`Error::TooLarge`](crate::Error::TooLarge) if all so far is more than
    /// [`MAX_RAW`](super::MAX_RAW).
    pub fn add(&mut self, zst: &[u8]) -> Result<()> {
        let (kernels, raw) = self.index.read(self.parts, zst)?;
        self.raw = self.raw.saturating_add(raw);
        if self.raw > MAX_RAW {
            return Err(crate::Error::TooLarge { limit: MAX_RAW });
        }
        self.parts += 1;
        self.kernels.extend(kernels);
        Ok(())
    }

    /// The snapshot, once every part was added.
    ///
    /// # Errors
    /// [`Error::Snapshot`](crate::Error::Snapshot) if parts are lacking.
    pub fn finish(self) -> Result<Snapshot> {
        let Index { number, created, previous, parts, .. } = self.index;
        if self.parts != parts.len() {
            let reason = format!("{} of its {} parts are lacking", parts.len() - self.parts, parts.len());
            return Err(unfit("snapshot", reason));
        }
        Ok(Snapshot { number: *number, created: *created, previous: *previous, kernels: self.kernels })
    }
}

impl Index {
    /// The bytes of its file.
    #[cfg(feature = "compress")]
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let Self { number, created, previous, kernels, parts } = self.clone();
        let json = IndexJson { format: super::FORMAT, number, created, previous, kernels, parts };
        let json = serde_json::to_vec(&json).map_err(|error| unfit("snapshot", error))?;
        if json.len() > MAX_INDEX {
            return Err(unfit("snapshot", "its index would exceed 16 MiB"));
        }
        Ok(blob::encode(&json, part::LEVEL))
    }

    /// The part in which a kernel of this key is, if there is one, by its place among [`Index::parts`].
    pub fn part_of(&self, key: &Key) -> Option<usize> {
        self.parts.partition_point(|part| part.first <= *key).checked_sub(1)
    }

    /// Reads the part at `place` among [`Index::parts`] from the bytes of its file, checking that it is that part.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`](crate::Error::DigestMismatch), those of [`blob::decompress`], and
    /// [`Error::Snapshot`](crate::Error::Snapshot) for a part that does not hold what the index says.
    pub fn read_part(&self, place: usize, zst: &[u8]) -> Result<Vec<KernelRecord>> {
        Ok(self.read(place, zst)?.0)
    }

    /// The whole snapshot, to be put together of its parts.
    pub fn assemble(&self) -> Assembly<'_> {
        Assembly { index: self, parts: 0, raw: 0, kernels: Vec::new() }
    }

    /// A part's kernels, and how many raw bytes they were.
    fn read(&self, place: usize, zst: &[u8]) -> Result<(Vec<KernelRecord>, usize)> {
        let part = self.parts.get(place).ok_or_else(|| unfit(part::WHAT, "the index has no such part"))?;
        let (kernels, raw) = part::decode(part, zst)?;
        if let (Some(last), Some(next)) = (kernels.last(), self.parts.get(place + 1))
            && last.key >= next.first
        {
            return Err(unfit(part::WHAT, format!("kernel {} belongs into the part after it", last.key)));
        }
        Ok((kernels, raw))
    }

    /// The part of this index that holds exactly these kernels, as `snapshot`, which is its, has them.
    #[cfg(feature = "compress")]
    pub(super) fn unchanged(&self, snapshot: &Snapshot, kernels: &[KernelRecord]) -> Option<&PartRef> {
        let first = &kernels.first()?.key;
        let part = self.parts.get(self.part_of(first)?).filter(|part| part.first == *first)?;
        let from = snapshot.kernels.binary_search_by(|kernel| kernel.key.cmp(first)).ok()?;
        let to = from.checked_add(usize::try_from(part.kernels).ok()?)?;
        (snapshot.kernels.get(from..to)? == kernels).then_some(part)
    }

    fn check_parts(&self) -> Result<()> {
        let wrong = |reason: String| Err(unfit("snapshot", reason));
        if let Some(pair) = self.parts.windows(2).find(|pair| pair[0].first >= pair[1].first) {
            return wrong(format!("the part of {} is out of order or there twice", pair[1].first));
        }
        let sizes = 1..=part::MAX_KERNELS as u64;
        if let Some(part) = self.parts.iter().find(|part| !sizes.contains(&part.kernels)) {
            return wrong(format!("the part of {} has {} kernels", part.first, part.kernels));
        }
        if let Some(part) = self.parts.iter().find(|part| part.size > part::MAX_ZST) {
            return wrong(format!("the part of {} has {} bytes", part.first, part.size));
        }
        let sum: u64 = self.parts.iter().map(|part| part.kernels).sum();
        if sum != self.kernels {
            return wrong(format!("its parts have {sum} kernels, it says {}", self.kernels));
        }
        Ok(())
    }
}
