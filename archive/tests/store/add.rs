//! Adding kernels, and what is refused.

use std::process::{Command, Stdio};

use btf_archive::store::{Added, Archive, Beside, Error, KernelDraft};
use btf_archive::{Digest, Provenance, blob};

use crate::{Site, archive, btf, build_id, draft, files, keys};

each!(
    add_and_find,
    add_again,
    add_shares_blobs,
    add_conflict,
    add_replace,
    add_learns_build_id,
    add_refuses_bytes,
    add_drops_credentials,
    add_heals_lost_blob,
    blob_rotten,
    blob_for_other_tools,
    add_with_config_and_modules,
    add_restated
);

const KEY: &str = "debian/11/i386/5.10.0-35-686-pae";

/// Check that a kernel comes back by key, build-id, digest and package, with its blob, after reopening too.
async fn add_and_find(root: Site) {
    let raw = btf(7);
    let archive = root.create().await;
    let offered = KernelDraft { build_id: Some(build_id(7)), digest: Some(Digest::of(&raw)), ..draft(KEY) };
    let added = archive.add(offered.clone(), raw.clone()).await.unwrap();
    let Added::New(record) = &added else { panic!("{added:?}") };
    assert_eq!(record.key.to_string(), KEY);
    assert_eq!(record.digest, Digest::of(&raw));
    assert_eq!(record.raw_size, raw.len() as u64);
    assert_eq!(record.provenance, offered.provenance);
    archive.close().await;

    let archive = root.open().await;
    let catalog = archive.catalog();
    assert_eq!(catalog.by_key(&record.key).await.unwrap().as_ref(), Some(record));
    assert_eq!(catalog.by_build_id(&build_id(7)).await.unwrap(), std::slice::from_ref(record));
    assert_eq!(catalog.by_digest(&record.digest).await.unwrap(), std::slice::from_ref(record));
    assert_eq!(catalog.by_package("linux-image-dbg", "1.0").await.unwrap(), std::slice::from_ref(record));
    assert_eq!(catalog.by_package("linux-image-dbg", "1.1").await.unwrap(), []);
    assert_eq!(catalog.count().await.unwrap(), 1);
    assert_eq!(archive.blob(&record.digest).await.unwrap(), raw);
    let zst = archive.blob_zst(&record.digest).await.unwrap();
    assert_eq!(zst.len() as u64, record.zst_size);
    assert_eq!(blob::decompress(&zst, raw.len()).unwrap(), raw);
}

/// Check that adding the same again, under any spelling of the key, changes nothing.
async fn add_again(root: Site) {
    let archive = archive(&root, &[KEY]).await;
    let before = files(root.path());
    let known = archive.catalog().by_build_id(&build_id(1)).await.unwrap();
    for spelling in [KEY, "debian/bullseye/i686/5.10.0-35-686-pae"] {
        let added = archive.add(draft(spelling), btf(1)).await.unwrap();
        assert_eq!(added, Added::AlreadyThere(known[0].clone()));
    }
    assert_eq!(files(root.path()), before);
    assert_eq!(archive.catalog().count().await.unwrap(), 1);
}

/// Check that two kernels with the same BTF share one blob.
async fn add_shares_blobs(root: Site) {
    let archive = archive(&root, &[KEY]).await;
    archive.add(draft("debian/11/i386/5.10.0-36-686-pae"), btf(1)).await.unwrap();
    assert_eq!(files(root.path()), [blob::path(&Digest::of(&btf(1)))]);
    assert_eq!(archive.catalog().count().await.unwrap(), 2);
}

/// Check that other BTF for a known key is refused, and that neither catalog nor tree changes.
async fn add_conflict(root: Site) {
    let archive = archive(&root, &[KEY]).await;
    let before = files(root.path());
    let refused = archive.add(draft(KEY), btf(2)).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
    assert!(refused.to_string().starts_with(KEY), "{refused}");
    let other = KernelDraft { build_id: Some(build_id(2)), ..draft(KEY) };
    let refused = archive.add(other, btf(1)).await.unwrap_err();
    assert!(matches!(refused, Error::BuildIdConflict { .. }), "{refused}");
    assert_eq!(files(root.path()), before);
    let known = archive.catalog().by_key(&KEY.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((known.digest, known.build_id), (Digest::of(&btf(1)), Some(build_id(1))));
}

/// Check that a deliberate change needs a reason, and then holds.
async fn add_replace(root: Site) {
    let archive = archive(&root, &[KEY]).await;
    assert!(matches!(archive.replace(draft(KEY), btf(2), " ").await, Err(Error::Query { .. })));
    let replaced = archive.replace(draft(KEY), btf(2), "made again by a fixed generator").await.unwrap();
    assert!(matches!(replaced, Added::New(_)));
    let known = archive.catalog().by_key(&KEY.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(known.digest, Digest::of(&btf(2)));
    let again = archive.replace(draft(KEY), btf(2), "no change").await.unwrap();
    assert!(matches!(again, Added::AlreadyThere(_)));
}

/// Check that a build-id that becomes known later is kept.
async fn add_learns_build_id(root: Site) {
    let archive = root.create().await;
    archive.add(draft(KEY), btf(1)).await.unwrap();
    let named = KernelDraft { build_id: Some(build_id(1)), ..draft(KEY) };
    let added = archive.add(named, btf(1)).await.unwrap();
    assert_eq!(added.record().build_id, Some(build_id(1)));
    assert_eq!(keys(&archive.catalog().by_build_id(&build_id(1)).await.unwrap()), [KEY]);
}

/// Check that what is no BTF, cut BTF, and BTF of another digest than promised never get in.
async fn add_refuses_bytes(root: Site) {
    let archive = root.create().await;
    let raw = btf(1);
    for bad in [Vec::new(), b"\x7fELF".to_vec(), raw[..raw.len() - 1].to_vec()] {
        let refused = archive.add(draft(KEY), bad).await.unwrap_err();
        assert!(matches!(refused, Error::NotBtf { .. }), "{refused}");
        assert!(refused.to_string().starts_with(KEY), "{refused}");
    }
    let promised = KernelDraft { digest: Some(Digest::of(b"other")), ..draft(KEY) };
    let refused = archive.add(promised, raw).await.unwrap_err();
    assert!(matches!(refused, Error::Input(_)), "{refused}");
    assert_eq!(files(root.path()), [""; 0]);
    assert_eq!(archive.catalog().count().await.unwrap(), 0);
}

/// Check that a password in a package's URL is not kept.
async fn add_drops_credentials(root: Site) {
    let archive = root.create().await;
    let mut offered = draft(KEY);
    offered.provenance.url = Some("https://user:secret@mirror.example/linux.deb?token=secret".to_owned());
    let added = archive.add(offered, btf(1)).await.unwrap();
    let provenance =
        Provenance { url: Some("https://mirror.example/linux.deb".to_owned()), ..draft(KEY).provenance };
    assert_eq!(added.record().provenance, provenance);
}

/// Check that a lost blob is written again when its kernel is added again.
async fn add_heals_lost_blob(root: Site) {
    let archive = archive(&root, &[KEY]).await;
    let digest = Digest::of(&btf(1));
    std::fs::remove_file(root.path().join(blob::path(&digest))).unwrap();
    assert!(matches!(archive.blob(&digest).await, Err(Error::Missing { .. })));
    archive.add(draft(KEY), btf(1)).await.unwrap();
    assert_eq!(archive.blob(&digest).await.unwrap(), btf(1));
}

/// Check that a blob whose stored bytes have rotted is refused, with its path.
async fn blob_rotten(root: Site) {
    let archive = archive(&root, &[KEY, "debian/11/i386/5.10.0-36-686-pae"]).await;
    let [first, second] = [1, 2].map(|number| blob::path(&Digest::of(&btf(number))));
    std::fs::copy(root.path().join(second), root.path().join(&first)).unwrap();
    let refused = archive.blob(&Digest::of(&btf(1))).await.unwrap_err();
    assert!(refused.to_string().starts_with(&first), "{refused}");
}

/// Check that other programs read a blob: `zstd` decompresses it, `sha256sum` gives its name.
async fn blob_for_other_tools(root: Site) {
    archive(&root, &[KEY]).await;
    let [path] = <[String; 1]>::try_from(files(root.path())).unwrap();
    let mut zstd = Command::new("zstd")
        .args(["-dc", &path])
        .current_dir(root.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("zstd is installed (package zstd)");
    let sum = Command::new("sha256sum").stdin(zstd.stdout.take().unwrap()).output().unwrap();
    assert!(zstd.wait().unwrap().success());
    let digest = String::from_utf8(sum.stdout).unwrap()[..64].to_owned();
    assert_eq!(path, format!("blobs/sha256/{}/{digest}.zst", &digest[..2]));
}

/// Check that what is no archive is not opened, and that one is made in an empty directory only.
#[tokio::test]
async fn open_and_create() {
    let root = tempfile::tempdir().unwrap();
    assert!(matches!(Archive::open(root.path()).await, Err(Error::NotAnArchive { .. })));
    assert!(matches!(Archive::open(root.path().join("none")).await, Err(Error::NotAnArchive { .. })));
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "opening makes nothing");
    for url in ["s3://key:secret@bucket/x", "https://a.example/"] {
        assert!(matches!(Archive::open(url).await, Err(Error::Unsupported { .. })));
    }
    assert!(matches!(Archive::open("s3://bucket/x").await, Err(Error::NeedsCatalog { .. })));
    std::fs::write(root.path().join("thesis.txt"), "mine").unwrap();
    assert!(matches!(Archive::create(root.path()).await, Err(Error::NotEmpty { .. })));
    let inside = root.path().join("new/archive");
    archive(&Site::at(&inside), &[KEY]).await;
    let url = format!("file://{}", inside.display());
    assert_eq!(Archive::open(url).await.unwrap().catalog().count().await.unwrap(), 1);
    assert_eq!(Archive::create(&inside).await.unwrap().catalog().count().await.unwrap(), 1, "made once");
}

/// Check that a kernel's configuration and modules are kept, are published, and are learnt later but never changed.
async fn add_with_config_and_modules(root: Site) {
    let archive = archive(&root, &[KEY]).await;
    let modules = vec![("xfs".to_owned(), vec![1; 40]), ("ext4".to_owned(), vec![2; 50])];
    let beside = Beside { config: Some(b"CONFIG_BPF=y\n".as_slice().into()), modules: Some(modules) };
    let known = archive.add_with(draft(KEY), btf(1), beside.clone()).await.unwrap();
    assert!(matches!(known, Added::AlreadyThere(_)));
    let record = archive.catalog().by_key(&KEY.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(known.record(), &record);
    assert_eq!(record.config, Some(Digest::of(b"CONFIG_BPF=y\n")));
    assert_eq!(archive.config(&record).await.unwrap().unwrap(), b"CONFIG_BPF=y\n".as_slice());
    let blob = archive.modules(&record).await.unwrap().unwrap();
    let read = btf_archive::modules::Modules::parse(&blob).unwrap();
    assert_eq!((read.len(), read.base(), read.get("xfs")), (2, record.digest, Some([1; 40].as_slice())));

    let other = Beside { config: Some(b"CONFIG_BPF=n\n".as_slice().into()), ..Beside::default() };
    archive.add_with(draft(KEY), btf(1), other).await.unwrap();
    assert_eq!(archive.catalog().by_key(&KEY.parse().unwrap()).await.unwrap().as_ref(), Some(&record));
    let bad = Beside { modules: Some(vec![("../x".to_owned(), Vec::new())]), ..Beside::default() };
    assert!(matches!(archive.add_with(draft(KEY), btf(1), bad).await, Err(Error::Input(_))));

    archive.publish().await.unwrap();
    assert_eq!(archive.snapshot(1).await.unwrap().kernels, std::slice::from_ref(&record));
    // Two kernels of one configuration share it.
    let second = "debian/11/i386/5.10.0-36-686-pae";
    let before = files(root.path()).len();
    archive.add_with(draft(second), btf(2), Beside { modules: None, ..beside }).await.unwrap();
    assert_eq!(files(root.path()).len(), before + 1);
}

/// Check that a kernel's origin can be told anew, but not that of other BTF, and that a password does not stay.
async fn add_restated(root: Site) {
    let archive = archive(&root, &[KEY]).await;
    let (catalog, key) = (archive.catalog(), KEY.parse().unwrap());
    let before = catalog.by_key(&key).await.unwrap().unwrap();
    let mut provenance = before.provenance.clone();
    provenance.package_version = Some("2.0".to_owned());
    provenance.url = Some("https://user:secret@mirror.example/linux.deb".to_owned());
    catalog.restate(&key, &Digest::of(b"other"), &provenance).await.unwrap();
    assert_eq!(catalog.by_key(&key).await.unwrap().as_ref(), Some(&before));
    catalog.restate(&key, &before.digest, &provenance).await.unwrap();
    let after = catalog.by_key(&key).await.unwrap().unwrap();
    assert_eq!(after.provenance.package_version.as_deref(), Some("2.0"));
    assert_eq!(after.provenance.url, before.provenance.url);
    assert!(archive.publish().await.unwrap().new);
}
