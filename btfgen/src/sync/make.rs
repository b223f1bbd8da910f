//! One kernel: from its package's address to BTF that is known to be a kernel's.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use btf::Btf;
use btf_archive::{BuildId, Digest, Source};

use crate::repo::offer::{Checksum, OfferedKernel, Role};
use crate::{fetch, package, vmlinux};

/// Why a kernel did not get into the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The network or the server failed, or the server has other bytes than were signed: the next run tries again.
    Passing(String),
    /// The package, or what is in it, cannot be used: trying again gives the same.
    Lasting(String),
    /// The archive has this kernel's key with other content.
    Refused(String),
}

impl Failure {
    /// What happened, for people.
    pub fn reason(&self) -> &str {
        match self {
            Self::Passing(reason) | Self::Lasting(reason) | Self::Refused(reason) => reason,
        }
    }

    /// Whether the same package will fail in the same way.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Passing(_))
    }
}

/// A kernel's BTF, read back and found plausible.
pub(super) struct Made {
    pub(super) btf: Vec<u8>,
    pub(super) build_id: Option<BuildId>,
    pub(super) source: Source,
    /// The package's hash, if it was read to its end.
    pub(super) sha256: Option<Digest>,
}

/// Streams the package until vmlinux is complete, or to its end with `whole`, and makes BTF of it on `threads` threads.
/// `read` counts the bytes of the package as they are read.
pub(super) fn make(
    client: &fetch::Client,
    kernel: &OfferedKernel,
    threads: usize,
    whole: bool,
    read: Arc<AtomicU64>,
) -> Result<Made, Failure> {
    let Some(package) = kernel.package(Role::Debug) else {
        return Err(Failure::Lasting("the repository has no package with its debug information".into()));
    };
    let download = client.open(&package.url).map_err(|error| Failure::Passing(error.to_string()))?;
    if let (Some(len), Some(size)) = (download.len(), package.size)
        && len != size
    {
        let reason = format!("the server's package has {len} bytes, the signed index says {size}");
        return Err(Failure::Passing(reason));
    }
    let options = package::Options {
        release: Some(kernel.release().to_owned()),
        length: package.size,
        threads,
        whole,
        aim: package::Aim::Vmlinux,
        ..Default::default()
    };
    let found = package::read(Counted { download, read }, &options).map_err(of_package)?;
    if (&found.identity.package, &found.identity.version) != (&package.name, &package.version) {
        let reason =
            format!("the server's package is {}, not the one that the signed index names", found.identity);
        return Err(Failure::Passing(reason));
    }
    if let (Some(sha256), Some(expected)) =
        (found.sha256, package.checksum.as_ref().and_then(Checksum::sha256))
        && sha256 != expected
    {
        let reason = format!("the server's package has sha256 {sha256}, the signed index says {expected}");
        return Err(Failure::Passing(reason));
    }
    let lasting = |reason: String| Failure::Lasting(format!("{}: {reason}", found.path));
    let extracted = vmlinux::extract(&found.file, vmlinux::From::Auto, threads)
        .map_err(|error| lasting(error.to_string()))?;
    let lost = extracted.report.lost.len();
    if let Some(first) = extracted.report.lost.first() {
        // An archive's answer is final: BTF that lacks types would stand in the way of the whole.
        let units = extracted.report.units + lost;
        return Err(lasting(format!("{lost} of {units} units of its DWARF could not be read; {first}")));
    }
    match Btf::parse(&extracted.btf) {
        Ok(btf) if vmlinux::is_plausible_kernel(&btf) => {}
        Ok(_) => return Err(lasting("its BTF has no struct task_struct: it is not a kernel's".into())),
        Err(error) => return Err(lasting(format!("its BTF cannot be read back: {error}"))),
    }
    let vmlinux::Extracted { btf, source, build_id, .. } = extracted;
    Ok(Made { btf, build_id, source, sha256: found.sha256 })
}

/// What came from the network may be better next time; what a complete package holds will not.
fn of_package(error: package::Error) -> Failure {
    let reason = error.to_string();
    match error {
        package::Error::Input { .. } | package::Error::Truncated { .. } => Failure::Passing(reason),
        _ => Failure::Lasting(reason),
    }
}

/// Counts what is read through it.
struct Counted<R> {
    download: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.download.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
