//! Looking through a package's files for a kernel, its configuration and its modules, in one pass.

use std::io::Read;

use super::member::{Kind, Member};
use super::opened::{End, Opened};
use super::places::{Part, Places, is_built_with_btf};
use super::store::{self, ChunkStore};
use super::{Aim, Error, Identity, Options};

/// Files that `dwz -m` made in one package: one of a kernel's, and one of its tools'.
const SHARED: usize = 8;
/// Files listed in an error.
const LISTED: usize = 50;
/// A configuration, in bytes. Real ones have 300 KB.
const CONFIG_LEN: u64 = 4 << 20;
/// A module with its debug information, in bytes. The largest real one has 110 MB.
const MODULE_LEN: u64 = 512 << 20;
/// A bootable kernel, in bytes: uncompressed ones have 70 MB.
const IMAGE_LEN: u64 = 256 << 20;

/// A package being searched.
pub struct Search<R: Read> {
    package: Opened<R>,
    options: Options,
    /// A member whose header was read, and which nobody has dealt with.
    pending: Option<Member>,
    config: Option<Vec<u8>>,
    /// Files before the kernel that several files' debug information may refer to.
    shared: Vec<ChunkStore>,
    modules_passed: usize,
    ended: bool,
}

/// A kernel found.
#[derive(Debug)]
pub struct Found {
    /// The kernel's release, as `uname -r` says it.
    pub release: String,
    /// Where it is in the package, without `./`.
    pub path: String,
    /// Whether it is what boots, and not vmlinux with debug information.
    pub is_image: bool,
    /// The file itself.
    pub file: ChunkStore,
}

/// A module found.
#[derive(Debug)]
pub struct FoundModule {
    /// What the kernel calls it.
    pub name: String,
    /// Where it is in the package.
    pub path: String,
    /// The file, perhaps compressed.
    pub bytes: Vec<u8>,
}

impl<R: Read> Search<R> {
    /// Opens a package.
    ///
    /// # Errors
    /// Where it cannot be read, or is malformed before its files begin. [`Error::Input`] wraps what `package` reported.
    pub fn new(package: R, options: Options) -> Result<Self, Error> {
        let package = Opened::new(package, options.length, options.threads)?;
        Ok(Self {
            package,
            options,
            pending: None,
            config: None,
            shared: Vec::new(),
            modules_passed: 0,
            ended: false,
        })
    }

    /// Which package it is.
    pub fn identity(&self) -> &Identity {
        self.package.identity()
    }

    /// Looks for what belongs to one kernel, known by now.
    pub(crate) fn only(&mut self, release: String) {
        self.options.release = Some(release);
    }

    /// The configuration of the kernel, where it was passed on the way.
    pub fn take_config(&mut self) -> Option<Vec<u8>> {
        self.config.take()
    }

    /// Modules that came before the kernel and were not looked at.
    pub fn modules_passed(&self) -> usize {
        self.modules_passed
    }

    /// Reads until the kernel is complete, and known to be the one meant.
    ///
    /// # Errors
    /// Also where the package does not hold exactly the one kernel meant.
    pub fn kernel(&mut self) -> Result<Found, Error> {
        let places = self.options.places.clone();
        let alone = self.look_at_list()?;
        let mut chosen: Option<Found> = None;
        let mut releases: Vec<String> = Vec::new();
        let mut contents = Contents::default();
        loop {
            let Some(member) = self.package.next_member()? else {
                self.ended = true;
                break;
            };
            if let Some(found) = &chosen
                && releases.len() == 1
                && self.package.identity().is_package_of(&found.release)
                && parent(&member.path) != parent(found.path.as_bytes())
            {
                self.pending = Some(member);
                break;
            }
            contents.note(&places, &member);
            if is_shared(&member) && self.options.aim != Aim::Image && self.shared.len() < SHARED {
                let file = self.keep(&member, Part::Vmlinux)?;
                self.shared.push(file);
                continue;
            }
            let Some((part, release)) = places.part_of(&member.path).filter(|_| member.kind != Kind::Other)
            else {
                continue;
            };
            let wanted = self.options.release.as_deref().is_none_or(|wanted| wanted == release);
            match part {
                Part::Module => {
                    if self.options.before_modules && chosen.is_none() {
                        return Err(Error::AfterModules);
                    }
                    self.modules_passed += 1;
                    // What is wanted comes later: everything before it has to be unpacked.
                    self.package.expect_until(u64::MAX);
                }
                Part::Config if wanted && self.config.is_none() && self.options.aim != Aim::Vmlinux => {
                    let config = self.bytes(&member, CONFIG_LEN)?;
                    if self.options.needs_btf && !is_built_with_btf(&config) {
                        return Err(Error::BuiltWithoutBtf { identity: self.boxed() });
                    }
                    self.config = Some(config);
                }
                Part::Vmlinux | Part::Image if self.options.aim.wants(part) => {
                    if releases.iter().any(|known| known == release) {
                        continue;
                    }
                    if releases.len() < LISTED {
                        releases.push(release.to_owned());
                    }
                    if !wanted || chosen.is_some() {
                        continue;
                    }
                    let file = self.keep(&member, part)?;
                    let path = String::from_utf8_lossy(&member.path).into_owned();
                    let release = release.to_owned();
                    if !self.package.identity().is_package_of(&release) {
                        self.package.expect_until(u64::MAX);
                    }
                    chosen = Some(Found { release, path, is_image: part == Part::Image, file });
                    if self.options.release.is_some() || alone {
                        break;
                    }
                }
                _ => {}
            }
        }
        match (chosen, &self.options.release) {
            (Some(found), wanted) if wanted.is_some() || releases.len() == 1 => Ok(found),
            (Some(_), _) => Err(Error::SeveralKernels { identity: self.boxed(), releases }),
            (None, Some(release)) if !releases.is_empty() => {
                let release = release.clone();
                Err(Error::OtherKernel { identity: self.boxed(), release, found: releases })
            }
            (None, _) => {
                let reason = contents.describe(self.package.identity());
                Err(Error::NoKernel { identity: self.boxed(), reason })
            }
        }
    }

    /// Where a package lists its files before they come: whether the kernel meant is its only one, and the error where it has
    /// none, before its payload is read.
    fn look_at_list(&self) -> Result<bool, Error> {
        let Some(listed) = self.package.listed() else { return Ok(false) };
        let mut releases: Vec<String> = Vec::new();
        let mut contents = Contents::default();
        for file in listed.iter().filter(|file| !file.ghost) {
            let path = file.path.strip_prefix(b"/").unwrap_or(&file.path);
            let regular = file.mode & 0o170_000 == 0o100_000;
            contents.note_path(&self.options.places, path, regular);
            if let Some((part, release)) = self.options.places.part_of(path).filter(|_| regular)
                && self.options.aim.wants(part)
                && !releases.iter().any(|known| known == release)
                && releases.len() < LISTED
            {
                releases.push(release.to_owned());
            }
        }
        let wanted = self.options.release.as_ref();
        match wanted {
            None if releases.len() > 1 => Err(Error::SeveralKernels { identity: self.boxed(), releases }),
            _ if releases.is_empty() => {
                let reason = contents.describe(self.package.identity());
                Err(Error::NoKernel { identity: self.boxed(), reason })
            }
            Some(release) if !releases.contains(release) => {
                let release = release.clone();
                Err(Error::OtherKernel { identity: self.boxed(), release, found: releases })
            }
            _ => Ok(true),
        }
    }

    /// Reads until the configuration of the kernel meant, and gives it; `None`: there is none in the package.
    ///
    /// # Errors
    /// Where the package is malformed.
    pub fn config(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let places = self.options.places.clone();
        while let Some(member) = self.package.next_member()? {
            if let Some((Part::Config, release)) =
                places.part_of(&member.path).filter(|_| member.kind == Kind::File)
                && self.options.release.as_deref().is_none_or(|wanted| wanted == release)
            {
                return self.bytes(&member, CONFIG_LEN).map(Some);
            }
        }
        self.ended = true;
        Ok(None)
    }

    /// The next file to which debug information may refer (`dwz -m`): those before the kernel, then those behind it; `None` at the package's end.
    ///
    /// # Errors
    /// Where the package is malformed, or the file takes more memory than it may.
    pub fn next_shared(&mut self) -> Result<Option<ChunkStore>, Error> {
        if let Some(file) = self.shared.pop() {
            return Ok(Some(file));
        }
        self.package.expect_until(u64::MAX);
        while !self.ended {
            let member = match self.pending.take() {
                Some(member) => Some(member),
                None => self.package.next_member()?,
            };
            match member {
                Some(member) if is_shared(&member) => return self.keep(&member, Part::Vmlinux).map(Some),
                Some(member) => {
                    let module = matches!(self.options.places.part_of(&member.path), Some((Part::Module, _)));
                    self.modules_passed += usize::from(module);
                }
                None => self.ended = true,
            }
        }
        Ok(None)
    }

    /// The next module of the kernel meant; `None` at the package's end.
    ///
    /// # Errors
    /// Where the package is malformed, or a module larger than any is.
    pub fn next_module(&mut self) -> Result<Option<FoundModule>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.package.expect_until(u64::MAX);
        let places = self.options.places.clone();
        loop {
            let member = match self.pending.take() {
                Some(member) => member,
                None => match self.package.next_member()? {
                    Some(member) => member,
                    None => {
                        self.ended = true;
                        return Ok(None);
                    }
                },
            };
            let Some((Part::Module, release)) =
                places.part_of(&member.path).filter(|_| member.kind == Kind::File)
            else {
                continue;
            };
            let wanted = self.options.release.as_deref().is_none_or(|wanted| wanted == release);
            let path = String::from_utf8_lossy(&member.path).into_owned();
            let Some(name) = crate::module::name_of(path.as_ref()).filter(|_| wanted && member.size > 0)
            else {
                continue;
            };
            let bytes = self.bytes(&member, MODULE_LEN)?;
            return Ok(Some(FoundModule { name, path, bytes }));
        }
    }

    /// Leaves off, or reads on to the package's end where the options want the whole.
    ///
    /// # Errors
    /// Where reading on fails, and where an RPM package's payload is not the one that its header describes.
    pub fn end(self) -> Result<End, Error> {
        self.package.end(self.ended, self.options.whole)
    }

    fn boxed(&self) -> Box<Identity> {
        Box::new(self.package.identity().clone())
    }

    /// Checks a file's size and says how far its package will be read for it.
    fn begin(&mut self, member: &Member, limit: u64) -> Result<(), Error> {
        let part = |package: &mut Opened<R>| {
            format!("{} in the unpacked {}", String::from_utf8_lossy(&member.path), package.part())
        };
        if member.kind == Kind::Sparse {
            let reason = "it is stored as a sparse file, which is not read";
            return Err(Error::malformed(part(&mut self.package), member.offset, reason));
        }
        if member.size > limit {
            let what = format!("it has {} bytes, more than the {limit} allowed", member.size);
            return Err(Error::limit(part(&mut self.package), member.offset, what));
        }
        Ok(())
    }

    /// The current file's bytes.
    fn bytes(&mut self, member: &Member, limit: u64) -> Result<Vec<u8>, Error> {
        self.begin(member, limit)?;
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.package.read_data(&mut buffer)? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Reads the current file into memory.
    fn keep(&mut self, member: &Member, part: Part) -> Result<ChunkStore, Error> {
        let limit = if part == Part::Image { IMAGE_LEN } else { self.options.vmlinux_len };
        self.begin(member, limit)?;
        // One header more than vmlinux itself: what follows it tells whether it is the only one.
        let end = self.package.offset().saturating_add(member.size).saturating_add(2 * 512);
        self.package.expect_until(end);
        let mut store = store::Builder::new().map_err(|source| Error::Input { offset: 0, source })?;
        let mut buffer = vec![0; 128 << 10];
        loop {
            match self.package.read_data(&mut buffer)? {
                0 => break,
                count => store.push(&buffer[..count]),
            }
            if store.held() > self.options.memory {
                let what = format!("it takes more than {} MiB even compressed", self.options.memory >> 20);
                let path = String::from_utf8_lossy(&member.path).into_owned();
                return Err(Error::limit(path, self.package.offset(), what));
            }
        }
        Ok(store.finish())
    }
}

/// Whether it is where distributions put what `dwz -m` makes: `usr/lib/debug/.dwz/NAME`.
fn is_shared(member: &Member) -> bool {
    member.kind == Kind::File && member.size > 0 && member.path.starts_with(b"usr/lib/debug/.dwz/")
}

fn parent(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|&byte| byte == b'/').unwrap_or(0)]
}

/// What is in a package without the kernel wanted, to say what it is instead.
#[derive(Default)]
struct Contents {
    /// Release of a bootable kernel.
    image: Option<String>,
    /// Release of a vmlinux with debug information.
    vmlinux: Option<String>,
    /// Files that are not documentation.
    files: usize,
}

impl Contents {
    fn note(&mut self, places: &Places, member: &Member) {
        self.note_path(places, &member.path, member.kind != Kind::Other);
    }

    fn note_path(&mut self, places: &Places, path: &[u8], regular: bool) {
        if !regular || path.starts_with(b"usr/share/doc/") {
            return;
        }
        self.files += 1;
        match places.part_of(path) {
            Some((Part::Image, release)) => self.image = Some(release.to_owned()),
            Some((Part::Vmlinux, release)) => self.vmlinux = Some(release.to_owned()),
            _ => {}
        }
    }

    fn describe(&self, identity: &Identity) -> String {
        if let Some(release) = &self.image {
            format!("it is the bootable image of {release}; its debug package is linux-image-{release}-dbg")
        } else if let Some(release) = &self.vmlinux {
            format!("it is the debug package of {release}")
        } else if self.files == 0 && !identity.depends.is_empty() {
            format!(
                "it is a meta package, which only depends on {}; take the package it depends on",
                identity.depends
            )
        } else {
            format!(
                "it is \"{}\"; kernels are in linux-image-RELEASE[-dbg], kernel-core and kernel-debuginfo",
                identity.synopsis
            )
        }
    }
}
