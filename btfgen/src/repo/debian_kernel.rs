//! Which of a Debian index's packages hold parts of a kernel.
//!
//! `linux-image-{release}-dbg` in Debian and `linux-image-[unsigned-]{release}-dbgsym` in its derivatives hold the debug information, where
//! `{release}` is what `uname -r` will say; `linux-image-[unsigned-]{release}[-unsigned]` the kernel that boots, in Debian since Linux 7
//! `linux-binary-[unsigned-]{release}`, with `linux-modules-{release}` and `linux-base-{release}` (the configuration) beside it. Three traps:
//! metapackages have such names too (`linux-image-686-pae-dbg`, `linux-image-6.1-686-pae-dbg`), one name may be there in several
//! versions, and one release may be there twice, signed and unsigned. Nothing here stops at a first match: every kernel is
//! listed, and flavours do not hide one another.

use std::collections::BTreeMap;

use btf_archive::Digest;

use super::deb822::Paragraph;
use super::offer::Role;

/// Kernels' debug packages are hundreds of megabytes; below this, in bytes, one that depends on another package, or
/// installs next to nothing, is a metapackage.
const META_DEBUG: u64 = 10_000_000;
/// The same for the package that boots: the smallest kernel is larger.
const META_IMAGE: u64 = 1_000_000;
/// What a metapackage installs at most, in KiB: a changelog and a copyright file.
const META_INSTALLED: u64 = 64;

/// A package that holds a part of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelPackage {
    /// Which part.
    pub(crate) role: Role,
    /// What `uname -r` says on this kernel.
    pub(crate) release: String,
    /// Name of the package.
    pub(crate) package: String,
    /// Version of the package.
    pub(crate) version: String,
    /// Name of its source package.
    pub(crate) source: String,
    /// Where it is, relative to the archive's base.
    pub(crate) path: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Signed hash of the whole package.
    pub(crate) sha256: Digest,
}

/// The part of a kernel that a paragraph of a `Packages` index describes, if it does.
pub(crate) fn kernel_package(paragraph: &Paragraph<'_>) -> Option<KernelPackage> {
    let package = paragraph.get("Package")?;
    let (role, release) = part_of_kernel(package)?;
    let size: u64 = paragraph.get("Size")?.parse().ok()?;
    let installed = paragraph.get("Installed-Size").and_then(|kib| kib.parse::<u64>().ok());
    let depends = paragraph.get("Depends").is_some_and(|depends| !depends.is_empty());
    let meta_size = match role {
        Role::Debug => META_DEBUG,
        Role::Image => META_IMAGE,
        _ => 0,
    };
    if size < meta_size && (depends || installed.is_some_and(|kib| kib <= META_INSTALLED)) {
        return None;
    }
    let version = paragraph.get("Version")?;
    // `Source: linux-signed-amd64 (7.2.13+1)`: the version in parentheses is the source's, where it differs.
    let source = paragraph.get("Source").and_then(|source| source.split_ascii_whitespace().next());
    Some(KernelPackage {
        role,
        release: release.to_owned(),
        package: package.to_owned(),
        version: version.to_owned(),
        source: source.unwrap_or(package).to_owned(),
        path: paragraph.get("Filename")?.to_owned(),
        size,
        sha256: paragraph.get("SHA256")?.parse().ok()?,
    })
}

/// The packages of one kernel, the debug package first: those of one release and one version, the largest of each role (of the signed
/// and the unsigned one, one may be a shell).
pub(crate) fn by_kernel(packages: Vec<KernelPackage>) -> Vec<Vec<KernelPackage>> {
    let mut kernels: BTreeMap<(String, String), BTreeMap<Role, KernelPackage>> = BTreeMap::new();
    for package in packages {
        let roles = kernels.entry((package.release.clone(), package.version.clone())).or_default();
        if roles.get(&package.role).is_none_or(|known| known.size < package.size) {
            roles.insert(package.role, package);
        }
    }
    let debug_first = |roles: BTreeMap<Role, KernelPackage>| {
        let mut packages: Vec<_> = roles.into_values().collect();
        packages.sort_by_key(|package| package.role != Role::Debug);
        packages
    };
    kernels.into_values().map(debug_first).collect()
}

/// What a package's name says that it holds, and of which release: a kernel's has at least two numbers (`6.1`).
fn part_of_kernel(package: &str) -> Option<(Role, &str)> {
    let (stem, role) = [
        ("linux-image-", Role::Image),
        ("linux-binary-", Role::Image),
        ("linux-modules-", Role::Modules),
        ("linux-base-", Role::Config),
    ]
    .into_iter()
    .find_map(|(prefix, role)| Some((package.strip_prefix(prefix)?, role)))?;
    let debug = stem.strip_suffix("-dbg").or_else(|| stem.strip_suffix("-dbgsym"));
    let (name, role) = match debug {
        Some(name) if package.starts_with("linux-image-") => (name, Role::Debug),
        Some(_) => return None,
        None => (stem, role),
    };
    let name = name.strip_prefix("unsigned-").unwrap_or(name);
    let release = name.strip_suffix("-unsigned").unwrap_or(name);
    let (major, rest) = release.split_once('.')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(major) && rest.starts_with(|first: char| first.is_ascii_digit()) && rest.contains('-'))
        .then_some((role, release))
}

/// A release without its version and ABI: `686-pae` of `6.1.0-47-686-pae`, `amd64` of `6.12.94+deb13-amd64`.
pub(crate) fn flavour(release: &str) -> &str {
    let Some((version, mut rest)) = release.split_once('-') else { return "" };
    let mut take = |matches: &dyn Fn(&str) -> bool| {
        if let Some((word, after)) = rest.split_once('-').filter(|(word, _)| matches(word)) {
            rest = after;
            return Some(word);
        }
        None
    };
    take(&|word| word.starts_with("rc") && word[2..].bytes().all(|byte| byte.is_ascii_digit()));
    // Since 6.12 the version names Debian's release (`+deb13`) and there is no ABI number any more.
    if !version.contains('+') {
        let abi = |word: &str| {
            word == "trunk" || word.starts_with("0.") || word.bytes().all(|byte| byte.is_ascii_digit())
        };
        take(&abi);
    }
    rest
}

/// Whether Debian builds such a kernel with BTF inside (`CONFIG_DEBUG_INFO_BTF`); an expectation, not a promise.
pub(crate) fn likely_embeds_btf(debian_arch: &str, release: &str) -> bool {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match debian_arch {
        "amd64" | "arm64" => version >= (5, 10),
        "ppc64el" | "s390x" | "riscv64" | "loong64" => version >= (6, 12),
        _ => false, // no 32-bit or mips kernel of Debian has it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paragraph(package: &str, size: u64, more: &str) -> String {
        format!(
            "Package: {package}\nSource: linux\nVersion: 6.1.170-3\nArchitecture: i386\n{more}\
             Filename: pool/main/l/linux/{package}_6.1.170-3_i386.deb\nSize: {size}\nSHA256: {}\n",
            "ab".repeat(32)
        )
    }

    fn parsed(text: &str) -> Option<KernelPackage> {
        kernel_package(&Paragraph::parse(text.as_bytes()).unwrap())
    }

    /// Check that metapackages are told from kernels by their names, sizes and dependencies.
    #[test]
    fn metapackages() {
        let depends = "Depends: linux-image-6.1.0-47-686-pae-dbg (= 6.1.170-3)\n";
        for meta in [
            "linux-image-686-pae-dbg",
            "linux-image-6.1-686-pae-dbg",
            "linux-image-amd64-dbg",
            "linux-image-4kc-malta-dbg",
        ] {
            assert_eq!(parsed(&paragraph(meta, 1340, depends)), None, "{meta}");
        }
        assert_eq!(parsed(&paragraph("linux-image-6.1-686-pae-dbg", 1340, "Installed-Size: 13\n")), None);
        for other in [
            "linux-headers-6.1.0-47-686-pae",
            "linux-modules-6.1.0-47-686-pae-dbg",
            "linux-libc-dev-dbg",
            "linux-image--dbg",
        ] {
            assert_eq!(parsed(&paragraph(other, 700_000_000, "")), None, "{other}");
        }
        let kernel =
            parsed(&paragraph("linux-image-6.1.0-47-686-pae-dbg", 764_364_708, "Installed-Size: 3415098\n"))
                .unwrap();
        assert_eq!((kernel.role, kernel.release.as_str()), (Role::Debug, "6.1.0-47-686-pae"));
        assert_eq!(kernel.version, "6.1.170-3");
    }

    /// Check that the names of all parts, signed and unsigned, give the same release.
    #[test]
    fn package_names() {
        for (package, role) in [
            ("linux-image-5.4.0-42-generic-dbgsym", Role::Debug),
            ("linux-image-unsigned-5.4.0-42-generic-dbgsym", Role::Debug),
            ("linux-image-5.4.0-42-generic-unsigned-dbg", Role::Debug),
            ("linux-image-5.4.0-42-generic", Role::Image),
            ("linux-image-unsigned-5.4.0-42-generic", Role::Image),
            ("linux-image-5.4.0-42-generic-unsigned", Role::Image),
            ("linux-binary-5.4.0-42-generic", Role::Image),
            ("linux-binary-unsigned-5.4.0-42-generic", Role::Image),
            ("linux-modules-5.4.0-42-generic", Role::Modules),
            ("linux-base-5.4.0-42-generic", Role::Config),
        ] {
            assert_eq!(part_of_kernel(package), Some((role, "5.4.0-42-generic")));
        }
        assert_eq!(part_of_kernel("linux-modules-extra-5.4.0-42-generic"), None);
        assert_eq!(part_of_kernel("linux-base"), None);
    }

    /// Check that a kernel's packages come together by release and version, the debug package first, and that of a signed and an
    /// unsigned package the larger is taken.
    #[test]
    fn kernels_of_packages() {
        let image = "Depends: linux-base\n";
        let packages = [
            ("linux-image-6.1.0-47-686", 60_000_000, image),
            ("linux-image-6.1.0-47-686-unsigned", 1_000, image),
            ("linux-image-6.1.0-47-686-pae", 2_000_000, ""),
            ("linux-image-6.1.0-47-686-pae-unsigned", 60_000_000, image),
            ("linux-image-6.1.0-47-686-dbg", 600_000_000, ""),
        ];
        let packages = packages.map(|(name, size, more)| parsed(&paragraph(name, size, more)));
        assert_eq!(packages[1], None, "a metapackage");
        let kernels = by_kernel(packages.into_iter().flatten().collect());
        let names: Vec<Vec<&str>> =
            kernels.iter().map(|of| of.iter().map(|package| package.package.as_str()).collect()).collect();
        let expected = [
            &["linux-image-6.1.0-47-686-dbg", "linux-image-6.1.0-47-686"][..],
            &["linux-image-6.1.0-47-686-pae-unsigned"],
        ];
        assert_eq!(names, expected);
    }

    /// Check that the flavour is found in every form of release that Debian has used.
    #[test]
    fn flavours() {
        for (release, expected) in [
            ("6.1.0-47-686-pae", "686-pae"),
            ("6.1.0-47-686", "686"),
            ("6.1.0-47-rt-686-pae", "rt-686-pae"),
            ("6.1.0-0.deb11.48-rt-686-pae", "rt-686-pae"),
            ("4.19.0-0.bpo.19-cloud-amd64", "cloud-amd64"),
            ("6.12.107+deb13-cloud-amd64", "cloud-amd64"),
            ("6.12.107+deb13-686", "686"),
            ("7.2.13+deb14-arm64-16k", "arm64-16k"),
            ("6.3-rc5-686", "686"),
            ("6.1.0-50-4kc-malta", "4kc-malta"),
            ("6.11-trunk-amd64", "amd64"),
        ] {
            assert_eq!(flavour(release), expected, "{release}");
        }
    }

    /// Check that the expectation of embedded BTF follows architecture and version.
    #[test]
    fn embedded_btf() {
        assert!(likely_embeds_btf("amd64", "5.10.0-30-amd64"));
        assert!(!likely_embeds_btf("amd64", "4.19.0-27-amd64"));
        assert!(!likely_embeds_btf("i386", "6.1.0-47-686-pae"));
        assert!(!likely_embeds_btf("s390x", "6.1.0-47-s390x"));
        assert!(likely_embeds_btf("s390x", "6.12.94+deb13-s390x"));
        assert!(!likely_embeds_btf("armhf", "7.2.13+deb14-armmp"));
    }
}
