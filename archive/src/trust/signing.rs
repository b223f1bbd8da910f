//! Secret keys in minisign's format, and signing with them.
//!
//! A secret key's file is a comment and base64 of 158 bytes. A root's is encrypted with a password (scrypt); a snapshot
//! key's is not, because a service signs with it at night.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{KeyPair, SecretKey, SecretKeyBox};

use super::{Error, PublicKey, Result, Signature};

/// The most bytes a secret key's file may have.
const MAX_FILE: usize = 4 << 10;

/// A secret key, ready to sign. It is never shown.
pub struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

impl SigningKey {
    /// Makes a new key; gives the contents of its file, encrypted if there is a password, and its public half.
    ///
    /// # Errors
    /// [`Error::Key`] if the system gives no random numbers, or the password is empty.
    pub fn generate(comment: &str, password: Option<&str>) -> Result<(String, PublicKey)> {
        let pair = match password {
            Some("") => return Err(wrong("an empty password protects nothing")),
            Some(password) => KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
            None => KeyPair::generate_unencrypted_keypair(),
        };
        let pair = pair.map_err(wrong)?;
        let file = pair.sk.to_box(Some(comment)).map_err(wrong)?;
        Ok((file.to_string(), public(&pair.pk)?))
    }

    /// Whether the key in a file is encrypted, and needs a password.
    ///
    /// # Errors
    /// [`Error::Key`] for text that is no secret key.
    pub fn is_encrypted(file: &str) -> Result<bool> {
        match &decode(file)?[2..4] {
            b"Sc" => Ok(true),
            b"\0\0" => Ok(false),
            _ => Err(wrong("it is encrypted in an unknown way")),
        }
    }

    /// Reads a key from the contents of its file, with the password if it is encrypted.
    ///
    /// # Errors
    /// [`Error::Key`] for text that is no secret key, or another password than the key's.
    pub fn read(file: &str, password: Option<&str>) -> Result<Self> {
        let bytes = decode(file)?;
        let boxed = SecretKeyBox::from(file.to_owned());
        let secret = match (Self::is_encrypted(file)?, password) {
            (true, None) => return Err(wrong("it is encrypted, and there is no password")),
            (true, Some(password)) => SecretKey::from_box(boxed, Some(password.to_owned())),
            // minisign itself gives keys that are not encrypted no checksum; the trial below is a better one.
            (false, _) if bytes.ends_with(&[0; 32]) => SecretKey::from_bytes(&bytes),
            (false, _) => SecretKey::from_unencrypted_box(boxed),
        };
        let secret = secret.map_err(wrong)?;
        let key = minisign::PublicKey::from_secret_key(&secret).map_err(wrong)?;
        let public = public(&key)?;
        let key = Self { secret, public };
        // The two halves in a file may be of different keys: what such a key signs, nobody believes.
        key.sign(b"", "")?;
        Ok(key)
    }

    /// Reads a key from a file. `password` is asked if the key is encrypted; it gives the password, or why there is none.
    ///
    /// # Errors
    /// [`Error::Key`], naming the file.
    pub fn load(path: &Path, password: impl FnOnce() -> Result<String, String>) -> Result<Self> {
        let wrong = |reason: String| wrong(format!("{}: {reason}", path.display()));
        let file = super::read_file(path).map_err(wrong)?;
        let read = || {
            let password =
                if Self::is_encrypted(&file)? { Some(password().map_err(self::wrong)?) } else { None };
            Self::read(&file, password.as_deref())
        };
        read().map_err(|error| match error {
            Error::Key { reason, .. } => wrong(reason),
            error => error,
        })
    }

    /// Reads the key that a service signs with, which is not encrypted.
    ///
    /// # Errors
    /// Those of [`SigningKey::load`].
    pub fn load_plain(path: &Path) -> Result<Self> {
        Self::load(path, || Err("it is encrypted, and nobody can be asked for the password".to_owned()))
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs these bytes; `comment` is signed with them. Gives the contents of the signature's file.
    ///
    /// # Errors
    /// [`Error::Key`] if the system gives no random numbers, or the key's halves do not belong together.
    pub fn sign(&self, bytes: &[u8], comment: &str) -> Result<String> {
        let untrusted = format!("signature by key {}", self.public.id());
        let signed =
            minisign::sign(None, &self.secret, bytes, Some(comment), Some(&untrusted)).map_err(wrong)?;
        let signed = signed.to_string();
        let signature = Signature::parse("the new signature", signed.as_bytes())?;
        self.public.check("the new signature", bytes, &signature)?;
        Ok(signed)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

/// The bytes in a secret key's file.
fn decode(file: &str) -> Result<Vec<u8>> {
    if file.len() > MAX_FILE {
        return Err(wrong("it is larger than 4 KiB"));
    }
    let mut lines = file.lines();
    let comment = lines.next().is_some_and(|line| line.starts_with("untrusted comment:"));
    let line = lines.next().filter(|_| comment).ok_or_else(|| wrong("it has not minisign's two lines"))?;
    let bytes = STANDARD.decode(line.trim()).map_err(|_| wrong("its second line is not base64"))?;
    if bytes.len() != 158 || !bytes.starts_with(b"Ed") || bytes[4..6] != *b"B2" {
        return Err(wrong("it is not minisign's, of 158 bytes that begin with Ed"));
    }
    Ok(bytes)
}

fn public(key: &minisign::PublicKey) -> Result<PublicKey> {
    STANDARD.encode(key.to_bytes()).parse()
}

fn wrong(reason: impl ToString) -> Error {
    Error::Key { what: "secret key", reason: reason.to_string() }
}
