//! Public keys and signatures in minisign's formats (<https://jedisct1.github.io/minisign/>).
//!
//! A public key is 42 bytes in base64: `Ed`, the key's id, its 32 bytes; in a file, below a line of comment. A signature is
//! four lines: a comment that nobody signed, base64 of `ED`, the id and the Ed25519 signature of the file's BLAKE2b-512; a
//! comment that is signed; base64 of the signature of the first signature and that comment. Signatures of the older kind,
//! `Ed`, of the file itself, are not taken.
//!
//! The mathematics is the crate `minisign-verify`'s, by minisign's own author. What it passes over, such as lines behind the
//! signature, is refused here: but for the first line, no byte of a signature can be changed.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, MAX_SIGNATURE, Result};
use crate::error::excerpt;

/// What the first line of every file begins with.
const UNTRUSTED: &str = "untrusted comment: ";
/// What the third line of a signature begins with.
const TRUSTED: &str = "trusted comment: ";

/// The id of a key: eight random bytes, shown as minisign does, as a little-endian number in 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The id at this offset of a decoded key or signature.
    pub(super) fn at(bytes: &[u8], offset: usize) -> Option<Self> {
        Some(Self(bytes.get(offset..)?.first_chunk().copied()?))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = Error;

    /// Takes 16 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        let reason = || format!("`{}` is no id of a key, 16 hexadecimal digits", excerpt(text));
        id.map(|id| Self(id.to_le_bytes())).ok_or_else(|| Error::Key { what: "public key", reason: reason() })
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    text: String,
    key: minisign_verify::PublicKey,
}

impl PublicKey {
    /// Takes the key in base64, or else the name of a file with it: what a person gives to a program.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn load(key_or_file: &str) -> Result<Self> {
        let text = key_or_file.trim();
        if text.len() == 56 && text.starts_with("RW") && !text.contains('.') {
            return text.parse();
        }
        let wrong = |reason| Error::Key { what: "public key", reason: format!("{text}: {reason}") };
        super::read_file(text.as_ref()).map_err(wrong)?.parse().map_err(|error| match error {
            Error::Key { reason, .. } => wrong(reason),
            error => error,
        })
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The file minisign keeps of it: a comment, and the key.
    pub fn to_file(&self) -> String {
        format!("{UNTRUSTED}minisign public key {}\n{}\n", self.id, self.text)
    }

    /// Checks a signature by this key, of which `what` is the name in errors.
    ///
    /// # Errors
    /// [`Error::Forged`].
    pub fn check(&self, what: &'static str, bytes: &[u8], signature: &Signature) -> Result<()> {
        let legacy = false;
        let forged = |_| Error::Forged { what, key: signature.key };
        self.key.verify(bytes, &signature.signature, legacy).map_err(forged)
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    /// Takes the key in base64 (`RWQ…`, 56 characters), or the contents of minisign's file.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: &str| Error::Key { what: "public key", reason: reason.to_owned() };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut line = lines.next().ok_or_else(|| wrong("it is empty"))?;
        if line.starts_with(UNTRUSTED.trim_end()) {
            line = lines.next().ok_or_else(|| wrong("there is nothing below the comment"))?;
        }
        if lines.next().is_some() {
            return Err(wrong("there is more than one line"));
        }
        let bytes =
            STANDARD.decode(line).map_err(|_| wrong("it is not base64, RWQ… and 56 characters long"))?;
        if bytes.len() != 42 || !bytes.starts_with(b"Ed") {
            return Err(wrong("it is not minisign's, of 42 bytes that begin with Ed"));
        }
        let key = minisign_verify::PublicKey::from_base64(line).map_err(|error| wrong(&error.to_string()))?;
        let id = KeyId::at(&bytes, 2).ok_or_else(|| wrong("it is too short"))?;
        Ok(Self { id, text: line.to_owned(), key })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.text)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A signature, not yet checked.
#[derive(Clone)]
pub struct Signature {
    key: KeyId,
    signature: minisign_verify::Signature,
}

impl Signature {
    /// Reads a signature's file; `what` is what it signs, for errors.
    ///
    /// # Errors
    /// [`Error::Signature`].
    pub fn parse(what: &'static str, file: &[u8]) -> Result<Self> {
        let wrong = |reason: &str| Error::Signature { what, reason: reason.to_owned() };
        if file.len() > MAX_SIGNATURE {
            return Err(wrong("it is larger than 4 KiB"));
        }
        let text = std::str::from_utf8(file).map_err(|_| wrong("it is not text"))?;
        let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
        let &[untrusted, signed, trusted, _] = &lines[..] else {
            return Err(wrong("it has not four lines"));
        };
        if !untrusted.starts_with(UNTRUSTED) || !trusted.starts_with(TRUSTED) || text.contains('\r') {
            return Err(wrong("its lines are not a signature's"));
        }
        let bytes = STANDARD.decode(signed).map_err(|_| wrong("its second line is not base64"))?;
        if bytes.len() != 74 || !bytes.starts_with(b"ED") {
            return Err(wrong("it is not of the kind ED, of the file's hash"));
        }
        let signature =
            minisign_verify::Signature::decode(text).map_err(|error| wrong(&error.to_string()))?;
        let key = KeyId::at(&bytes, 2).ok_or_else(|| wrong("it is too short"))?;
        Ok(Self { key, signature })
    }

    /// The key that made it, as it says itself.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The comment that is signed too; to be believed once [`PublicKey::check`] has said so.
    pub fn trusted_comment(&self) -> &str {
        self.signature.trusted_comment()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature(by {})", self.key)
    }
}
