//! Doing the same with many files, on many threads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls `work` with the index of each file, on `threads` threads, and returns the results in the files' order.
///
/// The largest file comes first, so that no thread begins it when the others are done.
pub fn each<T: Send>(files: &[PathBuf], threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let size = |index: &usize| std::fs::metadata(&files[*index]).map_or(0, |file| file.len());
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_cached_key(|index| std::cmp::Reverse(size(index)));
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((index, work(index)));
        }
        done
    };
    let mut all: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.clamp(1, files.len().max(1))).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        // A panic of a worker is a bug; it goes on in the caller's thread.
        joined.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    all.sort_unstable_by_key(|&(index, _)| index);
    all.into_iter().map(|(_, result)| result).collect()
}
