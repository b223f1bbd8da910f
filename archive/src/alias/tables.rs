//! The spellings themselves, as data.
//!
//! Sources: os-release files as the distributions ship them, BTFHub's directories, `uname -m` of the kernels
//! (`arch/*/Makefile`, `UTS_MACHINE`), Debian's and Fedora's architecture names.

/// Canonical distribution name (os-release `ID`), then other spellings of it, in lower case.
pub(super) const DISTROS: &[(&str, &[&str])] = &[
    ("almalinux", &["alma"]),
    ("amzn", &["amazon", "amazonlinux", "amazon-linux"]),
    ("azurelinux", &["azure-linux"]),
    ("centos", &["centos-stream"]),
    ("debian", &[]),
    ("fedora", &[]),
    ("mariner", &["cbl-mariner"]),
    ("ol", &["oracle", "oraclelinux", "oracle-linux"]),
    // `ID=opensuse` was Leap 42's.
    ("opensuse-leap", &["opensuse_leap", "opensuseleap", "opensuse"]),
    ("opensuse-tumbleweed", &["opensuse_tumbleweed", "tumbleweed"]),
    ("rhel", &["redhat", "red-hat"]),
    ("rocky", &["rockylinux", "rocky-linux"]),
    // The desktop and SAP editions boot the server's kernel packages.
    ("sles", &["sled", "sles_sap", "sles-sap", "suse"]),
    ("ubuntu", &[]),
];

/// One architecture's names.
pub(super) struct Arch {
    /// The name in keys.
    pub(super) name: &'static str,
    /// What `uname -m` prints.
    pub(super) machine: &'static str,
    /// Other spellings: of `uname -m`, of Debian, of RPM.
    pub(super) aliases: &'static [&'static str],
}

/// The architectures whose names differ between BTFHub, `uname -m`, Debian and RPM.
pub(super) const ARCHES: &[Arch] = &[
    Arch { name: "x86_64", machine: "x86_64", aliases: &["amd64", "x64", "x86-64"] },
    // armv8l: a 64-bit kernel as a 32-bit process sees it.
    Arch { name: "arm64", machine: "aarch64", aliases: &["armv8l"] },
    Arch { name: "i386", machine: "i686", aliases: &["i486", "i586", "x86"] },
    Arch { name: "armhf", machine: "armv7l", aliases: &["armv7", "armv7hl", "armhfp"] },
    Arch { name: "armel", machine: "armv5tel", aliases: &["armv5tejl", "armv6l"] },
    Arch { name: "ppc64le", machine: "ppc64le", aliases: &["ppc64el", "powerpc64le"] },
    Arch { name: "loongarch64", machine: "loongarch64", aliases: &["loong64"] },
    Arch { name: "mips64el", machine: "mips64", aliases: &[] },
    Arch { name: "mipsel", machine: "mips", aliases: &[] },
];

/// Debian's `VERSION_ID`s and codenames.
pub(super) const DEBIAN: &[(&str, &str)] = &[
    ("7", "wheezy"),
    ("8", "jessie"),
    ("9", "stretch"),
    ("10", "buster"),
    ("11", "bullseye"),
    ("12", "bookworm"),
    ("13", "trixie"),
    ("14", "forky"),
    ("15", "duke"),
    ("sid", "unstable"),
];

/// Ubuntu's `VERSION_ID`s and codenames.
pub(super) const UBUNTU: &[(&str, &str)] = &[
    ("12.04", "precise"),
    ("14.04", "trusty"),
    ("14.10", "utopic"),
    ("15.04", "vivid"),
    ("15.10", "wily"),
    ("16.04", "xenial"),
    ("16.10", "yakkety"),
    ("17.04", "zesty"),
    ("17.10", "artful"),
    ("18.04", "bionic"),
    ("18.10", "cosmic"),
    ("19.04", "disco"),
    ("19.10", "eoan"),
    ("20.04", "focal"),
    ("20.10", "groovy"),
    ("21.04", "hirsute"),
    ("21.10", "impish"),
    ("22.04", "jammy"),
    ("22.10", "kinetic"),
    ("23.04", "lunar"),
    ("23.10", "mantic"),
    ("24.04", "noble"),
    ("24.10", "oracular"),
    ("25.04", "plucky"),
    ("25.10", "questing"),
    ("26.04", "resolute"),
];

/// The repositories beside a suite; their kernels run on hosts whose os-release says the suite's version.
pub(super) const POCKETS: &[&str] =
    &["-security", "-updates", "-proposed-updates", "-proposed", "-backports-sloppy", "-backports"];

/// Distributions whose minor releases share one kernel repository: the major number is the version.
pub(super) const MAJOR_ONLY: &[&str] = &["almalinux", "centos", "ol", "rhel", "rocky"];

/// Distributions whose packages number rebuilds with one more counter than `uname -r` shows.
pub(super) const REBUILD_COUNTER: &[&str] = &["opensuse-leap", "sles"];
