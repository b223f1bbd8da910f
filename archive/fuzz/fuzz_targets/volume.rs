//! Any bytes as a volume of an export: refused, or exactly what a writer makes of what was read. And volumes that were written, with one bit changed.
//!
//! `cargo +nightly fuzz run volume`, from `archive/`; what `btf-archive-server export` writes is a good seed.

#![no_main]

use std::io::Cursor;

use btf_archive::snapshot::Link;
use btf_archive::volume::{Entry, Manifest, Reader, Writer};
use btf_archive::{Digest, Form, ObjectPath};
use libfuzzer_sys::fuzz_target;

/// Reads a volume to its end.
fn read(bytes: &[u8]) -> Option<(Manifest, Vec<Vec<u8>>)> {
    let mut reader = Reader::new(Cursor::new(bytes)).ok()?;
    let mut objects = Vec::new();
    while let Some((entry, object)) = reader.object().ok()? {
        assert_eq!(Entry::of(entry.path, &object), entry);
        objects.push(object);
    }
    Some((reader.manifest().clone(), objects))
}

/// What a writer makes of it.
fn write(manifest: &Manifest, objects: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut writer = Writer::new(Vec::new(), manifest.clone()).ok()?;
    objects.iter().for_each(|object| writer.object(object).unwrap());
    Some(writer.finish().unwrap())
}

/// Objects of every kind, as the bytes say.
fn objects(data: &[u8]) -> Vec<(ObjectPath, Vec<u8>)> {
    let path = |chunk: &[u8], number: usize| match chunk[0] % 8 {
        0 => ObjectPath::Latest,
        1 => ObjectPath::Keys,
        2 => ObjectPath::Snapshot(chunk[0].into()),
        3 => ObjectPath::SnapshotSignature(number as u64),
        4 => ObjectPath::KeysVersionSignature(number as u64),
        5 => ObjectPath::Part(Digest::of(chunk)),
        6 => ObjectPath::Blob(Digest::of(chunk), Form::Delta),
        _ => ObjectPath::Blob(Digest::of(chunk), Form::Whole),
    };
    data.chunks(40).enumerate().map(|(number, chunk)| (path(chunk, number), chunk.to_vec())).collect()
}

fuzz_target!(|data: &[u8]| {
    if let Some((manifest, objects)) = read(data) {
        let again = write(&manifest, &objects).expect("what was read can be written");
        // The manifest's JSON may have other blanks; what follows it may not.
        let (_, same) = read(&again).expect("what was written can be read");
        assert_eq!(same, objects);
    }
    let Some((head, data)) = data.split_at_checked(6) else { return };
    let objects = objects(data);
    let snapshot = Link { number: u64::from(head[0]), digest: Digest::of(head) };
    let since = (head[1] % 2 == 1).then_some(Link { number: u64::from(head[2]), digest: Digest::of(data) });
    let entries = objects.iter().map(|(path, bytes)| Entry::of(*path, bytes)).collect();
    let (volume, volumes) = (u32::from(head[3] % 4), u32::from(head[4] % 4));
    let manifest = Manifest { snapshot, since, selection: Default::default(), volume, volumes, objects: entries };
    let bytes: Vec<_> = objects.into_iter().map(|(_, bytes)| bytes).collect();
    let Some(mut written) = write(&manifest, &bytes) else { return };
    assert_eq!(read(&written), Some((manifest, bytes)));
    let place = usize::from(head[5]) * written.len() / 256;
    written[place] ^= 1 << (head[5] % 8);
    if let Some((manifest, objects)) = read(&written) {
        write(&manifest, &objects).expect("what was read can be written");
    }
});
