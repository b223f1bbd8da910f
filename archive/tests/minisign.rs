//! Debian's `minisign` as judge: it takes what we sign, and we take what it signs.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use btf_archive::trust::{KeyList, Policy, PublicKey, Seen, Signature, SigningKey};

/// Runs minisign, which must be there, with this on its standard input; tells whether it succeeded, and what it wrote.
fn minisign(directory: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new("minisign");
    command.args(arguments).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("minisign, which this test needs: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// Check that minisign verifies our signatures with our keys, signed comment and all, and refuses them over other bytes.
#[test]
fn minisign_takes_ours() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let (secret, public) = SigningKey::generate("ours", None).unwrap();
    let key = SigningKey::read(&secret, None).unwrap();
    write("ours.pub", &public.to_file());
    write("file", "knowledge");
    write("file.minisig", &key.sign(b"knowledge", "snapshot:42").unwrap());
    let (good, text) = minisign(directory.path(), &["-V", "-p", "ours.pub", "-m", "file"], "");
    assert!(good && text.contains("snapshot:42"), "{text}");
    let (good, text) = minisign(directory.path(), &["-V", "-P", &public.to_string(), "-m", "file"], "");
    assert!(good, "{text}");
    write("file", "opinion");
    assert!(!minisign(directory.path(), &["-V", "-p", "ours.pub", "-m", "file"], "").0);

    // It signs with our secret keys too: the plain one, and one with a password.
    write("plain.key", &secret);
    let (good, text) = minisign(directory.path(), &["-S", "-W", "-s", "plain.key", "-m", "file"], "");
    assert!(good, "{text}");
    let signature = std::fs::read(directory.path().join("file.minisig")).unwrap();
    public.check("file", b"opinion", &Signature::parse("file", &signature).unwrap()).unwrap();
    let (secret, public) = SigningKey::generate("ours", Some("correct horse")).unwrap();
    write("locked.key", &secret);
    let (good, text) =
        minisign(directory.path(), &["-S", "-s", "locked.key", "-m", "file"], "correct horse\n");
    assert!(good, "{text}");
    let signature = std::fs::read(directory.path().join("file.minisig")).unwrap();
    public.check("file", b"opinion", &Signature::parse("file", &signature).unwrap()).unwrap();
}

/// Check that a root made by minisign, which signs a list of keys with minisign, is as good as ours; that its old kind of
/// signature is refused; and that its secret keys are read.
#[test]
fn ours_takes_minisign() {
    let directory = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    let (good, text) = minisign(directory.path(), &["-G", "-W", "-p", "root.pub", "-s", "root.key"], "");
    assert!(good, "{text}");
    let root: PublicKey = String::from_utf8(read("root.pub")).unwrap().parse().unwrap();
    assert!(String::from_utf8(read("root.pub")).unwrap().contains(&root.id().to_string()));

    let mut list = KeyList::new(1_790_000_000);
    list.add(SigningKey::generate("key", None).unwrap().1, 1_790_000_000, 1_800_000_000).unwrap();
    std::fs::write(directory.path().join("keys.json"), list.encode().unwrap()).unwrap();
    let sign = ["-S", "-W", "-s", "root.key", "-m", "keys.json"];
    assert!(minisign(directory.path(), &sign, "").0);
    let policy = Policy::new(vec![root.clone()]);
    let (json, signature) = (read("keys.json"), read("keys.json.minisig"));
    assert_eq!(policy.check_keys(&json, &signature, &Seen::default()).unwrap(), list);
    let comment = Signature::parse("keys.json", &signature).unwrap().trusted_comment().to_owned();
    assert!(comment.starts_with("timestamp:") && comment.contains("file:keys.json"), "{comment}");

    assert!(minisign(directory.path(), &[&sign[..], &["-l"]].concat(), "").0);
    let refused = policy.check_keys(&json, &read("keys.json.minisig"), &Seen::default()).unwrap_err();
    assert!(refused.to_string().contains("kind ED"), "{refused}");

    let key = SigningKey::read(&String::from_utf8(read("root.key")).unwrap(), None).unwrap();
    assert_eq!(key.public(), &root);
}

/// Check that a secret key which minisign encrypted is read with its password, and with no other.
#[test]
fn ours_takes_encrypted_keys() {
    let directory = tempfile::tempdir().unwrap();
    let twice = "correct horse\ncorrect horse\n";
    let (good, text) = minisign(directory.path(), &["-G", "-p", "root.pub", "-s", "root.key"], twice);
    assert!(good, "{text}");
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    let secret = read("root.key");
    assert!(SigningKey::is_encrypted(&secret).unwrap());
    let key = SigningKey::read(&secret, Some("correct horse")).unwrap();
    assert_eq!(key.public(), &read("root.pub").parse().unwrap());
}
