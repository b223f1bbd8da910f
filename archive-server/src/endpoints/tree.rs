//! The archive's own tree (`latest.json`, `snapshots/`, `blobs/`), as a plain file server would serve it: for mirrors,
//! and for loaders that need no service. Nothing else of the archive's directory is reachable.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use btf_archive::store::Error as ArchiveError;
use btf_archive::{Digest, blob as blob_paths, snapshot as snapshots};

use super::{JSON, blobs};
use crate::app::App;
use crate::http::address::Segments;
use crate::http::problem::Problem;
use crate::http::representation::{Asked, Freshness, Representation};

/// Stored objects are zstd frames, and sent as such whatever `Accept-Encoding` says: compression is what they are here.
const ZSTD: &str = "application/zstd";

/// `GET /latest.json`
pub(crate) async fn latest(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    let latest = app.archive.latest_json().await.map_err(object)?;
    let tag = Digest::of(&latest).to_string();
    Representation::new(&tag, JSON, Freshness::Live).answer(&asked, async { Ok(latest) }).await
}

/// `GET /snapshots/000042.json.zst`
pub(crate) async fn snapshot(
    State(app): State<Arc<App>>,
    Segments(file): Segments<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let path = format!("{}/{file}", snapshots::DIRECTORY);
    let number = snapshots::number_of_path(&path).ok_or_else(Problem::no_such_page)?;
    let stored = app.archive.snapshot_zst(number).await.map_err(object)?;
    // Named by number, and an archive that was made anew counts from the start: not immutable for others.
    let tag = Digest::of(&stored).to_string();
    Representation::new(&tag, ZSTD, Freshness::Name).answer(&asked, async { Ok(stored) }).await
}

/// `GET /snapshots/parts/ab/abcd….json.zst`
pub(crate) async fn part(
    State(app): State<Arc<App>>,
    Segments((prefix, file)): Segments<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let path = format!("{}/parts/{prefix}/{file}", snapshots::DIRECTORY);
    let digest = snapshots::part::digest_of_path(&path).ok_or_else(Problem::no_such_page)?;
    let stored = app.archive.part_zst(&digest).await.map_err(object)?;
    let representation = Representation::new(&digest.to_string(), ZSTD, Freshness::Immutable);
    representation.answer(&asked, async { Ok(stored) }).await
}

/// `GET /blobs/sha256/ab/abcd….zst`
pub(crate) async fn blob(
    State(app): State<Arc<App>>,
    Segments((prefix, file)): Segments<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let path = format!("blobs/sha256/{prefix}/{file}");
    let digest = blob_paths::digest_of_path(&path).ok_or_else(Problem::no_such_page)?;
    let stored = app.blobs.stored(digest).await.map_err(|error| blobs::absent(digest, error))?;
    let representation = Representation::new(&format!("{digest}.zst"), ZSTD, Freshness::Immutable);
    representation
        .header("btf-digest", &format!("sha256:{digest}"))
        .answer(&asked, async { Ok(stored) })
        .await
}

fn object(error: ArchiveError) -> Problem {
    match error {
        ArchiveError::Missing { .. } => Problem::no_such_page(),
        error => Problem::internal(&error),
    }
}
