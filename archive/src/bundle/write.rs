//! Writing bundles: the same kernels give the same bytes, in whatever order they come.

use std::collections::BTreeMap;

#[cfg(feature = "compress")]
use super::ZSTD;
use super::{ALIGN, BLOB, BUILD_ID, HEADER, KERNEL, MAGIC, RAW, VERSION};
use crate::{BuildId, Digest, Error, Key, Result};

/// Collects kernels for a bundle.
#[derive(Debug, Default)]
pub struct Builder {
    kernels: BTreeMap<String, Entry>,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

#[derive(Debug)]
struct Entry {
    build_id: Option<BuildId>,
    source: [u8; 8],
    digest: Digest,
}

/// How blobs are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As they are, to be used in place.
    #[default]
    Raw,
    /// Each as a zstd frame, where that is shorter.
    #[cfg(feature = "compress")]
    Zstd,
}

impl Builder {
    /// Nothing.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Adds a kernel: its BTF, and the digest of the whole BTF that it was made from, where that is known. The last one of a key counts.
    pub fn add(&mut self, key: &Key, build_id: Option<BuildId>, source: Option<&Digest>, btf: &[u8]) {
        let digest = Digest::of(btf);
        self.blobs.entry(digest).or_insert_with(|| btf.to_vec());
        let source = source.and_then(|source| source.as_bytes().first_chunk().copied()).unwrap_or_default();
        self.kernels.insert(key.to_string(), Entry { build_id, source, digest });
    }

    /// Writes the bundle; `record` is JSON that says what it was made of.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if it would have 4 GiB or more.
    pub fn finish(&self, record: &str, encoding: Encoding) -> Result<Vec<u8>> {
        // Blobs in the order in which kernels first use them: neighbours are alike, which helps whoever compresses the whole.
        let mut numbers: BTreeMap<Digest, u32> = BTreeMap::new();
        let mut order = Vec::new();
        let mut names = Vec::new();
        let mut kernels = Vec::new();
        let mut build_ids = Vec::new();
        for (index, (key, entry)) in (0u32..).zip(&self.kernels) {
            let blob = *numbers.entry(entry.digest).or_insert_with(|| {
                order.push(entry.digest);
                order.len() as u32 - 1
            });
            words(&mut kernels, &[names.len() as u32, key.len() as u32, blob]);
            kernels.extend(entry.source);
            names.extend(key.as_bytes());
            build_ids.extend(entry.build_id.map(|build_id| (build_id, index)));
        }
        build_ids.sort_unstable_by(|a, b| (a.0.as_bytes(), a.1).cmp(&(b.0.as_bytes(), b.1)));
        let mut ids = Vec::new();
        for (build_id, kernel) in &build_ids {
            let bytes = build_id.as_bytes();
            words(&mut ids, &[names.len() as u32, bytes.len() as u32, *kernel]);
            names.extend(bytes);
        }
        debug_assert_eq!(
            (kernels.len(), ids.len()),
            (self.kernels.len() * KERNEL, build_ids.len() * BUILD_ID)
        );

        let lengths = [kernels.len(), ids.len(), order.len() * BLOB, names.len(), record.len()];
        let start = HEADER + lengths.iter().sum::<usize>();
        let mut end = start;
        let mut blobs = Vec::new();
        let mut data = Vec::new();
        for digest in &order {
            let raw = self.blobs.get(digest).map(Vec::as_slice).unwrap_or_default();
            let packed = encode(raw, encoding);
            let (stored, encoding) =
                packed.as_ref().map_or((raw, RAW), |(packed, encoding)| (packed, *encoding));
            let at = end.next_multiple_of(ALIGN as usize);
            data.resize(data.len() + at - end, 0);
            data.extend(stored);
            end = at + stored.len();
            words(&mut blobs, &[at as u32, stored.len() as u32, raw.len() as u32, encoding]);
            blobs.extend(digest.as_bytes());
        }
        if u32::try_from(end).is_err() {
            return Err(Error::TooLarge { limit: u32::MAX as usize });
        }
        let mut out = Vec::with_capacity(end);
        out.extend(MAGIC);
        words(&mut out, &[VERSION, end as u32]);
        let mut place = HEADER;
        for len in lengths {
            words(&mut out, &[place as u32, len as u32]);
            place += len;
        }
        out.resize(HEADER, 0);
        for part in [&kernels, &ids, &blobs, &names, record.as_bytes(), &data] {
            out.extend(part);
        }
        Ok(out)
    }
}

/// The bytes stored in place of raw ones, if any are shorter.
#[cfg(feature = "compress")]
fn encode(raw: &[u8], encoding: Encoding) -> Option<(Vec<u8>, u32)> {
    let packed = (encoding == Encoding::Zstd).then(|| crate::blob::compress(raw))?;
    (packed.len() < raw.len()).then_some((packed, ZSTD))
}

#[cfg(not(feature = "compress"))]
fn encode(_: &[u8], _: Encoding) -> Option<(Vec<u8>, u32)> {
    None
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}
