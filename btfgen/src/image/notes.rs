//! The build-id in a raw image: an ELF note that nothing points to.
//!
//! A raw image has several: the kernel's own, and those of the vDSOs, which are whole ELF files inside it. Only where exactly one
//! remains outside such files is it the kernel's.

use btf_archive::BuildId;

use crate::elf::Image;

/// Files inside an image that are looked at: it has two or three.
const FILES: usize = 64;
/// A vDSO, in bytes.
const FILE_LEN: u64 = 4 << 20;

/// The one build-id of an image that is not of a file inside it.
pub(super) fn build_id(image: &[u8]) -> Option<BuildId> {
    let files: Vec<(usize, usize)> = occurrences(image, b"\x7fELF", 4)
        .take(FILES)
        .filter_map(|start| Some((start, start + len_of_file(&image[start..])?)))
        .collect();
    let mut found: Option<BuildId> = None;
    for at in occurrences(image, b"GNU\0", 4) {
        if files.iter().any(|&(start, end)| (start..end).contains(&at)) {
            continue;
        }
        let Some(id) = note(image, at) else { continue };
        match &found {
            Some(other) if *other != id => return None,
            _ => found = Some(id),
        }
    }
    found
}

/// The build-id in the note whose name is at `name`: before it three words (length of the name, length of the id, type 3), after it the id,
/// a SHA-1.
fn note(image: &[u8], name: usize) -> Option<BuildId> {
    let head: &[u8] = image.get(name.checked_sub(12)?..name)?;
    let little = [4_u32, 20, 3].map(u32::to_le_bytes).concat();
    let big = [4_u32, 20, 3].map(u32::to_be_bytes).concat();
    let id = image.get(name + 4..name + 24)?;
    (head == little || head == big).then(|| BuildId::new(id).ok()).flatten()
}

/// Length of the ELF file that begins here: up to the end of its sections and of their table.
fn len_of_file(bytes: &[u8]) -> Option<usize> {
    let image = Image::parse(&bytes).ok()?;
    const NOBITS: u32 = 8;
    let sections = image.sections.iter().filter(|section| section.kind != NOBITS);
    let end = sections.filter_map(|section| section.offset.checked_add(section.size)).max()?;
    (end <= FILE_LEN).then(|| usize::try_from(end).ok()).flatten()
}

/// Where bytes occur at multiples of `align`.
fn occurrences<'a>(
    image: &'a [u8],
    what: &'static [u8; 4],
    align: usize,
) -> impl Iterator<Item = usize> + 'a {
    image
        .chunks_exact(align)
        .enumerate()
        .filter(move |(_, chunk)| chunk == what)
        .map(move |(at, _)| at * align)
}
