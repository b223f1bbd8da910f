//! Makes modules' split BTF anew and tells how it compares with what is there.
//!
//! `btf-split BASE.btf MODULE.btf…`, with split BTF as modules hold it in their section `.BTF`: each is made self-contained, split on the base
//! again, and checked. One line for each module: name, its bytes before and after, microseconds for splitting.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use btf::{BaseIndex, Btf, Builder, ValidateOptions, flatten, validate};

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("btf-split: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(files: Vec<String>) -> Result<(), String> {
    let [base, modules @ ..] = files.as_slice() else {
        return Err("usage: btf-split BASE.btf MODULE.btf…".to_owned());
    };
    let read = |file: &String| std::fs::read(file).map_err(|error| format!("{file}: {error}"));
    let data = read(base)?;
    let in_base = |error: btf::Error| format!("{base}: {error}");
    let base = Btf::parse(&data).map_err(in_base)?;
    let start = Instant::now();
    let index = BaseIndex::of(&base).map_err(in_base)?;
    eprintln!("{} types of the base indexed in {:?}", base.type_count(), start.elapsed());

    let (mut before, mut after, mut reading, mut splitting) = (0, 0, Duration::ZERO, Duration::ZERO);
    for file in modules {
        let in_module = |error: btf::Error| format!("{file}: {error}");
        let module = read(file)?;
        let finish = |builder: Builder| builder.finish(base.endian()).map_err(in_module);
        let whole =
            finish(flatten(&Btf::parse_split(&module, &base).map_err(in_module)?).map_err(in_module)?)?;
        let start = Instant::now();
        let whole = Btf::parse(&whole).map_err(in_module)?;
        reading += start.elapsed();
        let start = Instant::now();
        let made = finish(index.split(&whole).map_err(in_module)?.builder)?;
        let took = start.elapsed();
        splitting += took;
        let split = Btf::parse_split(&made, &base).map_err(in_module)?;
        validate(&split, &ValidateOptions::default()).map_err(in_module)?;
        let name = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
        println!("{name} {} {} {} {}", module.len(), made.len(), whole.type_count(), took.as_micros());
        before += module.len();
        after += made.len();
    }
    eprintln!("{before} bytes before, {after} after; read in {reading:?}, split in {splitting:?}");
    Ok(())
}
