//! Whose BTF is wanted: the running kernel, or one named by the caller.
//!
//! The running kernel tells its build-id in `/sys/kernel/notes` (readable by everyone), its release in
//! `/proc/sys/kernel/osrelease` and its architecture in `/proc/sys/kernel/arch` (since Linux 6.1; `uname -m` before).
//! The distribution is os-release's word, which in a container may be another one than the kernel's: the names are
//! second best.

use std::ffi::CStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use btf::Endian;
use btf_archive::{BuildId, Key, OsRelease, alias};

use crate::Error;

/// The files read here are a few hundred bytes; this much of them is looked at.
const MAX_FILE: u64 = 1 << 16;

/// A kernel whose BTF is wanted.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    build_id: Option<BuildId>,
    keys: Vec<Key>,
    release: Option<String>,
    arch: Option<String>,
    running: bool,
}

impl Kernel {
    /// The running kernel, as the files below `root` (`/`, or the mount of the host's root) describe it.
    ///
    /// A missing or forbidden file is no error: what it would have told is unknown then.
    ///
    /// # Errors
    /// [`Error::Machine`] for a file that is there and cannot be read, or is not what it should be.
    pub fn running(root: &Path) -> Result<Self, Error> {
        let build_id = match read(root, "sys/kernel/notes")? {
            Some((path, notes)) => BuildId::from_notes(&notes)
                .map_err(|error| Error::Machine { path, reason: error.to_string() })?,
            None => None,
        };
        let uname = rustix::system::uname();
        let word = |path, otherwise: &CStr| -> Result<String, Error> {
            let told = line(root, path)?;
            Ok(told.unwrap_or_else(|| otherwise.to_string_lossy().into_owned()))
        };
        let release = word("proc/sys/kernel/osrelease", uname.release())?;
        let machine = word("proc/sys/kernel/arch", uname.machine())?;
        let arch = alias::arch_of_machine(&machine, Endian::NATIVE == Endian::Little);

        let keys = keys(root, &arch, &release)?;
        Ok(Self { build_id, keys, release: Some(release), arch: Some(arch), running: true })
    }

    /// A kernel that is installed below `root` and does not run: known by the release that `uname -r` will say.
    ///
    /// # Errors
    /// Those of [`Kernel::running`].
    pub fn installed(root: &Path, release: &str) -> Result<Self, Error> {
        let arch = Self::running(root)?.arch.unwrap_or_default();
        let keys = keys(root, &arch, release)?;
        Ok(Self { build_id: None, keys, release: Some(release.to_owned()), arch: Some(arch), running: false })
    }

    /// A kernel known by its build-id.
    pub fn with_build_id(build_id: BuildId) -> Self {
        Self { build_id: Some(build_id), ..Self::default() }
    }

    /// A kernel known by its key.
    pub fn with_key(key: Key) -> Self {
        Self::default().and_key(key)
    }

    /// The same kernel, of which this is the key.
    #[must_use]
    pub fn and_key(mut self, key: Key) -> Self {
        self.release = Some(key.release().to_owned());
        self.arch = Some(key.arch().to_owned());
        self.keys = vec![key];
        self
    }

    /// The build-id, where known.
    pub fn build_id(&self) -> Option<&BuildId> {
        self.build_id.as_ref()
    }

    /// The keys under which an archive may hold it, the likeliest first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// `uname -r`, where known.
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// The architecture in canonical spelling, where known.
    pub fn arch(&self) -> Option<&str> {
        self.arch.as_deref()
    }

    /// Whether this is the kernel that runs here, whose own files can be asked.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// The byte order that its BTF must have, where known.
    pub(crate) fn endian(&self) -> Option<Endian> {
        if self.running { Some(Endian::NATIVE) } else { Some(shape(self.arch()?)?.0) }
    }

    /// The size of a pointer, in bytes, that its BTF must have, where known.
    pub(crate) fn pointer_size(&self) -> Option<u32> {
        Some(shape(self.arch()?)?.1)
    }
}

/// The keys of the distribution that is installed below `root`, the likeliest first.
fn keys(root: &Path, arch: &str, release: &str) -> Result<Vec<Key>, Error> {
    for path in OsRelease::PATHS {
        if let Some((_, text)) = read(root, path.trim_start_matches('/'))? {
            return Ok(OsRelease::parse(&String::from_utf8_lossy(&text)).keys(arch, release));
        }
    }
    Ok(Vec::new())
}

/// Byte order and pointer size of an architecture, by the name that keys use.
fn shape(arch: &str) -> Option<(Endian, u32)> {
    match arch {
        "x86_64" | "arm64" | "ppc64le" | "riscv64" | "loongarch64" | "mips64el" => Some((Endian::Little, 8)),
        "i386" | "armhf" | "armel" | "mipsel" | "riscv32" => Some((Endian::Little, 4)),
        "s390x" | "ppc64" | "sparc64" => Some((Endian::Big, 8)),
        "ppc" => Some((Endian::Big, 4)),
        _ => None,
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.running { "the running kernel" } else { "kernel" })?;
        if let Some(key) = self.keys.first() {
            write!(f, " {key}")?;
        } else if let Some(release) = &self.release {
            write!(f, " {}", release.escape_debug())?;
        }
        match &self.build_id {
            Some(build_id) => write!(f, " (build-id {build_id})"),
            None if self.running => f.write_str(" (build-id unknown)"),
            None => Ok(()),
        }
    }
}

/// The beginning of a file, `None` if there is no such file.
fn read(root: &Path, path: &str) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    use std::io::Read as _;
    let path = root.join(path);
    let mut bytes = Vec::new();
    match fs::File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some((path, bytes))),
        // A sandbox may hide or forbid what every kernel shows.
        Err(error) if is_absence(&error) || error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(Error::Machine { path, reason: error.to_string() }),
    }
}

/// Whether the error says that there is no such file.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A file's only line, if it holds more than white space.
fn line(root: &Path, path: &str) -> Result<Option<String>, Error> {
    let Some((_, bytes)) = read(root, path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    Ok(Some(text).filter(|text| !text.is_empty()))
}
