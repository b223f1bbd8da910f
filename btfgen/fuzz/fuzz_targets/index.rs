//! An index of a repository, whose first byte says of which kind it is: packages or an error, all of them within the repository.
#![no_main]

use btfgen::repo::fuzzing::{Index, read};
use libfuzzer_sys::fuzz_target;

const KINDS: [Index; 6] =
    [Index::Packages, Index::Release, Index::Repomd, Index::Primary, Index::Listing, Index::Snapshot];

fuzz_target!(|data: &[u8]| {
    let Some((&kind, index)) = data.split_first() else { return };
    let _ = read(KINDS[usize::from(kind) % KINDS.len()], index);
});
