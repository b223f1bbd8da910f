//! How archives travel: `mirror`, `export` and `import`, as programs, over real web servers and real files.

#[path = "../service/harness.rs"]
#[allow(dead_code, reason = "the other test program uses the rest")]
mod harness;

mod bucket;
mod export;
mod import;
mod mirror;
mod oci;
#[path = "../../../archive/tests/s3/mod.rs"]
mod s3_server;
mod upstream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use btf::build::Builder;
use btf::{Endian, Int, Kind, Member};
use btf_archive::store::{Archive, Beside, KernelDraft};
use btf_archive::trust::{KeyList, Policy, PublicKey, SigningKey};
use btf_archive::{Digest, Provenance, Source, Trust};
use serde_json::Value;
use tempfile::TempDir;

use harness::{program, run};

/// An archive that is signed, and its keys.
pub(crate) struct Original {
    pub(crate) directory: TempDir,
    pub(crate) root: PublicKey,
    secret: String,
}

impl Original {
    /// A signed archive of these kernels, published once. The snapshot key is valid for so many seconds from now, or was until so many ago.
    pub(crate) async fn valid_for(kernels: &[&str], seconds: i64) -> Self {
        let directory = TempDir::new().unwrap();
        let (root_file, root) = SigningKey::generate("root", None).unwrap();
        let (secret, public) = SigningKey::generate("snapshots", None).unwrap();
        let root_secret = SigningKey::read(&root_file, None).unwrap();
        let mut list = KeyList::new(now());
        list.add(public, now() - 1000, now() + 1000).unwrap();
        let mut archive = Archive::create(directory.path()).await.unwrap();
        archive.sign_with(SigningKey::read(&secret, None).unwrap());
        let install = async |archive: &Archive, list: &KeyList| {
            let json = list.encode().unwrap();
            let signature = root_secret.sign(&json, "keys").unwrap();
            archive
                .install_keys(&Policy::new(vec![root.clone()]), &json, signature.as_bytes())
                .await
                .unwrap();
        };
        install(&archive, &list).await;
        for kernel in kernels {
            add(&archive, kernel).await;
        }
        archive.publish().await.unwrap();
        // What the key signed stays signed; its time is another one from now on.
        let mut list = list.next(now());
        let key = list.keys[0].key.clone();
        list.add(key, now() - 100_000, now().saturating_add_signed(seconds)).unwrap();
        let json = list.encode().unwrap();
        let signature = root_secret.sign(&json, "keys").unwrap();
        for path in ["keys/000002.json.minisig", "keys.json.minisig"] {
            std::fs::write(directory.path().join(path), &signature).unwrap();
        }
        std::fs::write(directory.path().join("keys.json"), json).unwrap();
        archive.close().await;
        Self { directory, root, secret }
    }

    /// A signed archive of these kernels, published once.
    pub(crate) async fn of(kernels: &[&str]) -> Self {
        Self::valid_for(kernels, 1_000_000).await
    }

    /// Adds kernels, and publishes.
    pub(crate) async fn grow(&self, kernels: &[&str]) {
        let mut archive = Archive::open(self.path()).await.unwrap();
        archive.sign_with(SigningKey::read(&self.secret, None).unwrap());
        for kernel in kernels {
            add(&archive, kernel).await;
        }
        archive.publish().await.unwrap();
        archive.close().await;
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn root(&self) -> String {
        // Below minisign's comment.
        self.root.to_file().lines().nth(1).unwrap().to_owned()
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Adds a small kernel, with a configuration.
pub(crate) async fn add(archive: &Archive, key: &str) {
    let provenance = Provenance {
        package: None,
        package_version: None,
        url: None,
        sha256: None,
        trust: Trust::None,
        source: Source::Dwarf,
        generator: "test 1".into(),
    };
    let build_id = Some(build_id(key).parse().unwrap());
    let draft = KernelDraft { key: key.parse().unwrap(), build_id, provenance, digest: None };
    let config = Some(format!("CONFIG_LOCALVERSION=\"{key}\"\n").repeat(20).into());
    archive.add_with(draft, btf_of(key), Beside { config, modules: None }).await.unwrap();
}

/// The BTF of a small kernel, of which others differ in one type: most are stored as deltas.
pub(crate) fn btf_of(key: &str) -> Vec<u8> {
    let mut builder = Builder::new();
    let int = builder.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 });
    let names =
        (0..1200_u32).map(|number| format!("s{}", &Digest::of(&number.to_le_bytes()).to_string()[..16]));
    let own = format!("of_{}", key.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    for name in names.chain([own, "task_struct".to_owned()]) {
        let member = builder.string(format!("{name}_member").as_bytes());
        let member = Member { name: member, ty: int, bit_offset: 0, bit_width: 0 };
        builder.composite(Kind::Struct, name.as_bytes(), 4, &[member]).unwrap();
    }
    builder.finish(Endian::Little).unwrap()
}

/// The build-id of a small kernel.
pub(crate) fn build_id(key: &str) -> String {
    Digest::of(key.as_bytes()).to_string()[..40].to_owned()
}

/// Keys of so many kernels of a distribution.
pub(crate) fn keys(distro: &str, numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("{distro}/11/x86_64/5.10.0-{number}-amd64")).collect()
}

pub(crate) fn texts(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

/// Runs a command of the program; gives its exit code, what it printed as JSON, and stderr.
pub(crate) fn json(command: &str, archive: &Path, arguments: &[&str]) -> (i32, Value, String) {
    let output = command_of(command, archive, arguments);
    let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap_or(-1), value, String::from_utf8(output.stderr).unwrap())
}

pub(crate) fn command_of(command: &str, archive: &Path, arguments: &[&str]) -> Output {
    let mut program = program();
    program.args([command, "--json", "--archive"]).arg(archive).args(arguments);
    run(program.env_remove("BTF_ARCHIVE_KEYS").env("NO_PROXY", "*"))
}

/// Checks that an archive has all that its snapshots and `mirror.json` promise.
pub(crate) fn check_intact(archive: &Path) {
    let (code, _, stderr) = json("verify", archive, &[]);
    assert_eq!(code, 0, "{stderr}");
}

/// The objects of an archive by path, each as its sha256: not its catalog, locks, nor what it says of itself as a copy.
pub(crate) fn objects(archive: &Path) -> BTreeMap<PathBuf, Digest> {
    fn visit(root: &Path, directory: &Path, found: &mut BTreeMap<PathBuf, Digest>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                // Of the lists of keys that are no more, signatures may be left; nobody needs them.
                let is_old = name == Path::new("keys/000001.json.minisig");
                if name.to_str().unwrap().parse::<btf_archive::ObjectPath>().is_ok() && !is_old {
                    found.insert(name, Digest::of(&std::fs::read(path).unwrap()));
                }
            }
        }
    }
    let mut found = Default::default();
    visit(archive, archive, &mut found);
    found
}

/// The number of the newest snapshot.
pub(crate) fn newest(archive: &Path) -> Option<u64> {
    let json = std::fs::read(archive.join("latest.json")).ok()?;
    Some(btf_archive::snapshot::Latest::decode(&json).unwrap().number)
}
