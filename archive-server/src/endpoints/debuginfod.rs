//! debuginfod's dialect: `/buildid/{hex}/section/.BTF`, for `debuginfod-find section HEX .BTF` and its library.
//!
//! Only that section: this is no debuginfod. Its clients pass on to their next server when they get a 404.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::{blobs, find, kernel_headers};
use crate::app::App;
use crate::http::address::Segments;
use crate::http::problem::Problem;
use crate::http::representation::{Asked, Freshness};

/// `GET /buildid/{hex}/section/.BTF`
pub(crate) async fn section(
    State(app): State<Arc<App>>,
    Segments((build_id, section)): Segments<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    if section != ".BTF" {
        let detail = "this archive has .BTF sections only";
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown-section", "Unknown section", detail));
    }
    let kernel = find::by_build_id(&app, &build_id).await?;
    let (representation, coding) = blobs::negotiated(kernel.digest, Some(&kernel), Freshness::Name, &asked)?;
    // The client's progress bar counts in this size.
    let representation = representation.header("x-debuginfod-size", &kernel.raw_size.to_string());
    kernel_headers(representation, &kernel).answer(&asked, blobs::load(&app, kernel.digest, coding)).await
}
