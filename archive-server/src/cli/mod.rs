//! The commands of `btf-archive-server`, one per file: each has its `Args` and a `run` that returns the exit code
//! (0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 incomplete). An `Err` becomes exit code 1.

pub(crate) mod add;
pub(crate) mod alias;
mod archive;
pub(crate) mod completions;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod mirror;
mod progress;
pub(crate) mod repair;
mod selection;
pub(crate) mod serve;
pub(crate) mod tokens;
pub(crate) mod verify;

/// Exit code 3: there is no such thing.
const NOT_FOUND: u8 = 3;

/// Exit code 4: what was handed in, or is there, does not stand up to checking.
const REFUSED: u8 = 4;

/// Exit code 5: not everything could be done.
const INCOMPLETE: u8 = 5;

/// A time, in seconds since 1970 (UTC), for people: `Fri, 20 Nov 2026 18:07:51 GMT`.
fn time(seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    httpdate::fmt_http_date(time)
}
