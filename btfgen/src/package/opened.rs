//! A package of either format, opened: which package it is, and its files one after the other.

use std::io::{self, BufRead, BufReader, Read};

use btf_archive::Digest;
use sha2::{Digest as _, Sha256};

use super::ar::{Ar, Member as ArMember};
use super::cpio::Cpio;
use super::input::Input;
use super::member::Member;
use super::rpm::{self, Listed};
use super::tar::Tar;
use super::unpacked::{Packed, Unpacked, codec_of_member};
use super::{Error, Identity, control};

/// Members of the ar archive before the data, and their size in bytes: a real package has two small ones.
const AR_MEMBERS: usize = 100;
const AR_MEMBER_LEN: u64 = 64 << 20;
/// Bytes after the last file wanted that are read although nothing in them is: where the package ends within them, as those of
/// Linux 7 do, its hash is known for nothing.
const LITTLE: u64 = 256 << 10;

/// A package's bytes, buffered.
type Stream<R> = BufReader<Input<R>>;

/// A package of which the files come next.
pub(super) struct Opened<R: Read> {
    identity: Identity,
    files: Files<R>,
}

enum Files<R: Read> {
    Deb(Box<Tar<Unpacked<Ar<Stream<R>>>>>),
    Rpm(Box<Cpio<Unpacked<Payload<R>>>>, Box<Signature>),
}

/// What an RPM package's header says of who made it and of its payload.
struct Signature {
    header: Vec<u8>,
    signatures: Vec<Vec<u8>>,
    payload_sha256: Option<[u8; 32]>,
}

/// What is known of a package when reading it has ended.
#[derive(Debug)]
pub struct End {
    /// Bytes of the package that were read.
    pub bytes_read: u64,
    /// The package's sha256, if it was read to its end.
    pub sha256: Option<Digest>,
    /// What an RPM package carries to be checked against a keyring.
    pub signed: Option<Signed>,
}

/// The signed part of an RPM package: its header, which has the digest of the payload.
#[derive(Debug)]
pub struct Signed {
    /// The header's bytes.
    pub header: Vec<u8>,
    /// OpenPGP signatures of it.
    pub signatures: Vec<Vec<u8>>,
    /// The payload was read to its end, and has the digest that the header says.
    pub payload_checked: bool,
}

impl<R: Read> Opened<R> {
    /// Reads what comes before the files. `length` is the package's, where it is known.
    pub(super) fn new(package: R, length: Option<u64>, threads: usize) -> Result<Self, Error> {
        let mut input = BufReader::with_capacity(64 << 10, Input::new(package));
        let start = input.fill_buf();
        let start =
            start.map_err(|error| Error::from_io(error, |source| Error::Input { offset: 0, source }))?;
        if start.starts_with(&rpm::LEAD_MAGIC) {
            Self::rpm(input, threads)
        } else {
            Self::deb(input, length, threads)
        }
    }

    fn deb(input: Stream<R>, length: Option<u64>, threads: usize) -> Result<Self, Error> {
        let mut ar = Ar::new(input)?;
        let (identity, member) = to_data(&mut ar)?;
        // Said before the download rather than after it, and also where nothing beyond vmlinux is read.
        if let Some(length) = length.filter(|length| length.saturating_sub(ar.offset()) < member.size) {
            return Err(Error::Truncated { within: member.name, offset: length });
        }
        let codec = codec_of_member(&member.name).ok_or_else(|| Error::compression_of(&member.name))?;
        let unpacked = Unpacked::new(ar, &member.name, Some(codec), threads)?;
        Ok(Self { identity, files: Files::Deb(Box::new(Tar::new(unpacked, member.name))) })
    }

    fn rpm(mut input: Stream<R>, threads: usize) -> Result<Self, Error> {
        let head = rpm::read(&mut input)?;
        let identity = Identity {
            package: head.name,
            version: head.version,
            architecture: head.architecture,
            synopsis: head.summary,
            depends: String::new(),
        };
        let signature = Signature {
            header: head.signed,
            signatures: head.signatures,
            payload_sha256: head.payload_sha256,
        };
        let payload = Payload { input, sha256: Sha256::new() };
        let unpacked = Unpacked::new(payload, "the payload", head.codec, threads)?;
        let cpio = Cpio::new(unpacked, head.files);
        Ok(Self { identity, files: Files::Rpm(Box::new(cpio), Box::new(signature)) })
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The files, where the package lists them before they come.
    pub(super) fn listed(&self) -> Option<&[Listed]> {
        match &self.files {
            Files::Deb(_) => None,
            Files::Rpm(cpio, _) => Some(cpio.files()),
        }
    }

    pub(super) fn next_member(&mut self) -> Result<Option<Member>, Error> {
        match &mut self.files {
            Files::Deb(tar) => tar.next_member(),
            Files::Rpm(cpio, _) => cpio.next_member(),
        }
    }

    /// Reads on in the current member's data; 0 at its end.
    pub(super) fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        match &mut self.files {
            Files::Deb(tar) => tar.read_data(buffer),
            Files::Rpm(cpio, _) => cpio.read_data(buffer),
        }
    }

    /// Bytes unpacked so far.
    pub(super) fn offset(&self) -> u64 {
        match &self.files {
            Files::Deb(tar) => tar.offset(),
            Files::Rpm(cpio, _) => cpio.offset(),
        }
    }

    /// Says that nothing will be read beyond `offset` of the unpacked files, as far as is known.
    pub(super) fn expect_until(&mut self, offset: u64) {
        match &mut self.files {
            Files::Deb(tar) => tar.get_mut().expect_until(offset),
            Files::Rpm(cpio, _) => cpio.get_mut().expect_until(offset),
        }
    }

    /// What the files are in, for messages.
    pub(super) fn part(&mut self) -> &str {
        match &mut self.files {
            Files::Deb(tar) => tar.get_mut().name(),
            Files::Rpm(..) => "payload",
        }
    }

    /// Leaves off, or reads on to the package's end where `whole` says so. `ended`: all files were read.
    pub(super) fn end(self, ended: bool, whole: bool) -> Result<End, Error> {
        let limit = if ended || whole { u64::MAX } else { LITTLE };
        match self.files {
            Files::Deb(mut tar) => {
                if ended {
                    tar.drain()?;
                }
                let mut ar = tar.into_inner().into_packed();
                ar.drain(limit)?;
                let input = ar.into_input();
                let input = input.get_ref();
                Ok(End { bytes_read: input.offset(), sha256: input.digest(), signed: None })
            }
            Files::Rpm(cpio, signature) => {
                let mut payload = cpio.into_inner().into_packed();
                payload.drain(limit)?;
                let input = payload.input.get_ref();
                let sha256 = input.digest();
                let mut payload_checked = false;
                if let (Some(expected), Some(_)) = (signature.payload_sha256, sha256) {
                    let found: [u8; 32] = payload.sha256.clone().finalize().into();
                    payload_checked = found == expected;
                    if !payload_checked {
                        let reason = format!(
                            "it has sha256 {}, the header says {}",
                            hex::encode(found),
                            hex::encode(expected)
                        );
                        return Err(Error::malformed("the payload", input.offset(), reason));
                    }
                }
                let Signature { header, signatures, .. } = *signature;
                let signed = Some(Signed { header, signatures, payload_checked });
                Ok(End { bytes_read: input.offset(), sha256, signed })
            }
        }
    }
}

/// Reads the members of a Debian package before its data, whose header is read too.
pub(super) fn to_data<R: BufRead>(ar: &mut Ar<R>) -> Result<(Identity, ArMember), Error> {
    let mut identity = None;
    for number in 0..AR_MEMBERS {
        let header = ar.offset();
        let Some(member) = ar.next_member()? else {
            let reason = "the package ends without a member data.tar";
            return Err(Error::malformed("the package", ar.offset(), reason));
        };
        match member.name.as_str() {
            "debian-binary" if number == 0 => check_format(ar, &member)?,
            _ if number == 0 => {
                let reason = "not a Debian package: its first member is not debian-binary";
                return Err(Error::malformed("the package", header, reason));
            }
            name if name.starts_with("data.tar") => {
                let identity = identity.ok_or_else(|| {
                    Error::malformed("the package", header, "the data comes before the control file")
                })?;
                return Ok((identity, member));
            }
            _ if member.size > AR_MEMBER_LEN => {
                let what = format!("the member {} has {} bytes", member.name, member.size);
                return Err(Error::limit("the package", header, what));
            }
            name if name.starts_with("control.tar") => identity = Some(control::read(ar, &member)?),
            _ => {}
        }
    }
    let what = format!("more than {AR_MEMBERS} members come before data.tar");
    Err(Error::limit("the package", ar.offset(), what))
}

/// Reads `debian-binary`: a line with the format's version, 2.0 since 1995.
fn check_format<R: BufRead>(ar: &mut Ar<R>, member: &ArMember) -> Result<(), Error> {
    let offset = ar.offset();
    let mut text = Vec::new();
    let read = ar.by_ref().take(16).read_to_end(&mut text);
    read.map_err(|error| Error::from_io(error, |source| Error::Input { offset, source }))?;
    if text.starts_with(b"2.") {
        Ok(())
    } else {
        let text = String::from_utf8_lossy(&text).escape_debug().to_string();
        Err(Error::malformed(&member.name, offset, format!("the package format is {text}, not 2.0")))
    }
}

impl<R: Read> Packed for Stream<R> {
    fn position(&self) -> u64 {
        self.get_ref().offset() - self.buffer().len() as u64
    }
}

/// An RPM package's payload, hashed as it is consumed.
struct Payload<R: Read> {
    input: Stream<R>,
    sha256: Sha256,
}

impl<R: Read> Payload<R> {
    /// Reads on to the end, or until `limit` bytes have been read.
    fn drain(&mut self, limit: u64) -> Result<(), Error> {
        let start = self.position();
        while self.position() - start < limit {
            let offset = self.position();
            let available = self.fill_buf().map(<[u8]>::len);
            match available
                .map_err(|error| Error::from_io(error, |source| Error::Input { offset, source }))?
            {
                0 => break,
                count => self.consume(count),
            }
        }
        Ok(())
    }
}

impl<R: Read> Packed for Payload<R> {
    fn position(&self) -> u64 {
        self.input.position()
    }
}

impl<R: Read> BufRead for Payload<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.sha256.update(&self.input.buffer()[..count]);
        self.input.consume(count);
    }
}

impl<R: Read> Read for Payload<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
