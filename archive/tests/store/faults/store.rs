//! A store that fails at its n-th operation, for every n; and a process that dies there.

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use btf_archive::store::Archive;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::{check_done, check_whole, prepare, work};
use crate::{CHILD, Site};

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It fails, and is not done.
    Refused,
    /// It is done, but its answer is lost.
    Lost,
    /// It and all that follow fail.
    Gone,
    /// The process dies before it.
    DeathBefore,
    /// The process dies after it.
    DeathAfter,
}

/// A store in which the n-th operation from now goes wrong.
#[derive(Clone, Debug)]
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Fault,
    left: Arc<AtomicI64>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

fn gone<T>() -> Result<T> {
    Err(Error::Generic { store: "faulty", source: "no answer".into() })
}

impl Faulty {
    fn new(inner: Arc<dyn ObjectStore>, fault: Fault, at: i64) -> Self {
        Self { inner, fault, left: Arc::new(AtomicI64::new(at)) }
    }

    /// Whether the fault has come.
    fn has_come(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    async fn run<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        match self.fault {
            Fault::Refused if left == 0 => gone(),
            Fault::Gone if left <= 0 => gone(),
            Fault::DeathBefore if left == 0 => std::process::abort(),
            Fault::Lost if left == 0 => {
                operation.await?;
                gone()
            }
            Fault::DeathAfter if left == 0 => {
                let _ = operation.await;
                std::process::abort()
            }
            _ => operation.await,
        }
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        // A directory replaces without conditions, which its lock makes up for.
        if matches!(self.fault, Fault::DeathBefore | Fault::DeathAfter)
            && matches!(options.mode, PutMode::Update(_))
        {
            options.mode = PutMode::Overwrite;
        }
        self.run(self.inner.put_opts(path, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.run(self.inner.put_multipart_opts(path, options)).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.run(self.inner.get_opts(path, options)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Result<Path>| {
            let store = store.clone();
            async move {
                let mut inner = store.inner.delete_stream(stream::once(async { path }).boxed());
                store.run(async move { inner.next().await.unwrap_or_else(gone) }).await
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let inner = Arc::clone(&store.inner);
            let all =
                store.run(async move { Ok(inner.list(prefix.as_ref()).collect::<Vec<_>>().await) }).await;
            all.unwrap_or_else(|error| vec![Err(error)])
        };
        stream::once(listed).flat_map(stream::iter).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.run(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.run(self.inner.copy_opts(from, to, options)).await
    }
}

/// Check every operation of a store in memory that knows conditional writes: refused, done but not answered, and the last one that is
/// answered.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_each_operation() {
    for fault in [Fault::Refused, Fault::Lost, Fault::Gone] {
        let mut operations = 0;
        loop {
            let root = tempfile::tempdir().unwrap();
            let catalog = root.path().join("catalog.sqlite");
            let catalog = catalog.to_str().unwrap();
            let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let healthy = async || Archive::on_store(Arc::clone(&memory), catalog).await.unwrap();
            let archive = healthy().await;
            prepare(&archive).await.unwrap();
            archive.close().await;

            let faulty = Faulty::new(Arc::clone(&memory), fault, operations);
            let done = match Archive::on_store(Arc::new(faulty.clone()), catalog).await {
                Ok(archive) => {
                    let done = work(&archive).await;
                    archive.close().await;
                    done
                }
                Err(error) => Err(error),
            };
            if let Err(error) = &done {
                assert!(error.to_string().contains("no answer"), "{fault:?} {operations}: {error}");
            }
            let archive = healthy().await;
            check_whole(&archive).await;
            work(&archive).await.unwrap();
            check_done(&archive).await;
            if !faulty.has_come() {
                done.unwrap();
                break;
            }
            operations += 1;
        }
        assert!(operations > 20, "{fault:?}: {operations}");
    }
}

/// Check that a process which dies before or after any operation of its store in a directory leaves a whole archive.
#[tokio::test(flavor = "multi_thread")]
async fn faults_kill_at_each_operation() {
    const FAULT: &str = "BTF_ARCHIVE_TEST_FAULT";
    if let Some(root) = std::env::var_os(CHILD) {
        let fault = std::env::var(FAULT).unwrap();
        let (when, at) = fault.split_once(' ').unwrap();
        let fault = if when == "before" { Fault::DeathBefore } else { Fault::DeathAfter };
        let files = LocalFileSystem::new_with_prefix(&root).unwrap().with_fsync(true);
        let faulty = Faulty::new(Arc::new(files), fault, at.parse().unwrap());
        let catalog = FilePath::new(&root).join("catalog.sqlite");
        let archive = Archive::on_store(Arc::new(faulty), catalog.to_str().unwrap()).await.unwrap();
        work(&archive).await.unwrap();
        return archive.close().await;
    }
    for when in ["before", "after"] {
        for operation in 0.. {
            let root = tempfile::tempdir().unwrap();
            let site = Site::at(root.path());
            let archive = site.create().await;
            prepare(&archive).await.unwrap();
            archive.close().await;

            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "faults::store::faults_kill_at_each_operation", "--nocapture"]);
            child.env(CHILD, root.path()).env(FAULT, format!("{when} {operation}"));
            let output = child.output().unwrap();
            let archive = site.open().await;
            check_whole(&archive).await;
            work(&archive).await.unwrap();
            check_done(&archive).await;
            archive.close().await;
            if output.status.success() {
                assert!(operation > 20, "{when}: {operation}");
                break;
            }
            assert_eq!(output.status.code(), None, "{when} {operation}: {output:?}");
        }
    }
}
