//! Loads `data/bpf/task.bpf.c` with libbpf-rs and the BTF that btf_loader finds, lets it watch this process, and compares what
//! it read in the kernel with what user space sees.
//!
//! ```text
//! libbpf_rs_task OBJECT
//! ```
//!
//! Exit codes: 0 everything read right, 1 could not be loaded or run, 2 usage, 5 loaded and ran, and read something
//! else.

mod task;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use libbpf_rs::{MapCore as _, MapFlags, ObjectBuilder};

use task::{Myself, Observation};

fn main() -> ExitCode {
    let Some(object) = env::args().nth(1) else {
        eprintln!("usage: libbpf_rs_task OBJECT");
        return ExitCode::from(2);
    };
    match run(&object) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(5),
        Err(error) => {
            eprintln!("libbpf_rs_task: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(object: &str) -> Result<bool, Box<dyn Error>> {
    let mut builder = ObjectBuilder::default();
    if let Some(path) = btf_loader::Loader::from_env()?.custom_path()? {
        println!("BTF       from {}", path.display());
        builder.btf_custom_path(path)?;
    }
    let object = builder.open_file(object)?.load()?;

    let key = 0u32.to_ne_bytes();
    let wanted = object.maps().find(|map| map.name() == "wanted").ok_or("no map `wanted`")?;
    wanted.update(&key, &std::process::id().to_ne_bytes(), MapFlags::ANY)?;
    let observe =
        object.progs_mut().find(|program| program.name() == "observe").ok_or("no program `observe`")?;
    let _link = observe.attach()?;

    let before = Myself::look()?; // and make the system calls that are seen
    let observations =
        object.maps().find(|map| map.name() == "observations").ok_or("no map `observations`")?;
    let seen = observations.lookup(&key, MapFlags::ANY)?.ok_or("nothing was seen")?;
    Ok(before.compare(&Observation::read(seen.as_slice().try_into()?)))
}
