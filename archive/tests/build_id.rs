//! Build-ids, judged by the tools that write and read them.

use std::path::Path;
use std::process::Command;

use btf_archive::BuildId;

/// Runs a tool to its end; gives its output.
fn run(tool: &str, directory: &Path, args: &[&str]) -> String {
    let output = Command::new(tool)
        .args(args)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("{tool} is needed (packages gcc, binutils): {error}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Check that the build-id in the note section that the linker wrote is the one that `readelf` shows, for build-ids of
/// each length that the linker makes.
#[test]
fn build_id_as_readelf() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("a.c"), "int main(void) { return 0; }\n").unwrap();
    for style in ["sha1", "md5", "0x0123456789abcdef"] {
        run("cc", directory, &[&format!("-Wl,--build-id={style}"), "a.c", "-o", "a"]);
        run("objcopy", directory, &["-O", "binary", "--only-section=.note.gnu.build-id", "a", "notes"]);
        let shown = run("readelf", directory, &["--notes", "a"]);
        let shown = shown.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap();
        let found = BuildId::from_notes(&std::fs::read(directory.join("notes")).unwrap()).unwrap().unwrap();
        assert_eq!(found.to_string(), shown, "{style}");
    }
}
