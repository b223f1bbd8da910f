//! The commands of `btfgen`, one per file: each has its `Args` and a `run` that returns the exit code
//! (0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 done but incomplete). An `Err` becomes exit code 1.

pub(crate) mod completions;
pub(crate) mod kernels;
mod output;
pub(crate) mod package;
mod repository;
pub(crate) mod sync;
pub(crate) mod vmlinux;
