//! The kernel's configuration, as libbpf's `kconfig` option wants it: text, one `CONFIG_X=y` a line.
//!
//! libbpf itself looks at `/boot/config-R` and `/proc/config.gz`. Where a machine has neither (a container, a kernel
//! without `CONFIG_IKCONFIG_PROC`), an archive may have it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::kernel::is_absence;
use crate::{Kernel, Reason};

/// The largest configuration taken, in bytes; a distribution's has 300 thousand.
pub(crate) const MAX_CONFIG: usize = 8 << 20;

/// The files that may hold the configuration of the running kernel `release`.
pub(crate) fn paths(root: &Path, release: &str) -> Vec<PathBuf> {
    let mut paths = vec![root.join("proc/config.gz")];
    if !release.is_empty() && !release.contains('/') && !release.starts_with('.') {
        paths.insert(0, root.join(format!("boot/config-{release}")));
        paths.push(root.join(format!("lib/modules/{release}/config")));
        paths.push(root.join(format!("usr/lib/modules/{release}/config")));
    }
    paths
}

/// Reads a configuration from a file, compressed by gzip or not.
pub(crate) fn read(path: &Path) -> Result<String, Reason> {
    let mut file = File::open(path)
        .map_err(|error| if is_absence(&error) { Reason::Absent } else { Reason::Io(error) })?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        text(bytes(&mut flate2::read::GzDecoder::new(file))?)
    } else {
        text(bytes(&mut file)?)
    }
}

fn bytes(from: &mut dyn Read) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::new();
    from.take(MAX_CONFIG as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_CONFIG { Err(Reason::TooLarge { limit: MAX_CONFIG }) } else { Ok(bytes) }
}

/// Checks that these are the bytes of a configuration.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, Reason> {
    let refuse = |what| Reason::Io(io::Error::new(io::ErrorKind::InvalidData, what));
    let text = String::from_utf8(bytes).map_err(|_| refuse("a configuration that is no UTF-8"))?;
    if text.lines().any(|line| line.starts_with("CONFIG_")) {
        Ok(text)
    } else {
        Err(refuse("not a kernel's configuration: it sets nothing"))
    }
}

/// Whether a kernel with this configuration has BTF of its own.
pub fn has_btf(config: &str) -> bool {
    config.lines().any(|line| line.trim_end() == "CONFIG_DEBUG_INFO_BTF=y")
}

/// Configuration text, and where it was found.
#[derive(Debug)]
pub struct Config {
    /// The text.
    pub text: String,
    /// Where.
    pub place: crate::Place,
}

impl Config {
    /// The configuration of the running kernel, out of its files below `root`.
    pub(crate) fn of_machine(root: &Path, kernel: &Kernel) -> Result<Self, Vec<crate::Attempt>> {
        let mut attempts = Vec::new();
        for path in kernel.release().map(|release| paths(root, release)).unwrap_or_default() {
            let place = crate::Place::File { path: path.clone() };
            match read(&path) {
                Ok(text) => return Ok(Self { text, place }),
                Err(reason) => attempts.push(crate::Attempt { place, reason }),
            }
        }
        Err(attempts)
    }
}
