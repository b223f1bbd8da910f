//! One kernel: from the packages on offer to BTF that may enter an archive. The only place of this folder that fetches.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use btf_archive::Trust;
use btf_archive::store::{FailureClass, Retry};

use super::Effort;
use crate::repo::offer::OfferedKernel;
use crate::route::{self, Fetched, Verify};
use crate::{fetch, vmlinux};

/// Why a kernel did not get into the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Passing: the network, the server or a mirror that is being updated. Lasting: it lies in the package. Refused: it is not
    /// trusted enough, or contradicts what the archive knows.
    pub class: FailureClass,
    /// What happened, for people.
    pub reason: String,
    /// How long a server wants to be left alone, if it said so.
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self { class: FailureClass::Lasting, reason: reason.into(), retry_after: None }
    }

    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self { class: FailureClass::Refused, reason: reason.into(), retry_after: None }
    }

    /// When to try again.
    pub(super) fn retry(&self) -> Retry {
        match (self.class, self.retry_after) {
            (FailureClass::Passing, Some(pause)) => Retry::After(pause),
            (FailureClass::Passing, None) => Retry::BackOff,
            _ => Retry::Never,
        }
    }
}

/// Fetches what is needed of the kernel's packages, and makes BTF of it, which was read back and is a kernel's.
/// `read` counts the bytes as they arrive.
pub(super) fn make(
    client: &fetch::Client,
    kernel: &OfferedKernel,
    effort: &Effort,
    read: Arc<AtomicU64>,
) -> Result<Fetched, Failure> {
    let required = effort.require.of(&kernel.key, kernel.repository());
    // Refused before anything is fetched, where it can be known.
    let best = kernel.packages.iter().map(|package| match package.trust {
        _ if package.signature_keys.is_some() && effort.whole => Trust::SignedPackage,
        Trust::SignedIndex if effort.whole => Trust::SignedPackage,
        of_index => of_index,
    });
    distrust(best.max().unwrap_or(Trust::None), required)?;
    let options = route::Options {
        modules: effort.modules,
        config: true,
        verify: if effort.whole { Verify::Full } else { Verify::Sparse },
        from: vmlinux::From::Auto,
        threads: effort.threads,
        memory: effort.memory,
        arrived: read,
    };
    // The certificate lies on this machine, not in the package: it may be there tomorrow.
    let no_certificate = |reason| Failure { class: FailureClass::Passing, reason, retry_after: None };
    let client = &kernel.client(client).map_err(no_certificate)?;
    let fetched = route::fetch(client, kernel, &options).map_err(|failed| of_route(&failed.error))?;
    distrust(fetched.trust, required)?;
    let lost = fetched.report.lost.len();
    if let Some(first) = fetched.report.lost.first() {
        // An archive's answer is final: BTF that lacks types would stand in the way of the whole.
        let (units, path) = (fetched.report.units + lost, &fetched.path);
        return Err(Failure::lasting(format!(
            "{path}: {lost} of {units} units of its DWARF could not be read; {first}"
        )));
    }
    for (module, reason) in &fetched.modules.failed {
        tracing::warn!(kernel = %kernel.key, module, reason, "no BTF of a module");
    }
    Ok(fetched)
}

/// Refuses a level of trust below the required one.
fn distrust(reached: Trust, required: Trust) -> Result<(), Failure> {
    if reached >= required {
        return Ok(());
    }
    Err(Failure::refused(format!("its trust is {reached}, and {required} is required (--require-trust)")))
}

fn of_route(error: &route::Error) -> Failure {
    let class = match error {
        _ if error.is_refusal() => FailureClass::Refused,
        // What an index promises and a server has not is a mirror that lags behind.
        route::Error::Fetch(fetch) if fetch.is_not_found() => FailureClass::Passing,
        _ if error.is_passing() => FailureClass::Passing,
        _ => FailureClass::Lasting,
    };
    let retry_after = match error {
        route::Error::Fetch(fetch) => fetch.retry_after(),
        _ => None,
    };
    Failure { class, reason: error.to_string(), retry_after }
}
