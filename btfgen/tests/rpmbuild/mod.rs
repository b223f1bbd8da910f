//! RPM packages made by rpmbuild.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A package to be built.
pub struct Rpm {
    folder: TempDir,
    name: String,
    files: Vec<String>,
    /// `%_binary_payload`: `w9.gzdio` and so on.
    payload: String,
}

impl Rpm {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, name: name.into(), files: Vec::new(), payload: "w3.zstdio".into() }
    }

    /// The debug package of a kernel, as Fedora builds it.
    pub fn debug(release: &str, vmlinux: &[u8]) -> Self {
        let folder = format!("usr/lib/debug/lib/modules/{release}");
        Self::new("kernel-debuginfo")
            .file(&format!("{folder}/kernel/fs/ext4.ko.debug"), b"a module")
            .file(&format!("{folder}/vmlinux"), vmlinux)
    }

    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        let to = self.tree().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, content).unwrap();
        self.files.push(path.into());
        self
    }

    /// Another name of a file that is there.
    pub fn hard_link(mut self, path: &str, other: &str) -> Self {
        let to = self.tree().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::hard_link(self.tree().join(other), to).unwrap();
        self.files.push(path.into());
        self
    }

    /// A file of `len` zeros that takes no room on disk.
    pub fn zeros(self, path: &str, len: u64) -> Self {
        let this = self.file(path, b"");
        fs::File::options().write(true).open(this.tree().join(path)).unwrap().set_len(len).unwrap();
        this
    }

    pub fn payload(mut self, payload: &str) -> Self {
        self.payload = payload.into();
        self
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// The package's bytes.
    pub fn build(self) -> Vec<u8> {
        fs::read(self.build_file()).unwrap()
    }

    /// The package, signed by the only key of a GnuPG home.
    pub fn build_signed(self, home: &std::path::Path, key: &str) -> Vec<u8> {
        let file = self.build_file();
        // The program, then its arguments from the zeroth on.
        let sign = format!(
            "/usr/bin/gpg gpg --homedir {} --batch --no-armor --pinentry-mode loopback --passphrase '' \
             --digest-algo sha256 -u '%{{_gpg_name}}' -sbo %{{__signature_filename}} %{{__plaintext_filename}}",
            home.display()
        );
        let mut command = Command::new("rpmsign");
        for define in [format!("_gpg_name {key}"), format!("__gpg_sign_cmd {sign}")] {
            command.args(["--define", &define]);
        }
        run(command.arg("--addsign").arg(&file));
        fs::read(file).unwrap()
    }

    fn build_file(&self) -> PathBuf {
        let files: String = self.files.iter().map(|file| format!("/{file}\n")).collect();
        let spec = format!(
            "Name: {}\nEpoch: 1\nVersion: 6.1.2\nRelease: 3.test\nSummary: Debug information for a test\nLicense: none\n\
             %description\nMore of it.\n%install\ncp -a {}/. %{{buildroot}}\n%files\n{files}",
            self.name,
            self.tree().display()
        );
        let folder = self.folder.path();
        fs::write(folder.join("test.spec"), spec).unwrap();
        let defines = [
            format!("_topdir {}/build", folder.display()),
            format!("_binary_payload {}", self.payload),
            "__os_install_post %{nil}".into(),
            "debug_package %{nil}".into(),
            "_build_id_links none".into(),
            "_rpmfilename out.rpm".into(),
            "__brp_compress true".into(),
        ];
        let mut command = Command::new("rpmbuild");
        for define in &defines {
            command.args(["--define", define]);
        }
        run(command.args(["--target", "x86_64-linux", "--quiet", "-bb"]).arg(folder.join("test.spec")));
        folder.join("build/RPMS/out.rpm")
    }
}

fn run(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; ci/install-tools installs it"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
