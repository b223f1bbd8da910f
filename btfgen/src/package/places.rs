//! Where distributions put what belongs to a kernel.

/// What a file of a package is to a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// vmlinux with its debug information.
    Vmlinux,
    /// What a boot loader starts: vmlinuz, `Image`, or a bare vmlinux.
    Image,
    /// The configuration it was built with.
    Config,
    /// A module, or its debug information.
    Module,
}

/// Places of one kernel beside those that every distribution may use: from a distribution's definition.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The kernel's release.
    pub release: String,
    /// Files, without a slash at the beginning.
    pub files: Vec<(String, Part)>,
    /// Folders with modules below them.
    pub modules: Vec<String>,
}

impl Places {
    /// What a path is: see [`part_of`].
    pub(crate) fn part_of<'a>(&'a self, path: &'a [u8]) -> Option<(Part, &'a str)> {
        if let Some((_, part)) = self.files.iter().find(|(file, _)| file.as_bytes() == path) {
            return Some((*part, &self.release));
        }
        let text = std::str::from_utf8(path).ok();
        let below = |folder: &String| {
            let rest = text.and_then(|path| path.strip_prefix(folder.as_str()));
            rest.is_some_and(|rest| rest.starts_with('/') && is_module(rest))
        };
        if self.modules.iter().any(below) { Some((Part::Module, &self.release)) } else { part_of(path) }
    }
}

/// Names of bootable kernels without their release: beside the modules (Fedora, SUSE).
const IMAGES: [&str; 8] =
    ["vmlinuz", "Image", "image", "vmlinux", "vmlinux.gz", "vmlinux.xz", "vmlinux.zst", "Image.gz"];

/// What a path is, and the release of the kernel that it belongs to.
///
/// | | Debian, Ubuntu | Fedora and its kin | SUSE |
/// |---|---|---|---|
/// | vmlinux | `usr/lib/debug/boot/vmlinux-R`, `usr/lib/debug/lib/modules/R/vmlinux` | the latter | both, ending in `.debug` |
/// | image | `boot/vmlinuz-R`, `boot/vmlinux-R` | `lib/modules/R/vmlinuz` | `boot/…-R`, `usr/lib/modules/R/…` |
/// | configuration | `boot/config-R` | `lib/modules/R/config` | both |
/// | modules | `[usr/]lib/modules/R/….ko[.xz]` | the same | the same |
/// | modules' DWARF | `usr/lib/debug/lib/modules/R/….ko` | the same with `.ko.debug` | the same |
pub(crate) fn part_of(path: &[u8]) -> Option<(Part, &str)> {
    let path = std::str::from_utf8(path).ok()?;
    let (part, release) = match path.strip_prefix("usr/lib/debug/") {
        Some(path) => match path.strip_prefix("boot/vmlinux-") {
            Some(release) => (Part::Vmlinux, release.strip_suffix(".debug").unwrap_or(release)),
            None => {
                let path = path.strip_prefix("usr/").unwrap_or(path);
                let (release, rest) = path.strip_prefix("lib/modules/")?.split_once('/')?;
                match rest {
                    "vmlinux" | "vmlinux.debug" => (Part::Vmlinux, release),
                    rest if is_module(rest) => (Part::Module, release),
                    _ => return None,
                }
            }
        },
        None => match path.strip_prefix("boot/") {
            Some(name) => in_boot(name)?,
            None => {
                let path = path.strip_prefix("usr/").unwrap_or(path);
                let (release, rest) = path.strip_prefix("lib/modules/")?.split_once('/')?;
                match rest {
                    "config" => (Part::Config, release),
                    rest if IMAGES.contains(&rest) => (Part::Image, release),
                    rest if is_module(rest) => (Part::Module, release),
                    _ => return None,
                }
            }
        },
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~:-".contains(&byte);
    (!release.is_empty() && release.len() <= 128 && release.bytes().all(plain)).then_some((part, release))
}

fn in_boot(name: &str) -> Option<(Part, &str)> {
    if let Some(release) = name.strip_prefix("config-") {
        return Some((Part::Config, release));
    }
    let release =
        ["vmlinuz-", "vmlinux-", "Image-", "image-"].iter().find_map(|kind| name.strip_prefix(kind))?;
    let endings = [".gz", ".xz", ".zst"];
    Some((Part::Image, endings.iter().find_map(|ending| release.strip_suffix(ending)).unwrap_or(release)))
}

fn is_module(path: &str) -> bool {
    crate::module::name_of(path.as_ref()).is_some()
}

/// Whether a kernel with this configuration has BTF inside.
pub(crate) fn is_built_with_btf(config: &[u8]) -> bool {
    config.split(|&byte| byte == b'\n').any(|line| line == b"CONFIG_DEBUG_INFO_BTF=y")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check real paths of several distributions.
    #[test]
    fn paths() {
        for (path, expected) in [
            ("usr/lib/debug/boot/vmlinux-6.1.0-50-686", (Part::Vmlinux, "6.1.0-50-686")),
            ("usr/lib/debug/lib/modules/7.2.1+deb14-armmp/vmlinux", (Part::Vmlinux, "7.2.1+deb14-armmp")),
            (
                "usr/lib/debug/usr/lib/modules/6.4.0-1-default/vmlinux.debug",
                (Part::Vmlinux, "6.4.0-1-default"),
            ),
            ("usr/lib/debug/boot/vmlinux-4.12.14-1-default.debug", (Part::Vmlinux, "4.12.14-1-default")),
            ("boot/vmlinuz-6.1.0-50-amd64", (Part::Image, "6.1.0-50-amd64")),
            ("boot/vmlinux-6.12.9+deb13-powerpc64le", (Part::Image, "6.12.9+deb13-powerpc64le")),
            ("boot/vmlinux-5.14.21-1-default.gz", (Part::Image, "5.14.21-1-default")),
            ("lib/modules/6.11.4-301.fc41.x86_64/vmlinuz", (Part::Image, "6.11.4-301.fc41.x86_64")),
            ("usr/lib/modules/6.4.0-1-default/Image", (Part::Image, "6.4.0-1-default")),
            ("boot/config-6.1.0-50-amd64", (Part::Config, "6.1.0-50-amd64")),
            ("lib/modules/6.11.4-301.fc41.x86_64/config", (Part::Config, "6.11.4-301.fc41.x86_64")),
            ("usr/lib/modules/6.12.9/kernel/fs/ext4/ext4.ko.xz", (Part::Module, "6.12.9")),
            ("usr/lib/debug/lib/modules/5.10.0-9-686/kernel/fs/ext4/ext4.ko", (Part::Module, "5.10.0-9-686")),
            (
                "usr/lib/debug/usr/lib/modules/6.1.x86_64/kernel/fs/ext4.ko.debug",
                (Part::Module, "6.1.x86_64"),
            ),
        ] {
            assert_eq!(part_of(path.as_bytes()), Some(expected), "{path}");
        }
        for path in [
            "boot/System.map-6.1",
            "usr/lib/debug/vmlinux",
            "lib/modules/6.1/build",
            "boot/vmlinuz-",
            "a",
            "",
        ] {
            assert_eq!(part_of(path.as_bytes()), None, "{path}");
        }
    }

    /// Check that places of a definition count beside the others, for their release only.
    #[test]
    fn places_of_a_definition() {
        let places = Places {
            release: "5.4-vendor".into(),
            files: vec![("opt/kernel/vmlinux".into(), Part::Vmlinux)],
            modules: vec!["opt/kernel/modules".into()],
        };
        assert_eq!(places.part_of(b"opt/kernel/vmlinux"), Some((Part::Vmlinux, "5.4-vendor")));
        assert_eq!(places.part_of(b"opt/kernel/modules/fs/a.ko"), Some((Part::Module, "5.4-vendor")));
        assert_eq!(places.part_of(b"opt/kernel/modules.ko"), None);
        assert_eq!(places.part_of(b"boot/vmlinuz-6.1"), Some((Part::Image, "6.1")));
    }

    /// Check that only the option itself counts, not a comment that says it is not set.
    #[test]
    fn configurations() {
        assert!(is_built_with_btf(b"A=y\nCONFIG_DEBUG_INFO_BTF=y\nCONFIG_DEBUG_INFO_BTF_MODULES=y\n"));
        assert!(!is_built_with_btf(b"# CONFIG_DEBUG_INFO_BTF is not set\nCONFIG_DEBUG_INFO_BTF_MODULES=y\n"));
    }
}
