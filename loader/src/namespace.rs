//! A private mount namespace in which libbpf finds BTF: `/boot/vmlinux-R`, the first place where it looks after the
//! kernel itself, for one process and its children only.
//!
//! A mount needs something to be mounted on, and nothing is to be written to the machine. So a tmpfs takes the place of
//! `/boot`, with everything that lies there mounted into it again, and the BTF beside it.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use rustix::thread::UnshareFlags;

/// Why there is no such namespace.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct NamespaceError {
    what: String,
    source: io::Error,
}

/// Adds what was being done to an error.
fn doing<T>(what: impl Into<String>, result: Result<T, impl Into<io::Error>>) -> Result<T, NamespaceError> {
    result.map_err(|source| NamespaceError { what: what.into(), source: source.into() })
}

/// Moves this process, which must have one thread, to a mount namespace of its own in which `/boot/vmlinux-RELEASE`
/// has these bytes. Its children inherit that; nobody else sees it.
///
/// # Errors
/// [`NamespaceError`], mostly for want of `CAP_SYS_ADMIN`.
pub fn enter_with_btf(release: &str, bytes: &[u8]) -> Result<(), NamespaceError> {
    unshare()?;
    // What is mounted from here on must not be seen by others, as it would where `/` is shared (systemd does that).
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    doing("cannot make mounts private", mount_change("/", private))?;
    let boot = Path::new("/boot");
    doing("cannot make /boot", fs::create_dir_all(boot))?;
    // The directory that is about to be covered stays open.
    let covered = doing("cannot open /boot", File::open(boot))?;
    let entries =
        doing("cannot list /boot", fs::read_dir(boot).and_then(Iterator::collect::<io::Result<Vec<_>>>))?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    doing("cannot mount a tmpfs on /boot", mount("btf-fetch", boot, "tmpfs", flags, c"mode=755"))?;
    let name = format!("vmlinux-{release}");
    for entry in entries {
        if *entry.file_name() == *name {
            continue;
        }
        let what = || format!("cannot mount /boot/{} again", entry.file_name().display());
        let target = boot.join(entry.file_name());
        let source = Path::new("/proc/self/fd").join(covered.as_raw_fd().to_string()).join(entry.file_name());
        let kind = doing(what(), entry.file_type())?;
        if kind.is_symlink() {
            let link = doing(what(), fs::read_link(&source))?;
            doing(what(), std::os::unix::fs::symlink(link, &target))?;
            continue;
        }
        doing(what(), if kind.is_dir() { fs::create_dir(&target) } else { File::create(&target).map(drop) })?;
        doing(what(), mount_bind_recursive(&source, &target))?;
    }
    doing(format!("cannot write /boot/{name}"), fs::write(boot.join(name), bytes))
}

#[expect(unsafe_code, reason = "unshare(2) has no safe form: it could take away what other threads use")]
fn unshare() -> Result<(), NamespaceError> {
    // SAFETY: of all that can be unshared only descriptors (CLONE_FILES) can break I/O safety; NEWNS separates mounts,
    // and the file system context (root, working directory, umask) of the calling thread.
    doing("cannot have a mount namespace of its own", unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)
    })
}
