//! One package, streamed: find vmlinux in it and keep it in memory, nothing on disk.
//!
//! The layers, from the outside in, each a file:
//!
//! - `input`: the package's bytes as they come, counted and hashed;
//! - `ar`: a Debian package's members;
//! - `unpack`, `xz`: a member's data decompressed, with limits against bombs;
//! - `tar`: the files in it;
//! - `control`: which package it is;
//! - [`ChunkStore`]: vmlinux, compressed in memory, readable at any offset.
//!
//! [`read`] drives them in one pass and stops as soon as it knows that vmlinux is complete and the one that was meant:
//! of a Debian debug package of 720 MB, 72 MB are read. What it does not read it does not check: the package's sha256 is
//! known only where the whole was read ([`Options::whole`]).

mod ar;
mod control;
mod error;
mod input;
mod store;
mod tar;
mod unpack;
mod xz;

use std::io::{BufRead, BufReader, Read};

use btf_archive::Digest;

pub use self::control::Identity;
pub use self::error::Error;
pub use self::store::ChunkStore;

use self::ar::{Ar, Member};
use self::input::Input;
use self::tar::{Kind, Tar};
use self::unpack::Unpacked;
use crate::elf::ReadAt as _;

/// Members of the ar archive before the data, and their size in bytes: a real package has two small ones.
const AR_MEMBERS: usize = 100;
const AR_MEMBER_LEN: u64 = 64 << 20;
/// Bytes after vmlinux that are read although nothing in them is wanted: where the package ends within them, as those of
/// Linux 7 do, its hash is known for nothing.
const LITTLE: u64 = 256 << 10;
/// Files listed in an error.
const LISTED: usize = 50;

/// What to look for, and how much of it to accept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kernel wanted, as `uname -r` says it. `None`: the only one.
    pub release: Option<String>,
    /// Length of the package in bytes, where it is known: one that is cut off is then refused although vmlinux may be complete.
    pub length: Option<u64>,
    /// Threads that decompress, beside the one that calls. More than four are not used.
    pub threads: usize,
    /// Read the package to its end, so that its sha256 is known.
    pub whole: bool,
    /// The largest vmlinux accepted, in bytes.
    pub vmlinux_len: u64,
    /// The most memory that vmlinux may take while it is kept, in bytes. Real ones take half of their size or less.
    pub memory: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { release: None, length: None, threads: 1, whole: false, vmlinux_len: 4 << 30, memory: 1 << 30 }
    }
}

/// A kernel found in a package.
#[derive(Debug)]
pub struct Kernel {
    /// The package it was in.
    pub identity: Identity,
    /// The kernel's release, as `uname -r` says it.
    pub release: String,
    /// Where vmlinux is in the package, without `./`.
    pub path: String,
    /// The file itself.
    pub vmlinux: ChunkStore,
    /// Bytes of the package that were read.
    pub bytes_read: u64,
    /// The package's sha256, if it was read to its end.
    pub sha256: Option<Digest>,
}

/// Finds the kernel in a Debian package.
///
/// # Errors
/// Where the package cannot be read, is malformed, or does not hold exactly the one kernel meant. [`Error::Input`] wraps what
/// `package` reported.
pub fn read(package: impl Read, options: &Options) -> Result<Kernel, Error> {
    let mut ar = Ar::new(BufReader::with_capacity(64 << 10, Input::new(package)))?;
    let mut identity = None;
    for number in 0..AR_MEMBERS {
        let header = ar.offset();
        let Some(member) = ar.next_member()? else {
            let reason = "the package ends without a member data.tar";
            return Err(Error::malformed("the package", ar.offset(), reason));
        };
        match member.name.as_str() {
            "debian-binary" if number == 0 => check_format(&mut ar, &member)?,
            _ if number == 0 => {
                let reason = "not a Debian package: its first member is not debian-binary";
                return Err(Error::malformed("the package", header, reason));
            }
            name if name.starts_with("data.tar") => {
                let identity = identity.ok_or_else(|| {
                    Error::malformed("the package", header, "the data comes before the control file")
                })?;
                // Said before the download rather than after it, and also where nothing beyond vmlinux is read.
                if let Some(length) =
                    options.length.filter(|length| length.saturating_sub(ar.offset()) < member.size)
                {
                    return Err(Error::Truncated { within: member.name, offset: length });
                }
                return find(&mut ar, &member, identity, options);
            }
            _ if member.size > AR_MEMBER_LEN => {
                let what = format!("the member {} has {} bytes", member.name, member.size);
                return Err(Error::limit("the package", header, what));
            }
            name if name.starts_with("control.tar") => identity = Some(control::read(&mut ar, &member)?),
            _ => {}
        }
    }
    Err(Error::limit(
        "the package",
        ar.offset(),
        format!("more than {AR_MEMBERS} members come before data.tar"),
    ))
}

/// Reads `debian-binary`: a line with the format's version, 2.0 since 1995.
fn check_format<R: BufRead>(ar: &mut Ar<R>, member: &Member) -> Result<(), Error> {
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

/// Goes through the files of `data.tar` until the kernel is found, and is known to be the one meant.
fn find<R: Read>(
    ar: &mut Ar<BufReader<Input<R>>>,
    member: &Member,
    identity: Identity,
    options: &Options,
) -> Result<Kernel, Error> {
    let mut tar = Tar::new(Unpacked::new(ar, member, options.threads)?, &member.name);
    let mut chosen: Option<(String, String, ChunkStore)> = None;
    let mut releases: Vec<String> = Vec::new();
    let mut contents = Contents::default();
    let mut ended = false;
    loop {
        let Some(file) = tar.next_member()? else {
            tar.drain()?;
            ended = true;
            break;
        };
        if let Some((release, path, _)) = &chosen
            && releases.len() == 1
            && identity.is_debug_package_of(release)
            && parent(&file.path) != parent(path.as_bytes())
        {
            break;
        }
        contents.note(&file);
        let Some(release) = release_of(&file.path) else { continue };
        if file.kind == Kind::Other || releases.iter().any(|known| known == release) {
            continue;
        }
        if releases.len() < LISTED {
            releases.push(release.to_owned());
        }
        let wanted = options.release.as_deref().map_or(chosen.is_none(), |wanted| wanted == release);
        if wanted {
            let path = String::from_utf8_lossy(&file.path).into_owned();
            let vmlinux = keep(&mut tar, &file, &path, options)?;
            chosen = Some((release.to_owned(), path, vmlinux));
            if options.release.is_some() {
                break;
            }
            if !identity.is_debug_package_of(release) {
                tar.get_mut().expect_until(u64::MAX);
            }
        }
    }
    drop(tar);
    ar.drain(if ended || options.whole { u64::MAX } else { LITTLE })?;
    let input = ar.input().get_ref();
    let (bytes_read, sha256) = (input.offset(), input.digest());
    let boxed = || Box::new(identity.clone());
    match (chosen, &options.release) {
        (Some((release, path, vmlinux)), wanted) if wanted.is_some() || releases.len() == 1 => {
            Ok(Kernel { identity, release, path, vmlinux, bytes_read, sha256 })
        }
        (Some(_), _) => Err(Error::SeveralKernels { identity: boxed(), releases }),
        (None, Some(release)) if !releases.is_empty() => {
            Err(Error::OtherKernel { identity: boxed(), release: release.clone(), found: releases })
        }
        (None, _) => Err(Error::NoKernel { identity: boxed(), reason: contents.describe(&identity) }),
    }
}

/// Reads the current file of `tar` into memory.
fn keep<R: BufRead>(
    tar: &mut Tar<Unpacked<'_, R>>,
    file: &tar::Member,
    path: &str,
    options: &Options,
) -> Result<ChunkStore, Error> {
    let part = format!("{path} in the unpacked {}", tar.get_mut().name());
    if file.kind == Kind::Sparse {
        return Err(Error::malformed(part, file.offset, "it is stored as a sparse file, which is not read"));
    }
    if file.size > options.vmlinux_len {
        let what = format!("it has {} bytes, more than the {} allowed", file.size, options.vmlinux_len);
        return Err(Error::limit(part, file.offset, what));
    }
    // One header more than vmlinux itself: what follows it tells whether it is the only one.
    let end = tar.offset().saturating_add(file.size).saturating_add(2 * 512);
    tar.get_mut().expect_until(end);
    let mut store = store::Builder::new().map_err(|source| Error::Input { offset: 0, source })?;
    let mut buffer = vec![0; 128 << 10];
    loop {
        match tar.read_data(&mut buffer)? {
            0 => break,
            count => store.push(&buffer[..count]),
        }
        if store.held() > options.memory {
            let what = format!("it takes more than {} MiB even compressed", options.memory >> 20);
            return Err(Error::limit(part, tar.offset(), what));
        }
    }
    let store = store.finish();
    debug_assert_eq!(store.len(), file.size);
    Ok(store)
}

/// The release of the kernel whose vmlinux is at `path`: the places where Debian and Ubuntu put it.
fn release_of(path: &[u8]) -> Option<&str> {
    let path = std::str::from_utf8(path).ok()?.strip_prefix("usr/lib/debug/")?;
    let release = match path.strip_prefix("boot/vmlinux-") {
        Some(release) => release,
        None => {
            let path = path.strip_prefix("usr/").unwrap_or(path);
            path.strip_prefix("lib/modules/")?.strip_suffix("/vmlinux")?
        }
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~:-".contains(&byte);
    (!release.is_empty() && release.len() <= 128 && release.bytes().all(plain)).then_some(release)
}

fn parent(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|&byte| byte == b'/').unwrap_or(0)]
}

/// What is in a package without vmlinux, to say what it is instead.
#[derive(Default)]
struct Contents {
    /// Release of a bootable kernel.
    image: Option<String>,
    /// Files that are not documentation.
    files: usize,
}

impl Contents {
    fn note(&mut self, file: &tar::Member) {
        if file.kind == Kind::Other || file.path.starts_with(b"usr/share/doc/") {
            return;
        }
        self.files += 1;
        let path = String::from_utf8_lossy(&file.path);
        if let Some(release) =
            path.strip_prefix("boot/vmlinuz-").or_else(|| path.strip_prefix("boot/vmlinux-"))
        {
            self.image = Some(release.escape_debug().take(128).collect());
        }
    }

    fn describe(&self, identity: &Identity) -> String {
        if let Some(release) = &self.image {
            format!("it is the bootable image of {release}; its debug package is linux-image-{release}-dbg")
        } else if self.files == 0 && !identity.depends.is_empty() {
            format!(
                "it is a meta package, which only depends on {}; take the package it depends on",
                identity.depends
            )
        } else {
            format!("it is \"{}\"; kernels are in linux-image-RELEASE-dbg", identity.synopsis)
        }
    }
}
