//! `primary.sqlite`: packages or an error, soon.
#![no_main]

use btfgen::repo::fuzzing::{Index, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|database: &[u8]| {
    let _ = read(Index::Database, database);
});
