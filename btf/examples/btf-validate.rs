//! Checks raw BTF files of any byte order by the kernel's rules: `btf-validate FILE…`. Exit code 1 if one breaks a rule.

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let mut failed = false;
    for path in std::env::args_os().skip(1) {
        let path = std::path::PathBuf::from(path);
        let result = std::fs::read(&path).map_err(|error| error.to_string()).and_then(|bytes| {
            let start = Instant::now();
            let btf = btf::Btf::parse(&bytes).map_err(|error| error.to_string())?;
            let parsed = start.elapsed();
            btf::validate(&btf, &btf::ValidateOptions::default()).map_err(|error| error.to_string())?;
            let validated = start.elapsed() - parsed;
            Ok(format!(
                "{} bytes, {} types, valid (parsed in {parsed:.1?}, validated in {validated:.1?})",
                bytes.len(),
                btf.type_count() - 1
            ))
        });
        match result {
            Ok(text) => println!("{}: {text}", path.display()),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}
