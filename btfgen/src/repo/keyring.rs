//! Who signed this? OpenPGP signatures of repository metadata, checked against a keyring of certificates.
//!
//! What gpgv(1) and apt do for `InRelease` and `Release.gpg`, with the same verdicts: at least one good signature by a key of the
//! keyring, none that claims to be by such a key and is wrong, SHA-2 only, and a signing key counts only while its
//! certificate says so (bound by the primary key, allowed to sign, not expired, not revoked). Signatures by keys that the keyring
//! does not have are passed over. The cryptography is rpgp's; what a certificate means at a given time is decided here.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, VerifyingKey};

use super::cleartext;

/// Signatures of one file that are looked at. Debian's have three.
const SIGNATURES: usize = 32;

/// Why a signature was not accepted, or a keyring not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The keyring could not be read.
    #[error("cannot read keyring {}: {source}", path.display())]
    Read {
        /// The keyring.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The keyring has no certificate that can be used.
    #[error("keyring {} holds no OpenPGP certificate", path.display())]
    Empty {
        /// The keyring.
        path: PathBuf,
    },
    /// The keyring has none of the certificates that were asked for.
    #[error("keyring {} holds none of the certificates {}", path.display(), fingerprints.join(", "))]
    NotPinned {
        /// The keyring.
        path: PathBuf,
        /// Fingerprints in hexadecimal.
        fingerprints: Vec<String>,
    },
    /// What should be signed is not, or not in OpenPGP's format.
    #[error("no OpenPGP signature: {reason}")]
    Unsigned {
        /// What the parser said.
        reason: String,
    },
    /// All signatures are by keys that are not in the keyring.
    #[error("signed by {}, not in keyring {}", signers.join(", "), keyring.display())]
    UnknownSigner {
        /// Key ids in hexadecimal.
        signers: Vec<String>,
        /// The keyring.
        keyring: PathBuf,
    },
    /// A signature names a key of the keyring and is wrong, or that key may not sign.
    #[error("bad signature by {signer}: {reason}")]
    BadSignature {
        /// Fingerprint of the key in hexadecimal.
        signer: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Which certificates and signatures count.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The time for which a verdict is wanted.
    pub now: SystemTime,
    /// Accept a key that has expired since it signed: frozen archives of old releases need it.
    pub allow_expired: bool,
}

/// Certificates that may sign.
#[derive(Debug)]
pub struct Keyring {
    path: PathBuf,
    certificates: Vec<SignedPublicKey>,
}

impl Keyring {
    /// Reads a keyring file, binary or armored. Packets that are no usable certificate are passed over.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let (certificates, _) = SignedPublicKey::from_reader_many(io::Cursor::new(bytes))
            .map_err(|_| Error::Empty { path: path.to_owned() })?;
        let certificates: Vec<_> = certificates.filter_map(Result::ok).collect();
        if certificates.is_empty() {
            return Err(Error::Empty { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), certificates })
    }

    /// Only the certificates with these fingerprints, in upper-case hexadecimal, of the keyring.
    pub fn pinned(mut self, fingerprints: &[String]) -> Result<Self, Error> {
        self.certificates.retain(|certificate| fingerprints.contains(&fingerprint(certificate)));
        if self.certificates.is_empty() {
            return Err(Error::NotPinned { path: self.path, fingerprints: fingerprints.to_vec() });
        }
        Ok(self)
    }

    /// Whether all its certificates have one of these fingerprints.
    pub fn holds_only(&self, fingerprints: &[String]) -> bool {
        self.certificates.iter().all(|certificate| fingerprints.contains(&fingerprint(certificate)))
    }

    /// The text of a cleartext-signed message (`InRelease`), exactly as it was signed, and the fingerprint of its signer.
    pub fn verify_inline(&self, message: &[u8], policy: &Policy) -> Result<(String, String), Error> {
        let message =
            cleartext::split(message).map_err(|reason| Error::Unsigned { reason: reason.into() })?;
        let signer = self.verify_detached(message.text.as_bytes(), message.signatures.as_bytes(), policy)?;
        Ok((message.text, signer))
    }

    /// The fingerprint of the signer of `content`, of which `signatures` (`Release.gpg`) is detached.
    pub fn verify_detached(
        &self,
        content: &[u8],
        signatures: &[u8],
        policy: &Policy,
    ) -> Result<String, Error> {
        let unsigned = |error: pgp::errors::Error| Error::Unsigned { reason: error.to_string() };
        let (signatures, _) = DetachedSignature::from_reader_many(signatures).map_err(unsigned)?;
        let mut good = None;
        let mut unknown = Vec::new();
        for signature in signatures.take(SIGNATURES) {
            let signature = signature.map_err(unsigned)?.signature;
            if self.candidates(&signature).next().is_some() {
                let signer = self.verify_one(&signature, content, policy)?;
                good.get_or_insert(signer);
            } else {
                unknown.extend(signature.issuer_key_id().iter().map(ToString::to_string));
            }
        }
        match good {
            Some(signer) => Ok(signer),
            None if unknown.is_empty() => Err(Error::Unsigned { reason: "it carries no signature".into() }),
            None => Err(Error::UnknownSigner { signers: unknown, keyring: self.path.clone() }),
        }
    }

    /// The keys of the keyring that a signature claims to be by.
    fn candidates<'k>(&'k self, signature: &'k Signature) -> impl Iterator<Item = Key<'k>> + 'k {
        let keys = self.certificates.iter().flat_map(|certificate| {
            let subkeys = certificate.public_subkeys.iter().map(move |subkey| Key::Sub(certificate, subkey));
            std::iter::once(Key::Primary(certificate)).chain(subkeys)
        });
        keys.filter(|key| key.issued(signature))
    }

    fn verify_one(&self, signature: &Signature, content: &[u8], policy: &Policy) -> Result<String, Error> {
        let mut refusal = None;
        for key in self.candidates(signature) {
            match key.verify(signature, content, policy) {
                Ok(()) => return Ok(key.fingerprint()),
                Err(reason) => refusal = Some(Error::BadSignature { signer: key.fingerprint(), reason }),
            }
        }
        Err(refusal.expect("a signature without candidates is not verified"))
    }
}

/// A certificate's fingerprint in upper-case hexadecimal.
fn fingerprint(certificate: &SignedPublicKey) -> String {
    format!("{:X}", certificate.fingerprint())
}

/// A primary key, or a subkey with the certificate that it belongs to.
#[derive(Clone, Copy)]
enum Key<'k> {
    Primary(&'k SignedPublicKey),
    Sub(&'k SignedPublicKey, &'k SignedPublicSubKey),
}

impl Key<'_> {
    fn fingerprint(&self) -> String {
        match self {
            Key::Primary(certificate) => fingerprint(certificate),
            Key::Sub(_, subkey) => format!("{:X}", subkey.fingerprint()),
        }
    }

    fn issued(&self, signature: &Signature) -> bool {
        let (fingerprint, id) = match self {
            Key::Primary(certificate) => (certificate.fingerprint(), certificate.legacy_key_id()),
            Key::Sub(_, subkey) => (subkey.fingerprint(), subkey.legacy_key_id()),
        };
        signature.issuer_fingerprint().contains(&&fingerprint) || signature.issuer_key_id().contains(&&id)
    }

    fn verify(&self, signature: &Signature, content: &[u8], policy: &Policy) -> Result<(), String> {
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err("it is not a signature of a document".into());
        }
        strong(signature)?;
        let signed_at = created(signature).ok_or("it has no creation time")?;
        if signed_at > policy.now {
            return Err("it was made in the future".into());
        }
        if expired(signed_at, signature.signature_expiration_time(), policy.now) {
            return Err("it has expired".into());
        }
        let at = if policy.allow_expired { signed_at } else { policy.now };
        match self {
            Key::Primary(certificate) => {
                primary_is_live(certificate, at)?;
                verify_with(signature, &certificate.primary_key, content)
            }
            Key::Sub(certificate, subkey) => {
                primary_is_live(certificate, at)?;
                subkey_may_sign(certificate, subkey, at)?;
                verify_with(signature, &subkey.key, content)
            }
        }
    }
}

fn verify_with(signature: &Signature, key: &impl VerifyingKey, content: &[u8]) -> Result<(), String> {
    signature.verify(key, content).map_err(|error| format!("it does not match what it signs ({error})"))
}

/// A primary key is live when it was not revoked and its newest self-signature has not let it expire.
fn primary_is_live(certificate: &SignedPublicKey, at: SystemTime) -> Result<(), String> {
    let key = &certificate.primary_key;
    let details = &certificate.details;
    if details.revocation_signatures.iter().any(|revocation| revocation.verify_key(key).is_ok()) {
        return Err("its key is revoked".into());
    }
    let direct = details.direct_signatures.iter().filter(|signature| signature.verify_key(key).is_ok());
    let certified = details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && signature.verify_certification(key, Tag::UserId, &user.id).is_ok()
        })
    });
    let newest =
        direct.chain(certified).filter(|signature| strong(signature).is_ok()).max_by_key(|s| created(s));
    let newest = newest.ok_or("its key has no valid self-signature")?;
    if expired(key.created_at().into(), newest.key_expiration_time(), at) {
        return Err("its key has expired".into());
    }
    Ok(())
}

/// A subkey may sign when its newest binding is valid, says so, carries the subkey's consent, and neither has ended.
fn subkey_may_sign(
    certificate: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    at: SystemTime,
) -> Result<(), String> {
    let primary = &certificate.primary_key;
    let valid = |signature: &&Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
    let of_type = |kind| subkey.signatures.iter().filter(move |signature| signature.typ() == Some(kind));
    if of_type(SignatureType::SubkeyRevocation).any(|revocation| valid(&revocation)) {
        return Err("its subkey is revoked".into());
    }
    let bindings = of_type(SignatureType::SubkeyBinding).filter(|signature| strong(signature).is_ok());
    let newest = bindings.filter(valid).max_by_key(|signature| created(signature));
    let newest = newest.ok_or("its subkey is not bound to a certificate")?;
    if !newest.key_flags().sign() {
        return Err("its subkey may not sign".into());
    }
    let consent = newest.embedded_signature().ok_or("its subkey does not consent to signing")?;
    consent
        .verify_primary_key_binding(&subkey.key, primary)
        .map_err(|_| "its subkey does not consent to signing".to_owned())?;
    let bound_at = created(newest).unwrap_or(UNIX_EPOCH);
    if expired(subkey.key.created_at().into(), newest.key_expiration_time(), at)
        || expired(bound_at, newest.signature_expiration_time(), at)
    {
        return Err("its subkey has expired".into());
    }
    Ok(())
}

/// Hashes that still tie a signature to one content.
fn strong(signature: &Signature) -> Result<(), String> {
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => Ok(()),
        Some(weak) => Err(format!("it uses the weak hash {weak}")),
        None => Err("its format is unknown".into()),
    }
}

fn created(signature: &Signature) -> Option<SystemTime> {
    signature.created().map(SystemTime::from)
}

/// Whether something that began at `start` and lasts `lifetime` is over; a lifetime of zero or none never is.
fn expired(start: SystemTime, lifetime: Option<pgp::types::Duration>, at: SystemTime) -> bool {
    let lifetime = lifetime.map(Duration::from).filter(|lifetime| !lifetime.is_zero());
    lifetime.is_some_and(|lifetime| start.checked_add(lifetime).is_some_and(|end| end <= at))
}
