//! Supplementary files, which hold what several files' debug information has in common. `dwz -m` makes them.
//!
//! A file names its supplementary file and that file's checksum in `.gnu_debugaltlink` (dwz; the checksum is a build-id) or in
//! `.debug_sup` (DWARF 5, section 7.3.6), and refers to DIEs and strings in it by forms of their own. What the file needs of it is converted
//! with it, as if it were in the file; the rest belongs to other files.

use std::borrow::Cow;

use btf::Endian;

use super::convert::MAX_SECTION;
use super::cursor::Cursor;
use crate::elf::{ElfError, Image};

/// What a file says of its supplementary file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The path, as it stands in the file; a relative one starts from the folder that the file is in.
    pub path: Vec<u8>,
    /// The supplementary file's build-id or checksum.
    pub id: Vec<u8>,
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (build-id {})", self.path.escape_ascii(), hex::encode(&self.id))
    }
}

/// Why a supplementary file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupplementaryError {
    /// It was not given.
    #[error(
        "it was not given; get it from the package of the same build (a folder named .dwz) and give it by --alt FILE"
    )]
    Missing,
    /// It is another build's.
    #[error("the file given has {}; give the one of the same build", describe(.0.as_deref()))]
    Other(Option<Vec<u8>>),
    /// It is of another machine.
    #[error("it has another byte order or word size")]
    Machine,
    /// It has no debug information.
    #[error("it has no .debug_info section")]
    Empty,
    /// It cannot be read.
    #[error(transparent)]
    Elf(#[from] ElfError),
}

fn describe(id: Option<&[u8]>) -> String {
    id.map_or_else(|| "no build-id".into(), |id| format!("the build-id {}", hex::encode(id)))
}

/// A link is a path and a checksum.
const MAX_LINK: u64 = 1 << 16;

impl Link {
    /// What `image` says of its supplementary file; `None` if it has none.
    ///
    /// # Errors
    /// When the section that names it cannot be read. One whose content is cut off is taken for none.
    pub fn of(image: &Image<'_>) -> Result<Option<Link>, ElfError> {
        if let Some(section) = image.section_named(".gnu_debugaltlink") {
            let bytes = image.data_of(section, MAX_LINK)?;
            let mut parts = bytes.splitn(2, |&byte| byte == 0);
            let (path, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            return Ok((!path.is_empty()).then(|| Link { path: path.into(), id: id.into() }));
        }
        let found = debug_sup(image)?;
        Ok(found.filter(|sup| !sup.is_supplementary).map(|DebugSup { path, id, .. }| Link { path, id }))
    }

    /// Checks that `file` is what is meant.
    ///
    /// # Errors
    /// When it is another file, or of another machine than `image`.
    pub fn check(&self, image: &Image<'_>, file: &Image<'_>) -> Result<(), SupplementaryError> {
        let found = match debug_sup(file)?.filter(|sup| sup.is_supplementary) {
            Some(sup) => Some(sup.id),
            None => file.build_id().map(|id| id.as_bytes().to_vec()),
        };
        if found.as_ref() != Some(&self.id) {
            return Err(SupplementaryError::Other(found));
        }
        if (file.class, file.endian) != (image.class, image.endian) {
            return Err(SupplementaryError::Machine);
        }
        Ok(())
    }
}

/// The content of `.debug_sup`.
struct DebugSup {
    /// Whether the file that it is in is a supplementary file.
    is_supplementary: bool,
    path: Vec<u8>,
    id: Vec<u8>,
}

fn debug_sup(image: &Image<'_>) -> Result<Option<DebugSup>, ElfError> {
    let Some(section) = image.section_named(".debug_sup") else { return Ok(None) };
    let bytes = image.data_of(section, MAX_LINK)?;
    Ok(match image.endian {
        Endian::Little => parse_sup(Cursor::<false>::new(&bytes, 0)),
        Endian::Big => parse_sup(Cursor::<true>::new(&bytes, 0)),
    })
}

fn parse_sup<const BIG: bool>(mut cursor: Cursor<'_, BIG>) -> Option<DebugSup> {
    let _version = cursor.u16().ok()?;
    let is_supplementary = cursor.u8().ok()? != 0;
    let path = cursor.string().ok()?.to_vec();
    let len = cursor.uleb().ok()?;
    Some(DebugSup { is_supplementary, path, id: cursor.bytes(len).ok()?.to_vec() })
}

/// A supplementary file's sections.
pub(super) struct Supplementary<'d> {
    pub(super) info: Cow<'d, [u8]>,
    pub(super) abbrev: Cow<'d, [u8]>,
    pub(super) str: Cow<'d, [u8]>,
    pub(super) line_str: Cow<'d, [u8]>,
    pub(super) str_offsets: Cow<'d, [u8]>,
}

impl<'d> Supplementary<'d> {
    /// Reads the sections that a file which is linked by `link` from `image` has.
    pub(super) fn read(
        link: &Link,
        image: &Image<'_>,
        file: &Image<'d>,
    ) -> Result<Supplementary<'d>, SupplementaryError> {
        link.check(image, file)?;
        let section = |name| -> Result<Cow<'d, [u8]>, ElfError> {
            Ok(file.debug_section(name, MAX_SECTION)?.unwrap_or_default())
        };
        let info = section("info")?;
        if info.is_empty() {
            return Err(SupplementaryError::Empty);
        }
        Ok(Supplementary {
            info,
            abbrev: section("abbrev")?,
            str: section("str")?,
            line_str: section("line_str")?,
            str_offsets: section("str_offsets")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check `.debug_sup` of both kinds of files, in both byte orders, whole and cut off.
    #[test]
    fn debug_sup_sections() {
        let rest = b"\0../x.debug\0\x04\x01\x02\x03\x04";
        let little = [&[5, 0], rest.as_slice()].concat();
        let sup = parse_sup(Cursor::<false>::new(&little, 0)).unwrap();
        assert_eq!(
            (sup.is_supplementary, sup.path, sup.id),
            (false, b"../x.debug".to_vec(), vec![1, 2, 3, 4])
        );
        let big = [&[0, 5, 1], &rest[1..]].concat();
        assert!(parse_sup(Cursor::<true>::new(&big, 0)).unwrap().is_supplementary);
        for len in 0..little.len() {
            assert!(parse_sup(Cursor::<false>::new(&little[..len], 0)).is_none());
        }
    }

    /// Check that a link is shown without what could disturb a terminal.
    #[test]
    fn shown() {
        let link = Link { path: b"a\x1b[m.debug".to_vec(), id: vec![0xab, 1] };
        assert_eq!(link.to_string(), "a\\x1b[m.debug (build-id ab01)");
    }
}
