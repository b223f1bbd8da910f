//! The spellings of one and the same kernel, in both directions.
//!
//! Hosts, distributions, RPM, Debian and BTFHub name the same things differently: `aarch64` and `arm64`, `bullseye` and
//! `11`, `2018.03` and `2018`. [`distro`], [`version`] and [`arch`] bring any of them to the one spelling that keys use;
//! [`distro_spellings`], [`version_spellings`] and [`arch_spellings`] list what the others call it. An unknown name is
//! its own canonical spelling, in lower case. The functions are total: hostile text gives odd text, never a panic.
//!
//! Releases (`uname -r`) have one spelling only, except SUSE's: see [`same_release`].

mod points;
mod tables;

pub use points::point_releases;
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
    let mut name = version;
    while let Some(shorter) = POCKETS.iter().find_map(|pocket| name.strip_suffix(pocket)) {
        name = shorter;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Check that every listed spelling leads back to its canonical name, and no spelling to two.
    #[test]
    fn alias_tables_agree() {
        for (canonical, _) in DISTROS {
            for spelling in distro_spellings(canonical) {
                assert_eq!(distro(spelling), *canonical);
                assert_eq!(distro(&format!("\"{}\"", spelling.to_uppercase())), *canonical);
            }
        }
        for known in ARCHES {
            for spelling in arch_spellings(known.name) {
                assert_eq!(arch(spelling), known.name);
            }
            assert_eq!(arch_of_machine(known.machine, true), known.name);
            assert_eq!(machine(known.name), known.machine);
        }
        for (name, codenames) in [("debian", DEBIAN), ("ubuntu", UBUNTU)] {
            for (number, codename) in codenames {
                assert_eq!(version(name, codename), *number);
                assert_eq!(version_of_any(codename), *number);
                assert_eq!(version_spellings(name, number), [*number, *codename]);
                for pocket in POCKETS {
                    assert_eq!(version(name, &format!("{codename}{pocket}")), *number);
                }
            }
        }
        for (name, canonical) in [("amzn", "2018"), ("sles", "12.5"), ("centos", "7")] {
            for spelling in version_spellings(name, canonical) {
                assert_eq!(version(name, &spelling), canonical);
            }
        }
    }

    /// Check the versions that hosts write otherwise than keys do.
    #[test]
    fn alias_version() {
        for (name, spelling, canonical) in [
            ("debian", "11.7", "11"),
            ("debian", "Bullseye", "11"),
            ("debian", "sid", "sid"),
            ("debian", "stable", "stable"),
            ("ubuntu", "18.04.6", "18.04"),
            ("ubuntu", "18", "18"),
            ("rhel", "8.6", "8"),
            ("ol", "7.9", "7"),
            ("centos", "stream9", "9"),
            ("centos", "8-stream", "8"),
            ("centos", "seven", "seven"),
            ("fedora", "39", "39"),
            ("amzn", "2018.03", "2018"),
            ("amzn", "2017.09", "2018"),
            ("amzn", "1", "2018"),
            ("amzn", "2", "2"),
            ("amzn", "2023.6.20241010", "2023"),
            ("sles", "15-SP4", "15.4"),
            ("sles", "12sp5", "12.5"),
            ("sles", "15", "15"),
            ("mariner", "2.0", "2.0"),
        ] {
            assert_eq!(version(name, spelling), canonical, "{name} {spelling}");
        }
        assert_eq!(version_of_any("18.04.6"), "18.04.6", "without a distribution a number says nothing");
        assert_eq!(btfhub_version("debian", "11"), "bullseye");
        assert_eq!(btfhub_version("debian", "10"), "10");
    }

    /// Check that little- and big-endian MIPS, which `uname -m` does not tell apart, are two architectures.
    #[test]
    fn alias_mips() {
        assert_eq!(arch_of_machine("mips64", true), "mips64el");
        assert_eq!(arch_of_machine("mips64", false), "mips64");
        assert_eq!(arch("mips"), "mips");
    }

    /// Check that SUSE's rebuild counter is seen through, both ways, and only SUSE's.
    #[test]
    fn alias_same_release() {
        let (package, uname) = ("4.12.14-122.103.1-default", "4.12.14-122.103-default");
        assert!(same_release("sles", package, uname));
        assert!(same_release("sles", uname, package));
        assert!(same_release(
            "opensuse-leap",
            "5.3.18-150300.59.93.1-default",
            "5.3.18-150300.59.93-default"
        ));
        assert!(same_release("sles", "5.3.18-22.2", "5.3.18-22"), "without a flavour");
        assert!(!same_release("centos", package, uname));
        assert!(!same_release("sles", package, "4.12.14-122.104-default"));
        assert!(!same_release("sles", package, "4.12.14-122.103-azure"));
        assert!(!same_release("sles", package, "4.12.14-122.103.2-default"), "two rebuilds are two kernels");
        assert_eq!(without_counter("sles", "4.12.14-122-default"), None, "one number is no counter");
        let around = ("4.12.14-122.103.".to_owned(), "-default".to_owned());
        assert_eq!(with_counter("sles", uname), Some(around));
    }

    proptest! {
        /// Check that text of any kind is taken, and that names of a key's alphabet are canonical after one pass.
        #[test]
        fn alias_total_and_idempotent(any in ".{0,40}", name in "[a-z0-9][a-z0-9._+~:-]{0,12}", of in 0..DISTROS.len()) {
            let of = DISTROS[of].0;
            for text in [any.as_str(), name.as_str()] {
                let _ = (distro(text), version(of, text), arch(text), version_of_any(text));
                let _ = (without_counter(of, text), with_counter(of, text), same_release(of, text, &name));
            }
            prop_assert_eq!(distro(&distro(&name)), distro(&name));
            prop_assert_eq!(arch(&arch(&name)), arch(&name));
            prop_assert_eq!(version(of, &version(of, &name)), version(of, &name));
        }
    }
}
