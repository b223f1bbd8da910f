//! The kernel's configuration, as libbpf's `kconfig` option wants it: text, one `CONFIG_X=y` a line.
//!
//! libbpf itself looks at `/boot/config-R` and `/proc/config.gz`. Where a machine has neither (a container, a kernel
//! without `CONFIG_IKCONFIG_PROC`), an archive may have it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::Attempt;
use crate::kernel::is_absence;
use crate::{Error, Kernel, Loader, Place, Reason};

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
    pub place: Place,
}

impl Loader {
    /// The configuration of the running kernel: out of the machine's files, the directories of
    /// [`Settings::paths`](crate::Settings::paths), or the archives, in this order.
    ///
    /// Give its text to libbpf as `bpf_object_open_opts::kconfig`, for programs with `extern … __kconfig`.
    ///
    /// # Errors
    /// [`Error::NoConfig`] with what each place said, [`Error::Machine`] if the running kernel cannot be told.
    pub fn config(&self) -> Result<Config, Error> {
        let settings = self.settings();
        let kernel = Kernel::running(&settings.root)?;
        let files = kernel.release().map(|release| paths(&settings.root, release)).unwrap_or_default();
        let files = files.into_iter().map(|path| Place::File { path });
        let mut attempts = Vec::new();
        for place in files.chain(self.trees()) {
            let answer = match &place {
                Place::File { path } => read(path),
                _ => self.in_tree(&place, &|tree| {
                    let digest = tree.record(&kernel)?.config.ok_or(Reason::NoConfig)?;
                    text(tree.blob(&digest, MAX_CONFIG)?)
                }),
            };
            match answer {
                Ok(text) => return Ok(Config { text, place }),
                Err(reason) => attempts.push(Attempt { place, reason }),
            }
        }
        Err(Error::NoConfig { attempts })
    }
}
