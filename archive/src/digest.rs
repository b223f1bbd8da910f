//! The sha256 that names a blob.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::error::excerpt;

/// The sha256 of some bytes; for a blob, of its raw (uncompressed) BTF.
///
/// Text and JSON form: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest computed elsewhere, in the order sha256 writes its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, in the order sha256 writes them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks that `bytes` have this digest.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`].
    pub fn check(&self, bytes: &[u8]) -> Result<(), Error> {
        let found = Self::of(bytes);
        if found == *self { Ok(()) } else { Err(Error::DigestMismatch { expected: *self, found }) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// Takes 64 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| Error::Digest { text: excerpt(text) })?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that the digest of "abc" is the one FIPS 180-2 gives, and that text goes both ways.
    #[test]
    fn digest_of_abc() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.to_uppercase().parse::<Digest>().unwrap(), digest);
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Digest>(&format!("\"{text}\"")).unwrap(), digest);
    }

    /// Check that text of the wrong length or alphabet is refused, and that the message is bounded.
    #[test]
    fn digest_refuses_other_text() {
        for text in ["", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(1 << 20)] {
            let message = text.parse::<Digest>().unwrap_err().to_string();
            assert!(message.len() < 400, "{message}");
        }
    }

    /// Check that one changed byte is noticed.
    #[test]
    fn digest_check() {
        let digest = Digest::of(b"abc");
        digest.check(b"abc").unwrap();
        assert!(matches!(digest.check(b"abd"), Err(Error::DigestMismatch { .. })));
    }
}
