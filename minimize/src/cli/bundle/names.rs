//! What each reader of a bundle calls a kernel.
//!
//! All of them start from the machine they run on: os-release's `ID` and `VERSION_ID`, `uname -m`, `uname -r`. Where that differs from an archive's key, the
//! member is there under the name that they ask for.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use btf_archive::{Key, alias};

use super::{Entry, Layout, LeftOut};

/// The longest name that the reader in C of bcc's tools compares whole.
const BCC_NAME: usize = 99;

/// A file of a bundle.
pub(super) struct Member<'a> {
    pub(super) name: String,
    pub(super) data: Cow<'a, [u8]>,
    /// The key's architecture.
    pub(super) arch: &'a str,
}

/// The files of a layout, in the order of their names; kernels that its reader has no name for are left out.
pub(super) fn members<'a>(
    layout: Layout,
    entries: &'a [Entry],
    left_out: &mut LeftOut,
) -> anyhow::Result<Vec<Member<'a>>> {
    let arches: BTreeSet<_> = entries.iter().map(|entry| entry.key.arch()).collect();
    anyhow::ensure!(
        layout != Layout::Datadog || arches.len() <= 1,
        "the Datadog agent's layout has no architectures, and these kernels are of {}: choose one with --select",
        arches.into_iter().collect::<Vec<_>>().join(", ")
    );
    let mut members: BTreeMap<String, Member<'_>> = BTreeMap::new();
    for entry in entries {
        let names = match names(layout, &entry.key) {
            Ok(names) => names,
            Err(reason) => {
                left_out.insert(entry.key.to_string(), reason.to_owned());
                continue;
            }
        };
        for name in names {
            let data = Cow::Borrowed(entry.btf.as_slice());
            match members.get(&name) {
                Some(other) if other.data != data => {
                    let reason = format!("another kernel with other BTF is called {name} there");
                    left_out.insert(entry.key.to_string(), reason);
                }
                _ => drop(members.insert(name.clone(), Member { name, data, arch: entry.key.arch() })),
            }
        }
    }
    Ok(members.into_values().collect())
}

/// What a layout's reader calls a kernel.
fn names(layout: Layout, key: &Key) -> Result<Vec<String>, &'static str> {
    let (distro, release) = (key.distro(), key.release());
    let of_machine = |start: &str| {
        let machine = alias::machine(key.arch());
        let name = |version: String| format!("{start}{distro}/{version}/{machine}/{release}.btf");
        versions(key).into_iter().map(name).collect::<Vec<_>>()
    };
    match layout {
        Layout::Single | Layout::Dir => Ok(vec![format!("{key}.btf")]),
        Layout::Bcc => {
            let names = of_machine("./");
            if names.iter().any(|name| name.len() > BCC_NAME) {
                return Err("its name has more than the 99 bytes that bcc's tools compare");
            }
            Ok(names)
        }
        Layout::InspektorGadget => Ok(of_machine("")),
        Layout::InspektorGadgetOci if matches!(key.arch(), "x86_64" | "arm64") => Ok(of_machine("")),
        Layout::InspektorGadgetOci => Err("a gadget's image is for x86_64 and arm64"),
        Layout::Tracee if matches!(key.arch(), "x86_64" | "arm64") => {
            let name = |version: String| format!("{distro}/{version}/{}/{release}.btf", key.arch());
            Ok(versions(key).into_iter().map(name).collect())
        }
        Layout::Tracee => Err("tracee knows x86_64 and arm64"),
        Layout::Datadog => {
            let platform = match distro {
                "amzn" => "amazon",
                "rhel" => "redhat",
                "ol" => "oracle",
                "sles" | "ubuntu" | "centos" | "debian" | "fedora" => distro,
                _ => return Err("the Datadog agent does not know this distribution"),
            };
            Ok(vec![match platform {
                "ubuntu" => format!("ubuntu/{}/{release}.btf.tar.xz", key.version()),
                platform => format!("{platform}/{release}.btf.tar.xz"),
            }])
        }
    }
}

/// What os-release may say as `VERSION_ID`.
fn versions(key: &Key) -> Vec<String> {
    let (distro, version) = (key.distro(), key.version());
    let mut versions = alias::point_releases(distro, version, key.release());
    if (distro, version) == ("amzn", "2018") {
        versions.push("2018.03".to_owned());
    }
    versions.push(version.to_owned());
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check what each reader calls kernels of all kinds.
    #[test]
    fn names_of_kernels() {
        let (amazon, arm, bionic) = (
            "amzn/2018/x86_64/4.14.26-46.32.amzn1.x86_64",
            "debian/11/arm64/5.10.0-35-arm64",
            "ubuntu/18.04/x86_64/4.15.0-213-generic",
        );
        for (layout, key, expected) in [
            (Layout::Dir, arm, &["debian/11/arm64/5.10.0-35-arm64.btf"][..]),
            (Layout::Bcc, arm, &["./debian/11/aarch64/5.10.0-35-arm64.btf"]),
            (Layout::InspektorGadget, arm, &["debian/11/aarch64/5.10.0-35-arm64.btf"]),
            (Layout::Tracee, arm, &["debian/11/arm64/5.10.0-35-arm64.btf"]),
            (
                Layout::Bcc,
                amazon,
                &[
                    "./amzn/2018.03/x86_64/4.14.26-46.32.amzn1.x86_64.btf",
                    "./amzn/2018/x86_64/4.14.26-46.32.amzn1.x86_64.btf",
                ],
            ),
            (
                Layout::Tracee,
                "rhel/8/x86_64/4.18.0-513.el8.x86_64",
                &[
                    "rhel/8.9/x86_64/4.18.0-513.el8.x86_64.btf",
                    "rhel/8.10/x86_64/4.18.0-513.el8.x86_64.btf",
                    "rhel/8/x86_64/4.18.0-513.el8.x86_64.btf",
                ],
            ),
            (Layout::Tracee, "centos/8-stream/x86_64/4.18.0-5.el8", &["centos/8/x86_64/4.18.0-5.el8.btf"]),
            (Layout::Datadog, amazon, &["amazon/4.14.26-46.32.amzn1.x86_64.btf.tar.xz"]),
            (Layout::Datadog, bionic, &["ubuntu/18.04/4.15.0-213-generic.btf.tar.xz"]),
            (
                Layout::Datadog,
                "ol/7/x86_64/4.14.35-1902.el7uek.x86_64",
                &["oracle/4.14.35-1902.el7uek.x86_64.btf.tar.xz"],
            ),
        ] {
            assert_eq!(names(layout, &key.parse().unwrap()).unwrap(), expected, "{layout:?} {key}");
        }
        let long = format!("ubuntu/18.04/x86_64/{}", "5".repeat(99));
        for (layout, key) in [
            (Layout::Bcc, &*long),
            (Layout::Tracee, "debian/11/s390x/5"),
            (Layout::Datadog, "photon/4/x86_64/5"),
        ] {
            assert!(names(layout, &key.parse().unwrap()).is_err(), "{layout:?} {key}");
        }
    }
}
