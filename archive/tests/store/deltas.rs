//! Blobs that are stored as deltas: which, on what, and how they are read.

use std::path::Path;

use btf::{Builder, Endian, Kind, Member};
use btf_archive::delta::{Header, MAX_DEPTH};
use btf_archive::reader::{Buffers, Reader};
use btf_archive::store::{Archive, Beside, Error, KernelDraft};
use btf_archive::{Digest, KernelRecord, blob};

use crate::{Site, draft};

each!(
    deltas_of_series,
    deltas_in_any_order,
    deltas_at_once,
    deltas_without_base,
    deltas_rotten,
    deltas_again,
    deltas_of_configurations,
);

/// Kernels of two series, two architectures and two flavours.
const KEYS: [&str; 8] = [
    "debian/12/x86_64/6.1.0-10-amd64",
    "debian/12/x86_64/6.1.0-11-amd64",
    "debian/12/x86_64/6.1.0-12-amd64",
    "debian/12/x86_64/6.1.0-11-cloud-amd64",
    "debian/12/x86_64/6.1.0-12-cloud-amd64",
    "debian/12/arm64/6.1.0-11-arm64",
    "debian/12/arm64/6.1.0-12-arm64",
    "debian/13/x86_64/6.12.3-amd64",
];

/// BTF of a kernel's kind, of some hundred kilobytes; the key tells where it differs.
fn kernel(key: &str) -> Vec<u8> {
    let release = key.rsplit('/').next().unwrap();
    let number = release.split('-').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    let mut builder = Builder::new();
    let int = builder.int(b"int", 4, btf::Int { encoding: btf::kind::INT_SIGNED, bit_offset: 0, bits: 32 });
    let series = if key.contains("6.12") { "new" } else { "old" };
    for at in 0..1600 {
        // Each flavour lacks some or has others, and each release has some that the one before did not have.
        if key.contains("cloud") && at % 10 == 3 {
            continue;
        }
        let name = match at {
            _ if at < number => format!("fresh_{at}"),
            _ if at % 5 == 1 && key.contains("arm64") => format!("arm_{}", at * 7919 % 10_007),
            _ => format!("{series}_type_{at}"),
        };
        let members: Vec<_> = (0..at % 7 + 1)
            .map(|member| {
                let name = builder.string(format!("{series}_member_{}", (at * member) % 300).as_bytes());
                Member { name, ty: int, bit_offset: 32 * member, bit_width: 0 }
            })
            .collect();
        let of = builder.composite(Kind::Struct, name.as_bytes(), 4 * (at % 7 + 1), &members).unwrap();
        builder.reference(Kind::Ptr, b"", of);
    }
    builder.finish(Endian::Little).unwrap()
}

async fn add(archive: &Archive, key: &str) -> KernelRecord {
    archive.add(draft(key), kernel(key)).await.unwrap().record().clone()
}

/// How many deltas a blob is made of, by its files.
fn depth(root: &Path, digest: &Digest) -> u8 {
    match std::fs::read(root.join(blob::delta_path(digest))) {
        Ok(delta) => {
            let header = Header::parse(&delta).unwrap();
            assert_eq!(header.depth, 1 + depth(root, &header.base));
            header.depth
        }
        Err(_) => {
            assert!(root.join(blob::path(digest)).is_file(), "{digest}");
            0
        }
    }
}

/// Every kernel comes back, by an archive that was just opened and by a reader, and is stored as its record says.
async fn check_all(site: &Site, archive: Archive, keys: &[&str]) {
    archive.publish().await.unwrap();
    archive.close().await;
    let archive = site.open().await;
    let reader = Reader::open(site.path().to_str().unwrap()).unwrap();
    let mut buffers = Buffers::default();
    for key in keys {
        let record = archive.catalog().by_key(&key.parse().unwrap()).await.unwrap().unwrap();
        let raw = kernel(key);
        assert_eq!(archive.blob(&record.digest).await.unwrap(), raw, "{key}");
        let zst = archive.blob_zst(&record.digest).await.unwrap();
        assert_eq!(blob::decompress(&zst, raw.len()).unwrap(), raw);
        assert_eq!(reader.blob(&record.digest).unwrap(), raw);
        assert_eq!(reader.blob_in(&record.digest, &mut buffers).unwrap(), raw);

        let stored = archive.stored(&record.digest).await.unwrap();
        assert_eq!(stored.bytes().len() as u64, record.zst_size);
        assert_eq!(stored.base().unwrap(), record.base);
        assert!(depth(site.path(), &record.digest) <= MAX_DEPTH);
        let published = reader.kernel(&record.key).unwrap().unwrap();
        assert_eq!((published.base, published.zst_size), (record.base, record.zst_size));
    }
}

/// Check that the first kernel is whole, that others of its series are small, and that a flavour's later ones are made on its first.
async fn deltas_of_series(site: Site) {
    let archive = site.create().await;
    let mut records = Vec::new();
    for key in KEYS {
        records.push(add(&archive, key).await);
    }
    let base = |at: usize| records[at].base;
    assert_eq!(base(0), None);
    for (of, on) in [(1, 0), (2, 1), (3, 0), (4, 3), (5, 0), (6, 5)] {
        assert_eq!(base(of), Some(records[on].digest), "{}", records[of].key);
        assert!(records[of].zst_size * 3 < records[0].zst_size, "{}", records[of].key);
    }
    // Nothing of the older series is in the newer one.
    assert_eq!(base(7), None);
    check_all(&site, archive, &KEYS).await;
}

/// Check that kernels which come in another order are there, not deeper than allowed, and small as well.
async fn deltas_in_any_order(site: Site) {
    let archive = site.create().await;
    let order = [4, 2, 6, 0, 7, 3, 1, 5].map(|at: usize| KEYS[at]);
    let mut deltas = 0;
    for key in order {
        deltas += usize::from(add(&archive, key).await.base.is_some());
    }
    assert_eq!(deltas, 6);
    check_all(&site, archive, &order).await;
}

/// Check that kernels added at once disturb each other in nothing, and that what comes later finds its bases.
async fn deltas_at_once(site: Site) {
    let archive = std::sync::Arc::new(site.create().await);
    let tasks = KEYS.map(|key| {
        let archive = std::sync::Arc::clone(&archive);
        tokio::spawn(async move { add(&archive, key).await })
    });
    for task in tasks {
        task.await.unwrap();
    }
    let late = "debian/12/x86_64/6.1.0-13-amd64";
    assert!(add(&archive, late).await.base.is_some());
    let archive = std::sync::Arc::into_inner(archive).unwrap();
    check_all(&site, archive, &[&KEYS[..], &[late]].concat()).await;
}

/// Check that a blob whose base is lost is told from one that is lost itself, and that a lost base keeps no kernel out.
async fn deltas_without_base(site: Site) {
    let archive = site.create().await;
    let [whole, delta] = [add(&archive, KEYS[0]).await, add(&archive, KEYS[1]).await];
    archive.close().await;
    std::fs::remove_file(site.path().join(blob::path(&whole.digest))).unwrap();

    let archive = site.open().await;
    let lost = archive.blob(&delta.digest).await.unwrap_err();
    assert!(matches!(&lost, Error::Missing { path } if *path == blob::path(&whole.digest)), "{lost}");
    assert_eq!(add(&archive, KEYS[2]).await.base, None);
    // Whoever brings the base again mends both.
    add(&archive, KEYS[0]).await;
    check_all(&site, archive, &KEYS[..3]).await;
}

/// Check that a damaged delta and a damaged base are refused and named, by a reader too.
async fn deltas_rotten(site: Site) {
    let archive = site.create().await;
    let [whole, delta] = [add(&archive, KEYS[0]).await, add(&archive, KEYS[1]).await];
    archive.close().await;
    for (digest, path) in
        [(delta.digest, blob::delta_path(&delta.digest)), (whole.digest, blob::path(&whole.digest))]
    {
        let file = site.path().join(&path);
        let good = std::fs::read(&file).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &bad).unwrap();

        let archive = site.open().await;
        let refused = archive.blob(&delta.digest).await.unwrap_err();
        assert!(matches!(&refused, Error::Object { path: named, .. } if *named == path), "{refused}");
        assert!(archive.blob(&digest).await.is_err());
        let reader = Reader::open(site.path().to_str().unwrap()).unwrap();
        let mut buffers = Buffers::default();
        assert!(reader.blob_in(&delta.digest, &mut buffers).is_err());
        // What was bad is not kept.
        std::fs::write(&file, &good).unwrap();
        assert_eq!(reader.blob_in(&delta.digest, &mut buffers).unwrap(), kernel(KEYS[1]));
        assert_eq!(archive.blob(&delta.digest).await.unwrap(), kernel(KEYS[1]));
        archive.close().await;
    }
}

/// Check that the same kernel once more, and another one with the same BTF, change nothing about how it is stored.
async fn deltas_again(site: Site) {
    let archive = site.create().await;
    add(&archive, KEYS[0]).await;
    let first = add(&archive, KEYS[1]).await;
    assert!(first.base.is_some());
    let again = add(&archive, KEYS[1]).await;
    assert_eq!((again.base, again.zst_size), (first.base, first.zst_size));
    let same = archive.add(draft("debian/12/x86_64/6.1.0-14-amd64"), kernel(KEYS[1])).await.unwrap();
    assert_eq!((same.record().base, same.record().zst_size), (first.base, first.zst_size));
    assert!(!site.path().join(blob::path(&first.digest)).exists());
}

/// Check that a kernel's configuration is a delta on its neighbour's.
async fn deltas_of_configurations(site: Site) {
    let archive = site.create().await;
    let mut digests = Vec::new();
    for (number, key) in KEYS[..4].iter().enumerate() {
        let mut config: String =
            (0..5000).map(|at| format!("CONFIG_OPTION_{}=y\n", at * 7919 % 100_003)).collect();
        config.insert_str(500, &format!("# CONFIG_{number} is not set\n"));
        // The line that was cut in two is one of its own.
        let beside = Beside { config: Some(config.clone().into()), ..Beside::default() };
        let draft = KernelDraft { build_id: None, ..draft(key) };
        let added = archive.add_with(draft, kernel(key), beside).await.unwrap();
        let digest = added.record().config.unwrap();
        assert_eq!(archive.config(added.record()).await.unwrap().unwrap(), config);
        digests.push((digest, config));
    }
    assert_eq!(depth(site.path(), &digests[0].0), 0);
    for (digest, config) in &digests[1..] {
        let delta = std::fs::metadata(site.path().join(blob::delta_path(digest))).unwrap();
        assert!(delta.len() < 300, "{} bytes", delta.len());
        assert!(depth(site.path(), digest) <= MAX_DEPTH);
        let reader = Reader::open(site.path().to_str().unwrap()).unwrap();
        assert_eq!(reader.blob(digest).unwrap(), config.as_bytes());
    }
}
