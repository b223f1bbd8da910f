//! Copies in buckets, with their catalogs beside: a real S3 server is one end.

use std::process::Output;

use tempfile::TempDir;

use crate::harness::{program, run};
use crate::s3_server::{Bucket, bucket};
use crate::{Original, json, keys, objects, texts};

/// Runs a command on the archive in a bucket.
fn on(bucket: &Bucket, command: &str, folder: &TempDir, arguments: &[&str]) -> Output {
    let mut program = program();
    program.args([command, "--json", "--archive", &bucket.url(), "--catalog"]);
    program.arg(folder.path().join("catalog.sqlite")).args(arguments);
    program.env_remove("BTF_ARCHIVE_KEYS").env("NO_PROXY", "*").envs(bucket.environment());
    run(&mut program)
}

/// Check that a bucket can be a mirror, the source of an export, and where an import goes.
#[tokio::test]
async fn bucket_both_ways() {
    let many = keys("debian", 0..4);
    let original = Original::of(&texts(&many)).await;
    let folder = TempDir::new().unwrap();
    let (mirror, root) = (bucket(), original.root());
    let partial = folder.path().join("partial");
    let from = original.path().to_str().unwrap();
    let arguments = ["--from", from, "--root-key", &root, "--partial", partial.to_str().unwrap()];
    for new in [true, false] {
        let output = on(&mirror, "mirror", &folder, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["new"], new);
    }
    assert_eq!(objects(mirror.directory()), objects(original.path()));

    let file = folder.path().join("export.tar");
    let output = on(&mirror, "export", &folder, &["-o", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let (imported, folder) = (bucket(), TempDir::new().unwrap());
    let arguments = ["--root-key", &root, file.to_str().unwrap()];
    let output = on(&imported, "import", &folder, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(objects(imported.directory()), objects(original.path()));
    // What lies in the bucket is an archive like any other.
    let copy = TempDir::new().unwrap();
    let from = imported.directory().to_str().unwrap().to_owned();
    assert_eq!(json("mirror", copy.path(), &["--from", &from, "--root-key", &root]).0, 0);
}
