//! Headers of tar files (POSIX.1-1988, "ustar"), as volumes have them: a plain file of root's, of the year 1970.

/// What everything in a tar file is a multiple of.
pub(super) const BLOCK: u64 = 512;

/// How long a name may be.
const MAX_NAME: usize = 100;

/// The header of a member; none for a name or size that has no room in it.
pub(super) fn header(name: &str, size: u64) -> Option<[u8; BLOCK as usize]> {
    if name.len() > MAX_NAME || size >= 8 << 30 {
        return None;
    }
    let mut header = [0; BLOCK as usize];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    // user, group
    put(108, b"0000000\x000000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    // time
    put(136, b"00000000000\0");
    // the sum is taken with blanks in its place
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(header)
}

/// The size of the member whose header this is, if it is one for this name.
pub(super) fn size_of(found: &[u8; BLOCK as usize], name: &str) -> Option<u64> {
    let digits = std::str::from_utf8(&found[124..135]).ok()?;
    let size = u64::from_str_radix(digits, 8).ok()?;
    (header(name, size)? == *found).then_some(size)
}
