//! A disk that is full.
//!
//! Where the test may mount (as root) that is a small file system of its own, otherwise a limit on the size of each file.

use std::path::Path;
use std::process::{Command, Output};

use btf_archive::store::{Archive, Beside, Result};
use btf_archive::{Digest, Key};

use super::{check_whole, prepare};
use crate::{CHILD, Site, btf, draft};

const KERNELS: u32 = 12;

/// A configuration that does not get smaller by compression.
fn config(number: u32) -> Vec<u8> {
    let mut state = u64::from(number) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..4000 * (number as usize % 4)).map(|_| next()).collect()
}

fn key(number: u32) -> Key {
    format!("debian/11/i386/5.10.0-{}-686-pae", 100 + number).parse().unwrap()
}

async fn fill(archive: &Archive) -> Result<()> {
    for number in 0..KERNELS {
        let beside = Beside { config: Some(config(number).into()), modules: None };
        archive.add_with(draft(&key(number).to_string()), btf(10 + number), beside).await?;
        archive.publish().await?;
    }
    Ok(())
}

/// Runs the child that fills the archive, below a limit in KiB.
fn child(root: &Path, limit: u32, as_root: bool) -> Output {
    // A limit on files is felt as an error only if its signal is ignored.
    let script = if as_root {
        r#"mkdir "$1.disk" && mount -t tmpfs -o size="$2"k none "$1.disk" && cp -r "$1/." "$1.disk/" || exit 77
           export BTF_ARCHIVE_TEST_ROOT="$1.disk"; shift 2; "$@"; code=$?
           rm -rf "${BTF_ARCHIVE_TEST_ROOT%.disk}"/* && cp -r "$BTF_ARCHIVE_TEST_ROOT/." "${BTF_ARCHIVE_TEST_ROOT%.disk}/"; exit $code"#
    } else {
        r#"trap '' XFSZ; ulimit -f $(( $2 * 2 )); export BTF_ARCHIVE_TEST_ROOT="$1"; shift 2; exec "$@""#
    };
    let mut command = Command::new(if as_root { "unshare" } else { "sh" });
    if as_root {
        command.args(["-m", "sh"]);
    }
    command.args(["-c", script, "sh"]).arg(root).arg(limit.to_string());
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "faults::disk::faults_full_disk", "--nocapture"]).output().unwrap()
}

/// Check that an archive on a disk which fills up stays whole up to what was reported, and goes on when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn faults_full_disk() {
    if let Some(root) = std::env::var_os(CHILD) {
        let archive = Archive::open(root).await;
        let done = match &archive {
            Ok(archive) => fill(archive).await,
            Err(error) => panic!("cannot open: {error}"),
        };
        println!("{done:?}");
        return done.unwrap();
    }
    let may_mount = ["-m", "mount", "-t", "tmpfs", "none", "/mnt"];
    let as_root = Command::new("unshare").args(may_mount).output().unwrap().status.success();
    // The catalog alone has some 160 KiB, and its log at first nothing.
    let limits: &[u32] =
        if as_root { &[400, 600, 800, 1000, 1300, 1600, 4000] } else { &[8, 48, 96, 130, 170, 250, 4000] };
    let mut failed = 0;
    for limit in limits {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("archive");
        let site = Site::at(&root);
        let archive = site.create().await;
        prepare(&archive).await.unwrap();
        archive.close().await;
        let output = child(&root, *limit, as_root);
        assert_ne!(output.status.code(), Some(77), "{output:?}");
        failed += u32::from(!output.status.success());

        let archive = site.open().await;
        check_whole(&archive).await;
        fill(&archive).await.unwrap();
        check_whole(&archive).await;
        for number in 0..KERNELS {
            let kernel = archive.catalog().by_key(&key(number)).await.unwrap().unwrap();
            assert_eq!(kernel.config, Some(Digest::of(&config(number))));
        }
        assert!(!archive.publish().await.unwrap().new);
        assert!(output.status.success() || *limit < 4000, "{limit}: {output:?}");
    }
    assert!(failed >= 3, "{failed} of {} were too small", limits.len());
}
