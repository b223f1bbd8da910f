//! A cpio archive, and the sizes of up to 15 files that the package's header lists before it: no more is read than there is.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&count, rest)) = data.split_first() else { return };
    let Some((sizes, archive)) = rest.split_at_checked(usize::from(count % 16) * 4) else { return };
    let (sizes, _) = sizes.as_chunks();
    let sizes: Vec<u32> = sizes.iter().map(|size| u32::from_le_bytes(*size)).collect();
    if let Ok((_, read)) = btfgen::package::fuzzing::cpio(archive, &sizes) {
        assert!(read <= archive.len() as u64);
    }
});
