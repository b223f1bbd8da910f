//! Many who fill one archive: real processes on SQLite and on a real PostgreSQL, in a directory and in a bucket, some of them killed
//! or frozen. No kernel is lost, and none is fetched twice that nobody was killed over.

mod debian;
mod loopback;
#[path = "../../archive/tests/postgres/mod.rs"]
mod postgres;
#[path = "../../archive/tests/s3/mod.rs"]
mod s3_server;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use btf_archive::store::{Archive, Backlog, Filter};
use debian::{Desk, Repository, outcome, paths};
use loopback::Server;
use serde_json::Value;
use tokio::runtime::Runtime;

const KERNELS: usize = 6;
/// The kernel whose package the server is silent about, the first time it is asked.
const STALLED: &str = "6.1.0-0-686";

fn repository() -> Repository {
    let repository = Repository::new();
    for number in 0..KERNELS {
        repository.kernel(&format!("6.1.0-{number}-686"), "6.1.1-1", &format!("m{number}"));
    }
    repository.publish();
    repository
}

/// Serves it; the first request for the stalled kernel's package gets no answer.
fn serve(repository: &Repository, stalled: &Arc<AtomicBool>) -> Server {
    let stalled = Arc::clone(stalled);
    repository.serve_with(move |request, mut answer| {
        if request.path.contains(&format!("{STALLED}-dbg")) && !stalled.swap(true, Ordering::SeqCst) {
            answer.silent = true;
        }
        answer
    })
}

/// How often each package was asked for.
fn fetched(server: &Server) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for path in paths(server).into_iter().filter(|path| path.ends_with(".deb")) {
        *counts.entry(path).or_insert(0) += 1;
    }
    counts
}

/// An archive's place, and its catalog's.
struct Place {
    desk: Desk,
    catalog: Option<String>,
    bucket: Option<s3_server::Bucket>,
}

impl Place {
    /// SQLite in a directory.
    fn simple() -> Self {
        Self { desk: Desk::new(), catalog: None, bucket: None }
    }

    fn each() -> [Self; 3] {
        let shared = || Self { catalog: Some(postgres::database()), ..Self::simple() };
        [Self::simple(), shared(), Self { bucket: Some(s3_server::bucket()), ..shared() }]
    }

    fn on(&self, command: &mut Command) {
        command.env_remove("BTF_ARCHIVE_CATALOG").arg("--archive");
        match &self.bucket {
            Some(bucket) => command.arg(bucket.url()).envs(bucket.environment()),
            None => command.arg(self.desk.path("archive")),
        };
        if let Some(catalog) = &self.catalog {
            command.env("BTF_ARCHIVE_CATALOG", catalog);
        }
    }

    fn sync(&self, server: &Server, keyring: &Path) -> Command {
        let mut command = self.desk.on("sync", server, keyring);
        self.on(&mut command);
        command.args(["--json", "-j", "1"]);
        command
    }

    fn worker(&self, lease: &str) -> Child {
        let mut command = self.desk.btfgen("work");
        self.on(&mut command);
        command.args(["--until-empty", "--json", "-j", "1", "--lease", lease]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn open(&self, runtime: &Runtime) -> Archive {
        // The server of a bucket keeps its objects as files.
        let files = self.bucket.as_ref().map(|bucket| bucket.directory().to_owned());
        let root = files.unwrap_or_else(|| self.desk.path("archive"));
        runtime.block_on(Archive::open_with(root, self.catalog.as_deref())).unwrap()
    }

    /// Checks that every kernel is there and published, and that no job is left.
    fn check(&self) {
        let runtime = Runtime::new().unwrap();
        let archive = self.open(&runtime);
        runtime.block_on(async {
            let kernels = archive.catalog().list(&Filter::default(), None, 100).await.unwrap().kernels;
            assert_eq!(kernels.len(), KERNELS);
            let latest = archive.latest().await.unwrap().unwrap();
            assert_eq!(archive.snapshot(latest.number).await.unwrap().kernels.len(), KERNELS);
            for kernel in kernels {
                archive.blob(&kernel.digest).await.unwrap();
            }
            assert_eq!(archive.catalog().backlog().await.unwrap(), Backlog::default());
            assert_eq!(archive.catalog().failures(None, 10).await.unwrap().failures, []);
        });
    }
}

/// What a worker added, once it has ended well.
#[track_caller]
fn added(worker: Child) -> usize {
    let output = worker.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["failed"], Value::Array(Vec::new()), "{summary} {text}");
    summary["added"].as_array().unwrap().len()
}

#[track_caller]
fn wait(what: &str, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(process: &Child, name: &str) {
    let status = Command::new("kill").args([name, &process.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Three workers, of which the first is stopped by `stop` while it waits for a package and the others do the rest.
fn three_workers(place: &Place, repository: &Repository, lease: &str, stop: impl Fn(&mut Child)) {
    let stalled = Arc::new(AtomicBool::new(false));
    let (server, keyring) = (serve(repository, &stalled), repository.keyring());
    let (code, stdout, stderr) = outcome(place.sync(&server, &keyring).arg("--enqueue"));
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&summary["enqueued"], &summary["added"]), (&KERNELS.into(), &Value::Array(Vec::new())));
    assert!(fetched(&server).is_empty());

    let mut first = place.worker(lease);
    wait("the first worker's wait", || stalled.load(Ordering::SeqCst));
    let others = [place.worker(lease), place.worker(lease)];
    wait("the others' work", || fetched(&server).len() == KERNELS);
    stop(&mut first);
    let before = fetched(&server);
    assert!(before.values().all(|count| *count == 1), "{before:?}");
    let by_others: usize = others.into_iter().map(added).sum();
    let counts = fetched(&server);
    for (path, count) in &counts {
        assert_eq!(*count, if path.contains(STALLED) { 2 } else { 1 }, "{counts:?}");
    }
    assert!(by_others >= 1 && counts.len() == KERNELS);
    first.kill().unwrap();
    first.wait().unwrap();
    place.check();
}

/// Check that the job of a worker that was killed is done by another at once, and every kernel once.
#[test]
fn one_is_killed() {
    let repository = repository();
    for place in Place::each() {
        three_workers(&place, &repository, "60", |first| {
            first.kill().unwrap();
            first.wait().unwrap();
        });
    }
}

/// Check that the job of a worker that is frozen is done by another once its lease has ended.
#[test]
fn one_is_frozen() {
    let repository = repository();
    for place in Place::each() {
        three_workers(&place, &repository, "2", |first| signal(first, "-STOP"));
    }
}

/// Check that two syncs at once fetch each kernel once, that both end well, and that what one leaves to the other is
/// counted.
#[test]
fn two_syncs() {
    let repository = repository();
    for place in Place::each() {
        let (server, keyring) = (
            repository.serve_with(|request, mut answer| {
                if request.path.ends_with(".deb") {
                    answer.drip = Some((400, Duration::from_millis(5)));
                }
                answer
            }),
            repository.keyring(),
        );
        let run =
            || place.sync(&server, &keyring).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let both = [run(), run()].map(|run| {
            let output = run.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        });
        let number = |name: &str| both.iter().map(|summary| summary[name].as_u64().unwrap()).sum::<u64>();
        let added: usize = both.iter().map(|summary| summary["added"].as_array().unwrap().len()).sum();
        assert_eq!(added, KERNELS, "{both:?}");
        assert_eq!(number("elsewhere") + number("present"), KERNELS as u64, "{both:?}");
        assert!(fetched(&server).values().all(|count| *count == 1), "{:?}", fetched(&server));
        place.check();
    }
}

/// Check that a job nobody can read is given up with its reason, and does not keep a worker from the others.
#[test]
fn jobs_nobody_can_read() {
    let (repository, place) = (repository(), Place::simple());
    let (server, keyring) = (repository.serve(), repository.keyring());
    let (code, _, stderr) = outcome(place.sync(&server, &keyring).arg("--enqueue"));
    assert_eq!(code, 0, "{stderr}");
    let runtime = Runtime::new().unwrap();
    let archive = place.open(&runtime);
    let key = "debian/12/i386/6.1.0-99-686".parse().unwrap();
    runtime.block_on(archive.catalog().enqueue(&key, "{\"from\":\"the future\"}")).unwrap();
    assert_eq!(added(place.worker("60")), KERNELS);
    let failures = runtime.block_on(archive.catalog().failures(None, 10)).unwrap().failures;
    assert_eq!(failures.len(), 1);
    assert!(failures[0].reason.contains("cannot be read"), "{failures:?}");
}

/// Check that a catalog is reached over TLS, by workers too, only where the server's certificate is for its name and of the right authority; and
/// not at all without TLS, which this server refuses.
#[test]
fn over_tls() {
    let (url, authority, stranger) = postgres::database_over_tls();
    let with = |authority: &Path| Some(format!("{url}&sslrootcert={}", authority.display()));
    let repository = repository();
    let server = repository.serve();
    let keyring = repository.keyring();
    let mut place = Place { desk: Desk::new(), catalog: with(&authority), bucket: None };
    let (code, _, told) = outcome(place.sync(&server, &keyring).arg("--enqueue"));
    assert_eq!(code, 0, "{told}");
    for (catalog, reason) in [
        (with(&stranger), "certificate"),
        (
            Some(url.replace("localhost:", "127.0.0.1:") + &format!("&sslrootcert={}", authority.display())),
            "certificate",
        ),
        (Some(url.replace("verify-full", "disable")), "pg_hba.conf"),
    ] {
        let place = Place { desk: Desk::new(), catalog, bucket: None };
        let output = place.worker("60").wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(reason), "{reason}: {told}");
    }
    assert_eq!(added(place.worker("60")), KERNELS);
    place.catalog = with(&authority);
    place.check();
}
