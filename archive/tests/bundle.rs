//! Bundles: what goes in comes out by key and by build-id, the same input gives the same bytes, and damage is refused.

use std::borrow::Cow;

use btf_archive::bundle::{Builder, Bundle, Encoding};
use btf_archive::{BuildId, Digest, Error, Key};
use proptest::prelude::*;

const KEYS: [&str; 4] = [
    "debian/10/x86_64/4.19.0-27-amd64",
    "debian/11/arm64/5.10.0-35-arm64",
    "debian/11/x86_64/5.10.0-35-amd64",
    "ubuntu/18.04/x86_64/4.15.0-213-generic",
];

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn build_id(byte: u8) -> BuildId {
    BuildId::new(&[byte; 20]).unwrap()
}

/// Four kernels, of which the first and the last have the same BTF, the second no build-id, and the third no known source.
fn sample(encoding: Encoding, order: [usize; 4]) -> Vec<u8> {
    let mut builder = Builder::new();
    for index in order {
        let btf = vec![if index == 3 { 0 } else { index as u8 }; 100 + index % 3];
        let id = (index != 1).then(|| build_id(9 - index as u8));
        let source = (index != 2).then(|| Digest::of(KEYS[index].as_bytes()));
        builder.add(&key(KEYS[index]), id, source.as_ref(), &btf);
    }
    builder.finish("{\"objects\":[]}", encoding).unwrap()
}

/// Check that kernels are found by key and build-id, in place where they are stored raw, and that shared BTF is there once.
#[test]
fn bundle_finds() {
    for encoding in [Encoding::Raw, Encoding::Zstd] {
        let data = sample(encoding, [0, 1, 2, 3]);
        let bundle = Bundle::open(&data).unwrap();
        assert_eq!(bundle.kernels().map(|kernel| kernel.key()).collect::<Vec<_>>(), KEYS);
        assert_eq!(bundle.blob_count(), 3);
        assert_eq!(bundle.record(), "{\"objects\":[]}");
        for (index, name) in KEYS.iter().enumerate() {
            let kernel = bundle.by_key(&key(name)).unwrap();
            let btf = kernel.btf().unwrap();
            assert_eq!(*btf, vec![if index == 3 { 0 } else { index as u8 }; 100 + index % 3]);
            assert_eq!(matches!(btf, Cow::Borrowed(_)), encoding == Encoding::Raw);
            assert_eq!(kernel.digest(), Digest::of(&btf));
            let source = Digest::of(name.as_bytes());
            assert_eq!(kernel.source(), (index != 2).then(|| *source.as_bytes().first_chunk().unwrap()));
            let found = bundle.by_build_id(&build_id(9 - index as u8)).map(|kernel| kernel.key());
            assert_eq!(found, (index != 1).then_some(*name));
            assert_eq!(kernel.build_ids().next(), (index != 1).then(|| build_id(9 - index as u8)));
        }
        assert_eq!(
            bundle.by_key(&key(KEYS[0])).unwrap().blob(),
            bundle.by_key(&key(KEYS[3])).unwrap().blob()
        );
        assert!(bundle.by_key(&key("debian/12/x86_64/6.1.0-1-amd64")).is_none());
        assert!(bundle.by_build_id(&BuildId::new(&[9; 19]).unwrap()).is_none());
    }
}

/// Check that the order in which kernels come makes no difference, and that raw blobs lie at multiples of eight.
#[test]
fn bundle_is_reproducible() {
    let data = sample(Encoding::Raw, [0, 1, 2, 3]);
    assert_eq!(data, sample(Encoding::Raw, [3, 1, 0, 2]));
    for kernel in Bundle::open(&data).unwrap().kernels() {
        let Cow::Borrowed(btf) = kernel.btf().unwrap() else { panic!("a raw blob was copied") };
        assert!((btf.as_ptr() as usize - data.as_ptr() as usize).is_multiple_of(8));
    }
}

/// Check the bytes themselves, so that a reader written to the book's description reads them.
#[test]
fn bundle_layout() {
    let mut builder = Builder::new();
    builder.add(&key(KEYS[0]), Some(build_id(7)), Some(&Digest::of(b"whole")), b"small");
    let data = builder.finish("{}", Encoding::Raw).unwrap();
    let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(&data[..8], b"BTFbundl");
    assert_eq!((word(8), word(12)), (1, data.len()));
    let (kernels, ids, blobs, names, record) = (word(16), word(24), word(32), word(40), word(48));
    assert_eq!((kernels, ids, blobs, names), (64, 84, 96, 144));
    assert_eq!((word(20), word(28), word(36), word(44), word(52)), (20, 12, 48, KEYS[0].len() + 20, 2));
    assert_eq!(&data[names + word(kernels)..][..word(kernels + 4)], KEYS[0].as_bytes());
    assert_eq!(data[kernels + 12..kernels + 20], Digest::of(b"whole").as_bytes()[..8]);
    assert_eq!(data[names + word(ids)..][..word(ids + 4)], [7; 20]);
    assert_eq!((word(kernels + 8), word(ids + 8)), (0, 0));
    assert_eq!(&data[word(blobs)..][..word(blobs + 4)], b"small");
    assert_eq!((word(blobs + 8), word(blobs + 12)), (5, 0));
    assert_eq!(data[blobs + 16..blobs + 48], *Digest::of(b"small").as_bytes());
    assert_eq!(&data[record..record + 2], b"{}");
}

/// Check that a bundle of nothing is one.
#[test]
fn bundle_of_nothing() {
    let data = Builder::new().finish("", Encoding::Raw).unwrap();
    assert_eq!(data.len(), 64);
    assert_eq!(Bundle::open(&data).unwrap().kernels().len(), 0);
}

/// Check that each truncation, and bytes at the end, are refused.
#[test]
fn bundle_cut() {
    for encoding in [Encoding::Raw, Encoding::Zstd] {
        let data = sample(encoding, [0, 1, 2, 3]);
        for len in 0..data.len() {
            assert!(
                matches!(Bundle::open(&data[..len]), Err(Error::Bundle { .. })),
                "{len} bytes were accepted"
            );
        }
        assert!(Bundle::open(&[&data[..], b"x"].concat()).is_err());
    }
}

proptest! {
    /// Check that a changed byte is refused at once, or when the blob is read, or changes only what no other part vouches for (a name, the record, a digest's
    /// beginning); and that nothing ever panics.
    #[test]
    fn bundle_damaged(at: prop::sample::Index, to: u8, zstd: bool) {
        let whole = sample(if zstd { Encoding::Zstd } else { Encoding::Raw }, [0, 1, 2, 3]);
        let mut data = whole.clone();
        let at = at.index(data.len());
        data[at] = to;
        let before = Bundle::open(&whole).unwrap();
        if let Ok(bundle) = Bundle::open(&data) {
            prop_assert_eq!(bundle.kernels().len(), 4);
            for (kernel, good) in bundle.kernels().zip(before.kernels()) {
                let _ = bundle.by_key(&key(kernel.key()));
                let _ = kernel.build_ids().count();
                if let Ok(btf) = kernel.btf() {
                    let shared = (0..3).map(|_| before.kernels()).any(|mut all| all.any(|one| *one.btf().unwrap() == *btf));
                    prop_assert!(shared, "{} reads {:?}", good.key(), btf);
                }
            }
        }
    }

    /// Check that noise behind a good start is refused or read within bounds.
    #[test]
    fn bundle_noise(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut data = [&b"BTFbundl\x01\0\0\0"[..], &[0; 4], &noise].concat();
        let len = data.len() as u32;
        data[12..16].copy_from_slice(&len.to_le_bytes());
        if let Ok(bundle) = Bundle::open(&data) {
            for kernel in bundle.kernels() {
                let _ = kernel.btf();
            }
        }
    }
}
