//! The program: what it prints where, and its exit codes.

mod support;

use std::fs;

use assert_cmd::Command;
use predicates::prelude::*;
use support::{Archive, BUILD_ID, Host, KEY, OLDER, OTHER_BUILD_ID, RELEASE, Stub, btf_answer, kernel_btf};

/// `btf-fetch` on a host, in an environment without archives.
fn btf_fetch(host: &Host, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btf-fetch"));
    command.env_clear().env("BTF_ARCHIVE_CACHE_PATH", host.cache());
    let (name, rest) = arguments.split_first().unwrap();
    command.arg(name).arg("--root").arg(host.root()).args(rest);
    command
}

/// Text with what differs from run to run replaced.
fn stable(host: &Host, url: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let text = if url.is_empty() { text } else { text.replace(url, "URL") };
    text.replace(host.root().to_str().unwrap(), "ROOT").replace(host.cache().to_str().unwrap(), "CACHE")
}

/// Check that `get` prints the path of a raw file, alone on standard output, and says on standard error what it did.
#[test]
fn get_prints_path() {
    let host = Host::new();
    let archive = Archive::with(&[(KEY, Some(BUILD_ID), &kernel_btf(16))]);
    let output = btf_fetch(&host, &["get"]).env("BTF_ARCHIVE_URLS", archive.url()).output().unwrap();
    assert!(output.status.success());
    let path = String::from_utf8(output.stdout).unwrap();
    assert_eq!(fs::read(path.trim_end()).unwrap(), kernel_btf(16));
    let said = stable(&host, archive.url(), &output.stderr);
    assert_eq!(said, format!("btf-fetch: exact match, {} bytes, from URL\n", kernel_btf(16).len()));

    // Again, from the cache, quietly.
    btf_fetch(&host, &["get", "--quiet"]).assert().success().stdout(path).stderr("");
}

/// Check that `get -o` writes the file asked for, over one that is there.
#[test]
fn get_writes_file() {
    let host = Host::new();
    host.write(&format!("boot/vmlinux-{RELEASE}"), &kernel_btf(16));
    let out = host.path("out.btf");
    fs::write(&out, b"older").unwrap();
    let path = out.to_str().unwrap();
    btf_fetch(&host, &["get", "-o", path]).assert().success().stdout(format!("{path}\n")).stderr(
        predicate::str::contains("match by name")
            .and(predicate::str::contains("warning: matched by name only")),
    );
    assert_eq!(fs::read(&out).unwrap(), kernel_btf(16));
}

/// Check that after every kind of error there is no output file, and an older one is left alone.
#[test]
fn get_leaves_no_file() {
    let host = Host::new();
    let lying = Stub::always(btf_answer(&kernel_btf(16), &[("btf-build-id", OTHER_BUILD_ID)]));
    let older = host.path("older.btf");
    fs::write(&older, b"older").unwrap();
    for (url, code) in [(lying.url(), 4), ("http://127.0.0.1:1", 1)] {
        for out in [host.path("new.btf"), older.clone()] {
            let arguments = ["get", "--url", url, "-o", out.to_str().unwrap()];
            btf_fetch(&host, &arguments).assert().code(code).stdout("");
        }
        assert!(!host.path("new.btf").exists());
        assert_eq!(fs::read(&older).unwrap(), b"older");
    }
    let nowhere = host.path("no/such/directory/out.btf");
    host.write(&format!("boot/vmlinux-{RELEASE}"), &kernel_btf(16));
    btf_fetch(&host, &["get", "-o", nowhere.to_str().unwrap()])
        .assert()
        .code(1)
        .stderr(predicate::str::contains("no/such/directory/out.btf"));
}

/// Check the exit code for each class of error, and that the message names the thing, the cause and the next step.
#[test]
fn exit_codes() {
    let host = Host::new();
    let archive = Archive::with(&[(OLDER, Some(OTHER_BUILD_ID), &kernel_btf(16))]);
    btf_fetch(&host, &["get"]).assert().code(3).stderr(predicate::str::contains("set BTF_ARCHIVE_URLS"));
    btf_fetch(&host, &["get", "--url", archive.url()])
        .assert()
        .code(3)
        .stderr(predicate::str::contains(KEY).and(predicate::str::contains(format!("nearest: {OLDER}"))));
    let lying = Stub::always(btf_answer(&kernel_btf(16), &[("btf-build-id", OTHER_BUILD_ID)]));
    btf_fetch(&host, &["get", "--url", lying.url()])
        .assert()
        .code(4)
        .stderr(predicate::str::contains("wrong kernel").and(predicate::str::contains(OTHER_BUILD_ID)));
    btf_fetch(&host, &["get", "--url", "http://127.0.0.1:1"])
        .assert()
        .code(1)
        .stderr(predicate::str::contains("http://127.0.0.1:1: unreachable"));
}

/// Check that wrong usage is exit code 2, on the command line and in the environment's values.
#[test]
fn usage() {
    let host = Host::new();
    for arguments in [
        &["get", "--exact", "--key", KEY] as &[&str],
        &["get", "--key", "debian/11"],
        &["get", "--key", "debian/11/../x"],
        &["get", "--build-id", "xyz"],
        &["get", "--url", "ftp://host"],
        &["get", "--timeout", "0"],
        &["gett"],
    ] {
        btf_fetch(&host, arguments).assert().code(2).stdout("");
    }
    btf_fetch(&host, &["get"])
        .env("BTF_ARCHIVE_URLS", "http://host htp://me:secret@host")
        .assert()
        .code(2)
        .stderr(predicate::str::contains("BTF_ARCHIVE_URLS").and(predicate::str::contains("secret").not()));
    btf_fetch(&host, &["get"])
        .env("BTF_ARCHIVE_TIMEOUT", "soon")
        .assert()
        .code(2)
        .stderr(predicate::str::contains("BTF_ARCHIVE_TIMEOUT `soon`"));
}

/// Check that another kernel can be fetched by build-id and by key.
#[test]
fn get_another_kernel() {
    let host = Host::new();
    let archive = Archive::with(&[(OLDER, Some(OTHER_BUILD_ID), &kernel_btf(8))]);
    for arguments in [
        &["get", "--build-id", OTHER_BUILD_ID, "--exact"] as &[&str],
        &["get", "--key", OLDER],
        &["get", "--key", "Debian/bullseye/amd64/5.10.0-29-amd64", "--build-id", OTHER_BUILD_ID],
    ] {
        let output = btf_fetch(&host, arguments).args(["--url", archive.url()]).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        let path = String::from_utf8(output.stdout).unwrap();
        assert_eq!(fs::read(path.trim_end()).unwrap(), kernel_btf(8));
    }
}

/// Check the JSON of `get`, found and not found.
#[test]
fn get_json() {
    let host = Host::new();
    let archive = Archive::with(&[(KEY, Some(BUILD_ID), &kernel_btf(16))]);
    let output = btf_fetch(&host, &["get", "--json", "--url", archive.url()]).output().unwrap();
    insta::assert_snapshot!("get_found", stable(&host, archive.url(), &output.stdout));

    let host = Host::new();
    let archive = Archive::with(&[(OLDER, Some(OTHER_BUILD_ID), &kernel_btf(16))]);
    let output = btf_fetch(&host, &["get", "--json", "--url", archive.url()]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    insta::assert_snapshot!("get_not_found", stable(&host, archive.url(), &output.stdout));
}

/// Check what `status` says, for people and machines, when there is something to use and when there is not.
#[test]
fn status() {
    let host = Host::new();
    let run = |arguments: &[&str]| {
        let output = btf_fetch(&host, arguments).output().unwrap();
        assert!(output.status.success());
        stable(&host, "", &output.stdout)
    };
    insta::assert_snapshot!("status_nothing", run(&["status"]));
    insta::assert_snapshot!("status_archive", run(&["status", "--url", "http://127.0.0.1:1/btf"]));
    host.write(&format!("boot/vmlinux-{RELEASE}"), b"rubbish");
    host.write(&format!("usr/lib/debug/boot/vmlinux-{RELEASE}"), &kernel_btf(16));
    insta::assert_snapshot!("status_file", run(&["status"]));
    insta::assert_snapshot!("status_json", run(&["status", "--json"]));
}

/// Check that a proxy of the environment is used, but not for this machine's own addresses.
#[test]
fn proxy() {
    let host = Host::new();
    let (proxy, archive) = (Stub::always(Vec::new()), Stub::always(btf_answer(&kernel_btf(16), &[])));
    let get = |url| btf_fetch(&host, &["get", "--url", url]).env("HTTP_PROXY", proxy.url()).assert();
    get("http://archive.invalid").code(1);
    assert_eq!(proxy.requests().len(), 3, "the proxy was asked, and twice more as it cut the connection");
    get(archive.url()).success();
    assert_eq!(proxy.requests().len(), 3, "the proxy was not asked");
}

/// Check that `status` asks no archive.
#[test]
fn status_asks_nobody() {
    let host = Host::new();
    let stub = Stub::always(btf_answer(&kernel_btf(16), &[]));
    btf_fetch(&host, &["status", "--url", stub.url()]).assert().success();
    assert_eq!(stub.requests(), [] as [String; 0]);
    assert_eq!(host.cached(), [] as [String; 0]);
}

/// Check that each shell gets its completions, and that every environment variable is told in the help.
#[test]
fn completions_and_help() {
    for shell in ["bash", "zsh", "fish"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_btf-fetch"));
        command.args(["completions", shell]).assert().success().stdout(predicate::str::contains("build-id"));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_btf-fetch"));
    let help = command.arg("--help").output().unwrap().stdout;
    insta::assert_snapshot!("help", String::from_utf8(help).unwrap());
}
