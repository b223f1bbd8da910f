//! Reading an archive from outside: all of a snapshot, or one kernel of it without the rest.

use btf::{Builder, Endian, Kind, Member};
use btf_archive::reader::{Error, Reader};
use btf_archive::store::{Archive, KernelDraft};
use btf_archive::{Key, Provenance, Source, Trust};

/// Small but real BTF, different for each number.
fn btf(number: u32) -> Vec<u8> {
    let mut builder = Builder::new();
    let int = builder.int(b"int", 4, btf::Int { encoding: btf::kind::INT_SIGNED, bit_offset: 0, bits: 32 });
    let name = builder.string(b"pid");
    let member = Member { name, ty: int, bit_offset: 0, bit_width: 0 };
    builder.composite(Kind::Struct, b"task_struct", 4, &[member]).unwrap();
    builder.reference(Kind::Typedef, format!("kernel_{number}").as_bytes(), int);
    builder.finish(Endian::Little).unwrap()
}

fn key(number: u32) -> Key {
    format!("debian/11/i386/5.10.0-{number}-686").parse().unwrap()
}

/// Check that a reader of a directory gets every kernel, that it gets one kernel by reading one part, and that damage is
/// noticed and named.
#[tokio::test]
async fn reader_directory() {
    let root = tempfile::tempdir().unwrap();
    let archive = Archive::create(root.path()).await.unwrap();
    let location = root.path().to_str().unwrap();
    assert!(matches!(Reader::open(location).unwrap().snapshot(), Err(Error::NotAnArchive { .. })));
    for number in 0..150 {
        let provenance = Provenance {
            package: None,
            package_version: None,
            url: None,
            sha256: None,
            trust: Trust::None,
            source: Source::Upload,
            generator: "test 1".to_owned(),
        };
        let draft = KernelDraft { key: key(number), build_id: None, provenance, digest: None };
        archive.add(draft, btf(number)).await.unwrap();
    }
    archive.publish().await.unwrap();
    let whole = archive.snapshot(1).await.unwrap();
    let parts = archive.head(1).await.unwrap().parts().to_vec();
    assert!(parts.len() > 1, "more than one part");

    let reader = Reader::open(location).unwrap();
    assert_eq!(reader.snapshot().unwrap(), whole);
    assert_eq!(reader.kernel(&key(77)).unwrap().as_ref(), whole.kernel(&key(77)));
    assert_eq!(reader.kernel(&key(150)).unwrap(), None);
    assert_eq!(reader.blob(&whole.kernel(&key(77)).unwrap().digest).unwrap(), btf(77));

    // Without all parts but the last, its kernels can still be had.
    let (last, others) = parts.split_last().unwrap();
    for part in others {
        std::fs::remove_file(root.path().join(part.path())).unwrap();
    }
    assert_eq!(reader.kernel(&last.first).unwrap().as_ref(), whole.kernel(&last.first));
    let missing = reader.snapshot().unwrap_err().to_string();
    assert!(missing.contains(&parts[0].path()), "{missing}");
    let path = root.path().join(last.path());
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path, bytes).unwrap();
    let refused = reader.kernel(&last.first).unwrap_err();
    assert!(matches!(&refused, Error::Refused { object, .. } if object.contains(&last.path())), "{refused}");
}
