//! The archive's own tree (`latest.json`, `keys.json`, `snapshots/`, `blobs/`, with signatures), as a plain file server would serve it: for mirrors,
//! and for loaders that need no service. Nothing else of the archive's directory is reachable.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use btf_archive::store::{Error as ArchiveError, Stored};
use btf_archive::{Digest, blob as blob_paths, snapshot as snapshots, trust};
use bytes::Bytes;

use super::{JSON, blobs};
use crate::app::App;
use crate::http::address::Segments;
use crate::http::problem::Problem;
use crate::http::representation::{Asked, Freshness, Representation};

/// Stored objects are zstd frames, and sent as such whatever `Accept-Encoding` says: compression is what they are here.
const ZSTD: &str = "application/zstd";
/// Deltas have a format of their own.
const DELTA: &str = "application/octet-stream";

/// Signatures are text.
const TEXT: &str = "text/plain; charset=utf-8";

/// `GET /latest.json`
pub(crate) async fn latest(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    live(app.archive.latest_json().await, JSON, asked).await
}

/// `GET /latest.json.minisig`
pub(crate) async fn latest_signature(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    live(app.archive.signature(snapshots::LATEST).await, TEXT, asked).await
}

/// `GET /keys.json`
pub(crate) async fn keys(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    live(app.archive.keys_json().await, JSON, asked).await
}

/// `GET /keys.json.minisig`
pub(crate) async fn keys_signature(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    live(app.archive.signature(trust::KEYS).await, TEXT, asked).await
}

/// `GET /keys/000003.json.minisig`
pub(crate) async fn numbered_keys_signature(
    State(app): State<Arc<App>>,
    Segments(file): Segments<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let version = file.strip_suffix(".json.minisig").and_then(|version| version.parse().ok());
    let version = version.filter(|version| trust::keys_signature_path(*version) == format!("keys/{file}"));
    let version = version.ok_or_else(Problem::no_such_page)?;
    live(app.archive.keys_signature(version).await, TEXT, asked).await
}

/// `GET /snapshots/000042.json.zst` and `…/000042.json.zst.minisig`
pub(crate) async fn snapshot(
    State(app): State<Arc<App>>,
    Segments(file): Segments<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let path = format!("{}/{file}", snapshots::DIRECTORY);
    if let Some(signed) = path.strip_suffix(".minisig") {
        snapshots::number_of_path(signed).ok_or_else(Problem::no_such_page)?;
        return live(app.archive.signature(signed).await, TEXT, asked).await;
    }
    let number = snapshots::number_of_path(&path).ok_or_else(Problem::no_such_page)?;
    let stored = app.archive.snapshot_zst(number).await.map_err(object)?;
    // Named by number, and an archive that was made anew counts from the start: not immutable for others.
    let tag = Digest::of(&stored).to_string();
    Representation::new(&tag, ZSTD, Freshness::Name).answer(&asked, async { Ok(stored) }).await
}

/// An object that may be replaced at any time.
async fn live(
    stored: Result<Bytes, ArchiveError>,
    content_type: &'static str,
    asked: Asked,
) -> Result<Response, Problem> {
    let stored = stored.map_err(object)?;
    let tag = Digest::of(&stored).to_string();
    Representation::new(&tag, content_type, Freshness::Live).answer(&asked, async { Ok(stored) }).await
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

/// `GET /blobs/sha256/ab/abcd….zst` or `.delta`: only in the form in which it is stored, or mirrors would be something else.
pub(crate) async fn blob(
    State(app): State<Arc<App>>,
    Segments((prefix, file)): Segments<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let path = format!("blobs/sha256/{prefix}/{file}");
    let whole = blob_paths::digest_of_path(&path).map(|digest| (digest, ZSTD, "zst"));
    let form = whole.or_else(|| Some((blob_paths::digest_of_delta_path(&path)?, DELTA, "delta")));
    let (digest, content_type, suffix) = form.ok_or_else(Problem::no_such_page)?;
    let stored = app.archive.stored(&digest).await;
    let stored = match stored.map_err(|error| blobs::absent(digest, error.into()))? {
        Stored::Whole(zst) if content_type == ZSTD => zst,
        Stored::Delta(delta) if content_type == DELTA => delta,
        _ => return Err(blobs::absent(digest, ArchiveError::Missing { path }.into())),
    };
    let representation =
        Representation::new(&format!("{digest}.{suffix}"), content_type, Freshness::Immutable);
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
