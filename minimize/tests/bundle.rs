//! `btf-minimize bundle`: each layout as its reader reads it, the same bytes every time, and what makes a bundle stale.

mod judge;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use btf_archive::bundle::Bundle;
use btf_archive::store::{Archive, KernelDraft};
use btf_archive::trust::{KeyList, Policy, PublicKey, SigningKey};
use btf_archive::{BuildId, Digest, Provenance, Source, Trust, blob};
use judge::succeed;
use object::{Object as _, ObjectSection as _};
use serde_json::Value;
use tempfile::TempDir;

/// Kernels by the key and the file of their BTF. The last two need the same minimised BTF, from different wholes.
const KERNELS: [(&str, &str); 4] = [
    ("amzn/2018/x86_64/4.14.26-46.32.amzn1.x86_64", "old"),
    ("debian/11/arm64/5.10.0-35-arm64", "middle"),
    ("debian/12/x86_64/6.1.0-50-amd64", "new"),
    ("ubuntu/22.04/x86_64/5.15.0-91-generic", "newer"),
];

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk { folder: TempDir::new().unwrap() };
        for (name, members, more) in [
            ("old", "int pid;", ""),
            ("middle", "int state; int pid;", ""),
            ("new", "long flags; int pid;", ""),
            (
                "newer",
                "long flags; int pid;",
                "struct other { int x; }; int also(struct other *o) { return o->x; }",
            ),
        ] {
            let source =
                format!("struct task {{ {members} }}; int use(struct task *t) {{ return t->pid; }} {more}");
            let object = desk.compile(name, &source);
            let file = fs::read(&object).unwrap();
            let section = object::File::parse(&*file).unwrap();
            fs::write(desk.path(name), section.section_by_name(".BTF").unwrap().data().unwrap()).unwrap();
        }
        desk.program("pid");
        desk
    }

    fn compile(&self, name: &str, source: &str) -> PathBuf {
        let (input, output) = (self.path("source.c"), self.path(&format!("{name}.o")));
        fs::write(&input, source).unwrap();
        succeed("clang", &[&"-target", &"bpf", &"-g", &"-O2", &"-c", &input, &"-o", &output]);
        output
    }

    /// The object that is bundled for: it reads one member of `struct task`.
    fn program(&self, member: &str) {
        let section = r#"__attribute__((section("raw_tp/test"), used))"#;
        let attribute = "__attribute__((preserve_access_index))";
        let source = format!(
            "struct task {{ int {member}; }} {attribute}; {section} int read(struct task *t) {{ return t->{member}; }}"
        );
        self.compile("program", &source);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An archive with these kernels.
    fn archive(&self, name: &str, kernels: &[(&str, &str)]) -> PathBuf {
        let location = self.path(name);
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let archive = Archive::create(&location).await.unwrap();
            for (index, (key, file)) in kernels.iter().enumerate() {
                let provenance = Provenance {
                    package: None,
                    package_version: None,
                    url: None,
                    sha256: None,
                    trust: Trust::None,
                    source: Source::Dwarf,
                    generator: "test".to_owned(),
                };
                let build_id = Some(BuildId::new(&[index as u8 + 1; 20]).unwrap());
                let draft = KernelDraft { key: key.parse().unwrap(), build_id, provenance, digest: None };
                archive.add(draft, fs::read(self.path(file)).unwrap()).await.unwrap();
            }
            archive.publish().await.unwrap();
            archive.close().await;
        });
        location
    }

    fn bundle(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_btf-minimize"));
        command
            .current_dir(self.folder.path())
            .arg("bundle")
            .args(arguments)
            .arg("program.o")
            .output()
            .unwrap()
    }

    /// Bundles an archive; everything must go well.
    fn make(&self, arguments: &[&str]) {
        let output = self.bundle(&[&["--archive", "archive"], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// What `build` makes of a kernel's BTF for the object.
    fn minimised(&self, file: &str) -> Vec<u8> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_btf-minimize"));
        let command = command.current_dir(self.folder.path()).args(["build", "--btf", file, "-o", "min.btf"]);
        assert!(command.arg("program.o").output().unwrap().status.success());
        fs::read(self.path("min.btf")).unwrap()
    }

    /// What a shell command gives in the folder.
    fn shell(&self, script: &str) -> Vec<u8> {
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-ec", script])
            .current_dir(self.folder.path())
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{script}: {}", text(&output.stderr));
        output.stdout
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Check that a single file has each kernel's minimised BTF by key and by build-id, equal ones once, raw or compressed, and what it was made of.
#[test]
fn single_file() {
    let desk = Desk::new();
    desk.archive("archive", &KERNELS);
    for (name, more) in [("raw", &[][..]), ("small", &["--zstd"])] {
        desk.make(&[&["-o", name], more].concat());
        let data = fs::read(desk.path(name)).unwrap();
        let bundle = Bundle::open(&data).unwrap();
        assert_eq!((bundle.kernels().len(), bundle.blob_count()), (4, 3));
        for (index, (key, file)) in KERNELS.iter().enumerate() {
            let kernel = bundle.by_key(&key.parse().unwrap()).unwrap();
            assert_eq!(*kernel.btf().unwrap(), desk.minimised(file), "{key}");
            let source = Digest::of(&fs::read(desk.path(file)).unwrap());
            assert_eq!(kernel.source().unwrap(), source.as_bytes()[..8]);
            let build_id = BuildId::new(&[index as u8 + 1; 20]).unwrap();
            assert_eq!(bundle.by_build_id(&build_id).unwrap().key(), *key);
        }
        let record: Value = serde_json::from_str(bundle.record()).unwrap();
        assert_eq!((&record["snapshot"], &record["objects"][0]["name"]), (&1.into(), &"program.o".into()));
    }
}

/// Check that every layout comes out the same whatever number of threads made it.
#[test]
fn same_bytes_with_any_threads() {
    let desk = Desk::new();
    desk.archive("archive", &KERNELS);
    for layout in ["single", "bcc", "inspektor-gadget", "datadog"] {
        let made = ["1", "2", "7"].map(|threads| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_btf-minimize"));
            command.current_dir(desk.folder.path()).env("RAYON_NUM_THREADS", threads);
            command.args([
                "bundle",
                "--archive",
                "archive",
                "--select",
                "x86_64",
                "--layout",
                layout,
                "-o",
                "out",
                "program.o",
            ]);
            assert!(command.output().unwrap().status.success());
            fs::read(desk.path("out")).unwrap()
        });
        assert!(made[0] == made[1] && made[0] == made[2], "{layout}");
    }
}

/// Check that bcc's way of reading finds each kernel under the name that it asks for, with `uname -m` and what os-release says.
#[test]
fn for_bcc() {
    let desk = Desk::new();
    desk.archive("archive", &KERNELS);
    desk.make(&["--layout", "bcc", "-o", "min_core_btfs.tar.gz"]);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge/tar_reader.c");
    succeed("cc", &[&"-Wall", &"-o", &desk.path("reader"), &source]);
    for (name, file) in [
        ("./amzn/2018.03/x86_64/4.14.26-46.32.amzn1.x86_64.btf", "old"),
        ("./debian/11/aarch64/5.10.0-35-arm64.btf", "middle"),
        ("./debian/12/x86_64/6.1.0-50-amd64.btf", "new"),
        ("./ubuntu/22.04/x86_64/5.15.0-91-generic.btf", "newer"),
    ] {
        let found = desk.shell(&format!("gzip -dc min_core_btfs.tar.gz | ./reader {name}"));
        assert_eq!(found, desk.minimised(file), "{name}");
    }
    let listed = text(&desk.shell("tar -tvzf min_core_btfs.tar.gz --full-time"));
    assert_eq!(listed.lines().count(), 5, "{listed}");
    assert!(listed.lines().all(|line| line.starts_with("-r--r--r-- 0/0 ")), "{listed}");
}

/// Check that Inspektor Gadget's names are in its tar file, and that its image is an OCI layout that skopeo takes, with the object and, by architecture, the BTFs.
#[test]
fn for_inspektor_gadget() {
    let desk = Desk::new();
    desk.archive("archive", &KERNELS);
    desk.make(&["--layout", "inspektor-gadget", "-o", "btfs.tar.gz"]);
    let found = desk.shell("tar -xOzf btfs.tar.gz debian/11/aarch64/5.10.0-35-arm64.btf");
    assert_eq!(found, desk.minimised("middle"));

    desk.make(&["--layout", "inspektor-gadget-oci", "-o", "image"]);
    let index: Value = serde_json::from_slice(&desk.shell("skopeo inspect --raw oci:image:latest")).unwrap();
    let arches: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|one| &one["platform"]["architecture"]).collect();
    assert_eq!(arches, ["amd64", "arm64"]);
    desk.shell("skopeo copy --all oci:image:latest oci:copy:latest");
    for (arch, member, file) in [
        (0, "ubuntu/22.04/x86_64/5.15.0-91-generic.btf", "newer"),
        (1, "debian/11/aarch64/5.10.0-35-arm64.btf", "middle"),
    ] {
        let blob = |digest: &Value| desk.path("copy/blobs").join(digest.as_str().unwrap().replace(':', "/"));
        let manifest: Value =
            serde_json::from_slice(&fs::read(blob(&index["manifests"][arch]["digest"])).unwrap()).unwrap();
        assert_eq!(manifest["artifactType"], "application/vnd.gadget.v1+binary");
        let [object, btfs] = &manifest["layers"].as_array().unwrap()[..] else { panic!("{manifest}") };
        assert_eq!(object["mediaType"], "application/vnd.gadget.ebpf.program.v1+binary");
        assert_eq!(btfs["mediaType"], "application/vnd.gadget.btfgen.v1+binary");
        assert_eq!(fs::read(blob(&object["digest"])).unwrap(), fs::read(desk.path("program.o")).unwrap());
        let found = desk.shell(&format!("tar -xOzf {} {member}", blob(&btfs["digest"]).display()));
        assert_eq!(found, desk.minimised(file));
    }
}

/// Check that the Datadog agent finds a tar file in the collection and the BTF in that, and that it is told to choose one architecture.
#[test]
fn for_datadog() {
    let desk = Desk::new();
    desk.archive("archive", &KERNELS);
    let output = desk.bundle(&["--archive", "archive", "--layout", "datadog", "-o", "minimized-btfs.tar.xz"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("arm64, x86_64"), "{}", text(&output.stderr));
    desk.make(&["--layout", "datadog", "--select", "x86_64", "-o", "minimized-btfs.tar.xz"]);
    for (member, file) in [
        ("amazon/4.14.26-46.32.amzn1.x86_64.btf", "old"),
        ("debian/6.1.0-50-amd64.btf", "new"),
        ("ubuntu/22.04/5.15.0-91-generic.btf", "newer"),
    ] {
        let name = member.rsplit('/').next().unwrap();
        let script = format!("tar -xOJf minimized-btfs.tar.xz {member}.tar.xz | tar -xOJ {name}");
        assert_eq!(desk.shell(&script), desk.minimised(file), "{member}");
    }
}

/// Check that directories have each kernel, equal ones as links; that one is replaced by the next; and that nobody else's directory is.
#[test]
fn directories() {
    let desk = Desk::new();
    desk.archive("archive", &KERNELS);
    desk.make(&["--layout", "dir", "-o", "tree"]);
    for (key, file) in KERNELS {
        assert_eq!(fs::read(desk.path("tree").join(format!("{key}.btf"))).unwrap(), desk.minimised(file));
    }
    let inode = |name: &str| fs::metadata(desk.path("tree").join(name)).unwrap().ino();
    assert_eq!(
        inode("debian/12/x86_64/6.1.0-50-amd64.btf"),
        inode("ubuntu/22.04/x86_64/5.15.0-91-generic.btf")
    );

    desk.make(&["--layout", "tracee", "--select", "arm64", "-o", "tree"]);
    assert_eq!(text(&desk.shell("find tree -type f")), "tree/debian/11/arm64/5.10.0-35-arm64.btf\n");

    fs::create_dir(desk.path("mine")).unwrap();
    fs::write(desk.path("mine/letter"), "dear").unwrap();
    let output = desk.bundle(&["--archive", "archive", "--layout", "dir", "-o", "mine"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write mine"), "{}", text(&output.stderr));
    assert_eq!(text(&desk.shell("ls -A mine; ls -A | grep btf-minimize || true")), "letter\n");
}

/// Check that a kernel that cannot be read is named and left out, and that `--strict` writes nothing then.
#[test]
fn damaged_kernel() {
    let desk = Desk::new();
    let archive = desk.archive("archive", &KERNELS);
    let digest = Digest::of(&fs::read(desk.path("middle")).unwrap());
    fs::write(archive.join(blob::path(&digest)), "damaged").unwrap();
    let output = desk.bundle(&["--archive", "archive", "--strict", "-o", "out"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!desk.path("out").exists());
    let output = desk.bundle(&["--archive", "archive", "--json", "-o", "out"]);
    assert_eq!(output.status.code(), Some(5));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["kernels"], &report["blobs"]), (&3.into(), &2.into()));
    let reason = report["left_out"]["debian/11/arm64/5.10.0-35-arm64"].as_str().unwrap();
    assert!(reason.contains("zstd"), "{reason}");
    assert!(text(&output.stderr).contains("debian/11/arm64/5.10.0-35-arm64: left out: "));
    assert_eq!(Bundle::open(&fs::read(desk.path("out")).unwrap()).unwrap().kernels().len(), 3);
}

/// Check that a relocation that a kernel's types make ambiguous is named with the kernel, and that the bundle is there all the same.
#[test]
fn ambiguous_kernel() {
    let desk = Desk::new();
    // Two types of a kernel that are called alike but for what CO-RE does not look at.
    let twice = "struct task___1 { int pid; }; struct task___2 { int y; int pid; };
        int f(struct task___1 *a, struct task___2 *b) { return a->pid + b->pid; }";
    let object = desk.compile("twice", twice);
    let tree = desk.path("debian/10/x86_64");
    fs::create_dir_all(&tree).unwrap();
    fs::copy(desk.path("new"), tree.join("4.19.0-26-amd64.btf")).unwrap();
    fs::copy(object, tree.join("4.19.0-27-amd64.btf")).unwrap();
    let files = ["26", "27"].map(|number| format!("debian/10/x86_64/4.19.0-{number}-amd64.btf"));
    let output = desk.bundle(&["--btf", &files[0], "--btf", &files[1], "-o", "out"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("ambiguous") && stderr.contains("(on 1 kernel, such as debian/10/x86_64/4.19.0-27"),
        "{stderr}"
    );
    assert_eq!(Bundle::open(&fs::read(desk.path("out")).unwrap()).unwrap().kernels().len(), 2);
}

/// Check that files need a place that says whose kernel they are.
#[test]
fn files_need_names() {
    let desk = Desk::new();
    let output = desk.bundle(&["--btf", "old", "-o", "out"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("ID/VERSION_ID/ARCH/RELEASE.btf"), "{}", text(&output.stderr));
    assert_eq!(desk.bundle(&["--archive", "archive"]).status.code(), Some(2));
}

/// Check what makes a bundle stale: another object, another kernel, other BTF of a kernel, another selection; in a single file and in one with its record beside it.
#[test]
fn stale() {
    let desk = Desk::new();
    desk.archive("archive", &KERNELS);
    let changed = [
        ("debian/12/x86_64/6.1.0-50-amd64", "newer"),
        ("debian/12/x86_64/6.1.0-51-amd64", "new"),
        KERNELS[1],
    ];
    desk.archive("later", &changed);
    for layout in ["single", "bcc"] {
        desk.program("pid");
        desk.make(&["--layout", layout, "--select", "debian", "-o", "out"]);
        let check = |more: &[&str]| {
            let output = desk.bundle(&[&["--check-stale", "out"], more].concat());
            (output.status.code(), text(&output.stdout))
        };
        assert_eq!(
            check(&["--archive", "archive"]),
            (Some(0), "out: up to date with 1 object and 2 kernels\n".to_owned()),
            "{layout}"
        );
        let expected = "out: 2 changes\n  kernel debian/12/x86_64/6.1.0-50-amd64: has other BTF\n  kernel debian/12/x86_64/6.1.0-51-amd64: is new\n";
        assert_eq!(check(&["--archive", "later"]), (Some(1), expected.to_owned()));
        let (code, said) = check(&["--archive", "archive", "--select", "debian 12"]);
        assert_eq!(code, Some(1));
        assert!(said.contains("selection: debian became debian 12"), "{said}");
        assert!(said.contains("kernel debian/11/arm64/5.10.0-35-arm64: is gone"), "{said}");
        desk.program("other");
        let (code, said) = check(&["--archive", "archive", "--json"]);
        let report: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((code, &report["changes"]), (Some(1), &serde_json::json!(["object program.o: changed"])));
    }
    let output = desk.bundle(&["--archive", "archive", "--check-stale", "program.o"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no record"), "{}", text(&output.stderr));
}

/// Check that an archive is taken by who pinned its root, and refused with exit code 4 by who pinned another, or if it is not
/// signed.
#[test]
fn bundle_pinned_root() {
    let desk = Desk::new();
    let location = desk.archive("archive", &KERNELS[..1]);
    let [root, key, other] = [(); 3].map(|()| SigningKey::generate("test", None).unwrap());
    let secret = |(file, _): &(String, PublicKey)| SigningKey::read(file, None).unwrap();
    let bundle = |pinned: &PublicKey| {
        let seen = desk.path("seen.json");
        let pinned = ["--root-key", &pinned.to_string(), "--seen", seen.to_str().unwrap()];
        let output = desk.bundle(&[&["--archive", "archive", "-o", "out.tar.zst"], &pinned[..]].concat());
        (output.status.code(), text(&output.stderr))
    };
    let (code, stderr) = bundle(&root.1);
    assert!(code == Some(4) && stderr.contains("not signed"), "{stderr}");

    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut archive = Archive::open(&location).await.unwrap();
        archive.sign_with(secret(&key));
        let mut list = KeyList::new(1);
        list.add(key.1.clone(), 1, u64::MAX).unwrap();
        let json = list.encode().unwrap();
        let signature = secret(&root).sign(&json, "keys").unwrap();
        archive.install_keys(&Policy::new(vec![root.1.clone()]), &json, signature.as_bytes()).await.unwrap();
    });
    let (code, stderr) = bundle(&root.1);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(fs::read_to_string(desk.path("seen.json")).unwrap().contains("\"number\": 1"));
    let (code, stderr) = bundle(&other.1);
    assert!(code == Some(4) && stderr.contains("not a pinned root key"), "{stderr}");
}

/// Check what makes a bundle of files stale: other BTF where the objects need it, and nothing that they do not look at.
#[test]
fn stale_files() {
    let desk = Desk::new();
    let tree = desk.path("debian/12/x86_64");
    fs::create_dir_all(&tree).unwrap();
    let name = "debian/12/x86_64/6.1.0-50-amd64.btf";
    for layout in ["single", "dir"] {
        fs::copy(desk.path("new"), desk.path(name)).unwrap();
        let output = desk.bundle(&["--btf", name, "--layout", layout, "-o", layout]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for (file, code, said) in [
            ("new", 0, "up to date with 1 object and 1 kernel"),
            ("newer", 0, "up to date with 1 object and 1 kernel"),
            ("old", 1, "kernel debian/12/x86_64/6.1.0-50-amd64: what the objects need of it is other BTF"),
        ] {
            fs::copy(desk.path(file), desk.path(name)).unwrap();
            let output = desk.bundle(&["--btf", name, "--check-stale", layout]);
            assert_eq!(output.status.code(), Some(code), "{layout} {file}: {}", text(&output.stderr));
            assert!(text(&output.stdout).contains(said), "{layout} {file}: {}", text(&output.stdout));
        }
    }
}
