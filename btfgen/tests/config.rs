//! The configuration file of `sync` and `work`: what it sets, what overrules it, and what is said of mistakes.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::str::contains;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/reference/btfgen.toml");

fn btfgen() -> Command {
    let mut command = Command::cargo_bin("btfgen").unwrap();
    for variable in
        ["BTFGEN_CONFIG", "BTFGEN_REQUIRE_TRUST", "BTF_ARCHIVE_CATALOG", "BTF_ARCHIVE_SIGNING_KEY"]
    {
        command.env_remove(variable);
    }
    command
}

/// A configuration file in a directory of its own.
fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("btfgen.toml");
    fs::write(&path, text).unwrap();
    path
}

/// What `config check` says of a file: its exit code, stdout and stderr.
fn check(text: &str) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = btfgen().args(["config", "check"]).arg(file(dir.path(), text)).output().unwrap();
    let of = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .replace(dir.path().to_str().unwrap(), "")
            .replace("/btfgen.toml", "FILE")
    };
    (output.status.code().unwrap(), of(&output.stdout), of(&output.stderr))
}

/// The long options that a command's help lists.
fn options(command: &str) -> Vec<String> {
    let help = btfgen().args([command, "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let words = help.split_whitespace().collect::<Vec<_>>();
    let at_line_start = help.lines().map(str::trim_start);
    let named = at_line_start.filter(|line| line.starts_with('-')).flat_map(|line| {
        line.split([' ', ',']).find(|word| word.starts_with("--")).map(|word| word[2..].to_owned())
    });
    assert!(words.contains(&"--archive"));
    named.filter(|name| !["config", "help"].contains(&name.as_str())).collect()
}

/// Check that the sample in the book is in order, and that it names every option of both commands.
#[test]
fn sample() {
    let text = fs::read_to_string(SAMPLE).unwrap();
    btfgen().args(["config", "check", SAMPLE]).assert().success().stdout(contains("is in order"));
    for option in ["sync", "work"].into_iter().flat_map(options) {
        let named = |line: &str| {
            let line = line.trim_start_matches("# ").trim_start_matches('[');
            line.strip_prefix(option.as_str()).is_some_and(|rest| rest.starts_with([' ', ']']))
        };
        assert!(text.lines().any(named), "the sample does not name {option}");
    }
    // What is commented out is right as well.
    let whole: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line))
        .collect();
    let (code, _, told) = check(&whole.join("\n"));
    assert_eq!((code, told.as_str()), (0, ""));
}

/// Check that what a file sets is told as options, and that a database's address, which may have a password, is not.
#[test]
fn told() {
    let text = "jobs = 3\nmodules = true\nverify = 'full'\nsuite = ['12', 'sid']\ncatalog = 'postgres://u:secret@h/d'\n\
                allow-expired = false\n[work]\nlease = 9\n[require-trust]\ndefault = 'transport'\n'debian/sid' = 'none'\n";
    let (code, stdout, stderr) = check(text);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let expected = "--jobs=3\n--modules\n--verify=full\n--suite=12\n--suite=sid\n--catalog=…\nwork --lease=9\n\
                    --require-trust=debian/sid=none\n--require-trust=transport\nFILE is in order\n";
    assert_eq!(stdout, expected);
}

/// Check that every mistake is told, each with its line and what would be right.
#[test]
fn mistakes() {
    let text = "job = 3\n\nmemory = '2X'\nmodules = 'yes'\narch = { a = 1 }\n[sync]\nuntil-empty = true\nlimit = -1\n\
                [work]\nlease = 0\n[require-trust]\ndefault = 'signed'\n";
    let (code, stdout, stderr) = check(text);
    assert_eq!((code, stdout.as_str()), (2, ""));
    let lines: Vec<&str> = stderr.lines().collect();
    for (line, (number, told)) in lines.iter().zip([
        (1, "sync and work have no option `job`; did you mean `jobs`?"),
        (3, "memory: invalid value '2X' for '--memory <SIZE>': \"X\" is no unit of bytes"),
        (4, "modules: true or false is needed, not string"),
        (5, "arch: text, a number or a list of them is needed, not table"),
        (7, "sync has no option `until-empty`"),
        (8, "limit: invalid value '-1'"),
        (10, "lease: invalid value '0'"),
        (11, "require-trust: invalid value 'signed'"),
    ]) {
        assert!(line.starts_with(&format!("btfgen: FILE:{number}: {told}")), "{number}: {line}");
    }
    assert_eq!(lines.len(), 8, "{stderr}");
    let (code, _, stderr) = check("archive = \n");
    assert!(code == 2 && stderr.contains("FILE:1: "), "{stderr}");
    btfgen().args(["config", "check", "/no/such.toml"]).assert().failure().stderr(contains("/no/such.toml"));
}

/// Check that `sync` takes its archive and repositories from the file, that the environment counts more than the file and the command line more
/// than both, and that a section of the command counts more than the whole file.
#[test]
fn what_counts() {
    let dir = tempfile::tempdir().unwrap();
    let definitions = dir.path().join("definitions");
    fs::create_dir_all(dir.path().join("empty")).unwrap();
    fs::create_dir(&definitions).unwrap();
    let definition = "id = \"acme\"\nlike = \"rhel\"\n[[releases]]\nversions = [\"9\"]\n\
                      repositories = [{ kind = \"directory\", path = \"../empty\" }]\n";
    fs::write(definitions.join("acme.toml"), definition).unwrap();
    let text = format!(
        "archive = '{dir}/all'\ndistros = '{dir}/definitions'\nkernel = ['from-file']\n[sync]\narchive = '{dir}/archive'\njson = true\n[work]\njobs = 1\n",
        dir = dir.path().display()
    );
    let path = file(dir.path(), &text);
    let sync = |more: &[&str]| {
        let mut command = btfgen();
        command.arg("sync").args(more);
        command
    };
    let config = format!("--config={}", path.display());
    // No kernel at all, and so none that matches.
    sync(&[&config]).assert().code(3).stderr(contains("none of 0 kernels matches from-file\n"));
    sync(&["--kernel=given", &config]).assert().code(3).stderr(contains("matches given\n"));
    sync(&["--kernel", "given"])
        .env("BTFGEN_CONFIG", &path)
        .assert()
        .code(3)
        .stderr(contains("matches given\n"));
    fs::write(&path, text.replace("kernel = ['from-file']", "require-trust = 'transport'")).unwrap();
    sync(&[&config]).assert().success().stdout(contains("\"selected\": 0"));
    assert!(dir.path().join("archive").is_dir() && !dir.path().join("all").exists());
    let given = dir.path().join("given");
    sync(&[&config, "--archive", given.to_str().unwrap()]).assert().success();
    assert!(given.is_dir());
    // What the environment has wrong is not the file's mistake, and is looked at though the file sets it too.
    sync(&[&config])
        .env("BTFGEN_REQUIRE_TRUST", "all")
        .assert()
        .code(2)
        .stderr(contains("`all` is no level of trust"));
    fs::write(&path, "jobs = 'many'\n").unwrap();
    sync(&[&config]).assert().code(2).stderr(contains("btfgen.toml:1: jobs: invalid value 'many'"));
    sync(&["--config", "/no/such.toml"]).assert().code(2).stderr(contains("configuration /no/such.toml"));
}
