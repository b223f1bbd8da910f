//! Point releases: what os-release says as `VERSION_ID` where an archive knows only the major version.
//!
//! Red Hat Enterprise Linux and what is built from it say `8.6`; their kernels are built for one point release (`4.18.0-372.el8`, or `….el8_6` once that is out of date) and
//! go on running under later ones, on machines that update everything but the kernel. Oracle's UEK kernels are built for all of a major version.
//!
//! Source: the kernels that each release's installation media bring.

/// Distributions (canonical names) that say point releases.
const DISTROS: [&str; 4] = ["almalinux", "ol", "rhel", "rocky"];

/// By major version: the kernel's version, and with which build number each point release began, from `.0` on.
const BUILDS: [(&str, &str, &[u32]); 4] = [
    ("7", "3.10.0", &[123, 229, 327, 514, 693, 862, 957, 1062, 1127, 1160]),
    ("8", "4.18.0", &[80, 147, 193, 240, 305, 348, 372, 425, 477, 513, 553]),
    ("9", "5.14.0", &[70, 162, 284, 362, 427, 503, 570, 611]),
    ("10", "6.12.0", &[55, 124]),
];

/// The last point release that a major version has or will have.
fn last(major: &str) -> u32 {
    if major == "7" { 9 } else { 10 }
}

/// What os-release may say as `VERSION_ID` on machines that run this kernel, beside the version that keys use: for `rhel`, `8`, `4.18.0-553.el8_10.x86_64` it is `8.10`.
/// Empty for distributions without point releases.
pub fn point_releases(distro: &str, major: &str, release: &str) -> Vec<String> {
    let Some((_, version, builds)) =
        BUILDS.iter().find(|(known, ..)| DISTROS.contains(&distro) && *known == major)
    else {
        return Vec::new();
    };
    let tagged = || {
        let (_, tag) = release.split_once(&format!(".el{major}_"))?;
        tag.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let numbered = || {
        let build = release.strip_prefix(version)?.strip_prefix('-')?;
        let build: u32 = build.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        (builds.partition_point(|&first| first <= build) as u32).checked_sub(1)
    };
    let first = tagged().or_else(numbered).unwrap_or(0);
    (first..=last(major)).map(|point| format!("{major}.{point}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check from which point release on kernels run: by the tag, by the build number, and all where neither tells.
    #[test]
    fn alias_point_releases() {
        let points = |distro, major, release| point_releases(distro, major, release).join(" ");
        assert_eq!(points("rhel", "8", "4.18.0-553.5.1.el8_10.x86_64"), "8.10");
        assert_eq!(points("rocky", "8", "4.18.0-477.10.1.el8_8.x86_64"), "8.8 8.9 8.10");
        assert_eq!(points("almalinux", "8", "4.18.0-513.5.1.el8.x86_64"), "8.9 8.10");
        assert_eq!(points("rhel", "7", "3.10.0-1160.el7.x86_64"), "7.9");
        assert_eq!(points("rhel", "7", "3.10.0-1062.4.1.el7.x86_64"), "7.7 7.8 7.9");
        assert_eq!(points("rhel", "9", "5.14.0-687.1.1.el9_8.x86_64"), "9.8 9.9 9.10");
        assert_eq!(points("ol", "8", "5.4.17-2136.307.3.el8uek.x86_64").split(' ').count(), 11);
        assert_eq!(points("centos", "8", "4.18.0-348.el8.x86_64"), "");
        assert_eq!(points("rhel", "6", "2.6.32-754.el6.x86_64"), "");
        assert_eq!(points("rhel", "8", "4.18.0-1.el8_99999999999.x86_64").split(' ').count(), 11);
        assert_eq!(points("rhel", "8", "4.18.0-1.el8_77.x86_64"), "");
    }
}
