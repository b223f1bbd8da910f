//! `export`: the same bytes each time, in every layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf_archive::volume;
use btf_archive::{Digest, Form, ObjectPath};
use tempfile::TempDir;

use crate::harness::succeed;
use crate::upstream::Upstream;
use crate::{Original, btf_of, check_intact, json, keys, objects, texts};

const A: &str = "debian/11/x86_64/5.10.0-1-amd64";
const B: &str = "debian/12/i386/6.1.0-1-686-pae";
const C: &str = "ubuntu/18.04/x86_64/4.15.0-1-generic";

/// The files below a directory, by path.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Check that every layout has the same bytes each time, whoever writes it and when: original or mirror.
#[tokio::test]
async fn export_deterministic() {
    let original = Original::of(&[A, B, C]).await;
    let mirror = TempDir::new().unwrap();
    assert_eq!(json("mirror", mirror.path(), &["--from", original.path().to_str().unwrap()]).0, 0);
    let out = TempDir::new().unwrap();
    for layout in ["volumes", "oci", "btfhub", "static"] {
        let written: Vec<_> = [original.path(), mirror.path()]
            .iter()
            .enumerate()
            .map(|(number, archive)| {
                let path = out.path().join(format!("{layout}-{number}")).join("x.tar");
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                let output =
                    if layout == "volumes" { path.clone() } else { path.parent().unwrap().to_owned() };
                let (code, report, stderr) =
                    json("export", archive, &["--layout", layout, "-o", output.to_str().unwrap()]);
                assert_eq!((code, report["kernels"].as_u64(), stderr.as_str()), (0, Some(3), ""), "{layout}");
                let mut files = files(path.parent().unwrap());
                // What a copy says of itself is its own.
                files.remove(Path::new("mirror.json"));
                let sum: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
                assert!(report["bytes"].as_u64().unwrap() >= sum);
                files
            })
            .collect();
        assert!(written[0] == written[1], "{layout}");
        assert!(written[0].keys().all(|path| !path.to_str().unwrap().contains(".export-")), "{layout}");
    }
}

/// Check that volumes are no larger than allowed, that each is whole in itself, and that together they have everything.
#[tokio::test]
async fn export_volumes() {
    let many = keys("debian", 0..12);
    let original = Original::of(&texts(&many)).await;
    let out = TempDir::new().unwrap();
    let whole = out.path().join("whole.tar");
    let (code, report, _) = json("export", original.path(), &["-o", whole.to_str().unwrap()]);
    assert_eq!((code, report["files"].as_array().unwrap().len()), (0, 1));
    let size = report["bytes"].as_u64().unwrap();
    assert_eq!(size, whole.metadata().unwrap().len());

    let limit = size * 2 / 3;
    let path = out.path().join("split.tar");
    let (code, report, stderr) =
        json("export", original.path(), &["-o", path.to_str().unwrap(), "--max-size", &limit.to_string()]);
    let split: Vec<_> =
        report["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().to_owned()).collect();
    assert!(code == 0 && split.len() >= 2 && split[0].ends_with("split.001.tar"), "{split:?}: {stderr}");
    let mut together = BTreeMap::new();
    for file in &split {
        assert!(Path::new(file).metadata().unwrap().len() <= limit);
        let mut volume = volume::Reader::new(std::fs::File::open(file).unwrap()).unwrap();
        let mut here = BTreeMap::new();
        while let Some((entry, bytes)) = volume.object().unwrap() {
            if let ObjectPath::Blob(_, Form::Delta) = entry.path {
                let base = btf_archive::delta::Header::parse(&bytes).unwrap().base;
                let there = [Form::Whole, Form::Delta]
                    .iter()
                    .any(|form| here.contains_key(&ObjectPath::Blob(base, *form)));
                assert!(there, "{} comes before what it is made on", entry.path);
            }
            here.insert(entry.path, bytes);
        }
        assert!(
            here.contains_key(&ObjectPath::Latest) && here.contains_key(&ObjectPath::SnapshotSignature(1))
        );
        together.extend(here);
    }
    let together: BTreeMap<_, _> =
        together.iter().map(|(path, bytes)| (path.to_string().into(), Digest::of(bytes))).collect();
    assert_eq!(together, objects(original.path()));
    let deltas = together
        .keys()
        .filter(|path: &&PathBuf| path.extension().is_some_and(|extension| extension == "delta"));
    assert!(deltas.count() >= 8, "{:?}", together.keys());

    // A blob that was lost, and one that has rotted.
    let lost = original.path().join(ObjectPath::Blob(Digest::of(&btf_of(&many[0])), Form::Whole).to_string());
    let bytes = std::fs::read(&lost).unwrap();
    std::fs::remove_file(&lost).unwrap();
    let again = ["-o", whole.to_str().unwrap()];
    let (code, _, stderr) = json("export", original.path(), &again);
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("missing"), "{stderr}");
    std::fs::write(&lost, bytes).unwrap();

    let too_small = ["-o", path.to_str().unwrap(), "--max-size", "8K"];
    let (code, _, stderr) = json("export", original.path(), &too_small);
    assert_eq!(code, 1);
    assert!(stderr.contains("--max-size 8192") && stderr.contains("needs a volume of"), "{stderr}");
}

/// Check that the static layout is an archive with whole blobs only, which a plain web server makes a mirror of.
#[tokio::test]
async fn export_static() {
    let many = keys("debian", 0..6);
    let original = Original::of(&texts(&many)).await;
    let out = TempDir::new().unwrap();
    let directory = out.path().join("static");
    let arguments = ["--layout", "static", "-o", directory.to_str().unwrap()];
    assert_eq!(json("export", original.path(), &arguments).0, 0);
    let written = objects(&directory);
    assert!(written.keys().all(|path| path.extension().is_none_or(|extension| extension != "delta")));
    for key in &many {
        let raw = btf_of(key);
        let path = ObjectPath::Blob(Digest::of(&raw), Form::Whole).to_string();
        let unpacked =
            btf_archive::blob::decompress(&std::fs::read(directory.join(path)).unwrap(), 1 << 20).unwrap();
        assert!(unpacked == raw);
    }
    check_intact(&directory);
    // Again, with one more kernel: only what is new is written.
    original.grow(&[C]).await;
    let (code, report, stderr) = json("export", original.path(), &arguments);
    assert_eq!(code, 0, "{stderr}");
    assert!(report["bytes"].as_u64().unwrap() < 40_000, "{report}");
    let upstream = Upstream::over(&directory);
    let mirror = TempDir::new().unwrap();
    let (code, _, stderr) =
        json("mirror", mirror.path(), &["--from", &upstream.url, "--root-key", &original.root()]);
    assert_eq!(code, 0, "{stderr}");
    check_intact(mirror.path());

    let occupied = out.path().join("occupied");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("x"), "x").unwrap();
    for layout in ["static", "oci"] {
        let (code, _, stderr) =
            json("export", original.path(), &["--layout", layout, "-o", occupied.to_str().unwrap()]);
        assert_eq!(code, 1);
        assert!(stderr.contains("not empty"), "{stderr}");
    }
    assert_eq!(files(&occupied).len(), 1);
}

/// Check that BTFHub's layout has the paths that its consumers ask for, and that GNU tar and xz find the BTF in it.
#[tokio::test]
async fn export_btfhub() {
    let original = Original::of(&[A, B, C]).await;
    let out = TempDir::new().unwrap();
    let arguments = ["--layout", "btfhub", "-o", out.path().to_str().unwrap(), "--select", "distro=debian"];
    assert_eq!(json("export", original.path(), &arguments).0, 0);
    let written: Vec<_> = files(out.path()).into_keys().collect();
    let paths =
        ["debian/12/i386/6.1.0-1-686-pae.btf.tar.xz", "debian/bullseye/x86_64/5.10.0-1-amd64.btf.tar.xz"];
    assert_eq!(written, paths.map(PathBuf::from));
    let btf =
        succeed(Command::new("tar").arg("-xJOf").arg(out.path().join(paths[1])).arg("5.10.0-1-amd64.btf"));
    assert!(btf == btf_of(A));
}
