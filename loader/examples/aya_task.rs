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

use std::error::Error;
use std::process::ExitCode;
use std::{env, fs};

use aya::maps::Array;
use aya::programs::RawTracePoint;
use aya::{Btf, Ebpf, EbpfLoader, Endianness};

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
    let btf = Btf::parse(found.btf(), Endianness::default())?;
    Ok(EbpfLoader::new().btf(Some(&btf)).load_file(object)?)
}

fn with_file(object: &str, btf: &str) -> Result<Ebpf, Box<dyn Error>> {
    let btf = Btf::parse_file(btf, Endianness::default())?;
    Ok(EbpfLoader::new().btf(Some(&btf)).load_file(object)?)
}

/// Runs the program until it has seen this process make a system call; whether what it read is right.
fn observe(mut bpf: Ebpf) -> Result<bool, Box<dyn Error>> {
    let pid = std::process::id();
    let mut wanted: Array<_, u32> = bpf.map_mut("wanted").ok_or("no map `wanted`")?.try_into()?;
    wanted.set(0, pid, 0)?;
    let program: &mut RawTracePoint = bpf.program_mut("observe").ok_or("no program `observe`")?.try_into()?;
    program.load()?;
    program.attach("sys_enter")?;

    // The system call that is seen.
    let comm = fs::read_to_string("/proc/self/comm")?.trim_end().to_owned();
    let observations: Array<_, [u8; 40]> =
        bpf.map("observations").ok_or("no map `observations`")?.try_into()?;
    let seen = Observation::read(&observations.get(&0, 0)?);
    let ticks = ticks_at_start()?;
    let per_tick = 1_000_000_000 / u64::from(user_hz()?);
    println!("expected  pid {pid}, tgid {pid}, comm {comm}, started at tick {ticks}");
    let Observation { pid: seen_pid, tgid, start_boottime, calls, comm: seen_comm } = seen;
    let seen_ticks = start_boottime / per_tick;
    println!(
        "seen      pid {seen_pid}, tgid {tgid}, comm {seen_comm}, started at tick {seen_ticks} ({calls} calls)"
    );
    Ok(seen_pid == pid && tgid == pid && seen_comm == comm && seen_ticks == ticks)
}

/// `struct observation`.
struct Observation {
    pid: u32,
    tgid: u32,
    start_boottime: u64,
    calls: u64,
    comm: String,
}

impl Observation {
    fn read(bytes: &[u8; 40]) -> Self {
        let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]));
        let long = |at: usize| u64::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]));
        let comm = bytes[24..].split(|&byte| byte == 0).next().unwrap_or_default();
        let comm = String::from_utf8_lossy(comm).into_owned();
        Self { pid: word(0), tgid: word(4), start_boottime: long(8), calls: long(16), comm }
    }
}

/// When this process started, in clock ticks since boot: field 22 of `/proc/self/stat`. The second field, the name in
/// parentheses, may hold anything, so fields are counted from its end.
fn ticks_at_start() -> Result<u64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    Ok(rest.split_whitespace().nth(22 - 3).ok_or("/proc/self/stat is short")?.parse()?)
}

/// Clock ticks in a second as user space sees them: `AT_CLKTCK` (17) of the auxiliary vector, a list of pairs of
/// words.
fn user_hz() -> Result<u32, Box<dyn Error>> {
    let words: Vec<usize> = fs::read("/proc/self/auxv")?
        .chunks_exact(size_of::<usize>())
        .map(|word| usize::from_ne_bytes(std::array::from_fn(|index| word[index])))
        .collect();
    let ticks = words.chunks_exact(2).find(|pair| pair[0] == 17).ok_or("no AT_CLKTCK")?[1];
    Ok(u32::try_from(ticks)?)
}
