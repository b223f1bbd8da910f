//! Exports as OCI image layouts, with `skopeo` as the judge.

use std::process::Command;

use tempfile::TempDir;

use crate::harness::succeed;
use crate::{Original, check_intact, json, keys, newest, objects, texts};

fn skopeo(arguments: &[&str]) -> Vec<u8> {
    succeed(Command::new("skopeo").arg("--insecure-policy").args(arguments))
}

/// Check that skopeo copies such a layout, with several layers, and that what it copied can be imported.
#[tokio::test]
async fn oci_through_skopeo() {
    let many = keys("debian", 0..12);
    let original = Original::of(&texts(&many)).await;
    let out = TempDir::new().unwrap();
    let layout = out.path().join("layout");
    let whole = json("export", original.path(), &["--layout", "oci", "-o", layout.to_str().unwrap()]);
    let limit = (whole.1["bytes"].as_u64().unwrap() * 2 / 3).to_string();
    let arguments = ["--layout", "oci", "-o", layout.to_str().unwrap(), "--max-size", &limit];
    let (code, _, stderr) = json("export", original.path(), &arguments);
    assert_eq!(code, 0, "{stderr}");

    let inspected = skopeo(&["inspect", "--raw", &format!("oci:{}:latest", layout.display())]);
    let manifest: serde_json::Value = serde_json::from_slice(&inspected).unwrap();
    assert!(manifest["layers"].as_array().unwrap().len() >= 2, "{manifest}");
    let copy = out.path().join("copy");
    skopeo(&["copy", &format!("oci:{}:1", layout.display()), &format!("oci:{}:mine", copy.display())]);

    for (place, from) in [("a", &layout), ("b", &copy)] {
        let archive = out.path().join(place);
        let (code, report, stderr) =
            json("import", &archive, &["--root-key", &original.root(), from.to_str().unwrap()]);
        assert_eq!((code, report["complete"].as_bool()), (0, Some(true)), "{stderr}");
        assert_eq!(newest(&archive), Some(1));
        check_intact(&archive);
        let expected = objects(original.path());
        assert!(objects(&archive) == expected);
    }
}

/// Check that layouts that are something else, or spoilt, are refused, and that none leads out of its directory.
#[tokio::test]
async fn oci_refused() {
    let original = Original::of(&["debian/11/x86_64/5.10.0-1-amd64"]).await;
    let out = TempDir::new().unwrap();
    let layout = out.path().join("layout");
    assert_eq!(json("export", original.path(), &["--layout", "oci", "-o", layout.to_str().unwrap()]).0, 0);
    let index = layout.join("index.json");
    let good = std::fs::read_to_string(&index).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&good).unwrap();
    let digest = parsed["manifests"][0]["digest"].as_str().unwrap();
    let archive = out.path().join("archive");
    for bad in [
        good.replace(digest, "sha256:../../../../etc/passwd"),
        good.replace(digest, "sha512:00"),
        good.replace("manifests", "others"),
        good.replace("\"latest\"", "\"x\""),
        "{".to_owned(),
    ] {
        std::fs::write(&index, &bad).unwrap();
        let (code, _, stderr) =
            json("import", &archive, &["--root-key", &original.root(), layout.to_str().unwrap()]);
        assert_eq!((code, newest(&archive)), (1, None), "{bad}: {stderr}");
    }
    std::fs::write(&index, good).unwrap();
    for entry in std::fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // The configuration is for people; nothing depends on it.
        if bytes.starts_with(b"{\"created\"") {
            continue;
        }
        let mut bad = bytes.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let (code, _, stderr) =
            json("import", &archive, &["--root-key", &original.root(), layout.to_str().unwrap()]);
        assert!(code == 1 || code == 4, "{code} {stderr}");
        assert_eq!(newest(&archive), None);
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(json("import", &archive, &["--root-key", &original.root(), layout.to_str().unwrap()]).0, 0);
}
