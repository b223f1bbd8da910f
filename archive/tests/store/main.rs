//! What an archive promises, with real BTF: in a real directory and on a real S3 server, with its catalog in SQLite and in a real PostgreSQL.

/// These tests, each with both kinds of catalog, in a directory.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::Site::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::Site::postgres()).await;
            })+
        }
    };
}

/// These tests, each with both kinds of catalog in a directory, and in a bucket.
macro_rules! each {
    ($($name:ident),+ $(,)?) => {
        both!($($name),+);
        mod s3 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::Site::s3()).await;
            })+
        }
    };
}

mod add;
mod aliases;
mod crash;
mod deltas;
mod failures;
mod faults;
mod gc;
mod jobs;
mod list;
mod lookup;
mod migrate;
#[path = "../postgres/mod.rs"]
mod postgresql;
mod publish;
#[path = "../s3/mod.rs"]
mod s3_server;
mod scrub;
mod several;
mod sign;
mod tokens;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};
use tempfile::TempDir;

use btf::{Builder, Endian, Kind, Member};
use btf_archive::store::{Added, Archive, KernelDraft};
use btf_archive::{BuildId, Digest, KernelRecord, Provenance, Source, Trust};

/// Small but real BTF; another number gives other bytes.
fn btf(number: u32) -> Vec<u8> {
    let mut builder = Builder::new();
    let int = builder.int(b"int", 4, btf::Int { encoding: btf::kind::INT_SIGNED, bit_offset: 0, bits: 32 });
    let name = builder.string(b"pid");
    let member = Member { name, ty: int, bit_offset: 0, bit_width: 0 };
    builder.composite(Kind::Struct, b"task_struct", 4, &[member]).unwrap();
    builder.reference(Kind::Typedef, format!("kernel_{number}").as_bytes(), int);
    builder.finish(if number.is_multiple_of(2) { Endian::Little } else { Endian::Big }).unwrap()
}

/// A draft of a kernel from a package of the archive's usual kind.
fn draft(key: &str) -> KernelDraft {
    KernelDraft {
        key: key.parse().unwrap(),
        build_id: None,
        provenance: Provenance {
            package: Some("linux-image-dbg".to_owned()),
            package_version: Some("1.0".to_owned()),
            url: Some("https://mirror.example/linux.deb".to_owned()),
            sha256: Some(Digest::of(b"package")),
            trust: Trust::SignedPackage,
            source: Source::Dwarf,
            generator: "btfgen 0.1.0".to_owned(),
        },
        digest: None,
    }
}

/// The build-id made of this number.
fn build_id(number: u32) -> BuildId {
    let mut bytes = [0; 20];
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    BuildId::new(&bytes).unwrap()
}

/// Where an archive is, or will be: a directory or a bucket, and a database for its catalog.
struct Site {
    /// Where its objects are files, on the S3 server too.
    root: PathBuf,
    catalog: Option<String>,
    bucket: Option<s3_server::Bucket>,
    /// What a child opens.
    url: Option<String>,
    _dir: Option<TempDir>,
}

/// Says to a test program that it is a child, and where its parent's archive is.
const CHILD: &str = "BTF_ARCHIVE_TEST_ROOT";
/// Its catalog, if that is in PostgreSQL.
const CHILD_CATALOG: &str = "BTF_ARCHIVE_TEST_CATALOG";
/// Its URL, if it is in a bucket.
const CHILD_URL: &str = "BTF_ARCHIVE_TEST_URL";

impl Site {
    fn sqlite() -> Self {
        Self::of_parent().unwrap_or_else(|| Self::new(None))
    }

    fn postgres() -> Self {
        Self::of_parent().unwrap_or_else(|| Self::new(Some(postgresql::database())))
    }

    fn s3() -> Self {
        Self::of_parent().unwrap_or_else(|| Self::in_bucket(s3_server::bucket(), postgresql::database()))
    }

    fn new(catalog: Option<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { root: dir.path().to_owned(), catalog, bucket: None, url: None, _dir: Some(dir) }
    }

    fn in_bucket(bucket: s3_server::Bucket, catalog: String) -> Self {
        let root = bucket.directory().to_owned();
        Self { root, catalog: Some(catalog), bucket: Some(bucket), url: None, _dir: None }
    }

    /// A directory with SQLite.
    fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), catalog: None, bucket: None, url: None, _dir: None }
    }

    fn of_parent() -> Option<Self> {
        let root = std::env::var_os(CHILD)?.into();
        let [catalog, url] = [CHILD_CATALOG, CHILD_URL].map(|name| std::env::var(name).ok());
        Some(Self { root, catalog, bucket: None, url, _dir: None })
    }

    /// Another one of the same kind.
    fn another(&self) -> Self {
        match &self.bucket {
            Some(_) => Self::in_bucket(s3_server::bucket(), postgresql::database()),
            None => Self::new(self.catalog.as_ref().map(|_| postgresql::database())),
        }
    }

    fn path(&self) -> &Path {
        &self.root
    }

    fn is_child(&self) -> bool {
        std::env::var_os(CHILD).is_some()
    }

    /// This test of `module`, as another process on the same archive.
    fn child(&self, module: &str, name: &str) -> Command {
        let kind = match (&self.bucket, &self.catalog) {
            (Some(_), _) => "s3",
            (None, Some(_)) => "postgres",
            (None, None) => "sqlite",
        };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("{module}::{kind}::{name}"), "--nocapture"]).env(CHILD, &self.root);
        if let Some(catalog) = &self.catalog {
            command.env(CHILD_CATALOG, catalog);
        }
        if let Some(bucket) = &self.bucket {
            command.env(CHILD_URL, bucket.url()).envs(bucket.environment());
        }
        command
    }

    /// Opens or makes it.
    async fn create(&self) -> Archive {
        match &self.bucket {
            // Tests cannot change their own environment.
            Some(bucket) => Archive::on_store(store(bucket), self.catalog.as_deref().unwrap()).await.unwrap(),
            None => Archive::create_with(self.location(), self.catalog.as_deref()).await.unwrap(),
        }
    }

    async fn open(&self) -> Archive {
        match &self.bucket {
            Some(_) => self.create().await,
            None => Archive::open_with(self.location(), self.catalog.as_deref()).await.unwrap(),
        }
    }

    fn location(&self) -> &OsStr {
        self.url.as_ref().map_or(self.root.as_os_str(), OsStr::new)
    }
}

/// A bucket as the crate `object_store` sees it, without patience.
fn store(bucket: &s3_server::Bucket) -> Arc<dyn ObjectStore> {
    let mut builder = AmazonS3Builder::new().with_url(bucket.url());
    for (name, value) in bucket.environment() {
        builder = builder.with_config(name.to_ascii_lowercase().parse().unwrap(), value);
    }
    let mut retry = RetryConfig { max_retries: 3, ..RetryConfig::default() };
    retry.backoff.init_backoff = Duration::from_millis(20);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let prefix = bucket.url();
    let prefix = prefix.rsplit('/').next().unwrap();
    Arc::new(PrefixStore::new(builder.with_retry(retry).build().unwrap(), prefix))
}

/// An archive of these kernels, each of its own BTF, with build-ids 1, 2, 3, …
async fn archive(site: &Site, keys: &[&str]) -> Archive {
    let archive = site.create().await;
    for (number, key) in (1..).zip(keys) {
        let draft = KernelDraft { build_id: Some(build_id(number)), ..draft(key) };
        assert!(matches!(archive.add(draft, btf(number)).await.unwrap(), Added::New(_)), "{key}");
    }
    archive
}

/// The keys of records, for comparison.
fn keys(records: &[KernelRecord]) -> Vec<String> {
    records.iter().map(|record| record.key.to_string()).collect()
}

/// Every file under a directory, relative to it, in order; the database's own left out.
fn files(root: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                out.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    out.retain(|path| !path.starts_with("catalog.sqlite") && path != "archive.lock");
    out.sort();
    out
}
