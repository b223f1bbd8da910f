//! Who works: a name by which others on the same machine can tell whether it still lives.

use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

/// Someone who takes jobs: one per process is enough.
///
/// Its name holds the machine's boot, the namespace of process numbers, the process, and when that began. So whoever runs in the
/// same namespace can tell that it is gone without waiting for its lease to end; everybody else waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    name: String,
}

impl Worker {
    /// A new worker of this process.
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let begun = begun(process).unwrap_or_default();
        Self { name: format!("{} {process} {begun} {count}", here()) }
    }

    /// The name, as the catalog has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the worker of this name was a process here, and is none any more.
    pub(super) fn is_gone(name: &str) -> bool {
        let mut parts = name.rsplitn(4, ' ');
        let (Some(_), Some(then), Some(process), Some(place)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        let Ok(process) = process.parse() else { return false };
        // Without /proc nothing can be told.
        !then.is_empty()
            && place == here()
            && begun(std::process::id()).is_some()
            && begun(process).as_deref() != Some(then)
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// This boot of this machine, and the namespace in which process numbers mean something.
fn here() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string());
    format!("{} {}", boot.trim(), namespace.unwrap_or_default())
}

/// When a process began, in clock ticks since boot (proc_pid_stat(5), field 22); nothing for one that is dead.
fn begun(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name in parentheses, with anything in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    // A zombie works no more.
    (state != "Z" && state != "X").then(|| fields.nth(18).map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that a living worker is not gone, that a dead process's is, even if another has its number now, and that nothing
    /// is said about other machines.
    #[test]
    fn worker_gone() {
        let worker = Worker::new();
        assert!(!Worker::is_gone(worker.name()), "{worker}");
        assert_ne!(Worker::new(), worker);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (id, started) = (child.id(), begun(child.id()).unwrap());
        let name = format!("{} {id} {started} 0", here());
        assert!(!Worker::is_gone(&name));
        assert!(Worker::is_gone(&format!("{} {id} 1{started} 0", here())));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Worker::is_gone(&name));
        assert!(!Worker::is_gone(&format!("another boot pid:[1] {id} {started} 0")));
        assert!(!Worker::is_gone("somebody"));
    }
}
