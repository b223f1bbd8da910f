//! The commands of `btfgen`, one per file: each has its `Args` and a `run` that returns the exit code
//! (0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 done but incomplete). An `Err` becomes exit code 1.

mod allocator;
pub(crate) mod completions;
pub(crate) mod config;
mod distros;
mod effort;
pub(crate) mod failures;
pub(crate) mod kernels;
pub(crate) mod module;
mod modules;
mod output;
pub(crate) mod package;
mod progress;
mod repository;
mod supplementary;
pub(crate) mod sync;
pub(crate) mod vmlinux;
pub(crate) mod work;

/// An error with its causes, each said once: some errors already end with their cause.
pub(crate) fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        before if before.ends_with(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}
