//! Which of a Debian index's packages hold a kernel's debug information.
//!
//! `linux-image-{release}-dbg` in Debian, `linux-image-[unsigned-]{release}-dbgsym` in its derivatives, where `{release}` is what
//! `uname -r` will say. Three traps: metapackages have such names too (`linux-image-686-pae-dbg`, `linux-image-6.1-686-pae-dbg`), one name
//! may be there in several versions, and one release may be there twice, signed and unsigned. Nothing here stops at a
//! first match: every kernel is listed, and flavours do not hide one another.

use std::cmp::Ordering;

use btf_archive::Digest;

use super::deb822::Paragraph;

/// Kernels' debug packages are hundreds of megabytes; below this, in bytes, one that depends on another package, or
/// installs next to nothing, is a metapackage.
const META_SIZE: u64 = 10_000_000;
/// What a metapackage installs at most, in KiB: a changelog and a copyright file.
const META_INSTALLED: u64 = 64;

/// A package that holds the debug information of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugPackage {
    /// What `uname -r` says on this kernel.
    pub release: String,
    /// `686-pae`, `cloud-amd64`: the release without version and ABI.
    pub flavour: String,
    /// Name of the package.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// Name of its source package.
    pub source: String,
    /// Where it is, relative to the archive's base.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Signed hash of the whole package.
    pub sha256: Digest,
}

/// The kernel's debug package that a paragraph of a `Packages` index describes, if it does.
pub(crate) fn debug_package(paragraph: &Paragraph<'_>) -> Option<DebugPackage> {
    let package = paragraph.get("Package")?;
    let release = release_of_package(package)?;
    let size: u64 = paragraph.get("Size")?.parse().ok()?;
    let installed = paragraph.get("Installed-Size").and_then(|kib| kib.parse::<u64>().ok());
    let depends = paragraph.get("Depends").is_some_and(|depends| !depends.is_empty());
    if size < META_SIZE && (depends || installed.is_some_and(|kib| kib <= META_INSTALLED)) {
        return None;
    }
    let version = paragraph.get("Version")?;
    // `Source: linux-signed-amd64 (7.2.13+1)`: the version in parentheses is the source's, where it differs.
    let source = paragraph.get("Source").and_then(|source| source.split_ascii_whitespace().next());
    Some(DebugPackage {
        release: release.to_owned(),
        flavour: flavour(release).to_owned(),
        package: package.to_owned(),
        version: version.to_owned(),
        source: source.unwrap_or(package).to_owned(),
        path: paragraph.get("Filename")?.to_owned(),
        size,
        sha256: paragraph.get("SHA256")?.parse().ok()?,
    })
}

/// The release in a debug package's name, if it is one: a kernel's has at least two numbers (`6.1`).
fn release_of_package(package: &str) -> Option<&str> {
    let name = package.strip_prefix("linux-image-")?;
    let name = name.strip_suffix("-dbg").or_else(|| name.strip_suffix("-dbgsym"))?;
    let name = name.strip_prefix("unsigned-").unwrap_or(name);
    let release = name.strip_suffix("-unsigned").unwrap_or(name);
    let (major, rest) = release.split_once('.')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(major) && rest.starts_with(|first: char| first.is_ascii_digit()) && rest.contains('-'))
        .then_some(release)
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

/// Compares two package versions as dpkg does: epoch, upstream version, Debian revision (deb-version(7)).
pub(crate) fn compare_versions(left: &str, right: &str) -> Ordering {
    fn parts(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), upstream, revision)
    }
    let (left, right) = (parts(left), parts(right));
    left.0
        .cmp(&right.0)
        .then_with(|| compare_part(left.1, right.1))
        .then_with(|| compare_part(left.2, right.2))
}

/// Compares by turns a run of other characters and a run of digits; `~` sorts before the end, letters before the rest.
fn compare_part(mut left: &str, mut right: &str) -> Ordering {
    fn weight(byte: Option<u8>) -> i32 {
        match byte {
            Some(b'~') => -1,
            None => 0,
            Some(byte) if byte.is_ascii_digit() => 0,
            Some(byte) if byte.is_ascii_alphabetic() => i32::from(byte),
            Some(byte) => i32::from(byte) + 256,
        }
    }
    fn split(text: &str, digits: bool) -> (&str, &str) {
        let end = text.bytes().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(text.len());
        text.split_at(end)
    }
    while !left.is_empty() || !right.is_empty() {
        let ((left_word, left_rest), (right_word, right_rest)) = (split(left, false), split(right, false));
        for at in 0..left_word.len().max(right_word.len()) {
            let byte = |word: &str| weight(word.as_bytes().get(at).copied());
            match byte(left_word).cmp(&byte(right_word)) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        let ((left_number, left_rest), (right_number, right_rest)) =
            (split(left_rest, true), split(right_rest, true));
        let significant = |number: &'_ str| number.trim_start_matches('0').len();
        let by_length = significant(left_number).cmp(&significant(right_number));
        let by_digits = || left_number.trim_start_matches('0').cmp(right_number.trim_start_matches('0'));
        match by_length.then_with(by_digits) {
            Ordering::Equal => (left, right) = (left_rest, right_rest),
            unequal => return unequal,
        }
    }
    Ordering::Equal
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

    fn parsed(text: &str) -> Option<DebugPackage> {
        debug_package(&Paragraph::parse(text.as_bytes()).unwrap())
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
            "linux-image-6.1.0-47-686-pae",
            "linux-libc-dev-dbg",
            "linux-image--dbg",
        ] {
            assert_eq!(parsed(&paragraph(other, 700_000_000, "")), None, "{other}");
        }
        let kernel =
            parsed(&paragraph("linux-image-6.1.0-47-686-pae-dbg", 764_364_708, "Installed-Size: 3415098\n"))
                .unwrap();
        assert_eq!((kernel.release.as_str(), kernel.flavour.as_str()), ("6.1.0-47-686-pae", "686-pae"));
        assert_eq!(kernel.version, "6.1.170-3");
    }

    /// Check that signed, unsigned and dbgsym names give the same release.
    #[test]
    fn package_names() {
        for package in [
            "linux-image-5.4.0-42-generic-dbgsym",
            "linux-image-unsigned-5.4.0-42-generic-dbgsym",
            "linux-image-5.4.0-42-generic-unsigned-dbg",
        ] {
            assert_eq!(release_of_package(package), Some("5.4.0-42-generic"));
        }
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

    /// Check the order of versions against dpkg's own verdicts.
    #[test]
    fn versions_as_dpkg_orders_them() {
        let versions = [
            "6.1.170-3",
            "6.1.176-1",
            "6.12.95-1~bpo12+1",
            "6.12.95-1",
            "6.12.117-1~deb12u1",
            "1:4.9-1",
            "4.9",
            "4.9-0",
            "7.0~rc3-1",
            "7.0-1",
            "6.1.99-1",
            "6.1.099-1",
            "5.10.0a-1",
            "5.10.0+b-1",
            "2.0.7s-1",
            "2.0.7-1",
        ];
        for left in versions {
            for right in versions {
                let dpkg = |operator| {
                    let status = std::process::Command::new("dpkg")
                        .args(["--compare-versions", left, operator, right])
                        .status();
                    status.expect("dpkg is needed").success()
                };
                let expected = if dpkg("lt") {
                    Ordering::Less
                } else if dpkg("gt") {
                    Ordering::Greater
                } else {
                    Ordering::Equal
                };
                assert_eq!(compare_versions(left, right), expected, "{left} and {right}");
            }
        }
    }
}
