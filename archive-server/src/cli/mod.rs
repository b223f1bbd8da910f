//! The commands of `btf-archive-server`, one per file: each has its `Args` and a `run` that returns the exit code
//! (0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 incomplete). An `Err` becomes exit code 1.

pub(crate) mod add;
mod archive;
pub(crate) mod completions;
pub(crate) mod gc;
mod progress;
pub(crate) mod repair;
pub(crate) mod serve;
pub(crate) mod verify;

/// Exit code 4: what was handed in, or is there, does not stand up to checking.
const REFUSED: u8 = 4;

/// Exit code 5: not everything could be done.
const INCOMPLETE: u8 = 5;
