//! A small Debian repository, made by Debian's own tools: gcc, dpkg-deb, apt-ftparchive, gpg. Its kernels are small ELF files of our
//! own C, with DWARF, a build-id and a `struct task_struct`.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use tempfile::TempDir;

use crate::loopback::{Answer, Request, Server};

/// Runs a tool of Debian's, which must exist and succeed.
pub fn tool(name: &str, configure: impl FnOnce(&mut Command) -> &mut Command) -> Vec<u8> {
    let mut command = Command::new(name);
    let output = configure(&mut command).output().unwrap_or_else(|error| panic!("{name} is needed: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Keys in a home of their own.
pub struct Gpg {
    home: TempDir,
}

impl Gpg {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs gpg, at a time of the past if one is given (`20200101T000000`).
    pub fn run(&self, time: Option<&str>, arguments: &[&str]) -> Vec<u8> {
        tool("gpg", |command| {
            command.arg("--homedir").arg(self.home.path()).args(["--batch", "--yes", "--quiet"]);
            command.args(["--pinentry-mode", "loopback", "--passphrase", ""]);
            if let Some(time) = time {
                command.args(["--faked-system-time", time]);
            }
            command.args(arguments)
        })
    }

    /// A key that signs by itself, as Debian's release keys do.
    pub fn key(&self, name: &str) {
        self.run(None, &["--quick-generate-key", name, "ed25519", "sign", "never"]);
    }

    pub fn fingerprint(&self, name: &str) -> String {
        let listing = String::from_utf8(self.run(None, &["--with-colons", "--list-keys", name])).unwrap();
        listing
            .lines()
            .find_map(|line| line.strip_prefix("fpr:::::::::")?.strip_suffix(':').map(str::to_owned))
            .unwrap()
    }

    /// Writes the public keys to a keyring file.
    pub fn export(&self, to: &Path, armored: bool) {
        fs::write(to, self.run(None, if armored { &["--armor", "--export"] } else { &["--export"] }))
            .unwrap();
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ =
            Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status();
    }
}

/// C with what makes a kernel plausible; `member` makes its types differ from other kernels'.
pub fn kernel_source(member: &str) -> String {
    format!(
        "struct list_head {{ struct list_head *next, *prev; }};\n\
         struct task_struct {{ int pid; char comm[16]; struct list_head tasks; long {member}; }};\n\
         struct task_struct init_task;\nvoid _start(void) {{ init_task.{member} = 1; }}\n"
    )
}

/// The ELF file that gcc makes of these sources, with DWARF and a build-id.
pub fn vmlinux(sources: &[&str]) -> Vec<u8> {
    let work = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..sources.len()).map(|number| format!("{number}.c")).collect();
    for (name, source) in names.iter().zip(sources) {
        fs::write(work.path().join(name), source).unwrap();
    }
    tool("gcc", |gcc| {
        gcc.args([
            "-g",
            "-O0",
            "-static",
            "-nostdlib",
            "-fno-pic",
            "-no-pie",
            "-Wl,--build-id=sha1",
            "-o",
            "vmlinux",
        ])
        .args(names)
        .current_dir(work.path())
    });
    fs::read(work.path().join("vmlinux")).unwrap()
}

/// A repository of one suite, one component and one architecture.
pub struct Repository {
    dir: TempDir,
    pub gpg: Gpg,
    /// Fields of the Release file.
    pub fields: Vec<(&'static str, String)>,
    /// Options of gpg for signing.
    pub signer: Vec<String>,
    pub time: Option<&'static str>,
    /// Bytes that follow vmlinux in a kernel's package, as modules do.
    pub modules: usize,
}

pub const SUITE: &str = "bookworm";

impl Repository {
    /// An empty repository with a key that signs it.
    pub fn new() -> Self {
        let gpg = Gpg::new();
        gpg.key("Archive <archive@example.org>");
        let fields = [
            ("Origin", "Test"),
            ("Suite", "oldstable"),
            ("Codename", SUITE),
            ("Version", "12.15"),
            ("Architectures", "i386"),
            ("Components", "main"),
            ("Acquire-By-Hash", "yes"),
            ("Valid-Until", "Thu, 01 Jan 2150 00:00:00 UTC"),
        ];
        let fields = fields.map(|(name, value)| (name, value.to_owned())).into();
        Self { dir: tempfile::tempdir().unwrap(), gpg, fields, signer: Vec::new(), time: None, modules: 0 }
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn dist(&self) -> PathBuf {
        self.root().join("dists").join(SUITE)
    }

    pub fn index(&self) -> PathBuf {
        self.dist().join("main/binary-i386/Packages.xz")
    }

    pub fn field(&mut self, name: &'static str, value: &str) {
        self.fields.retain(|(known, _)| *known != name);
        self.fields.push((name, value.to_owned()));
    }

    /// Adds the debug package of a kernel; `member` makes its types differ from other kernels'.
    pub fn kernel(&self, release: &str, version: &str, member: &str) {
        self.package(
            &format!("linux-image-{release}-dbg"),
            version,
            release,
            &vmlinux(&[&kernel_source(member)]),
        );
    }

    /// Adds a package with a vmlinux.
    pub fn package(&self, name: &str, version: &str, release: &str, vmlinux: &[u8]) {
        let work = tempfile::tempdir().unwrap();
        let boot = work.path().join("root/usr/lib/debug/boot");
        fs::create_dir_all(&boot).unwrap();
        fs::write(boot.join(format!("vmlinux-{release}")), vmlinux).unwrap();
        if self.modules > 0 {
            let modules = work.path().join("root/usr/lib/debug/lib/modules");
            fs::create_dir_all(&modules).unwrap();
            let mut noise = vec![0; self.modules];
            File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
            fs::write(modules.join("noise.ko"), noise).unwrap();
        }
        self.build(work.path(), name, version, "");
    }

    /// Adds a package without files, as metapackages are.
    pub fn metapackage(&self, name: &str, version: &str, depends: &str) {
        let work = tempfile::tempdir().unwrap();
        fs::create_dir(work.path().join("root")).unwrap();
        self.build(work.path(), name, version, &format!("Depends: {depends}\n"));
    }

    fn build(&self, work: &Path, name: &str, version: &str, fields: &str) {
        let control = work.join("root/DEBIAN");
        fs::create_dir_all(&control).unwrap();
        fs::write(
            control.join("control"),
            format!(
                "Package: {name}\nSource: linux\nVersion: {version}\nArchitecture: i386\nMaintainer: Nobody <nobody@example.org>\n\
                 {fields}Description: Debug symbols for {name}\n"
            ),
        )
        .unwrap();
        let pool = self.root().join("pool/main/l/linux");
        fs::create_dir_all(&pool).unwrap();
        tool("dpkg-deb", |deb| {
            deb.args(["--root-owner-group", "--build"])
                .arg(work.join("root"))
                .arg(pool.join(format!("{name}_{version}_i386.deb")))
        });
    }

    /// Writes the indices and the Release file, and signs it.
    pub fn publish(&self) {
        let binary = self.dist().join("main/binary-i386");
        fs::create_dir_all(&binary).unwrap();
        fs::create_dir_all(self.root().join("pool")).unwrap();
        let packages = tool("apt-ftparchive", |ftp| ftp.args(["packages", "pool"]).current_dir(self.root()));
        fs::write(binary.join("Packages"), packages).unwrap();
        tool("xz", |xz| xz.args(["--keep", "--force"]).arg(binary.join("Packages")));
        tool("gzip", |gzip| gzip.args(["--keep", "--force"]).arg(binary.join("Packages")));
        self.release();
        self.sign();
    }

    /// Writes the Release file over the indices as they are.
    pub fn release(&self) {
        for name in ["Release", "InRelease", "Release.gpg"] {
            let _ = fs::remove_file(self.dist().join(name));
        }
        let release = tool("apt-ftparchive", |ftp| {
            for (name, value) in &self.fields {
                ftp.args(["-o", &format!("APT::FTPArchive::Release::{name}={value}")]);
            }
            // Without this switch it passes over Valid-Until.
            ftp.args(["-o", "APT::FTPArchive::Release::ValidTime=1"]);
            ftp.args(["release", "."]).current_dir(self.dist())
        });
        fs::write(self.dist().join("Release"), release).unwrap();
    }

    /// Signs the Release file as it is, both ways.
    pub fn sign(&self) {
        let (release, inline, detached) =
            (self.dist().join("Release"), self.dist().join("InRelease"), self.dist().join("Release.gpg"));
        let release = release.to_str().unwrap();
        for (how, to) in [("--clearsign", &inline), ("--detach-sign", &detached)] {
            let mut arguments: Vec<&str> = self.signer.iter().map(String::as_str).collect();
            arguments.extend(["--armor", "--output", to.to_str().unwrap(), how, release]);
            self.gpg.run(self.time, &arguments);
        }
    }

    /// The keyring that trusts the repository's keys.
    pub fn keyring(&self) -> PathBuf {
        let path = self.root().join("keyring.gpg");
        self.gpg.export(&path, false);
        path
    }

    /// Serves the files as they are at each request.
    pub fn serve(&self) -> Server {
        self.serve_with(|_, answer| answer)
    }

    /// Serves the files, with answers that the test may change.
    pub fn serve_with(&self, change: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Server {
        let root = self.root().to_owned();
        Server::new(move |request| {
            let answer = match fs::read(root.join(request.path.trim_start_matches('/'))) {
                Ok(body) => Answer { body: Arc::new(body), ..Answer::default() },
                Err(_) => Answer { status: Some("404 Not Found"), ..Answer::default() },
            };
            change(request, answer)
        })
    }
}

/// A place for one run's cache and archive.
pub struct Desk {
    dir: TempDir,
}

impl Desk {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `btfgen COMMAND` on this desk.
    pub fn btfgen(&self, command: &str) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_btfgen"));
        program.arg(command).env("XDG_CACHE_HOME", self.path("cache"));
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            program.env_remove(proxy);
        }
        program
    }

    /// `btfgen COMMAND` for the repository behind `server`, with the keyring.
    pub fn on(&self, command: &str, server: &Server, keyring: &Path) -> Command {
        let mut program = self.btfgen(command);
        program
            .args(["--suite", SUITE, "--arch", "i386", "--mirror", &server.url("/")])
            .arg("--keyring")
            .arg(keyring);
        program
    }
}

/// Exit code, stdout and stderr.
pub fn outcome(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// The paths that a server was asked for.
pub fn paths(server: &Server) -> Vec<String> {
    server.requests().into_iter().map(|request| request.path).collect()
}
