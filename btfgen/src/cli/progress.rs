//! How work on kernels is shown: one bar per kernel at work and one for all, on a terminal; else a line per kernel.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use btf_archive::Key;
use btfgen::repo::offer::OfferedKernel;
use btfgen::sync::{Done, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::repository::{human_size, print};

/// An observer that shows what it sees.
pub(crate) struct Progress {
    bars: MultiProgress,
    total: ProgressBar,
    lines: bool,
    at_work: Mutex<Vec<(Key, ProgressBar)>>,
}

impl Progress {
    /// For this many kernels, if their number is known. With `json` no lines are printed.
    pub(crate) fn new(kernels: Option<usize>, json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        let template = match kernels {
            Some(_) => "{bar:30} {pos}/{len} kernels, {elapsed}",
            None => "{pos} kernels, {elapsed}",
        };
        let style = ProgressStyle::with_template(template).expect("a valid template");
        let bar = kernels.map_or_else(ProgressBar::no_length, |kernels| ProgressBar::new(kernels as u64));
        let total = bars.add(bar.with_style(style));
        Self { bars, total, lines: !terminal && !json, at_work: Mutex::default() }
    }

    /// Ends it.
    pub(crate) fn clear(&self) {
        self.total.finish_and_clear();
    }

    fn at_work(&self) -> MutexGuard<'_, Vec<(Key, ProgressBar)>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Progress {
    fn begins(&self, kernel: &OfferedKernel, read: &Arc<AtomicU64>) {
        let read = Arc::clone(read);
        let style = ProgressStyle::with_template("  {spinner} {msg}, {read} read").expect("a valid template");
        let style =
            style.with_key("read", move |_: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&human_size(read.load(Ordering::Relaxed)));
            });
        let bar =
            self.bars.add(ProgressBar::new_spinner().with_style(style).with_message(kernel.key.to_string()));
        bar.enable_steady_tick(Duration::from_millis(200));
        self.at_work().push((kernel.key.clone(), bar));
    }

    fn ended(&self, done: &Done) {
        let mut at_work = self.at_work();
        if let Some(at) = at_work.iter().position(|(key, _)| *key == done.kernel.key) {
            at_work.swap_remove(at).1.finish_and_clear();
        }
        self.total.inc(1);
        if self.lines && !done.elsewhere {
            let seconds = done.took.as_secs_f64();
            let key = &done.kernel.key;
            let line = match &done.outcome {
                Ok(record) => format!(
                    "{key}: {} of BTF from {} ({} stored), {} read, {seconds:.1} s\n",
                    human_size(record.raw_size),
                    record.provenance.source,
                    human_size(record.zst_size),
                    human_size(done.read),
                ),
                Err(failure) => format!("{key}: failed: {}\n", failure.reason),
            };
            // A reader that has left is no reason to stop: the archive is what counts.
            let _ = print(&line);
        }
    }
}
