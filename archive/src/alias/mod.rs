//! The spellings of one and the same kernel, in both directions.
//!
//! Hosts, distributions, RPM, Debian and BTFHub name the same things differently: `aarch64` and `arm64`, `bullseye` and
//! `11`, `2018.03` and `2018`. [`distro`], [`version`] and [`arch`] bring any of them to the one spelling that keys use;
//! [`distro_spellings`], [`version_spellings`] and [`arch_spellings`] list what the others call it. An unknown name is
//! its own canonical spelling, in lower case. The functions are total: hostile text gives odd text, never a panic.
//!
//! Releases (`uname -r`) have one spelling only, except SUSE's: see [`same_release`].

mod tables;

use tables::{ARCHES, DEBIAN, DISTROS, MAJOR_ONLY, POCKETS, REBUILD_COUNTER, UBUNTU};

/// `text` without the white space and quotes that os-release values come with.
pub(crate) fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\'']).trim()
}

/// The canonical name of a distribution (os-release's `ID`): `"Oracle"` → `ol`.
pub fn distro(name: &str) -> String {
    let name = unquoted(name).to_ascii_lowercase();
    match DISTROS.iter().find(|(_, aliases)| aliases.contains(&name.as_str())) {
        Some((canonical, _)) => (*canonical).to_owned(),
        None => name,
    }
}

/// Every known spelling of a distribution's canonical name, itself first.
pub fn distro_spellings(canonical: &str) -> Vec<&str> {
    let aliases = DISTROS.iter().find(|(name, _)| *name == canonical).map_or(&[][..], |(_, aliases)| aliases);
    [canonical].into_iter().chain(aliases.iter().copied()).collect()
}

/// The canonical version of a distribution, given the distribution's canonical name: `debian`, `bullseye` → `11`.
pub fn version(distro: &str, version: &str) -> String {
    let version = unquoted(version).to_ascii_lowercase();
    match distro {
        "debian" => suite(DEBIAN, 1, &version),
        "ubuntu" => suite(UBUNTU, 2, &version),
        "amzn" => amazon(version),
        "sles" | "opensuse-leap" => service_pack(version),
        _ if MAJOR_ONLY.contains(&distro) => major(version),
        _ => version,
    }
}

/// The canonical version where the distribution is not told: a codename tells by itself, a number stays as it is.
pub fn version_of_any(version: &str) -> String {
    let same = unquoted(version).to_ascii_lowercase();
    ["debian", "ubuntu"]
        .iter()
        .map(|distro| self::version(distro, &same))
        .find(|found| {
            // A codename became a number; a mere point release is not to be cut here.
            *found != same && !same.starts_with(|first: char| first.is_ascii_digit())
        })
        .unwrap_or(same)
}

/// Debian's and Ubuntu's: a codename, perhaps with a pocket; or a number, perhaps with a point release.
fn suite(codenames: &[(&str, &str)], significant: usize, version: &str) -> String {
    let name = POCKETS.iter().find_map(|pocket| version.strip_suffix(pocket)).unwrap_or(version);
    if let Some((number, _)) = codenames.iter().find(|(_, codename)| *codename == name) {
        return (*number).to_owned();
    }
    leading_numbers(name, significant).unwrap_or(name).to_owned()
}

/// The first `count` numbers of a dotted version, when it consists of at least so many numbers and nothing else.
fn leading_numbers(version: &str, count: usize) -> Option<&str> {
    let numeric =
        version.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !numeric {
        return None;
    }
    match version.match_indices('.').nth(count - 1) {
        Some((end, _)) => Some(&version[..end]),
        None => Some(version),
    }
}

/// Amazon Linux: the first one was a rolling repository that named itself by year and month, BTFHub calls it `2018`.
fn amazon(version: String) -> String {
    match leading_numbers(&version, 1) {
        Some("1") => "2018".to_owned(),
        Some(year) if matches!(year.parse(), Ok(2011..=2018)) => "2018".to_owned(),
        Some(number) => number.to_owned(),
        None => version,
    }
}

/// `15-SP4`, `15sp4` → `15.4`.
fn service_pack(version: String) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match version.split_once("sp") {
        Some((major, pack)) if digits(pack) && digits(major.trim_end_matches(['-', '_', '.'])) => {
            format!("{}.{pack}", major.trim_end_matches(['-', '_', '.']))
        }
        _ => version,
    }
}

/// `7.9` → `7`, `8-stream` and `stream8` → `8`.
fn major(version: String) -> String {
    let name = version.strip_prefix("stream").map_or(version.as_str(), |rest| rest.trim_start_matches('-'));
    let name = name.strip_suffix("-stream").unwrap_or(name);
    match leading_numbers(name, 1) {
        Some(number) => number.to_owned(),
        None => version,
    }
}

/// Every known spelling of a canonical version, itself first. Point releases, of which there are many, are not listed.
pub fn version_spellings(distro: &str, version: &str) -> Vec<String> {
    let mut out = vec![version.to_owned()];
    let codenames = match distro {
        "debian" => DEBIAN,
        "ubuntu" => UBUNTU,
        _ => &[],
    };
    out.extend(codenames.iter().filter(|(number, _)| *number == version).map(|(_, name)| (*name).to_owned()));
    match (distro, version) {
        ("amzn", "2018") => out.extend(["2018.03", "1"].map(str::to_owned)),
        ("sles", _) => out.extend(version.split_once('.').map(|(major, pack)| format!("{major}-sp{pack}"))),
        _ => {}
    }
    out
}

/// The directory that BTFHub gives a version: the codename for Debian 11, else the number.
pub fn btfhub_version<'a>(distro: &str, version: &'a str) -> &'a str {
    if (distro, version) == ("debian", "11") { "bullseye" } else { version }
}

/// The canonical name of an architecture: `aarch64` → `arm64`, `amd64` → `x86_64`, `i686` → `i386`.
pub fn arch(name: &str) -> String {
    let name = unquoted(name).to_ascii_lowercase();
    // `mips` and `mips64` are also names of their own, for big-endian kernels: see `arch_of_machine`.
    let known = |arch: &&tables::Arch| {
        arch.aliases.contains(&name.as_str()) || (arch.machine == name && !name.starts_with("mips"))
    };
    match ARCHES.iter().find(known) {
        Some(arch) => arch.name.to_owned(),
        None => name,
    }
}

/// The canonical architecture of the kernel that printed `machine` for `uname -m`.
///
/// The byte order tells apart what `uname -m` does not: little- and big-endian MIPS.
pub fn arch_of_machine(machine: &str, little_endian: bool) -> String {
    match (machine, little_endian) {
        ("mips", true) => "mipsel".to_owned(),
        ("mips64", true) => "mips64el".to_owned(),
        _ => arch(machine),
    }
}

/// What `uname -m` prints on a canonical architecture.
pub fn machine(arch: &str) -> &str {
    ARCHES.iter().find(|known| known.name == arch).map_or(arch, |known| known.machine)
}

/// Every known spelling of a canonical architecture, itself first.
pub fn arch_spellings(canonical: &str) -> Vec<&str> {
    let mut out = vec![canonical];
    if let Some(known) = ARCHES.iter().find(|known| known.name == canonical) {
        if arch(known.machine) == canonical && known.machine != canonical {
            out.push(known.machine);
        }
        out.extend(known.aliases);
    }
    out
}

/// Whether two releases name the same kernel of a distribution (canonical name).
///
/// They must be equal, except that SUSE's packages carry one more counter, for rebuilds, than `uname -r` shows:
/// package `4.12.14-122.103.1`, `uname -r` `4.12.14-122.103-default`.
pub fn same_release(distro: &str, a: &str, b: &str) -> bool {
    a == b
        || without_counter(distro, a).is_some_and(|a| a == b)
        || without_counter(distro, b).is_some_and(|b| b == a)
}

/// A SUSE release without its last counter: `4.12.14-122.103.1-default` → `4.12.14-122.103-default`.
///
/// `None` for other distributions and for releases that have but one number after the kernel's version. Whether a
/// release's last number *is* the rebuild counter cannot be seen from the release: this gives a spelling to try.
pub fn without_counter(distro: &str, release: &str) -> Option<String> {
    let (counters, flavour) = counters(distro, release)?;
    let (shorter, _) = counters.rsplit_once('.')?;
    let flavour = &release[flavour..];
    // A number must be left after the kernel's own version.
    shorter.contains('-').then(|| format!("{shorter}{flavour}"))
}

/// A SUSE release split before its flavour: what a longer spelling of it starts with, and what it ends with.
///
/// `4.12.14-122.103-default` → `("4.12.14-122.103.", "-default")`: between the two stands a number.
pub fn with_counter(distro: &str, release: &str) -> Option<(String, String)> {
    let (counters, flavour) = counters(distro, release)?;
    Some((format!("{counters}."), release[flavour..].to_owned()))
}

/// The distributions (canonical names) whose releases may carry a rebuild counter.
pub fn distros_with_counter() -> &'static [&'static str] {
    REBUILD_COUNTER
}

/// The part of a SUSE release up to its flavour, and where the flavour starts.
fn counters<'a>(distro: &str, release: &'a str) -> Option<(&'a str, usize)> {
    if !REBUILD_COUNTER.contains(&distro) {
        return None;
    }
    // version-counters[-flavour]: the flavour is what follows the second dash.
    let (dash, _) = release.match_indices('-').next()?;
    let end = release[dash + 1..].find('-').map_or(release.len(), |at| dash + 1 + at);
    let counters = &release[dash + 1..end];
    let numeric =
        counters.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    numeric.then_some((&release[..end], end))
}
