//! The definitions that are built in.

/// Name and text of each file of `data/distros`.
pub(super) const FILES: &[(&str, &str)] = &[
    ("almalinux.toml", include_str!("../../../data/distros/almalinux.toml")),
    ("alinux.toml", include_str!("../../../data/distros/alinux.toml")),
    ("amzn.toml", include_str!("../../../data/distros/amzn.toml")),
    ("anolis.toml", include_str!("../../../data/distros/anolis.toml")),
    ("azurelinux.toml", include_str!("../../../data/distros/azurelinux.toml")),
    ("centos.toml", include_str!("../../../data/distros/centos.toml")),
    ("debian.toml", include_str!("../../../data/distros/debian.toml")),
    ("fedora.toml", include_str!("../../../data/distros/fedora.toml")),
    ("mariner.toml", include_str!("../../../data/distros/mariner.toml")),
    ("ol.toml", include_str!("../../../data/distros/ol.toml")),
    ("openeuler.toml", include_str!("../../../data/distros/openeuler.toml")),
    ("opensuse-leap.toml", include_str!("../../../data/distros/opensuse-leap.toml")),
    ("photon.toml", include_str!("../../../data/distros/photon.toml")),
    ("rhel.toml", include_str!("../../../data/distros/rhel.toml")),
    ("rocky.toml", include_str!("../../../data/distros/rocky.toml")),
    ("sles.toml", include_str!("../../../data/distros/sles.toml")),
    ("ubuntu.toml", include_str!("../../../data/distros/ubuntu.toml")),
];
