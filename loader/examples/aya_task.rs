//! Loads `data/bpf/task.bpf.c` with aya, lets it watch this process, and compares what it read in the kernel with
//! what user space sees.
//!
//! ```text
//! aya_task OBJECT              with the BTF that btf_loader finds for the running kernel
//! aya_task OBJECT BTF          with the BTF of that file (raw)
//! aya_task OBJECT --as-is      as aya does without help: with /sys/kernel/btf/vmlinux, or nothing
//! ```
//!
//! Exit codes: 0 everything read right, 1 could not be loaded or run, 2 usage, 5 loaded and ran, and read something
//! else.

mod task;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use aya::maps::Array;
use aya::programs::RawTracePoint;
use aya::{Btf, Ebpf, EbpfLoader, Endianness};

use task::{Myself, Observation};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [object] => with_loader(object),
        [object, "--as-is"] => Ebpf::load_file(object).map_err(Into::into),
        [object, btf] => with_file(object, btf),
        _ => {
            eprintln!("usage: aya_task OBJECT [BTF | --as-is]");
            return ExitCode::from(2);
        }
    };
    match result.and_then(observe) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(5),
        Err(error) => {
            eprintln!("aya_task: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// What a program that uses aya does: find the BTF, or say why there is none, and never load without.
fn with_loader(object: &str) -> Result<Ebpf, Box<dyn Error>> {
    let found = btf_loader::Loader::from_env()?.get()?;
    println!("BTF       {} bytes, {} match, from {}", found.btf().len(), found.identity(), found.place());
    let btf = btf_loader::aya_btf!(aya, found)?;
    Ok(EbpfLoader::new().btf(Some(&btf)).load_file(object)?)
}

fn with_file(object: &str, btf: &str) -> Result<Ebpf, Box<dyn Error>> {
    let btf = Btf::parse_file(btf, Endianness::default())?;
    Ok(EbpfLoader::new().btf(Some(&btf)).load_file(object)?)
}

/// Runs the program until it has seen this process make a system call; whether what it read is right.
fn observe(mut bpf: Ebpf) -> Result<bool, Box<dyn Error>> {
    let mut wanted: Array<_, u32> = bpf.map_mut("wanted").ok_or("no map `wanted`")?.try_into()?;
    wanted.set(0, std::process::id(), 0)?;
    let program: &mut RawTracePoint = bpf.program_mut("observe").ok_or("no program `observe`")?.try_into()?;
    program.load()?;
    program.attach("sys_enter")?;

    let before = Myself::look()?; // and make the system calls that are seen
    let observations: Array<_, [u8; 40]> =
        bpf.map("observations").ok_or("no map `observations`")?.try_into()?;
    Ok(before.compare(&Observation::read(&observations.get(&0, 0)?)))
}
