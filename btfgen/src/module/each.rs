//! Doing the same with many files, on many threads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Calls `work` with the index of each file, on `threads` threads, and `finish` with what came out, on the caller's thread, which meanwhile
/// has nothing else to do than wait for files to be written. Returns the results in the files' order.
///
/// The largest file comes first, so that no thread begins it when the others are done.
pub fn each<T: Send, R>(
    files: &[PathBuf],
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
    mut finish: impl FnMut(usize, T) -> R,
) -> Vec<R> {
    let size = |index: &usize| std::fs::metadata(&files[*index]).map_or(0, |file| file.len());
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_cached_key(|index| std::cmp::Reverse(size(index)));
    let next = AtomicUsize::new(0);
    let mut all: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads = threads.clamp(1, files.len().max(1));
        // Workers wait when the caller's thread falls behind, so that results do not pile up.
        let (send, receive) = mpsc::sync_channel(2 * threads);
        for _ in 0..threads {
            let (send, next, order, work) = (send.clone(), &next, &order, &work);
            scope.spawn(move || {
                while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The other end only goes when the caller's thread panics, and then nobody wants the result.
                    let _ = send.send((index, work(index)));
                }
            });
        }
        drop(send);
        receive.into_iter().map(|(index, result)| (index, finish(index, result))).collect()
    });
    all.sort_unstable_by_key(|&(index, _)| index);
    all.into_iter().map(|(_, result)| result).collect()
}
