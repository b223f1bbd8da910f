//! `btfgen kernels` against repositories made by Debian's tools: what it lists, and whose word it takes for it.

mod debian;
mod loopback;

use std::fs;

use debian::{Desk, Repository, SUITE, outcome, paths, tool};
use serde_json::Value;

/// A repository with kernels of several flavours and versions, and what must not be taken for a kernel.
fn repository() -> Repository {
    let repository = Repository::new();
    repository.kernel("6.1.0-47-686-pae", "6.1.170-3", "a");
    repository.kernel("6.1.0-47-686", "6.1.170-3", "a");
    repository.kernel("6.1.0-50-686-pae", "6.1.176-1", "b");
    repository.kernel("6.1.0-50-686-pae", "6.1.176-2", "c");
    repository.metapackage(
        "linux-image-686-pae-dbg",
        "6.1.176-2",
        "linux-image-6.1.0-50-686-pae-dbg (= 6.1.176-2)",
    );
    repository.metapackage(
        "linux-image-6.1-686-pae-dbg",
        "6.1.176-2",
        "linux-image-6.1.0-50-686-pae-dbg (= 6.1.176-2)",
    );
    repository.metapackage("linux-headers-6.1.0-50-686-pae", "6.1.176-2", "gcc");
    repository.publish();
    repository
}

/// Check that every kernel is listed, in every version and flavour, newest first, and no metapackage.
#[test]
fn lists_kernels() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring) = (repository.serve(), repository.keyring());
    let (code, stdout, stderr) = outcome(desk.on("kernels", &server, &keyring).arg("--json"));
    assert_eq!((code, stderr.as_str()), (0, ""));
    let listing: Value = serde_json::from_str(&stdout).unwrap();
    let kernels = listing["kernels"].as_array().unwrap();
    let found: Vec<_> = kernels
        .iter()
        .map(|kernel| (kernel["key"].as_str().unwrap(), kernel["package_version"].as_str().unwrap()))
        .collect();
    let expected = [
        ("debian/12/i386/6.1.0-50-686-pae", "6.1.176-2"),
        ("debian/12/i386/6.1.0-50-686-pae", "6.1.176-1"),
        ("debian/12/i386/6.1.0-47-686", "6.1.170-3"),
        ("debian/12/i386/6.1.0-47-686-pae", "6.1.170-3"),
    ];
    assert_eq!(found, expected);
    let newest = &kernels[0];
    assert_eq!(newest["flavour"], "686-pae");
    assert_eq!(newest["package"], "linux-image-6.1.0-50-686-pae-dbg");
    assert_eq!(newest["embedded_btf"], "no");
    assert!(newest.get("archive").is_none(), "{newest}");
    let path = newest["url"].as_str().unwrap().strip_prefix(&server.url("/")).unwrap();
    let package = fs::read(repository.root().join(path)).unwrap();
    assert_eq!(newest["size"], package.len());
    assert_eq!(newest["sha256"], btf_archive::Digest::of(&package).to_string());
    assert_eq!(listing["suites"][0]["signed_by"], repository.gpg.fingerprint("archive@example.org"));

    let table = outcome(&mut desk.on("kernels", &server, &keyring)).1;
    let cells = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect::<Vec<_>>();
    assert_eq!(cells[0], ["KERNEL", "VERSION", "PACKAGE", "BTF"]);
    assert_eq!(
        [cells[1][0], cells[1][1], cells[1][4]],
        ["debian/12/i386/6.1.0-50-686-pae", "6.1.176-2", "DWARF"]
    );
    assert_eq!(cells.len(), 5);
}

/// Check that patterns and --limit select by release and by flavour, and that a pattern without a match exits with 3.
#[test]
fn selects_kernels() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring) = (repository.serve(), repository.keyring());
    let releases = |arguments: &[&str]| {
        let (code, stdout, stderr) =
            outcome(desk.on("kernels", &server, &keyring).arg("--json").args(arguments));
        let listing: Value = serde_json::from_str(&stdout).unwrap();
        let keys = listing["kernels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|kernel| kernel["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned());
        (code, keys.collect::<Vec<_>>(), stderr)
    };
    assert_eq!(releases(&["--kernel", "6.1.0-47-*"]).1, ["6.1.0-47-686", "6.1.0-47-686-pae"]);
    assert_eq!(releases(&["--kernel", "*-686"]).1, ["6.1.0-47-686"]);
    // Both versions of the newest 686-pae, and the newest 686.
    assert_eq!(releases(&["--limit", "1"]).1, ["6.1.0-50-686-pae", "6.1.0-50-686-pae", "6.1.0-47-686"]);
    let (code, none, stderr) = releases(&["--kernel", "4.*"]);
    assert_eq!((code, none.len()), (3, 0));
    assert!(stderr.contains("none of 4 kernels matches 4.*"), "{stderr}");
}

/// Check that an unchanged index is fetched once, by its hash, and that all forms of an index are read.
#[test]
fn fetches_an_index_once() {
    let (mut repository, desk) = (repository(), Desk::new());
    let by_hash = repository.dist().join("main/binary-i386/by-hash/SHA256");
    fs::create_dir_all(&by_hash).unwrap();
    let digest = btf_archive::Digest::of(&fs::read(repository.index()).unwrap()).to_string();
    fs::rename(repository.index(), by_hash.join(&digest)).unwrap();
    let (server, keyring) = (repository.serve(), repository.keyring());
    let list = || outcome(desk.on("kernels", &server, &keyring).arg("--json"));
    let first = list();
    assert_eq!(first.0, 0, "{}", first.2);
    assert_eq!(list(), first);
    let release = format!("/dists/{SUITE}/InRelease");
    let index = format!("/dists/{SUITE}/main/binary-i386/by-hash/SHA256/{digest}");
    assert_eq!(paths(&server), [release.clone(), index, release]);

    // Without by-hash and without xz: the other forms say the same.
    repository.field("Acquire-By-Hash", "no");
    for missing in ["none.xz", "Packages.gz"] {
        let _ = fs::remove_dir_all(&by_hash);
        let _ = fs::remove_file(repository.dist().join("main/binary-i386").join(missing));
        repository.release();
        repository.sign();
        // What was kept is the same when it is unpacked.
        let before = paths(&server).len();
        assert_eq!(list(), first);
        assert_eq!(paths(&server).len(), before + 1);
        fs::remove_dir_all(desk.path("cache")).unwrap();
        assert_eq!(list(), first);
    }
    let last = paths(&server).split_off(3);
    assert!(last.contains(&format!("/dists/{SUITE}/main/binary-i386/Packages.gz")), "{last:?}");
    assert!(last.contains(&format!("/dists/{SUITE}/main/binary-i386/Packages")), "{last:?}");
}

/// Check that a Release file with a detached signature is as good as InRelease, and that without either it is refused.
#[test]
fn detached_signature() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring) = (repository.serve(), repository.keyring());
    fs::remove_file(repository.dist().join("InRelease")).unwrap();
    let (code, stdout, stderr) = outcome(&mut desk.on("kernels", &server, &keyring));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("6.1.0-47-686-pae"), "{stdout}");

    fs::remove_file(repository.dist().join("Release.gpg")).unwrap();
    refused(&desk, &server, &keyring, "is not signed");
    fs::write(repository.dist().join("Release.gpg"), "rubbish").unwrap();
    refused(&desk, &server, &keyring, "no OpenPGP signature");
}

/// `btfgen kernels` says why it refuses, exits with 4 and prints nothing.
#[track_caller]
fn refused(desk: &Desk, server: &loopback::Server, keyring: &std::path::Path, why: &str) {
    let (code, stdout, stderr) = outcome(&mut desk.on("kernels", server, keyring));
    assert_eq!((code, stdout.as_str()), (4, ""), "{stderr}");
    assert!(stderr.contains(why), "{stderr}");
}

/// Check that a signed text that was changed is refused, in both forms, and that text around the signed part is.
#[test]
fn changed_release() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring) = (repository.serve(), repository.keyring());
    let (inline, detached) = (repository.dist().join("InRelease"), repository.dist().join("Release"));
    let good = fs::read_to_string(&inline).unwrap();
    fs::write(&inline, good.replace("12.15", "12.16")).unwrap();
    refused(&desk, &server, &keyring, "does not match what it signs");
    fs::write(&inline, format!("Codename: bookworm\n{good}")).unwrap();
    refused(&desk, &server, &keyring, "no OpenPGP signature");
    fs::write(&inline, format!("{good}Codename: bookworm\n")).unwrap();
    refused(&desk, &server, &keyring, "no OpenPGP signature");
    fs::write(&inline, "Codename: bookworm\n").unwrap();
    refused(&desk, &server, &keyring, "no OpenPGP signature");
    fs::write(&inline, "").unwrap();
    refused(&desk, &server, &keyring, "no OpenPGP signature");

    fs::remove_file(&inline).unwrap();
    let text = fs::read_to_string(&detached).unwrap();
    fs::write(&detached, text.replace("12.15", "12.16")).unwrap();
    refused(&desk, &server, &keyring, "does not match what it signs");
}

/// Check that a good signature by a stranger's key is refused, and the stranger named.
#[test]
fn strangers_signature() {
    let (repository, desk) = (repository(), Desk::new());
    let server = repository.serve();
    let stranger = debian::Gpg::new();
    stranger.key("Stranger <stranger@example.org>");
    let keyring = desk.path("stranger.asc");
    stranger.export(&keyring, true);
    let fingerprint = repository.gpg.fingerprint("archive@example.org").to_lowercase();
    refused(&desk, &server, &keyring, &format!("signed by {}", &fingerprint[24..]));

    // A second signature, by a key of the keyring, makes it good; a wrong one would spoil it.
    let (release, both) = (repository.dist().join("Release"), repository.dist().join("Release.gpg"));
    fs::remove_file(repository.dist().join("InRelease")).unwrap();
    let own = tool("gpg", |gpg| gpg.args(["--dearmor", "--output", "-"]).arg(&both));
    let theirs = stranger.run(None, &["--detach-sign", "--output", "-", release.to_str().unwrap()]);
    fs::write(&both, [own.clone(), theirs].concat()).unwrap();
    let (code, _, stderr) = outcome(&mut desk.on("kernels", &server, &keyring));
    assert_eq!(code, 0, "{stderr}");
    let other = desk.path("other");
    fs::write(&other, "something else").unwrap();
    let wrong = stranger.run(None, &["--detach-sign", "--output", "-", other.to_str().unwrap()]);
    fs::write(&both, [own, wrong].concat()).unwrap();
    refused(&desk, &server, &keyring, "bad signature by");
}

/// Check that an index is refused when it is not the one that was signed, and nothing of it is kept.
#[test]
fn changed_index() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring) = (repository.serve(), repository.keyring());
    let index = repository.index();
    let good = fs::read(&index).unwrap();
    for changed in [good[..good.len() - 1].to_vec(), [good.clone(), b"x".to_vec()].concat(), {
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        flipped
    }] {
        fs::write(&index, changed).unwrap();
        refused(&desk, &server, &keyring, "the signed Release file says");
    }
    fs::write(&index, good).unwrap();
    assert_eq!(outcome(&mut desk.on("kernels", &server, &keyring)).0, 0);
}

/// Check that a Release file past its Valid-Until is refused, unless that is allowed; that one for another suite is; and
/// that a hostile index cannot name packages outside the repository.
#[test]
fn signed_but_unusable() {
    let (mut repository, desk) = (repository(), Desk::new());
    let (server, keyring) = (repository.serve(), repository.keyring());
    repository.field("Valid-Until", "Thu, 01 Jan 2026 00:00:00 UTC");
    repository.release();
    repository.sign();
    refused(&desk, &server, &keyring, "expired at Thu, 01 Jan 2026 00:00:00 UTC");
    let (code, _, stderr) = outcome(desk.on("kernels", &server, &keyring).arg("--allow-expired"));
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("expired at"), "{stderr}");

    repository.field("Valid-Until", "Thu, 01 Jan 2150 00:00:00 UTC");
    repository.field("Codename", "trixie");
    repository.release();
    repository.sign();
    refused(&desk, &server, &keyring, "it is for suite trixie (oldstable), not bookworm");

    repository.field("Codename", SUITE);
    let packages = repository.dist().join("main/binary-i386/Packages");
    let text = fs::read_to_string(&packages).unwrap();
    for path in ["../outside.deb", "/etc/passwd", "http://127.0.0.1:1/x.deb", "//127.0.0.1:1/x.deb"] {
        fs::write(
            &packages,
            text.replace("pool/main/l/linux/linux-image-6.1.0-47-686_6.1.170-3_i386.deb", path)
                .replace("pool/main/l/linux/linux-image-6.1.0-47-686-dbg_6.1.170-3_i386.deb", path),
        )
        .unwrap();
        tool("xz", |xz| xz.args(["--keep", "--force"]).arg(&packages));
        repository.release();
        repository.sign();
        refused(&desk, &server, &keyring, "outside the archive");
    }
}

/// Check which keys may sign: a subkey may; an expired, a revoked, an unbound and a weakly hashed one may not.
#[test]
fn keys_that_may_sign() {
    // A certificate like Debian's: the primary key certifies, a subkey signs.
    let (mut repository, desk) = (repository(), Desk::new());
    let server = repository.serve();
    let gpg = &repository.gpg;
    gpg.run(None, &["--quick-generate-key", "Certifier <certifier@example.org>", "rsa2048", "cert", "never"]);
    let certifier = gpg.fingerprint("certifier@example.org");
    gpg.run(None, &["--quick-add-key", &certifier, "rsa2048", "sign", "1y"]);
    repository.signer = vec!["--local-user".into(), "certifier@example.org".into()];
    repository.sign();
    let keyring = repository.keyring();
    let (code, stdout, stderr) = outcome(desk.on("kernels", &server, &keyring).arg("--json"));
    assert_eq!(code, 0, "{stderr}");
    let listing: Value = serde_json::from_str(&stdout).unwrap();
    let signer = listing["suites"][0]["signed_by"].as_str().unwrap();
    assert!(signer.len() == 40 && signer != certifier, "{signer}: the subkey signed");

    // SHA-1 ties a signature to nothing any more.
    repository.signer.extend(["--digest-algo".into(), "SHA1".into()]);
    repository.sign();
    refused(&desk, &server, &keyring, "weak hash");

    // The subkey is revoked by the primary key.
    repository.signer.truncate(2);
    repository.sign();
    let revoke = "--command-fd=0";
    let edited = edit_key(&repository, &certifier, "key 1\nrevkey\ny\n0\n\ny\nsave\n", revoke);
    assert!(edited, "gpg did not revoke the subkey");
    refused(&desk, &server, &repository.keyring(), "revoked");
}

/// Runs the commands of `gpg --edit-key`.
fn edit_key(repository: &Repository, key: &str, commands: &str, option: &str) -> bool {
    let file = repository.root().join("commands");
    fs::write(&file, commands).unwrap();
    let script = format!(
        "gpg --homedir \"$0\" --batch --no-tty --yes --pinentry-mode loopback --passphrase '' {option} --edit-key {key} < \"$1\""
    );
    let status = std::process::Command::new("sh")
        .args(["-c", &script])
        .arg(repository.gpg.home())
        .arg(&file)
        .output()
        .unwrap();
    status.status.success()
}

/// Check that a key which has expired since it signed is refused, unless that is allowed.
#[test]
fn expired_key() {
    let (mut repository, desk) = (repository(), Desk::new());
    let server = repository.serve();
    repository.time = Some("20210601T000000");
    let options = ["--quick-generate-key", "Old <old@example.org>", "ed25519", "sign", "2022-01-01"];
    repository.gpg.run(Some("20210101T000000"), &options);
    repository.signer = vec!["--local-user".into(), "old@example.org".into()];
    repository.sign();
    let keyring = repository.keyring();
    refused(&desk, &server, &keyring, "its key has expired");
    let (code, _, stderr) = outcome(desk.on("kernels", &server, &keyring).arg("--allow-expired"));
    assert_eq!(code, 0, "{stderr}");
}

/// Check that what is not there is said to be not there: the suite, the architecture, the archive, the keyring.
#[test]
fn not_there() {
    let (repository, desk) = (repository(), Desk::new());
    let (server, keyring) = (repository.serve(), repository.keyring());
    let (code, _, stderr) = outcome(desk.on("kernels", &server, &keyring).args(["--suite", "trixie"]));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("no suite trixie"), "{stderr}");
    let (code, _, stderr) = outcome(desk.on("kernels", &server, &keyring).args(["--arch", "s390x"]));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("no packages for s390x; it has i386"), "{stderr}");
    let (code, _, stderr) =
        outcome(desk.on("kernels", &server, &keyring).arg("--archive").arg(desk.path("none")));
    assert_eq!(code, 1, "{stderr}");
    let (code, _, stderr) = outcome(&mut desk.on("kernels", &server, &desk.path("no.gpg")));
    assert_eq!(code, 1);
    assert!(stderr.contains("no.gpg"), "{stderr}");
    for suite in ["../etc", "/etc", "a//b", ""] {
        let (code, _, stderr) = outcome(
            desk.btfgen("kernels")
                .args(["--mirror", &server.url("/"), "--suite", suite])
                .arg("--keyring")
                .arg(&keyring),
        );
        assert_ne!(code, 0, "{suite:?}: {stderr}");
    }
}

/// Check that the address comes from apt's configuration, third parties' sources left aside, and that apt's own switch
/// decides about Valid-Until there.
#[test]
fn address_from_apt() {
    let (mut repository, desk) = (repository(), Desk::new());
    let (server, keyring) = (repository.serve(), repository.keyring());
    repository.field("Valid-Until", "Thu, 01 Jan 2026 00:00:00 UTC");
    repository.release();
    repository.sign();
    let parts = desk.path("sources.list.d");
    fs::create_dir_all(&parts).unwrap();
    fs::write(parts.join("vendor.list"), "deb [signed-by=/vendor.gpg] http://127.0.0.1:1/ bookworm main\n")
        .unwrap();
    let source =
        format!("Types: deb\nURIs: {}\nSuites: trixie trixie-updates\nComponents: main\n", server.url(""));
    fs::write(parts.join("debian.sources"), &source).unwrap();
    let apt = |check: &str| {
        let config = desk.path("apt.conf");
        let parts = parts.to_str().unwrap();
        fs::write(
            &config,
            format!("Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\nDir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"{parts}\";\nAcquire::Check-Valid-Until \"{check}\";\n"),
        )
        .unwrap();
        let mut command = desk.btfgen("kernels");
        command
            .env("APT_CONFIG", config)
            .args(["--suite", SUITE, "--arch", "i686", "--keyring"])
            .arg(&keyring);
        outcome(&mut command)
    };
    let (code, stdout, stderr) = apt("false");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("debian/12/i386/6.1.0-50-686-pae"), "{stdout}");
    assert!(stderr.contains("expired"), "{stderr}");
    let (code, _, stderr) = apt("true");
    assert_eq!(code, 4, "{stderr}");
    fs::remove_file(parts.join("debian.sources")).unwrap();
    let (code, _, stderr) = apt("true");
    assert_eq!(code, 1);
    assert!(stderr.contains("vendor.list") && stderr.contains("--mirror URL"), "{stderr}");
}

/// Check that kernels of the real archive are found from this machine's own apt sources, its signature good.
#[test]
fn real_archive() {
    let desk = Desk::new();
    let (code, stdout, stderr) =
        outcome(desk.btfgen("kernels").args(["--suite", SUITE, "--arch", "i386", "--json"]));
    assert_eq!(code, 0, "{stderr}");
    let listing: Value = serde_json::from_str(&stdout).unwrap();
    let kernels = listing["kernels"].as_array().unwrap();
    let pae = kernels.iter().filter(|kernel| kernel["flavour"] == "686-pae");
    for kernel in pae.clone() {
        assert_eq!(kernel["embedded_btf"], "no");
        assert!(kernel["key"].as_str().unwrap().starts_with("debian/12/i386/6.1."), "{kernel}");
        assert!(kernel["size"].as_u64().unwrap() > 100_000_000, "{kernel}");
    }
    assert!(pae.count() > 0, "{listing}");
}
