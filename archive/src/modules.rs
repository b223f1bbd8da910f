//! The split BTF of all modules of one kernel, in one blob: MODBTF.
//!
//! A kernel has up to four thousand modules, whose split BTF is small and alike: one blob of all compresses well, and is
//! one object to store and to mirror. A reader finds one module in it without touching the others. All numbers are little-endian:
//!
//! ```text
//!  0   8  magic "MODBTF\r\n"
//!  8   4  version, 1
//! 12   4  number of modules
//! 16  32  sha256 of the kernel's raw BTF, on which all of it is split
//! 48      for each module 16 bytes: offset of its name (4), length of its name (4), offset of its BTF (4), length of its BTF (4)
//!         the names, one after another, in order of their bytes, none twice
//!         the BTF of each module, in the same order, each at the next multiple of 8, zeros before it
//! ```
//!
//! Offsets count from the first byte of the file. There is only one way to write a given set of modules, and a reader refuses
//! every other: each offset must be where the entry before it ends. The format is described for other readers in the book,
//! `reference/archive-layout.md`.

use crate::{Digest, Error, Result};

/// The first bytes.
const MAGIC: &[u8; 8] = b"MODBTF\r\n";
/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// Bytes before the table.
const HEADER: usize = 48;
/// Bytes of an entry of the table.
const ENTRY: usize = 16;
/// The most bytes a module's name may have; the kernel's own limit is 55.
const MAX_NAME: usize = 128;

/// The split BTF of a kernel's modules, as it lies in memory. Everything about it was checked but the BTF itself.
#[derive(Clone, Copy, Debug)]
pub struct Modules<'a> {
    bytes: &'a [u8],
    count: usize,
    base: Digest,
}

impl<'a> Modules<'a> {
    /// Reads a blob of modules. Takes time in proportion to their number, and no memory.
    ///
    /// # Errors
    /// [`Error::Modules`] for anything that [`encode`] does not write.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let wrong = |offset, reason| Err(Error::Modules { offset, reason });
        let Some(header) = bytes.get(..HEADER) else { return wrong(bytes.len(), "ends within the header") };
        if !header.starts_with(MAGIC) {
            return wrong(0, "is no MODBTF");
        }
        if number(header, 8) != Some(VERSION as usize) {
            return wrong(8, "has a version that this program does not read");
        }
        let count = number(header, 12).unwrap_or(0);
        let mut base = [0; 32];
        base.copy_from_slice(&header[16..]);
        let modules = Self { bytes, count, base: Digest::from_bytes(base) };
        let names = count.checked_mul(ENTRY).and_then(|len| len.checked_add(HEADER));
        let Some(mut name_at) = names.filter(|names| *names <= bytes.len()) else {
            return wrong(12, "has fewer bytes than its table of modules");
        };
        let mut data_at = None;
        let mut before: &[u8] = b"";
        // Names first: the data begins behind the last.
        for index in 0..count {
            let at = HEADER + index * ENTRY;
            let (Some(offset), Some(len)) = (number(bytes, at), number(bytes, at + 4)) else {
                return wrong(at, "ends within the table");
            };
            if offset != name_at {
                return wrong(at, "has a name elsewhere than behind the one before");
            }
            let Some(name) = offset.checked_add(len).and_then(|end| bytes.get(offset..end)) else {
                return wrong(at + 4, "ends within a name");
            };
            if !is_name(name) {
                return wrong(offset, "has a name that no module can have");
            }
            if name <= before {
                return wrong(offset, "has names out of order, or twice");
            }
            (name_at, before) = (offset + len, name);
        }
        for index in 0..count {
            let at = HEADER + index * ENTRY + 8;
            let (Some(offset), Some(len)) = (number(bytes, at), number(bytes, at + 4)) else {
                return wrong(at, "ends within the table");
            };
            let end_before = data_at.unwrap_or(name_at);
            if offset != end_before.next_multiple_of(8) {
                return wrong(at, "has BTF elsewhere than behind the one before");
            }
            let Some(padding) = bytes.get(end_before..offset) else {
                return wrong(end_before, "ends too soon");
            };
            if padding.iter().any(|byte| *byte != 0) {
                return wrong(end_before, "has other bytes than zeros between two modules");
            }
            data_at = offset.checked_add(len).filter(|end| *end <= bytes.len());
            if data_at.is_none() {
                return wrong(at + 4, "ends within the BTF of a module");
            }
        }
        let end = data_at.unwrap_or(name_at);
        if end != bytes.len() {
            return wrong(end, "goes on behind the last module");
        }
        Ok(modules)
    }

    /// How many modules there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The digest of the kernel's BTF that all of it is split on.
    pub fn base(&self) -> Digest {
        self.base
    }

    /// The split BTF of the module of this name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, btf) = self.entry(middle)?;
            match found.cmp(name) {
                std::cmp::Ordering::Equal => return Some(btf),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Names and split BTF, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let modules = *self;
        (0..self.count).filter_map(move |index| modules.entry(index))
    }

    /// A module by its place; every place below the count has one, [`Modules::parse`] saw to that.
    fn entry(&self, index: usize) -> Option<(&'a str, &'a [u8])> {
        let at = HEADER + index * ENTRY;
        let part = |at| {
            let (offset, len) = (number(self.bytes, at)?, number(self.bytes, at + 4)?);
            self.bytes.get(offset..offset.checked_add(len)?)
        };
        Some((std::str::from_utf8(part(at)?).ok()?, part(at + 8)?))
    }
}

/// The blob of these modules, which may be in any order, on a kernel's BTF of this digest.
///
/// # Errors
/// [`Error::Modules`] for a name that no module can have or that is there twice, and beyond 4 GiB.
pub fn encode<B: AsRef<[u8]>>(base: &Digest, modules: &[(String, B)]) -> Result<Vec<u8>> {
    let wrong = |reason| Error::Modules { offset: 0, reason };
    let too_large = |_| wrong("would have 4 GiB or more");
    let mut order: Vec<_> = modules.iter().map(|(name, btf)| (name.as_str(), btf.as_ref())).collect();
    order.sort_unstable_by_key(|(name, _)| *name);
    if !order.iter().all(|(name, _)| is_name(name.as_bytes())) {
        return Err(wrong("would have a name that no module can have"));
    }
    if order.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(wrong("would have a module twice"));
    }
    let names: usize = order.iter().map(|(name, _)| name.len()).sum();
    let mut name_at = HEADER + order.len() * ENTRY;
    let mut data_at = name_at + names;
    let mut bytes = Vec::with_capacity(data_at + order.iter().map(|(_, btf)| btf.len() + 8).sum::<usize>());
    bytes.extend_from_slice(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(u32::try_from(order.len()).map_err(too_large)?.to_le_bytes());
    bytes.extend_from_slice(base.as_bytes());
    for (name, btf) in &order {
        data_at = data_at.next_multiple_of(8);
        for word in [name_at, name.len(), data_at, btf.len()] {
            bytes.extend(u32::try_from(word).map_err(too_large)?.to_le_bytes());
        }
        name_at += name.len();
        data_at += btf.len();
    }
    for (name, _) in &order {
        bytes.extend_from_slice(name.as_bytes());
    }
    for (_, btf) in &order {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend_from_slice(btf);
    }
    Ok(bytes)
}

/// Whether a module may be called so: a file's name without suffix.
fn is_name(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.+,".contains(byte);
    (1..=MAX_NAME).contains(&name.len()) && name.iter().all(allowed) && !name.starts_with(b".")
}

/// The little-endian u32 at an offset.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(word.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<(String, Vec<u8>)> {
        [("xfs", 13), ("ext4", 5), ("8021q", 0), ("nf_conntrack", 8)]
            .map(|(name, len)| (name.to_owned(), (0..len).collect()))
            .into()
    }

    /// Check that modules are found by name and listed in order, and that their base is told.
    #[test]
    fn modules_round() {
        let base = Digest::of(b"vmlinux");
        let bytes = encode(&base, &sample()).unwrap();
        let modules = Modules::parse(&bytes).unwrap();
        assert_eq!((modules.len(), modules.is_empty(), modules.base()), (4, false, base));
        for (name, btf) in sample() {
            assert_eq!(modules.get(&name), Some(btf.as_slice()));
        }
        assert_eq!(modules.get("ext3"), None);
        assert_eq!(modules.get(""), None);
        let names: Vec<_> = modules.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["8021q", "ext4", "nf_conntrack", "xfs"]);
        let none = encode::<Vec<u8>>(&base, &[]).unwrap();
        assert!(Modules::parse(&none).unwrap().is_empty() && none.len() == HEADER);
    }

    /// Check that names which could leave a directory, and names that come twice, are not written.
    #[test]
    fn modules_names() {
        for name in ["", "../x", ".hidden", "a/b", "a b", "é", &"x".repeat(129)] {
            assert!(encode(&Digest::of(b""), &[(name.to_owned(), b"")]).is_err(), "{name}");
        }
        let twice = ["a", "a"].map(|name| (name.to_owned(), b""));
        assert!(encode(&Digest::of(b""), &twice).is_err());
    }

    /// Check that of every file that differs in one byte or is cut anywhere, what is still read differs only in a name, in
    /// BTF, in the base's digest, and is the one way to write what it says.
    #[test]
    fn modules_damaged() {
        let good = encode(&Digest::of(b"vmlinux"), &sample()).unwrap();
        for length in 0..good.len() {
            assert!(Modules::parse(&good[..length]).is_err(), "{length}");
        }
        assert!(Modules::parse(&[good.as_slice(), b"\0"].concat()).is_err());
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                if let Ok(modules) = Modules::parse(&bad) {
                    let listed: Vec<_> =
                        modules.iter().map(|(name, btf)| (name.to_owned(), btf.to_vec())).collect();
                    assert_eq!(encode(&modules.base(), &listed).unwrap(), bad, "byte {at}");
                }
            }
        }
    }

    proptest! {
        /// Check that any bytes after the magic are an error or the one way to write what they say.
        #[test]
        fn modules_any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0..4_u8) {
            bytes.splice(0..0, *b"MODBTF\r\n\x01\0\0\0");
            if let Some(byte) = bytes.get_mut(12) {
                *byte = count;
            }
            if let Ok(modules) = Modules::parse(&bytes) {
                let listed: Vec<_> = modules.iter().map(|(name, btf)| (name.to_owned(), btf.to_vec())).collect();
                prop_assert_eq!(encode(&modules.base(), &listed).unwrap(), bytes);
            }
        }
    }
}
