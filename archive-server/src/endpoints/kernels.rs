//! `/v1/kernels`: what the archive knows.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use btf_archive::KernelRecord;
use btf_archive::store::{Filter, MAX_PAGE};
use serde::{Deserialize, Serialize};

use super::find::{self, KeyParts};
use super::json;
use crate::app::App;
use crate::http::address::{Nothing, Parameters, Segments, given};
use crate::http::problem::Problem;
use crate::http::representation::{Asked, Freshness};

/// Kernels on a page, unless the client says.
const PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    distro: Option<String>,
    version: Option<String>,
    arch: Option<String>,
    release: Option<String>,
    build_id: Option<String>,
    q: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct ListAnswer {
    kernels: Vec<KernelRecord>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// `GET /v1/kernels?distro=&version=&arch=&release=&build_id=&q=&cursor=&limit=`
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Parameters(query): Parameters<ListQuery>,
    asked: Asked,
) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!("limit: {limit} is not between 1 and {MAX_PAGE}")));
    }
    let build_id = given(query.build_id).map(|text| text.parse()).transpose();
    let filter = Filter {
        distro: given(query.distro),
        version: given(query.version),
        arch: given(query.arch),
        release: given(query.release),
        build_id: build_id.map_err(|error: btf_archive::Error| Problem::bad_request(error.to_string()))?,
        q: given(query.q),
    };
    let page = app.archive.catalog().list(&filter, given(query.cursor).as_deref(), limit).await;
    let page = page.map_err(find::archive)?;
    json(&asked, Freshness::Live, &ListAnswer { kernels: page.kernels, next: page.next }).await
}

/// `GET /v1/kernels/{distro}/{version}/{arch}/{release}`
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Segments(parts): Segments<KeyParts>,
    Parameters(Nothing {}): Parameters<Nothing>,
    asked: Asked,
) -> Result<Response, Problem> {
    json(&asked, Freshness::Name, &find::by_parts(&app, &parts).await?).await
}
