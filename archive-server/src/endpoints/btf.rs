//! `/v1/btf`: the BTF of one kernel, by its name or, exactly, by its build-id.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use btf_archive::KernelRecord;

use super::find::{self, KeyParts};
use super::{blobs, kernel_headers};
use crate::app::App;
use crate::http::address::{Nothing, Parameters, Segments};
use crate::http::problem::Problem;
use crate::http::representation::{Asked, Freshness};

/// `GET /v1/btf/{distro}/{version}/{arch}/{release}`
pub(crate) async fn by_key(
    State(app): State<Arc<App>>,
    Segments(parts): Segments<KeyParts>,
    Parameters(Nothing {}): Parameters<Nothing>,
    asked: Asked,
) -> Result<Response, Problem> {
    of_kernel(&app, &find::by_parts(&app, &parts).await?, &asked).await
}

/// `GET /v1/btf/by-build-id/{hex}`
pub(crate) async fn by_build_id(
    State(app): State<Arc<App>>,
    Segments(build_id): Segments<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
    asked: Asked,
) -> Result<Response, Problem> {
    of_kernel(&app, &find::by_build_id(&app, &build_id).await?, &asked).await
}

/// A kernel's BTF. A name may one day mean other BTF (a better conversion, replaced deliberately), even a build-id: not
/// immutable.
async fn of_kernel(app: &App, kernel: &KernelRecord, asked: &Asked) -> Result<Response, Problem> {
    let (representation, coding) = blobs::negotiated(kernel.digest, Some(kernel), Freshness::Name, asked)?;
    let load = blobs::load(app, kernel.digest, coding);
    kernel_headers(representation, kernel).answer(asked, load).await
}
