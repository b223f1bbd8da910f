//! RPM repositories, made by rpmbuild and createrepo_c: their lists in every form, their signatures, and what strangers may put into them.

mod debian;
mod loopback;
mod rpm;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use debian::{Desk, Gpg, outcome, paths, tool};
use rpm::{Rpm, RpmRepository, define, fails, kernels, list, listed, serve_with};

/// A repository with kernels of several flavours and versions, and what must not be taken for a kernel.
fn repository() -> RpmRepository {
    // Built once: rpmbuild takes its time.
    static PACKAGES: OnceLock<Vec<(OsString, Vec<u8>)>> = OnceLock::new();
    let packages = PACKAGES.get_or_init(|| {
        let repository = build();
        let built = fs::read_dir(repository.root().join("Packages")).unwrap().map(Result::unwrap);
        built.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
    });
    let repository = RpmRepository::new();
    fs::create_dir(repository.root().join("Packages")).unwrap();
    for (name, bytes) in packages {
        fs::write(repository.root().join("Packages").join(name), bytes).unwrap();
    }
    repository
}

fn build() -> RpmRepository {
    let repository = RpmRepository::new();
    for (release, arch) in [("348.el8", "x86_64"), ("348.2.1.el8", "x86_64"), ("348.el8", "aarch64")] {
        repository.kernel("kernel", "kernel-debuginfo", "4.18.0", release, arch);
        repository.kernel("kernel", "kernel-core", "4.18.0", release, arch);
    }
    repository.build(&Rpm {
        source: "kernel",
        name: "kernel-modules",
        version: "4.18.0",
        release: "348.el8",
        arch: "x86_64",
        file: Some(("usr/lib/modules/all.ko", 5_000_000)),
    });
    repository.kernel("kernel", "kernel-modules-extra", "4.18.0", "348.el8", "x86_64");
    repository.kernel("kernel", "kernel-debug-debuginfo", "4.18.0", "348.el8", "x86_64");
    repository.kernel("kernel-rt", "kernel-rt-debuginfo", "4.18.0", "348.rt7.130.el8", "x86_64");
    repository.kernel("kernel", "kernel-debuginfo-common-x86_64", "4.18.0", "348.el8", "x86_64");
    repository.kernel("kernel", "kernel-tools-debuginfo", "4.18.0", "348.el8", "x86_64");
    repository.build(&Rpm {
        source: "kernel",
        name: "kernel",
        version: "4.18.0",
        release: "348.el8",
        arch: "x86_64",
        file: None,
    });
    repository
}

/// What is to be listed of it.
fn expected(trust: &str) -> Vec<String> {
    [
        "4.18.0-348.2.1.el8.x86_64 TRUST debug=kernel-debuginfo image=kernel-core",
        "4.18.0-348.rt7.130.el8.x86_64 TRUST debug=kernel-rt-debuginfo",
        "4.18.0-348.el8.x86_64 TRUST debug=kernel-debuginfo image=kernel-core modules=kernel-modules modules=kernel-modules-extra",
        "4.18.0-348.el8.x86_64+debug TRUST debug=kernel-debug-debuginfo",
    ]
    .map(|line| line.replace("TRUST", trust))
    .into()
}

fn repomd(url: &str) -> String {
    format!("{{ url = \"{url}\" }}")
}

/// Check that the list of packages is read in every form that tools make: XML and database, by every compressor.
#[test]
fn every_form_of_the_list() {
    let (repository, desk) = (repository(), Desk::new());
    let server = repository.serve();
    let distros = define(&desk, &repomd(&server.url("/")), "");
    for options in [
        &["--no-database"][..],
        &["--no-database", "--general-compress-type=xz"],
        &["--no-database", "--general-compress-type=bz2"],
        &["--no-database", "--checksum=sha512", "--repomd-checksum=sha512"],
        &["--no-database", "--checksum=sha1", "--repomd-checksum=sha1"],
    ] {
        repository.publish(options);
        assert_eq!(list(&desk, &distros), expected("none"), "{options:?}");
    }
    for compressor in ["gz", "bz2", "xz"] {
        repository.publish(&["--database", &format!("--compress-type={compressor}")]);
        repository.remove(&["primary"]);
        assert!(!fs::read_to_string(repository.repomd()).unwrap().contains("type=\"primary\""));
        assert_eq!(list(&desk, &distros), expected("none"), "database in {compressor}");
    }
    repository.publish(&["--no-database"]);
    let xml = tool("gzip", |gzip| gzip.args(["--decompress", "--stdout"]).arg(repository.list("primary")));
    repository.forge("primary", "x-primary.xml.zst", &zstd::encode_all(&xml[..], 3).unwrap());
    assert_eq!(list(&desk, &distros), expected("none"), "zstd");
    repository.forge("primary", "x-primary.xml.gz", &xml);
    assert_eq!(list(&desk, &distros), expected("none"), "not compressed, whatever its name says");
}

/// Check that what is listed has the sizes, addresses and checksums of the packages, and that an unchanged list is fetched once.
#[test]
fn packages_as_they_are() {
    let (repository, desk) = (repository(), Desk::new());
    repository.publish(&["--no-database"]);
    let server = repository.serve();
    let distros = define(&desk, &repomd(&server.url("/")), "");
    let (code, stdout, stderr) = outcome(&mut kernels(&desk, &distros));
    assert_eq!(code, 0, "{stderr}");
    let listing: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let mut seen = 0;
    for kernel in listing["kernels"].as_array().unwrap() {
        assert!(kernel["key"].as_str().unwrap().starts_with("acme/8/x86_64/4.18.0-348"), "{kernel}");
        for package in kernel["packages"].as_array().unwrap() {
            let path = package["url"].as_str().unwrap().strip_prefix(&server.url("/")).unwrap();
            let bytes = fs::read(repository.root().join(path)).unwrap();
            assert_eq!(package["size"], bytes.len());
            assert_eq!(package["checksum"], format!("sha256:{}", btf_archive::Digest::of(&bytes)));
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
    let rt = &listing["kernels"][1];
    assert_eq!((rt["flavour"].as_str(), rt["source_package"].as_str()), (Some("rt"), Some("kernel-rt")));
    assert_eq!(rt["package_version"], "4.18.0-348.rt7.130.el8");
    assert_eq!(rt["embedded_btf"], "yes");

    let fetched = paths(&server).len();
    list(&desk, &distros);
    assert_eq!(&paths(&server)[fetched..], ["/repodata/repomd.xml"], "the list is in the cache");
}

/// Signs repomd.xml as it is.
fn sign(repository: &RpmRepository, gpg: &Gpg, time: Option<&str>) {
    let (repomd, signature) = (repository.repomd(), repository.repodata().join("repomd.xml.asc"));
    gpg.run(
        time,
        &["--armor", "--output", signature.to_str().unwrap(), "--detach-sign", repomd.to_str().unwrap()],
    );
}

fn keys(file: &Path, fingerprint: &str) -> String {
    format!("[keys.index]\nfiles = [\"{}\"]\nfingerprints = [\"{fingerprint}\"]\n", file.display())
}

/// Check that where keys are pinned only their signature is good: a changed file, another's signature, none at all, and an expired key are
/// refused with exit code 4.
#[test]
fn signatures() {
    let (repository, desk) = (repository(), Desk::new());
    repository.publish(&["--no-database"]);
    let server = repository.serve();
    let gpg = Gpg::new();
    gpg.key("ACME <acme@example.org>");
    let keyring = desk.path("acme.asc");
    gpg.export(&keyring, true);
    let fingerprint = gpg.fingerprint("acme@example.org");
    let url = repomd(&server.url("/"));
    let distros = define(&desk, &url, &keys(&keyring, &fingerprint));

    fails(&desk, &distros, 4, "should be signed, and is not");
    sign(&repository, &gpg, None);
    assert_eq!(list(&desk, &distros), expected("signed-index"));

    let good = fs::read_to_string(repository.repomd()).unwrap();
    fs::write(repository.repomd(), good.replace("<revision>", "<revision>1")).unwrap();
    fails(&desk, &distros, 4, "does not match what it signs");
    fs::write(repository.repomd(), &good).unwrap();
    fs::write(repository.repodata().join("repomd.xml.asc"), "rubbish").unwrap();
    fails(&desk, &distros, 4, "no OpenPGP signature");

    let stranger = Gpg::new();
    stranger.key("Stranger <stranger@example.org>");
    sign(&repository, &stranger, None);
    fails(&desk, &distros, 4, "not in keyring");
    // The stranger's key in the keyring is of no use: another one is pinned.
    let both = desk.path("both.gpg");
    let strangers = desk.path("stranger.asc");
    stranger.export(&strangers, true);
    gpg.run(None, &["--import", strangers.to_str().unwrap()]);
    gpg.export(&both, false);
    define(&desk, &url, &keys(&both, &fingerprint));
    fails(&desk, &distros, 4, "not in keyring");
    define(&desk, &url, &keys(&strangers, &fingerprint));
    fails(&desk, &distros, 1, "holds none of the certificates");

    // A list signed by its weak checksum only is not trusted for it.
    repository.publish(&["--no-database", "--repomd-checksum=sha1"]);
    sign(&repository, &gpg, None);
    define(&desk, &url, &keys(&keyring, &fingerprint));
    assert_eq!(list(&desk, &distros), expected("none"));

    // Keys that are not on this machine cannot be asked, and http protects nothing.
    define(&desk, &url, &keys(&desk.path("nowhere.gpg"), &fingerprint));
    fails(&desk, &distros, 4, "its keys are not on this machine");
    let (code, stdout, stderr) = outcome(kernels(&desk, &distros).arg("--keyring").arg(&keyring));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(listed(&stdout).len(), 4, "--keyring counts instead");
}

/// Check that the signature of a key which has expired since is refused, unless that is allowed.
#[test]
fn expired_key() {
    let (repository, desk) = (repository(), Desk::new());
    repository.publish(&["--no-database"]);
    let server = repository.serve();
    let gpg = Gpg::new();
    gpg.run(
        Some("20210101T000000"),
        &["--quick-generate-key", "Old <old@example.org>", "ed25519", "sign", "2022-01-01"],
    );
    sign(&repository, &gpg, Some("20210601T000000"));
    let keyring = desk.path("old.gpg");
    gpg.export(&keyring, false);
    let distros = define(
        &desk,
        &repomd(&server.url("/")),
        &format!("[keys.index]\nfiles = [\"{}\"]\n", keyring.display()),
    );
    fails(&desk, &distros, 4, "its key has expired");
    let (code, stdout, stderr) = outcome(kernels(&desk, &distros).arg("--allow-expired"));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(listed(&stdout), expected("signed-index"));
}

/// Check that a list which is not the one that repomd.xml announces is refused, and not kept.
#[test]
fn changed_list() {
    let (repository, desk) = (repository(), Desk::new());
    let server = repository.serve();
    let distros = define(&desk, &repomd(&server.url("/")), "");
    for checksum in ["sha256", "sha512", "sha1"] {
        repository.publish(&["--no-database", &format!("--repomd-checksum={checksum}")]);
        let file = repository.list("primary");
        let good = fs::read(&file).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for changed in [flipped, good[1..].to_vec(), [&good[..], b"x"].concat()] {
            fs::write(&file, changed).unwrap();
            fails(&desk, &distros, 4, "repomd.xml says");
        }
        fs::write(&file, &good).unwrap();
        assert_eq!(list(&desk, &distros), expected("none"));
    }
}

/// Repository data with one kernel, whose location is given, with its attributes.
fn primary(location: &str) -> String {
    format!(
        "<metadata packages=\"1\"><package type=\"rpm\"><name>kernel-debuginfo</name><arch>x86_64</arch>\
         <version epoch=\"0\" ver=\"4.18.0\" rel=\"348.el8\"/><checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>\
         <size package=\"123456789\" installed=\"1234567890\" archive=\"1\"/><location {location}/></package></metadata>",
        "ab".repeat(32)
    )
}

/// Check that no location leads out of the repository, and that documents which attack their reader end in an error.
#[test]
fn hostile_lists() {
    let (repository, desk) = (RpmRepository::new(), Desk::new());
    let server = repository.serve();
    let distros = define(&desk, &repomd(&server.url("/repo/")), "");
    let inner = RpmRepository::new();
    let forge = |bytes: &[u8]| {
        inner.forge("primary", "primary.xml", bytes);
        let _ = fs::remove_dir_all(repository.root().join("repo"));
        let to = repository.root().join("repo");
        fs::create_dir(&to).unwrap();
        tool("cp", |cp| cp.arg("-r").arg(inner.repodata()).arg(&to));
    };
    forge(primary("href=\"Packages/x.rpm\"").as_bytes());
    assert_eq!(list(&desk, &distros), ["4.18.0-348.el8.x86_64 none debug=kernel-debuginfo"]);
    for location in [
        "href=\"../x.rpm\"",
        "href=\"/etc/passwd\"",
        "href=\"a/%2e%2e/%2e%2e/x.rpm\"",
        "href=\"http://127.0.0.1:1/x.rpm\"",
        "href=\"//127.0.0.1:1/x.rpm\"",
        "href=\"&#27;[2J.rpm\"",
        "href=\"\"",
        "xml:base=\"http://127.0.0.1:1/\" href=\"x.rpm\"",
    ] {
        forge(primary(location).as_bytes());
        fails(&desk, &distros, 4, "outside the archive");
    }
    let good = primary("href=\"x.rpm\"");
    let laughs =
        format!("<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]>{}", good.replace("kernel-d", "&b;"));
    forge(laughs.as_bytes());
    fails(&desk, &distros, 1, "document type of its own");
    forge(good.replace("</package></metadata>", "").as_bytes());
    fails(&desk, &distros, 1, "byte");
    forge(good.replace("kernel-debuginfo", &"k".repeat(100_000)).as_bytes());
    fails(&desk, &distros, 1, "longer than");
    // Gigabytes of a single text, small as they come.
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(b'a'), 1 << 30), 1).unwrap();
    assert!(bomb.len() < 1 << 20);
    let bomb = [zstd::encode_all(&b"<metadata>"[..], 1).unwrap(), bomb].concat();
    forge(&bomb);
    fails(&desk, &distros, 1, "longer than");
    // Names that no package manager takes are no kernels' names.
    forge(good.replace("348.el8", "348.el8/../..").as_bytes());
    assert!(list(&desk, &distros).is_empty());
    forge(good.replace("123456789\"", "99999999999999999999999\"").as_bytes());
    assert_eq!(list(&desk, &distros).len(), 1, "a size that is no number is none");
}

/// Check that a database whose table of packages is a view or computed, or which is none at all, is refused.
#[test]
fn hostile_databases() {
    let (repository, desk) = (RpmRepository::new(), Desk::new());
    let server = repository.serve();
    let distros = define(&desk, &repomd(&server.url("/")), "");
    let database = |sql: &str| {
        let path = desk.path("x.sqlite");
        let _ = fs::remove_file(&path);
        tool("sqlite3", |sqlite| sqlite.arg(&path).arg(sql));
        repository.forge("primary_db", "x.sqlite", &fs::read(&path).unwrap());
    };
    let columns = "name, arch, epoch, version, release, checksum_type, pkgId, size_package, size_installed, location_href, location_base, \
                   rpm_sourcerpm";
    let row = "'kernel-debuginfo', 'x86_64', '0', '4.18.0', '348.el8', 'sha256', '', 123456789, 1234567890, 'x.rpm', NULL, 'kernel-1-1.src.rpm'";
    database(&format!("CREATE TABLE packages ({columns}); INSERT INTO packages VALUES ({row});"));
    assert_eq!(list(&desk, &distros), ["4.18.0-348.el8.x86_64 none debug=kernel-debuginfo"]);
    database(&format!(
        "CREATE VIEW packages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT {row} FROM n;"
    ));
    fails(&desk, &distros, 1, "no table `packages`");
    let computed = columns.replace("version,", "version AS (hex(zeroblob(100000000))),");
    database(&format!("CREATE TABLE packages ({computed});"));
    fails(&desk, &distros, 1, "computed columns");
    database("CREATE TABLE packages (name);");
    fails(&desk, &distros, 1, "no such column");
    repository.forge("primary_db", "x.sqlite", b"SQLite format 3\0 and nothing of the kind");
    fails(&desk, &distros, 1, "x.sqlite");
}

/// Check that of several addresses the first that works is used, that a list of mirrors is followed, and that what is nowhere is told with
/// every attempt.
#[test]
fn addresses_and_mirrors() {
    let (repository, desk) = (repository(), Desk::new());
    repository.publish(&["--no-database"]);
    let server = serve_with(repository.root(), |request, answer| match request.path.as_str() {
        "/8/x86_64/mirror.list" => {
            let host = request
                .headers
                .iter()
                .find_map(|line| line.to_lowercase().strip_prefix("host: ").map(str::to_owned));
            let base = format!("http://{}", host.unwrap().trim());
            let body = format!(
                "# ours\nfile:///etc/\nrsync://x/\n{base}/gone/\n{base}/$releasever/$basearch/../..\n"
            );
            loopback::Answer { status: None, body: std::sync::Arc::new(body.into_bytes()), ..answer }
        }
        _ => answer,
    });
    let (good, bad) = (server.url("/"), server.url("/nowhere/"));
    let distros = define(&desk, &format!("{{ url = \"{bad}\", mirrors = [\"{good}\"] }}"), "");
    assert_eq!(list(&desk, &distros), expected("none"));
    let list_url = server.url("/{version}/{arch}/mirror.list");
    define(&desk, &format!("{{ kind = \"mirror-list\", url = \"{list_url}\" }}"), "");
    assert_eq!(list(&desk, &distros), expected("none"));
    define(&desk, &format!("{{ url = \"{bad}\", mirrors = [\"{bad}else/\"], name = \"kernels\" }}"), "");
    fails(&desk, &distros, 3, "no repository kernels that can be used");

    // One that is there is listed beside one that is not; the exit code says that something is missing.
    define(&desk, &format!("{{ url = \"{good}\" }},\n{{ url = \"{bad}\" }},"), "");
    let (code, stdout, stderr) = outcome(&mut kernels(&desk, &distros));
    assert_eq!(code, 3, "{stderr}");
    assert_eq!(listed(&stdout), expected("none"));
    assert!(stderr.contains(&format!("btfgen: acme {bad}: ")) && stderr.contains("404"), "{stderr}");
}
