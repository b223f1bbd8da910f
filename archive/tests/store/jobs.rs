//! Jobs: each is with one worker at a time, none is lost, and none is done again once it is done.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use btf_archive::Key;
use btf_archive::store::{Backlog, Worker};

use crate::Site;

both!(jobs_in_turn, jobs_leases, jobs_of_one_key, jobs_put_back, jobs_shared, jobs_of_dead_processes);

const LEASE: Duration = Duration::from_secs(60);

fn key(number: usize) -> Key {
    format!("debian/11/i386/5.10.0-{number}-686-pae").parse().unwrap()
}

/// Check that jobs are taken once each, in the order of their coming, with what was said about them last; and that done
/// ones are gone.
async fn jobs_in_turn(root: Site) {
    let archive = root.create().await;
    let (catalog, worker) = (archive.catalog(), Worker::new());
    assert_eq!(catalog.claim(&worker, LEASE).await.unwrap(), None);
    for number in [1, 2] {
        catalog.enqueue(&key(number), "old").await.unwrap();
        catalog.enqueue(&key(number), &format!("spec {number}")).await.unwrap();
    }
    assert_eq!(catalog.backlog().await.unwrap(), Backlog { ready: 2, later: 0, at_work: 0 });
    let mut taken = Vec::new();
    while let Some(job) = catalog.claim(&worker, LEASE).await.unwrap() {
        assert_eq!(job.attempts, 1);
        taken.push((job.key, job.spec));
    }
    assert_eq!(taken, [(key(1), "spec 1".to_owned()), (key(2), "spec 2".to_owned())]);
    assert_eq!(catalog.backlog().await.unwrap(), Backlog { ready: 0, later: 0, at_work: 2 });
    // What is at work is left alone.
    catalog.enqueue(&key(1), "new").await.unwrap();
    assert_eq!(catalog.claim(&Worker::new(), LEASE).await.unwrap(), None);
    assert!(!catalog.finish(&Worker::new(), &key(1)).await.unwrap(), "only its own worker can");
    assert!(catalog.finish(&worker, &key(1)).await.unwrap());
    assert!(!catalog.finish(&worker, &key(1)).await.unwrap());
    assert_eq!(catalog.backlog().await.unwrap(), Backlog { ready: 0, later: 0, at_work: 1 });
}

/// Check that a lease which ends makes a job free, that a sign of life keeps it, and that the one who lost it cannot end it.
async fn jobs_leases(root: Site) {
    let archive = root.create().await;
    let (catalog, sleeper, other) = (archive.catalog(), Worker::new(), Worker::new());
    let short = Duration::from_secs(2);
    for number in [1, 2] {
        catalog.enqueue(&key(number), "").await.unwrap();
        assert!(catalog.claim(&sleeper, short).await.unwrap().is_some());
    }
    assert_eq!(catalog.renew(&sleeper, LEASE).await.unwrap(), 2);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(catalog.claim(&other, LEASE).await.unwrap(), None);
    assert_eq!(catalog.renew(&sleeper, short).await.unwrap(), 2);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let job = catalog.claim(&other, LEASE).await.unwrap().unwrap();
    assert_eq!((job.key, job.attempts), (key(1), 2));
    assert!(catalog.claim_key(&other, &key(2), "", LEASE).await.unwrap());
    assert_eq!(catalog.renew(&sleeper, LEASE).await.unwrap(), 0);
    assert!(!catalog.finish(&sleeper, &key(1)).await.unwrap());
    assert!(catalog.finish(&other, &key(1)).await.unwrap());
}

/// Check that a job can be taken by its key, enqueued or not, by one only.
async fn jobs_of_one_key(root: Site) {
    let archive = root.create().await;
    let (catalog, first, second) = (archive.catalog(), Worker::new(), Worker::new());
    catalog.enqueue(&key(1), "old").await.unwrap();
    for number in [1, 2] {
        assert!(catalog.claim_key(&first, &key(number), "new", LEASE).await.unwrap());
        assert!(!catalog.claim_key(&second, &key(number), "other", LEASE).await.unwrap());
    }
    assert_eq!(catalog.claim(&second, LEASE).await.unwrap(), None);
    catalog.put_back(&first, &key(1), Duration::ZERO).await.unwrap();
    assert_eq!(catalog.claim(&second, LEASE).await.unwrap().unwrap().spec, "new");
}

/// Check that a job that is put back waits as long as it should, and counts as never taken.
async fn jobs_put_back(root: Site) {
    let archive = root.create().await;
    let (catalog, worker) = (archive.catalog(), Worker::new());
    catalog.enqueue(&key(1), "").await.unwrap();
    catalog.claim(&worker, LEASE).await.unwrap().unwrap();
    assert!(catalog.put_back(&worker, &key(1), LEASE).await.unwrap());
    assert_eq!(catalog.backlog().await.unwrap(), Backlog { ready: 0, later: 1, at_work: 0 });
    assert_eq!(catalog.claim(&worker, LEASE).await.unwrap(), None);
    // Asked for again, it is due again.
    catalog.enqueue(&key(1), "").await.unwrap();
    assert_eq!(catalog.claim(&worker, LEASE).await.unwrap().unwrap().attempts, 1);
}

const JOBS: usize = 60;

/// Check that many who ask at once, on two handles, get each job once.
async fn jobs_shared(root: Site) {
    let handles = [root.create().await, root.open().await].map(Arc::new);
    for number in 0..JOBS {
        handles[0].catalog().enqueue(&key(number), "").await.unwrap();
    }
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (archive, worker) = (Arc::clone(&handles[task % 2]), Worker::new());
            tokio::spawn(async move {
                let mut taken = Vec::new();
                while let Some(job) = archive.catalog().claim(&worker, LEASE).await.unwrap() {
                    assert_eq!(job.attempts, 1);
                    taken.push(job.key);
                    tokio::task::yield_now().await;
                    assert!(archive.catalog().finish(&worker, taken.last().unwrap()).await.unwrap());
                }
                taken
            })
        })
        .collect();
    let mut taken = BTreeMap::new();
    for task in tasks {
        for key in task.await.unwrap() {
            *taken.entry(key).or_insert(0) += 1;
        }
    }
    assert_eq!(taken, (0..JOBS).map(|number| (key(number), 1)).collect());
    assert_eq!(handles[0].catalog().backlog().await.unwrap(), Backlog::default());
}

/// Check that the jobs of a process which was killed are free at once on its own machine, long before their leases end.
async fn jobs_of_dead_processes(root: Site) {
    if root.is_child() {
        let archive = root.open().await;
        let worker = Worker::new();
        archive.catalog().claim(&worker, LEASE).await.unwrap().unwrap();
        assert!(archive.catalog().claim_key(&worker, &key(2), "", LEASE).await.unwrap());
        println!("taken");
        std::thread::sleep(LEASE);
        return;
    }
    let archive = root.create().await;
    let (catalog, worker) = (archive.catalog(), Worker::new());
    catalog.enqueue(&key(1), "").await.unwrap();
    let mut child = root.child("jobs", "jobs_of_dead_processes").stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("taken")));
    assert_eq!(catalog.claim(&worker, LEASE).await.unwrap(), None);
    assert!(!catalog.claim_key(&worker, &key(2), "", LEASE).await.unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(catalog.claim_key(&worker, &key(2), "", LEASE).await.unwrap());
    let job = catalog.claim(&worker, LEASE).await.unwrap().unwrap();
    assert_eq!((job.key, job.attempts), (key(1), 2));
}
