//! Indexes that are neither a signed suite nor repository data: pages of links, snapshots, debuginfod, local directories; and Debian repositories
//! that are not like Debian's own.

mod debian;
mod loopback;
mod rpm;

use std::fs;
use std::sync::Arc;

use debian::{Desk, Repository, kernel_source, outcome, paths, tool, vmlinux};
use loopback::{Answer, Server};
use rpm::{RpmRepository, define, fails, kernels, list, listed, serve};

/// A server of one text for all paths.
fn page(text: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Server {
    Server::new(move |request| match text(&request.path) {
        Some(text) => Answer { body: Arc::new(text.into_bytes()), ..Answer::default() },
        None => Answer { status: Some("404 Not Found"), ..Answer::default() },
    })
}

/// Check that packages are found in a page of links, of the architecture asked for, each once, and that links which lead elsewhere are not
/// followed.
#[test]
fn page_of_links() {
    let desk = Desk::new();
    let server = page(|path| {
        let links = [
            "kernel-debuginfo-4.18.0-348.el8.x86_64.rpm",
            "kernel-debuginfo-4.18.0-348.el8.x86_64.rpm",
            "kernel-debuginfo-4.18.0-348.el8.aarch64.rpm",
            "/ol8/debuginfo/kernel-debuginfo-4.18.0-80.el8.x86_64.rpm",
            "kernel-debuginfo-4.18.0-305.el8.x86_64.rpm?C=N",
            "../kernel-debuginfo-4.18.0-1.el8.x86_64.rpm",
            "/kernel-debuginfo-4.18.0-2.el8.x86_64.rpm",
            "http://127.0.0.1:1/kernel-debuginfo-4.18.0-3.el8.x86_64.rpm",
            "//127.0.0.1:1/kernel-debuginfo-4.18.0-4.el8.x86_64.rpm",
            "%2e%2e/kernel-debuginfo-4.18.0-5.el8.x86_64.rpm",
            "kernel-debuginfo-common-x86_64-4.18.0-348.el8.x86_64.rpm",
            "kernel-debug-debuginfo-4.18.0-348.el8.x86_64.rpm",
            "?C=M;O=A",
        ];
        let links: String =
            links.iter().map(|link| format!("<tr><td><a href=\"{link}\">{link}</a></td></tr>\n")).collect();
        (path == "/ol8/debuginfo/").then(|| format!("<html><body><table>{links}"))
    });
    let distros = define(
        &desk,
        &format!("{{ kind = \"listing\", url = \"{}\" }}", server.url("/ol{version}/debuginfo")),
        "",
    );
    let expected = [
        "4.18.0-348.el8.x86_64 none debug=kernel-debuginfo",
        "4.18.0-348.el8.x86_64+debug none debug=kernel-debug-debuginfo",
        "4.18.0-80.el8.x86_64 none debug=kernel-debuginfo",
    ];
    assert_eq!(list(&desk, &distros), expected);
    assert_eq!(paths(&server), ["/ol8/debuginfo/"]);
}

/// Check that every version that a snapshot service keeps is listed, with address, size and SHA-1 of each package, and that only versions that
/// are wanted are asked for.
#[test]
fn snapshot() {
    let desk = Desk::new();
    let server = page(|path| {
        let binary = |name: &str, version: &str, hash: &str| {
            format!(
                "{{\"name\":\"{name}\",\"version\":\"{version}\",\"files\":[{{\"architecture\":\"amd64\",\"hash\":\"{hash}\"}},\
                 {{\"architecture\":\"i386\",\"hash\":\"{}\"}}]}}",
                "00".repeat(20)
            )
        };
        let files = |version: &str, abi: &str, hash: &str| {
            format!(
                "{{\"_comment\":\"x\",\"fileinfo\":{{\"{hash}\":[{{\"name\":\"x.deb\",\"size\":700000000,\"path\":\"/pool\"}}]}},\"result\":{{\
                 \"binaries\":[{},{},{}],\"source\":[{{\"hash\":\"{hash}\"}}]}}}}",
                binary(&format!("linux-image-{abi}-amd64-dbg"), version, hash),
                binary("linux-image-amd64-dbg", version, hash),
                binary(&format!("linux-image-{abi}-amd64-unsigned"), version, &hash.replace('a', "b")),
            )
        };
        match path {
            "/mr/package/linux/" => Some(
                "{\"package\":\"linux\",\"result\":[{\"version\":\"4.19.20-1\"},{\"version\":\"4.19.16-1\"},{\"version\":\"5.10.1-1\"},\
                 {\"version\":\"4.19.1/../../x\"}]}"
                    .into(),
            ),
            "/mr/package/linux/4.19.20-1/allfiles?fileinfo=1" => Some(files("4.19.20-1", "4.19.0-3", &"a1".repeat(20))),
            "/mr/package/linux/4.19.16-1/allfiles?fileinfo=1" => Some(files("4.19.16-1", "4.19.0-2", &"a2".repeat(20))),
            _ => None,
        }
    });
    let repository = format!(
        "{{ kind = \"snapshot\", url = \"{}\", sources = [\"linux\"], only = '4\\.19\\..*' }}",
        server.url("/")
    );
    let distros = define(&desk, &repository, "");
    let text = fs::read_to_string(distros.join("acme.toml")).unwrap();
    fs::write(distros.join("acme.toml"), text.replace("like = \"rhel\"", "like = \"debian\"")).unwrap();
    let (code, stdout, stderr) = outcome(&mut kernels(&desk, &distros));
    assert_eq!(code, 0, "{stderr}");
    let expected = [
        "4.19.0-3-amd64 none debug=linux-image-4.19.0-3-amd64-dbg image=linux-image-4.19.0-3-amd64-unsigned",
        "4.19.0-2-amd64 none debug=linux-image-4.19.0-2-amd64-dbg image=linux-image-4.19.0-2-amd64-unsigned",
    ];
    assert_eq!(listed(&stdout), expected);
    let listing: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let package = &listing["kernels"][0]["packages"][0];
    assert_eq!(package["url"], server.url(&format!("/file/{}", "a1".repeat(20))));
    assert_eq!(
        (package["size"].as_u64(), package["checksum"].as_str().unwrap().len()),
        (Some(700_000_000), 45)
    );
    assert_eq!(paths(&server).len(), 3, "{:?}", paths(&server));
}

/// Check that kernels of which the build-id is known are offered by a debuginfod server: the section first, the file else.
#[test]
fn debuginfod() {
    let desk = Desk::new();
    let id = "0123456789abcdef0123456789abcdef01234567";
    let known =
        |arch: &str| format!("{{ uname = \"6.6.1-arch1-1\", arch = \"{arch}\", build_id = \"{id}\" }}");
    let repository = format!(
        "{{ kind = \"debuginfod\", url = \"http://127.0.0.1:1\", kernels = [{}, {}] }}",
        known("x86_64"),
        known("arm64")
    );
    let distros = define(&desk, &repository, "");
    let (code, stdout, stderr) = outcome(&mut kernels(&desk, &distros));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(listed(&stdout), ["6.6.1-arch1-1 none vmlinux=debuginfod btf=debuginfod"]);
    assert!(stdout.contains(&format!("http://127.0.0.1:1/buildid/{id}/debuginfo\"")), "{stdout}");
    assert!(stdout.contains(&format!("http://127.0.0.1:1/buildid/{id}/section/.BTF\"")), "{stdout}");
}

/// Check that kernels come from a debuginfod server: by their section where it has one, else by vmlinux; that one of another build-id is refused, and that a kernel that
/// it does not have is told.
#[test]
fn debuginfod_has_files() {
    let (desk, files) = (Desk::new(), tempfile::tempdir().unwrap());
    let put = |id: &str, name: &str, bytes: &[u8]| {
        let path = files.path().join("buildid").join(id).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let build_id = |vmlinux: &[u8]| {
        let file = object::File::parse(vmlinux).unwrap();
        hex::encode(object::Object::build_id(&file).unwrap().unwrap())
    };
    let with_btf = vmlinux(&[&kernel_source("embedded")]);
    fs::write(desk.path("vmlinux"), &with_btf).unwrap();
    tool("pahole", |pahole| {
        pahole.arg(format!("--btf_encode_detached={}", desk.path("btf").display())).arg(desk.path("vmlinux"))
    });
    put(&build_id(&with_btf), "section/.BTF", &fs::read(desk.path("btf")).unwrap());
    let plain = vmlinux(&[&kernel_source("plain")]);
    put(&build_id(&plain), "debuginfo", &plain);
    let (other, none) = ("ab".repeat(20), "cd".repeat(20));
    put(&other, "debuginfo", &plain);

    let server = serve(files.path());
    let known = [
        ("6.6.1-a", build_id(&with_btf)),
        ("6.6.1-b", build_id(&plain)),
        ("6.6.1-c", other),
        ("6.6.1-d", none),
    ]
    .map(|(uname, id)| format!("{{ uname = \"{uname}\", arch = \"x86_64\", build_id = \"{id}\" }}"));
    let repository = format!(
        "{{ kind = \"debuginfod\", url = \"{}\", kernels = [{}] }}",
        server.url(""),
        known.join(", ")
    );
    let distros = define(&desk, &repository, "");
    let mut sync = desk.btfgen("sync");
    sync.args(["--json", "--arch", "x86_64", "--distros"])
        .arg(distros)
        .arg("--archive")
        .arg(desk.path("archive"));
    let (code, stdout, stderr) = outcome(&mut sync);
    assert_eq!(code, 1, "{stderr}");
    let told: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let mut added: Vec<_> = told["added"].as_array().unwrap().iter().collect();
    added.sort_by_key(|kernel| kernel["key"].to_string());
    let facts = |kernel: &serde_json::Value| {
        [&kernel["key"], &kernel["source"], &kernel["trust"]].map(ToString::to_string)
    };
    assert_eq!(added.len(), 2, "{told}");
    assert_eq!(facts(added[0]), ["\"acme/8/x86_64/6.6.1-a\"", "\"embedded\"", "\"none\""]);
    assert_eq!(facts(added[1]), ["\"acme/8/x86_64/6.6.1-b\"", "\"dwarf\"", "\"none\""]);
    assert_eq!(added[0]["build_id"], build_id(&with_btf));
    let failed = told["failed"].to_string();
    assert!(
        failed.contains("its build-id is") && failed.contains("no package with the kernel's BTF"),
        "{failed}"
    );
}

/// Check that packages of both kinds are found in a directory beside the definition, by their names, at any depth.
#[test]
fn local_directory() {
    let desk = Desk::new();
    let distros = define(&desk, "{ kind = \"directory\", path = \"packages\" }", "");
    fails(&desk, &distros, 1, "packages: No such file or directory");
    let packages = distros.join("packages/a/b");
    fs::create_dir_all(&packages).unwrap();
    for name in [
        "kernel-debuginfo-4.18.0-348.el8.x86_64.rpm",
        "kernel-core-4.18.0-348.el8.x86_64.rpm",
        "kernel-debuginfo-4.18.0-348.el8.aarch64.rpm",
        "README",
    ] {
        fs::write(packages.join(name), "x").unwrap();
    }
    // A directory of that name, and a link around in a circle.
    fs::create_dir(packages.join("kernel-debuginfo-4.18.0-1.el8.x86_64.rpm")).unwrap();
    std::os::unix::fs::symlink("..", packages.join("up")).unwrap();
    assert_eq!(
        list(&desk, &distros),
        ["4.18.0-348.el8.x86_64 none debug=kernel-debuginfo image=kernel-core"]
    );

    let text = fs::read_to_string(distros.join("acme.toml")).unwrap();
    fs::write(distros.join("acme.toml"), text.replace("like = \"rhel\"", "like = \"debian\"")).unwrap();
    fs::write(packages.join("linux-image-6.1.0-47-amd64-dbg_6.1.170-3_amd64.deb"), "x").unwrap();
    let (code, stdout, stderr) = outcome(&mut kernels(&desk, &distros));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(listed(&stdout), ["6.1.0-47-amd64 none debug=linux-image-6.1.0-47-amd64-dbg"]);
    let listing: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let url = listing["kernels"][0]["url"].as_str().unwrap();
    assert!(
        url.starts_with("file:///")
            && url.ends_with("/packages/a/b/linux-image-6.1.0-47-amd64-dbg_6.1.170-3_amd64.deb"),
        "{url}"
    );
}

/// Check that a kernel's packages come together from several repositories of a version, in whatever kinds of index they are.
#[test]
fn packages_of_several_repositories() {
    let desk = Desk::new();
    let debug = page(|_| Some("<a href=kernel-debuginfo-4.18.0-348.el8.x86_64.rpm>".into()));
    let os = RpmRepository::new();
    os.kernel("kernel", "kernel-core", "4.18.0", "348.el8", "x86_64");
    os.kernel("kernel", "kernel-core", "4.18.0", "305.el8", "x86_64");
    os.publish(&["--no-database"]);
    let server = serve(os.root());
    let repositories = format!(
        "{{ kind = \"listing\", url = \"{}\" }},\n{{ url = \"{}\" }},",
        debug.url("/"),
        server.url("/")
    );
    let distros = define(&desk, &repositories, "");
    let expected = [
        "4.18.0-348.el8.x86_64 none debug=kernel-debuginfo image=kernel-core",
        "4.18.0-305.el8.x86_64 none image=kernel-core",
    ];
    assert_eq!(list(&desk, &distros), expected, "an image alone is a kernel too: it has BTF");
}

/// Check that a vendor's Debian repository may have other components, other forms of index, and no signature where its definition pins no keys; its
/// indices must be what its Release file says nevertheless.
#[test]
fn vendors_debian_repository() {
    let (repository, desk) = (Repository::new(), Desk::new());
    repository.kernel("6.1.0-1-acme", "1", "a");
    repository.kernel("6.1.0-2-acme", "2", "b");
    repository.publish();
    let binary = repository.dist().join("main/binary-i386");
    let extra = repository.dist().join("extra/binary-i386");
    fs::create_dir_all(&extra).unwrap();
    let text = fs::read_to_string(binary.join("Packages")).unwrap();
    let (first, second) = text.split_once("\n\n").unwrap();
    for (dir, text, name) in [(&binary, first, "Packages.zst"), (&extra, second, "Packages.bz2")] {
        for entry in fs::read_dir(dir).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let plain = dir.join("x");
        fs::write(&plain, text).unwrap();
        match name {
            "Packages.zst" => {
                tool("zstd", |zstd| zstd.args(["-q", "--rm"]).arg(&plain).arg("-o").arg(dir.join(name)))
            }
            _ => {
                tool("bzip2", |bzip2| bzip2.arg(&plain));
                fs::rename(dir.join("x.bz2"), dir.join(name)).unwrap();
                Vec::new()
            }
        };
    }
    repository.release();
    let server = repository.serve();
    let define = |keys: &str| {
        let dir = desk.path("distros");
        fs::create_dir_all(&dir).unwrap();
        let text = format!(
            "id = \"acme\"\npackaging = \"deb\"\narchitectures = {{ i386 = \"i386\" }}\npackages = [{{ role = \"debug\", name = \
             \"linux-image-{{uname}}-dbg\" }}]\n{keys}\n[[releases]]\nversions = [\"1\"]\nrepositories = [{{ url = \"{}\", suite = \"bookworm\", \
             components = [\"main\", \"extra\", \"absent\"] }}]\n",
            server.url("/")
        );
        fs::write(dir.join("acme.toml"), text).unwrap();
        dir
    };
    let distros = define("");
    let list =
        || outcome(desk.btfgen("kernels").args(["--json", "--arch", "i386", "--distros"]).arg(&distros));
    let (code, stdout, stderr) = list();
    assert_eq!(code, 0, "{stderr}");
    let mut expected = vec![
        "6.1.0-2-acme none debug=linux-image-6.1.0-2-acme-dbg",
        "6.1.0-1-acme none debug=linux-image-6.1.0-1-acme-dbg",
    ];
    assert_eq!(listed(&stdout), expected);
    assert!(stdout.contains("acme/1/i386/6.1.0-2-acme"), "{stdout}");

    let keyring = repository.keyring();
    define(&format!("keys = {{ index = {{ files = [\"{}\"] }} }}", keyring.display()));
    let (code, _, stderr) = list();
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("is not signed"), "{stderr}");
    repository.sign();
    expected.iter_mut().for_each(|line| *line = line.replace(" none ", " signed-index ").leak());
    assert_eq!(listed(&list().1), expected);
    fs::write(extra.join("Packages.bz2"), "changed").unwrap();
    fs::remove_dir_all(desk.path("cache")).unwrap();
    define("");
    let (code, _, stderr) = list();
    assert_eq!((code, stderr.contains("the signed Release file says")), (4, true), "{stderr}");
}

/// Check that an index which cannot be read, or is not what was signed, hides neither other architectures nor other repositories, and that the exit
/// code says that something is missing.
#[test]
fn one_bad_index_hides_no_other() {
    let (mut repository, desk) = (Repository::new(), Desk::new());
    repository.kernel("6.1.0-1-686", "1", "a");
    repository.field("Architectures", "amd64 i386");
    repository.publish();
    let (i386, amd64) = (repository.index(), repository.dist().join("main/binary-amd64/Packages.xz"));
    fs::create_dir(amd64.parent().unwrap()).unwrap();
    fs::copy(&i386, &amd64).unwrap();
    repository.release();
    repository.sign();
    fs::write(&amd64, "changed").unwrap();
    let (server, keyring) = (repository.serve(), repository.keyring());
    let list = || outcome(desk.on("kernels", &server, &keyring).args(["--json", "--arch", "amd64"]));
    let (code, stdout, stderr) = list();
    assert_eq!(code, 4, "{stderr}");
    assert_eq!(listed(&stdout), ["6.1.0-1-686 signed-index debug=linux-image-6.1.0-1-686-dbg"]);
    let failed = &serde_json::from_str::<serde_json::Value>(&stdout).unwrap()["failed"];
    assert_eq!((&failed[0]["suite"], &failed[0]["kind"]), (&"bookworm x86_64".into(), &"refused".into()));
    assert!(
        stderr.contains("debian bookworm x86_64: ") && stderr.contains("the signed Release file says"),
        "{stderr}"
    );
    fs::remove_file(&amd64).unwrap();
    let (code, stdout, stderr) = list();
    assert_eq!((code, listed(&stdout).len()), (3, 1), "{stderr}");
}

/// Check that distributions, versions and architectures that do not exist are told so, with the nearest that does.
#[test]
fn what_does_not_exist() {
    let desk = Desk::new();
    let run = |arguments: &[&str]| outcome(desk.btfgen("kernels").args(arguments));
    let (code, _, stderr) = run(&["--distro", "fedroa"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("there is no distribution fedroa; did you mean fedora?"), "{stderr}");
    let (code, _, stderr) = run(&["--distro", "fedora", "--suite", "7"]);
    assert_eq!(
        (code, stderr.contains("there is no version or repository 7 of fedora")),
        (3, true),
        "{stderr}"
    );
    let (code, _, stderr) = run(&["--distro", "photon", "--arch", "s390x"]);
    assert_eq!(
        (code, stderr.contains("VMware Photon OS has no s390x; it has arm64, x86_64")),
        (3, true),
        "{stderr}"
    );
    let (code, stdout, stderr) = run(&["--list-distros"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("opensuse-leap        openSUSE Leap (arm64, ppc64le, s390x, x86_64)"),
        "{stdout}"
    );
    fs::create_dir(desk.path("d")).unwrap();
    fs::write(desk.path("d").join("x.toml"), "id = \"x\"\nrelases = 1\n").unwrap();
    let (code, stdout, stderr) = outcome(desk.btfgen("kernels").arg("--distros").arg(desk.path("d")));
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains("d/x.toml:2: unknown key `relases`; did you mean `releases`?"), "{stderr}");
}
