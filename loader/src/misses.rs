//! What archives do not have, remembered for a while: an agent that starts again and again on a kernel that nobody has
//! should not ask again and again.
//!
//! A miss is a file of the cache, `misses/HEX.json`, named by the sha256 of what was asked of whom.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use btf_archive::Digest;
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, keep};
use crate::error::Candidate;
use crate::{Address, Kernel, Reason};

/// The form of the file.
const FORMAT: u32 = 1;
/// A miss with the nearest kernels has a few kilobytes; a larger file is none.
const MAX_FILE: u64 = 1 << 20;

/// One archive's answer that it does not have a kernel.
#[derive(Serialize, Deserialize)]
struct Miss {
    format: u32,
    archive: String,
    kernel: String,
    nearest: Vec<Candidate>,
    /// When, in seconds since 1970 (UTC).
    asked: u64,
}

/// The misses of a cache.
pub(crate) struct Misses<'a> {
    cache: &'a Cache,
    lifetime: Duration,
}

impl<'a> Misses<'a> {
    pub(crate) fn new(cache: &'a Cache, lifetime: Duration) -> Self {
        Self { cache, lifetime }
    }

    /// What the archive said a while ago, if it had no BTF of this kernel then.
    pub(crate) fn recall(&self, archive: &Address, kernel: &Kernel, exact_only: bool) -> Option<Reason> {
        let path = self.path(archive, kernel, exact_only);
        if self.lifetime.is_zero() || fs::metadata(&path).ok()?.len() > MAX_FILE {
            return None;
        }
        let miss: Miss = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        // A clock that was set back makes no miss last longer.
        let age = now().checked_sub(miss.asked)?;
        let fresh = miss.format == FORMAT && Duration::from_secs(age) < self.lifetime;
        fresh.then_some(Reason::NotInArchive { nearest: miss.nearest, remembered: true })
    }

    /// Remembers a miss; forgets it if the archive has the BTF now. Where the cache cannot be written nothing is
    /// remembered, which is no error.
    pub(crate) fn note(
        &self,
        archive: &Address,
        kernel: &Kernel,
        exact_only: bool,
        outcome: Result<(), &Reason>,
    ) {
        let path = self.path(archive, kernel, exact_only);
        match outcome {
            Err(Reason::NotInArchive { nearest, remembered: false }) if !self.lifetime.is_zero() => {
                let miss = Miss {
                    format: FORMAT,
                    archive: archive.to_string(),
                    kernel: kernel.to_string(),
                    nearest: nearest.clone(),
                    asked: now(),
                };
                self.forget_old();
                let _ = serde_json::to_vec(&miss).map(|json| keep(&path, &json));
            }
            Ok(()) => drop(fs::remove_file(path)),
            Err(_) => {}
        }
    }

    /// Deletes misses that nobody believes any more.
    fn forget_old(&self) {
        for entry in fs::read_dir(self.cache.dir().join("misses")).into_iter().flatten().flatten() {
            let age = entry.metadata().and_then(|metadata| metadata.modified());
            if age.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > self.lifetime)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn path(&self, archive: &Address, kernel: &Kernel, exact_only: bool) -> PathBuf {
        let mut question = format!("{archive}\n{kernel}\nexact: {exact_only}\n");
        for key in kernel.keys() {
            question += &format!("{key}\n");
        }
        self.cache.dir().join(format!("misses/{}.json", Digest::of(question.as_bytes())))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
