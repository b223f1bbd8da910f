//! `btf-minimize check --format html` in a browser: nothing is asked for from elsewhere, nothing complained about, and it fits wide and narrow windows.

mod judge;

use std::fs;
use std::path::Path;
use std::process::Command;

use judge::succeed;
use tempfile::TempDir;

/// What the page is asked for once it stands: whether it is wider than the window, where the first kernel's column is, and what colour paper has.
const MEASURE: &str = "<script>
    const cell = document.querySelector('tbody td:not(.since)').getBoundingClientRect();
    const fits = document.documentElement.scrollWidth <= window.innerWidth;
    document.body.dataset.measured = [fits, cell.left < window.innerWidth, cell.width > 10,
        getComputedStyle(document.body).backgroundColor].join(' ');
</script>";

/// The page of a program on three kernels, of which the last ones differ.
fn page(folder: &Path) -> String {
    let member = |name: &str| {
        format!(
            "struct task_struct {{ {name} int pid; }}; int use(struct task_struct *t) {{ return t->pid; }}"
        )
    };
    let program = r#"struct task_struct { int pid; int gone; } __attribute__((preserve_access_index));
        __attribute__((section("socket"), used)) int read(struct task_struct *t) {
            return t->pid + __builtin_preserve_field_info(t->gone, 2);
        }"#;
    for (name, source) in [
        ("a", member("")),
        ("b", member("long flags;")),
        ("c", member("int gone;")),
        ("program", program.to_owned()),
    ] {
        let (input, output) = (folder.join("source.c"), folder.join(name));
        fs::write(&input, source).unwrap();
        succeed("clang", &[&"-target", &"bpf", &"-g", &"-O2", &"-c", &input, &"-o", &output]);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_btf-minimize"));
    let arguments = ["check", "--btf", "a", "--btf", "b", "--btf", "c", "--format", "html", "program"];
    let output = command.current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The document as the browser has it once it is loaded, and what it said meanwhile.
fn browse(folder: &Path, file: &Path, more: &[&str]) -> (String, String) {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--dump-dom",
            &profile,
        ])
        .args(more)
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap_or_else(|error| panic!("chromium: {error} (the package chromium is needed)"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

/// Check that the page fits windows of a desk and of a phone, in light and dark, without a word on the console.
#[test]
fn page_in_a_browser() {
    let folder = TempDir::new().unwrap();
    let page = page(folder.path());
    assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("url("), "{page}");
    let file = folder.path().join("page.html");
    fs::write(&file, format!("{page}{MEASURE}")).unwrap();
    for (size, dark) in [("1280,900", false), ("420,800", false), ("420,800", true)] {
        let size = format!("--window-size={size}");
        let scheme = format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 });
        let (document, said) = browse(folder.path(), &file, &[&size, &scheme]);
        let measured =
            document.split("data-measured=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let paper = if dark { "rgb(18, 18, 18)" } else { "rgb(255, 255, 255)" };
        assert_eq!(measured, format!("true true true {paper}"), "{size}");
        assert!(!said.contains("CONSOLE"), "{said}");
        assert_eq!(document.matches("<tr>").count(), 4);
    }
}

/// Check that each row says since which kernel it is otherwise.
#[test]
fn page_says_since_when() {
    let folder = TempDir::new().unwrap();
    let page = page(folder.path());
    for part in
        ["<summary>2 changes</summary><ul><li>b: 0 → 8<li>c: 8 → 4</ul>", "<td class=\"since\">c: absent → 1"]
    {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}
