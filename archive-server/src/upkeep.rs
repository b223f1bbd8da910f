//! What the service does beside answering: it takes over what others publish, and looks for rot.

use std::convert::Infallible;
use std::num::NonZeroU64;
use std::time::Duration;

use btf_archive::store::{Archive, Pace};

use crate::app::App;

/// The shortest time between the beginnings of two scrubs: a small archive need not be read all the time.
const SCRUB_PAUSE: Duration = Duration::from_secs(3600);

/// Looks again and again for newer snapshots. With a catalog that all share there never is anything: it is a read of `latest.json`.
pub(crate) async fn refresh(archive: &Archive, pause: Duration) -> Infallible {
    loop {
        tokio::time::sleep(pause).await;
        match archive.refresh().await {
            Ok(true) => tracing::info!("took over a newer snapshot"),
            Ok(false) => {}
            Err(error) => tracing::warn!("cannot take over the newest snapshot: {error}"),
        }
    }
}

/// Reads everything again and again, `rate` bytes a second, and reports what has rotted.
pub(crate) async fn scrub(app: &App, rate: Option<NonZeroU64>) -> Infallible {
    if rate.is_none() {
        return std::future::pending().await;
    }
    let metrics = &app.metrics;
    loop {
        let next = tokio::time::Instant::now() + SCRUB_PAUSE;
        let (mut bytes, mut objects) = (0, 0);
        let scrubbed = app.archive.scrub(Pace { rate, parallel: 1 }, |done| {
            metrics.scrubbed(done.objects - objects, done.bytes - bytes);
            (objects, bytes) = (done.objects, done.bytes);
        });
        match scrubbed.await {
            Ok(damage) => {
                metrics.scrub_ended(damage.len() as u64);
                for damage in &damage {
                    tracing::error!(
                        "damaged: {}: {}; `btf-archive-server repair` mends it",
                        damage.path,
                        damage.reason
                    );
                }
                tracing::info!("scrubbed {objects} objects, {bytes} bytes: {} damaged", damage.len());
            }
            Err(error) => tracing::warn!("cannot scrub: {error}"),
        }
        tokio::time::sleep_until(next).await;
    }
}
