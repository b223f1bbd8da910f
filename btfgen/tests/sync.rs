//! `btfgen sync` against repositories made by Debian's tools: what ends up in the archive, what a second run does, and what is left
//! when a run is killed.

mod debian;
mod loopback;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use btf_archive::snapshot::Latest;
use btf_archive::store::{Archive, KernelDraft, Subject};
use btf_archive::{Digest, KernelRecord, Key, Provenance, Source, Trust};
use debian::{Desk, Repository, SUITE, kernel_source, outcome, paths, tool, vmlinux};
use loopback::Server;
use object::{Object as _, ObjectSection as _};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A repository with three kernels of two flavours.
fn repository() -> Repository {
    let repository = Repository::new();
    repository.kernel("6.1.0-47-686-pae", "6.1.170-3", "a");
    repository.kernel("6.1.0-50-686-pae", "6.1.176-1", "b");
    repository.kernel("6.1.0-50-686", "6.1.176-1", "c");
    repository.metapackage(
        "linux-image-686-pae-dbg",
        "6.1.176-1",
        "linux-image-6.1.0-50-686-pae-dbg (= 6.1.176-1)",
    );
    repository.publish();
    repository
}

/// `btfgen sync` into this archive.
fn sync(desk: &Desk, server: &Server, keyring: &Path, archive: &Path) -> Command {
    let mut command = desk.on("sync", server, keyring);
    command.arg("--json").arg("--archive").arg(archive);
    command
}

/// Runs a sync that must end with this code; gives its summary.
#[track_caller]
fn summary(command: &mut Command, expected: i32) -> Value {
    let (code, stdout, stderr) = outcome(command);
    assert_eq!(code, expected, "{stdout}{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// Every kernel in an archive, by key, after a look at every blob and at the snapshot that must hold the same.
fn contents(archive: &Path) -> Vec<KernelRecord> {
    Runtime::new().unwrap().block_on(async {
        let archive = Archive::open(archive).await.unwrap();
        let latest = archive.latest().await.unwrap().expect("a snapshot is published");
        let snapshot = archive.snapshot(latest.number).await.unwrap();
        assert_eq!(snapshot.kernels.len() as u64, archive.catalog().count().await.unwrap());
        for kernel in &snapshot.kernels {
            assert_eq!(archive.catalog().by_key(&kernel.key).await.unwrap().as_ref(), Some(kernel));
            let raw = archive.blob(&kernel.digest).await.unwrap();
            let btf = btf::Btf::parse(&raw).unwrap();
            assert!(btfgen::vmlinux::is_plausible_kernel(&btf));
        }
        snapshot.kernels
    })
}

fn keys(kernels: &[KernelRecord]) -> Vec<String> {
    kernels.iter().map(|kernel| kernel.key.to_string()).collect()
}

/// The requests for packages.
fn packages(server: &Server) -> Vec<String> {
    paths(server).into_iter().filter(|path| path.ends_with(".deb")).collect()
}

const ALL: [&str; 3] =
    ["debian/12/i386/6.1.0-47-686-pae", "debian/12/i386/6.1.0-50-686", "debian/12/i386/6.1.0-50-686-pae"];

/// Check that a sync fills an archive with each kernel's BTF, build-id and provenance, and that a second one asks for
/// nothing but the Release file and changes nothing.
#[test]
fn fills_an_archive_once() {
    let (mut repository, desk) = (repository(), Desk::new());
    repository.modules = 4 << 20;
    repository.kernel("6.1.0-50-686-pae", "6.1.176-1", "b");
    repository.publish();
    let (server, keyring, archive) = (repository.serve(), repository.keyring(), desk.path("archive"));
    let first = summary(&mut sync(&desk, &server, &keyring, &archive), 0);
    assert_eq!(first["added"].as_array().unwrap().len(), 3, "{first}");
    assert_eq!(
        (&first["selected"], &first["present"], &first["snapshot"]),
        (&3.into(), &0.into(), &1.into())
    );
    let kernels = contents(&archive);
    assert_eq!(keys(&kernels), ALL);

    let pae = &kernels[2];
    assert_eq!(pae.provenance.package.as_deref(), Some("linux-image-6.1.0-50-686-pae-dbg"));
    assert_eq!(pae.provenance.package_version.as_deref(), Some("6.1.176-1"));
    let path = "pool/main/l/linux/linux-image-6.1.0-50-686-pae-dbg_6.1.176-1_i386.deb";
    assert_eq!(pae.provenance.url.as_deref(), Some(server.url(&format!("/{path}")).as_str()));
    assert_eq!((pae.provenance.trust, pae.provenance.source), (Trust::SignedIndex, Source::Dwarf));
    let read =
        first["added"].as_array().unwrap().iter().find(|added| added["key"] == ALL[2]).unwrap()["read"]
            .as_u64();
    assert!(read.unwrap() < 2 << 20, "{first}: reading stops behind vmlinux");
    assert_eq!(pae.build_id.unwrap().to_string(), build_id(&repository.root().join(path)));

    let asked = server.requests().len();
    let second = summary(&mut sync(&desk, &server, &keyring, &archive), 0);
    assert_eq!(paths(&server)[asked..], [format!("/dists/{SUITE}/InRelease")]);
    assert_eq!(
        (&second["added"], &second["present"], &second["snapshot"]),
        (&Value::Array(vec![]), &3.into(), &1.into())
    );
    assert_eq!(contents(&archive), kernels);
}

/// The build-id of the vmlinux in a package, as readelf sees it.
fn build_id(package: &Path) -> String {
    let work = tempfile::tempdir().unwrap();
    tool("dpkg-deb", |deb| deb.arg("--extract").arg(package).arg(work.path()));
    let boot = work.path().join("usr/lib/debug/boot");
    let vmlinux = fs::read_dir(boot).unwrap().next().unwrap().unwrap().path();
    let notes = String::from_utf8(tool("readelf", |readelf| readelf.arg("--notes").arg(vmlinux))).unwrap();
    notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ").map(str::to_owned)).unwrap()
}

/// Check that a selection adds only what it selects, that a later run adds the rest, and that an unselected pattern exits
/// with 3 and makes no archive.
#[test]
fn selection() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring, archive) = (repository.serve(), repository.keyring(), desk.path("archive"));
    let (code, _, stderr) = outcome(sync(&desk, &server, &keyring, &archive).args(["--kernel", "5.*"]));
    assert_eq!(code, 3, "{stderr}");
    assert!(!archive.exists());
    summary(sync(&desk, &server, &keyring, &archive).args(["--kernel", "*-686-pae", "--limit", "1"]), 0);
    assert_eq!(keys(&contents(&archive)), ["debian/12/i386/6.1.0-50-686-pae"]);
    let rest = summary(&mut sync(&desk, &server, &keyring, &archive), 0);
    assert_eq!(
        (rest["added"].as_array().unwrap().len(), &rest["present"], &rest["snapshot"]),
        (2, &1.into(), &2.into())
    );
    assert_eq!(keys(&contents(&archive)), ALL);
    assert_eq!(packages(&server).len(), 3);
}

/// Check that --plan and `kernels --archive` say what is missing, fetch no package and make nothing.
#[test]
fn plan_changes_nothing() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring, archive) = (repository.serve(), repository.keyring(), desk.path("archive"));
    let states = |listing: Value| -> Vec<String> {
        let kernels = listing["kernels"].as_array().unwrap().clone();
        kernels.iter().map(|kernel| kernel["archive"].as_str().unwrap().to_owned()).collect()
    };
    let plan = summary(sync(&desk, &server, &keyring, &archive).arg("--plan"), 0);
    assert_eq!(states(plan), ["missing"; 3]);
    // A package that two suites carry is one.
    std::os::unix::fs::symlink(SUITE, repository.root().join("dists/oldstable")).unwrap();
    let both = summary(sync(&desk, &server, &keyring, &archive).args(["--plan", "--suite", "oldstable"]), 0);
    assert_eq!(states(both), ["missing"; 3]);
    assert!(!archive.exists());
    summary(sync(&desk, &server, &keyring, &archive).args(["--kernel", "*-50-*"]), 0);
    let asked = packages(&server).len();
    let plan = summary(sync(&desk, &server, &keyring, &archive).arg("--plan"), 0);
    let listed =
        summary(desk.on("kernels", &server, &keyring).arg("--json").arg("--archive").arg(&archive), 0);
    for listing in [plan, listed] {
        assert_eq!(states(listing), ["present", "present", "missing"]);
    }
    assert_eq!(packages(&server).len(), asked);
}

/// Check that of several versions of a package with one release the newest is taken, and the others neither hide it nor are fetched.
#[test]
fn several_versions_of_one_release() {
    let (repository, desk) = (Repository::new(), Desk::new());
    let (server, keyring, archive) = (repository.serve(), repository.keyring(), desk.path("archive"));
    for (version, member) in [("6.12.9-1", "a"), ("6.12.10-1~deb12u1", "b"), ("6.12.10-1", "c")] {
        repository.kernel("6.12+deb13-686", version, member);
    }
    repository.publish();
    let first = summary(&mut sync(&desk, &server, &keyring, &archive), 0);
    assert_eq!((first["added"].as_array().unwrap().len(), &first["superseded"]), (1, &2.into()), "{first}");
    assert_eq!(contents(&archive)[0].provenance.package_version.as_deref(), Some("6.12.10-1"));
    assert_eq!(packages(&server).len(), 1);
}

/// Check that a kernel whose key has other BTF in the archive is refused with 4, that the archive keeps what it had, and that
/// the next run does not fetch the package again.
#[test]
fn conflict_is_refused() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring, archive) = (repository.serve(), repository.keyring(), desk.path("archive"));
    summary(&mut sync(&desk, &server, &keyring, &archive), 0);
    let before = contents(&archive);
    // A new version of the package, with the same release and another task_struct.
    repository.kernel("6.1.0-50-686-pae", "6.1.176-2", "different");
    repository.publish();
    let asked = packages(&server).len();
    let refused = summary(&mut sync(&desk, &server, &keyring, &archive), 4);
    let failed = &refused["failed"][0];
    assert_eq!((&failed["key"], &failed["kind"]), (&ALL[2].into(), &"refused".into()), "{refused}");
    assert!(failed["reason"].as_str().unwrap().contains("refusing to change"), "{failed}");
    assert_eq!(contents(&archive), before);
    assert_eq!(packages(&server).len(), asked + 1);

    let again = summary(&mut sync(&desk, &server, &keyring, &archive), 1);
    assert_eq!((&again["failed"][0]["kind"], &again["present"]), (&"before".into(), &2.into()), "{again}");
    assert_eq!(packages(&server).len(), asked + 1);
    let retried = summary(sync(&desk, &server, &keyring, &archive).arg("--retry-failed"), 4);
    assert_eq!(retried["failed"][0]["kind"], "refused");
    assert_eq!(packages(&server).len(), asked + 2);

    // Somebody who looked into it says why it may change; the snapshots follow.
    let replace = ["--replace", "the distribution rebuilt it"];
    let replaced = summary(sync(&desk, &server, &keyring, &archive).args(replace), 0);
    assert_eq!(
        (&replaced["added"][0]["key"], &replaced["snapshot"]),
        (&ALL[2].into(), &2.into()),
        "{replaced}"
    );
    let after = contents(&archive);
    assert_eq!(after[2].provenance.package_version.as_deref(), Some("6.1.176-2"));
    assert_ne!(after[2].digest, before[2].digest);
    let again = summary(&mut sync(&desk, &server, &keyring, &archive), 0);
    assert_eq!(again["present"], 3);
}

/// Check that packages which hold no kernel's BTF fail each with its reason, are recorded, and do not keep the others out.
#[test]
fn bad_packages() {
    let (repository, desk) = (Repository::new(), Desk::new());
    let (server, keyring, archive) = (repository.serve(), repository.keyring(), desk.path("archive"));
    repository.kernel("6.1.0-50-686-pae", "6.1.176-1", "a");
    let release = |name: &str| format!("6.1.0-50-{name}");
    let package = |name: &str, vmlinux: &[u8]| {
        let release = release(name);
        repository.package(&format!("linux-image-{release}-dbg"), "6.1.176-1", &release, vmlinux);
    };
    package("taskless", &vmlinux(&["struct other { int x; } other; void _start(void) { other.x = 1; }\n"]));
    package("damaged", &damaged_vmlinux());
    // The package of one kernel with the vmlinux of another.
    let other = "struct task_struct { int x; } t; void _start(void) { t.x = 1; }\n";
    repository.package(
        "linux-image-6.1.0-50-mislabelled-dbg",
        "6.1.176-1",
        "6.1.0-49-686",
        &vmlinux(&[other]),
    );
    repository.publish();
    // An index may promise what the server does not have.
    fs::remove_file(
        repository.root().join("pool/main/l/linux/linux-image-6.1.0-50-686-pae-dbg_6.1.176-1_i386.deb"),
    )
    .unwrap();
    let failed = summary(&mut sync(&desk, &server, &keyring, &archive), 1);
    let reason = |name: &str| {
        let all = failed["failed"].as_array().unwrap();
        let one = all.iter().find(|one| one["key"].as_str().unwrap().ends_with(name)).unwrap();
        (one["kind"].as_str().unwrap().to_owned(), one["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(failed["failed"].as_array().unwrap().len(), 4, "{failed}");
    let (kind, why) = reason("damaged");
    assert!(
        kind == "lasting" && why.contains("1 of 2 units of its DWARF could not be read"),
        "{kind}: {why}"
    );
    let (kind, why) = reason("taskless");
    assert!(kind == "lasting" && why.contains("no struct task_struct"), "{kind}: {why}");
    let (kind, why) = reason("mislabelled");
    assert!(kind == "lasting" && why.contains("6.1.0-49-686"), "{kind}: {why}");
    let (kind, why) = reason("pae");
    assert!(kind == "passing" && why.contains("404"), "{kind}: {why}");
    assert!(contents(&archive).is_empty());

    let recorded = Runtime::new().unwrap().block_on(async {
        let archive = Archive::open(&archive).await.unwrap();
        archive
            .catalog()
            .failure(&Subject::Key(format!("debian/12/i386/{}", release("taskless")).parse().unwrap()))
            .await
            .unwrap()
    });
    assert!(recorded.unwrap().reason.contains("no struct task_struct"));

    // The package is back, but it is too early to ask for it again; the others are not tried again at all.
    repository.kernel("6.1.0-50-686-pae", "6.1.176-1", "a");
    repository.publish();
    let asked = packages(&server).len();
    let early = summary(&mut sync(&desk, &server, &keyring, &archive), 1);
    let mut kinds: Vec<_> =
        early["failed"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["before", "before", "before", "waiting"]);
    assert_eq!(packages(&server).len(), asked);

    let failures = |arguments: &[&str]| {
        let mut command = desk.btfgen("failures");
        outcome(command.arg("--archive").arg(&archive).args(arguments))
    };
    let (code, listed, _) = failures(&["--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let listed = listed["failures"].as_array().unwrap();
    assert_eq!((code, listed.len()), (0, 4));
    for one in listed {
        let waits = one["key"] == ALL[2];
        assert_eq!(one["kind"], if waits { "passing" } else { "lasting" }, "{one}");
        assert_eq!(
            one["retry_at"].as_u64().map(|at| at - one["last"].as_u64().unwrap()),
            waits.then_some(600)
        );
    }
    let (_, text, _) = failures(&[]);
    let soon =
        |line: &&str| ["9 min", "10 min"].iter().any(|time| line.contains(&format!("again in {time}")));
    assert_eq!(text.lines().filter(soon).count(), 1, "{text}");

    let (code, text, _) = failures(&["--retry-now"]);
    assert_eq!((code, text.lines().count()), (0, 4), "{text}");
    let again = summary(&mut sync(&desk, &server, &keyring, &archive), 1);
    assert_eq!(
        (again["added"].as_array().unwrap().len(), again["failed"].as_array().unwrap().len()),
        (1, 3),
        "{again}"
    );
    assert_eq!(packages(&server).len(), asked + 4);
    assert_eq!(keys(&contents(&archive)), [ALL[2]]);
    let (_, cleared, _) = failures(&["--clear"]);
    assert_eq!(cleared.lines().filter(|line| line.ends_with("forgotten")).count(), 3, "{cleared}");
    assert_eq!(failures(&[]).1, "");
}

/// Check that a newer version of a package with the very same kernel is fetched once, and named from then on.
#[test]
fn same_kernel_in_a_newer_package() {
    let (repository, desk) = (Repository::new(), Desk::new());
    let (server, keyring, archive) = (repository.serve(), repository.keyring(), desk.path("archive"));
    let (release, kernel) = ("6.1.0-50-686", vmlinux(&[&kernel_source("a")]));
    for (version, fetched) in [("6.1.176-1", 1), ("6.1.176-2", 2)] {
        repository.package(&format!("linux-image-{release}-dbg"), version, release, &kernel);
        repository.publish();
        for _ in 0..2 {
            summary(&mut sync(&desk, &server, &keyring, &archive), 0);
            assert_eq!(packages(&server).len(), fetched);
            assert_eq!(contents(&archive)[0].provenance.package_version.as_deref(), Some(version));
        }
    }
}

/// Check that a kernel without BTF whose debug package is not on offer is told and recorded, not fetched, and is no failure.
#[test]
fn unobtainable_kernels() {
    let (repository, desk) = (repository(), Desk::new());
    repository.package("linux-image-6.1.0-51-686", "6.1.180-1", "6.1.0-51-686", b"no kernel");
    repository.publish();
    let (server, keyring, archive) = (repository.serve(), repository.keyring(), desk.path("archive"));
    for added in [3, 0] {
        let told = summary(&mut sync(&desk, &server, &keyring, &archive), 0);
        assert_eq!(told["added"].as_array().unwrap().len(), added);
        assert_eq!(told["unobtainable"][0]["key"], "debian/12/i386/6.1.0-51-686", "{told}");
    }
    assert!(packages(&server).iter().all(|path| path.contains("-dbg_")), "{:?}", packages(&server));
    let failure = Runtime::new().unwrap().block_on(async {
        let archive = Archive::open(&archive).await.unwrap();
        let subject = Subject::Key("debian/12/i386/6.1.0-51-686".parse().unwrap());
        archive.catalog().failure(&subject).await.unwrap().unwrap()
    });
    assert!(failure.reason.contains("has no debug package"), "{}", failure.reason);
}

/// Check that what is trusted less than required is refused, without fetching a package where that can be known before.
#[test]
fn trust_is_required() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring, archive) = (repository.serve(), repository.keyring(), desk.path("archive"));
    let with =
        |arguments: &[&str], code| summary(sync(&desk, &server, &keyring, &archive).args(arguments), code);
    let refused = with(&["--require-trust", "signed-package"], 4);
    assert_eq!(refused["failed"].as_array().unwrap().len(), 3, "{refused}");
    let reason = refused["failed"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("signed-index, and signed-package is required"), "{reason}");
    assert!(packages(&server).is_empty() && contents(&archive).is_empty());
    let retried = with(&["--require-trust", "signed-package", "--verify", "full", "--retry-failed"], 0);
    assert!(
        retried["added"].as_array().unwrap().iter().all(|one| one["trust"] == "signed-package"),
        "{retried}"
    );
    assert_eq!(contents(&archive).len(), 3);
}

/// A kernel whose second unit of DWARF cannot be read.
fn damaged_vmlinux() -> Vec<u8> {
    let mut elf = vmlinux(&[&kernel_source("a"), "struct more { int x; } more;\n"]);
    let file = object::File::parse(&*elf).unwrap();
    let (start, _) = file.section_by_name(".debug_info").unwrap().file_range().unwrap();
    let start = usize::try_from(start).unwrap();
    let length = u32::from_le_bytes(elf[start..start + 4].try_into().unwrap());
    // Behind the header (DWARF 5, 12 bytes) of the second unit: the abbreviation of its first entry, to one that there is not.
    let entry = start + 4 + usize::try_from(length).unwrap() + 12;
    elf[entry] = 0x7f;
    elf
}

/// Check that a package which is not the one that was signed is refused: a whole reading notices every changed byte, and a short one
/// says honestly that it did not look.
#[test]
fn verify_full() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring) = (repository.serve(), repository.keyring());
    let kernel = ["--kernel", "6.1.0-47-*"];
    let whole = |name: &str| {
        let mut command = sync(&desk, &server, &keyring, &desk.path(name));
        command.args(kernel).args(["--verify", "full"]);
        command
    };
    summary(&mut whole("good"), 0);
    let record = contents(&desk.path("good")).remove(0);
    let package =
        repository.root().join("pool/main/l/linux/linux-image-6.1.0-47-686-pae-dbg_6.1.170-3_i386.deb");
    let bytes = fs::read(&package).unwrap();
    assert_eq!(
        (record.provenance.trust, record.provenance.sha256),
        (Trust::SignedPackage, Some(Digest::of(&bytes)))
    );

    // The time in the header of a member: no decoder looks at it.
    let mut changed = bytes.clone();
    changed[8 + 16] ^= 1;
    fs::write(&package, &changed).unwrap();
    let refused = summary(&mut whole("changed"), 1);
    let reason = refused["failed"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("the index says"), "{reason}");
    assert!(contents(&desk.path("changed")).is_empty());

    // Another length shows before anything is read.
    fs::write(&package, [&bytes[..], b"x"].concat()).unwrap();
    let refused = summary(sync(&desk, &server, &keyring, &desk.path("longer")).args(kernel), 1);
    assert!(refused["failed"][0]["reason"].as_str().unwrap().contains("the index says"), "{refused}");
}

/// Check that an archive's own failure ends the run at once, named, and that a directory of other things is left alone.
#[test]
fn unusable_archive() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring) = (repository.serve(), repository.keyring());
    let other = desk.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "hello").unwrap();
    let (code, _, stderr) = outcome(&mut sync(&desk, &server, &keyring, &other));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("other") && stderr.contains("not empty"), "{stderr}");
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
    assert!(packages(&server).is_empty());
}

/// Check that a kernel which somebody handed in under the same key is left alone.
#[test]
fn uploads_are_left_alone() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring, archive) = (repository.serve(), repository.keyring(), desk.path("archive"));
    summary(sync(&desk, &server, &keyring, &desk.path("source")).args(["--kernel", "*-47-*"]), 0);
    Runtime::new().unwrap().block_on(async {
        let source = Archive::open(desk.path("source")).await.unwrap();
        let raw = source.blob(&contents_digest(&source).await).await.unwrap();
        let key: Key = ALL[2].parse().unwrap();
        let provenance = Provenance {
            package: None,
            package_version: None,
            url: None,
            sha256: None,
            trust: Trust::None,
            source: Source::Upload,
            generator: "a test".into(),
        };
        let target = Archive::create(&archive).await.unwrap();
        target.add(KernelDraft { key, build_id: None, provenance, digest: None }, raw).await.unwrap();
    });
    let done = summary(&mut sync(&desk, &server, &keyring, &archive), 0);
    assert_eq!((&done["present"], done["added"].as_array().unwrap().len()), (&1.into(), 2), "{done}");
    assert_eq!(contents(&archive)[2].provenance.source, Source::Upload);
}

async fn contents_digest(archive: &Archive) -> Digest {
    let latest: Latest = archive.latest().await.unwrap().unwrap();
    archive.snapshot(latest.number).await.unwrap().kernels[0].digest
}

/// Check that a run killed at any of its requests leaves an archive that the next run completes, without fetching again
/// what was already in it.
#[test]
fn killed_and_resumed() {
    let repository = repository();
    let keyring = repository.keyring();
    // Requests 0 to 2 are InRelease and the index, by its hash and by its name; then come the packages, one by one.
    for killed_at in 0..=5 {
        let (desk, stalled) = (Desk::new(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&stalled);
        let server = repository.serve_with(move |request, mut answer| {
            if request.number == killed_at {
                answer.silent = true;
                count.fetch_add(1, Ordering::SeqCst);
            }
            answer
        });
        let archive = desk.path("archive");
        let mut command = sync(&desk, &server, &keyring, &archive);
        let run = command.args(["-j", "1"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        kill_when(run, || stalled.load(Ordering::SeqCst) > 0);
        let fetched_before = packages(&server).len();

        let resumed = summary(&mut sync(&desk, &server, &keyring, &archive), 0);
        let complete = killed_at.saturating_sub(3);
        assert_eq!(
            (&resumed["present"], resumed["added"].as_array().unwrap().len()),
            (&complete.into(), 3 - complete),
            "killed at {killed_at}"
        );
        assert_eq!(packages(&server).len() - fetched_before, 3 - complete, "killed at {killed_at}");
        assert_eq!(keys(&contents(&archive)), ALL, "killed at {killed_at}");
        let left: Vec<_> = fs::read_dir(&archive).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("tmp")), "{left:?}");
    }
}

/// Check that a run killed after a delay, wherever that is (in a conversion, between blob and catalog, in the snapshot), is completed by
/// the next one.
#[test]
fn killed_at_any_time() {
    let repository = repository();
    let (server, keyring, desk) = (repository.serve(), repository.keyring(), Desk::new());
    for delay in (5..400).step_by(45) {
        let archive = desk.path(&format!("archive-{delay}"));
        let mut command = sync(&desk, &server, &keyring, &archive);
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let _ = run.kill();
        run.wait().unwrap();
        summary(&mut sync(&desk, &server, &keyring, &archive), 0);
        assert_eq!(keys(&contents(&archive)), ALL, "killed after {delay} ms");
    }
}

/// Kills a run with SIGKILL once something has happened.
fn kill_when(mut run: Child, happened: impl Fn() -> bool) {
    while !happened() {
        assert!(run.try_wait().unwrap().is_none(), "the run ended before it could be killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().unwrap();
    run.wait().unwrap();
}
