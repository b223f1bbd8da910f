//! A small RPM repository, made by the real tools: rpmbuild, createrepo_c, modifyrepo_c; and a definition that points to it.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use crate::debian::{Desk, outcome, tool};
use crate::loopback::{Answer, Request, Server};

/// A directory of packages with repository data.
pub struct RpmRepository {
    dir: TempDir,
}

/// One package to be built.
pub struct Rpm<'a> {
    pub source: &'a str,
    pub name: &'a str,
    pub version: &'a str,
    pub release: &'a str,
    pub arch: &'a str,
    /// Path and size of the file in it, if any.
    pub file: Option<(&'a str, usize)>,
}

impl RpmRepository {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn repodata(&self) -> PathBuf {
        self.root().join("repodata")
    }

    pub fn repomd(&self) -> PathBuf {
        self.repodata().join("repomd.xml")
    }

    /// Builds a package into `Packages/`.
    pub fn build(&self, rpm: &Rpm<'_>) {
        let Rpm { source, name, version, release, arch, file } = rpm;
        let work = tempfile::tempdir().unwrap();
        let (install, files) = match file {
            Some((path, size)) => (
                format!(
                    "mkdir -p $(dirname %{{buildroot}}/{path})\nhead -c {size} /dev/zero > %{{buildroot}}/{path}\n"
                ),
                format!("/{path}\n"),
            ),
            None => (String::new(), String::new()),
        };
        let spec = format!(
            "%global debug_package %{{nil}}\n%global __os_install_post %{{nil}}\nName: {source}\nVersion: {version}\nRelease: {release}\n\
             Summary: x\nLicense: x\nAutoReqProv: no\n%description\nx\n%package -n {name}\nSummary: x\nAutoReqProv: no\n\
             %description -n {name}\nx\n%install\n{install}%files -n {name}\n{files}"
        );
        // Where source and binary package have one name, there is no package beside the main one.
        let spec = if source == name {
            spec.replace(
                &format!("%package -n {name}\nSummary: x\nAutoReqProv: no\n%description -n {name}\nx\n"),
                "",
            )
            .replace(&format!("%files -n {name}"), "%files")
        } else {
            spec
        };
        fs::write(work.path().join("x.spec"), spec).unwrap();
        let packages = self.root().join("Packages");
        fs::create_dir_all(&packages).unwrap();
        tool("rpmbuild", |rpmbuild| {
            rpmbuild
                .args(["-bb", "--quiet", "--target", arch, "--define", "_binary_payload w1.gzdio"])
                .args(["--define", &format!("_topdir {}", work.path().display())])
                .args([
                    "--define",
                    &format!("_rpmdir {}", packages.display()),
                    "--define",
                    "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
                ])
                .arg(work.path().join("x.spec"))
        });
    }

    /// Builds a package with a file too large for a metapackage.
    pub fn kernel(&self, source: &str, name: &str, version: &str, release: &str, arch: &str) {
        let path = format!("usr/lib/{name}/{version}-{release}");
        self.build(&Rpm { source, name, version, release, arch, file: Some((&path, 200_000)) });
    }

    /// Makes the repository data.
    pub fn publish(&self, options: &[&str]) {
        let _ = fs::remove_dir_all(self.repodata());
        tool("createrepo_c", |createrepo| createrepo.arg("--quiet").args(options).arg(self.root()));
    }

    /// Takes lists out of the repository data.
    pub fn remove(&self, kinds: &[&str]) {
        for kind in kinds {
            tool("modifyrepo_c", |modify| modify.args(["--remove", kind]).arg(self.repodata()));
        }
    }

    /// The file of a list.
    pub fn list(&self, kind: &str) -> PathBuf {
        let entries = fs::read_dir(self.repodata()).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        entries
            .into_iter()
            .find(|path| name(path).contains(&format!("-{kind}.")))
            .unwrap_or_else(|| panic!("no {kind}"))
    }

    /// Writes repository data with one list, by hand: what the tools would not make.
    pub fn forge(&self, kind: &str, file: &str, bytes: &[u8]) {
        let repodata = self.repodata();
        fs::create_dir_all(&repodata).unwrap();
        fs::write(repodata.join(file), bytes).unwrap();
        let repomd = format!(
            "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><data type=\"{kind}\">\
             <checksum type=\"sha256\">{}</checksum><location href=\"repodata/{file}\"/><size>{}</size></data></repomd>",
            btf_archive::Digest::of(bytes),
            bytes.len()
        );
        fs::write(self.repomd(), repomd).unwrap();
    }

    pub fn serve(&self) -> Server {
        serve(self.root())
    }
}

/// Serves the files of a directory as they are at each request.
pub fn serve(root: &Path) -> Server {
    serve_with(root, |_, answer| answer)
}

/// The same, with answers that the test may change.
pub fn serve_with(
    root: &Path,
    change: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
) -> Server {
    let root = root.to_owned();
    Server::new(move |request| {
        let path = request.path.split('?').next().unwrap_or_default().trim_start_matches('/');
        let answer = match fs::read(root.join(path)) {
            Ok(body) => Answer { body: Arc::new(body), ..Answer::default() },
            Err(_) => Answer { status: Some("404 Not Found"), ..Answer::default() },
        };
        change(request, answer)
    })
}

/// Writes a definition of `acme` version 8, which is like RHEL, and gives the directory.
pub fn define(desk: &Desk, repositories: &str, more: &str) -> PathBuf {
    let dir = desk.path("distros");
    fs::create_dir_all(&dir).unwrap();
    let text = format!(
        "id = \"acme\"\nlike = \"rhel\"\n{more}\n[[releases]]\nversions = [\"8\"]\nrepositories = [\n{repositories}\n]\n"
    );
    fs::write(dir.join("acme.toml"), text).unwrap();
    dir
}

/// `btfgen kernels --json` for the user's definitions, on x86_64.
pub fn kernels(desk: &Desk, distros: &Path) -> Command {
    let mut command = desk.btfgen("kernels");
    command.args(["--json", "--arch", "x86_64", "--distros"]).arg(distros);
    command
}

/// What is listed: release, version, and roles with the packages' names.
pub fn listed(stdout: &str) -> Vec<String> {
    let listing: Value = serde_json::from_str(stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    listing["kernels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kernel| {
            let packages = kernel["packages"].as_array().unwrap();
            let packages: Vec<String> =
                packages.iter().map(|of| format!("{}={}", text(&of["role"]), text(&of["package"]))).collect();
            let release = text(&kernel["key"]).rsplit('/').next().unwrap().to_owned();
            format!("{release} {} {}", text(&kernel["trust"]), packages.join(" "))
        })
        .collect()
}

/// Lists, and expects it to work.
#[track_caller]
pub fn list(desk: &Desk, distros: &Path) -> Vec<String> {
    let (code, stdout, stderr) = outcome(&mut kernels(desk, distros));
    assert_eq!(code, 0, "{stderr}");
    listed(&stdout)
}

/// Expects that nothing is listed, with the exit code and the reason.
#[track_caller]
pub fn fails(desk: &Desk, distros: &Path, code: i32, why: &str) {
    let (found, stdout, stderr) = outcome(&mut kernels(desk, distros));
    assert_eq!((found, stdout.as_str()), (code, ""), "{stderr}");
    assert!(stderr.contains(why), "{stderr}");
}
