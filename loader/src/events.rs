//! What a loader tells while it looks: one event for each place asked, for metrics and logs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Identity, Place, Reason};

/// A place was asked.
#[derive(Debug)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// Where.
    pub place: &'a Place,
    /// What came of it.
    pub outcome: Outcome<'a>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What came of asking a place.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// It had the BTF, and that was taken.
    Found {
        /// Bytes of raw BTF.
        size: usize,
        /// How it was recognised.
        identity: Identity,
    },
    /// It had none, or none that may be used; [`Reason::name`] is fit for a metric's label.
    Not(&'a Reason),
}

impl Outcome<'_> {
    /// A short name that never changes: `found`, or that of the reason.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Found { .. } => "found",
            Self::Not(reason) => reason.name(),
        }
    }
}

type Listener = dyn Fn(&Asked<'_>) + Send + Sync;

/// Who is told.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<Listener>>);

impl Observer {
    pub(crate) fn new(observer: impl Fn(&Asked<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn tell(&self, asked: &Asked<'_>) {
        if let Some(observer) = &self.0 {
            observer(asked);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "an observer" } else { "nobody" })
    }
}
