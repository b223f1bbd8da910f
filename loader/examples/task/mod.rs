//! What `data/bpf/task.bpf.c` saw of a process, and what user space sees of it.

use std::error::Error;
use std::fs;

/// `struct observation`.
pub(crate) struct Observation {
    pid: u32,
    tgid: u32,
    start_boottime: u64,
    calls: u64,
    comm: String,
}

impl Observation {
    /// As it lies in the map.
    pub(crate) fn read(bytes: &[u8; 40]) -> Self {
        let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]));
        let long = |at: usize| u64::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]));
        let comm = bytes[24..].split(|&byte| byte == 0).next().unwrap_or_default();
        let comm = String::from_utf8_lossy(comm).into_owned();
        Self { pid: word(0), tgid: word(4), start_boottime: long(8), calls: long(16), comm }
    }
}

/// This process as `/proc` shows it.
pub(crate) struct Myself {
    pid: u32,
    comm: String,
    ticks: u64,
    per_tick: u64,
}

impl Myself {
    pub(crate) fn look() -> Result<Self, Box<dyn Error>> {
        let comm = fs::read_to_string("/proc/self/comm")?.trim_end().to_owned();
        let per_tick = 1_000_000_000 / u64::from(user_hz()?);
        Ok(Self { pid: std::process::id(), comm, ticks: ticks_at_start()?, per_tick })
    }

    /// Whether the kernel's view is the same; prints both.
    pub(crate) fn compare(&self, seen: &Observation) -> bool {
        let Self { pid, comm, ticks, per_tick } = self;
        let seen_ticks = seen.start_boottime / per_tick;
        println!("expected  pid {pid}, tgid {pid}, comm {comm}, started at tick {ticks}");
        println!(
            "seen      pid {}, tgid {}, comm {}, started at tick {seen_ticks} ({} calls)",
            seen.pid, seen.tgid, seen.comm, seen.calls
        );
        seen.pid == *pid && seen.tgid == *pid && seen.comm == *comm && seen_ticks == *ticks
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
