//! Archives as whoever bundles and checks finds them: what they have beside BTF (modules, configurations), and at http and https addresses.

mod judge;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use btf::Btf;
use btf_archive::bundle::Bundle;
use btf_archive::store::{Archive, Beside, KernelDraft};
use btf_archive::{Provenance, Source, Trust};
use btf_minimize::{Kernel, Object, Resolution, resolve};
use judge::succeed;
use serde_json::Value;
use tempfile::TempDir;

const KERNEL: &str = "
    struct device { long id; int users; };
    typedef void (*btf_trace_test)(void *);
    long use_device(struct device *d, btf_trace_test trace) { return d->id; }
";
const MODULE: &str = "
    struct device { long id; int users; };
    struct mine { struct device *device; int count; };
    long use_mine(struct mine *m) { return m->device->id + m->count; }
";
const PROGRAM: &str = r#"
    #define CORE __attribute__((preserve_access_index))
    struct device { int users; } CORE;
    struct mine { int count; } CORE;
    extern int CONFIG_MINE __attribute__((section(".kconfig")));
    __attribute__((section("raw_tp/test"), used)) long read(struct mine *m, struct device *d) {
        return m->count + d->users + CONFIG_MINE;
    }
"#;
const KEYS: [&str; 2] = ["debian/11/x86_64/5.10.0-35-amd64", "rhel/8/x86_64/4.18.0-348.el8.x86_64"];

struct Desk {
    folder: TempDir,
}

impl Desk {
    /// An archive of two kernels with the same BTF, of which the first has a module, and the second another configuration.
    fn new() -> Desk {
        let desk = Desk { folder: TempDir::new().unwrap() };
        for (name, source) in [("kernel", KERNEL), ("module", MODULE)] {
            let (input, output) = (desk.path("source.c"), desk.path(&format!("{name}.o")));
            fs::write(&input, source).unwrap();
            succeed("gcc", &[&"-g", &"-c", &input, &"-o", &output]);
        }
        let detached = |name: &str| format!("--btf_encode_detached={}", desk.path(name).display());
        succeed("pahole", &[&"-J", &detached("kernel.btf"), &desk.path("kernel.o")]);
        let base = format!("--btf_base={}", desk.path("kernel.btf").display());
        succeed("pahole", &[&"-J", &base, &detached("module.btf"), &desk.path("module.o")]);
        fs::write(desk.path("program.c"), PROGRAM).unwrap();
        let (input, output) = (desk.path("program.c"), desk.path("program.o"));
        succeed("clang", &[&"-target", &"bpf", &"-g", &"-O2", &"-c", &input, &"-o", &output]);
        desk.archive();
        desk
    }

    fn archive(&self) {
        let modules = vec![("my-module".to_owned(), fs::read(self.path("module.btf")).unwrap())];
        let beside = [
            Beside { config: Some("CONFIG_MINE=y\n".into()), modules: Some(modules) },
            Beside { config: Some("# CONFIG_MINE is not set\n".into()), modules: None },
        ];
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let archive = Archive::create(&self.path("archive")).await.unwrap();
            for (key, beside) in KEYS.iter().zip(beside) {
                let provenance = Provenance {
                    package: None,
                    package_version: None,
                    url: None,
                    sha256: None,
                    trust: Trust::None,
                    source: Source::Dwarf,
                    generator: "test".to_owned(),
                };
                let draft =
                    KernelDraft { key: key.parse().unwrap(), build_id: None, provenance, digest: None };
                archive.add_with(draft, fs::read(self.path("kernel.btf")).unwrap(), beside).await.unwrap();
            }
            archive.publish().await.unwrap();
            archive.close().await;
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).arg("program.o").output().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_btf-minimize"));
        command.current_dir(self.folder.path());
        command
    }

    /// What a bundle's BTF of a kernel gives for the module's member.
    fn count_in(&self, bundle: &str, key: &str) -> Option<u64> {
        let data = fs::read(self.path(bundle)).unwrap();
        let btf = Bundle::open(&data).unwrap().by_key(&key.parse().unwrap()).unwrap().btf().unwrap();
        let program = fs::read(self.path("program.o")).unwrap();
        let object = Object::parse(&program).unwrap();
        let resolutions = resolve(&Kernel::open(&btf).unwrap(), &object);
        let mut named = object.relocations().iter().zip(resolutions);
        let of_count =
            named.find(|(relocation, _)| object.describe(relocation) == "struct mine.count").unwrap();
        match of_count.1.unwrap() {
            Resolution::Value { value, .. } => Some(value),
            Resolution::Poisoned => None,
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Check that a bundle holds types of an archive's modules when they are chosen, by any spelling of the name; that it remembers that; and that it is said
/// which kernels have no modules there.
#[test]
fn bundle_with_modules() {
    let desk = Desk::new();
    for (modules, found) in
        [("all", Some(8)), ("other,my_module", Some(8)), ("my-module", Some(8)), ("other", None)]
    {
        let output = desk.run(&["bundle", "--archive", "archive", "--modules", modules, "-o", "out"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(&format!("no modules of 1 kernel, such as {}", KEYS[1])));
        assert_eq!(
            (desk.count_in("out", KEYS[0]), desk.count_in("out", KEYS[1])),
            (found, None),
            "{modules}"
        );
    }
    for (more, changed) in [(&[][..], None), (&["--modules", "all"], Some("modules: other became all"))] {
        let output = desk.run(&[&["bundle", "--archive", "archive", "--check-stale", "out"], more].concat());
        assert_eq!(output.status.code(), Some(i32::from(changed.is_some())), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains(changed.unwrap_or("up to date")), "{}", text(&output.stdout));
    }
    let output = desk.run(&["bundle", "--archive", "archive", "-o", "out"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    assert_eq!(desk.count_in("out", KEYS[0]), None);
}

/// Check that modules of another kernel in an archive's blob are refused.
#[test]
fn modules_of_another_kernel() {
    let desk = Desk::new();
    let kernel = fs::read(desk.path("kernel.btf")).unwrap();
    let mut builder = btf::Builder::new();
    let btf = Btf::parse(&kernel).unwrap();
    for ty in btf.types() {
        builder.add_copy(&btf, &ty.unwrap(), |id| id).unwrap();
    }
    builder.fwd(b"another", false);
    fs::write(desk.path("kernel.btf"), builder.finish(btf.endian()).unwrap()).unwrap();
    let digest = btf_archive::Digest::of(&fs::read(desk.path("kernel.btf")).unwrap());
    let old = btf_archive::Digest::of(&kernel);
    let archive = desk.path("archive");
    let reader = btf_archive::reader::Reader::open(archive.to_str().unwrap()).unwrap();
    let mut snapshot = reader.snapshot().unwrap();
    snapshot
        .kernels
        .iter_mut()
        .filter(|kernel| kernel.digest == old)
        .for_each(|kernel| kernel.digest = digest);
    let encoded = snapshot.encode(None).unwrap();
    let raw = fs::read(desk.path("kernel.btf")).unwrap();
    let mut objects = vec![
        (btf_archive::blob::path(&digest), btf_archive::blob::compress(&raw)),
        (btf_archive::snapshot::path(snapshot.number), encoded.index),
        (btf_archive::snapshot::LATEST.to_owned(), encoded.latest.encode().unwrap()),
    ];
    objects.extend(encoded.parts.into_iter().map(|(part, zst)| (part.path(), zst)));
    for (path, bytes) in objects {
        let path = archive.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let output = desk.run(&["bundle", "--archive", "archive", "--modules", "all", "-o", "out"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("they are of another kernel"), "{}", text(&output.stderr));
}

/// Check that files take `--module` in every command that takes `--btf`, and only with one kernel.
#[test]
fn files_with_modules() {
    let desk = Desk::new();
    let files = ["--btf", "kernel.btf", "--module", "module.btf"];
    let output = desk.run(&[&["relocs"][..], &files].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let line =
        text(&output.stdout).lines().find(|line| line.contains("struct mine.count")).unwrap().to_owned();
    assert!(line.ends_with(" 8"), "{line}");
    assert_eq!(desk.run(&[&["check"][..], &files].concat()).status.code(), Some(0));
    assert_eq!(desk.run(&["check", "--btf", "kernel.btf"]).status.code(), Some(1));
    let output = desk.run(&[&["check", "--btf", "module.btf"][..], &files].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--module is for one kernel"), "{}", text(&output.stderr));

    let tree = desk.path("debian/11/x86_64");
    fs::create_dir_all(&tree).unwrap();
    fs::copy(desk.path("kernel.btf"), tree.join("5.10.0-35-amd64.btf")).unwrap();
    let file = format!("{}.btf", KEYS[0]);
    let output = desk.run(&["bundle", "--btf", &file, "--module", "module.btf", "-o", "out"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(desk.count_in("out", KEYS[0]), Some(8));
}

/// Check that each kernel is held against its own configuration, although both have the same BTF, and that a file with one counts instead.
#[test]
fn configurations() {
    let desk = Desk::new();
    let outcomes = |more: &[&str]| {
        let arguments = ["check", "--archive", "archive", "--modules", "all", "--format", "json"];
        let output = desk.run(&[&arguments, more].concat());
        let told: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        let on = told["objects"][0]["programs"][0]["on"].as_array().unwrap().clone();
        let problems = |on: &Value| {
            on["problems"].as_array().map_or(String::new(), |problems| {
                problems.iter().map(|one| one["problem"].as_str().unwrap()).collect::<Vec<_>>().join("; ")
            })
        };
        on.iter().map(problems).collect::<Vec<_>>()
    };
    let absent = "CONFIG_MINE is not in the kernel's configuration";
    let own = outcomes(&[]);
    assert_eq!(own[0], "");
    assert!(own[1].contains(absent) && own[1].contains("struct mine.count"), "{own:?}");
    fs::write(desk.path("config"), "CONFIG_OTHER=y\n").unwrap();
    let given = outcomes(&["--config", "config"]);
    assert!(given.iter().all(|problems| problems.contains(absent)), "{given:?}");
}

/// Serves a folder's files on 127.0.0.1 for as long as the test runs; gives the address.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(request) = lines.next() else { continue };
            lines.find(String::is_empty);
            let path = request.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
            let (status, body) = match fs::read(folder.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    format!("http://{address}")
}

/// `openssl s_server`, which serves the files below its folder; ends with the test.
struct Secure(Child);

impl Secure {
    fn new(folder: &Path, keys: &Path) -> (Secure, String) {
        let shell = "key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'
            openssl req -x509 $key -subj /CN=authority -keyout ca.key -out ca.pem
            openssl req -x509 $key -subj /CN=archive -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE \
                -CA ca.pem -CAkey ca.key -keyout key.pem -out cert.pem";
        let output = Command::new("bash").args(["-ec", shell]).current_dir(keys).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-cert"]).arg(keys.join("cert.pem"));
        command.arg("-key").arg(keys.join("key.pem")).current_dir(folder);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address =
            lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)).expect("s_server listens");
        std::thread::spawn(move || lines.for_each(drop));
        (Secure(process), format!("https://{address}"))
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Check that an archive at an http or https address gives the same bundle and report as its directory, and tells staleness; that an unknown authority
/// is not believed; and that an address without an archive is told.
#[test]
fn over_http() {
    let desk = Desk::new();
    let keys = desk.path("keys");
    fs::create_dir(&keys).unwrap();
    let (server, https) = Secure::new(&desk.path("archive"), &keys);
    let http = serve(desk.path("archive"));
    let run = |arguments: &[&str]| {
        desk.command()
            .env("SSL_CERT_FILE", keys.join("ca.pem"))
            .args(arguments)
            .arg("program.o")
            .output()
            .unwrap()
    };
    let bundle = ["bundle", "--modules", "all", "-o", "out", "--archive"];
    assert!(desk.run(&[&bundle[..], &["archive"]].concat()).status.success());
    let expected = fs::read(desk.path("out")).unwrap();
    let report = desk.run(&["check", "--archive", "archive", "--format", "json"]).stdout;
    for address in [&http, &https] {
        fs::remove_file(desk.path("out")).unwrap();
        let output = run(&[&bundle[..], &[address.as_str()]].concat());
        assert!(output.status.success(), "{address}: {}", text(&output.stderr));
        assert!(fs::read(desk.path("out")).unwrap() == expected, "{address}");
        assert_eq!(run(&["check", "--archive", address, "--format", "json"]).stdout, report, "{address}");
        let output = run(&["bundle", "--archive", address, "--check-stale", "out"]);
        assert_eq!(output.status.code(), Some(0), "{address}: {}", text(&output.stderr));
        let output = run(&["bundle", "--archive", address, "--check-stale", "out", "--select", "debian"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).contains("rhel/8/x86_64/4.18.0-348.el8.x86_64: is gone"), "{address}");
    }
    for (address, said) in [(&https, "certificate"), (&format!("{http}/blobs"), "no archive")] {
        let output = desk.run(&["bundle", "--archive", address, "-o", "none"]);
        assert_eq!(output.status.code(), Some(1), "{address}");
        assert!(text(&output.stderr).contains(said), "{address}: {}", text(&output.stderr));
        assert!(!desk.path("none").exists());
    }
    drop(server);
}
