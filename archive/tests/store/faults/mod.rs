//! Faults at every step: a store that fails, a process that dies, a disk that is full, a connection that is lost. Whatever happens, the newest
//! snapshot is whole, no torn object is visible, and doing the same again completes it, once.

mod connection;
mod disk;
mod store;

use btf_archive::store::{Archive, Beside, Filter, Pace, Result, Retention};
use btf_archive::{Digest, Key};

use crate::{btf, draft};

const FIRST: &str = "debian/11/i386/5.10.0-34-686-pae";
const SECOND: &str = "debian/11/i386/5.10.0-35-686-pae";
const CONFIG: &str = "CONFIG_BPF=y\n";

/// What is there before anything goes wrong.
async fn prepare(archive: &Archive) -> Result<()> {
    archive.add(draft(FIRST), btf(1)).await?;
    archive.publish().await?;
    Ok(())
}

/// Everything that changes an archive, in one go. To be done again after a fault.
async fn work(archive: &Archive) -> Result<()> {
    let beside = Beside { config: Some(CONFIG.into()), modules: None };
    archive.add_with(draft(SECOND), btf(2), beside).await?;
    archive.publish().await?;
    archive.replace(draft(FIRST), btf(3), "made again").await?;
    archive.publish().await?;
    let retention = Retention { snapshots: Some(1), grace: std::time::Duration::ZERO };
    archive.collect_garbage(retention, |_, _| ()).await?;
    Ok(())
}

/// Checks that an archive is whole, however far its work went.
async fn check_whole(archive: &Archive) {
    let latest = archive.latest().await.unwrap().unwrap();
    let snapshot = archive.snapshot(latest.number).await.unwrap();
    let first: Key = FIRST.parse().unwrap();
    assert!(snapshot.kernel(&first).is_some(), "{snapshot:?}");
    let damage = archive.scrub(Pace { rate: None, parallel: 1 }, |_| ()).await.unwrap();
    assert_eq!(damage, []);
}

/// Checks that all of the work is done, once.
async fn check_done(archive: &Archive) {
    check_whole(archive).await;
    let latest = archive.latest().await.unwrap().unwrap();
    assert_eq!(latest.number, 3, "no snapshot is left out or made twice");
    let kernels = archive.snapshot(3).await.unwrap().kernels;
    let digests: Vec<_> = kernels.iter().map(|kernel| kernel.digest).collect();
    assert_eq!(digests, [3, 2].map(|number| Digest::of(&btf(number))));
    assert_eq!(kernels[1].config, Some(Digest::of(CONFIG.as_bytes())));
    assert_eq!(archive.catalog().list(&Filter::default(), None, 10).await.unwrap().kernels, kernels);
    assert!(!archive.publish().await.unwrap().new);
    assert!(archive.blob(&Digest::of(&btf(1))).await.is_err(), "nobody needs it");
}
