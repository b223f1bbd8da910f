//! The names of the objects in an archive: each has one path, and nothing else is an object.
//!
//! Whoever takes objects from elsewhere (a mirror, an import) takes them by these names only, so no name can lead out of the archive or at another
//! file than it says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::excerpt;
use crate::snapshot::{self, part};
use crate::{Digest, Error, blob};

/// What a signature's path ends in.
const SIGNATURE: &str = ".minisig";
/// The most bytes a signature may have, and a list of keys.
const MAX_SIGNATURE: u64 = 4 << 10;
const MAX_KEYS: u64 = 256 << 10;

/// An object of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectPath {
    /// `latest.json`
    Latest,
    /// `latest.json.minisig`
    LatestSignature,
    /// `keys.json`
    Keys,
    /// `keys.json.minisig`
    KeysSignature,
    /// `keys/000003.json.minisig`: the signature of the list of that version.
    KeysVersionSignature(u64),
    /// `snapshots/000042.json.zst`
    Snapshot(u64),
    /// `snapshots/000042.json.zst.minisig`
    SnapshotSignature(u64),
    /// `snapshots/parts/ab/abcd….json.zst`
    Part(Digest),
    /// `blobs/sha256/ab/abcd….zst`, or `….delta`
    Blob(Digest, Form),
}

/// How a blob is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Whole, as one zstd frame.
    Whole,
    /// As what differs from another blob.
    Delta,
}

impl ObjectPath {
    /// The most bytes such an object may have.
    pub fn max_size(&self) -> u64 {
        match self {
            Self::Latest => snapshot::MAX_LATEST as u64,
            Self::Keys => MAX_KEYS,
            Self::LatestSignature
            | Self::KeysSignature
            | Self::KeysVersionSignature(_)
            | Self::SnapshotSignature(_) => MAX_SIGNATURE,
            Self::Snapshot(_) => snapshot::MAX_RAW as u64,
            Self::Part(_) => part::MAX_ZST,
            Self::Blob(..) => blob::MAX_ZST,
        }
    }

    /// A blob's digest, if it is one.
    pub fn blob(&self) -> Option<Digest> {
        match self {
            Self::Blob(digest, _) => Some(*digest),
            _ => None,
        }
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str(snapshot::LATEST),
            Self::LatestSignature => write!(f, "{}{SIGNATURE}", snapshot::LATEST),
            Self::Keys => f.write_str("keys.json"),
            Self::KeysSignature => write!(f, "keys.json{SIGNATURE}"),
            Self::KeysVersionSignature(version) => write!(f, "keys/{version:06}.json{SIGNATURE}"),
            Self::Snapshot(number) => f.write_str(&snapshot::path(*number)),
            Self::SnapshotSignature(number) => write!(f, "{}{SIGNATURE}", snapshot::path(*number)),
            Self::Part(digest) => f.write_str(&part::path(digest)),
            Self::Blob(digest, Form::Whole) => f.write_str(&blob::path(digest)),
            Self::Blob(digest, Form::Delta) => f.write_str(&blob::delta_path(digest)),
        }
    }
}

impl FromStr for ObjectPath {
    type Err = Error;

    /// Takes exactly what [`ObjectPath`] displays.
    fn from_str(text: &str) -> Result<Self, Error> {
        let stem = |suffix| text.rsplit_once('/').map_or(text, |(_, name)| name).strip_suffix(suffix);
        let digest = |suffix| stem(suffix).and_then(|hex| hex.parse::<Digest>().ok());
        let number = |suffix| stem(suffix).and_then(|digits| digits.parse::<u64>().ok());
        let guesses = [
            digest(".zst").map(|digest| Self::Blob(digest, Form::Whole)),
            digest(".delta").map(|digest| Self::Blob(digest, Form::Delta)),
            digest(".json.zst").map(Self::Part),
            number(".json.zst").map(Self::Snapshot),
            number(".json.zst.minisig").map(Self::SnapshotSignature),
            number(".json.minisig").map(Self::KeysVersionSignature),
            Some(Self::Latest),
            Some(Self::LatestSignature),
            Some(Self::Keys),
            Some(Self::KeysSignature),
        ];
        let found = guesses.into_iter().flatten().find(|guess| guess.to_string() == text);
        found.ok_or_else(|| Error::Path { text: excerpt(text) })
    }
}

impl Serialize for ObjectPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that each kind of object has a path of its own that is read back.
    #[test]
    fn object_paths() {
        let digest = Digest::of(b"abc");
        let hex = digest.to_string();
        for (path, object) in [
            ("latest.json".to_owned(), ObjectPath::Latest),
            ("latest.json.minisig".to_owned(), ObjectPath::LatestSignature),
            ("keys.json".to_owned(), ObjectPath::Keys),
            ("keys.json.minisig".to_owned(), ObjectPath::KeysSignature),
            ("keys/000003.json.minisig".to_owned(), ObjectPath::KeysVersionSignature(3)),
            ("snapshots/000042.json.zst".to_owned(), ObjectPath::Snapshot(42)),
            ("snapshots/1000042.json.zst.minisig".to_owned(), ObjectPath::SnapshotSignature(1_000_042)),
            (format!("snapshots/parts/ba/{hex}.json.zst"), ObjectPath::Part(digest)),
            (format!("blobs/sha256/ba/{hex}.zst"), ObjectPath::Blob(digest, Form::Whole)),
            (format!("blobs/sha256/ba/{hex}.delta"), ObjectPath::Blob(digest, Form::Delta)),
        ] {
            assert_eq!(object.to_string(), path);
            assert_eq!(path.parse::<ObjectPath>().unwrap(), object);
        }
    }

    /// Check that no other text is an object, above all none that leads elsewhere.
    #[test]
    fn object_refuses() {
        let hex = Digest::of(b"abc").to_string();
        for path in [
            "",
            "/latest.json",
            "./latest.json",
            "latest.json/",
            "archive.lock",
            "catalog.sqlite",
            "mirror.json",
            "snapshots/42.json.zst",
            "snapshots/+00042.json.zst",
            "snapshots/000042.json.zst\0",
            "keys/3.json.minisig",
            "../snapshots/000042.json.zst",
            &format!("blobs/sha256/00/{hex}.zst"),
            &format!("blobs/sha256/ba/{}.zst", hex.to_uppercase()),
            &format!("blobs/../blobs/sha256/ba/{hex}.zst"),
            &format!("blobs/sha256/ba/{hex}.tmp"),
            &format!("/blobs/sha256/ba/{hex}.delta"),
            &"x".repeat(1 << 20),
        ] {
            let message = path.parse::<ObjectPath>().unwrap_err().to_string();
            assert!(message.len() < 500, "{message}");
        }
    }
}
