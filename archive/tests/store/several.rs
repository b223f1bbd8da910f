//! Several tasks, handles and processes on one archive: nothing is lost, nothing is done twice.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;

use btf_archive::store::{Added, Error};

use crate::{Site, btf, draft};

each!(several_tasks, several_opinions, several_processes);

const KERNELS: u32 = 20;

fn key(number: u32) -> String {
    format!("debian/11/i386/5.10.0-{number}-686-pae")
}

/// Check that tasks on two handles which add the same kernels at once add each once.
async fn several_tasks(root: Site) {
    let handles = [root.create().await, root.open().await].map(Arc::new);
    let tasks: Vec<_> = (0..4 * KERNELS)
        .map(|task| {
            let archive = Arc::clone(&handles[task as usize % 2]);
            let number = task / 2 % KERNELS;
            tokio::spawn(async move { archive.add(draft(&key(number)), btf(number)).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += u32::from(matches!(task.await.unwrap(), Added::New(_)));
    }
    assert_eq!(new, KERNELS);
    assert_eq!(handles[0].catalog().count().await.unwrap(), u64::from(KERNELS));
}

/// Check that of two tasks which offer different BTF for one key at once, exactly one is refused.
async fn several_opinions(root: Site) {
    let archive = Arc::new(root.create().await);
    for number in 0..KERNELS {
        let [one, other] = [2 * number, 2 * number + 1].map(|opinion| {
            let archive = Arc::clone(&archive);
            tokio::spawn(async move { archive.add(draft(&key(number)), btf(opinion)).await })
        });
        match (one.await.unwrap(), other.await.unwrap()) {
            (Ok(Added::New(_)), Err(Error::Conflict { .. }))
            | (Err(Error::Conflict { .. }), Ok(Added::New(_))) => {}
            both => panic!("{both:?}"),
        }
    }
}

/// Check that processes which make one archive and add and publish the same kernels at once add each once, and that
/// the snapshots follow one another and end with all of them.
async fn several_processes(root: Site) {
    if root.is_child() {
        return work(root).await;
    }
    let children: Vec<_> = (0..3)
        .map(|_| root.child("several", "several_processes").stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    let mut added = BTreeMap::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        for number in
            String::from_utf8(output.stdout).unwrap().lines().filter_map(|line| line.strip_prefix("added "))
        {
            *added.entry(number.parse::<u32>().unwrap()).or_insert(0) += 1;
        }
    }
    assert_eq!(added, (0..KERNELS).map(|number| (number, 1)).collect());

    let archive = root.open().await;
    let published = archive.publish().await.unwrap();
    assert!(!published.new, "the last of them has published everything");
    let mut previous = None;
    for number in 1..=published.latest.number {
        let snapshot = archive.snapshot(number).await.unwrap();
        assert_eq!(snapshot.previous.map(|link| link.number), previous);
        previous = Some(number);
        if number == published.latest.number {
            assert_eq!(snapshot.kernels.len(), KERNELS as usize);
        }
    }
}

async fn work(root: Site) {
    let archive = root.create().await;
    for number in 0..KERNELS {
        if let Added::New(_) = archive.add(draft(&key(number)), btf(number)).await.unwrap() {
            println!("added {number}");
        }
        if number.is_multiple_of(4) {
            archive.publish().await.unwrap();
        }
    }
    archive.publish().await.unwrap();
    archive.close().await;
}
