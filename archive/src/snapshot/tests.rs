//! What snapshots promise: round trips, canonical bytes, parts that stay as they are, and refusals with a reason.

use super::*;
use crate::{Provenance, Source, Trust, blob};

fn kernel(key: &str) -> KernelRecord {
    let json = serde_json::json!({
        "key": key,
        "digest": Digest::of(key.as_bytes()),
        "raw_size": 3_600_000,
        "zst_size": 980_000,
        "provenance": { "trust": Trust::None, "source": Source::Upload, "generator": "btfgen 0.1.0" },
        "added": 1_790_000_000,
    });
    serde_json::from_value(json).unwrap()
}

fn two() -> Snapshot {
    let mut full = kernel("debian/11/i386/5.10.0-35-686-pae");
    full.build_id = Some("c0ffee0123456789abcdef0123456789abcdef00".parse().unwrap());
    full.provenance = Provenance {
        package: Some("linux-image-5.10.0-35-686-pae-dbg".to_owned()),
        package_version: Some("5.10.237-1".to_owned()),
        url: Some("https://mirror.example/pool/linux.deb".to_owned()),
        sha256: Some(Digest::of(b"package")),
        trust: Trust::SignedPackage,
        source: Source::Dwarf,
        generator: "btfgen 0.1.0".to_owned(),
    };
    Snapshot::new(1_790_000_100, None, vec![kernel("ubuntu/18.04/arm64/4.15.0-1030-aws"), full])
}

/// A snapshot of these numbers of kernels.
fn numbered(numbers: impl IntoIterator<Item = u32>) -> Snapshot {
    let kernels = numbers.into_iter().map(|number| kernel(&format!("debian/11/i386/5.10.{number:05}-686")));
    Snapshot::new(7, None, kernels.collect())
}

fn index(encoded: &Encoded) -> Index {
    match Head::decode(&encoded.index).unwrap() {
        Head::Index(index) => index,
        Head::Whole(_) => panic!("format 1"),
    }
}

/// What comes back from the files of a snapshot without one before it.
fn read(encoded: &Encoded) -> Result<Snapshot> {
    let index = index(encoded);
    let mut assembly = index.assemble();
    for (_, zst) in &encoded.parts {
        assembly.add(zst)?;
    }
    assembly.finish()
}

fn json(zst: &[u8]) -> serde_json::Value {
    serde_json::from_slice(&blob::decompress(zst, MAX_RAW).unwrap()).unwrap()
}

/// Changes the JSON in a file.
fn changed(zst: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut json = json(zst);
    change(&mut json);
    blob::encode(&serde_json::to_vec(&json).unwrap(), 3)
}

/// The file of [`two`] in format 1.
fn format_1() -> Vec<u8> {
    let Snapshot { number, created, previous, kernels } = two();
    let json = serde_json::json!({
        "format": 1, "number": number, "created": created, "previous": previous, "kernels": kernels,
    });
    blob::encode(&serde_json::to_vec(&json).unwrap(), 3)
}

/// Check the JSON of an index and of a part, field by field and in order: other programs read them.
#[test]
fn snapshot_json() {
    let encoded = two().encode(None).unwrap();
    let text = |zst: &[u8]| String::from_utf8(blob::decompress(zst, MAX_RAW).unwrap()).unwrap();
    // Whatever zstd's version makes of the part.
    let index = changed(&encoded.index, |json| {
        json["parts"][0]["digest"] = Digest::of(b"").to_string().into();
        json["parts"][0]["size"] = 437.into();
    });
    insta::assert_snapshot!("index", serde_json::to_string_pretty(&json(&index)).unwrap());
    insta::assert_snapshot!("part", serde_json::to_string_pretty(&json(&encoded.parts[0].1)).unwrap());
    assert!(
        text(&encoded.index).starts_with(r#"{"format":2,"number":1,"created":1790000100,"previous":null,"#)
    );
    assert!(text(&encoded.parts[0].1).starts_with(r#"{"format":2,"kernels":[{"key":"debian/11/"#));
}

/// Check the JSON of `latest.json`.
#[test]
fn snapshot_latest_json() {
    let latest = Latest::of(42, 1_790_000_100, b"");
    let json = latest.encode().unwrap();
    assert_eq!(Latest::decode(&json).unwrap(), latest);
    insta::assert_snapshot!(String::from_utf8(json).unwrap());
}

/// Check that a snapshot comes back from its files, in order of the keys, and that `latest.json` names the index.
#[test]
fn snapshot_round_trip() {
    for snapshot in [two(), numbered(0..3000), numbered([])] {
        let encoded = snapshot.encode(None).unwrap();
        encoded.latest.digest.check(&encoded.index).unwrap();
        assert_eq!((encoded.latest.number, encoded.latest.size), (1, encoded.index.len() as u64));
        assert_eq!(read(&encoded).unwrap(), snapshot);
        let mut backwards = snapshot.clone();
        backwards.kernels.reverse();
        let Snapshot { created, previous, kernels, .. } = backwards;
        assert_eq!(Snapshot::new(created, previous, kernels).encode(None).unwrap(), encoded, "canonical");
    }
    let two = two();
    assert_eq!(two.kernel(&two.kernels[1].key), Some(&two.kernels[1]));
    assert_eq!(two.kernel(&"debian/11/i386/5.10.0-36-686".parse().unwrap()), None);
    let latest = two.encode(None).unwrap().latest;
    let next = Snapshot::new(0, Some(latest.link()), Vec::new());
    assert_eq!((next.number, next.previous), (2, Some(latest.link())));
}

/// Check that the part that the index tells for a key is the one that has it.
#[test]
fn snapshot_one_kernel() {
    let encoded = numbered((0..3000).map(|n| 2 * n + 1)).encode(None).unwrap();
    let index = index(&encoded);
    for number in (0..6000).step_by(37) {
        let key = format!("debian/11/i386/5.10.{number:05}-686").parse().unwrap();
        let found = index.part_of(&key).and_then(|place| {
            let kernels = index.read_part(place, &encoded.parts[place].1).unwrap();
            kernels.into_iter().find(|kernel| kernel.key == key)
        });
        assert_eq!(found.is_some(), number % 2 == 1, "{key}");
    }
    assert_eq!(index.part_of(&"alpine/3/x86_64/6".parse().unwrap()), None);
    assert_eq!(index.part_of(&"zzz/3/x86_64/6".parse().unwrap()), Some(index.parts.len() - 1));
}

/// Check that parts have about 64 kernels, and never more than 512 though no key asks for an end.
#[test]
fn snapshot_part_sizes() {
    let encoded = numbered(0..5000).encode(None).unwrap();
    assert!((55..110).contains(&encoded.parts.len()), "{}", encoded.parts.len());
    let endless: Vec<_> = (0..1300_u32)
        .map(|number| format!("debian/11/i386/5.10.{number:05}-686"))
        .filter(|key| Digest::of(key.as_bytes()).as_bytes()[0] >> 2 != 0)
        .map(|key| kernel(&key))
        .collect();
    let sizes = Snapshot::new(7, None, endless[..1200].to_vec()).encode(None).unwrap();
    let sizes: Vec<_> = sizes.parts.iter().map(|(part, _)| part.kernels).collect();
    assert_eq!(sizes, [512, 512, 176]);
    let mut long = kernel("debian/11/i386/5.10.0");
    long.provenance.url = Some("x".repeat(600 << 10));
    let mut longer = long.clone();
    longer.key = "debian/11/i386/5.10.1".parse().unwrap();
    let encoded = Snapshot::new(7, None, vec![long.clone(), longer]).encode(None).unwrap();
    assert_eq!(encoded.parts.len(), 2, "by their bytes");
    long.provenance.url = Some("x".repeat(1 << 20));
    assert!(Snapshot::new(7, None, vec![long]).encode(None).is_err());
}

/// Check that a kernel that comes, changes or goes changes the part it is in (two where it began or ends one), and that
/// a snapshot made from scratch is byte for byte the one made after another.
#[test]
fn snapshot_shares_parts() {
    let before = numbered((0..2000).map(|number| 2 * number));
    let first = before.encode(None).unwrap();
    let first_index = index(&first);
    let mut most = 0;
    for number in (0..4000).step_by(501) {
        let mut numbers: Vec<u32> = (0..2000).map(|number| 2 * number).collect();
        match numbers.binary_search(&number) {
            Ok(at) => drop(numbers.remove(at)),
            Err(at) => numbers.insert(at, number),
        }
        let after = numbered(numbers);
        let second = after.encode(Some((&first_index, &before))).unwrap();
        assert!((1..=2).contains(&second.parts.len()), "{number}: {}", second.parts.len());
        let scratch = after.encode(None).unwrap();
        assert_eq!(second.index, scratch.index);
        assert!(second.parts.iter().all(|part| scratch.parts.contains(part)));
        most = most.max(second.index.len() + second.parts.iter().map(|(_, zst)| zst.len()).sum::<usize>());
    }
    assert!(most < 40_000, "{most} bytes for one kernel");
    let mut other = before.clone();
    other.kernels[77].raw_size += 1;
    assert_eq!(other.encode(Some((&first_index, &before))).unwrap().parts.len(), 1);
    assert_eq!(before.encode(Some((&first_index, &before))).unwrap().parts, []);
}

/// Check that format 1 is still read, to the same knowledge.
#[test]
fn snapshot_format_1() {
    assert_eq!(Head::decode(&format_1()).unwrap(), Head::Whole(two()));
    assert_eq!(Snapshot::decode(&format_1()).unwrap(), two());
    assert!(Snapshot::decode(&two().encode(None).unwrap().index).is_err());
}

/// Check that fields of later versions are passed over.
#[test]
fn snapshot_unknown_fields() {
    let old = changed(&format_1(), |json| {
        json["modules"] = 1.into();
        json["kernels"][0]["colour"] = "x".into();
    });
    assert_eq!(Snapshot::decode(&old).unwrap(), two());
    let encoded = two().encode(None).unwrap();
    let new = changed(&encoded.index, |json| {
        json["modules"] = 1.into();
        json["parts"][0]["colour"] = "x".into();
    });
    assert_eq!(Head::decode(&new).unwrap(), Head::Index(index(&encoded)));
}

/// Check that a file which is no snapshot, or contradicts itself, is refused with the reason.
#[test]
fn snapshot_refuses() {
    let many = numbered(0..400).encode(None).unwrap();
    let whole = |change: &dyn Fn(&mut serde_json::Value)| changed(&format_1(), change);
    let parts = |change: &dyn Fn(&mut serde_json::Value)| changed(&many.index, change);
    for (zst, reason) in [
        (whole(&|json| json["format"] = 3.into()), "format 3 is none that this program reads"),
        (whole(&|json| json["number"] = 2.into()), "number 2 cannot follow 0"),
        (whole(&|json| json["number"] = 0.into()), "number 0 cannot follow 0"),
        (whole(&|json| json["kernels"].as_array_mut().unwrap().reverse()), "out of order"),
        (whole(&|json| json["kernels"][1] = json["kernels"][0].clone()), "there twice"),
        (whole(&|json| json["kernels"][0]["key"] = "a/../b/c".into()), "kernel key: version"),
        (whole(&|json| json["kernels"][0]["digest"] = "00".into()), "no sha256 digest"),
        (whole(&|json| json["kernels"][0]["raw_size"] = (-1).into()), "invalid value"),
        (whole(&|json| *json = "text".into()), "snapshot: "),
        (parts(&|json| json["format"] = 1.into()), "invalid type"),
        (parts(&|json| json["number"] = u64::MAX.into()), "cannot follow 0"),
        (parts(&|json| json["parts"].as_array_mut().unwrap().reverse()), "out of order"),
        (parts(&|json| json["parts"][1] = json["parts"][0].clone()), "there twice"),
        (parts(&|json| json["kernels"] = 399.into()), "it says 399"),
        (parts(&|json| json["parts"][0]["kernels"] = 0.into()), "has 0 kernels"),
        (parts(&|json| json["parts"][0]["kernels"] = u64::MAX.into()), "has 18446744073709551615 kernels"),
        (parts(&|json| json["parts"][0]["size"] = u64::MAX.into()), "has 18446744073709551615 bytes"),
        (parts(&|json| json["parts"][0]["digest"] = "".into()), "no sha256 digest"),
        (blob::encode(b"{", 3), "EOF"),
        (b"{}".to_vec(), "zstd"),
    ] {
        let refused = Head::decode(&zst).unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}: not because {reason}");
    }
    assert!(Latest::decode(b"{\"format\": 2}").unwrap_err().to_string().contains("format 2 is none"));
    assert!(Latest::decode(&[b' '; MAX_LATEST + 1]).unwrap_err().to_string().contains("64 KiB"));
}

/// Check that a part which is not the one that the index names, or does not hold what it says, is refused; and that
/// parts are refused in another order, twice, or not all of them.
#[test]
fn snapshot_refuses_parts() {
    let encoded = numbered(0..400).encode(None).unwrap();
    let index = index(&encoded);
    let (count, zst) = (index.parts.len(), |place: usize| &encoded.parts[place].1[..]);
    assert!(count > 2);
    for place in 0..count {
        for other in 0..count {
            assert_eq!(index.read_part(place, zst(other)).is_ok(), place == other);
        }
    }
    assert!(index.read_part(count, zst(0)).is_err());
    for len in 0..zst(0).len() {
        assert!(index.read_part(0, &zst(0)[..len]).is_err(), "{len}");
        let mut bytes = zst(0).to_vec();
        bytes[len] ^= 1;
        assert!(matches!(index.read_part(0, &bytes), Err(Error::DigestMismatch { .. })), "{len}");
    }
    let mut some = index.assemble();
    some.add(zst(0)).unwrap();
    assert!(some.add(zst(0)).is_err());
    assert!(some.finish().unwrap_err().to_string().contains("lacking"));

    // With digests that fit what was changed.
    let with = |file: Vec<u8>, change: &dyn Fn(&mut PartRef)| {
        let mut index = index.clone();
        index.parts[0].digest = Digest::of(&file);
        index.parts[0].size = file.len() as u64;
        change(&mut index.parts[0]);
        index.read_part(0, &file).unwrap_err().to_string()
    };
    let change = |change: &dyn Fn(&mut serde_json::Value)| with(changed(zst(0), change), &|_| {});
    assert!(change(&|json| json["format"] = 3.into()).contains("format 3"));
    assert!(change(&|json| drop(json["kernels"].as_array_mut().unwrap().pop())).contains("is not the"));
    assert!(change(&|json| json["kernels"].as_array_mut().unwrap()[1..].reverse()).contains("out of order"));
    assert!(change(&|json| json["kernels"][0]["key"] = "a/1/b/c".into()).contains("is not the"));
    let beyond = change(&|json| {
        json["kernels"].as_array_mut().unwrap().last_mut().unwrap()["key"] = "zzz/1/b/c".into();
    });
    assert!(beyond.contains("belongs into the part after it"), "{beyond}");
    let bomb = blob::encode(&vec![b' '; part::MAX_RAW + 1], 3);
    assert!(bomb.len() < 10_000);
    assert!(with(bomb, &|_| {}).contains("decompresses to more"));
    assert!(with(zst(0).to_vec(), &|part| part.size += 1).contains("its index says"));
}

/// Check that paths of snapshots and parts go both ways.
#[test]
fn snapshot_path() {
    for (number, name) in [(1, "000001"), (42, "000042"), (1_234_567, "1234567")] {
        assert_eq!(path(number), format!("snapshots/{name}.json.zst"));
        assert_eq!(number_of_path(&path(number)), Some(number));
    }
    for other in
        ["snapshots/42.json.zst", "snapshots/000042.json", "000042.json.zst", "snapshots/+00042.json.zst"]
    {
        assert_eq!(number_of_path(other), None, "{other}");
    }
    let digest = Digest::of(b"abc");
    let path = part::path(&digest);
    assert_eq!(path, format!("snapshots/parts/ba/{digest}.json.zst"));
    assert_eq!(part::digest_of_path(&path), Some(digest));
    for other in
        [format!("snapshots/parts/bb/{digest}.json.zst"), format!("{digest}.json.zst"), path.to_uppercase()]
    {
        assert_eq!(part::digest_of_path(&other), None, "{other}");
    }
}
