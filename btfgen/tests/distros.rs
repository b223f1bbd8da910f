//! Definitions of distributions: those that are shipped, and what is said to those who write one.

use std::fs;
use std::path::Path;

use btfgen::distro::{Distros, Error, Kind};

/// Check that every file in `data/distros` is shipped, can be used, and was tried on real package names: at least one that is a
/// debug package, and, where it has rules of its own, one that is none of a kernel's.
#[test]
fn shipped() {
    let distros = Distros::shipped().unwrap_or_else(|error| panic!("{error}"));
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/distros")).unwrap();
    let mut count = 0;
    for file in files.map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        let id = name.strip_suffix(".toml").unwrap_or_else(|| panic!("{name}: not a definition"));
        let distro = distros.get(id).unwrap_or_else(|| panic!("{name} is not built in"));
        assert_eq!(distro.id, id);
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(text.contains("role = \"debug\", uname = "), "{id}: no example of a debug package");
        assert!(distro.examples() >= 2, "{id}");
        if text.contains("\npackages = [") {
            let negative =
                text.lines().any(|line| line.starts_with("  { package = ") && !line.contains("uname ="));
            assert!(negative, "{id}: no example of a package that is none of a kernel's");
        }
        for release in &distro.releases {
            assert!(release.is_called(&distro.id, &release.version), "{id} {}", release.version);
            assert!(!release.repositories.is_empty(), "{id} {}", release.version);
        }
        count += 1;
    }
    assert_eq!(distros.all().len(), count);
}

/// Check that distributions are found by every spelling that a host or a person may use.
#[test]
fn found_by_any_name() {
    let distros = Distros::shipped().unwrap();
    for (name, id) in [
        ("Oracle", "ol"),
        ("\"opensuse-leap\"", "opensuse-leap"),
        ("amazon", "amzn"),
        ("openEuler", "openeuler"),
    ] {
        assert_eq!(distros.get(name).map(|distro| distro.id.as_str()), Some(id));
    }
    assert!(distros.get("gentoo").is_none());
    assert_eq!(distros.nearest("debain"), Some("debian"));
    let debian = distros.get("debian").unwrap();
    let bookworm = debian.releases.iter().find(|release| release.is_called("debian", "12.15")).unwrap();
    assert_eq!(bookworm.version, "12");
    let suites: Vec<_> =
        bookworm.repositories.iter().filter_map(|repository| repository.suite.as_deref()).collect();
    assert_eq!(suites, ["bookworm", "bookworm-security", "bookworm-backports"]);
}

fn with(files: &[(&str, &str)]) -> Result<Distros, Error> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    Distros::with(dir.path())
}

/// Check that a vendor's repository takes ten lines, that a file with a known id adds to that distribution, and that it can take its place.
#[test]
fn users_own() {
    let vendor = "id = \"acme\"\nname = \"ACME Linux\"\nlike = \"rhel\"\n\n[[releases]]\nversions = [\"9\"]\nrepositories = [\n  \
        { url = \"https://repo.acme.example/{version}/{arch}/debug/\" },\n]\n";
    let distros = with(&[("acme.toml", vendor)]).unwrap();
    let acme = distros.get("acme").unwrap();
    assert_eq!(acme.name, "ACME Linux");
    assert_eq!(acme.index_arch("arm64"), Some("aarch64"));
    let repository = &acme.releases[0].repositories[0];
    assert_eq!(repository.addresses, ["https://repo.acme.example/9/{arch}/debug/"]);
    assert_eq!(
        (repository.kind, &repository.index_keys),
        (Kind::Repomd, &None),
        "Red Hat's keys are not ACME's"
    );
    assert!(acme.client_certificate.is_none(), "nor is this machine's entitlement for ACME");

    let more = "id = \"debian\"\n[[releases]]\nversions = [\"12\"]\nrepositories = [{ kind = \"directory\", path = \"kernels\" }]\n";
    let distros = with(&[("more.toml", more)]).unwrap();
    let debian = distros.get("debian").unwrap();
    let bookworm = debian.releases.iter().find(|release| release.version == "12").unwrap();
    assert_eq!(bookworm.repositories.len(), 4);
    assert!(bookworm.repositories[3].path.as_ref().unwrap().is_absolute(), "beside the definition");

    let instead = format!("replace = true\nlike = \"ubuntu\"\n{more}");
    let distros = with(&[("instead.toml", &instead)]).unwrap();
    let debian = distros.get("debian").unwrap();
    assert_eq!(debian.releases.iter().map(|release| release.repositories.len()).collect::<Vec<_>>(), [1]);
}

/// Check that everything that is wrong is told at once, each with file, line and what would be right.
#[test]
fn told_what_is_wrong() {
    let wrong = r#"id = "acme"
packaging = "deb"
architectures = { amd64 = "amd64", arm64 = "i386" }
packages = [
  { role = "debug", name = "kernel-(debuginfo" },
  { role = "debug", name = "linux-{flavour}-dbg" },
  { role = "image", name = "linux-{uname}", uname = "{version}-{kernel}" },
]
examples = [
  { package = "kernel.tar" },
  { package = "other-1.0_1_amd64.deb", uname = "1.0" },
]
[places]
vmlinux = ["/boot/vmlinux-{release}", "boot/vmlinux", "../{release}"]
[keys.index]
files = ["keys.gpg"]
fingerprints = ["not hexadecimal"]
[[releases]]
versions = ["1", "a b"]
repositories = [
  { url = "ftp://acme.example/", suite = "one" },
  { url = "https://acme.example/{release}/", suite = "{codename}" },
  { kind = "directory", url = "https://acme.example/", apt = true },
  { kind = "snapshot", url = "https://acme.example/", only = "(", architectures = ["mips"] },
  { kind = "debuginfod", url = "https://acme.example/", kernels = [{ uname = "1.0", arch = "arm64", build_id = "xyz" }] },
]
[[releases]]
versions = []
repositories = []
"#;
    let told = with(&[
        ("a.toml", wrong),
        ("b.toml", "id = \"b\"\nlike = \"debain\"\n"),
        ("c.toml", "id = \"c\"\nrelease = 1\n"),
    ])
    .unwrap_err()
    .to_string();
    for (line, expected) in [
        (3, "architecture `amd64` is called `x86_64` in keys"),
        (3, "architecture `arm64` cannot be called `i386`"),
        (5, "the pattern `kernel-(debuginfo` is wrong: error: unclosed group"),
        (6, "the name has no {uname}"),
        (7, "`{kernel}` means nothing here"),
        (10, "kernel.tar: not the file name of a package"),
        (11, "no rule of `packages` knows it"),
        (1, "places.vmlinux: `/boot/vmlinux-{release}` must be a path inside the package"),
        (1, "places.vmlinux: `boot/vmlinux` has no {release}"),
        (1, "places.vmlinux: `../{release}` must be"),
        (17, "`not hexadecimal` is no fingerprint"),
        (19, "version"),
        (21, "ftp is no scheme for a repository"),
        (22, "only {version} and {arch} are replaced"),
        (22, "version 1 has no {codename}"),
        (23, "`apt` has no meaning for a repository of kind `directory`"),
        (23, "a repository of kind `directory` needs `path`"),
        (24, "a repository of kind `snapshot` needs `sources`"),
        (24, "architecture `mips` is none of the distribution's"),
        (24, "`only` is wrong"),
        (25, "build_id of 1.0"),
        (28, "`versions` is empty"),
    ] {
        let found =
            told.lines().any(|told| told.contains(&format!("a.toml:{line}: ")) && told.contains(expected));
        assert!(found, "{line}: {expected}\n{told}");
    }
    assert!(
        told.contains("b.toml:2: like `debain`: there is no such distribution; did you mean `debian`?"),
        "{told}"
    );
    assert!(told.contains("c.toml:2: unknown key `release`; did you mean `releases`?"), "{told}");
    assert!(with(&[]).unwrap_err().to_string().contains("there is no file *.toml in this directory"));
}
