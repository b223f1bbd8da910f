//! Snapshots: everything an archive knew at one moment, numbered and append-only, and `latest.json` that names the newest.
//!
//! `snapshots/000042.json.zst` is JSON in one zstd frame; `latest.json` is small plain JSON with the number and the
//! sha256 of that file as stored. Both are canonical: kernels in order of their keys, fields in one order, so the same
//! knowledge gives the same bytes. Readers pass over fields they do not know; `format` changes when they must not.
//! A later issue signs the stored bytes of both files; nothing here changes for that.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Digest, Error, KernelRecord, Key, Result, blob};

/// The path of `latest.json` in an archive.
pub const LATEST: &str = "latest.json";

/// The directory of snapshots in an archive.
pub const DIRECTORY: &str = "snapshots";

/// The format this crate writes, and the only one it reads.
pub const FORMAT: u32 = 1;

/// The most raw JSON bytes a snapshot may hold: 256 MiB, about 400,000 kernels.
pub const MAX_RAW: usize = 256 << 20;

/// The most bytes `latest.json` may have.
pub const MAX_LATEST: usize = 64 << 10;

/// Where a snapshot lies in an archive, relative to its root: `snapshots/000042.json.zst`.
pub fn path(number: u64) -> String {
    format!("{DIRECTORY}/{number:06}.json.zst")
}

/// The number that [`path`] made this path of.
pub fn number_of_path(path: &str) -> Option<u64> {
    let number = path.strip_prefix(DIRECTORY)?.strip_prefix('/')?.strip_suffix(".json.zst")?.parse().ok()?;
    (self::path(number) == path).then_some(number)
}

/// Everything an archive knew at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`FORMAT`].
    pub format: u32,
    /// Its number; the first is 1.
    pub number: u64,
    /// When it was made, in seconds since 1970 (UTC).
    pub created: u64,
    /// The snapshot it follows; none for the first.
    pub previous: Option<Link>,
    /// Every kernel, in order of the keys, none twice.
    pub kernels: Vec<KernelRecord>,
}

/// A snapshot, named by number and by the sha256 of its file as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number.
    pub number: u64,
    /// The sha256 of `snapshots/NNNNNN.json.zst`.
    pub digest: Digest,
}

/// `latest.json`: which snapshot is the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// [`FORMAT`].
    pub format: u32,
    /// The newest snapshot's number.
    pub number: u64,
    /// The sha256 of its file as stored.
    pub digest: Digest,
    /// The size of its file as stored, in bytes.
    pub size: u64,
    /// When it was made, in seconds since 1970 (UTC).
    pub created: u64,
}

impl Snapshot {
    /// A snapshot of these kernels, which it puts in order.
    pub fn new(created: u64, previous: Option<Link>, mut kernels: Vec<KernelRecord>) -> Self {
        kernels.sort_by(|a, b| a.key.cmp(&b.key));
        let number = previous.map_or(1, |link| link.number.saturating_add(1));
        Self { format: FORMAT, number, created, previous, kernels }
    }

    /// The bytes of its file, and the `latest.json` that names it.
    #[cfg(feature = "compress")]
    pub fn encode(&self) -> Result<(Vec<u8>, Latest)> {
        let json = serde_json::to_vec(self).map_err(|error| unfit("snapshot", error))?;
        // Written often, read soon: a fifth larger than at the highest levels, for a hundredth of their time.
        let zst = blob::encode(&json, 3);
        let latest = Latest {
            format: FORMAT,
            number: self.number,
            digest: Digest::of(&zst),
            size: zst.len() as u64,
            created: self.created,
        };
        Ok((zst, latest))
    }

    /// Reads a snapshot's file. The caller has checked its digest.
    ///
    /// # Errors
    /// Those of [`blob::decompress`]; [`Error::Snapshot`] for JSON that is none, an unknown format, or kernels that are
    /// out of order or named twice.
    pub fn decode(zst: &[u8]) -> Result<Self> {
        let json = blob::decompress(zst, MAX_RAW)?;
        let snapshot: Self = parse("snapshot", &json)?;
        let follows = snapshot.previous.map_or(0, |link| link.number);
        if follows.checked_add(1) != Some(snapshot.number) {
            return Err(unfit("snapshot", format!("number {} cannot follow {follows}", snapshot.number)));
        }
        if let Some(pair) = snapshot.kernels.windows(2).find(|pair| pair[0].key >= pair[1].key) {
            return Err(unfit("snapshot", format!("kernel {} is out of order or there twice", pair[1].key)));
        }
        Ok(snapshot)
    }

    /// The kernel of this key.
    pub fn kernel(&self, key: &Key) -> Option<&KernelRecord> {
        let at = self.kernels.binary_search_by(|kernel| kernel.key.cmp(key)).ok()?;
        self.kernels.get(at)
    }
}

impl Latest {
    /// The bytes of `latest.json`.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|error| unfit(LATEST, error))?;
        json.push(b'\n');
        Ok(json)
    }

    /// Reads `latest.json`.
    ///
    /// # Errors
    /// [`Error::Snapshot`] for JSON that is none, an unknown format, or more than 64 KiB.
    pub fn decode(json: &[u8]) -> Result<Self> {
        if json.len() > MAX_LATEST {
            return Err(unfit(LATEST, "larger than 64 KiB"));
        }
        parse(LATEST, json)
    }

    /// The snapshot it names.
    pub fn link(&self) -> Link {
        Link { number: self.number, digest: self.digest }
    }
}

/// Parses JSON of our format; JSON of another is called newer, not broken.
fn parse<T: DeserializeOwned>(what: &'static str, json: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let Head { format } = serde_json::from_slice(json).map_err(|error| unfit(what, error))?;
    if format != FORMAT {
        return Err(unfit(what, format!("format {format} is not the one this program reads, {FORMAT}")));
    }
    serde_json::from_slice(json).map_err(|error| unfit(what, error))
}

fn unfit(what: &'static str, reason: impl ToString) -> Error {
    Error::Snapshot { what, reason: reason.to_string() }
}

#[cfg(all(test, feature = "compress"))]
mod tests {
    use super::*;
    use crate::{Provenance, Source, Trust};

    fn kernel(key: &str) -> KernelRecord {
        KernelRecord {
            key: key.parse().unwrap(),
            build_id: None,
            digest: Digest::of(key.as_bytes()),
            raw_size: 3_600_000,
            zst_size: 980_000,
            base: None,
            config: None,
            modules: None,
            provenance: Provenance {
                package: None,
                package_version: None,
                url: None,
                sha256: None,
                trust: Trust::None,
                source: Source::Upload,
                generator: "btfgen 0.1.0".to_owned(),
            },
            added: 1_790_000_000,
        }
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

    /// Compresses a snapshot whose JSON was changed.
    fn changed(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
        let mut json = serde_json::to_value(two()).unwrap();
        change(&mut json);
        blob::encode(&serde_json::to_vec(&json).unwrap(), 3)
    }

    /// Check the JSON of a snapshot, field by field and in order: other programs read it.
    #[test]
    fn snapshot_json() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&two()).unwrap());
    }

    /// Check the JSON of `latest.json`.
    #[test]
    fn snapshot_latest_json() {
        let latest =
            Latest { format: FORMAT, number: 42, digest: Digest::of(b""), size: 7, created: 1_790_000_100 };
        let json = latest.encode().unwrap();
        assert_eq!(Latest::decode(&json).unwrap(), latest);
        insta::assert_snapshot!(String::from_utf8(json).unwrap());
    }

    /// Check that a snapshot comes back from its file, in order of the keys, and that `latest.json` names that file.
    #[test]
    fn snapshot_round_trip() {
        let (zst, latest) = two().encode().unwrap();
        latest.digest.check(&zst).unwrap();
        assert_eq!((latest.number, latest.size), (1, zst.len() as u64));
        let snapshot = Snapshot::decode(&zst).unwrap();
        assert_eq!(snapshot, two());
        assert_eq!(snapshot.kernels[0].key.distro(), "debian");
        assert_eq!(snapshot.kernel(&snapshot.kernels[1].key), Some(&snapshot.kernels[1]));
        assert_eq!(snapshot.kernel(&"debian/11/i386/5.10.0-36-686".parse().unwrap()), None);
        let next = Snapshot::new(0, Some(latest.link()), Vec::new());
        assert_eq!((next.number, next.previous), (2, Some(latest.link())));
    }

    /// Check that fields of later versions are passed over.
    #[test]
    fn snapshot_unknown_fields() {
        let zst = changed(|json| {
            json["modules"] = 1.into();
            json["kernels"][0]["colour"] = "x".into();
        });
        assert_eq!(Snapshot::decode(&zst).unwrap(), two());
    }

    /// Check that a snapshot which is none, or contradicts itself, is refused with the reason.
    #[test]
    fn snapshot_refuses() {
        for (zst, reason) in [
            (changed(|json| json["format"] = 2.into()), "format 2 is not the one"),
            (changed(|json| json["number"] = 2.into()), "number 2 cannot follow 0"),
            (changed(|json| json["number"] = 0.into()), "number 0 cannot follow 0"),
            (changed(|json| json["kernels"].as_array_mut().unwrap().reverse()), "out of order"),
            (changed(|json| json["kernels"][1] = json["kernels"][0].clone()), "there twice"),
            (changed(|json| json["kernels"][0]["key"] = "a/../b/c".into()), "kernel key: version"),
            (changed(|json| json["kernels"][0]["digest"] = "00".into()), "no sha256 digest"),
            (changed(|json| json["kernels"][0]["raw_size"] = (-1).into()), "invalid value"),
            (changed(|json| *json = "text".into()), "snapshot: "),
            (blob::encode(b"{", 3), "EOF"),
            (b"{}".to_vec(), "zstd"),
        ] {
            let refused = Snapshot::decode(&zst).unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}: not because {reason}");
        }
        assert!(
            Latest::decode(b"{\"format\": 2}").unwrap_err().to_string().contains("format 2 is not the one")
        );
        assert!(Latest::decode(&[b' '; MAX_LATEST + 1]).unwrap_err().to_string().contains("64 KiB"));
    }

    /// Check that a snapshot's path and number go both ways.
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
    }
}
