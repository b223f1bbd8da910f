//! The blobs that a mirror lacks: each fetched once, bases before the deltas on them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use btf_archive::delta::{Header, MAX_DEPTH};
use btf_archive::store::{self, Archive};
use btf_archive::{Digest, Form, ObjectPath};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::OnceCell;

use super::{Error, Fetcher};
use crate::carry::wanted::{Recorded, Wanted};

/// What came of it.
#[derive(Debug)]
pub(super) struct Fetched {
    /// How many blobs were fetched.
    pub(super) count: u64,
    /// Those that could not be had, and why.
    pub(super) missing: Vec<String>,
    /// Whether some were there and not what they should be.
    pub(super) corrupt: bool,
}

/// A run that fetches blobs.
struct Run<'r> {
    archive: &'r Archive,
    fetcher: &'r Fetcher,
    /// Those that are here or being fetched, and whether they could be had.
    blobs: Mutex<HashMap<Digest, Arc<OnceCell<Outcome>>>>,
    count: AtomicU64,
}

/// Whether a blob is here, or why not.
type Outcome = Result<(), (String, bool)>;

/// Fetches what is wanted and not here.
pub(super) async fn fetch(
    archive: &Archive,
    fetcher: &Fetcher,
    wanted: &Wanted,
    parallel: usize,
    progress: impl Fn(u64, u64),
) -> Result<Fetched, Error> {
    let there = archive.blobs_here().await?;
    let blobs = there.keys().map(|digest| (*digest, Arc::new(OnceCell::new_with(Some(Ok(())))))).collect();
    let run = Run { archive, fetcher, blobs: Mutex::new(blobs), count: AtomicU64::new(0) };
    // Deltas on one base one behind another: what they are made on is decoded once.
    let base = |form| match form {
        Recorded::Delta(base) => Some(base),
        Recorded::Whole | Recorded::Nothing => None,
    };
    let mut lacking: Vec<_> = wanted.blobs.iter().collect();
    lacking.sort_by_key(|(digest, hint)| (base(hint.form), **digest));
    let total = lacking.len() as u64;
    let tasks = lacking.into_iter().map(|(digest, hint)| {
        let (run, there) = (&run, &there);
        async move {
            // A delta that is here needs its base, too.
            let base =
                base(hint.form).filter(|_| there.get(digest).is_some_and(|(form, _)| *form == Form::Delta));
            let ensured = match base {
                Some(base) => run.ensure(base, Recorded::Nothing, 1).await,
                None => run.ensure(*digest, hint.form, 0).await,
            };
            (ensured, hint)
        }
    });
    let mut tasks = futures::stream::iter(tasks).buffer_unordered(parallel.max(1));
    let (mut missing, mut corrupt, mut done) = (Vec::new(), false, 0);
    while let Some((outcome, hint)) = tasks.next().await {
        done += 1;
        progress(done, total);
        if let Err((reason, was_corrupt)) = outcome {
            missing.push(format!("{}: {reason}", hint.what));
            corrupt |= was_corrupt;
        }
    }
    missing.sort();
    Ok(Fetched { count: run.count.load(Ordering::Relaxed), missing, corrupt })
}

impl Run<'_> {
    /// Makes sure that a blob is here.
    fn ensure(&self, digest: Digest, form: Recorded, depth: u8) -> LocalBoxFuture<'_, Outcome> {
        async move {
            let cell = {
                let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(blobs.entry(digest).or_default())
            };
            cell.get_or_init(|| self.fetch(digest, form, depth)).await.clone()
        }
        .boxed_local()
    }

    async fn fetch(&self, digest: Digest, form: Recorded, depth: u8) -> Outcome {
        let forms = match form {
            Recorded::Whole => [Form::Whole, Form::Delta],
            Recorded::Delta(_) | Recorded::Nothing => [Form::Delta, Form::Whole],
        };
        for form in forms {
            let path = ObjectPath::Blob(digest, form);
            let taken =
                self.fetcher.fetch(&path, async |bytes| self.take(digest, form, bytes, depth).await).await;
            match taken {
                Ok(Some(())) => {
                    self.count.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(None) => {}
                Err(unavailable) => return Err((unavailable.to_string(), unavailable.corrupt)),
            }
        }
        Err((format!("{}: no upstream has it", ObjectPath::Blob(digest, Form::Whole)), false))
    }

    async fn take(&self, digest: Digest, form: Form, bytes: Bytes, depth: u8) -> Result<(), String> {
        if form == Form::Delta {
            let header = Header::parse(&bytes).map_err(|error| error.to_string())?;
            if depth >= MAX_DEPTH {
                return Err("it lies on too many deltas".to_owned());
            }
            let base = self.ensure(header.base, Recorded::Nothing, depth + 1).await;
            base.map_err(|(reason, _)| format!("its base: {reason}"))?;
        }
        let taken = self.archive.take_blob(&digest, form, bytes).await;
        taken.map_err(|error: store::Error| error.to_string())
    }
}
