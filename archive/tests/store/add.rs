//! Adding kernels, and what is refused.

use std::process::{Command, Stdio};

use btf_archive::store::{Added, Archive, Error, KernelDraft, Subject};
use btf_archive::{Digest, Provenance, blob};

use crate::{archive, btf, build_id, draft, files, keys};

const KEY: &str = "debian/11/i386/5.10.0-35-686-pae";

/// Check that a kernel comes back by key, build-id, digest and package, with its blob, after reopening too.
#[tokio::test]
async fn add_and_find() {
    let root = tempfile::tempdir().unwrap();
    let raw = btf(7);
    let archive = Archive::create(root.path()).await.unwrap();
    let offered = KernelDraft { build_id: Some(build_id(7)), digest: Some(Digest::of(&raw)), ..draft(KEY) };
    let added = archive.add(offered.clone(), raw.clone()).await.unwrap();
    let Added::New(record) = &added else { panic!("{added:?}") };
    assert_eq!(record.key.to_string(), KEY);
    assert_eq!(record.digest, Digest::of(&raw));
    assert_eq!(record.raw_size, raw.len() as u64);
    assert_eq!(record.provenance, offered.provenance);
    archive.close().await;

    let archive = Archive::open(format!("file://{}", root.path().display())).await.unwrap();
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
#[tokio::test]
async fn add_again() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(root.path(), &[KEY]).await;
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
#[tokio::test]
async fn add_shares_blobs() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(root.path(), &[KEY]).await;
    archive.add(draft("debian/11/i386/5.10.0-36-686-pae"), btf(1)).await.unwrap();
    assert_eq!(files(root.path()), [blob::path(&Digest::of(&btf(1)))]);
    assert_eq!(archive.catalog().count().await.unwrap(), 2);
}

/// Check that other BTF for a known key is refused, and that neither catalog nor tree changes.
#[tokio::test]
async fn add_conflict() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(root.path(), &[KEY]).await;
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
#[tokio::test]
async fn add_replace() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(root.path(), &[KEY]).await;
    assert!(matches!(archive.replace(draft(KEY), btf(2), " ").await, Err(Error::Query { .. })));
    let replaced = archive.replace(draft(KEY), btf(2), "made again by a fixed generator").await.unwrap();
    assert!(matches!(replaced, Added::New(_)));
    let known = archive.catalog().by_key(&KEY.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(known.digest, Digest::of(&btf(2)));
    let again = archive.replace(draft(KEY), btf(2), "no change").await.unwrap();
    assert!(matches!(again, Added::AlreadyThere(_)));
}

/// Check that a build-id that becomes known later is kept.
#[tokio::test]
async fn add_learns_build_id() {
    let root = tempfile::tempdir().unwrap();
    let archive = Archive::create(root.path()).await.unwrap();
    archive.add(draft(KEY), btf(1)).await.unwrap();
    let named = KernelDraft { build_id: Some(build_id(1)), ..draft(KEY) };
    let added = archive.add(named, btf(1)).await.unwrap();
    assert_eq!(added.record().build_id, Some(build_id(1)));
    assert_eq!(keys(&archive.catalog().by_build_id(&build_id(1)).await.unwrap()), [KEY]);
}

/// Check that what is no BTF, cut BTF, and BTF of another digest than promised never get in.
#[tokio::test]
async fn add_refuses_bytes() {
    let root = tempfile::tempdir().unwrap();
    let archive = Archive::create(root.path()).await.unwrap();
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
#[tokio::test]
async fn add_drops_credentials() {
    let root = tempfile::tempdir().unwrap();
    let archive = Archive::create(root.path()).await.unwrap();
    let mut offered = draft(KEY);
    offered.provenance.url = Some("https://user:secret@mirror.example/linux.deb?token=secret".to_owned());
    let added = archive.add(offered, btf(1)).await.unwrap();
    let provenance =
        Provenance { url: Some("https://mirror.example/linux.deb".to_owned()), ..draft(KEY).provenance };
    assert_eq!(added.record().provenance, provenance);
}

/// Check that a lost blob is written again when its kernel is added again.
#[tokio::test]
async fn add_heals_lost_blob() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(root.path(), &[KEY]).await;
    let digest = Digest::of(&btf(1));
    std::fs::remove_file(root.path().join(blob::path(&digest))).unwrap();
    assert!(matches!(archive.blob(&digest).await, Err(Error::Missing { .. })));
    archive.add(draft(KEY), btf(1)).await.unwrap();
    assert_eq!(archive.blob(&digest).await.unwrap(), btf(1));
}

/// Check that a blob whose stored bytes have rotted is refused, with its path.
#[tokio::test]
async fn blob_rotten() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(root.path(), &[KEY, "debian/11/i386/5.10.0-36-686-pae"]).await;
    let [first, second] = [1, 2].map(|number| blob::path(&Digest::of(&btf(number))));
    std::fs::copy(root.path().join(second), root.path().join(&first)).unwrap();
    let refused = archive.blob(&Digest::of(&btf(1))).await.unwrap_err();
    assert!(refused.to_string().starts_with(&first), "{refused}");
}

/// Check that other programs read a blob: `zstd` decompresses it, `sha256sum` gives its name.
#[tokio::test]
async fn blob_for_other_tools() {
    let root = tempfile::tempdir().unwrap();
    archive(root.path(), &[KEY]).await;
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

/// Check that failures are counted, listed and forgotten once mended.
#[tokio::test]
async fn failures() {
    let root = tempfile::tempdir().unwrap();
    let archive = Archive::create(root.path()).await.unwrap();
    let catalog = archive.catalog();
    let kernel = Subject::Key(KEY.parse().unwrap());
    let package = Subject::Package("linux-image-dbg 1.0 i386".to_owned());
    for (subject, reason) in [(&kernel, "no vmlinux"), (&kernel, "bad DWARF"), (&package, "hash mismatch")] {
        catalog.record_failure(subject, reason).await.unwrap();
    }
    let failure = catalog.failure(&kernel).await.unwrap().unwrap();
    assert_eq!((failure.attempts, failure.reason.as_str()), (2, "bad DWARF"));
    assert!(failure.first > 0 && failure.first <= failure.last);
    assert_eq!(catalog.failures().await.unwrap().len(), 2);

    archive.add(draft(KEY), btf(1)).await.unwrap();
    assert_eq!(catalog.failure(&kernel).await.unwrap(), None);
    catalog.clear_failure(&package).await.unwrap();
    assert_eq!(catalog.failures().await.unwrap(), []);
}

/// Check that what is no archive is not opened, and that one is made in an empty directory only.
#[tokio::test]
async fn open_and_create() {
    let root = tempfile::tempdir().unwrap();
    assert!(matches!(Archive::open(root.path()).await, Err(Error::NotAnArchive { .. })));
    assert!(matches!(Archive::open(root.path().join("none")).await, Err(Error::NotAnArchive { .. })));
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "opening makes nothing");
    for (url, shown) in
        [("s3://key:secret@bucket/x", "s3://bucket/x"), ("https://a.example/", "https://a.example/")]
    {
        let refused = Archive::open(url).await.unwrap_err().to_string();
        assert!(refused.contains(shown) && !refused.contains("secret"), "{refused}");
    }
    std::fs::write(root.path().join("thesis.txt"), "mine").unwrap();
    assert!(matches!(Archive::create(root.path()).await, Err(Error::NotEmpty { .. })));
    let inside = root.path().join("new/archive");
    archive(&inside, &[KEY]).await;
    assert_eq!(Archive::create(&inside).await.unwrap().catalog().count().await.unwrap(), 1, "made once");
}
