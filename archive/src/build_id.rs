//! The GNU build-id: what exactly identifies a kernel.
//!
//! The linker writes it as an ELF note (name `GNU`, type `NT_GNU_BUILD_ID` = 3) into `.note.gnu.build-id`; a running
//! kernel shows its notes as `/sys/kernel/notes`, modules in `/sys/module/NAME/notes/.note.gnu.build-id`. Both hold the
//! same bytes. The note format is that of the ELF gABI and Linux's `include/uapi/linux/elf.h` (`Elf32_Nhdr`, also used
//! in 64-bit files): three 32-bit words (name size, descriptor size, type), the name, the descriptor, each padded to 4 bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;
use crate::error::excerpt;

const NT_GNU_BUILD_ID: u32 = 3;
const HEADER: usize = 12;

/// A GNU build-id, 1 to 64 bytes (20 for a kernel linked with the usual `--build-id=sha1`).
///
/// Text and JSON form: lower-case hexadecimal digits.
#[derive(Clone, Copy)]
pub struct BuildId {
    len: u8,
    bytes: [u8; Self::MAX_LEN],
}

impl BuildId {
    /// The longest build-id taken, in bytes.
    pub const MAX_LEN: usize = 64;

    /// A build-id from its bytes, in the order the note holds them.
    ///
    /// # Errors
    /// [`Error::BuildId`] unless there are 1 to 64 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |reason| Error::BuildId { text: format!("{} bytes", bytes.len()), reason };
        if bytes.is_empty() {
            return Err(refuse("it is empty"));
        }
        let mut out = [0; Self::MAX_LEN];
        out.get_mut(..bytes.len())
            .ok_or_else(|| refuse("it is longer than 64 bytes"))?
            .copy_from_slice(bytes);
        let len = u8::try_from(bytes.len()).map_err(|_| refuse("it is longer than 64 bytes"))?;
        Ok(Self { len, bytes: out })
    }

    /// The bytes, in the order the note holds them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Finds the build-id in ELF notes: `/sys/kernel/notes`, or a `.note.gnu.build-id` or `.notes` section.
    ///
    /// `Ok(None)` means well-formed notes without a build-id. The byte order needs not be told: the sizes in a note's
    /// header are small numbers, and read in the wrong order they reach far past the end.
    ///
    /// # Errors
    /// [`Error::Notes`] with the offset of the note that does not fit, when neither byte order makes sense.
    pub fn from_notes(notes: &[u8]) -> Result<Option<Self>, Error> {
        find(notes, u32::from_le_bytes).or_else(|little| {
            find(notes, u32::from_be_bytes)
                .map_err(|big| if offset(&big) > offset(&little) { big } else { little })
        })
    }
}

fn offset(error: &Error) -> usize {
    if let Error::Notes { offset, .. } = error { *offset } else { 0 }
}

/// Walks the notes in one byte order.
fn find(notes: &[u8], word: fn([u8; 4]) -> u32) -> Result<Option<BuildId>, Error> {
    let mut at = 0;
    while at < notes.len() {
        let refuse = |reason| Error::Notes { offset: at, reason };
        let header =
            notes[at..].first_chunk::<HEADER>().ok_or_else(|| refuse("a note's header is cut short"))?;
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *header;
        let name_size = word([a, b, c, d]);
        let desc_size = word([e, f, g, h]);
        let kind = word([i, j, k, l]);

        let name_at = at + HEADER;
        let name =
            slice(notes, name_at, name_size).ok_or_else(|| refuse("a note's name reaches past the end"))?;
        let desc_at = name_at + name.len().next_multiple_of(4);
        let desc = slice(notes, desc_at, desc_size)
            .ok_or_else(|| refuse("a note's descriptor reaches past the end"))?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return BuildId::new(desc).map(Some).map_err(|_| refuse("a build-id must have 1 to 64 bytes"));
        }
        // The last note may lack its padding.
        at = desc_at + desc.len().next_multiple_of(4);
    }
    Ok(None)
}

fn slice(notes: &[u8], at: usize, size: u32) -> Option<&[u8]> {
    let size = usize::try_from(size).ok()?;
    // An empty descriptor at the very end may lie behind missing padding.
    if size == 0 { Some(&[]) } else { notes.get(at..at.checked_add(size)?) }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

impl PartialEq for BuildId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for BuildId {}

impl PartialOrd for BuildId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BuildId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for BuildId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl FromStr for BuildId {
    type Err = Error;

    /// Takes an even number, 2 to 128, of hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::BuildId { text: excerpt(text), reason };
        if text.is_empty() || text.len() > 2 * Self::MAX_LEN || !text.len().is_multiple_of(2) {
            return Err(refuse("it needs an even number of hexadecimal digits, 2 to 128"));
        }
        let mut bytes = [0; Self::MAX_LEN];
        let bytes = &mut bytes[..text.len() / 2];
        hex::decode_to_slice(text, bytes).map_err(|_| refuse("it may hold hexadecimal digits only"))?;
        Self::new(bytes)
    }
}

impl Serialize for BuildId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BuildId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A note as a linker writes it, padding included.
    fn note(name: &[u8], kind: u32, desc: &[u8], word: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let mut out = Vec::new();
        for value in [name.len() as u32, desc.len() as u32, kind] {
            out.extend(word(value));
        }
        for part in [name, desc] {
            out.extend(part);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    const ID: [u8; 20] = *b"\x00\x01build-id of a ker\xff";

    /// Check that the build-id is found among other notes, in both byte orders.
    #[test]
    fn build_id_from_notes() {
        for word in [u32::to_le_bytes, u32::to_be_bytes] {
            let notes = [
                note(b"Xen\0", 6, b"linux\0", word),
                note(b"Linux\0", NT_GNU_BUILD_ID, b"not it", word),
                note(b"GNU\0", 1, &[0; 16], word),
                note(b"", 0, b"", word),
                note(b"GNU\0", NT_GNU_BUILD_ID, &ID, word),
                note(b"Linux\0", 0, &[9; 3], word),
            ]
            .concat();
            assert_eq!(BuildId::from_notes(&notes).unwrap(), Some(BuildId::new(&ID).unwrap()));
        }
    }

    /// Check that notes without a build-id are no error, and that the last note's padding may be missing.
    #[test]
    fn build_id_no_such_note() {
        assert_eq!(BuildId::from_notes(b"").unwrap(), None);
        for word in [u32::to_le_bytes, u32::to_be_bytes] {
            let mut notes = note(b"Linux\0", 0x101, b"abcde", word);
            assert_eq!(BuildId::from_notes(&notes).unwrap(), None);
            notes.truncate(notes.len() - 3);
            assert_eq!(BuildId::from_notes(&notes).unwrap(), None);
        }
    }

    /// Check that notes cut anywhere inside are an error with the offset of the note, never half a build-id.
    #[test]
    fn build_id_cut_notes() {
        for word in [u32::to_le_bytes, u32::to_be_bytes] {
            let first = note(b"Xen\0", 6, b"linux\0\0\0", word);
            let notes = [first.clone(), note(b"GNU\0", NT_GNU_BUILD_ID, &ID, word)].concat();
            for len in 1..notes.len() {
                match BuildId::from_notes(&notes[..len]) {
                    Err(Error::Notes { offset, .. }) => assert!(offset == 0 || offset == first.len()),
                    Ok(None) => assert_eq!(len, first.len()),
                    other => panic!("{len} bytes: {other:?}"),
                }
            }
        }
    }

    /// Check that a build-id note with no or too many bytes is an error.
    #[test]
    fn build_id_note_of_odd_size() {
        for size in [0, 65] {
            let notes = note(b"GNU\0", NT_GNU_BUILD_ID, &vec![1; size], u32::to_le_bytes);
            assert!(matches!(BuildId::from_notes(&notes), Err(Error::Notes { offset: 0, .. })), "{size}");
        }
    }

    /// Check that text goes both ways, lower-case out, either case in.
    #[test]
    fn build_id_text() {
        let id: BuildId = "00C0ffee".parse().unwrap();
        assert_eq!(id.as_bytes(), [0x00, 0xc0, 0xff, 0xee]);
        assert_eq!(id.to_string(), "00c0ffee");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"00c0ffee\"");
        assert_eq!(serde_json::from_str::<BuildId>("\"00C0FFEE\"").unwrap(), id);
        for text in ["", "0", "0g", "00 0", &"00".repeat(65), "é"] {
            assert!(text.parse::<BuildId>().is_err(), "{text}");
        }
        assert_eq!("00".repeat(64).parse::<BuildId>().unwrap().as_bytes().len(), 64);
    }

    proptest! {
        /// Check that no bytes make the parser panic, and that what it finds lies in them.
        #[test]
        fn build_id_hostile_notes(notes in prop::collection::vec(prop_oneof![Just(0_u8), 0_u8..24, any::<u8>()], 0..120)) {
            if let Ok(Some(id)) = BuildId::from_notes(&notes) {
                prop_assert!(notes.windows(id.as_bytes().len()).any(|window| window == id.as_bytes()));
            }
        }

        /// Check that any build-id survives as text.
        #[test]
        fn build_id_round_trip(bytes in prop::collection::vec(any::<u8>(), 1..=64)) {
            let id = BuildId::new(&bytes).unwrap();
            prop_assert_eq!(id.to_string().parse::<BuildId>().unwrap(), id);
        }
    }
}
