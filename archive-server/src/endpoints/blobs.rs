//! `/v1/blobs`: BTF by the digest of its raw bytes, and how blobs are sent wherever they are asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use btf_archive::store::Error as ArchiveError;
use btf_archive::{Digest, KernelRecord};
use bytes::Bytes;

use super::OCTETS;
use crate::app::App;
use crate::blobs::Error;
use crate::http::address::{Nothing, Parameters, Segments};
use crate::http::encoding::{self, Coding};
use crate::http::problem::Problem;
use crate::http::representation::{Asked, Freshness, Representation};

/// `GET /v1/blobs/sha256/{digest}`
pub(crate) async fn by_digest(
    State(app): State<Arc<App>>,
    Segments(digest): Segments<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
    asked: Asked,
) -> Result<Response, Problem> {
    let digest = parse(&digest)?;
    let (representation, coding) = negotiated(digest, None, Freshness::Immutable, &asked)?;
    // Nothing else tells whether there is such a blob, so it is loaded even to say 304.
    let bytes = app.blobs.coded(digest, coding).await.map_err(|error| absent(digest, error))?;
    representation.answer(&asked, async { Ok(bytes) }).await
}

/// A digest from a path.
pub(super) fn parse(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|error: btf_archive::Error| Problem::bad_request(error.to_string()))
}

/// The representation of a blob that this request asks for. The sizes are known where its kernel is.
///
/// # Errors
/// 406 if the client takes neither zstd nor identity.
pub(super) fn negotiated(
    digest: Digest,
    kernel: Option<&KernelRecord>,
    freshness: Freshness,
    asked: &Asked,
) -> Result<(Representation, Coding), Problem> {
    let Some(coding) = encoding::negotiate(&asked.headers) else {
        let detail = "Accept-Encoding refuses both zstd and identity, which is what there is";
        return Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "not-acceptable",
            "No acceptable coding",
            detail,
        ));
    };
    let (tag, len) = match coding {
        Coding::Identity => (digest.to_string(), kernel.map(|kernel| kernel.raw_size)),
        Coding::Zstd => (format!("{digest}.zst"), whole_size(kernel)),
    };
    let mut representation = Representation::new(&tag, OCTETS, freshness)
        .negotiated(coding)
        .header("btf-digest", &format!("sha256:{digest}"));
    if let Some(len) = len {
        representation = representation.len(len);
    }
    Ok((representation, coding))
}

/// The size of a kernel's blob as a zstd frame, where that is what is stored.
fn whole_size(kernel: Option<&KernelRecord>) -> Option<u64> {
    kernel.filter(|kernel| kernel.base.is_none()).map(|kernel| kernel.zst_size)
}

/// The bytes of a kernel's blob. That they are missing is our fault: the catalog has them.
pub(super) async fn load(app: &App, digest: Digest, coding: Coding) -> Result<Bytes, Problem> {
    app.blobs.coded(digest, coding).await.map_err(|error| Problem::internal(&error))
}

/// What it means that a blob that was asked for by its digest cannot be had.
pub(super) fn absent(digest: Digest, error: Error) -> Problem {
    match error {
        Error::Archive(ArchiveError::Missing { .. }) => {
            let detail = format!("no blob with sha256 {digest} is in this archive");
            Problem::new(StatusCode::NOT_FOUND, "unknown-blob", "Unknown blob", detail)
        }
        error => Problem::internal(&error),
    }
}
