//! What the service does beside answering: it takes over what others publish.

use std::convert::Infallible;
use std::time::Duration;

use btf_archive::store::Archive;

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
