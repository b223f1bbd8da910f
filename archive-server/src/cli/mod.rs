//! The commands of `btf-archive-server`, one per file: each has its `Args` and a `run` that returns the exit code
//! (0 done, 1 failed, 2 usage, 3 not found, 4 refused). An `Err` becomes exit code 1.

pub(crate) mod add;
mod archive;
pub(crate) mod completions;
pub(crate) mod keys;
mod roots;
pub(crate) mod serve;
pub(crate) mod verify;

/// Exit code 4: what was handed in, or is there, does not stand up to checking.
const REFUSED: u8 = 4;
