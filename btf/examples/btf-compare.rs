//! Compares the named types of two raw BTF files of any byte order: `btf-compare A.btf B.btf`.
//!
//! Prints counts for each kind and the first differences. Exit code 0 if they agree, 1 if not, 2 if a file cannot be read.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let [a, b] = paths.as_slice() else {
        eprintln!("usage: btf-compare A.btf B.btf");
        return ExitCode::from(2);
    };
    match run(a.as_ref(), b.as_ref()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("btf-compare: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints the comparison and tells whether the files agree.
fn run(a: &std::path::Path, b: &std::path::Path) -> Result<bool, String> {
    let read =
        |path: &std::path::Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let (a_bytes, b_bytes) = (read(a)?, read(b)?);
    let a_btf = btf::Btf::parse(&a_bytes).map_err(|error| format!("{}: {error}", a.display()))?;
    let b_btf = btf::Btf::parse(&b_bytes).map_err(|error| format!("{}: {error}", b.display()))?;
    let comparison = btf::compare(&a_btf, &b_btf).map_err(|error| error.to_string())?;
    let mut out = std::io::stdout().lock();
    write!(out, "{comparison}").map_err(|error| format!("standard output: {error}"))?;
    Ok(comparison.is_equal())
}
